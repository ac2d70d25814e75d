/** `edgedelta`: an HTTP input of an Edge Delta agent. */
import * as z from 'zod'
import { urlWithoutSecrets } from '../config/hidden.ts'
import type { Definition, Sink } from '../core/component.ts'
import { HttpSink, httpFields, httpNotes } from './http.ts'

export const edgedeltaConfig = z.strictObject({ type: z.literal('edgedelta'), ...httpFields })

export const edgedeltaSink: Definition<typeof edgedeltaConfig, Sink> = {
  type: 'edgedelta',
  summary: 'Posts batches of log lines to the HTTP inputs of Edge Delta agents.',
  notes: `${httpNotes}

Agents before 2.11 make one log of each POST: use \`body_mode: single\` with them.

**Guarantee**: at least once, into the memory of the agent. The agent answers 2xx before it has passed the records on; what it loses
when it is killed cannot be known here.`,
  config: edgedeltaConfig,
  place: ({ endpoints }) => endpoints.map(urlWithoutSecrets).join(', '),
  examples: [
    {
      title: 'Two inputs of the local agent',
      config: { type: 'edgedelta', endpoints: ['http://localhost:8080', 'http://localhost:8081'] },
    },
  ],
  create: (config, context) => new HttpSink(config, context),
}

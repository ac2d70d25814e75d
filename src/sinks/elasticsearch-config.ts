/** The keys of the `elasticsearch` sink. */
import * as z from 'zod'
import { duration, secret } from '../config/fields.ts'
import { hasPlaceholder, indexProblem, nameProblem } from './elasticsearch-index.ts'
import { basicAuth, bearerAuth, senderFields } from './http-sender.ts'
import { sigv4Auth } from './sigv4.ts'
import { batchField } from './sink-fields.ts'

const apiKeyAuth = z.strictObject({
  type: z.literal('api_key'),
  api_key: secret().meta({
    description: 'API key: the `encoded` form that Elasticsearch gives out, or `id:api_key`.',
  }),
})

export const elasticsearchConfig = z
  .strictObject({
    type: z.literal('elasticsearch'),
    ...senderFields,
    endpoints: senderFields.endpoints.meta({
      description: 'URLs of the nodes, without `/_bulk`; the least busy healthy one takes the next batch.',
    }),
    index: z
      .string()
      .superRefine((template, context) => {
        const problem = indexProblem(template)
        if (problem !== undefined) context.addIssue(problem)
      })
      .optional()
      .meta({
        description:
          'Index to write to; `{yyyy}`, `{MM}`, `{dd}` and `{HH}` stand for the time of the object, in UTC. Either this or `data_stream`.',
      }),
    data_stream: z
      .string()
      .superRefine((name, context) => {
        const problem = hasPlaceholder(name)
          ? 'must have no date: a data stream rolls over by itself'
          : nameProblem(name)
        if (problem !== undefined) context.addIssue(problem)
      })
      .optional()
      .meta({ description: 'Data stream to write to. Records get an `@timestamp` if they have none.' }),
    document_id: z.enum(['auto', 'none']).default('auto').meta({
      description:
        '`auto`: each record has an id of its own, so what is sent twice is stored once. `none`: the server makes ids up, and what is sent twice is stored twice; for OpenSearch Serverless time series and vector collections, which refuse ids.',
    }),
    pipeline: z.string().min(1).optional().meta({ description: 'Ingest pipeline that the records go through.' }),
    auth: z
      .discriminatedUnion('type', [basicAuth, bearerAuth, apiKeyAuth, sigv4Auth])
      .optional()
      .meta({ description: 'Authentication.' }),
    batch: batchField({ records: 5000, bytes: '5MiB', maxBytes: '100MiB' }),
    max_in_flight: z
      .int()
      .min(1)
      .default(4)
      .meta({ description: 'Most requests under way at once, over all endpoints.' }),
    timeout: duration().prefault('90s').meta({ description: 'Longest time for one whole request; 0 for no limit.' }),
    response_header_timeout: duration()
      .prefault('60s')
      .meta({ description: 'Longest wait for the response after the request was sent.' }),
  })
  .superRefine(({ index, data_stream }, context) => {
    if ((index === undefined) === (data_stream === undefined))
      context.addIssue('must have either `index` or `data_stream`')
  })
export type ElasticsearchConfig = z.output<typeof elasticsearchConfig>

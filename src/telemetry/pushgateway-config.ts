/** The `pushgateway` section of the file. */
import * as z from 'zod'
import { duration } from '../config/fields.ts'
import { basicAuth, bearerAuth } from '../sinks/http-sender.ts'
import { tlsSchema } from '../sinks/tls.ts'

/** Labels that series have themselves: in the grouping key they would replace those, and make several series one. */
const taken = [
  ...['pipeline', 'component', 'endpoint', 'outcome', 'reason', 'type'],
  ...['level', 'signal', 'version', 'le', 'quantile'],
]

export const pushgatewayConfig = z
  .strictObject({
    endpoint: z
      .string()
      .transform((text) => (/^[a-z][a-z\d+.-]*:\/\//i.test(text) ? text : `http://${text}`))
      .refine((text) => URL.canParse(text) && /^https?:\/\//i.test(text) && !/[?#]/.test(text), {
        error: 'must be the URL of the gateway without query, like "http://localhost:9091"',
      })
      .meta({
        description:
          'URL of the gateway, with its route prefix if it has one; `host:port` is taken as `http://host:port`.',
      }),
    job: z.string().min(1).default('s3-streamer').meta({ description: 'Label `job` of all series.' }),
    instance: z.string().optional().meta({ description: 'Label `instance` of all series. Default: name of the host.' }),
    labels: z
      .record(z.string(), z.string())
      .superRefine((labels, context) => {
        for (const name of Object.keys(labels)) {
          const message = labelProblem(name)
          if (message !== undefined) context.addIssue({ code: 'custom', path: [name], message })
        }
      })
      .default({})
      .meta({
        description:
          'More labels of all series. With job and instance they are the grouping key: processes that run at the same time need different ones, or they overwrite each other.',
      }),
    interval: duration({ min: '100ms' }).prefault('5s').meta({ description: 'Time between two pushes.' }),
    timeout: duration({ min: '100ms', max: '5m' }).prefault('5s').meta({
      description:
        'Longest time for one push. A gateway that is slow or down holds nothing up, but for this long at the end.',
    }),
    on_end: z.enum(['keep', 'delete']).default('keep').meta({
      description:
        '`keep` leaves the last values in the gateway, marked by `s3_streamer_finished_timestamp_seconds` and `s3_streamer_success`; `delete` removes them, also if Prometheus has not seen the last ones yet.',
    }),
    auth: z.discriminatedUnion('type', [bearerAuth, basicAuth]).optional().meta({ description: 'Authentication.' }),
    tls: tlsSchema.prefault({}).meta({ description: 'TLS settings for an https endpoint.' }),
  })
  .meta({ description: 'Metrics pushed to a Prometheus Pushgateway.' })

function labelProblem(name: string): string | undefined {
  if (!/^(?!__)[A-Za-z_]\w*$/.test(name))
    return 'is no name of a label: it must be letters, digits and "_", and begin with a letter or a single "_"'
  if (name === 'job' || name === 'instance') return `has a key of its own: pushgateway.${name}`
  return taken.includes(name) ? 'is a label of the series themselves: choose another name' : undefined
}

export type PushgatewayConfig = z.output<typeof pushgatewayConfig>

/** `job` of a copy, as dashboards of the SFTP-to-S3 streamer ask for it. */
export const copyJob = 'async-concurrent-file-transfer'

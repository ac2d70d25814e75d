import * as z from 'zod'
import { duration, secret, size } from '../config/fields.ts'

/** How a receiver is authenticated to. */
const auth = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('bearer'),
    token: secret().meta({ description: 'Sent as `Authorization: Bearer …`.' }),
  }),
  z.strictObject({
    type: z.literal('basic'),
    username: z.string().meta({ description: 'User name.' }),
    password: secret().meta({ description: 'Password.' }),
  }),
])

const tls = z.strictObject({
  ca_file: z
    .string()
    .optional()
    .meta({ description: 'PEM file of the authorities to trust instead of the system ones.' }),
  cert_file: z.string().optional().meta({ description: 'PEM file of the client certificate.' }),
  key_file: z.string().optional().meta({ description: 'PEM file of the client key.' }),
  insecure_skip_verify: z
    .boolean()
    .default(false)
    .meta({ description: 'Accept any server certificate. For tests only.' }),
})

/** The keys that every HTTP-shaped sink has. */
export const httpFields = {
  endpoints: z
    .array(z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }))
    .min(1)
    .meta({ description: 'URLs to POST to, exactly as given; the least busy healthy one takes the next batch.' }),
  body_mode: z.enum(['ndjson', 'single', 'array']).default('ndjson').meta({
    description: '`ndjson`: one record per line; `single`: one POST per record; `array`: one JSON array per POST.',
  }),
  content_type: z
    .string()
    .optional()
    .meta({ description: "Content-Type of every request; without it, the format's own." }),
  headers: z.record(z.string(), z.string()).default({}).meta({ description: 'Headers to add to every request.' }),
  auth: auth.optional().meta({ description: 'Authentication.' }),
  tls: tls.prefault({}).meta({ description: 'TLS settings for https endpoints.' }),
  compression: z.enum(['none', 'gzip']).default('none').meta({ description: 'Content-Encoding of the body.' }),
  batch: z
    .strictObject({
      records: z.int().min(1).default(1000).meta({ description: 'Most records in one batch.' }),
      bytes: size({ min: '1', max: '10MiB' })
        .prefault('1MiB')
        .meta({ description: 'Most bytes in one batch; only a single larger record exceeds it.' }),
      linger: duration({ min: '1ms' })
        .prefault('1s')
        .meta({ description: 'Longest wait of a record for its batch to fill.' }),
    })
    .prefault({})
    .meta({ description: 'How records are gathered into batches.' }),
  max_in_flight: z
    .int()
    .min(1)
    .default(10)
    .meta({ description: 'Most requests under way at once, over all endpoints.' }),
  retry: z
    .strictObject({
      min: duration({ min: '1ms' })
        .prefault('100ms')
        .meta({ description: 'First wait before a retry; doubled each time, with full jitter.' }),
      max: duration({ min: '1ms' })
        .prefault('30s')
        .meta({ description: 'Longest wait between retries. Retries never end.' }),
    })
    .prefault({})
    .meta({ description: 'How transient errors are retried.' }),
  timeout: duration().prefault('30s').meta({ description: 'Longest time for one whole request; 0 for no limit.' }),
  connect_timeout: duration().prefault('10s').meta({ description: 'Longest time to connect, TLS handshake included.' }),
  response_header_timeout: duration()
    .prefault('10s')
    .meta({ description: 'Longest wait for the response after the request was sent.' }),
  idle_timeout: duration().prefault('90s').meta({ description: 'How long an unused connection is kept open.' }),
  max_connections: z.int().min(1).default(100).meta({ description: 'Most connections to one endpoint.' }),
}

export const httpConfig = z.strictObject({ type: z.literal('http'), ...httpFields })
export type HttpConfig = z.output<typeof httpConfig>

/**
 * The file of the S3-to-Edge-Delta streamer, as its users have it: `s3`, `http`, `processing`, `state`, … at the top are
 * one pipeline. Each key is one of the general form under its old name, so both have the same checks and defaults.
 */
import * as z from 'zod'
import { shapeFields } from '../filters/schema.ts'
import { formatSchema } from '../formats/schema.ts'
import { edgedeltaConfig } from '../sinks/edgedelta.ts'
import { s3ScanConfig } from '../sources/s3-scan-config.ts'
import { duration } from './fields.ts'
import { type Path, valueAt } from './json-schema.ts'
import { commonFields, decodeSchema, defaultFormat, redisSchema, shutdownTimeout, stateFields } from './pipeline.ts'

export const seedPipelineName = 's3-to-edgedelta'

const source = s3ScanConfig.shape
const sink = edgedeltaConfig.shape
const batch = sink.batch.unwrap().shape

export const seedSchema = z.strictObject({
  s3: z
    .strictObject({
      bucket: source.bucket.meta({ description: 'Bucket to scan.' }),
      prefix: source.prefix,
      region: source.region,
      endpoint: source.endpoint,
      force_path_style: source.force_path_style,
      role_arn: source.role_arn,
      external_id: source.external_id,
      partition: source.partition,
      start_at: source.start_at,
      lookback: source.lookback,
    })
    .prefault({} as never)
    .meta({ description: 'The bucket.' }),
  http: z
    .strictObject({
      endpoints: sink.endpoints,
      batch_lines: batch.records,
      batch_bytes: batch.bytes,
      flush_interval: batch.linger,
      workers: sink.max_in_flight,
      timeout: sink.timeout,
      max_idle_conns: z.int().min(0).default(100).meta({ description: 'Most connections to one endpoint.' }),
      idle_conn_timeout: sink.idle_timeout,
      tls_handshake_timeout: sink.connect_timeout,
      response_header_timeout: sink.response_header_timeout,
      expect_continue_timeout: duration().prefault('1s').meta({ description: 'Accepted; has no effect here.' }),
      buffer_size: z
        .int()
        .min(1)
        .max(100_000)
        .default(50_000)
        .meta({ description: 'Accepted; has no effect here: what is buffered is bounded in bytes.' }),
      body_mode: sink.body_mode,
      content_type: sink.content_type,
      headers: sink.headers,
      auth: sink.auth,
      tls: sink.tls,
      compression: sink.compression,
      retry: sink.retry,
    })
    .prefault({} as never)
    .meta({ description: 'The inputs of Edge Delta.' }),
  processing: z
    .strictObject({
      worker_count: source.workers,
      queue_size: z.int().min(0).default(1000).meta({
        description: 'Listed objects that may wait for a worker; listing pauses when it is full. 0 is taken as 1.',
      }),
      scan_interval: source.scan_interval,
      delay_window: source.delay_window,
      log_formats: z
        .array(formatSchema)
        .optional()
        .meta({ description: 'Your formats, in order; see the page of the formats.' }),
      default_format: defaultFormat.optional().meta({
        description:
          '`auto` (the default) looks at each object; the name of a format, built-in or your own, means that one for all objects.',
      }),
      log_format: z
        .enum(['zscaler', 'cisco_umbrella', 'auto'])
        .optional()
        .meta({ description: 'Old name of `default_format`, used if that is left out.' }),
    })
    .prefault({})
    .meta({ description: 'How objects are found and read.' }),
  formats: z.array(formatSchema).optional().meta({ description: 'The same as `processing.log_formats`.' }),
  ...shapeFields,
  decode: decodeSchema.prefault({}).meta({ description: 'Limits while objects are read.' }),
  state: z
    .strictObject({
      file_path: z.string().min(1).default('/var/lib/s3-streamer/state.json').meta({ description: 'State file.' }),
      ...stateFields,
      redis: redisSchema.optional(),
    })
    .prefault({})
    .meta({ description: 'What is remembered between runs.' }),
  redis: redisSchema.optional().meta({ description: 'The same as `state.redis`.' }),
  shutdown_timeout: shutdownTimeout,
  ...commonFields,
})

/** Where each key of the seed's form stands in the general form. Keys that are not named have no effect. */
const moves: ReadonlyArray<readonly [from: string, to: string]> = [
  ...Object.keys(seedSchema.shape.s3.unwrap().shape).map((key) => [`s3.${key}`, `source.${key}`] as const),
  ['processing.worker_count', 'source.workers'],
  ['processing.queue_size', 'source.queue'],
  ['processing.scan_interval', 'source.scan_interval'],
  ['processing.delay_window', 'source.delay_window'],
  ['http.batch_lines', 'sink.batch.records'],
  ['http.batch_bytes', 'sink.batch.bytes'],
  ['http.flush_interval', 'sink.batch.linger'],
  ['http.workers', 'sink.max_in_flight'],
  ['http.max_idle_conns', 'sink.max_connections'],
  ['http.idle_conn_timeout', 'sink.idle_timeout'],
  ['http.tls_handshake_timeout', 'sink.connect_timeout'],
  ...[
    'endpoints',
    'timeout',
    'response_header_timeout',
    'body_mode',
    'content_type',
    'headers',
    'auth',
    'tls',
    'compression',
    'retry',
  ].map((key) => [`http.${key}`, `sink.${key}`] as const),
  ['processing.log_format', 'default_format'],
  ['processing.default_format', 'default_format'],
  ['processing.log_formats', 'formats'],
  ['formats', 'formats'],
  ...Object.keys(shapeFields).map((key) => [key, key] as const),
  ['decode', 'decode'],
  ['state.file_path', 'state.file_path'],
  ['state.save_interval', 'state.save_interval'],
  ['state.retention', 'state.retention'],
  ['shutdown_timeout', 'shutdown_timeout'],
]

/** The same in the general form. `value` has passed `seedSchema`; what it leaves out gets its default there. */
export function generalForm(value: Record<string, unknown>): Record<string, unknown> {
  const pipeline: Record<string, unknown> = {
    name: seedPipelineName,
    source: { type: 's3_scan' },
    sink: { type: 'edgedelta' },
    state: { file_path: seedSchema.shape.state.parse({}).file_path },
  }
  for (const [from, to] of moves) {
    const moved = accepted(from, valueAt(value, from.split('.')))
    if (moved !== undefined) put(pipeline, to.split('.'), moved)
  }
  const { logging, otlp, health, console, pushgateway } = value
  const redis = value.redis ?? valueAt(value, ['state', 'redis'])
  return { pipelines: [pipeline], logging, otlp, health, console, pushgateway, redis }
}

/** Values that the seed takes and that mean something else here. */
function accepted(key: string, value: unknown): unknown {
  if (value !== 0) return value
  if (key === 'processing.queue_size') return 1
  // In Go 0 means no limit; there is one here in any case.
  return key === 'http.max_idle_conns' ? undefined : value
}

/** The path in the seed's form of a path in the general form, for messages. */
export function seedPath(path: Path, value: Record<string, unknown>): Path {
  const [top, index, ...rest] = path
  if (top === 'redis' && value.redis === undefined) return ['state', ...path]
  if (top !== 'pipelines' || index !== 0) return path
  const candidates = moves.filter(([, to]) => to === rest.slice(0, to.split('.').length).join('.'))
  const [from, to] =
    candidates.findLast(([from]) => valueAt(value, from.split('.')) !== undefined) ?? candidates.at(-1) ?? []
  return from === undefined || to === undefined ? rest : [...from.split('.'), ...rest.slice(to.split('.').length)]
}

function put(target: Record<string, unknown>, path: string[], value: unknown): void {
  let at = target
  for (const key of path.slice(0, -1)) {
    at[key] ??= {}
    at = at[key] as Record<string, unknown>
  }
  at[path.at(-1) as string] = value
}

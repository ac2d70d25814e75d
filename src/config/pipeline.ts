/** The shape of the file in its general form, and what the program gets from it. */
import * as z from 'zod'
import { type ConsoleConfig, consoleConfig, type HealthConfig, healthConfig } from '../console/config.ts'
import type { Registry } from '../core/component.ts'
import { type ShapeConfig, shapeFields } from '../filters/schema.ts'
import type { FormatConfig } from '../formats/format.ts'
import { formatSchema } from '../formats/schema.ts'
import { type LogConfig, logConfig } from '../telemetry/log-config.ts'
import { type OtlpConfig, otlpConfig } from '../telemetry/otlp-config.ts'
import { type PushgatewayConfig, pushgatewayConfig } from '../telemetry/pushgateway-config.ts'
import { duration, secret, size } from './fields.ts'
import type { JsonSchema } from './json-schema.ts'

export const decodeSchema = z.strictObject({
  line_limit: size({ min: '1', max: '16MiB' })
    .prefault('1MiB')
    .meta({ description: 'Longest record; `line_policy` says what becomes of longer ones.' }),
  line_policy: z.enum(['truncate', 'split', 'quarantine']).default('split').meta({
    description:
      'What becomes of a record longer than `line_limit`: cut off, sent in pieces, or kept out and put in quarantine.',
  }),
  ratio_limit: z
    .number()
    .min(0)
    .default(200)
    .meta({ description: 'Most decoded bytes for one stored byte, against decompression bombs; 0 for no limit.' }),
  size_limit: size().prefault(0).meta({ description: 'Most decoded bytes of one object; 0 for no limit.' }),
})

export const stateFields = {
  save_interval: duration({ min: '100ms' })
    .prefault('30s')
    .meta({ description: 'Time between two saves of the state while it changes.' }),
  retention: duration()
    .prefault('48h')
    .meta({ description: 'How long finished objects are remembered, so that they are not sent again.' }),
}

export const shutdownTimeout = duration()
  .prefault('30s')
  .meta({ description: 'Longest time to deliver what is under way when the streamer is stopped.' })

export const defaultFormat = z.string().min(1).default('auto').meta({
  description:
    '`auto` looks at each object; the name of a format, built-in or your own, means that one for all objects.',
})

/** Keys of the file that both forms have. */
export const commonFields = {
  logging: logConfig,
  otlp: otlpConfig,
  health: healthConfig,
  console: consoleConfig,
  pushgateway: pushgatewayConfig.optional(),
}

export const redisSchema = z
  .strictObject({
    enabled: z.boolean().default(false).meta({ description: 'Accepted; this version keeps its state in a file.' }),
    host: z.string().default('localhost').meta({ description: 'Host.' }),
    port: z.int().min(0).max(65535).default(6379).meta({ description: 'Port.' }),
    password: secret().optional().meta({ description: 'Password.' }),
    database: z.int().min(0).max(15).default(0).meta({ description: 'Number of the database.' }),
    key_prefix: z.string().default('s3-streamer').meta({ description: 'Beginning of the keys.' }),
  })
  .meta({ description: 'State in Redis.' })

/** The whole file with `pipelines`, for the components of `registry`. */
export function fileSchema(registry: Registry) {
  const union = (definitions: ReadonlyArray<{ readonly config: z.ZodObject }>) =>
    z.discriminatedUnion('type', definitions.map(({ config }) => config) as [z.ZodObject, ...z.ZodObject[]])
  const pipeline = z.strictObject({
    name: z
      .string()
      .regex(
        /^[A-Za-z0-9][\w.-]{0,63}$/,
        'must be 1 to 64 letters, digits, "-", "_" or ".", and begin with a letter or digit',
      )
      .meta({ description: 'Name of the pipeline, in logs and for `--pipeline`.' }),
    source: union(registry.sources).meta({ description: 'Where objects come from; see the pages of the sources.' }),
    sink: union(registry.sinks).meta({ description: 'Where records go; see the pages of the sinks.' }),
    formats: z
      .array(formatSchema)
      .optional()
      .meta({ description: 'Formats of this pipeline, in the place of those at the top of the file.' }),
    default_format: defaultFormat,
    ...shapeFields,
    decode: decodeSchema.prefault({}).meta({ description: 'Limits while objects are read.' }),
    state: z
      .strictObject({
        file_path: z
          .string()
          .min(1)
          .optional()
          .meta({ description: 'State file. Default: `<name of the pipeline>.state.json` in the working directory.' }),
        ...stateFields,
      })
      .prefault({})
      .meta({ description: 'What is remembered between runs.' }),
    shutdown_timeout: shutdownTimeout,
  })
  return z.strictObject({
    pipelines: z.array(pipeline).min(1).meta({ description: 'What to move, from where to where.' }),
    formats: z
      .array(formatSchema)
      .default([])
      .meta({ description: 'Formats of all pipelines that have none of their own.' }),
    ...commonFields,
    redis: redisSchema.prefault({}),
  })
}

export type FileConfig = z.output<ReturnType<typeof fileSchema>>

/** A source or sink as its own schema gave it. */
export interface ComponentConfig {
  readonly type: string
  readonly [key: string]: unknown
}

/** One pipeline, complete; times are in ms, sizes in bytes. */
export interface PipelineConfig extends ShapeConfig {
  readonly name: string
  readonly source: ComponentConfig
  readonly sink: ComponentConfig
  readonly formats: FormatConfig[]
  readonly default_format: string
  readonly decode: z.output<typeof decodeSchema>
  readonly state: { readonly file_path: string; readonly save_interval: number; readonly retention: number }
  readonly shutdown_timeout: number
}

export interface ConfigProblem {
  /** `file:line:column`, or the name of an environment variable. */
  readonly where: string
  /** Keys from the top of the file, as in `http.batch_lines`. */
  readonly path: string
  readonly message: string
}

export interface LoadedConfig {
  readonly pipelines: readonly PipelineConfig[]
  readonly logging: LogConfig
  /** undefined: no metrics are exported. */
  readonly otlp: OtlpConfig | undefined
  readonly health: HealthConfig
  readonly console: ConsoleConfig
  /** undefined: metrics are pushed nowhere. */
  readonly pushgateway: PushgatewayConfig | undefined
  readonly warnings: readonly ConfigProblem[]
  /** The schema of the general form, to show values with their units. */
  readonly schema: JsonSchema
}

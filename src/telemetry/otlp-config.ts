/** The `otlp` section of the file. */
import * as z from 'zod'
import { duration, secret } from '../config/fields.ts'
import { tlsSchema } from '../sinks/tls.ts'

export const otlpConfig = z
  .strictObject({
    enabled: z.boolean().default(false).meta({ description: 'Export metrics by OTLP.' }),
    endpoint: z.string().default('localhost:4317').meta({
      description:
        'The OTLP receiver: `host:port`, or a URL. With `protocol: http` it may have a path, behind which `/v1/metrics` and the like are put. User and password go into `headers`.',
    }),
    protocol: z.enum(['grpc', 'http']).default('grpc').meta({
      description: '`grpc`, usually port 4317; or `http` with protobuf, usually port 4318.',
    }),
    export_interval: duration().prefault('10s').meta({ description: 'Time between two exports.' }),
    timeout: duration({ min: '100ms', max: '5m' }).prefault('10s').meta({
      description: 'Longest time for one export, its retries included. A receiver that is down holds nothing up.',
    }),
    service_name: z.string().default('s3-edgedelta-streamer').meta({ description: 'Resource `service.name`.' }),
    service_version: z
      .string()
      .optional()
      .meta({ description: 'Resource `service.version`. Default: the version of the streamer.' }),
    attributes: z
      .record(z.string(), z.string())
      .default({})
      .meta({ description: 'More attributes of the resource, like `deployment.environment.name`.' }),
    headers: z
      .record(z.string(), secret())
      .default({})
      .meta({ description: 'Headers (gRPC: metadata) of every export, like those that prove who sends it.' }),
    compression: z.enum(['none', 'gzip']).default('none').meta({ description: 'Compression of exports.' }),
    insecure: z.boolean().default(true).meta({
      description: 'Connect without TLS. An `https://` endpoint, or a key of `tls`, means TLS.',
    }),
    tls: tlsSchema.prefault({}).meta({ description: 'TLS settings.' }),
    logs: z
      .boolean()
      .default(false)
      .meta({ description: "Export the streamer's own log, too, beside standard output." }),
    traces: z.number().min(0).max(1).default(0).meta({
      description:
        'Part of the objects, 0 to 1, of which a trace is exported: a span for the object, with links to the spans of its batches. 0: none.',
    }),
  })
  .superRefine((otlp, context) => {
    if (!otlp.enabled) return
    for (const key of ['endpoint', 'service_name'] as const) {
      if (otlp[key] === '') context.addIssue({ code: 'custom', path: [key], message: 'must not be empty' })
    }
    if (otlp.export_interval === 0) {
      context.addIssue({ code: 'custom', path: ['export_interval'], message: 'must be more than 0' })
    }
  })
  .prefault({})
  .meta({ description: 'Export of metrics, and of logs and traces if you like, by OTLP.' })
export type OtlpConfig = z.output<typeof otlpConfig>

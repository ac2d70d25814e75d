/**
 * OTLP by gRPC: a unary call for each export.
 * https://opentelemetry.io/docs/specs/otlp/#otlpgrpc
 */
import { createSecureContext } from 'node:tls'
import { Client, credentials, logVerbosity, Metadata, type ServiceError, setLogVerbosity, status } from '@grpc/grpc-js'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { OtlpSignal, OtlpTarget } from './otlp-target.ts'
import type { OtlpTransport } from './otlp-transport.ts'

const paths = {
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
} as const

/** What may go better another time, by the specification of OTLP. */
const transient: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
])
/** Servers say the same of a message that is too large and of too many of them: the first is meant only above this. */
const largeBytes = 2 ** 20
const gzip = 2

export class OtlpGrpc implements OtlpTransport {
  readonly #target: OtlpTarget
  readonly #client: Client
  readonly #metadata = new Metadata()

  constructor(target: OtlpTarget) {
    this.#target = target
    // What goes wrong is in the errors of the calls; the library writes to standard error by itself otherwise.
    setLogVerbosity(logVerbosity.NONE)
    const { 'user-agent': agent, ...headers } = target.headers
    for (const [name, value] of Object.entries(headers)) {
      this.#metadata.set(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value)
    }
    const { tls } = target
    const channel = tls
      ? credentials.createFromSecureContext(createSecureContext(tls), { rejectUnauthorized: tls.rejectUnauthorized })
      : credentials.createInsecure()
    this.#client = new Client(target.host, channel, {
      'grpc.primary_user_agent': agent ?? '',
      'grpc.default_compression_algorithm': target.gzip ? gzip : 0,
      // The others go without one as well.
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
      // One that was away for hours is found soon after it is back.
      'grpc.initial_reconnect_backoff_ms': 200,
      'grpc.max_reconnect_backoff_ms': 5000,
    })
  }

  send(signal: OtlpSignal, bytes: Buffer, o: Signal): Promise<Buffer> {
    const failure = `cannot export ${signal} to ${this.#target.name}`
    return new Promise((resolve, reject) => {
      if (o.signal.aborted) {
        reject(new StreamError('run.aborted', failure, { cause: o.signal.reason }))
        return
      }
      const same = (buffer: Buffer) => buffer
      const call = this.#client.makeUnaryRequest(paths[signal], same, same, bytes, this.#metadata, (error, answer) => {
        o.signal.removeEventListener('abort', cancel)
        if (!error) resolve(answer ?? Buffer.alloc(0))
        else if (o.signal.aborted) reject(new StreamError('run.aborted', failure, { cause: o.signal.reason }))
        else reject(refusal(failure, error, this.#target.quote(error.details), bytes.length))
      })
      const cancel = () => call.cancel()
      o.signal.addEventListener('abort', cancel)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.close()
  }
}

function refusal(failure: string, { code }: ServiceError, words: string, bytes: number): StreamError {
  const message = `${failure}: it answered ${status[code] ?? code}${words === '' ? '' : ` ${JSON.stringify(words)}`}`
  const data = { status: code }
  if (code === status.UNAVAILABLE) {
    const advice =
      'is an OTLP receiver running there, with TLS or without as otlp.insecure says, and does otlp.tls trust it?'
    return new StreamError('sink.unavailable', `${message} (${advice})`, { data })
  }
  if (code === status.RESOURCE_EXHAUSTED) {
    if (bytes < largeBytes) return new StreamError('sink.throttled', `${message} (it is busy)`, { data })
    const advice = 'raise max_recv_msg_size_mib of the receiver'
    return new StreamError('sink.too_large', `${message} (${advice})`, { data })
  }
  if (code === status.UNAUTHENTICATED || code === status.PERMISSION_DENIED) {
    return new StreamError('sink.access', `${message} (set otlp.headers)`, { data })
  }
  if (code === status.UNIMPLEMENTED || code === status.NOT_FOUND) {
    const advice = 'otlp.endpoint must be an OTLP receiver that takes this signal by gRPC'
    return new StreamError('sink.access', `${message} (${advice})`, { data })
  }
  if (transient.has(code)) return new StreamError('sink.unavailable', message, { data })
  return new StreamError('sink.rejected', `${message} (look into the log of the receiver)`, { data })
}

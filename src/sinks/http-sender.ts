/** Posts bodies to whichever of several endpoints is least busy and healthy; what every HTTP-shaped sink stands on. */
import * as z from 'zod'
import { duration, secret } from '../config/fields.ts'
import { urlWithoutSecrets } from '../config/hidden.ts'
import type { Bound, Context, Dependency, Finding, Signal } from '../core/component.ts'
import { DependencyState, uniqueNames } from '../core/dependency-state.ts'
import { StreamError } from '../core/errors.ts'
import { gzipped } from './http-body.ts'
import { Endpoint, type PostOptions, type Signer } from './http-endpoints.ts'
import { senderMetrics, senderStateMetrics } from './http-sender-metrics.ts'
import { retryField } from './sink-fields.ts'
import { tlsOptions, tlsSchema } from './tls.ts'

/** How a receiver is authenticated to. */
export const bearerAuth = z.strictObject({
  type: z.literal('bearer'),
  token: secret().meta({ description: 'Sent as `Authorization: Bearer …`.' }),
})
export const basicAuth = z.strictObject({
  type: z.literal('basic'),
  username: z.string().meta({ description: 'User name.' }),
  password: secret().meta({ description: 'Password.' }),
})

/** The keys that every HTTP-shaped sink has, but for those that say what a body looks like and who sends it. */
export const senderFields = {
  endpoints: z
    .array(z.url({ protocol: /^https?$/, error: 'must be an http:// or https:// URL' }))
    .min(1)
    .meta({ description: 'URLs to POST to, exactly as given; the least busy healthy one takes the next batch.' }),
  headers: z.record(z.string(), z.string()).default({}).meta({ description: 'Headers to add to every request.' }),
  tls: tlsSchema.prefault({}).meta({ description: 'TLS settings for https endpoints.' }),
  compression: z.enum(['none', 'gzip']).default('none').meta({ description: 'Content-Encoding of the body.' }),
  max_in_flight: z
    .int()
    .min(1)
    .default(10)
    .meta({ description: 'Most requests under way at once, over all endpoints.' }),
  retry: retryField,
  timeout: duration().prefault('30s').meta({ description: 'Longest time for one whole request; 0 for no limit.' }),
  connect_timeout: duration().prefault('10s').meta({ description: 'Longest time to connect, TLS handshake included.' }),
  response_header_timeout: duration()
    .prefault('10s')
    .meta({ description: 'Longest wait for the response after the request was sent.' }),
  idle_timeout: duration().prefault('90s').meta({ description: 'How long an unused connection is kept open.' }),
  max_connections: z.int().min(1).default(100).meta({ description: 'Most connections to one endpoint.' }),
}
const senderSchema = z.strictObject(senderFields)
export type SenderConfig = z.output<typeof senderSchema>

export interface SenderOptions {
  /** First word of the names of its endpoints. */
  readonly kind: string
  /** Value of the Authorization header. */
  readonly authorization?: string | undefined
  /** Gives the headers of a request that proves itself in another way. */
  readonly sign?: Signer | undefined
  /** Bytes of a full batch. */
  readonly batchBytes: number
  /** What an endpoint is asked to show that it is there, in the place of a HEAD; writes nothing. */
  readonly ask?: (endpoint: Endpoint, o: Signal) => Promise<void>
}

export class HttpSender implements AsyncDisposable {
  readonly #compression: SenderConfig['compression']
  readonly #endpoints: Endpoint[]
  readonly #metrics: Bound<typeof senderMetrics>
  readonly #states: Bound<typeof senderStateMetrics>
  readonly #config: SenderConfig
  /** Bytes of requests under way, and most of them. */
  #inFlightBytes = 0
  readonly #mostBytes: number

  constructor(config: SenderConfig, o: SenderOptions, context: Context) {
    this.#config = config
    this.#compression = config.compression
    this.#mostBytes = config.max_in_flight * o.batchBytes
    this.#metrics = context.meter.bind(senderMetrics, {})
    this.#states = context.meter.bind(senderStateMetrics, { component: 'http_sender' })
    const connection = {
      headers: config.headers,
      authorization: o.authorization,
      sign: o.sign,
      tls: tlsOptions(config.tls),
      timeoutMs: config.timeout,
      connectTimeoutMs: config.connect_timeout,
      responseHeaderTimeoutMs: config.response_header_timeout,
      idleTimeoutMs: config.idle_timeout,
      maxConnections: config.max_connections,
    }
    const names = uniqueNames(config.endpoints.map((url) => `${o.kind} ${urlWithoutSecrets(url)}`))
    const { nowMs, log } = context
    this.#endpoints = config.endpoints.map((url, i) => {
      const name = names[i] as string
      return new Endpoint(url, connection, log, (endpoint) => {
        const probe = (signal: Signal) => (o.ask ? o.ask(endpoint, signal) : endpoint.probe(signal))
        return new DependencyState({ name, nowMs, probe })
      })
    })
  }

  get dependencies(): readonly Dependency[] {
    return this.#endpoints.map(({ dependency }) => dependency)
  }

  /** Brings up to date what is not counted as it happens. */
  sample(): void {
    let active = 0
    let idle = 0
    for (const { connections } of this.#endpoints) {
      active += connections.active
      idle += connections.idle
    }
    this.#states.http_active_connections.set(active)
    this.#states.http_idle_connections.set(idle)
    this.#states.http_buffer_utilization_ratio.set(Math.min(1, this.#inFlightBytes / this.#mostBytes))
  }

  /** Whether each endpoint answers, how soon, with which certificate and clock. Returns those that do. */
  async *examine(
    o: Signal & { readonly isSigned?: boolean; readonly judgesStatus?: boolean },
  ): AsyncGenerator<Finding, readonly Endpoint[]> {
    const tls = tlsOptions(this.#config.tls)
    const { examineEndpoint } = await import('./http-examine.ts')
    const answering: Endpoint[] = []
    for (const endpoint of this.#endpoints)
      if (yield* examineEndpoint(endpoint, { ...o, tls })) answering.push(endpoint)
    return answering
  }

  get endpoints(): readonly Endpoint[] {
    return this.#endpoints
  }

  /** Each endpoint must answer; `ask` says what it is asked, in the place of a HEAD. Throws what the first, or all, throw. */
  async check(o: Signal, ask = (endpoint: Endpoint, o: Signal): Promise<unknown> => endpoint.probe(o)): Promise<void> {
    const results = await Promise.allSettled(this.#endpoints.map((endpoint) => ask(endpoint, o)))
    const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
    const wrong = failed.find((error) => error instanceof StreamError && error.kind === 'config')
    if (wrong !== undefined || failed.length === 1) throw wrong ?? failed[0]
    if (failed.length > 1)
      throw new StreamError('sink.unavailable', `${failed.length} endpoints failed`, {
        cause: new AggregateError(failed),
      })
  }

  /** Counts a batch that the receiver took. */
  accepted(records: number, bytes: number): void {
    this.#metrics.http_batches_sent_total.add(1)
    this.#metrics.http_lines_sent_total.add(records)
    this.#metrics.http_bytes_sent_total.add(bytes)
  }

  /** Posts to the least busy endpoint, and at once to the others if that one fails. Resolves as `Endpoint.post` does. */
  async post(body: Buffer | Buffer[], headers: Readonly<Record<string, string>>, o: PostOptions): Promise<Buffer> {
    const sent: Record<string, string> = { ...headers }
    let bytes: Buffer | Buffer[] = body
    if (this.#compression === 'gzip') {
      bytes = await gzipped(Array.isArray(body) ? Buffer.concat(body) : body)
      sent['content-encoding'] = 'gzip'
    }
    const weight = lengthOf(body)
    this.#inFlightBytes += weight
    try {
      return await this.#postToAny(bytes, sent, o)
    } finally {
      this.#inFlightBytes -= weight
    }
  }

  async #postToAny(bytes: Buffer | Buffer[], sent: Readonly<Record<string, string>>, o: PostOptions): Promise<Buffer> {
    const tried = new Set<Endpoint>()
    let failure: StreamError | undefined
    for (let endpoint = this.#next(tried); endpoint; endpoint = this.#next(tried)) {
      tried.add(endpoint)
      const startMs = performance.now()
      try {
        return await endpoint.post(bytes, sent, o)
      } catch (error) {
        if (!(error instanceof StreamError)) throw error
        this.#count(error)
        if (error.kind !== 'transient' || error.code === 'run.aborted') throw error
        failure = error
      } finally {
        this.#states.http_request_duration_seconds.record((performance.now() - startMs) / 1000)
      }
    }
    const waitMs = Math.min(...this.#endpoints.map(({ openUntilMs }) => openUntilMs)) - Date.now()
    const retryAfterMs = waitMs > 0 ? waitMs : failure?.retryAfterMs
    if (!failure)
      throw new StreamError('sink.unavailable', `every endpoint is failing, waiting for one: ${this.#names()}`, {
        retryAfterMs,
      })
    throw new StreamError(failure.code, failure.message, { cause: failure.cause, data: failure.data, retryAfterMs })
  }

  #names(): string {
    return this.#endpoints.map(({ name }) => name).join(', ')
  }

  #next(tried: ReadonlySet<Endpoint>): Endpoint | undefined {
    const nowMs = Date.now()
    let best: Endpoint | undefined
    for (const endpoint of this.#endpoints) {
      if (tried.has(endpoint) || !endpoint.isUsable(nowMs)) continue
      if (!best || endpoint.inFlight < best.inFlight) best = endpoint
    }
    return best
  }

  #count(error: StreamError): void {
    const { status, timeout } = error.data
    this.#metrics.http_errors_total.add(1)
    if (timeout === true) this.#metrics.http_timeout_errors_total.add(1)
    else if (typeof status !== 'number') this.#metrics.http_network_errors_total.add(1)
    else if (status >= 500) this.#metrics.http_server_errors_total.add(1)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#endpoints.map((endpoint) => endpoint.close()))
  }
}

function lengthOf(body: Buffer | Buffer[]): number {
  return Array.isArray(body) ? body.reduce((sum, piece) => sum + piece.length, 0) : body.length
}

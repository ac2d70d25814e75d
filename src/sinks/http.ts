/** `http`: batches as POST requests, to whichever of the endpoints is least busy. */
import * as z from 'zod'
import { duration, secret, size } from '../config/fields.ts'
import { recordAt } from '../core/block.ts'
import type {
  Batch,
  BatchLimits,
  Context,
  Definition,
  MetricSpec,
  Refused,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { arrayBody, gzipped, ndjsonBody } from './http-body.ts'
import { basicHeader, Endpoint } from './http-endpoints.ts'

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

export const httpMetrics = {
  http_batches_sent_total: { kind: 'counter', unit: '{batch}', help: 'Batches accepted by the receiver.' },
  http_lines_sent_total: { kind: 'counter', unit: '{line}', help: 'Records accepted by the receiver.' },
  http_bytes_sent_total: { kind: 'counter', unit: 'By', help: 'Bytes of accepted batches, before compression.' },
  http_errors_total: { kind: 'counter', unit: '{error}', help: 'Requests that failed, of whatever kind.' },
  http_network_errors_total: { kind: 'counter', unit: '{error}', help: 'Requests without an answer.' },
  http_timeout_errors_total: { kind: 'counter', unit: '{error}', help: 'Requests whose answer took too long.' },
  http_server_errors_total: { kind: 'counter', unit: '{error}', help: 'Answers with a status of 500 and above.' },
  http_request_duration_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'From sending a request to its answer, failures too.',
  },
} as const satisfies Record<string, MetricSpec>

/** The settings of an HTTP-shaped sink, without the `type`. */
export type HttpSettings = Omit<HttpConfig, 'type'>

export class HttpSink implements Sink {
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #config: HttpSettings
  readonly #endpoints: Endpoint[]
  readonly #metrics
  /** body_mode single: how far a batch that is written again had come, so that only the rest is sent. */
  readonly #progress = new WeakMap<Batch, Map<number, StreamError | undefined>>()

  constructor(config: HttpSettings, context: Context) {
    const { auth, batch, retry } = config
    this.#config = config
    this.maxInFlight = config.max_in_flight
    // The brackets of an array are bytes too.
    const bytes = config.body_mode === 'array' ? Math.max(1, batch.bytes - 1) : batch.bytes
    this.limits = { records: batch.records, bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#metrics = context.meter.bind(httpMetrics, {})
    const connection = {
      headers: config.headers,
      auth: auth && {
        type: auth.type,
        header:
          auth.type === 'bearer' ? `Bearer ${auth.token.reveal()}` : basicHeader(auth.username, auth.password.reveal()),
      },
      tls: config.tls,
      timeoutMs: config.timeout,
      connectTimeoutMs: config.connect_timeout,
      responseHeaderTimeoutMs: config.response_header_timeout,
      idleTimeoutMs: config.idle_timeout,
      maxConnections: config.max_connections,
    }
    this.#endpoints = config.endpoints.map((url) => new Endpoint(url, connection, context.log))
  }

  async check(o: Signal): Promise<void> {
    const results = await Promise.allSettled(this.#endpoints.map((endpoint) => endpoint.probe(o)))
    const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
    if (failed.length === 1) throw failed[0]
    if (failed.length > 1)
      throw new StreamError('sink.unavailable', `${failed.length} endpoints failed`, {
        cause: new AggregateError(failed),
      })
  }

  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const refused =
      this.#config.body_mode === 'single' ? await this.#writeEach(batch, o) : await this.#writeWhole(batch, o)
    this.#metrics.http_batches_sent_total.add(1)
    this.#metrics.http_lines_sent_total.add(batch.count - (refused?.size ?? 0))
    this.#metrics.http_bytes_sent_total.add(batch.bytes)
    return refused
  }

  async #writeWhole(batch: Batch, o: Signal): Promise<undefined> {
    const body = this.#config.body_mode === 'array' ? arrayBody(batch) : ndjsonBody(batch)
    await this.#post(body, this.#config.body_mode === 'array' ? 'application/json' : batch.contentType, o)
  }

  /** One request for each record; what was accepted before a transient failure is not sent again with the same batch. */
  async #writeEach(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const done = this.#progress.get(batch) ?? new Map<number, StreamError | undefined>()
    this.#progress.set(batch, done)
    let index = 0
    for (const { block, from, to } of batch.parts) {
      for (let i = from; i < to; i += 1, index += 1) {
        if (done.has(index)) continue
        try {
          await this.#post(recordAt(block, i), batch.contentType, o)
          done.set(index, undefined)
        } catch (error) {
          if (!(error instanceof StreamError) || (error.kind !== 'permanent' && error.kind !== 'too_large')) throw error
          done.set(index, error)
        }
      }
    }
    const refused = new Map([...done].flatMap(([i, error]) => (error ? [[i, error] as const] : [])))
    return refused.size > 0 ? refused : undefined
  }

  /** Posts to the least busy endpoint, and at once to the others if that one fails. */
  async #post(body: Buffer | Buffer[], contentType: string, o: Signal): Promise<void> {
    const headers: Record<string, string> = { 'content-type': this.#config.content_type ?? contentType }
    let bytes: Buffer | Buffer[] = body
    if (this.#config.compression === 'gzip') {
      bytes = await gzipped(Array.isArray(body) ? Buffer.concat(body) : body)
      headers['content-encoding'] = 'gzip'
    }
    const tried = new Set<Endpoint>()
    let failure: StreamError | undefined
    for (let endpoint = this.#next(tried); endpoint; endpoint = this.#next(tried)) {
      tried.add(endpoint)
      const startMs = performance.now()
      try {
        await endpoint.post(bytes, headers, o)
        return
      } catch (error) {
        if (!(error instanceof StreamError)) throw error
        this.#count(error)
        if (error.kind !== 'transient' || error.code === 'run.aborted') throw error
        failure = error
      } finally {
        this.#metrics.http_request_duration_seconds.record((performance.now() - startMs) / 1000)
      }
    }
    const waitMs = Math.min(...this.#endpoints.map(({ openUntilMs }) => openUntilMs)) - Date.now()
    const retryAfterMs = waitMs > 0 ? waitMs : failure?.retryAfterMs
    if (!failure)
      throw new StreamError('sink.unavailable', 'every endpoint is failing; waiting for one', { retryAfterMs })
    throw new StreamError(failure.code, failure.message, { cause: failure.cause, data: failure.data, retryAfterMs })
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

/** What all HTTP-shaped sinks do, for their reference pages. */
export const httpNotes = `A batch goes to the endpoint with the fewest requests under way. If that one fails (no connection, reset, time-out, 408, 425, 429, 5xx),
the others are tried at once; if all fail, the batch waits (exponential backoff with full jitter, \`Retry-After\` obeyed) and is sent again, for ever.

- An endpoint that fails three times in a row is left alone for a growing pause, then tried with a single request.
- 401, 403, 404, 405, 407 and redirects pause the endpoint longer and are logged as an error once.
- 413 splits the batch; a single record that is too large goes to quarantine.
- 400, 415, 422 and other 4xx put the batch in quarantine with the words of the receiver.

\`body_mode: ndjson\` sends records byte for byte, one a line; a record of several lines becomes \`{"message":"…"}\`. \`array\` sends one JSON array; records
that are no JSON become strings. \`single\` sends one request for each record.`

export const httpSink: Definition<typeof httpConfig, Sink> = {
  type: 'http',
  summary: 'Posts batches of records to HTTP endpoints, balanced and retried.',
  notes: `${httpNotes}

**Guarantee**: at least once. A 2xx answer counts as accepted; what the receiver does then is its affair.`,
  config: httpConfig,
  examples: [
    {
      title: 'Two receivers with a token',
      config: {
        type: 'http',
        endpoints: ['https://logs-a.example.com/ingest', 'https://logs-b.example.com/ingest'],
        auth: { type: 'bearer', token: '${LOG_TOKEN}' },
        compression: 'gzip',
      },
    },
  ],
  create: (config, context) => new HttpSink(config, context),
}

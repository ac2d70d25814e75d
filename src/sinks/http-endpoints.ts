/**
 * The endpoints of an HTTP sink: which one takes the next request, and which ones are left alone for a while.
 *
 *   healthy ──failures in a row──▶ open ──pause over──▶ one trial request ──accepted──▶ healthy
 *                                   ▲                        │
 *                                   └────── longer pause ────┘
 */
import { Readable } from 'node:stream'
import { type Dispatcher, errors, Pool } from 'undici'
import { Hidden, secretsOf, urlWithoutSecrets } from '../config/hidden.ts'
import type { Log, RetryWaits, Signal } from '../core/component.ts'
import type { DependencyState } from '../core/dependency-state.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { untilAborted } from '../core/until-aborted.ts'
import { version } from '../telemetry/version.ts'
import type { TlsOptions } from './tls.ts'

/** Failures in a row after which an endpoint is left alone: one bad answer is everyday life, a dead server is not. */
const failuresToOpen = 3
const openWaits: RetryWaits = { minMs: 250, maxMs: 30_000 }
/** Refused access mends itself only when someone acts. */
const accessWaits: RetryWaits = { minMs: 10_000, maxMs: 300_000 }
/** Words of the receiver that are kept. */
const wordsBytes = 1024

/** One request that is about to be sent. */
export interface SignedRequest {
  readonly method: string
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | Buffer[] | undefined
}
/** Gives all headers of the request, those that prove who sends it among them. */
export type Signer = (request: SignedRequest) => Promise<Readonly<Record<string, string>>>

export interface HttpConnection {
  readonly headers: Readonly<Record<string, string>>
  /** Value of the Authorization header. */
  readonly authorization: string | undefined
  /** Headers for one request, over all it has already: signatures. */
  readonly sign?: Signer | undefined
  readonly tls: TlsOptions
  readonly timeoutMs: number
  readonly connectTimeoutMs: number
  readonly responseHeaderTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly maxConnections: number
}

export interface PostOptions extends Signal {
  /** Path below the endpoint, with its leading slash, and query; the endpoint itself if left out. */
  readonly path?: string
  /** True if the body of a 2xx answer is wanted. */
  readonly answer?: boolean
}

/** What an endpoint says to a HEAD, whatever it is. */
export interface Greeting {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** When it came, ms since the epoch, and how long it took. */
  readonly atMs: number
  readonly tookMs: number
}

const nothing = Buffer.alloc(0)

export class Endpoint {
  /** Without credentials, query, and tokens in the path: fit for logs. */
  readonly name: string
  /** Brought up to date by what is posted. */
  readonly dependency: DependencyState
  readonly #pool: Pool
  readonly #url: URL
  readonly #sign: Signer | undefined
  readonly #headers: Readonly<Record<string, string>>
  readonly #timeoutMs: number
  readonly #log: Log
  /** What a receiver may send back of what it was sent, and nobody else may read. */
  readonly #hidden: Hidden
  inFlight = 0
  /** Failures in a row, and pauses in a row. */
  #failures = 0
  #pauses = 0
  #pausedAtMs = 0
  #openUntilMs = 0

  /** `dependency` makes the one of this endpoint, which is asked by `probe` unless it says otherwise. */
  constructor(url: string, o: HttpConnection, log: Log, dependency: (endpoint: Endpoint) => DependencyState) {
    const parsed = new URL(url)
    const { username, password } = parsed
    parsed.username = ''
    parsed.password = ''
    // A token may stand in the query too.
    this.name = urlWithoutSecrets(`${parsed.origin}${parsed.pathname}`)
    this.#url = parsed
    this.#sign = o.sign
    this.#timeoutMs = o.timeoutMs
    this.#log = log
    const basic = username === '' ? undefined : basicHeader(unescaped(username), unescaped(password))
    const authorization = o.authorization ?? basic
    this.#headers = {
      'user-agent': `s3-streamer/${version}`,
      ...(authorization === undefined ? {} : { authorization }),
      ...Object.fromEntries(Object.entries(o.headers).map(([key, value]) => [key.toLowerCase(), value])),
    }
    this.#hidden = new Hidden([...secretsOf(this.#headers), ...secretsOf(url)])
    this.#pool = new Pool(parsed.origin, {
      connections: o.maxConnections,
      pipelining: 1,
      connectTimeout: o.connectTimeoutMs,
      headersTimeout: o.responseHeaderTimeoutMs,
      bodyTimeout: o.responseHeaderTimeoutMs,
      keepAliveTimeout: o.idleTimeoutMs,
      keepAliveMaxTimeout: o.idleTimeoutMs,
      connect: o.tls,
    })
    this.dependency = dependency(this)
  }

  /** Open connections: those with a request under way, and the others. */
  get connections(): { readonly active: number; readonly idle: number } {
    const { connected, running } = this.#pool.stats
    const active = Math.min(connected, running)
    return { active, idle: connected - active }
  }

  /** When it may be used again, ms since the epoch; in the past if it may be used now. */
  get openUntilMs(): number {
    return this.#openUntilMs
  }

  /** True if it may take a request now. After a pause one request tries it out. */
  isUsable(nowMs: number): boolean {
    return this.#openUntilMs <= nowMs && (this.#failures < failuresToOpen || this.inFlight === 0)
  }

  /**
   * Posts the body; resolves with the answer's body, if it is asked for, when the receiver has answered 2xx. Throws a
   * StreamError of the sink kind that the answer means.
   */
  async post(body: Buffer | Buffer[], headers: Readonly<Record<string, string>>, o: PostOptions): Promise<Buffer> {
    const startMs = Date.now()
    this.inFlight += 1
    try {
      const answer = await this.#request('POST', this.#target(o.path), body, headers, o)
      this.dependency.used()
      this.#succeeded(startMs)
      return answer
    } catch (error) {
      if (error instanceof StreamError && error.code === 'sink.access') this.dependency.paused(error)
      else this.dependency.used(error)
      if (error instanceof StreamError) this.#failed(error, startMs)
      throw error
    } finally {
      this.inFlight -= 1
    }
  }

  /** The endpoint itself, or a path below it; a query is added to that of the endpoint. */
  #target(path: string | undefined): URL {
    if (path === undefined) return this.#url
    const url = new URL(this.#url)
    const [below, query] = path.split('?', 2)
    url.pathname = `${url.pathname.replace(/\/$/, '')}${below}`
    if (query !== undefined) url.search = url.search === '' ? query : `${url.search}&${query}`
    return url
  }

  /** A GET below the endpoint, for checks: nothing is written. Throws as `post` does. */
  async get(path: string, o: Signal): Promise<Buffer> {
    return await this.#request('GET', this.#target(path), undefined, {}, { ...o, answer: true })
  }

  /** Any answer proves that someone is there; nothing is written. */
  async probe(o: Signal): Promise<void> {
    try {
      await this.#request('HEAD', this.#url, undefined, {}, o)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      const { status } = error.data
      if (typeof status === 'number' && ![401, 403, 407].includes(status) && status < 500) return
      throw error
    }
  }

  /** What it says to a HEAD. Throws sink.unavailable if it says nothing. */
  async greet(o: Signal): Promise<Greeting> {
    const startMs = performance.now()
    using limit = new TimeLimit(o.signal, this.#timeoutMs)
    const { statusCode: status, headers, body } = await this.#send('HEAD', this.#url, undefined, {}, { o, limit })
    const tookMs = performance.now() - startMs
    await body.dump().catch(() => undefined)
    return { status, headers, atMs: Date.now(), tookMs }
  }

  /** Requests that were under way when a pause began say nothing about how it is after. */
  #succeeded(startMs: number): void {
    if (startMs < this.#pausedAtMs) return
    if (this.#pauses > 0) this.#log.info({ endpoint: this.name }, 'endpoint works again')
    this.#failures = 0
    this.#pauses = 0
  }

  #failed(error: StreamError, startMs: number): void {
    if (error.kind !== 'transient' || error.code === 'run.aborted' || startMs < this.#pausedAtMs) return
    this.#failures += 1
    const asked = error.retryAfterMs ?? 0
    if (error.code === 'sink.access') this.#pause(accessWaits, error)
    // One busy answer holds up its own batch; a second in a row means that the endpoint as a whole wants a pause.
    else if (asked > 0 && this.#failures > 1)
      this.#openUntilMs = Math.max(this.#openUntilMs, Date.now() + Math.min(asked, 300_000))
    else if (asked === 0 && this.#failures >= failuresToOpen) this.#pause(openWaits, error)
  }

  #pause(waits: RetryWaits, error: StreamError): void {
    const range = Math.min(waits.maxMs, waits.minMs * 2 ** Math.min(this.#pauses, 20))
    this.#pausedAtMs = Date.now()
    this.#openUntilMs = this.#pausedAtMs + range * (0.5 + Math.random() / 2)
    this.#failures = failuresToOpen
    this.#pauses += 1
    if (this.#pauses > 1) return
    const facts = { endpoint: this.name, error: explainError(error) }
    if (error.code === 'sink.access')
      this.#log.error(facts, 'endpoint refuses us; its batches wait or go to the others')
    else this.#log.warn(facts, 'endpoint fails; its batches wait or go to the others')
  }

  async #request(
    method: 'POST' | 'HEAD' | 'GET',
    url: URL,
    body: Buffer | Buffer[] | undefined,
    given: Readonly<Record<string, string>>,
    o: PostOptions,
  ): Promise<Buffer> {
    using limit = new TimeLimit(o.signal, this.#timeoutMs)
    const response = await this.#send(method, url, body, given, { o, limit })
    const { statusCode: status } = response
    if (status >= 200 && status < 300) {
      if (o.answer) return await this.#answerOf(response, o, limit)
      // The status is the answer; what follows it is only read so that the connection can be used again.
      await response.body.dump({ limit: 128 * 1024 }).catch(() => undefined)
      return nothing
    }
    throw await this.#refusal(status, response)
  }

  /** The answer, whatever its status. Throws sink.unavailable if there is none. */
  async #send(
    method: 'POST' | 'HEAD' | 'GET',
    url: URL,
    body: Buffer | Buffer[] | undefined,
    given: Readonly<Record<string, string>>,
    { o, limit }: { readonly o: Signal; readonly limit: TimeLimit },
  ): Promise<Dispatcher.ResponseData> {
    const { signal } = limit
    const length = Array.isArray(body) ? body.reduce((sum, piece) => sum + piece.length, 0) : body?.length
    const plain = { ...this.#headers, ...given, ...(length === undefined ? {} : { 'content-length': String(length) }) }
    const send = async () =>
      await this.#pool.request({
        method,
        path: `${url.pathname}${url.search}`,
        headers: this.#sign ? await untilAborted(this.#sign({ method, url, headers: plain, body }), signal) : plain,
        ...(body === undefined
          ? {}
          : { body: Array.isArray(body) ? Readable.from(body, { objectMode: false }) : body }),
        signal,
      })
    try {
      return await send().catch((error: unknown) => {
        // A kept connection that the server closed meanwhile says nothing about the server: once more, at once.
        if (isClosedSocket(error) && !signal.aborted) return send()
        throw error
      })
    } catch (error) {
      if (error instanceof StreamError) throw error
      if (o.signal.aborted)
        throw new StreamError('run.aborted', `request to ${this.name} interrupted by the stop`, { cause: error })
      const why = limit.isOver ? `no answer within timeout (${this.#timeoutMs / 1000} s)` : ''
      throw new StreamError(
        'sink.unavailable',
        `cannot ${method === 'POST' ? 'post to' : 'reach'} ${this.name}${why === '' ? '' : `: ${why}`}`,
        {
          // It would say the same once more.
          cause: limit.isOver ? undefined : error,
          data: { endpoint: this.name, timeout: isTimeout(error) || limit.isOver },
        },
      )
    }
  }

  /** The whole answer: where it says what became of each record, half of it says nothing. */
  async #answerOf(response: Dispatcher.ResponseData, o: Signal, limit: TimeLimit): Promise<Buffer> {
    try {
      return Buffer.from(await response.body.arrayBuffer())
    } catch (error) {
      if (o.signal.aborted)
        throw new StreamError('run.aborted', `request to ${this.name} interrupted by the stop`, { cause: error })
      throw new StreamError('sink.unavailable', `the answer of ${this.name} broke off`, {
        cause: error,
        data: { endpoint: this.name, timeout: isTimeout(error) || limit.isOver },
      })
    }
  }

  async #refusal(status: number, response: Dispatcher.ResponseData): Promise<StreamError> {
    const words = this.#hidden.in(await readWords(response.body))
    const message = `${this.name} answered ${status}${words === '' ? '' : `: ${words}`}`
    const data = { endpoint: this.name, status }
    const retryAfterMs = retryAfter(response.headers['retry-after'])
    if (status === 413) return new StreamError('sink.too_large', message, { data })
    if (status === 429) return new StreamError('sink.throttled', message, { data, retryAfterMs })
    if (status >= 500 || status === 408 || status === 425)
      return new StreamError('sink.unavailable', message, { data, retryAfterMs })
    if (status < 400) {
      const target = response.headers.location
      return new StreamError('sink.access', `${message} (a redirect to ${String(target)}: give that URL as endpoint)`, {
        data,
      })
    }
    if ([401, 403, 404, 405, 407].includes(status)) return new StreamError('sink.access', message, { data })
    return new StreamError('sink.rejected', message, { data })
  }

  async close(): Promise<void> {
    await this.#pool.destroy()
  }
}

export function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

function unescaped(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch (error) {
    throw new StreamError('config.invalid', 'an endpoint URL has a user or password with a bad % escape', {
      cause: error,
    })
  }
}

function isClosedSocket(error: unknown): boolean {
  if (error instanceof errors.SocketError) return (error.socket?.bytesRead ?? 0) > 0
  return error instanceof Error && 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
}

function isTimeout(error: unknown): boolean {
  return (
    error instanceof errors.HeadersTimeoutError ||
    error instanceof errors.BodyTimeoutError ||
    error instanceof errors.ConnectTimeoutError
  )
}

/** RFC 9110 10.2.3: seconds or a date; in ms from now. */
function retryAfter(header: string | string[] | undefined): number | undefined {
  if (typeof header !== 'string') return undefined
  if (/^\d+(\.\d+)?$/.test(header.trim())) return Number(header) * 1000
  const at = Date.parse(header)
  return Number.isNaN(at) ? undefined : Math.max(0, at - Date.now())
}

/** The first words of an answer, in one line. The rest is not read, however long it is. */
async function readWords(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      length += chunk.length
      if (length >= wordsBytes) break
    }
  } catch {
    // What came before the break is all there is.
  }
  const text = Buffer.concat(chunks).toString('utf8', 0, Math.min(length, wordsBytes))
  return text.replaceAll(/[\p{Cc}\s]+/gu, ' ').trim()
}

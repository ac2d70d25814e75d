/**
 * OTLP by HTTP with protobuf.
 * https://opentelemetry.io/docs/specs/otlp/#otlphttp
 */
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Dispatcher, Pool } from 'undici'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { firstBytes } from './first-bytes.ts'
import type { OtlpSignal, OtlpTarget } from './otlp-target.ts'
import type { OtlpTransport } from './otlp-transport.ts'

const compress = promisify(gzip)
/** One for each signal: none waits for an answer to another one. */
const connections = 3
/** An answer says how much was not taken and why; more than this is something else. */
const answerBytes = 64 * 1024
/** Of that, what may be quoted, before secrets are taken out of it. */
const wordsBytes = 4096

export class OtlpHttp implements OtlpTransport {
  readonly #target: OtlpTarget
  readonly #pool: Pool

  constructor(target: OtlpTarget, timeoutMs: number) {
    this.#target = target
    this.#pool = new Pool(target.origin, {
      connections,
      connect: { ...target.tls, timeout: timeoutMs },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    })
  }

  async send(signal: OtlpSignal, bytes: Buffer, o: Signal): Promise<Buffer> {
    const { headers, gzip, path } = this.#target
    const url = `${this.#target.origin}${path}/v1/${signal}`
    const failure = `cannot export ${signal} to ${url}`
    try {
      const response = await this.#pool.request({
        method: 'POST',
        path: `${path}/v1/${signal}`,
        body: gzip ? await compress(bytes) : bytes,
        headers: {
          ...headers,
          'content-type': 'application/x-protobuf',
          ...(gzip ? { 'content-encoding': 'gzip' } : {}),
        },
        signal: o.signal,
      })
      const answer = await firstBytes(response.body, answerBytes)
      const status = response.statusCode
      if (status < 200 || status > 299) throw refusal(failure, response, this.#wordsOf(response, answer))
      const type = contentTypeOf(response)
      if (type.startsWith('text/html')) {
        const message = `${failure}: it answered with a web page (is that the address of an OTLP receiver?)`
        throw new StreamError('sink.access', message, { data: { status } })
      }
      return type.startsWith('application/x-protobuf') || type === '' ? answer : Buffer.alloc(0)
    } catch (error) {
      if (error instanceof StreamError) throw error
      if (o.signal.aborted) throw new StreamError('run.aborted', failure, { cause: o.signal.reason })
      const advice =
        'is an OTLP receiver running there, with TLS or without as otlp.insecure says, and does otlp.tls trust it?'
      throw new StreamError('sink.unavailable', `${failure} (${advice})`, { cause: error })
    }
  }

  /** The body of a refusal is a google.rpc.Status, whose text is legible as it is. */
  #wordsOf(response: Dispatcher.ResponseData, answer: Buffer): string {
    if (contentTypeOf(response).startsWith('text/html')) return ''
    return this.#target.quote(answer.toString('utf8', 0, wordsBytes))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.destroy()
  }
}

function refusal(failure: string, response: Dispatcher.ResponseData, words: string): StreamError {
  const status = response.statusCode
  const message = `${failure}: it answered ${status}${words === '' ? '' : ` ${JSON.stringify(words)}`}`
  const data = { status }
  if ([429, 502, 503, 504].includes(status)) {
    const code = status === 429 ? 'sink.throttled' : 'sink.unavailable'
    const advice = 'it is busy or restarting; look into its log if this does not end'
    return new StreamError(code, `${message} (${advice})`, { data, retryAfterMs: retryAfterMs(response) })
  }
  if (status === 413) {
    const advice = 'raise the largest request that the receiver takes'
    return new StreamError('sink.too_large', `${message} (${advice})`, { data })
  }
  if ([401, 403, 407].includes(status)) {
    return new StreamError('sink.access', `${message} (set otlp.headers)`, { data })
  }
  if (status < 400 || status === 404 || status === 405) {
    const advice = 'otlp.endpoint must be the OTLP receiver itself; look whether it takes this signal'
    return new StreamError('sink.access', `${message} (${advice})`, { data })
  }
  return new StreamError('sink.rejected', `${message} (look into the log of the receiver)`, { data })
}

function retryAfterMs({ headers }: Dispatcher.ResponseData): number | undefined {
  const text = headers['retry-after']
  if (typeof text !== 'string') return undefined
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now()
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined
}

function contentTypeOf({ headers }: Dispatcher.ResponseData): string {
  const type = headers['content-type']
  return typeof type === 'string' ? type.toLowerCase() : ''
}

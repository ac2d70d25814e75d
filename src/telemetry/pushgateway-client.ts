/**
 * The requests to a Pushgateway for one group of metrics.
 * https://github.com/prometheus/pushgateway#api
 */
import { hostname } from 'node:os'
import { Client, type Dispatcher } from 'undici'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { basicHeader } from '../sinks/http-endpoints.ts'
import { tlsOptions } from '../sinks/tls.ts'
import { firstBytes } from './first-bytes.ts'
import { prometheusContentType } from './prometheus-text.ts'
import type { PushgatewayConfig } from './pushgateway-config.ts'
import { printable } from './text-line.ts'
import { version } from './version.ts'

/** Words of the gateway that are kept. */
const wordsLength = 300

export class PushgatewayClient implements AsyncDisposable {
  /** URL of the group, without credentials: fit for logs. */
  readonly url: string
  readonly #client: Client
  readonly #path: string
  readonly #headers: Readonly<Record<string, string>>
  readonly #timeoutMs: number

  /** Throws config.invalid for what the schema cannot see. */
  constructor(config: PushgatewayConfig) {
    const { job, instance, labels, timeout } = config
    const url = new URL(config.endpoint)
    const authorization = authorizationOf(config, url)
    this.#headers = {
      'user-agent': `s3-streamer/${version}`,
      ...(authorization === undefined ? {} : { authorization }),
    }
    this.#path = `${url.pathname.replace(/\/+$/, '')}${groupPath({ job, instance: instance ?? hostname(), ...labels })}`
    this.url = `${url.origin}${this.#path}`
    this.#timeoutMs = timeout
    this.#client = new Client(url.origin, {
      connect: { ...tlsOptions(config.tls), timeout },
      headersTimeout: timeout,
      bodyTimeout: timeout,
    })
  }

  /** Replaces everything in the group. Throws a StreamError that says what to do. */
  async put(text: string, o: Signal): Promise<void> {
    await this.#request({ method: 'PUT', body: text, headers: { 'content-type': prometheusContentType } }, o)
  }

  /** Removes the group; one that is not there counts as removed. Throws as `put` does. */
  async delete(o: Signal): Promise<void> {
    await this.#request({ method: 'DELETE' }, o)
  }

  async #request(
    request: { readonly method: 'PUT' | 'DELETE'; readonly body?: string; readonly headers?: Record<string, string> },
    o: Signal,
  ): Promise<void> {
    using limit = new TimeLimit(o.signal, this.#timeoutMs)
    const verb = request.method === 'PUT' ? 'push metrics to' : 'delete metrics at'
    const failure = `cannot ${verb} ${this.url}`
    try {
      const response = await this.#client.request({
        ...request,
        path: this.#path,
        headers: { ...this.#headers, ...request.headers },
        signal: limit.signal,
        // One kept for the next push might be closed by a proxy meanwhile, and that push would fail.
        reset: true,
      })
      const words = await wordsOf(response)
      const status = response.statusCode
      if (status < 200 || status > 299) throw refusal(failure, status, words)
    } catch (error) {
      if (error instanceof StreamError) throw error
      if (o.signal.aborted) throw new StreamError('run.aborted', failure, { cause: error })
      const why = limit.isOver ? `: no answer within timeout (${this.#timeoutMs / 1000} s)` : ''
      const advice = 'is a Pushgateway running there, and can this host reach it?'
      throw new StreamError('sink.unavailable', `${failure}${why} (${advice})`, { cause: error })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.destroy()
  }
}

/**
 * `/metrics/job/nightly/instance/host-1`. A value that a path cannot hold is written in base64: with a slash, empty, or
 * one that clients and proxies take as a step in the path.
 */
export function groupPath(labels: Readonly<Record<string, string>>): string {
  const parts = Object.entries(labels).map(([name, given]) => {
    const value = given.toWellFormed()
    // Without a padding of its own the empty value would be an empty segment, which routers drop.
    if (value === '') return `${name}@base64/=`
    if (value.includes('/') || value === '.' || value === '..')
      return `${name}@base64/${Buffer.from(value).toString('base64url')}`
    return `${name}/${encodeURIComponent(value)}`
  })
  return `/metrics/${parts.join('/')}`
}

function authorizationOf({ auth }: PushgatewayConfig, url: URL): string | undefined {
  if (auth?.type === 'bearer') return `Bearer ${auth.token.reveal()}`
  if (auth?.type === 'basic') return basicHeader(auth.username, auth.password.reveal())
  if (url.username === '') return undefined
  try {
    return basicHeader(decodeURIComponent(url.username), decodeURIComponent(url.password))
  } catch (error) {
    const message = 'cannot use pushgateway.endpoint: its user or password has a bad % escape (write % as %25)'
    throw new StreamError('config.invalid', message, { cause: error })
  }
}

function refusal(failure: string, status: number, words: string): StreamError {
  const message = `${failure}: it answered ${status}${words === '' ? '' : ` ${JSON.stringify(words)}`}`
  const data = { status }
  if (status >= 500 || status === 408 || status === 429)
    return new StreamError('sink.unavailable', `${message} (look into the log of the gateway)`, { data })
  if ([401, 403, 407].includes(status))
    return new StreamError('sink.access', `${message} (set pushgateway.auth)`, { data })
  if (status < 400 || status === 404 || status === 405) {
    const advice = 'pushgateway.endpoint must be the URL of a Pushgateway itself, with its route prefix if it has one'
    return new StreamError('sink.access', `${message} (${advice})`, { data })
  }
  const advice = 'is the same name in use there by another program, with another type?'
  return new StreamError('sink.rejected', `${message} (${advice})`, { data })
}

/** The first words of an answer, in one line; no more than those are read. */
async function wordsOf({ body }: Dispatcher.ResponseData): Promise<string> {
  const text = (await firstBytes(body, wordsLength)).toString()
  return printable(text.replaceAll(/\s+/g, ' ').trim())
}

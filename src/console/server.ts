/**
 * The HTTP server of a running streamer, on one port:
 *
 *   /live                 this process turns (200)
 *   /ready                it runs, and everything its pipelines need is well (200, else 503)
 *   /health               everything they need is well (200, else 503); another path if `health.path` says so
 *   /metrics              for Prometheus
 *   /api/…                what `api.ts` says
 *   everything else       the files of the page
 *
 * The first four need no token. Nothing here holds up the pipelines: what is asked for is made from values in memory, what waits
 * waits for the network, and how much may be asked at once is limited.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { HealthChecks, type HealthTarget } from '../health/health-checks.ts'
import { EventLoopWatch } from '../health/liveness.ts'
import { entriesOf, healthReport } from '../health/report.ts'
import { prometheusContentType, prometheusText } from '../telemetry/prometheus-text.ts'
import { Access } from './access.ts'
import { type Answer, compressed, json, problem, Refusal, send } from './answer.ts'
import { Api } from './api.ts'
import { type ConsoleConfig, defaultAddress, type HealthConfig, portOf } from './config.ts'
import { Connections } from './connections.ts'
import { SnapshotEvents } from './events.ts'
import type { Operations } from './operations.ts'
import type { PageFiles } from './page-file.ts'
import { closeAll, type Listening, listen } from './server-listen.ts'
import type { Snapshot } from './snapshot.ts'
import { Sparing } from './sparing.ts'

export interface ServerConfig {
  readonly health: HealthConfig
  readonly console: ConsoleConfig
}

export interface ServerOptions {
  readonly config: ServerConfig
  readonly operations: Operations
  /** Everything that the pipelines that run now depend on. */
  readonly dependencies: () => readonly HealthTarget[]
  readonly page: PageFiles
  /** Takes secrets of the configuration out of a text. */
  readonly hide: (text: string) => string
  readonly log: Log
}

export interface ConsoleServer extends AsyncDisposable {
  /** Where to find it from this machine: `http://localhost:8090`. */
  readonly address: string
  /** Takes another configuration; where it listens changes only if that does. Throws console.bind, and then nothing was changed. */
  reconfigure(config: ServerConfig): Promise<void>
}

/** Whoever is slow to fetch them holds a megabyte of ours, and needs no token for that. */
const mostScrapes = 16

/** Listens when it resolves. Throws console.bind. `operations` are asked from then on. */
export async function openServer(o: ServerOptions): Promise<ConsoleServer> {
  const server = new HttpServer(o)
  await server.open(o.config)
  return server
}

class HttpServer implements ConsoleServer {
  readonly #dependencies: () => readonly HealthTarget[]
  readonly #page: PageFiles
  readonly #hide: (text: string) => string
  readonly #log: Log
  readonly #access: Access
  readonly #events: SnapshotEvents
  readonly #api: Api
  readonly #checks = new HealthChecks()
  readonly #watch = new EventLoopWatch()
  readonly #closed = new AbortController()
  // Whoever asks for these needs no token.
  readonly #metricsText: Sparing<Answer>
  readonly #snapshot: Sparing<Snapshot>
  /** Answers with metrics that are under way. */
  #scrapes = 0
  #config: ServerConfig
  #listening: Listening | undefined

  constructor({ config, operations, dependencies, page, hide, log }: ServerOptions) {
    this.#config = config
    this.#dependencies = dependencies
    this.#page = page
    this.#hide = hide
    this.#log = log
    this.#metricsText = new Sparing(() => metricsAnswer(prometheusText(operations.metrics())))
    this.#snapshot = new Sparing(() => operations.snapshot())
    this.#access = new Access(config.console.token, log)
    this.#events = new SnapshotEvents({ snapshot: () => operations.snapshot(), hide, log })
    this.#api = new Api({ operations, access: this.#access, events: this.#events, hide, log })
  }

  get address(): string {
    return this.#listening?.url ?? ''
  }

  async open({ health }: ServerConfig): Promise<void> {
    const listening = await listen(health.address, (server) => {
      const connections = new Connections(server, (facts, message) => this.#log.debug(facts, message))
      server.on('request', (request, response) => {
        if (connections.take(request, response)) void this.#serve(request, response)
      })
    })
    this.#listening = listening
    const { address, url } = listening
    this.#log.info(
      { address },
      `health checks, metrics${this.#config.console.enabled ? ' and the console' : ''} at ${url}`,
    )
  }

  async reconfigure(config: ServerConfig): Promise<void> {
    const { address } = config.health
    if (address !== this.#config.health.address && address !== this.#listening?.address) await this.#move(config)
    this.#config = config
    this.#access.setToken(config.console.token)
  }

  /** To another address, which may be on the port that we have. */
  async #move(config: ServerConfig): Promise<void> {
    const before = this.#listening
    const port = portOf(config.health.address ?? defaultAddress)
    if (before && port === before.port) {
      // The request that asks for this may be on one of its connections, so nobody waits for them to end.
      void closeAll(before)
      try {
        await this.open(config)
      } catch (error) {
        await this.open(this.#config)
        throw error
      }
    } else {
      await this.open(config)
      if (before) void closeAll(before)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(new Error('the streamer stops'))
    this.#events[Symbol.dispose]()
    this.#checks[Symbol.dispose]()
    this.#watch[Symbol.dispose]()
    if (this.#listening) await closeAll(this.#listening)
  }

  /** Never rejects. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const gone = new AbortController()
    response.once('close', () => gone.abort(new Error('the client is gone')))
    response.on('error', (error) => this.#log.debug({ error: explainError(error) }, 'cannot answer over HTTP'))
    const signal = AbortSignal.any([gone.signal, this.#closed.signal])
    let answer: Answer | undefined
    try {
      answer = await this.#answer(request, response, signal)
    } catch (error) {
      answer = this.#failure(request, signal, error)
    }
    if (!answer) return
    try {
      await send(request, response, answer)
    } catch (error) {
      this.#log.error({ error: explainError(error) }, 'cannot send an answer over HTTP')
      response.destroy()
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse, signal: AbortSignal): Promise<Answer | undefined> {
    const { path, segments, query } = target(request.url ?? '/')
    if (segments[0] === 'api' && path !== this.#config.health.path) {
      const { enabled } = this.#config.console
      // `status` asks for this one.
      if (!enabled && path !== '/api/status') throw new Refusal(404, 'the console is turned off: set console.enabled')
      return await this.#api.answer({ request, response, segments: segments.slice(1), query, signal })
    }
    if (request.method !== 'GET' && request.method !== 'HEAD')
      throw new Refusal(405, 'that path takes GET, HEAD', { allow: 'GET, HEAD' })
    switch (path) {
      case '/live':
        return json(this.#watch.look())
      case '/ready':
        return await this.#health(true)
      case '/metrics':
        return this.#metrics(response)
      case this.#config.health.path:
        return await this.#health(false)
      default:
        return await this.#file(request, path)
    }
  }

  #metrics(response: ServerResponse): Answer {
    if (this.#scrapes >= mostScrapes)
      throw new Refusal(503, `${mostScrapes} others fetch the metrics now: try again`, { 'retry-after': '1' })
    this.#scrapes += 1
    response.once('close', () => {
      this.#scrapes -= 1
    })
    return this.#metricsText.get()
  }

  async #health(isReady: boolean): Promise<Answer> {
    const probed = await this.#checks.check(this.#dependencies())
    const snapshot = this.#snapshot.get()
    const notReady = isReady && snapshot.state !== 'running' ? `The streamer is ${snapshot.state}` : undefined
    const entries = [...probed, ...entriesOf(snapshot)].map((entry) => ({
      ...entry,
      error: entry.error === undefined ? undefined : this.#hide(entry.error),
    }))
    const report = healthReport(entries, Date.now(), notReady)
    return json(report, { status: report.status === 'healthy' ? 200 : 503 })
  }

  async #file(request: IncomingMessage, path: string): Promise<Answer> {
    const { enabled } = this.#config.console
    if (!enabled)
      throw new Refusal(404, `there is nothing here but /live, /ready, ${this.#config.health.path} and /metrics`)
    this.#access.page(request)
    const file = await this.#page.file(path)
    if (!file) throw new Refusal(404, 'there is no such page')
    const { type, body, gzip, etag } = file
    const headers = {
      'content-type': type,
      'content-security-policy': pagePolicy(this.#page.scriptSources),
      // Kept, and asked for again each time: another version may run by then.
      'cache-control': 'no-cache',
      etag,
    }
    const isKnown = request.headers['if-none-match']?.includes(etag) ?? false
    return isKnown ? { status: 304, headers, body: '' } : { status: 200, headers, body, gzip: () => gzip }
  }

  #failure(request: IncomingMessage, signal: AbortSignal, error: unknown): Answer {
    const { method, socket } = request
    // Not the query: someone may have put a token there.
    const path = (request.url ?? '').split('?')[0]?.slice(0, 200)
    const facts = { method, path, from: socket.remoteAddress }
    if (error instanceof Refusal) {
      this.#log.debug({ ...facts, status: error.status }, error.message)
      return problem(error.status, this.#hide(error.message), error.headers)
    }
    // Whoever is gone gets no answer, and what was given up for that is no failure.
    if (signal.aborted || request.errored) return problem(503, 'the streamer stops')
    this.#log.error({ ...facts, error: explainError(error) }, 'cannot answer a request to the console')
    return problem(500, 'something unexpected happened: the log of the streamer says what')
  }
}

/** It may be given several times, and is compressed once. */
function metricsAnswer(body: string): Answer {
  let gzip: Promise<Buffer> | undefined
  const once = () => {
    gzip ??= compressed(body)
    return gzip
  }
  return { status: 200, headers: { 'content-type': prometheusContentType }, body, gzip: once }
}

interface Target {
  /** Decoded. */
  readonly path: string
  readonly segments: readonly string[]
  readonly query: URLSearchParams
}

/** Throws a Refusal. Not by `URL`, which takes `//x/y` for a host and removes dots: what means something odd is no path of ours. */
function target(url: string): Target {
  const absolute = /^https?:\/\/[^/?#]*/i.exec(url)?.[0] ?? ''
  const [path = '', query = ''] = url.slice(absolute.length).split(/\?(.*)/s)
  if (path !== '' && !path.startsWith('/')) throw new Refusal(400, 'the path must begin with "/"')
  try {
    const segments = path.slice(1).split('/').map(decodeURIComponent)
    return { path: `/${segments.join('/')}`, segments, query: new URLSearchParams(query) }
  } catch {
    throw new Refusal(400, 'the path is not encoded as it should be')
  }
}

/** The page has its own scripts and styles only, and talks to us only. */
function pagePolicy(scripts: readonly string[]): string {
  return [
    "default-src 'none'",
    ["script-src 'self'", ...scripts].join(' '),
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    // No text can become markup, whatever a library does with it.
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ')
}

/** The server of the console around a fake streamer, and requests to it as no browser would send them. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { consoleConfig, healthConfig } from '../../src/console/config.ts'
import type { PageFiles } from '../../src/console/page-file.ts'
import { type ConsoleServer, openServer, type ServerConfig } from '../../src/console/server.ts'
import type { HealthTarget } from '../../src/health/health-checks.ts'
import { FakeOperations } from './operations.ts'

export const token = 'a-token-of-enough-length'
/** Of the configuration, as if a component had put it into what it says. */
export const secret = 'hunter2-hunter2'

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly bytes: Buffer
  readonly text: string
}

export interface Ask {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}

export interface LogEntry {
  readonly level: string
  readonly message: string
  readonly facts: Readonly<Record<string, unknown>>
}

/** `health` and `console` of the file. */
export function serverConfig(o: { readonly health?: object; readonly console?: object } = {}): ServerConfig {
  return {
    health: healthConfig.parse({ address: '127.0.0.1:0', ...o.health }),
    console: consoleConfig.parse({ token, ...o.console }),
  }
}

const body = Buffer.from('<!doctype html><title>page</title>')
export const page: PageFiles = {
  file: async (path) =>
    path === '/' ? { type: 'text/html; charset=utf-8', body, gzip: body, etag: '"1"' } : undefined,
  scriptSources: ["'sha256-abc='"],
}

export class ConsoleBed implements AsyncDisposable {
  readonly operations = new FakeOperations()
  readonly entries: LogEntry[] = []
  targets: HealthTarget[] = []
  readonly log
  #server: ConsoleServer | undefined

  constructor() {
    const note = (level: string) => (facts: object, message: string) =>
      void this.entries.push({ level, message, facts: { ...facts } })
    this.log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
  }

  async open(config: ServerConfig): Promise<this> {
    const { operations, log } = this
    const hide = (text: string) => text.replaceAll(secret, '[redacted]')
    this.#server = await openServer({ config, operations, log, page, hide, dependencies: () => this.targets })
    return this
  }

  get server(): ConsoleServer {
    return this.#server as ConsoleServer
  }

  get port(): number {
    return Number(new URL(this.server.address).port)
  }

  ask(path: string, o: Ask = {}): Promise<Reply> {
    return ask(this.port, path, o)
  }

  /** As the page does once it has logged in: by cookie and key, from our own origin. */
  async login(): Promise<Record<string, string>> {
    const { headers, text } = await this.post('/api/session', { token })
    const { key } = JSON.parse(text) as { readonly key: string }
    const cookie = String(headers['set-cookie']).split(';')[0] as string
    return { cookie, origin: `http://127.0.0.1:${this.port}`, 'x-s3-streamer-key': key }
  }

  post(path: string, value: unknown, headers: Record<string, string> = {}): Promise<Reply> {
    const json = { 'content-type': 'application/json', ...headers }
    return this.ask(path, { method: 'POST', headers: json, body: JSON.stringify(value) })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
  }
}

export function openBed(o: Parameters<typeof serverConfig>[0] = {}): Promise<ConsoleBed> {
  return new ConsoleBed().open(serverConfig(o))
}

/** One request on a connection of its own. */
export function ask(port: number, path: string, o: Ask & { readonly host?: string } = {}): Promise<Reply> {
  const { promise, resolve, reject } = Promise.withResolvers<Reply>()
  const { method = 'GET', headers = {}, host = '127.0.0.1' } = o
  const request = httpRequest({ host, port, path, method, headers, agent: false }, (response) => {
    const pieces: Buffer[] = []
    response.on('data', (piece: Buffer) => pieces.push(piece))
    response.on('error', reject)
    response.on('end', () => {
      const bytes = Buffer.concat(pieces)
      resolve({ status: response.statusCode ?? 0, headers: response.headers, bytes, text: bytes.toString() })
    })
  })
  request.on('error', reject)
  request.end(o.body)
  return promise
}

/** Sends bytes as they are; gives everything that comes back until the other side closes. */
export function sendRaw(port: number, bytes: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>()
  let got = ''
  const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
  socket.on('data', (piece) => {
    got += piece.toString('latin1')
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => resolve(got))
  return promise
}

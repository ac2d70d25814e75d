/** A Prometheus Pushgateway in this process: keeps groups, refuses what the real one refuses, and fails as it is told. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo } from 'node:net'
import { type Family, parsePrometheus } from './prometheus-parse.ts'

export interface GatewayRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: string
}

/** `hang` never answers, `reset` breaks the connection, `resetAfter` does so when the work is done. */
export type GatewayFault = 'hang' | 'reset' | 'resetAfter' | { readonly status: number; readonly body?: string }

export interface Group {
  readonly labels: Readonly<Record<string, string>>
  readonly families: ReadonlyMap<string, Family>
}

export class EmbeddedPushgateway implements AsyncDisposable {
  url = ''
  port = 0
  /** Grouping key as JSON -> what it holds. */
  readonly groups = new Map<string, Group>()
  /** Requests that were read to their end, in order. */
  readonly requests: GatewayRequest[] = []
  fault: (request: GatewayRequest) => GatewayFault | undefined = () => undefined
  /** Called after each answer, or what stands for one. */
  readonly #waiting = new Set<() => void>()
  readonly #server
  readonly #routePrefix: string

  constructor(o: { readonly tls?: ServerOptions; readonly routePrefix?: string }) {
    const handle = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response)
    this.#server = o.tls ? createTlsServer(o.tls, handle) : createServer(handle)
    this.#routePrefix = o.routePrefix ?? ''
  }

  async listen(port: number, scheme: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#server.once('error', reject)
    this.#server.listen(port, '127.0.0.1', resolve)
    await promise
    this.port = (this.#server.address() as AddressInfo).port
    this.url = `${scheme}://127.0.0.1:${this.port}${this.#routePrefix}`
  }

  /** Resolves when `holds` is true; looks after each request. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await promise
      this.#waiting.delete(resolve)
    }
  }

  /** The value of one series of the only group; undefined if there is none. */
  value(name: string, labels: Readonly<Record<string, string>> = {}): number | undefined {
    const [group] = this.groups.values()
    const samples = [...(group?.families.values() ?? [])].flatMap((family) => family.samples)
    return samples.find(
      (sample) => sample.name === name && Object.entries(labels).every(([key, at]) => sample.labels[key] === at),
    )?.value
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = ''
    try {
      for await (const chunk of request.setEncoding('utf8')) body += String(chunk)
    } catch {
      return
    }
    const seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, body }
    this.requests.push(seen)
    const fault = this.fault(seen)
    if (fault === 'reset') request.socket.resetAndDestroy()
    else if (typeof fault === 'object') response.writeHead(fault.status).end(fault.body ?? '')
    else if (fault !== 'hang') {
      const answer = this.#answer(seen)
      if (fault === 'resetAfter') request.socket.resetAndDestroy()
      else response.writeHead(answer.status).end(answer.body)
    }
    for (const wake of this.#waiting) wake()
  }

  #answer({ method, url, headers, body }: GatewayRequest): { readonly status: number; readonly body: string } {
    const labels = url.startsWith(`${this.#routePrefix}/metrics/`)
      ? groupingKey(url.slice(this.#routePrefix.length + '/metrics/'.length))
      : undefined
    if (!labels) return { status: 404, body: 'page not found' }
    if (labels.job === '') return { status: 400, body: 'job name is required' }
    const id = JSON.stringify(labels)
    if (method === 'DELETE') {
      this.groups.delete(id)
      return { status: 202, body: '' }
    }
    if (method !== 'PUT') return { status: 405, body: 'method not allowed' }
    // Another version, or none, makes the real one guess.
    if (headers['content-type'] !== 'text/plain; version=0.0.4; charset=utf-8')
      return { status: 415, body: `unexpected content type ${String(headers['content-type'])}` }
    try {
      const families = parsePrometheus(body)
      for (const [name, { type }] of families) {
        for (const [other, group] of this.groups)
          if (other !== id && (group.families.get(name)?.type ?? type) !== type)
            throw new Error(`pushed metrics are inconsistent: ${name}`)
      }
      this.groups.set(id, { labels, families })
      return { status: 200, body: '' }
    } catch (error) {
      return { status: 400, body: (error as Error).message }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#server.listening) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#server.close(() => resolve())
    this.#server.closeAllConnections()
    await promise
  }
}

/** `job/x/instance@base64/eA` → labels; undefined if it is no grouping key. */
function groupingKey(path: string): Record<string, string> | undefined {
  const segments = path.split('/')
  if (segments.length % 2 !== 0 || segments.includes('')) return undefined
  const labels: Record<string, string> = {}
  for (let i = 0; i < segments.length; i += 2) {
    const name = segments[i] as string
    const value = segments[i + 1] as string
    // Go cleans such steps out of the path and redirects.
    if (value === '.' || value === '..') return undefined
    const [, plain, encoded] = /^([A-Za-z_]\w*)(@base64)?$/.exec(name) ?? []
    if (plain === undefined) return undefined
    labels[plain] = encoded ? Buffer.from(value, 'base64url').toString() : decodeURIComponent(value)
  }
  return Object.keys(labels)[0] === 'job' ? labels : undefined
}

export async function startPushgateway(
  o: { readonly port?: number; readonly tls?: ServerOptions; readonly routePrefix?: string } = {},
): Promise<EmbeddedPushgateway> {
  const gateway = new EmbeddedPushgateway(o)
  await gateway.listen(o.port ?? 0, o.tls ? 'https' : 'http')
  return gateway
}

/** An HTTP input like that of an Edge Delta agent: takes POSTs, counts what it accepted, and fails as it is told. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type ServerOptions } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface InputRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
}

/**
 * What happens to one request. `reset` breaks the connection without reading; `resetAfter` accepts the body, then breaks the
 * connection before it answers (the sender cannot know, so it sends again); `hang` never answers.
 */
export type Fault =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  | 'reset'
  | 'resetAfter'
  | 'hang'
  | { readonly delayMs: number }

export interface InputOptions {
  readonly port?: number
  readonly tls?: ServerOptions
  /** Called for each request, counted from 0; undefined: accept. */
  readonly fault?: (n: number, request: InputRequest) => Fault | undefined
  /** Called with the body of each accepted request. Without it, bodies are kept in `accepted`. */
  readonly take?: (body: Buffer, request: InputRequest) => void
}

export class HttpInput {
  readonly url: string
  readonly port: number
  /** Requests that were accepted, in order. Empty if `take` was given. */
  readonly accepted: InputRequest[] = []
  /** All requests, the refused ones too. */
  requests = 0
  connections = 0
  fault: NonNullable<InputOptions['fault']>
  readonly #close: () => Promise<void>
  readonly #sockets: Set<Socket>

  constructor(url: string, port: number, o: InputOptions, sockets: Set<Socket>, close: () => Promise<void>) {
    this.url = url
    this.port = port
    this.fault = o.fault ?? (() => undefined)
    this.#sockets = sockets
    this.#close = close
  }

  /** Lines of all accepted bodies. */
  get lines(): string[] {
    return this.accepted.flatMap(({ body }) =>
      body
        .toString()
        .split('\n')
        .filter((line) => line !== ''),
    )
  }

  /** Breaks every connection, busy or idle. */
  breakConnections(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  close(): Promise<void> {
    return this.#close()
  }
}

export async function startHttpInput(o: InputOptions = {}): Promise<HttpInput> {
  const sockets = new Set<Socket>()
  const handle = (request: IncomingMessage, response: ServerResponse) => {
    void serve(input, o, request, response)
  }
  const server = o.tls ? createTlsServer(o.tls, handle) : createServer(handle)
  // Longer than any test: idle connections are closed by breakConnections only.
  server.keepAliveTimeout = 120_000
  server.on(o.tls ? 'secureConnection' : 'connection', (socket: Socket) => {
    input.connections += 1
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => undefined)
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(o.port ?? 0, '127.0.0.1', resolve)
  })
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  const input = new HttpInput(`${o.tls ? 'https' : 'http'}://127.0.0.1:${port}/`, port, o, sockets, close)
  return input
}

async function serve(
  input: HttpInput,
  o: InputOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const n = input.requests
  input.requests += 1
  const chunks: Buffer[] = []
  const probe = { method: request.method ?? '', url: request.url ?? '', headers: request.headers }
  const fault = input.fault(n, { ...probe, body: Buffer.alloc(0) })
  if (fault === 'reset') {
    request.socket.resetAndDestroy()
    return
  }
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  } catch {
    return
  }
  const raw = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
  const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
  const whole = { ...probe, body }
  if (fault === 'hang') return
  if (typeof fault === 'object' && 'status' in fault) {
    response.writeHead(fault.status, fault.headers).end(fault.body ?? '')
    return
  }
  if (typeof fault === 'object') await new Promise((resolve) => setTimeout(resolve, fault.delayMs))
  if (probe.method === 'POST') {
    if (o.take) o.take(body, whole)
    else input.accepted.push(whole)
  }
  if (fault === 'resetAfter') request.socket.resetAndDestroy()
  else response.writeHead(200, { 'content-length': 0 }).end()
}

/**
 * Connections for requests that carry data, kept open between them. As many as there are requests at once: the caller bounds these.
 *
 * When `send` has thrown, nothing reads the bytes of that request any more: its connection is destroyed, or it never had one.
 */
import type { IncomingHttpHeaders } from 'node:http'
import type { Socket } from 'node:net'
import { buildConnector, Client, type Dispatcher } from 'undici'
import type { Signal } from '../core/component.ts'

export interface DataRequest {
  readonly origin: string
  /** With the query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface DataAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Of an error; of a success nothing is kept. */
  readonly body: string
}

/** Time to connect, TLS handshake included. */
const connectMs = 10_000
/** Bytes of an error that are kept. */
const errorBytes = 64 * 1024

export class DataConnections {
  readonly #idleMs: number
  /** Those without a request, by origin; the one used last is the first to be used again, so that those not needed close. */
  readonly #free = new Map<string, DataConnection[]>()
  readonly #all = new Set<DataConnection>()

  /** `idleMs`: longest time in which nothing of a request or its answer moves. */
  constructor(idleMs: number) {
    this.#idleMs = idleMs
  }

  /** The answer, of whatever status. Throws what the connection throws, and the reason of the signal. */
  async send(request: DataRequest, { signal }: Signal): Promise<DataAnswer> {
    signal.throwIfAborted()
    let free = this.#free.get(request.origin)
    if (!free) {
      free = []
      this.#free.set(request.origin, free)
    }
    let connection = free.pop()
    if (!connection) {
      connection = new DataConnection(request.origin, this.#idleMs, free)
      this.#all.add(connection)
    }
    return await connection.send(request, signal)
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((connection) => connection.close()))
    this.#all.clear()
    this.#free.clear()
  }
}

/** One request at a time; connects when there is one, and again when the connection was lost. */
class DataConnection {
  readonly #client: Client
  readonly #free: DataConnection[]
  #socket: Socket | undefined
  #running: Exchange | undefined

  constructor(origin: string, idleMs: number, free: DataConnection[]) {
    this.#free = free
    const connect = buildConnector({ timeout: connectMs, allowH2: false })
    this.#client = new Client(origin, {
      pipelining: 1,
      allowH2: false,
      // It is the socket that is watched: what is slow moves, and undici counts from when it has handed over the body.
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: (options, callback) =>
        connect(options, (...result) => {
          const [, socket] = result
          if (socket) {
            this.#socket = socket
            socket.setTimeout(idleMs, () => {
              if (this.#running) socket.destroy(new IdleError(`nothing moved for ${idleMs / 1000} s`))
            })
          }
          callback(...result)
        }),
    })
  }

  send(request: DataRequest, signal: AbortSignal): Promise<DataAnswer> {
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(signal, resolve, reject, () => this.#over())
      this.#running = exchange
      const { path, headers, body } = request
      this.#client.dispatch({ method: 'PUT', path, headers, body }, exchange)
    })
  }

  #over(): void {
    this.#running = undefined
    // Answered before all was sent: what is left must not be read, nor taken for the beginning of another request.
    if (this.#socket && this.#socket.writableLength > 0) this.#socket.destroy()
    this.#free.push(this)
  }

  async close(): Promise<void> {
    await this.#client.destroy()
  }
}

class IdleError extends Error {
  override readonly name = 'TimeoutError'
}

class Exchange implements Dispatcher.DispatchHandler {
  readonly #signal: AbortSignal
  readonly #resolve: (answer: DataAnswer) => void
  readonly #reject: (reason: unknown) => void
  /** Called once, when the connection has done with it. */
  readonly #over: () => void
  readonly #onAbort: () => void
  #controller: Dispatcher.DispatchController | undefined
  #status = 0
  #headers: IncomingHttpHeaders = {}
  #words: Buffer[] | undefined
  #wordBytes = 0

  constructor(
    signal: AbortSignal,
    resolve: (answer: DataAnswer) => void,
    reject: (reason: unknown) => void,
    over: () => void,
  ) {
    this.#signal = signal
    this.#resolve = resolve
    this.#reject = reject
    this.#over = over
    this.#onAbort = () => {
      this.#controller?.abort(reasonOf(signal))
      // One that waits for its connection is told so at once; it ends itself when that is there, before a byte was read.
      this.#reject(signal.reason)
    }
    signal.addEventListener('abort', this.#onAbort)
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    if (this.#signal.aborted) controller.abort(reasonOf(this.#signal))
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status
    this.#headers = headers
    this.#words = status >= 300 ? [] : undefined
    this.#wordBytes = 0
  }

  onResponseData(_controller: Dispatcher.DispatchController, piece: Buffer): void {
    if (!this.#words || this.#wordBytes >= errorBytes) return
    this.#words.push(Buffer.from(piece))
    this.#wordBytes += piece.length
  }

  onResponseEnd(): void {
    this.#end()
    const body = this.#words ? Buffer.concat(this.#words).toString('utf8', 0, errorBytes) : ''
    this.#resolve({ status: this.#status, headers: this.#headers, body })
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#end()
    this.#reject(error)
  }

  #end(): void {
    this.#signal.removeEventListener('abort', this.#onAbort)
    this.#over()
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error('the request was aborted')
}

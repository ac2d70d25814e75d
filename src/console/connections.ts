/**
 * How much of the server one who has no token can take up.
 *
 * 1. One address has at most half of the connections: the others still get theirs.
 * 2. When most are taken, of all or by one address, those that nobody uses at the moment are closed.
 * 3. Requests of one connection that wait for their answer are few: whoever sends on without reading would fill the memory.
 * 4. What is no HTTP is answered and closed. Only answered, it would stay open as long as the other side likes.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'

export const mostConnections = 256
const mostOfOne = mostConnections / 2
/** Part of them above which those that nobody uses are closed. */
const many = 3 / 4
/** Of one connection. Browsers and scrapers send one at a time. */
const mostUnanswered = 8

export class Connections {
  readonly #server: Server
  readonly #refused: (facts: object, message: string) => void
  readonly #byAddress = new Map<string, number>()
  readonly #unanswered = new WeakMap<Socket, number>()
  #open = 0

  /** Watches them from now on; `refused` is told of what is turned away. */
  constructor(server: Server, refused: (facts: object, message: string) => void) {
    this.#server = server
    this.#refused = refused
    server.maxConnections = mostConnections
    server.on('connection', (socket: Socket) => this.#opened(socket))
    server.on('drop', () => refused({}, 'too many connections: one was refused'))
    server.on('clientError', (error: NodeJS.ErrnoException, socket) => this.#answerNoise(error, socket))
  }

  #opened(socket: Socket): void {
    const from = socket.remoteAddress ?? ''
    const own = (this.#byAddress.get(from) ?? 0) + 1
    this.#byAddress.set(from, own)
    this.#open += 1
    socket.once('close', () => {
      this.#open -= 1
      const left = (this.#byAddress.get(from) ?? 1) - 1
      if (left > 0) this.#byAddress.set(from, left)
      else this.#byAddress.delete(from)
    })
    if (own > mostOfOne * many || this.#open > mostConnections * many) this.#server.closeIdleConnections()
    if (own <= mostOfOne) return
    this.#refused({ from }, 'too many connections from one address: one was refused')
    socket.destroy()
  }

  /** False if it is not to be answered: its connection is closed. */
  take({ socket }: IncomingMessage, response: ServerResponse): boolean {
    const unanswered = (this.#unanswered.get(socket) ?? 0) + 1
    if (unanswered > mostUnanswered) {
      if (!socket.destroyed) this.#refused({ from: socket.remoteAddress }, 'too many requests ahead of their answers')
      socket.destroy()
      return false
    }
    this.#unanswered.set(socket, unanswered)
    response.once('close', () => this.#unanswered.set(socket, (this.#unanswered.get(socket) ?? 1) - 1))
    return true
  }

  #answerNoise(error: NodeJS.ErrnoException, socket: Duplex): void {
    this.#refused({ error: error.code ?? error.message }, 'not an HTTP request')
    if (socket.writable) socket.write(`HTTP/1.1 ${statusOf(error)}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
    ;(socket as Socket).destroySoon()
  }
}

function statusOf({ code }: NodeJS.ErrnoException): string {
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large'
  return code === 'ERR_HTTP_REQUEST_TIMEOUT' ? '408 Request Timeout' : '400 Bad Request'
}

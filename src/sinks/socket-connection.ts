/** One connection over TCP or TLS to a receiver that says nothing back. What its life shows is in socket-writer.ts. */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import type { Signal } from '../core/component.ts'
import { type DependencyOptions, DependencyState } from '../core/dependency-state.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { pollOnce } from './poll-once.ts'
import type { TlsOptions } from './tls.ts'

/** How long a new connection must live before it is written to; a TLS session ticket proves the same sooner. */
const settleMs = 100
const settleTlsMs = 500
/** How long the receiver may take to close its side when we have closed ours. */
const closeMs = 1000
/** Written at once: small enough that a slow receiver shows progress, large enough to cost nothing. */
const sliceBytes = 64 * 1024
/** Idle time before the kernel asks whether the peer still lives. */
const keepAliveMs = 30_000

/** Where to connect to. */
export class SocketTarget {
  /** For messages. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly tls: TlsOptions | undefined
  /** Until when the others come first, ms since the epoch; 0 if it did not fail. */
  pausedUntilMs = 0
  /** Connections that took no data in time, and may take it yet. */
  stuck: SocketConnection[] = []

  readonly dependency: DependencyState

  constructor(host: string, port: number, tls: TlsOptions | undefined, dependency: DependencyOptions) {
    this.name = targetName(host, port, tls)
    this.dependency = new DependencyState(dependency)
    this.host = host
    this.port = port
    this.tls = tls
  }

  connect(): Socket {
    const { host, port } = this
    // The name of the server cannot be an address (RFC 6066 3); the certificate is checked against the address all the same.
    return this.tls
      ? connectTls({ host, port, ...(isIP(host) > 0 ? {} : { servername: host }), ...this.tls })
      : connectTcp({ host, port })
  }
}

/** One connection. Once it is broken it stays so. */
export class SocketConnection {
  readonly target: SocketTarget
  readonly #socket: Socket
  #isOpen = false
  #failure: Error | undefined
  /** Ends what waits for the socket now; at most one thing does. */
  #settle: ((error?: Error | null) => void) | undefined
  #isStuck = false

  constructor(target: SocketTarget) {
    this.target = target
    this.#socket = target.connect()
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, keepAliveMs)
    this.#socket.on('error', (error) => this.#break(error))
    this.#socket.on('end', () => this.#break(new Error('the receiver closed the connection')))
    this.#socket.on('close', () => this.#break(new Error('the connection was closed')))
    // Nothing is expected from there, but the end of it must be seen.
    this.#socket.resume()
  }

  get isWhole(): boolean {
    return this.#isOpen && this.#failure === undefined
  }

  /** True while the receiver takes no data, after a write that gave up waiting for that. */
  get isStuck(): boolean {
    return this.#isStuck && this.#failure === undefined
  }

  /** Connects, and waits for what may go wrong right after that. */
  async open(timeoutMs: number, o: Signal): Promise<void> {
    using limit = new TimeLimit(o.signal, timeoutMs)
    const socket = this.#socket
    let hasTicket = false
    socket.once('session', () => {
      hasTicket = true
    })
    try {
      await this.#until(limit, (done) => socket.once(socket instanceof TLSSocket ? 'secureConnect' : 'connect', done))
    } catch (error) {
      throw limit.isOver ? new Error(`no connection within connect_timeout (${timeoutMs / 1000} s)`) : error
    }
    this.#isOpen = true
    if (socket instanceof TLSSocket) {
      // Up to TLS 1.2 the server has the last word of the handshake, in 1.3 its ticket tells that it is content.
      if (socket.getProtocol() === 'TLSv1.3' && !hasTicket) await this.#settled(settleTlsMs, o)
    } else await this.#settled(settleMs, o)
    // A ticket is told of from inside OpenSSL's reading: a write from there would spoil the stream.
    await pollOnce()
    if (this.#failure) throw this.#failure
  }

  async #settled(ms: number, o: Signal): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    try {
      await this.#until(o, (done) => {
        timer = setTimeout(done, ms)
        this.#socket.once('session', () => done())
      })
    } finally {
      clearTimeout(timer)
    }
  }

  async write(data: Buffer, timeoutMs: number, o: Signal): Promise<void> {
    for (let at = 0; at < data.length; at += sliceBytes) {
      using limit = new TimeLimit(o.signal, timeoutMs)
      try {
        await this.#until(limit, (done) =>
          this.#socket.write(data.subarray(at, at + sliceBytes), (error) => {
            this.#isStuck = false
            done(error)
          }),
        )
      } catch (error) {
        if (!limit.isOver) throw error
        this.#isStuck = true
        throw new Error(`the receiver took no data within timeout (${timeoutMs / 1000} s)`)
      }
    }
    await pollOnce()
    if (this.#failure) throw this.#failure
    o.signal.throwIfAborted()
  }

  /** Resolves when `begin` calls back without an error; throws when it calls back with one, the connection breaks or the signal is aborted. */
  async #until({ signal }: Signal, begin: (done: (error?: Error | null) => void) => void): Promise<void> {
    signal.throwIfAborted()
    if (this.#failure) throw this.#failure
    await new Promise<void>((resolve, reject) => {
      const settle = (error?: Error | null) => {
        if (this.#settle !== settle) return
        signal.removeEventListener('abort', abort)
        this.#settle = undefined
        if (error) reject(error)
        else resolve()
      }
      const abort = () => settle(signal.reason as Error)
      signal.addEventListener('abort', abort)
      this.#settle = settle
      begin(settle)
    })
  }

  #break(error: Error): void {
    this.#failure ??= error
    this.#socket.destroy()
    this.#settle?.(this.#failure)
  }

  /** Ends it at once; what it has not sent is lost. */
  destroy(): void {
    this.#break(new Error('the connection was given up'))
  }

  /** Ends it when all that was written is sent and the receiver has seen the end, or has had its time for that. */
  async close(): Promise<void> {
    const socket = this.#socket
    if (!this.isWhole || this.#settle) this.destroy()
    if (socket.closed) return
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const timer = setTimeout(() => socket.destroy(), closeMs)
    if (!socket.destroyed) socket.end()
    await closed
    clearTimeout(timer)
  }
}

/** For messages. */
export function targetName(host: string, port: number, tls: TlsOptions | undefined): string {
  return `${tls ? 'tls' : 'tcp'}://${host.includes(':') ? `[${host}]` : host}:${port}`
}

/**
 * Writes a stream of bytes to a receiver that says nothing back, over TCP or TLS: GELF, syslog.
 *
 * Without an acknowledgement the kernel is the last one that can be asked. A write resolves when the kernel has taken every byte
 * and the connection was still whole after that. What lay in the socket buffers of either side when the peer died is lost
 * without a trace, so everything that shows a dead peer early is used:
 *
 *   new connection   it must outlive a moment before the first byte is written: proxies accept for servers that are down, and a
 *                    TLS 1.3 server refuses our certificate only after our side of the handshake is done (RFC 8446 4.4.2)
 *   before a write   the event loop looks at the socket first, so that a close that came meanwhile is seen
 *   after a write    the same once more, before the write resolves
 *
 * The end of the peer's side counts as a close: a receiver that only half-closed may read on, or may not.
 */
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import type { Log, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { pollOnce } from './poll-once.ts'
import type { TlsOptions } from './tls.ts'

/** How long a new connection must live before it is written to; a TLS session ticket proves the same sooner. */
const settleMs = 100
const settleTlsMs = 500
/** How long an endpoint that failed comes after the others. */
const pauseMs = 30_000
/** Connections to a receiver that does not read: each one more would take some MB that it may never get. */
const maxStuck = 2
/** How long the receiver may take to close its side when we have closed ours. */
const closeMs = 1000
/** Written at once: small enough that a slow receiver shows progress, large enough to cost nothing. */
const sliceBytes = 64 * 1024
/** Idle time before the kernel asks whether the peer still lives. */
const keepAliveMs = 30_000

export interface SocketWriterOptions {
  /** In order of preference; the next one is used when one fails. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[]
  /** undefined: plain TCP. */
  readonly tls: TlsOptions | undefined
  /** Longest time to connect, TLS handshake included; 0 for no limit. */
  readonly connectTimeoutMs: number
  /** Longest time without the receiver taking any data; 0 for no limit. */
  readonly timeoutMs: number
  readonly log: Log
  /** Who is written to, for messages: "gelf", "syslog". */
  readonly what: string
}

export class SocketWriter implements AsyncDisposable {
  readonly #o: SocketWriterOptions
  readonly #targets: Target[]
  /** Writes go one after the other: two at once would only fill the memory. */
  readonly #slots = new Slots(1)
  #connection: Connection | undefined
  #isDisposed = false

  constructor(o: SocketWriterOptions) {
    this.#o = o
    this.#targets = o.endpoints.map(({ host, port }) => new Target(host, port, o.tls))
  }

  /** Each endpoint must accept a connection, and keep it for a moment; nothing is written. Throws what the first, or all, throw. */
  async connect(o: Signal): Promise<void> {
    const results = await Promise.allSettled(
      this.#targets.map(async (target) => {
        const connection = new Connection(target)
        try {
          await this.#open(connection, o)
        } finally {
          await connection.close()
        }
      }),
    )
    const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
    if (failed.length === 1) throw failed[0]
    if (failed.length > 1) throw this.#allFailed(failed)
  }

  /**
   * Writes all of it, in the order of the calls. Resolved: the kernel has it and the connection is whole. Thrown, always as a
   * transient StreamError: perhaps a part was received, none of it is known to be, and the rest of it is never sent, so it
   * belongs on a new connection as a whole. May be called concurrently.
   */
  async write(data: Buffer | Buffer[], o: Signal): Promise<void> {
    const bytes = Array.isArray(data) ? Buffer.concat(data) : data
    try {
      await this.#slots.acquire(o)
    } catch (error) {
      throw interrupted(this.#o.what, error)
    }
    try {
      const connection = await this.#connected(o)
      try {
        await connection.write(bytes, this.#o.timeoutMs, o)
      } catch (error) {
        if (connection.isStuck) {
          connection.target.stuck.push(connection)
          this.#connection = undefined
        } else connection.destroy()
        if (o.signal.aborted) throw interrupted(`${this.#o.what} to ${connection.target.name}`, error)
        this.#failed(connection.target, error)
        throw this.#unavailable('write', connection.target, error)
      }
    } finally {
      this.#slots.release()
    }
  }

  /** The connection if it is whole, else a new one to the first endpoint that takes it. */
  async #connected(o: Signal): Promise<Connection> {
    // The kernel may know of a close that the event loop has not seen yet.
    await pollOnce()
    if (this.#connection?.isWhole) return this.#connection
    const nowMs = Date.now()
    const healthy = this.#targets.filter(({ pausedUntilMs }) => pausedUntilMs <= nowMs)
    const paused = this.#targets.filter(({ pausedUntilMs }) => pausedUntilMs > nowMs)
    const failures: unknown[] = []
    for (const target of [...healthy, ...paused]) {
      if (this.#isDisposed)
        throw new StreamError('run.aborted', `${this.#o.what}: the connection was closed by the stop`)
      for (const one of target.stuck) if (!one.isStuck) void one.close()
      target.stuck = target.stuck.filter((one) => one.isStuck)
      if (target.stuck.length >= maxStuck) {
        failures.push(this.#unavailable('write', target, new Error('the receiver still takes no data')))
        continue
      }
      const connection = new Connection(target)
      this.#connection = connection
      try {
        await this.#open(connection, o)
        if (target.pausedUntilMs > 0)
          this.#o.log.info({ endpoint: target.name }, `${this.#o.what} endpoint works again`)
        target.pausedUntilMs = 0
        return connection
      } catch (error) {
        if (o.signal.aborted) throw error
        this.#failed(target, error)
        failures.push(error)
      }
    }
    if (failures.length === 1) throw failures[0]
    throw this.#allFailed(failures)
  }

  async #open(connection: Connection, o: Signal): Promise<void> {
    try {
      await connection.open(this.#o.connectTimeoutMs, o)
    } catch (error) {
      connection.destroy()
      if (o.signal.aborted) throw interrupted(`${this.#o.what} to ${connection.target.name}`, error)
      throw this.#unavailable('connect', connection.target, error)
    }
  }

  #failed(target: Target, error: unknown): void {
    if (target.pausedUntilMs === 0)
      this.#o.log.warn(
        { endpoint: target.name, error: error instanceof StreamError ? error.message : explainError(error) },
        `${this.#o.what} endpoint fails; its records wait or go to the others`,
      )
    target.pausedUntilMs = Date.now() + pauseMs
  }

  #unavailable(what: 'connect' | 'write', { name }: Target, error: unknown): StreamError {
    // OpenSSL's own words are long; the reason is the part that helps.
    const reason = error instanceof Error && 'reason' in error ? String(error.reason) : explainError(error)
    const advice = adviceFor(error)
    return new StreamError(
      'sink.unavailable',
      `cannot ${what} to ${this.#o.what} receiver ${name}: ${reason}${advice === undefined ? '' : ` (${advice})`}`,
      { cause: error, data: { endpoint: name } },
    )
  }

  #allFailed(failures: unknown[]): StreamError {
    return new StreamError('sink.unavailable', `all ${failures.length} ${this.#o.what} endpoints fail`, {
      cause: new AggregateError(failures),
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    await Promise.all([this.#connection, ...this.#targets.flatMap(({ stuck }) => stuck)].map((one) => one?.close()))
  }
}

/** Where to connect to. */
class Target {
  /** For messages. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly tls: TlsOptions | undefined
  /** Until when the others come first, ms since the epoch; 0 if it did not fail. */
  pausedUntilMs = 0
  /** Connections that took no data in time, and may take it yet. */
  stuck: Connection[] = []

  constructor(host: string, port: number, tls: TlsOptions | undefined) {
    this.name = `${tls ? 'tls' : 'tcp'}://${host.includes(':') ? `[${host}]` : host}:${port}`
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
class Connection {
  readonly target: Target
  readonly #socket: Socket
  #isOpen = false
  #failure: Error | undefined
  /** Ends what waits for the socket now; at most one thing does. */
  #settle: ((error?: Error | null) => void) | undefined
  #isStuck = false

  constructor(target: Target) {
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

function interrupted(what: string, cause: unknown): StreamError {
  return new StreamError('run.aborted', `write of ${what} interrupted by the stop`, { cause })
}

/** What the operator can do about an error of the socket, where the code says it. */
function adviceFor(error: unknown): string | undefined {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  if (code === 'ENOTFOUND') return 'is the host name right?'
  if (code === 'ECONNREFUSED') return 'is the receiver running, and is the port right?'
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return 'does the receiver expect TLS on this port?'
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'use a host name that the certificate of the receiver has'
  if (code.startsWith('ERR_SSL_TLSV1'))
    return 'does the receiver want a client certificate, tls.cert_file and tls.key_file?'
  if (/CERT|SIGNED|ISSUER|SIGNATURE/.test(code)) return 'set tls.ca_file to the authority of the receiver'
  return undefined
}

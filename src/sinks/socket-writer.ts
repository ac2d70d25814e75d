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
import type { Dependency, Finding, Log, Signal } from '../core/component.ts'
import { uniqueNames } from '../core/dependency-state.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { problemOf, timed } from '../core/findings.ts'
import { Slots } from '../core/slots.ts'
import { certificateFinding } from './certificate-finding.ts'
import { pollOnce } from './poll-once.ts'
import { SocketConnection, SocketTarget, targetName } from './socket-connection.ts'
import type { TlsOptions } from './tls.ts'

/** How long an endpoint that failed comes after the others. */
const pauseMs = 30_000
/** Connections to a receiver that does not read: each one more would take some MB that it may never get. */
const maxStuck = 2

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
  readonly nowMs: () => number
  /** Who is written to, for messages: "gelf", "syslog". */
  readonly what: string
}

export class SocketWriter implements AsyncDisposable {
  readonly #o: SocketWriterOptions
  readonly #targets: SocketTarget[]
  /** Writes go one after the other: two at once would only fill the memory. */
  readonly #slots = new Slots(1)
  #connection: SocketConnection | undefined
  #isDisposed = false

  constructor(o: SocketWriterOptions) {
    this.#o = o
    const names = uniqueNames(o.endpoints.map(({ host, port }) => `${o.what} ${targetName(host, port, o.tls)}`))
    this.#targets = o.endpoints.map(({ host, port }, i) => {
      const target: SocketTarget = new SocketTarget(host, port, o.tls, {
        name: names[i] as string,
        nowMs: o.nowMs,
        probe: async (signal) => await this.#try(target, signal),
      })
      return target
    })
  }

  get dependencies(): readonly Dependency[] {
    return this.#targets.map(({ dependency }) => dependency)
  }

  /** Whether each endpoint takes a connection, how soon, and with which certificate; nothing is written. */
  async *examine(o: Signal): AsyncGenerator<Finding> {
    for (const { dependency, host, port, tls } of this.#targets) {
      const certificate = tls && (await certificateFinding(dependency.name, { host, port, tls }, o))
      if (certificate) yield certificate
      try {
        const { ms } = await timed((signal) => dependency.probe(signal), o)
        yield { level: 'ok', text: `${dependency.name}: takes connections, and keeps them (${ms} ms)` }
      } catch (error) {
        yield problemOf(error, { ...o, what: dependency.name })
      }
    }
  }

  /** Each endpoint must accept a connection, and keep it for a moment; nothing is written. Throws what the first, or all, throw. */
  async connect(o: Signal): Promise<void> {
    const results = await Promise.allSettled(this.#targets.map((target) => this.#try(target, o)))
    const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
    if (failed.length === 1) throw failed[0]
    if (failed.length > 1) throw this.#allFailed(failed)
  }

  async #try(target: SocketTarget, o: Signal): Promise<void> {
    const connection = new SocketConnection(target)
    try {
      await this.#open(connection, o)
    } finally {
      await connection.close()
    }
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
        connection.target.dependency.used()
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
  async #connected(o: Signal): Promise<SocketConnection> {
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
      const connection = new SocketConnection(target)
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

  async #open(connection: SocketConnection, o: Signal): Promise<void> {
    try {
      await connection.open(this.#o.connectTimeoutMs, o)
    } catch (error) {
      connection.destroy()
      if (o.signal.aborted) throw interrupted(`${this.#o.what} to ${connection.target.name}`, error)
      throw this.#unavailable('connect', connection.target, error)
    }
  }

  #failed(target: SocketTarget, error: unknown): void {
    target.dependency.used(error)
    if (target.pausedUntilMs === 0)
      this.#o.log.warn(
        { endpoint: target.name, error: error instanceof StreamError ? error.message : explainError(error) },
        `${this.#o.what} endpoint fails; its records wait or go to the others`,
      )
    target.pausedUntilMs = Date.now() + pauseMs
  }

  #unavailable(what: 'connect' | 'write', { name }: SocketTarget, error: unknown): StreamError {
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

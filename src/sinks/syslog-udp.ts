/**
 * Sends messages as datagrams, to the first of several receivers that does not refuse them. A datagram that nobody wants may be
 * answered by ICMP, which a connected socket reports with the next datagram or as an event; that is all UDP ever says.
 */
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import type { Log, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { nameOf, type SyslogEndpoint } from './syslog-config.ts'
import type { EncodedMessages } from './syslog-encoder.ts'

/** Datagrams handed to the kernel at once; more only fill its queue. */
const sendsAtOnce = 64
/** A receiver that moved to another address does not tell; its name does. */
const resolveAgainMs = 300_000
/** How long the first batch on a new socket waits for a refusal: as long as an answer from afar may take. */
const provingMs = 100
/** Pause between two warnings about the same. */
const quietMs = 60_000

/** One connected socket. */
interface Connection {
  readonly socket: Socket
  readonly sinceMs: number
  /** Aborted with the first error that came since it was connected. */
  readonly broken: AbortController
  /** True if a batch was sent and not refused. */
  isProven: boolean
}

export class DatagramWriter implements AsyncDisposable {
  readonly #endpoints: readonly SyslogEndpoint[]
  readonly #connectTimeoutMs: number
  readonly #log: Log
  /** One batch at a time: an ICMP answer belongs to the batch that is being sent. */
  readonly #slots = new Slots(1)
  #current = 0
  #connection: Connection | undefined
  #isDisposed = false
  #toldAtMs = Number.NEGATIVE_INFINITY

  constructor(o: {
    readonly endpoints: readonly SyslogEndpoint[]
    readonly connectTimeoutMs: number
    readonly log: Log
  }) {
    this.#endpoints = o.endpoints
    this.#connectTimeoutMs = o.connectTimeoutMs
    this.#log = o.log
  }

  /** Resolves the name of every receiver; nothing is sent. Throws sink.unavailable. */
  async check(o: Signal): Promise<void> {
    for (const endpoint of this.#endpoints) (await this.#connect(endpoint, o)).socket.close()
  }

  /**
   * Resolves when the kernel has taken every message and no refusal came. Throws sink.unavailable when every receiver refused,
   * and sink.too_large when a message is larger than a datagram may be here.
   */
  async write(messages: EncodedMessages, o: Signal): Promise<void> {
    await this.#slots.acquire(o)
    try {
      let failure: unknown
      for (let tried = 0; tried < this.#endpoints.length; tried += 1) {
        try {
          await this.#send(messages, o)
          return
        } catch (error) {
          this.#drop()
          if (!(error instanceof StreamError) || error.code !== 'sink.unavailable') throw error
          failure = error
          this.#current = (this.#current + 1) % this.#endpoints.length
          if (this.#endpoints.length > 1) this.#log.debug({ error: explainError(error) }, 'trying the next receiver')
        }
      }
      throw failure
    } finally {
      this.#slots.release()
    }
  }

  async #send(messages: EncodedMessages, o: Signal): Promise<void> {
    const endpoint = this.#endpoints[this.#current] as SyslogEndpoint
    const nowMs = Date.now()
    if (this.#connection?.broken.signal.aborted) {
      this.#tellOfLoss(nameOf(endpoint), this.#connection.broken.signal.reason, nowMs)
      this.#drop()
    } else if (this.#connection && nowMs - this.#connection.sinceMs > resolveAgainMs) this.#drop()
    this.#connection ??= await this.#connect(endpoint, o)
    const connection = this.#connection
    const name = nameOf(endpoint)
    try {
      await sendAll(connection, messages, o)
      // An ICMP answer from this machine is there by now; the second turn is the first that surely polled the socket.
      await turn()
      await turn()
      if (!connection.isProven) await silence(connection, o)
    } catch (error) {
      throw sendError(name, error, o)
    }
    if (o.signal.aborted || this.#isDisposed) throw interrupted(name, o.signal.reason)
    if (connection.broken.signal.aborted) throw sendError(name, connection.broken.signal.reason, o)
    connection.isProven = true
  }

  #tellOfLoss(endpoint: string, error: unknown, nowMs: number): void {
    if (nowMs - this.#toldAtMs < quietMs) return
    this.#toldAtMs = nowMs
    this.#log.warn(
      { endpoint, error: explainError(error) },
      'the receiver refused datagrams that were already handed over; what it missed is lost, the rest waits for it',
    )
  }

  async #connect(endpoint: SyslogEndpoint, o: Signal): Promise<Connection> {
    const name = nameOf(endpoint)
    if (this.#isDisposed) throw interrupted(name, undefined)
    using limit = new TimeLimit(o.signal, this.#connectTimeoutMs)
    try {
      // With UDP nothing tells that the other address would have worked; receivers listen on IPv4 more often than not.
      const { address, family } = await before(lookup(endpoint.host, { order: 'ipv4first' }), limit)
      const socket = createSocket({ type: family === 6 ? 'udp6' : 'udp4' })
      const broken = new AbortController()
      const connection: Connection = { socket, sinceMs: Date.now(), broken, isProven: false }
      socket.on('error', (error) => broken.abort(error))
      try {
        await before(connected(socket, endpoint.port, address), limit)
      } catch (error) {
        socket.close()
        throw error
      }
      return connection
    } catch (error) {
      if (o.signal.aborted) throw interrupted(name, error)
      const why = limit.isOver
        ? `not resolved within connect_timeout (${this.#connectTimeoutMs / 1000} s)`
        : explainError(error)
      throw new StreamError('sink.unavailable', `cannot reach ${name}: ${why} (check the name and the network)`, {
        cause: error,
        data: { endpoint: name },
      })
    }
  }

  #drop(): void {
    this.#connection?.socket.close()
    this.#connection = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    this.#drop()
  }
}

function connected(socket: Socket, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.connect(port, address, (error?: Error) => (error ? reject(error) : resolve()))
  })
}

/** What `work` gives, unless the time is up before. */
async function before<T>(work: Promise<T>, { signal }: TimeLimit): Promise<T> {
  signal.throwIfAborted()
  let stop = (): void => undefined
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
    signal.addEventListener('abort', stop, { once: true })
  })
  try {
    return await Promise.race([work, stopped])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Resolves when no refusal came for a while, or as soon as one did. */
async function silence({ broken }: Connection, o: Signal): Promise<void> {
  const signal = AbortSignal.any([o.signal, broken.signal])
  await sleep(provingMs, undefined, { signal }).catch(() => undefined)
}

/** Hands all messages to the kernel, a bounded number at once, with one callback for all of them. */
function sendAll({ socket }: Connection, { data, ends }: EncodedMessages, o: Signal): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0
    let start = 0
    let underway = 0
    let failure: unknown
    const more = () => {
      while (failure === undefined && underway < sendsAtOnce && next < ends.length) {
        if (o.signal.aborted) {
          failure = o.signal.reason
          break
        }
        const end = ends[next] as number
        try {
          socket.send(data, start, end - start, sent)
        } catch (error) {
          failure = error
          break
        }
        underway += 1
        next += 1
        start = end
      }
      if (underway > 0) return
      if (failure === undefined) resolve()
      else reject(failure)
    }
    const sent = (error: Error | null) => {
      underway -= 1
      if (error) failure ??= error
      more()
    }
    more()
  })
}

function interrupted(name: string, cause: unknown): StreamError {
  return new StreamError('run.aborted', `sending to ${name} interrupted by the stop`, { cause })
}

function sendError(name: string, error: unknown, o: Signal): StreamError {
  if (o.signal.aborted) return interrupted(name, error)
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const data = { endpoint: name }
  if (code === 'EMSGSIZE')
    return new StreamError(
      'sink.too_large',
      `cannot send to ${name}: a message is larger than a datagram may be here (lower max_message_bytes)`,
      { cause: error, data },
    )
  const advice =
    code === 'ECONNREFUSED' ? 'is a syslog receiver listening there?' : 'check the receiver and the network'
  return new StreamError('sink.unavailable', `cannot send to ${name}: ${explainError(error)} (${advice})`, {
    cause: error,
    data,
  })
}

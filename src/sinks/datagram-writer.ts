/**
 * Sends datagrams to a receiver that says nothing back: GELF, syslog over UDP.
 *
 * All that ever comes is a refusal: from some networks, that nobody listens (ICMP). A connected socket tells of it, but only after
 * the datagram, so it counts against the whole batch, and each batch waits a moment for it:
 *
 *   new socket         as long as an answer from afar may take
 *   after a refusal    longer, until a batch has passed
 *   else               as long as an answer from the same network takes
 *
 * One that comes later yet is warned of, and fails the next batch before it is sent: that must not follow the last one into the void.
 */
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Dependency, Finding, Log, Signal } from '../core/component.ts'
import { type DependencyOptions, DependencyState, uniqueNames } from '../core/dependency-state.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { problemOf, timed } from '../core/findings.ts'
import { Slots } from '../core/slots.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { untilAborted } from '../core/until-aborted.ts'
import { pollOnce } from './poll-once.ts'

/** How long a batch waits for a refusal: usually, as the first one on a socket, and after a refusal. */
const echoMs = 5
const firstEchoMs = 100
const carefulEchoMs = 500
/** Datagrams on their way to the kernel at once. More would only overrun the receiver. */
const maxUnsent = 32
/** How long an endpoint that failed comes after the others. */
const pauseMs = 30_000
/** How long an address is used before the name is looked up again: nothing tells that a receiver has moved. */
const addressMs = 60_000
/** Pause between two warnings about lost datagrams. */
const quietMs = 60_000

export interface DatagramWriterOptions {
  /** In order of preference; the next one is used when one fails. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[]
  /** Longest time to look a name up; 0 for no limit. */
  readonly connectTimeoutMs: number
  readonly log: Log
  readonly nowMs: () => number
  /** Who is sent to, for messages. */
  readonly what: 'gelf' | 'syslog'
  /** A datagram is longer than the kernel takes: whether a smaller batch may help, and what the operator can do. */
  readonly tooLong: { readonly code: 'sink.too_large' | 'sink.unavailable'; readonly advice: string }
}

/** Where a batch puts its datagrams. */
export interface DatagramSocket {
  /** Hands it to the kernel, or to the queue before it. Throws what went wrong before. */
  send(datagram: Buffer | Buffer[]): void
  /** True if the queue is long enough: `flush` then. */
  readonly isFull: boolean
  /** Resolves when the kernel has all; throws what went wrong. */
  flush(): Promise<void>
}

export class DatagramWriter implements AsyncDisposable {
  readonly #o: DatagramWriterOptions
  readonly #targets: Target[]
  /** Batches go one after the other: a refusal that comes back could be of any of them. */
  readonly #slots = new Slots(1)
  #socket: OpenSocket | undefined
  #isDisposed = false
  #toldOfLossAtMs = Number.NEGATIVE_INFINITY

  constructor(o: DatagramWriterOptions) {
    this.#o = o
    const names = uniqueNames(o.endpoints.map(({ host, port }) => `${o.what} ${nameOf(host, port)}`))
    this.#targets = o.endpoints.map(({ host, port }, i) => {
      const target: Target = new Target(host, port, {
        name: names[i] as string,
        nowMs: o.nowMs,
        probe: async (signal) => (await this.#open(target, signal)).close(),
      })
      return target
    })
  }

  get dependencies(): readonly Dependency[] {
    return this.#targets.map(({ dependency }) => dependency)
  }

  /** All that can be told without sending. */
  async *examine(o: Signal): AsyncGenerator<Finding> {
    for (const { dependency } of this.#targets)
      try {
        const { ms } = await timed((signal) => dependency.probe(signal), o)
        yield { level: 'ok', text: `${dependency.name}: has an address and a way to it (${ms} ms)` }
      } catch (error) {
        yield problemOf(error, { ...o, what: dependency.name })
      }
    yield {
      level: 'note',
      text: `${this.#o.what} over UDP: nobody says whether datagrams arrive; what is lost on the way, or by a receiver that is not there, is lost`,
    }
  }

  /** Every endpoint must have an address and a way to it; nothing is sent. Throws what the first, or all, throw. */
  async check(o: Signal): Promise<void> {
    const results = await Promise.allSettled(this.#targets.map(async (target) => (await this.#open(target, o)).close()))
    const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []))
    if (failed.length === 1) throw failed[0]
    if (failed.length > 1) throw this.#allFailed(failed)
  }

  /**
   * Lets `send` hand over the datagrams of one batch, in the order of the calls, again for each endpoint until one has not refused
   * them. Resolved, with what `send` gave last: the kernel took every datagram, and no refusal came back. May be called
   * concurrently. Throws sink.unavailable when every endpoint failed, what `tooLong` says, or run.aborted.
   */
  async write<T>(send: (socket: DatagramSocket) => Promise<T>, o: Signal): Promise<T> {
    try {
      await this.#slots.acquire(o)
    } catch (error) {
      throw interrupted(this.#o.what, error)
    }
    try {
      // The kernel may know of a refusal that the event loop has not seen yet.
      await pollOnce()
      const failures: StreamError[] = []
      for (const target of this.#inOrder()) {
        try {
          const result = await this.#writeTo(target, send, o)
          target.dependency.used()
          return result
        } catch (error) {
          target.dependency.used(error)
          if (!(error instanceof StreamError) || error.code !== 'sink.unavailable') throw error
          this.#failed(target, error)
          failures.push(error)
        }
      }
      throw failures.length === 1 ? failures[0] : this.#allFailed(failures)
    } finally {
      this.#slots.release()
    }
  }

  /** The one in use first, while its address is fresh, then those that did not fail. */
  #inOrder(): Target[] {
    const nowMs = Date.now()
    const used = this.#socket
    if (used && used.failure === undefined && nowMs - used.openedAtMs >= addressMs) this.#drop()
    const rank = (target: Target) => (target === this.#socket?.target ? 0 : Number(target.pausedUntilMs > nowMs) + 1)
    return this.#targets.toSorted((a, b) => rank(a) - rank(b))
  }

  async #writeTo<T>(target: Target, send: (socket: DatagramSocket) => Promise<T>, o: Signal): Promise<T> {
    const socket = await this.#opened(target, o)
    const stop = () => socket.fail(o.signal.reason)
    o.signal.addEventListener('abort', stop)
    socket.isIdle = false
    try {
      if (o.signal.aborted) stop()
      if (socket.failure !== undefined) throw socket.failure
      const result = await send(socket)
      await socket.flush()
      await socket.quietFor(target.pausedUntilMs > 0 ? carefulEchoMs : socket.isProven ? echoMs : firstEchoMs)
      socket.isProven = true
      socket.isIdle = true
      if (target.pausedUntilMs > 0) this.#o.log.info({ endpoint: target.name }, `${this.#o.what} endpoint works again`)
      target.pausedUntilMs = 0
      return result
    } catch (error) {
      this.#drop()
      if (o.signal.aborted || this.#isDisposed) throw interrupted(`${this.#o.what} to ${target.name}`, error)
      throw this.#notSent(target, error)
    } finally {
      o.signal.removeEventListener('abort', stop)
    }
  }

  async #opened(target: Target, o: Signal): Promise<OpenSocket> {
    if (this.#socket?.target === target) return this.#socket
    this.#drop()
    const socket = this.#isDisposed ? undefined : await this.#open(target, o)
    if (socket === undefined || this.#isDisposed || o.signal.aborted) {
      socket?.close()
      throw interrupted(`${this.#o.what} to ${target.name}`, o.signal.reason)
    }
    this.#socket = socket
    return socket
  }

  async #open(target: Target, o: Signal): Promise<OpenSocket> {
    const { connectTimeoutMs } = this.#o
    using limit = new TimeLimit(o.signal, connectTimeoutMs)
    try {
      // IPv4 first: nothing tells that only one of two addresses is listened at, and for UDP that is mostly this one.
      const found = lookup(target.host, { order: 'ipv4first' })
      const { address, family } = await untilAborted(found, limit.signal)
      const socket = new OpenSocket(target, family, (error) => this.#tellOfLoss(target, error))
      try {
        await untilAborted(socket.connect(address), limit.signal)
      } catch (error) {
        socket.close()
        throw error
      }
      return socket
    } catch (error) {
      if (o.signal.aborted) throw interrupted(`${this.#o.what} to ${target.name}`, error)
      const why = limit.isOver
        ? `not resolved within connect_timeout (${connectTimeoutMs / 1000} s)`
        : explainError(error)
      throw new StreamError(
        'sink.unavailable',
        `cannot reach ${target.name}: ${why} (check the name and the network)`,
        {
          cause: error,
          data: { endpoint: target.name },
        },
      )
    }
  }

  #failed(target: Target, error: StreamError): void {
    if (target.pausedUntilMs === 0)
      this.#o.log.warn(
        { endpoint: target.name, error: error.message },
        `${this.#o.what} endpoint fails; its records wait or go to the others`,
      )
    target.pausedUntilMs = Date.now() + pauseMs
  }

  #tellOfLoss({ name, dependency }: Target, error: unknown): void {
    dependency.used(error)
    const nowMs = Date.now()
    if (nowMs - this.#toldOfLossAtMs < quietMs) return
    this.#toldOfLossAtMs = nowMs
    this.#o.log.warn(
      { endpoint: name, error: explainError(error) },
      'the receiver refused datagrams that were already handed over; what it missed is lost, the rest waits for it',
    )
  }

  #notSent({ name }: Target, error: unknown): StreamError {
    const errorCode = error instanceof Error && 'code' in error ? String(error.code) : ''
    const isTooLong = errorCode === 'EMSGSIZE'
    const { code, advice } = isTooLong
      ? this.#o.tooLong
      : { code: 'sink.unavailable' as const, advice: advices[errorCode] }
    const suffix = advice === undefined ? '' : ` (${advice})`
    return new StreamError(code, `cannot send to ${this.#o.what} receiver ${name}: ${explainError(error)}${suffix}`, {
      cause: error,
      data: { endpoint: name },
    })
  }

  #allFailed(failures: unknown[]): StreamError {
    return new StreamError('sink.unavailable', `all ${failures.length} ${this.#o.what} endpoints fail`, {
      cause: new AggregateError(failures),
    })
  }

  #drop(): void {
    this.#socket?.close()
    this.#socket = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    this.#drop()
  }
}

/** Where to send to. */
class Target {
  /** For messages. */
  readonly name: string
  readonly host: string
  readonly port: number
  /** Until when the others come first, ms since the epoch; 0 if it did not fail. */
  pausedUntilMs = 0

  readonly dependency: DependencyState

  constructor(host: string, port: number, dependency: DependencyOptions) {
    this.name = nameOf(host, port)
    this.dependency = new DependencyState(dependency)
    this.host = host
    this.port = port
  }
}

/** A socket that is connected, so that the kernel tells of refusals. Once it has failed it stays so. */
class OpenSocket implements DatagramSocket {
  readonly target: Target
  readonly openedAtMs = Date.now()
  /** True if a batch was sent and not refused. */
  isProven = false
  /** True while no batch is under way that a refusal could belong to. */
  isIdle = false
  readonly #socket: Socket
  readonly #failing = new AbortController()
  #isClosed = false
  #unsent = 0
  /** Ends a wait for datagrams that are on their way to the kernel. */
  #wake: (() => void) | undefined
  readonly #sent = (error: Error | null) => {
    this.#unsent -= 1
    if (error) this.fail(error)
    else if (this.#unsent === 0) this.#wake?.()
  }

  /** `late` is given a refusal that came after its batch was taken for sent. */
  constructor(target: Target, family: number, late: (error: Error) => void) {
    this.target = target
    this.#socket = createSocket(family === 6 ? 'udp6' : 'udp4')
    this.#socket.on('error', (error) => {
      if (this.isIdle && this.failure === undefined) late(error)
      this.fail(error)
    })
  }

  /** The first thing that went wrong. */
  get failure(): unknown {
    return this.#failing.signal.reason
  }

  async connect(address: string): Promise<void> {
    const connected = new Promise<void>((resolve, reject) => {
      this.#socket.connect(this.target.port, address, (error?: Error) => (error ? reject(error) : resolve()))
    })
    // A socket that cannot be bound says so only by its event.
    await untilAborted(connected, this.#failing.signal)
  }

  send(datagram: Buffer | Buffer[]): void {
    this.#failing.signal.throwIfAborted()
    this.#unsent += 1
    this.#socket.send(datagram, this.#sent)
  }

  get isFull(): boolean {
    return this.#unsent >= maxUnsent
  }

  async flush(): Promise<void> {
    while (this.#unsent > 0 && this.failure === undefined)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    this.#failing.signal.throwIfAborted()
  }

  /** Resolves when nothing went wrong for so long. */
  async quietFor(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#failing.signal }).catch(() => undefined)
    // On a slow machine the time may be over before the event loop has looked at the socket.
    await pollOnce()
    this.#failing.signal.throwIfAborted()
  }

  /** Ends what waits for it. */
  fail(error: unknown): void {
    this.#failing.abort(error)
    this.#wake?.()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.fail(new Error('the socket was closed'))
    this.#socket.close()
  }
}

function nameOf(host: string, port: number): string {
  return `udp://${host.includes(':') ? `[${host}]` : host}:${port}`
}

function interrupted(what: string, cause: unknown): StreamError {
  return new StreamError('run.aborted', `write of ${what} interrupted by the stop`, { cause })
}

/** What the operator can do, by the code of the error. */
const advices: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'is the receiver running, and is the port right?',
  EPERM: 'does a firewall of this machine forbid it?',
}

/**
 * The connections to one server. The first is made when it is needed; another one when all are busy and more are allowed, while
 * the work goes on over those there are. A server that takes no more gets no more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Bound, Context, Log, RetryWaits, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { untilAborted } from '../core/until-aborted.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'
import { interrupted } from './sftp-errors.ts'
import { sftpMetrics } from './sftp-figures.ts'
import { Login } from './sftp-login.ts'
import { SftpSession } from './sftp-session.ts'

/** How often and at what distances a connection is tried before it is the caller's turn to wait. */
const connectAttempts = 4
const connectWaits: RetryWaits = { minMs: 500, maxMs: 10_000 }
/** How often something is asked again that a lost connection left without an answer. */
const lostAttempts = 4
/** How long a server that took no more connections is not asked for more. */
const fewerMs = 60_000

export class SftpSessions implements AsyncDisposable {
  readonly place: string
  readonly #config: SftpConfig
  readonly #log: Log
  readonly #metrics: Bound<typeof sftpMetrics>
  readonly #used: (error?: unknown) => void
  readonly #stop = new AbortController()
  readonly #live = new Set<SftpSession>()
  /** The key is read and decrypted once, until the server does not want it. */
  #login: Promise<Login> | undefined
  /** The first connection, on its way. */
  #first: Promise<void> | undefined
  /** One more, on its way. */
  #more: Promise<void> | undefined
  #fewerUntilMs = 0
  #saidFewer = false

  /** `used` is told when a connection was made, and when none could be. */
  constructor(config: SftpConfig, { log, meter }: Pick<Context, 'log' | 'meter'>, used: (error?: unknown) => void) {
    this.#config = config
    this.#log = log
    this.#metrics = meter.bind(sftpMetrics, {})
    this.#used = used
    this.place = sftpPlace(config)
  }

  /** Connections that are open now. */
  get count(): number {
    return this.#live.size
  }

  /** Does `work` on a session, and again on another one while connections break without an answer. */
  async ask<T>(work: (session: SftpSession) => Promise<T>, o: Signal): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const session = await this.acquire(undefined, o)
      try {
        return await work(session)
      } catch (error) {
        if (!session.isBroken || o.signal.aborted || attempt === lostAttempts) throw error
      } finally {
        this.release(session)
      }
    }
  }

  /**
   * The session with the least to do, connecting if there is none; `release` it afterwards. `has` tells those that the caller
   * would rather use; with `isSmall` it takes one of them, however busy.
   */
  async acquire(
    wish: { readonly has: (session: SftpSession) => boolean; readonly isSmall: boolean } | undefined,
    o: Signal,
  ): Promise<SftpSession> {
    for (;;) {
      if (o.signal.aborted || this.#stop.signal.aborted) {
        throw this.#interrupted(o.signal)
      }
      const session = this.#choose(wish)
      if (session) {
        session.users += 1
        return session
      }
      this.#first ??= this.#connectFirst()
      try {
        await untilAborted(this.#first, o.signal)
      } catch (error) {
        throw o.signal.aborted || this.#stop.signal.aborted ? this.#interrupted(o.signal) : error
      }
    }
  }

  release(session: SftpSession): void {
    session.users -= 1
  }

  #choose(
    wish: { readonly has: (session: SftpSession) => boolean; readonly isSmall: boolean } | undefined,
  ): SftpSession | undefined {
    let best: SftpSession | undefined
    let bestCost = Number.POSITIVE_INFINITY
    for (const session of this.#live) {
      const isWished = wish?.has(session) ?? false
      if (isWished && wish?.isSmall) return session
      const cost = session.users * 2 + (isWished ? 0 : 1)
      if (cost < bestCost) {
        best = session
        bestCost = cost
      }
    }
    if (best !== undefined && best.users > 0) this.#wantMore()
    return best
  }

  #wantMore(): void {
    if (this.#more !== undefined || this.#live.size >= this.#config.sessions || Date.now() < this.#fewerUntilMs) return
    this.#more = this.#connect()
      .catch((error: unknown) => {
        // With none left it is no limit of the server: it is away, and whoever needs one connects anew.
        if (this.#stop.signal.aborted || this.#live.size === 0) return
        this.#fewerUntilMs = Date.now() + fewerMs
        const facts = { place: this.place, connections: this.#live.size, error: (error as Error).message }
        const message = 'the SFTP server gave no further connection: going on with those there are'
        if (this.#saidFewer) this.#log.debug(facts, message)
        else this.#log.warn(facts, message)
        this.#saidFewer = true
      })
      .finally(() => {
        this.#more = undefined
      })
  }

  /** Never rejects unheard: whoever waits for it hears it, if anyone still does. */
  #connectFirst(): Promise<void> {
    const first = this.#tryConnecting().finally(() => {
      this.#first = undefined
    })
    first.catch(() => {})
    return first
  }

  async #tryConnecting(): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#connect()
        return
      } catch (error) {
        const isTransient = error instanceof StreamError && error.code === 'source.unavailable'
        if (!isTransient || attempt === connectAttempts || this.#stop.signal.aborted) throw error
        this.#log.debug({ place: this.place, attempt, error: error.message }, 'no SFTP connection yet')
        await sleep(backoffMs(connectWaits, attempt), undefined, { signal: this.#stop.signal })
      }
    }
  }

  async #connect(): Promise<void> {
    const {
      sftp_bytes_read_total: read,
      sftp_connects_total: made,
      sftp_connect_failures_total: failed,
    } = this.#metrics
    try {
      this.#login ??= Login.load(this.#config)
      const login = await this.#login
      const broken = (session: SftpSession) => {
        if (this.#live.delete(session)) {
          this.#metrics.sftp_sessions.set(this.#live.size)
          this.#log.debug({ place: this.place, why: session.failure?.message }, 'an SFTP connection ended')
        }
      }
      const session = await SftpSession.connect(
        { config: this.#config, login, log: this.#log, broken, read: (bytes) => read.add(bytes) },
        { signal: this.#stop.signal },
      )
      // It may have been closed by the server before we could look.
      if (session.failure) throw session.failure
      if (this.#stop.signal.aborted) {
        await session.close()
        throw this.#interrupted(this.#stop.signal)
      }
      this.#live.add(session)
      this.#metrics.sftp_sessions.set(this.#live.size)
      made.add(1)
      this.#used()
      this.#log.debug({ place: this.place, connections: this.#live.size }, 'an SFTP connection was made')
    } catch (error) {
      // Perhaps the key on disk is a new one by the next attempt.
      if (error instanceof StreamError && error.code === 'source.access') this.#login = undefined
      if (!this.#stop.signal.aborted) {
        failed.add(1)
        // With others open it is no more than a limit of the server.
        if (this.#live.size === 0) this.#used(error)
      }
      throw error
    }
  }

  #interrupted(signal: AbortSignal): StreamError {
    return interrupted(`the work at ${this.place}`, signal.aborted ? signal : this.#stop.signal)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    await Promise.allSettled([this.#first, this.#more])
    await Promise.all([...this.#live].map((session) => session.close()))
  }
}

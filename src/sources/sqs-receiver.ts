/**
 * Receives messages for as long as there is room for what they tell of: one long poll at a time while the queue is quiet,
 * several requests at once while each comes back full.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Log, RetryWaits } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { batchLimit, type SqsMessage, type SqsQueue } from './sqs-queue.ts'

const usualFailureWaits = { minMs: 500, maxMs: 60_000 }
/** Requests at once: long polls must leave connections for deletes and extensions. */
const requestsAtOnce = 8
/** Pause between polls that do not wait at the queue: without it they would be sent as fast as they are answered. */
const shortPollPauseMs = 200
/** Failures in a row after which a run that should end gives up. */
const onceAttempts = 8
/** A request that began so shortly before a stop is let finish: what it brings would stay hidden from others otherwise. */
const graceMs = 500
/** While it is only to be learned whether the queue is empty, this is long enough: a long poll asks every server. */
const onceWaitSeconds = 2

export interface ReceiverOptions {
  readonly queue: SqsQueue
  readonly log: Log
  readonly nowMs: () => number
  readonly waitMs: number
  readonly visibilityMs: number
  readonly intervalMs: number
  readonly once: boolean
  /** Aborted, no more is asked for; `stop` ends what is under way. */
  readonly signal: AbortSignal
  /** Waits before it tries again after a failure. */
  readonly failureWaits?: RetryWaits
  /** How many messages may come now. */
  readonly room: () => number
  /** True if nothing that was received is under way. */
  readonly idle: () => boolean
  /** Takes a message; never throws. `receivedMs` is when it was asked for: its visibility timeout runs from then at the latest. */
  readonly take: (message: SqsMessage, receivedMs: number) => Promise<void>
  /** Something changed: messages were taken, or the end was reached. */
  readonly changed: () => void
}

export class SqsReceiver {
  readonly #o: ReceiverOptions
  /** Messages asked for by requests under way. */
  #asked = 0
  #isBusy = false
  #failures = 0
  #isWaiting = false
  /** Requests under way. */
  readonly #calls = new Map<Promise<void>, { readonly startMs: number; readonly abort: AbortController }>()
  readonly #stopped = new AbortController()
  /** Aborted when it is stopped, whoever says so. */
  readonly #over: AbortSignal
  /** True when the queue was found empty while nothing was under way. */
  isDrained = false
  /** Why it gave up. */
  failure: StreamError | undefined

  constructor(o: ReceiverOptions) {
    this.#o = o
    this.#over = AbortSignal.any([o.signal, this.#stopped.signal])
  }

  /** To be called whenever there may be more room. */
  pump(): void {
    const { room } = this.#o
    while (!this.#over.aborted && !this.#isWaiting && !this.isDrained && !this.failure) {
      if (this.#calls.size >= (this.#isBusy ? requestsAtOnce : 1)) return
      const max = Math.min(batchLimit, room() - this.#asked)
      if (max < 1) return
      this.#asked += max
      const abort = new AbortController()
      const call = this.#receive(max, abort.signal).finally(() => {
        this.#calls.delete(call)
        this.#asked -= max
        this.#o.changed()
        this.pump()
      })
      this.#calls.set(call, { startMs: performance.now(), abort })
    }
  }

  /** True if no request is under way: all that was received is taken. */
  get isQuiet(): boolean {
    return this.#calls.size === 0
  }

  /** Resolves when no request is under way any more, and all that was received is taken. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    const running = [...this.#calls]
    for (const [, { startMs, abort }] of running) {
      if (performance.now() - startMs > graceMs) abort.abort()
      else setTimeout(() => abort.abort(), graceMs).unref()
    }
    await Promise.all(running.map(([call]) => call))
  }

  async #receive(max: number, signal: AbortSignal): Promise<void> {
    const { queue, log, nowMs, once, idle, take } = this.#o
    const wasIdle = idle()
    const askedMs = nowMs()
    const failuresBefore = this.#failures
    const longest = Math.floor(this.#o.waitMs / 1000)
    const waitSeconds = once ? Math.min(longest, onceWaitSeconds) : longest
    try {
      const messages = await queue.receive({
        max,
        waitSeconds,
        visibilitySeconds: Math.ceil(this.#o.visibilityMs / 1000),
        signal,
      })
      if (this.#failures > 0) log.info({}, 'the queue answers again')
      this.#failures = 0
      this.#isBusy = messages.length === max
      // A long poll may have waited: what it brought was received at its end, not at its start.
      const receivedMs = Math.max(askedMs, nowMs() - 1000)
      await Promise.all(messages.map((message) => take(message, receivedMs)))
      if (messages.length > 0) return
      // What another request brings may be on its way.
      if (once && wasIdle && idle() && this.#calls.size === 1) {
        this.isDrained = true
        return
      }
      await this.#pause(Math.max(this.#o.intervalMs, waitSeconds > 0 ? 0 : shortPollPauseMs))
    } catch (error) {
      // Requests under way at once fail together: that is one failure, and one pause.
      if (this.#over.aborted || this.#failures > failuresBefore) return
      const known = error instanceof StreamError ? error : new StreamError('source.unavailable', explainError(error))
      this.#failures += 1
      this.#isBusy = false
      if (once && (known.kind === 'config' || this.#failures >= onceAttempts)) {
        this.failure = known
        return
      }
      const waitMs = backoffMs(this.#o.failureWaits ?? usualFailureWaits, this.#failures)
      const facts = { error: explainError(known), failures: this.#failures, waitMs: Math.round(waitMs) }
      if (known.kind === 'config') log.error(facts, 'cannot receive; trying again')
      else log.warn(facts, 'receiving interrupted; trying again')
      await this.#pause(waitMs)
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms === 0) return
    this.#isWaiting = true
    await sleep(ms, undefined, { signal: this.#over }).catch(() => undefined)
    this.#isWaiting = false
  }
}

/**
 * Receives messages for as long as there is room for what they tell of: one long poll at a time while the queue is quiet,
 * several requests at once while each comes back full.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Log } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { batchLimit, type SqsMessage, type SqsQueue } from './sqs-queue.ts'

const failureWaits = { minMs: 500, maxMs: 60_000 }
/** Failures in a row after which a run that should end gives up. */
const onceAttempts = 8
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
  readonly signal: AbortSignal
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
  #calls = 0
  #isBusy = false
  #failures = 0
  #isWaiting = false
  /** True when the queue was found empty while nothing was under way. */
  isDrained = false
  /** Why it gave up. */
  failure: StreamError | undefined

  constructor(o: ReceiverOptions) {
    this.#o = o
  }

  /** To be called whenever there may be more room. */
  pump(): void {
    const { room, signal } = this.#o
    while (!signal.aborted && !this.#isWaiting && !this.isDrained && !this.failure) {
      if (this.#calls > 0 && !this.#isBusy) return
      const max = Math.min(batchLimit, room() - this.#asked)
      if (max < 1) return
      this.#asked += max
      this.#calls += 1
      void this.#receive(max).finally(() => {
        this.#asked -= max
        this.#calls -= 1
        this.#o.changed()
        this.pump()
      })
    }
  }

  async #receive(max: number): Promise<void> {
    const { queue, log, nowMs, once, signal, idle, take } = this.#o
    const wasIdle = idle()
    const askedMs = nowMs()
    try {
      const messages = await queue.receive({
        max,
        waitSeconds: Math.floor(once ? Math.min(this.#o.waitMs / 1000, onceWaitSeconds) : this.#o.waitMs / 1000),
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
      if (once && wasIdle && idle()) {
        this.isDrained = true
        return
      }
      await this.#pause(this.#o.intervalMs)
    } catch (error) {
      if (signal.aborted) return
      const known = error instanceof StreamError ? error : new StreamError('source.unavailable', explainError(error))
      this.#failures += 1
      this.#isBusy = false
      if (once && (known.kind === 'config' || this.#failures >= onceAttempts)) {
        this.failure = known
        return
      }
      const waitMs = backoffMs(failureWaits, this.#failures)
      const facts = { error: explainError(known), failures: this.#failures, waitMs: Math.round(waitMs) }
      if (known.kind === 'config') log.error(facts, 'cannot receive; trying again')
      else log.warn(facts, 'receiving interrupted; trying again')
      await this.#pause(waitMs)
    }
  }

  async #pause(ms: number): Promise<void> {
    if (ms === 0) return
    this.#isWaiting = true
    await sleep(ms, undefined, { signal: this.#o.signal }).catch(() => undefined)
    this.#isWaiting = false
  }
}

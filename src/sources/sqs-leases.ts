/**
 * The messages that this process holds, from their receive until they are deleted, released or lost.
 *
 *   receive ─▶ hold ──(visibility extended again and again)──▶ done ────▶ delete, in batches
 *                 └─ handle no longer good: lost ─┐    └─────▶ release: visible again, now or later
 *                                                 └─▶ left alone: whoever has it now deletes it
 *
 * 1. A message is deleted only by the newest handle, and only while that is ours as far as we know. Deleting too rarely
 *    costs a receive (the ledger knows the objects); deleting what someone else works on could lose it.
 * 2. SQS lets a message be held for 12 hours after its receive, however often that is extended
 *    (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Bound, Log, MetricSpec } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { batchLimit, type EntryOutcome, type SqsMessage, type SqsQueue } from './sqs-queue.ts'

export const leaseMetrics = {
  sqs_messages_deleted_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Messages deleted because all they tell of is settled.',
  },
  sqs_visibility_extended_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Extensions of the visibility timeout of held messages.',
  },
  sqs_messages_released_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Messages made visible again: at a stop, or to be tried again.',
  },
  sqs_messages_lost_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Messages whose receipt handle was no longer good; they come again, and the ledger knows their objects.',
  },
  sqs_messages_held: { kind: 'gauge', unit: '{message}', help: 'Messages held by this process.' },
} as const satisfies Record<string, MetricSpec>

/** Longest time from receive to delete, in ms. */
const holdLimitMs = 12 * 3_600_000
/** So much before the end of a visibility timeout we no longer count on it: clocks and networks are not exact. */
const expiryMarginMs = 500
const retryWaits = { minMs: 100, maxMs: 5000 }
/** Deletes wait so long for company. */
const deleteLingerMs = 100
/** Batch requests at once. */
const requestsAtOnce = 8

/** One held message. */
export class Lease {
  readonly id: string
  handle: string
  receivedMs: number
  /** When the message becomes visible to others, as far as we know. */
  expiresMs: number
  receives: number
  isLost = false
  /** `releasing` from the decision on: it may be received again before the answer to our request is here. */
  state: 'held' | 'deleting' | 'releasing' = 'held'

  constructor(message: SqsMessage, receivedMs: number, visibilityMs: number) {
    this.id = message.id
    this.handle = message.handle
    this.receives = message.receives
    this.receivedMs = receivedMs
    this.expiresMs = receivedMs + visibilityMs
  }
}

export class Leases implements AsyncDisposable {
  readonly #queue: SqsQueue
  readonly #visibilityMs: number
  readonly #log: Log
  readonly #nowMs: () => number
  readonly #metrics: Bound<typeof leaseMetrics>
  readonly #held = new Map<string, Lease>()
  readonly #stop = new AbortController()
  #deleting: Lease[] = []
  /** To be released, by the seconds after which they are visible; all of one turn of the event loop go together. */
  readonly #releasing = new Map<number, Lease[]>()
  #releaseSoon: NodeJS.Immediate | undefined
  #deleteTimer: NodeJS.Timeout | undefined
  #extendTimer: NodeJS.Timeout | undefined
  readonly #requests = new Set<Promise<void>>()
  #saidLost = false
  readonly tally = { deleted: 0, extended: 0, released: 0, lost: 0 }

  constructor(
    queue: SqsQueue,
    o: {
      readonly visibilityMs: number
      readonly log: Log
      readonly nowMs: () => number
      readonly metrics: Bound<typeof leaseMetrics>
    },
  ) {
    this.#queue = queue
    this.#visibilityMs = o.visibilityMs
    this.#log = o.log
    this.#nowMs = o.nowMs
    this.#metrics = o.metrics
  }

  get size(): number {
    return this.#held.size
  }

  /**
   * Holds a message that was received; if it is held already, the lease goes on with the newer handle, and that is said. One
   * that is being released is new: whoever decided to release it is through with it.
   */
  hold(message: SqsMessage, receivedMs: number): { readonly lease: Lease; readonly isNew: boolean } {
    const known = this.#held.get(message.id)
    if (known && known.state !== 'releasing') {
      known.handle = message.handle
      known.receivedMs = receivedMs
      known.expiresMs = receivedMs + this.#visibilityMs
      known.receives = message.receives
      known.isLost = false
      return { lease: known, isNew: false }
    }
    const lease = new Lease(message, receivedMs, this.#visibilityMs)
    this.#held.set(lease.id, lease)
    this.#metrics.sqs_messages_held.set(this.#held.size)
    if (!this.#extendTimer) this.#schedule()
    return { lease, isNew: true }
  }

  /** All that the message tells of is settled. */
  done(lease: Lease): void {
    lease.state = 'deleting'
    this.#deleting.push(lease)
    if (this.#deleting.length >= batchLimit) this.#flushDeletes()
    else this.#deleteTimer ??= setTimeout(() => this.#flushDeletes(), deleteLingerMs)
  }

  /** Gives the message back: visible to everyone after so many seconds. */
  release(leases: readonly Lease[], delaySeconds = 0): void {
    const together = this.#releasing.get(delaySeconds) ?? []
    this.#releasing.set(delaySeconds, together)
    for (const lease of leases) {
      lease.state = 'releasing'
      together.push(lease)
    }
    this.#releaseSoon ??= setImmediate(() => this.#flushReleases())
  }

  /** Leaves the message to its visibility timeout: it comes back by itself. */
  letGo(lease: Lease): void {
    lease.state = 'releasing'
    this.#forget(lease)
  }

  #forget(lease: Lease): void {
    if (this.#held.get(lease.id) === lease) this.#held.delete(lease.id)
    this.#metrics.sqs_messages_held.set(this.#held.size)
  }

  #flushDeletes(): void {
    clearTimeout(this.#deleteTimer)
    this.#deleteTimer = undefined
    this.#inBatches(this.#deleting.splice(0), (batch) => this.#delete(batch))
  }

  #flushReleases(): void {
    clearImmediate(this.#releaseSoon)
    this.#releaseSoon = undefined
    for (const [seconds, leases] of this.#releasing) this.#inBatches(leases, (batch) => this.#release(batch, seconds))
    this.#releasing.clear()
  }

  #inBatches(leases: readonly Lease[], act: (batch: Lease[]) => Promise<void>): void {
    for (let i = 0; i < leases.length; i += batchLimit) {
      const request = act(leases.slice(i, i + batchLimit))
        .catch((error: unknown) => this.#log.error({ error: explainError(error) }, 'bookkeeping of the queue failed'))
        .finally(() => this.#requests.delete(request))
      this.#requests.add(request)
    }
  }

  async #delete(batch: Lease[]): Promise<void> {
    const ours = batch.filter((lease) => this.#isOurs(lease))
    for (const lease of batch) {
      if (ours.includes(lease)) continue
      this.#lost(lease)
      this.#forget(lease)
    }
    const outcomes = await this.#insist(ours, 'deleting', (leases, o) => this.#queue.delete(leases, o))
    for (const [lease, outcome] of outcomes) {
      if (outcome === 'done') {
        this.tally.deleted += 1
        this.#metrics.sqs_messages_deleted_total.add(1)
      } else if (outcome === 'expired') this.#lost(lease)
      this.#forget(lease)
    }
  }

  async #release(batch: Lease[], visibilitySeconds: number): Promise<void> {
    const ours = batch.filter((lease) => this.#isOurs(lease))
    for (const lease of batch) if (!ours.includes(lease)) this.#forget(lease)
    const outcomes = await this.#insist(ours, 'releasing', (leases, o) =>
      this.#queue.changeVisibility(
        leases.map(({ handle }) => ({ handle, visibilitySeconds })),
        o,
      ),
    )
    for (const [lease, outcome] of outcomes) {
      if (outcome === 'done') {
        this.tally.released += 1
        this.#metrics.sqs_messages_released_total.add(1)
      }
      this.#forget(lease)
    }
  }

  #isOurs(lease: Lease): boolean {
    return !lease.isLost && lease.expiresMs - expiryMarginMs > this.#nowMs()
  }

  #lost(lease: Lease): void {
    if (lease.isLost) return
    lease.isLost = true
    this.tally.lost += 1
    this.#metrics.sqs_messages_lost_total.add(1)
    const facts = { messageId: lease.id, heldSeconds: Math.round((this.#nowMs() - lease.receivedMs) / 1000) }
    const text = 'the receipt handle of a message is no longer good: it comes again, and is known then'
    if (this.#saidLost) this.#log.debug(facts, text)
    else this.#log.warn(facts, text)
    this.#saidLost = true
  }

  /**
   * Repeats what failed in passing, and what was asked for with a handle that is not the newest any more, for as long as the
   * leases are ours; at most for one of `state`.
   */
  async #insist(
    leases: readonly Lease[],
    state: Lease['state'],
    act: (leases: readonly Lease[], o: { readonly signal: AbortSignal }) => Promise<EntryOutcome[]>,
  ): Promise<Map<Lease, EntryOutcome>> {
    const result = new Map<Lease, EntryOutcome>()
    const { signal } = this.#stop
    let left = [...leases]
    for (let attempt = 1; left.length > 0 && !signal.aborted; attempt += 1) {
      const handles = left.map(({ handle }) => handle)
      try {
        const outcomes = await act(left, { signal })
        const failed: Lease[] = []
        for (const [i, lease] of left.entries()) {
          const outcome = outcomes[i] ?? 'failed'
          if (outcome === 'failed' || lease.handle !== handles[i]) failed.push(lease)
          else result.set(lease, outcome)
        }
        left = failed
      } catch (error) {
        if (signal.aborted) break
        const known = error instanceof StreamError ? error : new StreamError('source.unavailable', explainError(error))
        if (attempt === 1 || known.kind === 'config') {
          this.#log.warn(
            { error: explainError(known), messages: left.length },
            'the queue did not take what we told it; trying again',
          )
        }
      }
      for (const lease of left) if (!this.#isOurs(lease)) result.set(lease, 'expired')
      left = left.filter((lease) => !result.has(lease) && lease.state === state)
      if (left.length > 0) await sleep(backoffMs(retryWaits, attempt), undefined, { signal }).catch(() => undefined)
    }
    return result
  }

  /** Extends early enough for two more tries, and not in step with other processes. */
  #schedule(): void {
    const waitMs = (this.#visibilityMs / 3) * (0.75 + Math.random() / 4)
    this.#extendTimer = setTimeout(() => {
      this.#extendTimer = undefined
      if (this.#held.size === 0 || this.#stop.signal.aborted) return
      this.#schedule()
      void this.#extendAll()
    }, waitMs)
    this.#extendTimer.unref()
  }

  async #extendAll(): Promise<void> {
    const due = [...this.#held.values()].filter((lease) => lease.state === 'held' && !lease.isLost)
    const batches: Lease[][] = []
    for (let i = 0; i < due.length; i += batchLimit) batches.push(due.slice(i, i + batchLimit))
    const work = async () => {
      for (let batch = batches.shift(); batch; batch = batches.shift()) await this.#extend(batch)
    }
    await Promise.all(Array.from({ length: Math.min(requestsAtOnce, batches.length) }, work))
  }

  async #extend(batch: readonly Lease[]): Promise<void> {
    const nowMs = this.#nowMs()
    const wanted = new Map<Lease, number>()
    for (const lease of batch) {
      // Rounded down: asking for one second too many is refused as a whole.
      const leftSeconds = Math.floor((lease.receivedMs + holdLimitMs - nowMs) / 1000) - 1
      const seconds = Math.min(Math.ceil(this.#visibilityMs / 1000), leftSeconds)
      if (seconds >= 1 && nowMs + seconds * 1000 > lease.expiresMs) wanted.set(lease, seconds)
    }
    if (wanted.size === 0) return
    const outcomes = await this.#insist([...wanted.keys()], 'held', (leases, o) =>
      this.#queue.changeVisibility(
        leases.map((lease) => ({ handle: lease.handle, visibilitySeconds: wanted.get(lease) ?? 1 })),
        o,
      ),
    )
    for (const [lease, outcome] of outcomes) {
      // Released or deleted while this was under way: then it is no wonder.
      if (outcome === 'expired' && lease.state === 'held') this.#lost(lease)
      if (outcome === 'done') {
        lease.expiresMs = Math.max(lease.expiresMs, nowMs + (wanted.get(lease) as number) * 1000)
        this.tally.extended += 1
        this.#metrics.sqs_visibility_extended_total.add(1)
      }
    }
  }

  /** Deletes what is done, gives back what is not, for at most so long. */
  async close(limitMs: number): Promise<void> {
    clearTimeout(this.#extendTimer)
    this.#flushDeletes()
    this.release([...this.#held.values()].filter(({ state }) => state === 'held'))
    this.#flushReleases()
    const timer = setTimeout(() => this.#stop.abort(new Error('the queue took too long')), limitMs)
    while (this.#requests.size > 0) await Promise.allSettled([...this.#requests])
    clearTimeout(timer)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('closed'))
    clearTimeout(this.#extendTimer)
    clearTimeout(this.#deleteTimer)
    clearImmediate(this.#releaseSoon)
    await Promise.allSettled([...this.#requests])
  }
}

/**
 * One replay, as far as one process does it: lists the objects of its range and offers those that are to be read.
 *
 *   list ─▶ settled since the replay was asked for?  counted
 *        ─▶ under way, for whomever?                 waited for
 *        ─▶ else: offered, one at a time ─▶ take ─▶ settled ─▶ counted
 *
 * 1. What is counted was settled after the replay was created: what was under way then may have begun before.
 * 2. A round lists everything. Another one follows if listing was interrupted, or if objects failed, a few times. It counts anew,
 *    so nothing counts twice; what the round before did is known by the ledger. So a restart goes on where the last process was.
 * 3. Memory is that of the objects under way: nothing is remembered of those that are settled, or not listed yet.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Ledger, ObjectState, ReplayEntry } from '../ledger/ledger.ts'
import { backoffMs } from './backoff.ts'
import type { BytePace } from './byte-pace.ts'
import type { ListedObject, Log, Outcome, Source } from './component.ts'
import { explainError, StreamError } from './errors.ts'
import { untilAborted } from './until-aborted.ts'

export interface ReplayOptions<O extends ListedObject> {
  readonly entry: ReplayEntry
  readonly source: Pick<Source<O>, 'replayed'>
  readonly ledger: Ledger
  readonly log: Log
  readonly pace: BytePace
  /** A run that ends by itself gives up sooner. */
  readonly once: boolean
  readonly isUnderWay: (id: string) => boolean
  /** There is an object to take, or it is over. */
  readonly changed: () => void
  /** Waits between rounds; a test has shorter ones. */
  readonly waits?: { readonly minMs: number; readonly maxMs: number }
}

/** How it ended; `open`: it is to be gone on with at the next start. */
export type ReplayEnd = { readonly state: 'done' | 'failed' | 'open'; readonly error: string | undefined }

const settledStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined', 'requeued'])
/** Rounds for objects that failed. */
const failedRounds = 4
const usualWaits = { minMs: 1000, maxMs: 60_000 }
/** Interrupted lists of a run that ends by itself. */
const onceListAttempts = 8

const nothingDone = { objects: 0, bytes: 0, failed: 0 }

export class Replay<O extends ListedObject> {
  readonly entry: ReplayEntry
  readonly pace: BytePace
  readonly #o: ReplayOptions<O>
  #offered: { readonly object: O; readonly taken: () => void } | undefined
  /** Seen in this round, under way -> stored bytes. */
  readonly #pending = new Map<string, number>()
  #done: ReplayEntry['done'] = nothingDone
  /** What the last round came to, until this one has listed everything. */
  #before: ReplayEntry['done'] = nothingDone
  #settled = Promise.withResolvers<void>()
  /** Why listing was interrupted, as long as it is. */
  error: string | undefined

  constructor(o: ReplayOptions<O>) {
    this.#o = o
    this.entry = o.entry
    this.pace = o.pace
    this.#before = o.entry.done
  }

  get done(): ReplayEntry['done'] {
    return this.#before.objects > this.#done.objects ? this.#before : this.#done
  }

  /**
   * The object that waits to be given out; undefined if there is none now. It may have been read meanwhile, and is not given then.
   * `prepare` is called before it is given; if that throws, it goes on waiting.
   */
  take(prepare: (object: O) => void): O | undefined {
    const offered = this.#offered
    if (!offered) return undefined
    const { object, taken } = offered
    const isWanted = this.#isWanted(object)
    if (isWanted) prepare(object)
    this.#offered = undefined
    taken()
    if (!isWanted) return undefined
    this.#pending.set(object.id, object.size ?? 0)
    return object
  }

  get hasOffer(): boolean {
    return this.#offered !== undefined
  }

  /** An object, of this replay or not, came to this. */
  finished(id: string, outcome: Outcome): void {
    const bytes = this.#pending.get(id)
    if (bytes === undefined || outcome === 'stopped') return
    this.#pending.delete(id)
    this.#count(outcome === 'failed' ? 'failed' : 'settled', bytes)
    this.#settled.resolve()
    this.#settled = Promise.withResolvers()
  }

  /** Does all of it. Throws the reason of the signal, and what is a bug. */
  async run(signal: AbortSignal): Promise<ReplayEnd> {
    const { once, log, entry, waits = usualWaits } = this.#o
    let interruptions = 0
    for (let round = 1; ; ) {
      this.#done = nothingDone
      this.#pending.clear()
      try {
        await this.#round(signal)
        interruptions = 0
        this.error = undefined
        this.#before = nothingDone
        if (this.#done.failed === 0) return { state: 'done', error: undefined }
        if (once || round >= failedRounds) return { state: 'done', error: failedText(this.#done.failed) }
        round += 1
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof StreamError) || error.kind === 'bug') throw error
        interruptions += 1
        this.error = explainError(error)
        const state = error.kind === 'transient' ? 'open' : 'failed'
        if (state === 'failed' || (once && interruptions >= onceListAttempts)) {
          await this.#settleAll(signal)
          return { state, error: this.error }
        }
        log.warn({ replay: entry.id, error: this.error }, 'listing for a replay interrupted; trying again')
      }
      const before = this.done
      this.#before = before
      await sleep(backoffMs(waits, interruptions + round), undefined, { signal })
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    for await (const object of this.#o.source.replayed(this.entry, { signal })) {
      signal.throwIfAborted()
      if (!this.#isWanted(object)) continue
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#offered = { object, taken: resolve }
      this.#o.changed()
      try {
        await untilAborted(promise, signal)
      } finally {
        this.#offered = undefined
      }
    }
    await this.#settleAll(signal)
  }

  async #settleAll(signal: AbortSignal): Promise<void> {
    while (this.#pending.size > 0) await untilAborted(this.#settled.promise, signal)
  }

  /** False if it need not be given out; then it is counted, or waited for. */
  #isWanted({ id, size = 0 }: O): boolean {
    const { ledger, isUnderWay } = this.#o
    if (isUnderWay(id)) {
      this.#pending.set(id, size)
      return false
    }
    const known = ledger.find(id)
    // In the same millisecond it may have been before.
    if (!known || known.startedMs <= this.entry.createdMs || !settledStates.has(known.state)) return true
    this.#count('settled', size)
    return false
  }

  #count(what: 'settled' | 'failed', bytes: number): void {
    const done = this.#done
    if (what === 'failed') this.#done = { ...done, failed: done.failed + 1 }
    else this.#done = { ...done, objects: done.objects + 1, bytes: done.bytes + bytes }
  }
}

function failedText(failed: number): string {
  const objects = failed === 1 ? '1 object' : `${failed} objects`
  return `${objects} could not be read: \`history --objects --outcome failed\` says why`
}

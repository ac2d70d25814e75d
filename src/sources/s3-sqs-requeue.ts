/** What an operator asked for again: objects and messages of the quarantine, until they are dealt with. */
import type { Outcome, SourceContext } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import type { QuarantineEntry } from '../ledger/ledger.ts'
import { type NotifiedObject, otherForm } from './s3-notification.ts'
import { etagOf } from './s3-object.ts'
import type { NotifiedS3Object } from './s3-sqs-objects.ts'

/** Waits before what failed is tried again, in seconds: doubled with every receive, or attempt. */
export const retrySeconds = { min: 30, max: 900 }

export function doubled({ min, max }: { readonly min: number; readonly max: number }, attempts: number): number {
  return Math.min(max, min * 2 ** Math.min(attempts - 1, 20))
}

export interface RequeueOptions {
  readonly context: SourceContext
  /** Name of the queue. */
  readonly queue: string
  /** The objects that a message tells of, as far as they are wanted, and what cannot be understood in it. */
  readonly understand: (body: string) => {
    readonly wanted: readonly NotifiedObject[]
    readonly problems: readonly string[]
  }
  /** Throws a StreamError. */
  readonly resolve: (notified: NotifiedObject, sentMs: number) => Promise<NotifiedS3Object>
  readonly isUnderWay: (id: string) => boolean
  /** True if the ledger knows that it needs no reading. */
  readonly isSettled: (id: string) => boolean
  readonly isStopping: () => boolean
  /** A message that still cannot be dealt with. */
  readonly failed: (messageId: string) => void
  /** Gives the object out, unless it is under way. */
  readonly read: (object: NotifiedS3Object) => void
  readonly changed: () => void
}

export class Requeue {
  readonly #o: RequeueOptions
  /** Objects in the buffer or under way -> the entries they are read for. */
  readonly #reading = new Map<string, Set<number>>()
  /** Messages whose objects are being found. */
  readonly #finding = new Set<number>()
  /** Entries of which something failed once more -> when they are tried next, ms. */
  readonly #retryAtMs = new Map<number, number>()

  constructor(o: RequeueOptions) {
    this.#o = o
  }

  /** False while messages are looked at. */
  get idle(): boolean {
    return this.#finding.size === 0
  }

  /** Takes the entries that are marked; those that are taken already are passed over. */
  take(entries: readonly QuarantineEntry[]): void {
    const { context, isUnderWay } = this.#o
    const { ledger, nowMs } = context
    for (const { id: entryId, kind, object, createdMs } of entries) {
      if (this.#isRead(entryId) || (this.#retryAtMs.get(entryId) ?? 0) > nowMs()) continue
      this.#retryAtMs.delete(entryId)
      if (kind === 'message') void this.#find(entryId)
      if (kind !== 'object' || isUnderWay(object.id)) continue
      const { id, bucket, key } = object
      const known = ledger.find(id)
      const times = { timeMs: known?.timeMs ?? createdMs, lastModifiedMs: known?.lastModifiedMs ?? createdMs }
      const unknown = { otherKey: otherForm(key), region: undefined, eventMs: undefined }
      this.#read({ id, bucket, key, ...times, size: known?.size, etag: etagOf(id), ...unknown }, entryId)
    }
  }

  #read(object: NotifiedS3Object, entryId: number): void {
    this.#reading.set(object.id, (this.#reading.get(object.id) ?? new Set()).add(entryId))
    this.#o.read(object)
  }

  /** The objects of a message: a mapping may understand it now. Never throws. */
  async #find(entryId: number): Promise<void> {
    if (this.#finding.has(entryId)) return
    const { context, queue, understand, resolve, isSettled, isStopping, failed, changed } = this.#o
    const { ledger, log, nowMs } = context
    this.#finding.add(entryId)
    try {
      const records = ledger.rejectedRecords(entryId)
      if (!records) return
      const body = records.data.subarray(0, -1).toString()
      const { wanted, problems } = understand(body)
      for (const notified of wanted) {
        const object = await resolve(notified, nowMs())
        if (isStopping()) return
        if (!isSettled(object.id)) this.#read(object, entryId)
      }
      if (problems.length > 0) {
        const reason = problems.join('; ')
        failed(records.object.id)
        // Takes the mark off: the entry stays until an operator asks again.
        ledger.rejectMessage({ id: records.object.id, queue, body, reason })
        log.error({ entry: entryId, reason }, 'a message of the quarantine still cannot be dealt with')
      } else if (!this.#isOpen(entryId)) ledger.release(entryId)
    } catch (error) {
      if (isStopping()) return
      this.#retryAtMs.set(entryId, nowMs() + retrySeconds.min * 1000)
      const text = 'cannot find the objects of a message of the quarantine; trying again later'
      log.warn({ entry: entryId, error: explainError(error) }, text)
    } finally {
      this.#finding.delete(entryId)
      changed()
    }
  }

  /** True while objects of it are in the buffer or under way. */
  #isRead(entryId: number): boolean {
    return [...this.#reading.values()].some((entries) => entries.has(entryId))
  }

  /** True while objects of it are read, or are to be tried again later. */
  #isOpen(entryId: number): boolean {
    return this.#retryAtMs.has(entryId) || this.#isRead(entryId)
  }

  /** What became of an object, whoever it was read for. What was stopped is taken again at the next occasion. */
  answered({ id }: { readonly id: string }, outcome: Outcome): void {
    const { ledger, nowMs } = this.#o.context
    const entries = this.#reading.get(id)
    if (!entries) return
    this.#reading.delete(id)
    if (outcome === 'stopped') return
    const isFailed = outcome === 'failed'
    const waitMs = isFailed ? doubled(retrySeconds, ledger.find(id)?.attempts ?? 1) * 1000 : 0
    for (const entry of entries) {
      if (isFailed) this.#retryAtMs.set(entry, nowMs() + waitMs)
      // A message may tell of more objects; and if this one ended in quarantine again, the mark is off and the entry stays.
      if (!this.#isOpen(entry) && ledger.quarantined(entry)?.requeued) ledger.release(entry)
    }
  }
}

/** Objects that do not come from listing: left over by a stop, failed, or asked for again by an operator. */
import { backoffMs } from '../core/backoff.ts'
import type { SourceContext } from '../core/component.ts'
import type { ObjectEntry } from '../ledger/ledger.ts'
import { etagOf, type S3Object } from './s3-object.ts'

/** A failed object is tried by every scan at first, later less often, at last every so many ms. */
const failedWaits = { minMs: 15_000, maxMs: 900_000 }

export class LeftObjects {
  readonly #context: Pick<SourceContext, 'ledger' | 'nowMs'>
  /** To be read again because an operator asked -> quarantine entries. */
  readonly #requeued = new Map<string, Set<number>>()

  constructor(context: Pick<SourceContext, 'ledger' | 'nowMs'>) {
    this.#context = context
  }

  /** Those that are to be read now; with `once` also those that failed a moment ago. */
  due(once: boolean): Map<string, S3Object> {
    const { ledger, nowMs } = this.#context
    const due = new Map<string, S3Object>()
    const waiting = new Set<string>()
    for (const entry of ledger.objects({ states: ['active', 'failed'] })) {
      const waitMs = backoffMs(failedWaits, entry.attempts, () => 1)
      if (entry.state === 'failed' && !once && entry.updatedMs + waitMs > nowMs()) waiting.add(entry.id)
      else due.set(entry.id, fromEntry(entry))
    }
    for (const { id: quarantineId, kind, object, createdMs } of ledger.requeued()) {
      if (kind !== 'object') continue
      const { id } = object
      // Kept over failures and restarts: the mark stays until the object was read.
      this.#requeued.set(id, (this.#requeued.get(id) ?? new Set()).add(quarantineId))
      if (due.has(id) || waiting.has(id)) continue
      const entry = ledger.find(id)
      const times = { timeMs: createdMs, lastModifiedMs: createdMs }
      due.set(id, entry ? fromEntry(entry) : { ...object, etag: etagOf(id), size: undefined, ...times })
    }
    return due
  }

  /** The object was read, or never will be. */
  settled(id: string): void {
    const { ledger } = this.#context
    for (const entry of this.#requeued.get(id) ?? []) {
      // If it ended in quarantine again, the mark is off and the entry stays.
      if (ledger.quarantined(entry)?.requeued) ledger.release(entry)
    }
    this.#requeued.delete(id)
  }
}

function fromEntry({ id, bucket, key, size, timeMs, lastModifiedMs }: ObjectEntry): S3Object {
  return { id, bucket, key, size, timeMs, lastModifiedMs, etag: etagOf(id) }
}

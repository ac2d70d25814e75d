/** Files that do not come from listing: left over by a stop, failed, or asked for again by an operator. */
import { backoffMs } from '../core/backoff.ts'
import type { Outcome, SourceContext } from '../core/component.ts'
import { type FileObject, fileFromLedger, isBelow } from './file-object.ts'
import { FileRequeue } from './file-requeue.ts'
import type { FileRules } from './file-rules.ts'
import { compareBytes } from './file-walk.ts'

/** A failed file is tried by every poll at first, later less often, at last every so many ms. */
const failedWaits = { minMs: 15_000, maxMs: 900_000 }

/** What a run has seen fail. */
interface Run {
  readonly once: boolean
  /** Ids that failed in this run. */
  readonly failed: ReadonlySet<string>
}

export class LeftFiles {
  readonly #context: Pick<SourceContext, 'ledger' | 'nowMs'>
  readonly #place: string
  readonly #requeued: FileRequeue

  /** `place` is that of the store. */
  constructor(context: Pick<SourceContext, 'ledger' | 'nowMs'>, place: string) {
    this.#context = context
    this.#place = place
    this.#requeued = new FileRequeue(context.ledger)
  }

  /** In the order of their paths. */
  due(rules: FileRules, run: Run): FileObject[] {
    const { ledger } = this.#context
    const due = new Map<string, FileObject>()
    for (const entry of ledger.objects({ states: ['active', 'failed'] })) {
      // The server, the folder and the rules may have changed since.
      if (entry.bucket !== this.#place || !isBelow(rules.root, entry.key)) continue
      const object = fileFromLedger(rules.root, entry, entry.timeMs)
      if (object && rules.reaches(object.path) && !this.mustWait(object.id, run)) due.set(object.key, object)
    }
    for (const object of this.#requeued.take(this.#place, rules.root)) {
      if (!this.mustWait(object.id, run)) due.set(object.key, object)
    }
    return [...due.values()].toSorted((a, b) => compareBytes(a.key, b.key))
  }

  /** A file that failed a while ago is not tried again yet. */
  mustWait(id: string, run: Run): boolean {
    if (run.once) return run.failed.has(id)
    const { ledger, nowMs } = this.#context
    const entry = ledger.find(id)
    if (entry?.state !== 'failed') return false
    return entry.updatedMs + backoffMs(failedWaits, entry.attempts, () => 1) > nowMs()
  }

  /** What became of a file that was given out. */
  answered(object: FileObject, outcome: Outcome): void {
    this.#requeued.answered(object, outcome)
  }
}

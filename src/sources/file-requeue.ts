/** Files that an operator asked for again, until they were read. */
import type { Outcome } from '../core/component.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { type FileObject, fileFromLedger } from './file-object.ts'

export class FileRequeue {
  readonly #ledger: Ledger
  /** Id of a file -> quarantine entries it is read for. */
  readonly #entries = new Map<string, Set<number>>()

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** What of this place is marked now. The marks stay over failures and restarts, until the file was read. */
  take(place: string, root: string): FileObject[] {
    const ledger = this.#ledger
    return ledger.requeued().flatMap(({ id, kind, object, createdMs }) => {
      if (kind !== 'object' || object.bucket !== place) return []
      const file = fileFromLedger(root, ledger.find(object.id) ?? object, createdMs)
      if (!file) return []
      this.#entries.set(file.id, (this.#entries.get(file.id) ?? new Set()).add(id))
      return [file]
    })
  }

  answered({ id }: { readonly id: string }, outcome: Outcome): void {
    if (outcome === 'stopped' || outcome === 'failed') return
    for (const entry of this.#entries.get(id) ?? []) {
      // If it ended in quarantine again, the mark is off and the entry stays.
      if (this.#ledger.quarantined(entry)?.requeued) this.#ledger.release(entry)
    }
    this.#entries.delete(id)
  }
}

/** A replay in the history: what one process did of it. */
import type { Ledger, RunEntry } from '../ledger/ledger.ts'
import type { Outcome } from './component.ts'
import { type Counts, nothingCounted } from './delivery.ts'

export class ReplayHistory {
  readonly #ledger: Ledger
  readonly #nowMs: () => number
  readonly #replay: number
  readonly #startedMs: number
  readonly #id: number
  readonly #objects: Partial<Record<Outcome, number>> = {}
  #counts: Counts = nothingCounted
  #outcome: RunEntry['outcome'] = 'running'
  #error: string | undefined

  constructor(o: { readonly ledger: Ledger; readonly nowMs: () => number; readonly replay: number }) {
    this.#ledger = o.ledger
    this.#nowMs = o.nowMs
    this.#replay = o.replay
    this.#startedMs = o.nowMs()
    this.#id = o.ledger.runs.add(this.#entry())
  }

  /** `before` is what an earlier attempt had settled already. */
  add(outcome: Outcome, counts: Counts, before: Counts): void {
    this.#objects[outcome] = (this.#objects[outcome] ?? 0) + 1
    const sum = this.#counts
    const delivered = counts.delivered - before.delivered
    const filtered = counts.filtered - before.filtered
    const quarantined = counts.quarantined - before.quarantined
    this.#counts = {
      read: sum.read + delivered + filtered + quarantined,
      delivered: sum.delivered + delivered,
      filtered: sum.filtered + filtered,
      quarantined: sum.quarantined + quarantined,
      bytes: sum.bytes + counts.bytes - before.bytes,
    }
  }

  write(outcome: RunEntry['outcome'], error: string | undefined): void {
    this.#outcome = outcome
    this.#error = error
    this.writeRest()
  }

  /** What was under way when it ended has ended, too. */
  writeRest(): void {
    this.#ledger.runs.put({ id: this.#id, ...this.#entry() })
  }

  #entry(): Omit<RunEntry, 'id'> {
    return {
      ...{ startedMs: this.#startedMs, updatedMs: this.#nowMs(), mode: 'replay', outcome: this.#outcome },
      ...{ objects: { ...this.#objects }, counts: this.#counts, figures: { replay: this.#replay }, error: this.#error },
    }
  }
}

/** Keeps one run in the ledger: written down when it begins, while it goes on, and when it ends. */
import type { Totals } from '../core/account.ts'
import type { Source } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import type { Ledger, RunEntry } from '../ledger/ledger.ts'

const writeMs = 5000

export class RunRecord {
  readonly #ledger: Ledger
  readonly #id: number
  readonly #startedMs = Date.now()
  readonly #mode: RunEntry['mode']
  readonly #totals: () => Totals
  readonly #source: Source
  readonly #timer: NodeJS.Timeout

  /** `totals` gives what the run came to so far. */
  constructor(o: {
    readonly ledger: Ledger
    readonly source: Source
    readonly mode: RunEntry['mode']
    readonly totals: () => Totals
  }) {
    this.#ledger = o.ledger
    this.#source = o.source
    this.#mode = o.mode
    this.#totals = o.totals
    this.#id = o.ledger.runs.next()
    this.#write('running')
    this.#timer = setInterval(() => this.#write('running'), writeMs)
    this.#timer.unref()
  }

  #write(outcome: RunEntry['outcome'], error?: unknown): void {
    const { objects, ...counts } = this.#totals()
    this.#ledger.runs.put({
      id: this.#id,
      startedMs: this.#startedMs,
      updatedMs: Date.now(),
      mode: this.#mode,
      outcome,
      objects: Object.fromEntries(Object.entries(objects).filter(([, n]) => n > 0)),
      counts,
      figures: this.#source.figures ?? {},
      error: error === undefined ? undefined : explainError(error),
    })
  }

  end(outcome: 'done' | 'stopped' | 'failed', error?: unknown): void {
    clearInterval(this.#timer)
    this.#write(outcome, error)
  }
}

/** Keeps one run in the ledger: written down when it begins, while it goes on, and when it ends. */
import type { Totals } from '../core/account.ts'
import type { Log, Source } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import type { Ledger, RunEntry } from '../ledger/ledger.ts'

const writeMs = 5000

export class RunRecord {
  readonly #ledger: Ledger
  readonly #log: Log
  #id: number | undefined
  #hasFailed = false
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
    readonly log: Log
  }) {
    this.#ledger = o.ledger
    this.#source = o.source
    this.#mode = o.mode
    this.#totals = o.totals
    this.#log = o.log
    this.#write('running')
    this.#timer = setInterval(() => this.#write('running'), writeMs)
    this.#timer.unref()
  }

  #entry(outcome: RunEntry['outcome'], error?: unknown): Omit<RunEntry, 'id'> {
    const { objects, recovered, ...counts } = this.#totals()
    return {
      startedMs: this.#startedMs,
      updatedMs: Date.now(),
      mode: this.#mode,
      outcome,
      objects: Object.fromEntries(Object.entries(objects).filter(([, n]) => n > 0)),
      counts,
      figures: { ...this.#source.figures, ...(recovered > 0 ? { recovered } : {}) },
      error: error === undefined ? undefined : explainError(error),
    }
  }

  #write(outcome: RunEntry['outcome'], error?: unknown): void {
    try {
      const entry = this.#entry(outcome, error)
      if (this.#id === undefined) this.#id = this.#ledger.runs.add(entry)
      else this.#ledger.runs.put({ id: this.#id, ...entry })
      this.#hasFailed = false
    } catch (failure) {
      // A run goes on without its history: the disk may be full, or another process have the database for long.
      if (!this.#hasFailed) this.#log.error({ error: explainError(failure) }, 'cannot write down the run; trying again')
      this.#hasFailed = true
    }
  }

  end(outcome: 'done' | 'stopped' | 'failed', error?: unknown): void {
    clearInterval(this.#timer)
    this.#write(outcome, error)
  }
}

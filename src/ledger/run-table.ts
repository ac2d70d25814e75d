/** One row for each run of the pipeline: when, how long, what became of its objects and records. */
import type { DatabaseSync } from 'node:sqlite'
import type { RunEntry, RunLog } from './ledger.ts'
import { Statements } from './statements.ts'

export const runSchema = `
CREATE TABLE IF NOT EXISTS runs (
  run INTEGER PRIMARY KEY AUTOINCREMENT, started_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, mode TEXT NOT NULL,
  outcome TEXT NOT NULL, objects TEXT NOT NULL, counts TEXT NOT NULL, figures TEXT NOT NULL, error TEXT
);
`

interface Row {
  run: number
  started_ms: number
  updated_ms: number
  mode: string
  outcome: string
  objects: string
  counts: string
  figures: string
  error: string | null
}

/** Runs that are kept: a daemon makes one for each start, a timer one for each minute. */
const keptRuns = 10_000
/** A run is written down every few seconds. */
const silentMs = 60_000

export class RunTable implements RunLog {
  readonly #statements: Statements
  readonly #nowMs: () => number
  readonly #exists: boolean

  constructor(db: DatabaseSync, nowMs: () => number) {
    this.#statements = new Statements(db)
    this.#nowMs = nowMs
    // A ledger of an older version that is only looked at has no such table.
    this.#exists = db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'runs'`).get() !== undefined
  }

  add(run: Omit<RunEntry, 'id'>): number {
    const columns = 'started_ms, updated_ms, mode, outcome, objects, counts, figures, error'
    const added = this.#statements
      .prepare(`INSERT INTO runs (${columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
      .run(...valuesOf(run))
    const id = Number(added.lastInsertRowid)
    this.#statements.prepare('DELETE FROM runs WHERE run <= ?').run(id - keptRuns)
    return id
  }

  put(run: RunEntry): void {
    this.#statements
      .prepare(`UPDATE runs SET started_ms = ?, updated_ms = ?, mode = ?, outcome = ?, objects = ?, counts = ?, figures = ?, error = ?
        WHERE run = ?`)
      .run(...valuesOf(run), run.id)
  }

  /** Runs that did not end by themselves: to be called by the one process that may run. */
  closeKilled(): void {
    this.#statements.prepare(`UPDATE runs SET outcome = 'killed' WHERE outcome = 'running'`).run()
  }

  list({ sinceMs = 0, limit = -1 }: { readonly sinceMs?: number; readonly limit?: number } = {}): RunEntry[] {
    if (!this.#exists) return []
    const sql = 'SELECT * FROM runs WHERE updated_ms >= ? ORDER BY run DESC LIMIT ?'
    return (this.#statements.prepare(sql).all(sinceMs, limit) as unknown as Row[]).map((row) => this.#entryOf(row))
  }

  #entryOf(row: Row): RunEntry {
    // Nobody has written it down for so long: it is not running any more, whatever else is.
    const isGone = row.outcome === 'running' && row.updated_ms < this.#nowMs() - silentMs
    return {
      id: row.run,
      startedMs: row.started_ms,
      updatedMs: row.updated_ms,
      mode: row.mode as RunEntry['mode'],
      outcome: isGone ? 'killed' : (row.outcome as RunEntry['outcome']),
      objects: JSON.parse(row.objects) as RunEntry['objects'],
      counts: JSON.parse(row.counts) as RunEntry['counts'],
      figures: JSON.parse(row.figures) as RunEntry['figures'],
      error: row.error ?? undefined,
    }
  }
}

function valuesOf(run: Omit<RunEntry, 'id'>): Array<string | number | null> {
  const { startedMs, updatedMs, mode, outcome, objects, counts, figures, error = null } = run
  const times = [Math.round(startedMs), Math.round(updatedMs)]
  return [...times, mode, outcome, JSON.stringify(objects), JSON.stringify(counts), JSON.stringify(figures), error]
}

/** One row for each time an operator asked to read a range again. */
import type { DatabaseSync } from 'node:sqlite'
import type { ReplayEntry, ReplayLog } from './ledger.ts'
import { Statements } from './statements.ts'

/** To version 4 of the schema. */
export const replaySchema = `
CREATE TABLE IF NOT EXISTS replays (
  replay INTEGER PRIMARY KEY AUTOINCREMENT, from_ms INTEGER NOT NULL, to_ms INTEGER NOT NULL, prefix TEXT NOT NULL,
  bytes_per_second INTEGER NOT NULL, state TEXT NOT NULL, created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL,
  planned_objects INTEGER NOT NULL, planned_bytes INTEGER NOT NULL,
  done_objects INTEGER NOT NULL DEFAULT 0, done_bytes INTEGER NOT NULL DEFAULT 0, done_failed INTEGER NOT NULL DEFAULT 0,
  error TEXT
);
`

interface Row {
  replay: number
  from_ms: number
  to_ms: number
  prefix: string
  bytes_per_second: number
  state: string
  created_ms: number
  updated_ms: number
  planned_objects: number
  planned_bytes: number
  done_objects: number
  done_bytes: number
  done_failed: number
  error: string | null
}

const keptReplays = 10_000
const isOpen = `state IN ('waiting', 'running')`

export class ReplayTable implements ReplayLog {
  readonly #statements: Statements
  readonly #nowMs: () => number
  readonly #written: () => void
  readonly #isMine: () => boolean
  readonly #exists: boolean

  /** `written` sees to it that what was written is on disk; `isMine` is false where another process on this ledger does them. */
  constructor(
    db: DatabaseSync,
    nowMs: () => number,
    o: { readonly written: () => void; readonly isMine: () => boolean },
  ) {
    this.#statements = new Statements(db)
    this.#nowMs = nowMs
    this.#written = o.written
    this.#isMine = o.isMine
    // A ledger of an older version that is only looked at has no such table.
    this.#exists = db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'replays'`).get() !== undefined
  }

  add({ fromMs, toMs, prefix, bytesPerSecond, planned }: Parameters<ReplayLog['add']>[0]): number {
    const nowMs = Math.round(this.#nowMs())
    const added = this.#statements
      .prepare(`INSERT INTO replays (from_ms, to_ms, prefix, bytes_per_second, state, created_ms, updated_ms, planned_objects, planned_bytes)
        VALUES (?, ?, ?, ?, 'waiting', ?, ?, ?, ?)`)
      .run(
        ...[Math.round(fromMs), Math.round(toMs), prefix, Math.round(bytesPerSecond), nowMs, nowMs],
        ...[planned.objects, planned.bytes],
      )
    const id = Number(added.lastInsertRowid)
    this.#statements.prepare(`DELETE FROM replays WHERE replay <= ? AND NOT ${isOpen}`).run(id - keptReplays)
    this.#written()
    return id
  }

  list({ limit = -1 }: { readonly limit?: number } = {}): ReplayEntry[] {
    return this.#rows('ORDER BY replay DESC LIMIT ?', limit)
  }

  find(id: number): ReplayEntry | undefined {
    return this.#rows('WHERE replay = ?', id)[0]
  }

  open(): ReplayEntry[] {
    // Each of several would read and send it.
    return this.#isMine() ? this.#rows(`WHERE ${isOpen} ORDER BY replay`) : []
  }

  put(id: number, change: Parameters<ReplayLog['put']>[1]): void {
    const { state, done, error } = change
    this.#statements
      .prepare(`UPDATE replays SET state = coalesce(?, state), done_objects = coalesce(?, done_objects), done_bytes = coalesce(?, done_bytes),
        done_failed = coalesce(?, done_failed), error = iif(?, ?, error), updated_ms = ? WHERE replay = ? AND ${isOpen}`)
      .run(
        ...[state ?? null, done?.objects ?? null, done?.bytes ?? null, done?.failed ?? null],
        ...['error' in change ? 1 : 0, error ?? null, Math.round(this.#nowMs()), id],
      )
    this.#written()
  }

  cancel(id: number): boolean {
    const { changes } = this.#statements
      .prepare(`UPDATE replays SET state = 'cancelled', updated_ms = ? WHERE replay = ? AND ${isOpen}`)
      .run(Math.round(this.#nowMs()), id)
    this.#written()
    return changes > 0
  }

  /** What was done of them is known no more. Part of a transaction. */
  cancelAll(): void {
    const sql = `UPDATE replays SET state = 'cancelled', updated_ms = ? WHERE ${isOpen}`
    this.#statements.prepare(sql).run(Math.round(this.#nowMs()))
  }

  restart(objectId: string): void {
    // One that was settled is in the totals.
    this.#statements
      .prepare(`UPDATE objects SET records = 0, start = 0, start_records = 0, read = 0, delivered = 0, filtered = 0, quarantined = 0, bytes = 0,
        counted_bytes = iif(state IN ('active', 'failed'), counted_bytes, bytes), state = iif(state = 'active', state, 'failed')
        WHERE id = ? AND state IN ('active', 'failed', 'requeued', 'vanished', 'replaced')`)
      .run(objectId)
  }

  #rows(ending: string, ...values: number[]): ReplayEntry[] {
    if (!this.#exists) return []
    const rows = this.#statements.prepare(`SELECT * FROM replays ${ending}`).all(...values)
    return (rows as unknown as Row[]).map(entryOf)
  }
}

function entryOf(row: Row): ReplayEntry {
  return {
    id: row.replay,
    fromMs: row.from_ms,
    toMs: row.to_ms,
    prefix: row.prefix,
    bytesPerSecond: row.bytes_per_second,
    state: row.state as ReplayEntry['state'],
    createdMs: row.created_ms,
    updatedMs: row.updated_ms,
    planned: { objects: row.planned_objects, bytes: row.planned_bytes },
    done: { objects: row.done_objects, bytes: row.done_bytes, failed: row.done_failed },
    error: row.error ?? undefined,
  }
}

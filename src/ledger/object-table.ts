/** One row for each object that the ledger knows: how far it got, what became of it. */
import type { DatabaseSync } from 'node:sqlite'
import type { Counts } from '../core/delivery.ts'
import type { ObjectEntry, ObjectState, Recovered } from './ledger.ts'
import { Statements } from './statements.ts'

export const objectSchema = `
CREATE TABLE IF NOT EXISTS objects (
  id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, size INTEGER,
  time_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, state TEXT NOT NULL,
  records INTEGER NOT NULL, start INTEGER NOT NULL, start_records INTEGER NOT NULL,
  read INTEGER NOT NULL, delivered INTEGER NOT NULL, filtered INTEGER NOT NULL, quarantined INTEGER NOT NULL, bytes INTEGER NOT NULL,
  attempts INTEGER NOT NULL, error TEXT, updated_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_time ON objects (time_ms);
CREATE INDEX IF NOT EXISTS objects_unfinished ON objects (state) WHERE state IN ('active', 'failed');
`

/** To version 2 of the schema. */
export const objectUpgrade = 'ALTER TABLE objects ADD COLUMN started_ms INTEGER NOT NULL DEFAULT 0;'

/** To version 3: when the source last said that the object is still there. */
export const objectListing = 'ALTER TABLE objects ADD COLUMN listed_ms INTEGER NOT NULL DEFAULT 0;'

export class ObjectTable {
  readonly #statements: Statements

  constructor(db: DatabaseSync) {
    this.#statements = new Statements(db)
  }

  any(): boolean {
    return this.#statements.prepare('SELECT 1 FROM objects LIMIT 1').get() !== undefined
  }

  states(ids: readonly string[]): Map<string, ObjectState> {
    if (ids.length === 0) return new Map()
    const sql = 'SELECT o.id, o.state FROM json_each(?) AS wanted JOIN objects AS o ON o.id = wanted.value'
    const rows = this.#statements.prepare(sql).all(JSON.stringify(ids)) as Array<{ id: string; state: ObjectState }>
    return new Map(rows.map(({ id, state }) => [id, state]))
  }

  find(id: string): ObjectEntry | undefined {
    const row = this.#statements.prepare('SELECT * FROM objects WHERE id = ?').get(id) as Row | undefined
    return row && entryFromRow(row)
  }

  put(entry: ObjectEntry): void {
    this.#statements.prepare(upsert).run(...rowValues(entry))
  }

  /** Newest change first; `limit` -1 for all. */
  list(states: readonly ObjectState[], o: { sinceMs: number; untilMs: number; limit: number }): ObjectEntry[] {
    const sql = `SELECT * FROM objects WHERE state IN (SELECT value FROM json_each(?)) AND updated_ms BETWEEN ? AND ?
      ORDER BY updated_ms DESC LIMIT ?`
    const values = [JSON.stringify(states), o.sinceMs, o.untilMs, o.limit]
    return (this.#statements.prepare(sql).all(...values) as unknown as Row[]).map(entryFromRow)
  }

  folders(sinceMs: number): string[] {
    // rtrim takes away every character that is not a slash, from the right: what is left is the folder.
    const sql = `SELECT DISTINCT rtrim(key, replace(key, '/', '')) AS folder FROM objects WHERE modified_ms >= ?`
    return (this.#statements.prepare(sql).all(sinceMs) as Array<{ folder: string }>).map(({ folder }) => folder)
  }

  listed(ids: readonly string[], nowMs: number): void {
    const sql = 'UPDATE objects SET listed_ms = ? WHERE id IN (SELECT value FROM json_each(?))'
    this.#statements.prepare(sql).run(Math.round(nowMs), JSON.stringify(ids))
  }

  prune(beforeMs: number): number {
    const sql = `DELETE FROM objects WHERE time_ms < ?1 AND modified_ms < ?1 AND updated_ms < ?1 AND listed_ms < ?1
      AND state IN ('done', 'vanished', 'replaced')`
    return Number(this.#statements.prepare(sql).run(beforeMs).changes)
  }

  removeFrom(timeMs: number): number {
    return Number(this.#statements.prepare('DELETE FROM objects WHERE time_ms >= ?').run(timeMs).changes)
  }

  removeUnfinishedBefore(timeMs: number): number {
    const sql = `DELETE FROM objects WHERE time_ms < ? AND state IN ('active', 'failed')`
    return Number(this.#statements.prepare(sql).run(timeMs).changes)
  }

  oldestUnfinishedMs(): number | undefined {
    const sql = `SELECT min(time_ms) AS time FROM objects WHERE state IN ('active', 'failed')`
    return (this.#statements.prepare(sql).get() as { time: number | null }).time ?? undefined
  }

  /** The finished object with the greatest time up to `boundMs`. */
  latestFinished(boundMs: number): { readonly timeMs: number; readonly key: string } | undefined {
    const sql = `SELECT time_ms AS timeMs, key FROM objects WHERE time_ms <= ? AND state NOT IN ('active', 'failed')
      ORDER BY time_ms DESC LIMIT 1`
    return this.#statements.prepare(sql).get(boundMs) as { timeMs: number; key: string } | undefined
  }
}

interface Row {
  id: string
  bucket: string
  key: string
  size: number | null
  time_ms: number
  modified_ms: number
  state: string
  records: number
  start: number
  start_records: number
  read: number
  delivered: number
  filtered: number
  quarantined: number
  bytes: number
  attempts: number
  error: string | null
  updated_ms: number
  started_ms?: number
}

/** The counts of an object of which quarantined records went on; never more of them than it has. */
export function withRecovered(counts: Counts, { delivered, filtered }: Recovered): Counts {
  const arrived = Math.min(delivered, counts.quarantined)
  const dropped = Math.min(filtered, counts.quarantined - arrived)
  return {
    ...counts,
    delivered: counts.delivered + arrived,
    filtered: counts.filtered + dropped,
    quarantined: counts.quarantined - arrived - dropped,
  }
}

function entryFromRow(row: Row): ObjectEntry {
  const { id, bucket, key, read, delivered, filtered, quarantined, bytes, attempts } = row
  return {
    id,
    bucket,
    key,
    size: row.size ?? undefined,
    timeMs: row.time_ms,
    lastModifiedMs: row.modified_ms,
    state: row.state as ObjectState,
    position: { records: row.records, offset: row.start, offsetRecords: row.start_records },
    counts: { read, delivered, filtered, quarantined, bytes },
    attempts,
    error: row.error ?? undefined,
    startedMs: row.started_ms ?? 0,
    updatedMs: row.updated_ms,
  }
}

const columns = [
  ...['id', 'bucket', 'key', 'size', 'time_ms', 'modified_ms', 'state', 'records', 'start', 'start_records'],
  ...['read', 'delivered', 'filtered', 'quarantined', 'bytes', 'attempts', 'error', 'started_ms', 'updated_ms'],
]
/** Leaves what is not the object's own as it is: when it was listed. */
const upsert = `INSERT INTO objects (${columns.join(', ')}) VALUES (${columns.map(() => '?').join(', ')})
  ON CONFLICT (id) DO UPDATE SET ${columns.map((column) => `${column} = excluded.${column}`).join(', ')}`

/** The values of `upsert`, in order. */
function rowValues(entry: ObjectEntry): Array<string | number | null> {
  const { position, counts } = entry
  return [
    entry.id,
    entry.bucket,
    entry.key,
    entry.size ?? null,
    Math.round(entry.timeMs),
    Math.round(entry.lastModifiedMs),
    entry.state,
    position.records,
    position.offset,
    position.offsetRecords,
    counts.read,
    counts.delivered,
    counts.filtered,
    counts.quarantined,
    counts.bytes,
    entry.attempts,
    entry.error ?? null,
    Math.round(entry.startedMs),
    Math.round(entry.updatedMs),
  ]
}

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

/** To version 4: bytes that the totals have of an object that was settled before and is read again; NULL if it was not. */
export const objectAgain = 'ALTER TABLE objects ADD COLUMN counted_bytes INTEGER;'

export class ObjectTable {
  readonly #statements: Statements
  /** True for objects that were not settled before they were begun again. */
  readonly #isFirst: string

  constructor(db: DatabaseSync) {
    this.#statements = new Statements(db)
    // A ledger of an older version that is only looked at has no such column.
    const sql = `SELECT 1 FROM pragma_table_info('objects') WHERE name = 'counted_bytes'`
    this.#isFirst = db.prepare(sql).get() ? 'counted_bytes IS NULL' : 'TRUE'
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

  /** Bytes that the totals have of an object that was settled before it was begun again. */
  countedBytes(id: string): number | undefined {
    const sql = 'SELECT counted_bytes AS bytes FROM objects WHERE id = ?'
    return (this.#statements.prepare(sql).get(id) as { bytes: number | null } | undefined)?.bytes ?? undefined
  }

  setCountedBytes(id: string, bytes: number): void {
    this.#statements.prepare('UPDATE objects SET counted_bytes = ? WHERE id = ?').run(bytes, id)
  }

  /** So much of what was quarantined of it went on. */
  recovered(id: string, recovered: Recovered): void {
    const entry = this.find(id)
    if (entry) this.put({ ...entry, counts: withRecovered(entry.counts, recovered) })
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

  buckets(): string[] {
    // From one bucket to the next: an id is bucket, slash and key, and 0 is what comes after a slash.
    const sql = `WITH RECURSIVE found (name) AS (
      SELECT (SELECT bucket FROM objects ORDER BY id LIMIT 1) UNION ALL
      SELECT (SELECT bucket FROM objects WHERE id >= found.name || '0' ORDER BY id LIMIT 1) FROM found WHERE name IS NOT NULL
    ) SELECT name FROM found WHERE name IS NOT NULL`
    return (this.#statements.prepare(sql).all() as Array<{ name: string }>).map(({ name }) => name)
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

  /** But for those that are read again: they were delivered before. */
  oldestUnfinishedMs(except: readonly string[] = []): number | undefined {
    const sql = `SELECT min(time_ms) AS time FROM objects
      WHERE state IN ('active', 'failed') AND ${this.#isFirst} AND id NOT IN (SELECT value FROM json_each(?))`
    const row = this.#statements.prepare(sql).get(JSON.stringify(except)) as { time: number | null }
    return row.time ?? undefined
  }

  /** How many failed and are to be tried again. */
  failed(except: readonly string[]): number {
    // Without the words of the index SQLite would not use it, and read a million finished ones each second.
    const sql = `SELECT count(*) AS n FROM objects
      WHERE state IN ('active', 'failed') AND state = 'failed' AND id NOT IN (SELECT value FROM json_each(?))`
    return (this.#statements.prepare(sql).get(JSON.stringify(except)) as { n: number }).n
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
/** Leaves what is not the object's own as it is: when it was listed, what the totals have of it. */
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

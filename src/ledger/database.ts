/** The ledger's database: its tables, and the way from rows of objects to entries and back. */
import { DatabaseSync } from 'node:sqlite'
import { explainError, StreamError } from '../core/errors.ts'
import type { ObjectEntry, ObjectState } from './ledger.ts'
import { quarantineSchema } from './quarantine-table.ts'

const schemaVersion = 1

const schema = `
CREATE TABLE IF NOT EXISTS objects (
  id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, size INTEGER,
  time_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, state TEXT NOT NULL,
  records INTEGER NOT NULL, start INTEGER NOT NULL, start_records INTEGER NOT NULL,
  read INTEGER NOT NULL, delivered INTEGER NOT NULL, filtered INTEGER NOT NULL, quarantined INTEGER NOT NULL, bytes INTEGER NOT NULL,
  attempts INTEGER NOT NULL, error TEXT, updated_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS objects_by_time ON objects (time_ms);
CREATE INDEX IF NOT EXISTS objects_unfinished ON objects (state) WHERE state IN ('active', 'failed');
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

/** Opens the database and makes its tables. Throws ledger.corrupt with what to do. */
export function openDatabase(path: string, o: { readonly readOnly: boolean }): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    db = new DatabaseSync(path, { readOnly: o.readOnly })
    db.exec('PRAGMA busy_timeout = 5000')
    const version = (db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
    if (version > schemaVersion) {
      throw new StreamError(
        'ledger.corrupt',
        `${path} was written by a newer s3-streamer: use that one, or another state.file_path`,
      )
    }
    if (o.readOnly) return db
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL')
    db.exec(schema + quarantineSchema)
    db.exec(`PRAGMA user_version = ${schemaVersion}`)
    return db
  } catch (error) {
    db?.close()
    if (error instanceof StreamError) throw error
    const hint = /not a database|malformed/.test(explainError(error))
      ? `: move it away; the next start then goes on from the time in state.json, and may send some objects again`
      : ''
    throw new StreamError('ledger.corrupt', `cannot open the ledger ${path}${hint}`, { cause: error })
  }
}

export interface ObjectRow {
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
}

export function entryFromRow(row: ObjectRow): ObjectEntry {
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
    updatedMs: row.updated_ms,
  }
}

export const upsertObject = `INSERT OR REPLACE INTO objects
  (id, bucket, key, size, time_ms, modified_ms, state, records, start, start_records,
   read, delivered, filtered, quarantined, bytes, attempts, error, updated_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

/** The values of `upsertObject`, in order. */
export function rowValues(entry: ObjectEntry): Array<string | number | null> {
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
    Math.round(entry.updatedMs),
  ]
}

/** Opens the ledger's database and makes its tables. */
import { existsSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { explainError, StreamError } from '../core/errors.ts'
import { objectAgain, objectListing, objectSchema, objectUpgrade } from './object-table.ts'
import { quarantineSchema, quarantineUpgrade } from './quarantine-table.ts'
import { replaySchema } from './replay-table.ts'
import { runSchema } from './run-table.ts'
import { transaction } from './statements.ts'
import { uploadSchema } from './upload-table.ts'

const schemaVersion = 4

const metaSchema = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
`

/**
 * Opens the database and makes its tables. `isAlone`: nobody looks on, so each page is written once, into the file, and not into a
 * log first. Throws ledger.corrupt with what to do.
 */
export function openDatabase(
  path: string,
  o: { readonly readOnly: boolean; readonly isAlone?: boolean },
): DatabaseSync {
  let db: DatabaseSync | undefined
  try {
    if (o.readOnly) rollBack(path)
    db = new DatabaseSync(path, { readOnly: o.readOnly })
    db.exec('PRAGMA busy_timeout = 5000')
    const version = (db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
    if (version > schemaVersion) {
      throw new StreamError(
        'ledger.corrupt',
        `${path} was written by a newer s3-streamer (use that one, or another state.file_path)`,
      )
    }
    if (o.readOnly) return db
    db.exec(`PRAGMA journal_mode = ${o.isAlone ? 'DELETE' : 'WAL'}; PRAGMA synchronous = NORMAL`)
    makeTables(db)
    return db
  } catch (error) {
    db?.close()
    if (error instanceof StreamError) throw error
    if (isUnwritable(error)) throw unwritable(path, error)
    const hint = /not a database|malformed/.test(explainError(error))
      ? ' (move it away; the next start then goes on from the time in state.json, and may send some objects again)'
      : ''
    throw new StreamError('ledger.corrupt', `cannot open the ledger ${path}: ${explainError(error)}${hint}`, {
      cause: error,
    })
  }
}

/** True if the system does not let us: wrong owner, wrong rights, a file system that is read-only. */
export function isUnwritable(error: unknown): boolean {
  return /unable to open database file|readonly database|EACCES|EROFS/.test(explainError(error))
}

export function unwritable(path: string, cause: unknown): StreamError {
  const advice = 'run as the user that it belongs to, or give it and its folder to this one'
  return new StreamError('ledger.unwritable', `cannot open ${path}: ${explainError(cause)} (${advice})`, { cause })
}

/** A process that was killed while it wrote left half of it; whoever only reads cannot take that back. */
function rollBack(path: string): void {
  if (!existsSync(`${path}-journal`)) return
  using db = new DatabaseSync(path)
  db.exec('PRAGMA busy_timeout = 5000; PRAGMA user_version')
}

/** Where the database of a state file stands: beside it. */
export function databasePath(statePath: string): string {
  return `${statePath.replace(/\.json$/, '')}.db`
}

function makeTables(db: DatabaseSync): void {
  transaction(db, () => {
    // Asked again: another process may have been first.
    const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
    if (version >= schemaVersion) return
    if (version < 2) {
      db.exec(objectSchema + quarantineSchema + metaSchema + runSchema)
      db.exec(objectUpgrade + quarantineUpgrade)
    }
    if (version < 3) db.exec(objectListing + uploadSchema)
    db.exec(objectAgain + replaySchema)
    db.exec(`PRAGMA user_version = ${schemaVersion}`)
  })
}

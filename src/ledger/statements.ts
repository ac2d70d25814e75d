/** Prepared statements of one database, each prepared once; and transactions. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { explainError, StreamError } from '../core/errors.ts'

export class Statements {
  readonly #db: DatabaseSync
  readonly #prepared = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  prepare(sql: string): StatementSync {
    let statement = this.#prepared.get(sql)
    if (!statement) {
      statement = this.#db.prepare(sql)
      this.#prepared.set(sql, statement)
    }
    return statement
  }
}

/**
 * All of `act` is written, or nothing of it; throws what it throws, or ledger.unwritable if the disk refuses. Within another
 * transaction it is written with that one.
 */
export function transaction(db: DatabaseSync, act: () => void): void {
  const isInner = db.isTransaction
  try {
    db.exec(isInner ? 'SAVEPOINT part' : 'BEGIN IMMEDIATE')
    act()
    db.exec(isInner ? 'RELEASE part' : 'COMMIT')
  } catch (error) {
    // SQLite has taken everything back already if the disk is full.
    if (isInner && db.isTransaction) db.exec('ROLLBACK TO part; RELEASE part')
    else if (db.isTransaction) db.exec('ROLLBACK')
    throw diskError(db, error) ?? error
  }
}

/** What the low byte of a result code of SQLite says of the disk. */
const diskProblems: Readonly<Record<number, string>> = {
  8: 'make it writable',
  10: 'look at the disk and the log of the system',
  13: 'free space on its disk',
}

function diskError(db: DatabaseSync, error: unknown): StreamError | undefined {
  const code = (error as { errcode?: number }).errcode
  const advice = code === undefined ? undefined : diskProblems[code & 0xff]
  if (advice === undefined) return undefined
  const message = `cannot write the ledger ${db.location()}: ${explainError(error)} (${advice}; nothing is lost: what is not written down is sent again)`
  return new StreamError('ledger.unwritable', message)
}

/** Prepared statements of one database, each prepared once; and transactions. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'

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

/** All of `act` is written, or nothing of it; throws what it throws. Within another transaction it is written with that one. */
export function transaction(db: DatabaseSync, act: () => void): void {
  const isInner = db.isTransaction
  db.exec(isInner ? 'SAVEPOINT part' : 'BEGIN IMMEDIATE')
  try {
    act()
    db.exec(isInner ? 'RELEASE part' : 'COMMIT')
  } catch (error) {
    db.exec(isInner ? 'ROLLBACK TO part; RELEASE part' : 'ROLLBACK')
    throw error
  }
}

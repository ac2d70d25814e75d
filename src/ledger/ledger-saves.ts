/** How the saves of the ledger went, and how much room it takes. */
import { statSync } from 'node:fs'
import { explainError } from '../core/errors.ts'

export class LedgerSaves {
  /** When the last good one was; undefined before the first. */
  savedMs: number | undefined
  /** Why the last one failed; undefined if it did not. */
  error: string | undefined
  failures = 0

  succeeded(nowMs: number): void {
    this.savedMs = nowMs
    this.error = undefined
  }

  /** True if the save before was good: then it is news. */
  failed(error: unknown): boolean {
    const isNews = this.error === undefined
    this.error = explainError(error)
    this.failures += 1
    return isNews
  }
}

/** Of the database `path` and of what SQLite keeps beside it. */
export function databaseBytes(path: string): number {
  return ['', '-wal', '-shm', '-journal'].reduce(
    (sum, end) => sum + (statSync(`${path}${end}`, { throwIfNoEntry: false })?.size ?? 0),
    0,
  )
}

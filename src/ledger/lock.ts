/** One process at a time on a ledger. The lock is the operating system's: it goes with the process, however that ends. */
import { DatabaseSync } from 'node:sqlite'
import { explainError, StreamError } from '../core/errors.ts'
import { isUnwritable, unwritable } from './database.ts'
import type { LedgerOptions } from './meta.ts'

/**
 * Takes the lock `path`; closing the result gives it back. Throws ledger.locked if another live process has it.
 * SQLite holds it with fcntl locks, which the kernel drops when the process dies; not to be trusted on NFS.
 */
export function takeLock(path: string, holder: () => string): { close(): void } {
  let lock: DatabaseSync | undefined
  try {
    lock = new DatabaseSync(path)
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE')
    return lock
  } catch (error) {
    lock?.close()
    if (isUnwritable(error)) throw unwritable(path, error)
    if (!/locked|busy/i.test(explainError(error))) throw error
    throw new StreamError('ledger.locked', `another s3-streamer works on ${path.replace(/\.lock$/, '')}${holder()}`, {
      cause: new Error('stop it, or give this one its own state.file_path'),
    })
  }
}

/** The lock that a way of opening needs: `exclusive` must have it, of those that are `joint` the first one has it. */
export function lockFor(
  mode: LedgerOptions['mode'],
  path: string,
  holder: () => string,
): { close(): void } | undefined {
  if (mode !== 'exclusive' && mode !== 'joint') return undefined
  try {
    return takeLock(path, holder)
  } catch (error) {
    if (mode === 'joint' && error instanceof StreamError && error.code === 'ledger.locked') return undefined
    throw error
  }
}

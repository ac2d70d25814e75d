/** What the ledger knows of itself: where listing is, what it wrote into state.json, who works on it. */
import type { DatabaseSync } from 'node:sqlite'
import type { Log } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { openDatabase } from './database.ts'
import type { Horizon, Totals } from './ledger.ts'

export interface LedgerOptions {
  /** Path of state.json; the database stands beside it. */
  readonly statePath: string
  /**
   * `exclusive`: to run, or to move the place; only one process. `joint`: to run beside others on the same ledger; the first
   * of them keeps state.json. `shared`: to look and to requeue while it runs. `readonly`: writes nothing at all; without a ledger it is an empty one.
   */
  readonly mode: 'exclusive' | 'joint' | 'shared' | 'readonly'
  /**
   * Outcomes, too, are written by `save` only: a killed process does more again, and thousands of small objects cost hardly
   * a write. Not for a source that removes what is done.
   */
  readonly deferred?: boolean
  readonly log: Log
  readonly nowMs: () => number
  /** Where a first start begins, ms since the epoch; 0 for the beginning. */
  readonly startMs: number
  /** How long rows are kept that nothing needs any more. */
  readonly retentionMs: number
  /** How far before the time in a state.json without a ledger reading begins: what was late then may not have been read. */
  readonly lookbackMs: number
}

export interface Meta {
  horizon: Horizon
  totals: Totals
  /** Timestamps, in seconds, that state.json may have because we wrote them. */
  written: number[]
  /** state.json was set aside because it could not be read: that it is missing is no wish of the operator. */
  setAside: boolean
  pid: number
}

export function firstMeta(horizon: Horizon): Meta {
  const totals = { files: 0, bytes: 0, lastTimeMs: 0, lastKey: '' }
  return { horizon, totals, written: [], setAside: false, pid: process.pid }
}

/** What is stored; for what is not, the values of a first start. */
export function readMeta(db: DatabaseSync, horizon: Horizon): Meta {
  const rows = db.prepare(`SELECT name, value FROM meta WHERE name <> 'console'`).all() as Array<{
    name: string
    value: string
  }>
  const stored = Object.fromEntries(
    rows.map(({ name, value }) => [name, JSON.parse(value) as unknown]),
  ) as Partial<Meta>
  return { ...firstMeta(horizon), ...stored }
}

export function writeMeta(db: DatabaseSync, meta: Meta): void {
  const put = db.prepare('INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)')
  for (const [name, value] of Object.entries(meta)) put.run(name, JSON.stringify(value))
}

/** The process that holds the lock, as it wrote down itself. */
export function holderOf(path: string): string {
  try {
    const db = openDatabase(path, { readOnly: true })
    const row = db.prepare(`SELECT value FROM meta WHERE name = 'pid'`).get() as { value: string } | undefined
    db.close()
    return row?.value ?? 'unknown'
  } catch {
    return 'unknown'
  }
}

/** Where a first start begins. */
export function firstHorizon({ startMs, nowMs }: { readonly startMs: number; readonly nowMs: () => number }): Horizon {
  return { checkpointMs: 0, sweepMs: 0, floor: { timeMs: startMs, setAtMs: startMs > 0 ? nowMs() : 0 }, listed: true }
}

const dayMs = 86_400_000

/** The horizon after an operator moved the place to a time. */
export function movedHorizon(
  horizon: Horizon,
  timeMs: number,
  { isBack, nowMs }: { readonly isBack: boolean; readonly nowMs: number },
): Horizon {
  // Going back must not pass over what came late since the last sweep; going on leaves everything older alone.
  const setAtMs = isBack ? Math.max(horizon.floor.setAtMs, horizon.sweepMs - dayMs) : nowMs
  return { ...horizon, checkpointMs: Math.min(horizon.checkpointMs, timeMs), floor: { timeMs, setAtMs } }
}

/** The totals as they are now: other processes may have added to them. */
export function readTotals(db: DatabaseSync, known: Totals): Totals {
  const row = db.prepare(`SELECT value FROM meta WHERE name = 'totals'`).get() as { value: string } | undefined
  return row ? (JSON.parse(row.value) as Totals) : known
}

/** With one more settled object, of which they may have so many bytes already. */
export function settledTotals(
  { files, bytes, lastTimeMs, lastKey }: Totals,
  object: {
    readonly key: string
    readonly timeMs: number
    readonly bytes: number
    readonly countedBytes: number | undefined
  },
): Totals {
  const { key, timeMs, countedBytes } = object
  const isLater = timeMs >= lastTimeMs
  return {
    files: files + (countedBytes === undefined ? 1 : 0),
    bytes: bytes + object.bytes - (countedBytes ?? 0),
    lastTimeMs: isLater ? timeMs : lastTimeMs,
    lastKey: isLater ? key : lastKey,
  }
}

/** Where the console of the process that works on it is. Beside the rest: whoever looks on asks for it while that one writes. */
export function readConsole(db: DatabaseSync): string | undefined {
  const row = db.prepare(`SELECT value FROM meta WHERE name = 'console'`).get() as { value: string } | undefined
  return row?.value
}

/** Throws nothing: whoever runs can do without it. */
export function writeConsole(db: DatabaseSync, url: string | undefined, log: Log): void {
  try {
    if (url === undefined) db.prepare(`DELETE FROM meta WHERE name = 'console'`).run()
    else db.prepare(`INSERT OR REPLACE INTO meta (name, value) VALUES ('console', ?)`).run(url)
  } catch (error) {
    log.warn({ error: explainError(error) }, 'cannot write down where the console is: `status` may not find it')
  }
}

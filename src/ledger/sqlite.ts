/**
 * The embedded ledger: SQLite beside state.json.
 *
 * 1. What `settle`, `reject`, `requeue` and `release` write is in the write-ahead log when they return: it survives the process.
 * 2. An object under way lives in memory and is written by `save`. A killed process loses positions, never outcomes.
 * 3. state.json is written after the ledger, and the ledger knows what it wrote: any other timestamp in the file is an operator's.
 */
import { existsSync, rmSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { ListedObject, Outcome } from '../core/component.ts'
import type { Counts, Position } from '../core/delivery.ts'
import { StreamError } from '../core/errors.ts'
import { ActiveObjects } from './active-objects.ts'
import { databasePath, openDatabase } from './database.ts'
import type {
  Horizon,
  Ledger,
  LedgerHealth,
  ObjectEntry,
  ObjectState,
  QuarantineEntry,
  Recovered,
  RejectedMessage,
  RejectedRecords,
  Totals,
} from './ledger.ts'
import { databaseBytes, LedgerSaves } from './ledger-saves.ts'
import { lockFor } from './lock.ts'
import {
  firstHorizon,
  firstMeta,
  holderOf,
  type LedgerOptions,
  type Meta,
  movedHorizon,
  readConsole,
  readMeta,
  readTotals,
  settledTotals,
  writeConsole,
  writeMeta,
} from './meta.ts'
import { ObjectTable } from './object-table.ts'
import { QuarantineTable } from './quarantine-table.ts'
import { ReplayTable } from './replay-table.ts'
import { RunTable } from './run-table.ts'
import { StateContent } from './state-content.ts'
import { corruptState, makeParent, readStateFile, setAside, writeStateFile } from './state-file.ts'
import { transaction } from './statements.ts'
import { UploadTable } from './upload-table.ts'

/** Throws ledger.locked, ledger.corrupt or state.corrupt, with what to do. */
export const openLedger = (o: LedgerOptions): SqliteLedger => new SqliteLedger(o)

export class SqliteLedger implements Ledger {
  readonly #o: LedgerOptions
  readonly #db: DatabaseSync
  readonly #objects: ObjectTable
  readonly #quarantine: QuarantineTable
  readonly runs: RunTable
  readonly uploads: UploadTable
  readonly replays: ReplayTable
  /** Held by the one process that keeps state.json and tells what is requeued: the only one, or one of several. */
  #lock: { close(): void } | undefined
  readonly #putTotals: StatementSync
  readonly #active: ActiveObjects
  readonly #state: StateContent
  readonly #saves = new LedgerSaves()
  #meta: Meta
  #closed = false

  constructor(o: LedgerOptions) {
    this.#o = o
    const path = databasePath(o.statePath)
    const exists = existsSync(path)
    if (o.mode !== 'readonly') makeParent(o.statePath)
    this.#lock = lockFor(o.mode, `${path}.lock`, () => (exists ? ` (process ${holderOf(path)})` : ''))
    try {
      this.#db =
        o.mode === 'readonly' && !exists
          ? openDatabase(':memory:', { readOnly: false })
          : openDatabase(path, { readOnly: o.mode === 'readonly', isAlone: o.deferred ?? false })
      this.#objects = new ObjectTable(this.#db)
      this.#active = new ActiveObjects(this.#objects, o.nowMs)
      this.#state = new StateContent(this.#objects, this.#active)
      this.#putTotals = this.#db.prepare(`INSERT OR REPLACE INTO meta (name, value) VALUES ('totals', ?)`)
      this.#quarantine = new QuarantineTable(this.#db, o.nowMs)
      this.runs = new RunTable(this.#db, o.nowMs)
      this.uploads = new UploadTable(this.#db, () => this.#write())
      this.replays = new ReplayTable(this.#db, o.nowMs, { written: () => this.#write(), isMine: () => this.#isMine })
      this.#meta = readMeta(this.#db, firstHorizon(o))
      if (this.#lock) this.#reconcile(exists)
      else if (!exists) this.#meta.horizon = firstHorizon(o)
      if (o.deferred) this.#db.exec('PRAGMA cache_spill = OFF; PRAGMA synchronous = FULL; BEGIN IMMEDIATE')
    } catch (error) {
      this.#lock?.close()
      throw error
    }
  }

  /** If the one of several that had the lock is gone, another has it from now on. */
  #takeOver(): void {
    if (this.#o.mode !== 'joint' || this.#lock) return
    this.#lock = lockFor('joint', `${databasePath(this.#o.statePath)}.lock`, () => '')
    if (this.#lock) this.#meta = { ...readMeta(this.#db, this.#meta.horizon), pid: process.pid }
  }

  /** Compares state.json with what we wrote, and obeys what an operator changed. */
  #reconcile(existed: boolean): void {
    const { statePath, log } = this.#o
    const content = readStateFile(statePath)
    const hasHistory = existed && (this.#meta.written.length > 0 || this.#objects.any())
    this.#meta.pid = process.pid
    if (content.kind === 'corrupt') this.#setAside(content.why, hasHistory)
    if (content.kind === 'missing') {
      if (hasHistory && this.#meta.written.length > 0 && !this.#meta.setAside) {
        this.forget()
        this.#forgotten = false
        log.warn({ statePath }, 'state.json was deleted: starting afresh, by start_at; the quarantine is kept')
      } else if (!hasHistory && this.#o.mode === 'exclusive')
        log.info(
          { statePath, startAt: this.#o.startMs === 0 ? 'beginning' : iso(this.#o.startMs) },
          'first start: no state yet (`start_at` says from where to read)',
        )
    } else if (content.kind === 'valid') {
      const { state } = content
      const timeMs = state.last_processed_timestamp * 1000
      const totals = { files: state.total_files_processed, bytes: state.total_bytes_processed }
      if (!hasHistory) {
        this.#meta.horizon = {
          ...firstHorizon(this.#o),
          floor: { timeMs: Math.max(0, timeMs - this.#o.lookbackMs), setAtMs: this.#o.nowMs() },
        }
        this.#meta.totals = { ...totals, lastTimeMs: timeMs, lastKey: state.last_processed_file }
        log.warn(
          { statePath, from: iso(timeMs) },
          'state.json without a ledger: going on from its time less lookback; some objects may be sent again',
        )
      } else if (!this.#meta.written.includes(state.last_processed_timestamp)) {
        this.#meta.totals = { ...this.#meta.totals, ...totals }
        this.moveTo(timeMs)
      }
    }
    this.#meta.setAside = false
    transaction(this.#db, () => {
      if (this.#o.mode === 'exclusive') this.runs.closeKilled()
      writeMeta(this.#db, this.#meta)
    })
    this.save()
    if (this.#saves.error !== undefined) {
      throw new StreamError(
        'ledger.corrupt',
        `cannot write ${statePath}: see the error above; state.file_path must be writable`,
      )
    }
  }

  #setAside(why: string, hasHistory: boolean): never {
    const { statePath, nowMs } = this.#o
    const aside = setAside(statePath, nowMs())
    this.#meta.setAside = true
    transaction(this.#db, () => writeMeta(this.#db, this.#meta))
    throw corruptState(statePath, { why, aside, hasHistory })
  }

  get horizon(): Horizon {
    return this.#meta.horizon
  }

  setHorizon(horizon: Horizon): void {
    this.#meta.horizon = horizon
  }

  get totals(): Totals {
    return this.#meta.totals
  }

  states(ids: readonly string[]): ReadonlyMap<string, ObjectState> {
    const found = this.#objects.states(ids)
    for (const id of ids) {
      const active = this.#active.find(id)
      if (active) found.set(id, active.state)
    }
    return found
  }

  find(id: string): ObjectEntry | undefined {
    return this.#active.find(id) ?? this.#objects.find(id)
  }

  begin(object: ListedObject): ObjectEntry {
    return this.#active.begin(object, this.find(object.id))
  }

  advance(id: string, position: Position, counts: Counts): void {
    this.#active.advance(id, position, counts)
  }

  suspend(id: string): void {
    this.#active.put(id)
    this.#active.remove(id)
  }

  settle(
    id: string,
    outcome: Exclude<Outcome, 'stopped'>,
    { position, counts, timeMs, reason }: { position: Position; counts: Counts; timeMs: number; reason?: string },
  ): void {
    transaction(this.#db, () => {
      const change = { state: outcome, position, counts, timeMs, error: reason, updatedMs: this.#o.nowMs() }
      const settled = this.#active.put(id, change)
      if (!settled) throw new StreamError('core.unbalanced', `${id} was settled but not begun`)
      const { entry, countedBytes } = settled
      if (outcome === 'failed') return
      if (outcome === 'quarantined') this.#quarantine.keepObject(entry, reason ?? '')
      // It went on now, in a replay: nothing is left to be tried again.
      if (outcome === 'done' && countedBytes !== undefined) this.#quarantine.arrived(id, counts)
      const { bytes } = counts
      this.#meta.totals = settledTotals(this.#totalsNow(), { key: entry.key, timeMs, bytes, countedBytes })
      this.#putTotals.run(JSON.stringify(this.#meta.totals))
    })
    this.#active.remove(id)
  }

  reject(records: RejectedRecords): void {
    this.#quarantine.keepRecords(records)
  }

  rejectMessage(message: RejectedMessage): void {
    this.#quarantine.keepMessage(message)
  }

  quarantine(o: { readonly limit?: number } = {}): QuarantineEntry[] {
    return this.#quarantine.list(o.limit ?? -1)
  }

  quarantined(id: number): QuarantineEntry | undefined {
    return this.#quarantine.find(id)
  }

  rejectedRecords(id: number): RejectedRecords | undefined {
    return this.#quarantine.records(id)
  }

  drop(ids: readonly number[]): number {
    return this.#quarantine.drop(ids)
  }

  requeue(ids: readonly number[] | 'all'): number {
    return this.#quarantine.requeue(ids)
  }

  requeued(): QuarantineEntry[] {
    return this.#isMine ? this.#quarantine.requeued() : []
  }

  release(id: number, recovered: Recovered = { delivered: 0, filtered: 0 }): void {
    const entry = this.#quarantine.find(id)
    if (!entry) return
    transaction(this.#db, () => {
      if (entry.kind === 'records') this.#objects.recovered(entry.object.id, recovered)
      this.#quarantine.remove(id)
    })
    if (entry.kind === 'records') this.#active.recovered(entry.object.id, recovered)
  }

  get health(): LedgerHealth {
    const { savedMs, error, failures } = this.#saves
    const bytes = databaseBytes(databasePath(this.#o.statePath))
    const failed = this.#objects.failed(this.#active.ids())
    return { bytes, savedMs, error, failures, failed, quarantine: this.#quarantine.size() }
  }

  oldestUnfinishedMs(except: ReadonlySet<string> = new Set()): number | undefined {
    return this.#active.oldestUnfinishedMs(except)
  }

  get console(): string | undefined {
    return readConsole(this.#db)
  }

  set console(url: string | undefined) {
    writeConsole(this.#db, url, this.#o.log)
  }

  objects(o: Parameters<Ledger['objects']>[0] = {}): ObjectEntry[] {
    return this.#active.withStored(o)
  }

  folders(sinceMs: number): readonly string[] {
    return this.#objects.folders(sinceMs)
  }

  buckets(): readonly string[] {
    return this.#objects.buckets()
  }

  listed(ids: readonly string[]): void {
    this.#objects.listed(ids, this.#o.nowMs())
  }

  prune(beforeMs: number): number {
    const before = Math.min(beforeMs, this.#o.nowMs() - this.#o.retentionMs)
    return this.#objects.prune(before)
  }

  moveTo(timeMs: number): void {
    const { log, nowMs } = this.#o
    const isBack = timeMs < this.#meta.totals.lastTimeMs
    transaction(this.#db, () => {
      const again = this.#objects.removeFrom(timeMs)
      const left = this.#objects.removeUnfinishedBefore(timeMs)
      this.#meta.horizon = movedHorizon(this.#meta.horizon, timeMs, { isBack, nowMs: nowMs() })
      this.#meta.totals = { ...this.#meta.totals, lastTimeMs: timeMs, lastKey: '' }
      this.#meta.written = [Math.floor(timeMs / 1000)]
      this.#state.moved()
      writeMeta(this.#db, this.#meta)
      log.warn(
        { from: iso(timeMs), readAgain: again, unfinishedLeftAlone: left },
        isBack ? 'moved back: objects from this time on are read again' : 'moved on: older objects are left alone',
      )
    })
    this.#active.clear()
  }

  forget(): void {
    this.#active.clear()
    transaction(this.#db, () => {
      this.#db.exec('DELETE FROM objects; DELETE FROM meta')
      this.replays.cancelAll()
      this.#meta = firstMeta(firstHorizon(this.#o))
    })
    rmSync(this.#o.statePath, { force: true })
    this.#forgotten = true
  }

  /** After `forget` nothing may be written until the next start: it must look like a first one. */
  #forgotten = false

  save(): void {
    const { mode, log, statePath } = this.#o
    if ((mode !== 'exclusive' && mode !== 'joint') || this.#closed || this.#forgotten) return
    try {
      this.#takeOver()
      const state = this.#lock ? this.#state.now(this.#meta, this.#o.nowMs()) : undefined
      // All the way to the disk, once: after a power cut state.json must not be ahead of the ledger.
      if (!this.#db.isTransaction) this.#db.exec('PRAGMA synchronous = FULL')
      transaction(this.#db, () => {
        this.#active.save()
        this.uploads.save()
        if (!state) return
        this.#meta.totals = this.#totalsNow()
        // Both the old and the new time are ours until the file is written.
        const last = this.#meta.written.at(-1)
        this.#meta.written = [...(last === undefined ? [] : [last]), state.last_processed_timestamp]
        writeMeta(this.#db, this.#meta)
      })
      this.#write()
      if (!this.#db.isTransaction) this.#db.exec('PRAGMA synchronous = NORMAL')
      this.#active.saved()
      this.uploads.saved()
      if (state) writeStateFile(statePath, state)
      this.#saves.succeeded(this.#o.nowMs())
    } catch (error) {
      if (this.#saves.failed(error)) log.error({ error: this.#saves.error, statePath }, 'cannot save; trying again')
    }
  }

  /** What operators ask for is done by one process: each of several would read and send it. */
  get #isMine(): boolean {
    return this.#o.mode !== 'joint' || this.#lock !== undefined
  }

  /** Where nothing is written before it is asked for: now. */
  #write(): void {
    if (this.#db.isTransaction) this.#db.exec('COMMIT; BEGIN IMMEDIATE')
  }

  /** Other processes on the same ledger add to the totals too. */
  #totalsNow(): Totals {
    return this.#o.mode === 'joint' ? readTotals(this.#db, this.#meta.totals) : this.#meta.totals
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.save()
    this.abandon()
  }

  /** Closes without saving: what a stop that cannot wait leaves is what a killed process leaves. */
  abandon(): void {
    if (this.#closed) return
    this.#closed = true
    this.#db.close()
    this.#lock?.close()
  }
}

const iso = (ms: number) => new Date(ms).toISOString()

/**
 * The ledger answers four questions for one pipeline: is this object new, how far did it get, what failed and why,
 * and from where must be listed again. It is the only place where "done" is written down, and the pipeline writes it
 * only after every record of the object was delivered, filtered or quarantined.
 */
import type { ListedObject, ObjectRef, Outcome } from '../core/component.ts'
import type { Counts, Position } from '../core/delivery.ts'

export type ObjectState = 'active' | 'failed' | 'done' | 'quarantined' | 'vanished' | 'replaced' | 'requeued'

export interface ObjectEntry {
  readonly id: string
  readonly bucket: string
  readonly key: string
  readonly size: number | undefined
  /** Time of the object as listing knows it (name, else LastModified), ms. */
  readonly timeMs: number
  readonly lastModifiedMs: number
  readonly state: ObjectState
  readonly position: Position
  readonly counts: Counts
  readonly attempts: number
  readonly error: string | undefined
  /** When the last attempt began. */
  readonly startedMs: number
  readonly updatedMs: number
}

/** What the runs of the pipeline came to. */
export interface RunLog {
  /** Writes a new run down; gives its id. */
  add(run: Omit<RunEntry, 'id'>): number
  /** Writes it down again, while it goes on and at its end. */
  put(run: RunEntry): void
  /** Runs that were not over before `sinceMs`, newest first. One that did not end by itself is `killed` from the next start on, or after a minute. */
  list(o?: { readonly sinceMs?: number; readonly limit?: number }): RunEntry[]
}

/** Objects that are to be read again because an operator asked: asked for by any process, done by the one that runs. */
export interface ReplayLog {
  /** Writes a new replay down, state `waiting`; gives its id. On disk when it returns. */
  add(replay: Pick<ReplayEntry, 'fromMs' | 'toMs' | 'prefix' | 'bytesPerSecond' | 'planned'>): number
  /** Newest first. */
  list(o?: { readonly limit?: number }): ReplayEntry[]
  find(id: number): ReplayEntry | undefined
  /** Those that are `waiting` or `running`, oldest first. */
  open(): ReplayEntry[]
  /** What changed of it (`error: undefined` takes it away); does nothing if it is over, so that a cancellation is not written over. */
  put(id: number, change: Partial<Pick<ReplayEntry, 'state' | 'done' | 'error'>>): void
  /** False if there is none of this id, or it is over. */
  cancel(id: number): boolean
  /** The next attempt at an object that is not under way, and not settled, begins at its first record: part of it may have been delivered long ago. */
  restart(objectId: string): void
}

export interface ReplayEntry {
  readonly id: number
  /** Objects with `fromMs` <= time < `toMs`, ms since the epoch. */
  readonly fromMs: number
  readonly toMs: number
  readonly prefix: string
  /** Most stored bytes a second. */
  readonly bytesPerSecond: number
  readonly state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled'
  readonly createdMs: number
  readonly updatedMs: number
  /** As the plan found it. */
  readonly planned: { readonly objects: number; readonly bytes: number }
  /** Objects of the range that are settled since it was created, whoever read them, and their stored bytes. */
  readonly done: { readonly objects: number; readonly bytes: number; readonly failed: number }
  readonly error: string | undefined
}

/** Uploads of whole objects that were begun and are not over: what a later run can go on with, or must remove. */
export interface UploadLog {
  /** The upload of this object (an id says its version too) to this place; undefined if there is none. */
  find(objectId: string, target: UploadTarget): UploadEntry | undefined
  /** On disk when it returns: else a killed process would leave an upload that nobody knows. */
  begin(upload: Omit<UploadEntry, 'parts'>): void
  /** A part is stored. In memory until the ledger is saved: the receiver can list what it has. */
  addPart(uploadId: string, part: UploadedPart): void
  /** It is complete, or gone. */
  remove(uploadId: string): void
  /** Every one, oldest first. */
  list(): UploadEntry[]
}

export interface UploadTarget {
  readonly bucket: string
  readonly key: string
}

export interface UploadEntry extends UploadTarget {
  /** As the receiver named it. */
  readonly uploadId: string
  readonly objectId: string
  readonly size: number
  readonly partBytes: number
  readonly startedMs: number
  readonly parts: readonly UploadedPart[]
}

export interface UploadedPart {
  readonly number: number
  readonly bytes: number
  readonly etag: string
  /** CRC64NVME, base64 of 8 bytes big-endian. */
  readonly checksum: string
}

/** Records a sink refused, kept with the receiver's words. */
export interface RejectedRecords {
  readonly object: ObjectRef
  readonly firstRecord: number
  readonly contentType: string
  readonly multiline: boolean
  /** Records back to back, one LF after each, as in a Block. */
  readonly data: Buffer
  readonly ends: Uint32Array
  /** Number of each record, if they do not follow each other from `firstRecord` on. */
  readonly numbers?: Uint32Array | undefined
  /** Start of the object, for records that are as they were before the filter: sending them again passes it again. */
  readonly head?: Buffer | undefined
  readonly reason: string
}

/** A message of a queue that tells of no object, or of objects that cannot be read. */
export interface RejectedMessage {
  /** Stable over receives. */
  readonly id: string
  /** Name of the queue. */
  readonly queue: string
  readonly body: string
  readonly reason: string
}

/** One start of the pipeline, from its first object to its end. */
export interface RunEntry {
  readonly id: number
  readonly startedMs: number
  /** Last time it was written down; the end, unless it is running or was killed. */
  readonly updatedMs: number
  readonly mode: 'once' | 'daemon' | 'replay'
  /** `stopped`: by a signal; `failed`: with an error, or `once` with failed objects; `killed`: it did not end by itself. */
  readonly outcome: 'running' | 'done' | 'stopped' | 'failed' | 'killed'
  readonly objects: Readonly<Partial<Record<Outcome, number>>>
  readonly counts: Counts
  /** What the source counted besides, by name. */
  readonly figures: Readonly<Record<string, number>>
  readonly error: string | undefined
}

/** What became of quarantined records that were sent again. */
export interface Recovered {
  readonly delivered: number
  readonly filtered: number
}

export interface QuarantineEntry {
  readonly id: number
  readonly kind: 'object' | 'records' | 'message'
  readonly object: ObjectRef
  readonly reason: string
  readonly position: Position
  readonly firstRecord: number
  readonly records: number
  readonly createdMs: number
  readonly requeued: boolean
}

/** From where listing must look again; all times in ms since the epoch, 0 for never. */
export interface Horizon {
  /** Every object whose time is below was settled when the last complete scan ended. */
  readonly checkpointMs: number
  /** When the last complete sweep (a scan that used no learned shortcut) began. */
  readonly sweepMs: number
  /**
   * Objects older than this are left alone on purpose (`start_at`, or an operator moved the timestamp): skip an object
   * if its time is below `timeMs` and its LastModified below `setAtMs`.
   */
  readonly floor: { readonly timeMs: number; readonly setAtMs: number }
  /** False while objects of a running scan may wait to be given out: then the timestamp in state.json must not pass the checkpoint. */
  readonly listed: boolean
}

/** How the ledger itself is. Cheap to ask. */
export interface LedgerHealth {
  /** Of its files together. */
  readonly bytes: number
  /** When it was last saved; undefined before the first time. */
  readonly savedMs: number | undefined
  /** Why the last save failed; undefined if it did not. */
  readonly error: string | undefined
  /** Saves that failed since it was opened. */
  readonly failures: number
  /** Objects that failed and are tried again. */
  readonly failed: number
  /** Entries of the quarantine. */
  readonly quarantine: number
}

/** Running totals of the pipeline, as in state.json. */
export interface Totals {
  readonly files: number
  /** Uncompressed bytes. */
  readonly bytes: number
  /** Greatest time of a settled object in ms, and its key; 0 and '' before the first. */
  readonly lastTimeMs: number
  readonly lastKey: string
}

/**
 * Synchronous on purpose: the embedded engine is in this process, and a call that cannot be interrupted cannot be
 * raced. What is `settle`d or `reject`ed is on its way to disk when the call returns and survives `kill -9`;
 * positions (`advance`) are kept in memory until `save`.
 */
export interface Ledger extends AsyncDisposable {
  readonly horizon: Horizon
  setHorizon(horizon: Horizon): void
  readonly totals: Totals

  /** The state of each id that the ledger knows; ids it does not know are absent. For one page of a listing. */
  states(ids: readonly string[]): ReadonlyMap<string, ObjectState>
  find(id: string): ObjectEntry | undefined
  /** Marks the object active, counts the attempt and gives what is known of it: the position to go on from. */
  begin(object: ListedObject): ObjectEntry
  /** The position moved. Kept in memory until `save`, so cheap enough to call per batch. */
  advance(id: string, position: Position, counts: Counts): void
  /** The object is given up for now, where it stands: written at once, for whoever goes on with it, maybe another process. */
  suspend(id: string): void
  /**
   * The object is finished with for now. `done`, `quarantined`, `vanished` and `replaced` are final; `failed` is tried again.
   * `timeMs` is the best that is known of the object's time by now. Adds to the totals if the outcome is final. `quarantined` also makes a quarantine entry with `reason` and the position.
   */
  settle(
    id: string,
    outcome: Exclude<Outcome, 'stopped'>,
    o: { position: Position; counts: Counts; timeMs: number; reason?: string },
  ): void
  /**
   * Puts records in quarantine; returned means kept. Call before the records count as settled. Asking again for the same
   * object and record range (after a crash, the records are sent and refused again) changes nothing.
   */
  reject(records: RejectedRecords): void

  /** Puts a message in quarantine; returned means kept. Asking again for the same id changes nothing but the reason. */
  rejectMessage(message: RejectedMessage): void

  /** Quarantine, newest first. */
  quarantine(o?: { readonly limit?: number }): QuarantineEntry[]
  quarantined(id: number): QuarantineEntry | undefined
  /** The bytes of a `records` or `message` entry; undefined for an object. */
  rejectedRecords(id: number): RejectedRecords | undefined
  /** Forgets entries, and with them the records they keep; the counts stay as they are. Gives how many there were. */
  drop(ids: readonly number[]): number
  /** Marks entries to be tried again; the running pipeline takes them at its next scan. Gives how many were marked. */
  requeue(ids: readonly number[] | 'all'): number
  /** Entries marked by `requeue`, oldest first. */
  requeued(): QuarantineEntry[]
  /** A requeued entry was dealt with: it is removed, and so many of its records count as delivered, or filtered, now. */
  release(id: number, recovered?: Recovered): void

  /** Folders (with their last slash) of objects that were modified at `sinceMs` or later, as far as rows are kept. */
  folders(sinceMs: number): readonly string[]
  /** Buckets of the objects it knows. */
  buckets(): readonly string[]
  readonly runs: RunLog
  readonly uploads: UploadLog
  readonly replays: ReplayLog
  readonly health: LedgerHealth
  /** Address of the console of the process that works on it, for `status`; a killed one leaves it. On disk when it is set. */
  console: string | undefined
  /** Time of the oldest object that was begun, or failed, and is not settled; `except` those of these ids. ms since the epoch. */
  oldestUnfinishedMs(except?: ReadonlySet<string>): number | undefined

  /** These are still where they were listed: `prune` leaves them, however old they are. */
  listed(ids: readonly string[]): void
  /** Objects that changed from `sinceMs` to `untilMs`, newest change first. */
  objects(o?: {
    readonly states?: readonly ObjectState[]
    readonly sinceMs?: number
    readonly untilMs?: number
    readonly limit?: number
  }): ObjectEntry[]
  /** Forgets final rows whose time and LastModified are both below `beforeMs` and which were updated before it; gives how many. */
  prune(beforeMs: number): number
  /** As if an operator had written this time into state.json: what is older is left alone, what is not is read (again). */
  moveTo(timeMs: number): void
  /** Forgets everything but the quarantine; the next start is a first start. */
  forget(): void
  /** Writes positions, horizon and state.json. Throws nothing: a failure is logged as an error and tried again at the next save. */
  save(): void
}

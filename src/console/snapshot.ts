/** What the console, `status` and the health checks show of a running streamer: plain values, as they go over the wire. */
import type { Outcome } from '../core/component.ts'
import type { ReplayEntry, RunEntry } from '../ledger/ledger.ts'

export interface Snapshot {
  readonly atMs: number
  readonly version: string
  readonly host: string
  readonly pid: number
  readonly startedMs: number
  readonly state: 'starting' | 'running' | 'stopping'
  readonly config: ConfigSnapshot
  readonly process: {
    readonly rssBytes: number
    /** Cores in use, mean of the last seconds. */
    readonly cpu: number
    /** Part of the time in which the main thread was busy, 0 to 1. */
    readonly eventLoop: number
  }
  readonly pipelines: readonly PipelineSnapshot[]
}

export interface ConfigSnapshot {
  readonly file: string
  /** When the configuration in force was read. */
  readonly loadedMs: number
  /** What became of the last reload; undefined before the first. */
  readonly reload: ReloadOutcome | undefined
}

export interface ReloadOutcome {
  readonly atMs: number
  /** False: nothing was changed, and `problems` says why. */
  readonly ok: boolean
  readonly problems: readonly string[]
  /** Names of pipelines by what became of them. */
  readonly started: readonly string[]
  readonly stopped: readonly string[]
  readonly restarted: readonly string[]
  readonly kept: readonly string[]
}

export interface PipelineSnapshot {
  readonly name: string
  /** In a few words, without secrets: `s3://logs/web/`. */
  readonly source: string
  readonly sink: string
  readonly sends: 'records' | 'objects'
  readonly state: 'starting' | 'running' | 'stopping' | 'stopped' | 'failed'
  /** Why it failed. */
  readonly error: string | undefined
  readonly startedMs: number
  /** Since it started, as in the metrics of the same names. */
  readonly counts: {
    readonly read: number
    readonly delivered: number
    readonly filtered: number
    readonly quarantined: number
    /** Uncompressed bytes of what is settled. */
    readonly bytes: number
  }
  /** Attempts at objects that ended, by outcome. */
  readonly objects: Readonly<Record<Outcome, number>>
  /** Batches, or steps of copies, that were tried again. */
  readonly retries: number
  /** Mean of the last ten seconds. */
  readonly rates: {
    readonly recordsPerSecond: number
    readonly bytesPerSecond: number
    readonly objectsPerSecond: number
  }
  /** Age of the oldest object that is not delivered, in seconds; 0 if there is none. */
  readonly lagSeconds: number
  readonly inFlight: { readonly bytes: number; readonly budgetBytes: number; readonly batches: number }
  /** Objects found and not finished; more may not be listed yet unless `complete`. */
  readonly waiting: number
  readonly complete: boolean
  readonly dependencies: readonly DependencySnapshot[]
  readonly ledger: {
    readonly bytes: number
    /** When the state was last saved; undefined before the first time. */
    readonly savedMs: number | undefined
    /** Why the last save failed. */
    readonly error: string | undefined
    /** Objects that failed and are tried again. */
    readonly failed: number
    readonly quarantine: number
  }
  /** The first of them: 100 of all pipelines together, or 10 of each. */
  readonly underWay: readonly UnderWaySnapshot[]
  readonly underWayCount: number
  /** Those that are not over, and the last few that are. */
  readonly replays: readonly ReplaySnapshot[]
}

export interface DependencySnapshot {
  readonly of: 'source' | 'sink'
  readonly name: string
  readonly state: 'unused' | 'up' | 'failing' | 'paused'
  readonly sinceMs: number
  readonly error: string | undefined
}

export interface UnderWaySnapshot {
  readonly id: string
  readonly key: string
  readonly startedMs: number
  /** Time of the object, ms since the epoch. */
  readonly timeMs: number
  /** Bytes as stored. */
  readonly size: number | undefined
  /** Settled records; undefined of a copy. */
  readonly records: number | undefined
  /** Settled bytes: decoded ones of records, stored ones of a copy. */
  readonly bytes: number
  readonly totalBytes: number | undefined
  readonly isReplay: boolean
}

export type ReplaySnapshot = ReplayEntry

/** The last hour of one pipeline: a value every `stepMs`, the last one at `untilMs`. */
export interface PipelineSeries {
  readonly pipeline: string
  readonly recordsPerSecond: readonly number[]
  readonly bytesPerSecond: readonly number[]
  readonly lagSeconds: readonly number[]
}
export interface SeriesSnapshot {
  readonly stepMs: number
  readonly untilMs: number
  readonly pipelines: readonly PipelineSeries[]
}

/** A run, with the pipeline it belongs to. */
export interface RunSnapshot extends RunEntry {
  readonly pipeline: string
}

/** An entry of the quarantine. */
export interface QuarantineSnapshot {
  readonly pipeline: string
  readonly id: number
  readonly kind: 'object' | 'records' | 'message'
  readonly bucket: string
  readonly key: string
  readonly reason: string
  readonly firstRecord: number
  readonly records: number
  readonly createdMs: number
  /** It is to be tried again. */
  readonly requeued: boolean
}

export interface QuarantineDetail extends QuarantineSnapshot {
  /** Its first records, or its message, as text; undefined for an object. */
  readonly preview: string | undefined
  /** True if there is more than the preview shows. */
  readonly isCut: boolean
}

/** An object of the ledger. */
export interface ObjectSnapshot {
  readonly pipeline: string
  readonly bucket: string
  readonly key: string
  readonly state: string
  readonly size: number | undefined
  readonly timeMs: number
  readonly attempts: number
  readonly read: number
  readonly delivered: number
  readonly filtered: number
  readonly quarantined: number
  readonly bytes: number
  readonly error: string | undefined
  readonly startedMs: number
  readonly updatedMs: number
}

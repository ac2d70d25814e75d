/** What the server asks of the running streamer: to look, and to act. Implemented by `cli/`, so nothing here knows how pipelines run. */
import type { Signal } from '../core/component.ts'
import type { Series } from '../telemetry/meter.ts'
import type {
  ObjectSnapshot,
  QuarantineDetail,
  QuarantineSnapshot,
  ReloadOutcome,
  RunSnapshot,
  SeriesSnapshot,
  Snapshot,
} from './snapshot.ts'

export interface Looking {
  /** Cheap: may be called once a second for each who looks on. */
  snapshot(): Snapshot
  series(): SeriesSnapshot
  /** Every metric as it is now. */
  metrics(): readonly Series[]
  /** The configuration in force as YAML, secrets hidden. */
  config(): string
  /** Newest first. `pipeline` undefined: of all. Throws a StreamError `run.unknown` for a pipeline that is not there, as all below do. */
  runs(o: { readonly pipeline?: string | undefined; readonly limit: number }): RunSnapshot[]
  objects(o: {
    readonly pipeline?: string | undefined
    readonly state?: string | undefined
    readonly limit: number
  }): ObjectSnapshot[]
  quarantine(o: { readonly pipeline?: string | undefined; readonly limit: number }): QuarantineSnapshot[]
  quarantined(pipeline: string, id: number): QuarantineDetail
}

export interface Acting {
  /** Gives how many entries are tried again. */
  requeue(pipeline: string, ids: readonly number[] | 'all'): number
  /** Forgets entries, and with them the records they keep; gives how many. */
  drop(pipeline: string, ids: readonly number[]): number
  /** Lists what a replay would read. */
  planReplay(request: ReplayRequest, o: Signal): Promise<ReplayPlan>
  /** Gives the id of the replay, which begins soon. */
  startReplay(
    request: ReplayRequest & { readonly planned: { readonly objects: number; readonly bytes: number } },
  ): number
  cancelReplay(pipeline: string, id: number): void
  reload(): Promise<ReloadOutcome>
}

export interface Operations extends Looking, Acting {}

export interface ReplayRequest {
  readonly pipeline: string
  readonly fromMs: number
  readonly toMs: number
  readonly prefix: string
  /** Most stored bytes a second. */
  readonly bytesPerSecond: number
}

export interface ReplayPlan {
  readonly objects: number
  /** As stored. */
  readonly bytes: number
  /** At the rate asked for, or at the pipeline's own if that is lower; undefined if there is nothing to go by. */
  readonly seconds: number | undefined
}

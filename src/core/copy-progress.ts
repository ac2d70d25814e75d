import type { ListedObject } from './component.ts'

/** An object under way, for progress shown to people. */
export interface CopyProgress {
  readonly object: ListedObject
  readonly size: number
  readonly partCount: number
  /** Stored by now; what an earlier run stored counts too. */
  sentBytes: number
  sentParts: number
  readonly startedMs: number
}

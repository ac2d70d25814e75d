import type { UnderWay } from './flow.ts'

/** An object of which parts are under way. */
export interface CopyProgress extends UnderWay {
  readonly records: undefined
  /** Stored by now; what an earlier run stored counts too. */
  bytes: number
  readonly totalBytes: number
  readonly partCount: number
  sentParts: number
}

import type { Totals } from './account.ts'
import type { ListedObject } from './component.ts'

/** What a configured pipeline does when it runs: records to a sink (Pipeline), or whole objects (Copier). */
export interface Flow {
  /** Live totals of this run. */
  readonly totals: Totals
  /** Objects that are being read or delivered now, in the order in which they were begun. */
  readonly underWay: Iterable<UnderWay>
  readonly inFlight: InFlight
  /** Runs until the source ends or `soft` is aborted, and everything under way is settled, or until `hard` is aborted. */
  run(o: { readonly once: boolean; readonly soft: AbortSignal; readonly hard: AbortSignal }): Promise<Totals>
}

/** An object under way, for people. */
export interface UnderWay {
  readonly object: ListedObject
  readonly startedMs: number
  /** Settled records; undefined where objects are copied as they are. */
  readonly records: number | undefined
  /** Settled bytes: decoded ones of records, stored ones of a copy. */
  readonly bytes: number
  /** How many bytes there are, if that is known: of a copy. */
  readonly totalBytes: number | undefined
}

/** What is between source and sink now. */
export interface InFlight {
  readonly bytes: number
  /** Most bytes that may be in flight. */
  readonly budgetBytes: number
  /** Batches, or parts of objects, that wait for the sink or are being written. */
  readonly batches: number
}

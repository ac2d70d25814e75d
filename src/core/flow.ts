import type { Totals } from './account.ts'

/** What a configured pipeline does when it runs: records to a sink (Pipeline), or whole objects (Copier). */
export interface Flow {
  /** Live totals of this run. */
  readonly totals: Totals
  /** Runs until the source ends or `soft` is aborted, and everything under way is settled, or until `hard` is aborted. */
  run(o: { readonly once: boolean; readonly soft: AbortSignal; readonly hard: AbortSignal }): Promise<Totals>
}

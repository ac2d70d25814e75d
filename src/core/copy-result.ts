/** How copying an object ended. */
import type { Outcome } from './component.ts'
import type { StreamError } from './errors.ts'

/** The way of an object, where nothing was thrown. */
export type Ended = 'stored' | 'left alone' | 'stopped'

export interface CopyResult {
  readonly outcome: Outcome
  readonly reason?: string
  readonly bytes?: number
  /** Done without a copy: something of that name was there. */
  readonly skipped?: true
}

/** What an error makes of the object; undefined: one that nobody knows. */
export function outcomeOf(error: StreamError | undefined): Outcome {
  if (error?.code === 'source.replaced') return 'replaced'
  if (error?.code === 'source.vanished') return 'vanished'
  return error?.kind === 'permanent' || error?.kind === 'too_large' ? 'quarantined' : 'failed'
}

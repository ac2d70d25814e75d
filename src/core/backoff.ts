import type { RetryWaits } from './component.ts'

/**
 * Wait before attempt `attempt` (1 is the first retry), in ms: full jitter over an exponentially growing range, so that
 * many clients that failed together do not come back together.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
export function backoffMs(waits: RetryWaits, attempt: number, random: () => number = Math.random): number {
  const range = Math.min(waits.maxMs, waits.minMs * 2 ** Math.min(attempt - 1, 30))
  return Math.max(waits.minMs / 2, range * random())
}

/** What a replay would read, before anyone asks for it. */
import type { Ledger } from '../ledger/ledger.ts'
import type { ListedObject, ReplayRange, Signal, Source } from './component.ts'
import { StreamError } from './errors.ts'
import { replaySlots } from './replays.ts'

/** Where nobody says how fast: live objects keep most of a usual line. */
export const usualReplayBytesPerSecond = 10 * 2 ** 20

/** With less than this a piece of an object would wait for minutes, and its connection with it. */
export const leastReplayBytesPerSecond = 1024

/** How fast the first ones were read the last time says how fast this pipeline is. */
const timedObjects = 200

export interface ReplayPlan {
  readonly objects: number
  /** As stored. */
  readonly bytes: number
  /** At the rate asked for, or at the pipeline's own if that is lower; undefined if there is nothing to read. */
  readonly seconds: number | undefined
  /** By their time. */
  readonly first: ListedObject | undefined
  readonly last: ListedObject | undefined
}

/**
 * Lists the range and keeps nothing of it but sums. `seen` is called with each object. Throws a StreamError: config.invalid for
 * a range that makes no sense, and what listing throws.
 */
export async function planReplay(
  { source, ledger }: { readonly source: Source; readonly ledger: Pick<Ledger, 'find'> },
  range: ReplayRange & { readonly bytesPerSecond: number },
  o: Signal & { readonly nowMs: number; readonly seen?: (object: ListedObject) => void },
): Promise<ReplayPlan> {
  const problem = rangeProblem(range, o.nowMs)
  if (problem !== undefined) throw new StreamError('config.invalid', `cannot replay this range: ${problem}`)
  let objects = 0
  let bytes = 0
  let first: ListedObject | undefined
  let last: ListedObject | undefined
  const timed = { bytes: 0, ms: 0 }
  for await (const object of source.replayed(range, o)) {
    o.signal.throwIfAborted()
    objects += 1
    bytes += object.size ?? 0
    if (first === undefined || object.timeMs < first.timeMs) first = object
    if (last === undefined || object.timeMs >= last.timeMs) last = object
    if (objects <= timedObjects) {
      const known = ledger.find(object.id)
      if (known?.state === 'done' && known.startedMs > 0) {
        timed.bytes += object.size ?? 0
        timed.ms += known.updatedMs - known.startedMs
      }
    }
    o.seen?.(object)
  }
  // Records lie in batches for a while before they go: of small objects that is most of the time, and no rate is told by it.
  const own = timed.ms > 0 ? (timed.bytes / timed.ms) * 1000 * replaySlots(source.workers) : Number.POSITIVE_INFINITY
  const rate = Math.min(range.bytesPerSecond, own > 0 ? own : Number.POSITIVE_INFINITY)
  return { objects, bytes, seconds: objects === 0 ? undefined : bytes / rate, first, last }
}

/** Why nothing can be in the range; undefined if something can. */
export function rangeProblem({ fromMs, toMs }: Omit<ReplayRange, 'prefix'>, nowMs: number): string | undefined {
  if (fromMs >= toMs) return 'it ends before it begins, or when it begins (what is of the end itself is not in it)'
  if (fromMs > nowMs) return 'it lies in the future, and nothing can have been read of it'
  return undefined
}

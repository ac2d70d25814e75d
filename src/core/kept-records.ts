/** Records on their way to the quarantine. */
import { type Block, recordNumber, recordStart } from './block.ts'

/** Records `from <= i < to` of a block, as the ledger keeps them. */
export function recordsOf(block: Block, from: number, to: number) {
  const start = recordStart(block, from)
  const ends = block.ends.slice(from, to)
  for (let i = 0; i < ends.length; i += 1) ends[i] = (ends[i] as number) - start
  const data = block.data.subarray(start, block.ends[to - 1])
  const numbers = block.kept?.numbers.slice(from, to)
  return { firstRecord: recordNumber(block, from), numbers, multiline: block.multiline, data, ends }
}

export interface RefusedRun {
  readonly from: number
  to: number
  readonly reason: string
}

/** Neighbours that were refused for the same reason; `refused` is in order. */
export function runsOf(refused: ReadonlyArray<{ readonly index: number; readonly reason: string }>): RefusedRun[] {
  const runs: RefusedRun[] = []
  for (const { index, reason } of refused) {
    const last = runs.at(-1)
    if (last?.to === index && last.reason === reason) last.to += 1
    else runs.push({ from: index, to: index + 1, reason })
  }
  return runs
}

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

/** The records of a block with these indexes, in order, as the ledger keeps them. At least one. */
export function pickedRecords(block: Block, indexes: readonly number[]) {
  const [from = 0] = indexes
  const to = (indexes.at(-1) ?? 0) + 1
  if (to - from === indexes.length) return recordsOf(block, from, to)
  const pieces = indexes.map((index) => block.data.subarray(recordStart(block, index), block.ends[index]))
  let end = 0
  const ends = Uint32Array.from(pieces, ({ length }) => {
    end += length
    return end
  })
  const numbers = Uint32Array.from(indexes, (index) => recordNumber(block, index))
  return {
    firstRecord: recordNumber(block, from),
    numbers,
    multiline: block.multiline,
    data: Buffer.concat(pieces),
    ends,
  }
}

/** One reason for records that were refused for several. */
export function reasonOf(refused: ReadonlyArray<{ readonly reason: string }>): string {
  const [{ reason } = { reason: '' }] = refused
  const others = new Set(refused.map((one) => one.reason)).size - 1
  return others === 0 ? reason : `${reason} (and ${others} other reasons)`
}

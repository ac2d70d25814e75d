/**
 * A Block is the unit of the hot path: many records of one object in one Buffer, and where each ends.
 *
 *   data   r0 LF r1 LF r2 LF
 *   ends        ^     ^     ^          record i is data[i === 0 ? 0 : ends[i - 1], ends[i] - 1)
 *
 * Invariants every decoder and filter keeps:
 *   1. data.length === ends[ends.length - 1]; a Block has at least one record, and no record is empty.
 *   2. Exactly one LF follows every record, the last one too: a sink that writes lines sends `data` as it is.
 *   3. A Block never changes after it was handed on, and it keeps `data` alive: copy small tails, share large bodies.
 */
export interface Block {
  readonly data: Buffer
  readonly ends: Uint32Array
  /** Number of the first record within its object, counted from 0; with `kept`, of the first one the filter looked at. */
  readonly first: number
  /** True if a record may itself contain LF (multiline, quoted CSV): line-oriented sinks must encode it. */
  readonly multiline: boolean
  /**
   * Offset in the decoded stream just past the last record: decoding may start again there and gives record
   * `first + ends.length` next. -1 where the decoder cannot start in the middle (JSON array).
   */
  readonly resumeAt: number
  /** Where a filter left records out; undefined if the records follow each other in the object, from `first` on. */
  readonly kept?: Kept | undefined
  /** Bytes of the records the filter looked at, one LF each; undefined if there is no filter: then `data` is all there was. */
  readonly readBytes?: number | undefined
}

/** Which records of the object a block holds that a filter has passed over. */
export interface Kept {
  /** Number of each record within its object, in the order of `ends`. */
  readonly numbers: Uint32Array
  /** Number of the record behind the last one the filter looked at. */
  readonly next: number
  /** Numbers of records between them that were put in quarantine, in order; all others that are missing were filtered. */
  readonly refused: readonly number[]
}

/** Number of record `index` of the block within its object, counted from 0; stable, so it tells records apart. */
export function recordNumber(block: Block, index: number): number {
  return block.kept === undefined ? block.first + index : (block.kept.numbers[index] as number)
}

/** Number of the record behind the block. */
export function nextNumber(block: Block): number {
  return block.kept === undefined ? block.first + block.ends.length : block.kept.next
}

/** Where record `index` of the block starts in `block.data`. */
export function recordStart(block: Block, index: number): number {
  return index === 0 ? 0 : (block.ends[index - 1] as number)
}

/** The bytes of record `index`, without its LF; a view, not a copy. For cold paths: it makes an object. */
export function recordAt(block: Block, index: number): Buffer {
  return block.data.subarray(recordStart(block, index), (block.ends[index] as number) - 1)
}

/** A block of the given records; for tests and cold paths. Empty records are left out, as decoders do. */
export function blockOf(records: readonly (string | Buffer)[], first = 0, multiline = false): Block {
  const kept = records.map((record) => Buffer.from(record)).filter((record) => record.length > 0)
  const ends = new Uint32Array(kept.length)
  let length = 0
  for (const [i, record] of kept.entries()) {
    length += record.length + 1
    ends[i] = length
  }
  const data = Buffer.alloc(length, 10)
  let at = 0
  for (const record of kept) {
    record.copy(data, at)
    at += record.length + 1
  }
  return { data, ends, first, multiline, resumeAt: -1 }
}

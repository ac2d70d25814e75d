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
  /** Number of record 0 within its object, counted from 0. */
  readonly first: number
  /** True if a record may itself contain LF (multiline, quoted CSV): line-oriented sinks must encode it. */
  readonly multiline: boolean
  /**
   * Offset in the decoded stream just past the last record: decoding may start again there and gives record
   * `first + ends.length` next. -1 where the decoder cannot start in the middle (JSON array).
   */
  readonly resumeAt: number
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

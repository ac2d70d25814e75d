/** Gathers the records that one chunk gives into a Block: without a copy while they stand in the chunk as a Block needs them. */
import type { Block } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import type { DecodeTally, LinePolicy } from './decoding.ts'

/** Records that are copied stand in buffers of this size. */
const copyBytes = 256 * 1024

let scratch = new Uint32Array(64 * 1024)

/** Appends records to Blocks. One instance for each object; `take` gives the Blocks that are complete. */
export class RecordWriter {
  readonly #limit: number
  readonly #policy: LinePolicy
  readonly #tally: DecodeTally
  readonly #tooLong: number[] = []
  #next: number
  #blocks: Block[] = []
  /** The copy under way: records that cannot stand in the chunk as they are. */
  #copy: Buffer = Buffer.alloc(0)
  #copied = 0
  #ends: number[] = []
  #multiline = false
  #resumeAt = -1

  constructor(o: {
    readonly first: number
    readonly lineBytes: number
    readonly policy: LinePolicy
    readonly tally: DecodeTally
  }) {
    this.#next = o.first
    this.#limit = o.lineBytes
    this.#policy = o.policy
    this.#tally = o.tally
  }

  get lineBytes(): number {
    return this.#limit
  }

  get policy(): LinePolicy {
    return this.#policy
  }

  /** Number of the next record. */
  get next(): number {
    return this.#next
  }

  /** Room for record ends of one chunk, reused; grows as needed. */
  static scratch(n: number): Uint32Array {
    if (scratch.length < n) scratch = new Uint32Array(2 ** Math.ceil(Math.log2(n)))
    return scratch
  }

  /** Records that stand in `data` as a Block needs them: `ends` are relative to it. */
  clean(data: Buffer, ends: Uint32Array, resumeAt: number): void {
    this.#flush()
    this.#blocks.push({ data, ends, first: this.#next, multiline: false, resumeAt })
    this.#next += ends.length
  }

  /**
   * One record, copied. The policy for long ones is applied; `multiline` if it contains LF. `resumeAt` is the place after it.
   */
  add(record: Buffer, resumeAt: number, multiline = false): void {
    if (record.length <= this.#limit) {
      if (record.length > 0) this.#append(record, resumeAt, multiline)
      return
    }
    this.#tally.oversize += 1
    if (this.#policy === 'quarantine') {
      this.refuse()
      return
    }
    for (let from = 0; from < record.length; ) {
      const to = cut(record, from, this.#limit)
      const isLast = to === record.length || this.#policy === 'truncate'
      this.#append(record.subarray(from, to), isLast ? resumeAt : -1, multiline)
      if (isLast) return
      from = to
    }
  }

  /** A record was too long for a policy that keeps it out. */
  refuse(): void {
    this.#tooLong.push(this.#next + this.#ends.length)
  }

  /** A block that leaves to make room ends before this record, so its place to go on from is that of the record before. */
  #append(record: Buffer, resumeAt: number, multiline: boolean): void {
    this.#makeRoom(record.length + 1)
    record.copy(this.#copy, this.#copied)
    this.#copied += record.length + 1
    this.#copy[this.#copied - 1] = 10
    this.#ends.push(this.#copied)
    this.#multiline ||= multiline
    this.#resumeAt = resumeAt
  }

  /** A single line between two chunks takes no more than itself; many of them soon get large buffers. */
  #makeRoom(bytes: number): void {
    const needed = this.#copied + bytes
    if (needed <= this.#copy.length) return
    if (this.#copied > 0 && needed > copyBytes) {
      this.#flush()
      this.#copy = Buffer.allocUnsafe(Math.max(copyBytes, bytes))
      return
    }
    const larger = Buffer.allocUnsafe(
      this.#copied === 0 ? bytes : Math.max(needed, Math.min(copyBytes, this.#copy.length * 8)),
    )
    this.#copy.copy(larger, 0, 0, this.#copied)
    this.#copy = larger
  }

  #flush(): void {
    if (this.#ends.length === 0) return
    const data = this.#copy.subarray(0, this.#copied)
    this.#blocks.push({
      data,
      ends: Uint32Array.from(this.#ends),
      first: this.#next,
      multiline: this.#multiline,
      resumeAt: this.#resumeAt,
    })
    this.#next += this.#ends.length
    this.#copy = Buffer.alloc(0)
    this.#copied = 0
    this.#ends = []
    this.#multiline = false
  }

  /** The Blocks gathered so far. */
  take(): Block[] {
    this.#flush()
    const blocks = this.#blocks
    this.#blocks = []
    return blocks
  }

  /** To be called after the last record: throws decode.line_limit if records were kept out. */
  finish(): void {
    if (this.#tooLong.length === 0) return
    const places = this.#tooLong.slice(0, 5).map((n) => `after ${n} records`)
    throw new StreamError(
      'decode.line_limit',
      `${this.#tooLong.length} records are longer than line_limit (${this.#limit} bytes) and were left out: ${places.join(', ')}`,
      { data: { records: this.#next } },
    )
  }
}

/** Where a piece of at most `limit` bytes from `from` on ends, not inside a UTF-8 character. */
export function cut(bytes: Buffer, from: number, limit: number): number {
  if (bytes.length - from <= limit) return bytes.length
  let to = from + limit
  for (let back = 0; back < 3 && to > from + 1 && ((bytes[to] as number) & 0xc0) === 0x80; back += 1) to -= 1
  return ((bytes[to] as number) & 0xc0) === 0x80 ? from + limit : to
}

/**
 * Lines: LF or CRLF, the last one with or without; blank lines are dropped, all other bytes go through as they are. With
 * `comments`, lines that start with # are dropped too (W3C directives). Also rows of csv, where a line end inside quotes belongs to the field.
 */
import type { Block } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import { cut, RecordWriter } from './records.ts'

const lf = 10
const cr = 13
const hash = 35
const quote = 34

export interface LineOptions {
  readonly writer: RecordWriter
  /** Place of the first byte in the decoded stream. */
  readonly offset: number
  /** Physical lines to drop first. */
  readonly headerLines: number
  readonly comments: boolean
  /** Quoted fields may contain line ends; the separator is needed to see where a field begins. */
  readonly separator: number | undefined
}

/** Blocks of the lines; throws decode.line_limit at the end if lines were kept out. */
export async function* splitLines(
  bytes: AsyncIterable<Buffer>,
  o: LineOptions,
): AsyncGenerator<Block, void, undefined> {
  const splitter = new LineSplitter(o)
  try {
    for await (const chunk of bytes) {
      splitter.feed(chunk)
      yield* o.writer.take()
    }
  } catch (error) {
    // Everything was decoded, something else follows: the last line is whole.
    if (error instanceof StreamError && error.code === 'decode.trailing_bytes') {
      splitter.end()
      yield* o.writer.take()
    }
    throw error
  }
  splitter.end()
  yield* o.writer.take()
  o.writer.finish()
}

class LineSplitter {
  readonly #o: LineOptions
  readonly #writer: RecordWriter
  #headerLeft: number
  /** Place of the next chunk in the decoded stream. */
  #offset: number
  /** The start of a line whose end is in a later chunk. */
  #carry: Buffer[] = []
  #carryBytes = 0
  /** The rest of this line is dropped: it was truncated, or refused. */
  #dropping = false
  #row: RowEnds | undefined

  constructor(o: LineOptions) {
    this.#o = o
    this.#writer = o.writer
    this.#headerLeft = o.headerLines
    this.#offset = o.offset
    this.#row = o.separator === undefined ? undefined : new RowEnds(o.separator)
  }

  feed(chunk: Buffer): void {
    let at = 0
    if (this.#carryBytes > 0 || this.#dropping || this.#headerLeft > 0 || this.#row) at = this.#carefully(chunk)
    if (at < chunk.length && !this.#row) at = this.#fast(chunk, at)
    if (at < chunk.length) this.#keep(chunk, at)
    this.#offset += chunk.length
  }

  /** Lines one by one until nothing special is left: carried start, header, dropped rest. All of them for csv. */
  #carefully(chunk: Buffer): number {
    let at = 0
    while (at < chunk.length) {
      if (this.#carryBytes === 0 && !this.#dropping && this.#headerLeft === 0 && !this.#row) return at
      const end = this.#row ? this.#row.end(chunk, at) : chunk.indexOf(lf, at)
      if (end < 0) return at
      this.#line(chunk, at, end)
      at = end + 1
    }
    return at
  }

  /** Clean lines without a copy; from the first unclean one on, the rest of the chunk is copied. Gives where the last line ended. */
  #fast(chunk: Buffer, from: number): number {
    const { comments } = this.#o
    const limit = this.#writer.lineBytes
    let ends = RecordWriter.scratch(64 * 1024)
    let n = 0
    let at = from
    let isClean = true
    for (let end = chunk.indexOf(lf, at); end >= 0; end = chunk.indexOf(lf, at)) {
      if (end === at || end - at > limit || chunk[end - 1] === cr || (comments && chunk[at] === hash)) {
        isClean = false
        break
      }
      if (n === ends.length) {
        const larger = RecordWriter.scratch(n * 2)
        if (larger !== ends) larger.set(ends)
        ends = larger
      }
      at = end + 1
      ends[n] = at - from
      n += 1
    }
    if (n > 0) this.#writer.clean(chunk.subarray(from, at), ends.slice(0, n), this.#offset + at)
    if (isClean) return at
    for (let end = chunk.indexOf(lf, at); end >= 0; end = chunk.indexOf(lf, at)) {
      this.#line(chunk, at, end)
      at = end + 1
    }
    return at
  }

  /** One line, from `from` in this chunk (with what was carried before it) to the line end at `end`. */
  #line(chunk: Buffer, from: number, end: number): void {
    let line = chunk.subarray(from, end)
    if (this.#carryBytes > 0) {
      line = Buffer.concat([...this.#carry, line])
      this.#carry = []
      this.#carryBytes = 0
    }
    if (this.#dropping) {
      this.#dropping = false
      return
    }
    if (this.#headerLeft > 0) {
      this.#headerLeft -= 1
      return
    }
    this.#record(line, this.#offset + end + 1)
  }

  #record(line: Buffer, resumeAt: number): void {
    const length = line.length > 0 && line[line.length - 1] === cr ? line.length - 1 : line.length
    if (this.#o.comments && line[0] === hash) return
    const record = length === line.length ? line : line.subarray(0, length)
    this.#writer.add(record, resumeAt, this.#row !== undefined && record.includes(lf))
  }

  /** The chunk ends inside a line. What is longer than a line may be does not pile up. */
  #keep(chunk: Buffer, from: number): void {
    if (this.#dropping) return
    // A copy: the start of one line must not keep a chunk of megabytes alive.
    this.#carry.push(Buffer.from(chunk.subarray(from)))
    this.#carryBytes += chunk.length - from
    const limit = this.#writer.lineBytes
    // One byte more may be the CR before the LF.
    while (this.#carryBytes > limit + 1 + 4) {
      const line = Buffer.concat(this.#carry)
      if (this.#headerLeft > 0 || (this.#o.comments && line[0] === hash)) {
        // A header or a comment is dropped anyway: its start is enough.
        this.#carry = [line.subarray(0, 1)]
        this.#carryBytes = 1
        return
      }
      if (this.#writer.policy !== 'split') {
        this.#writer.add(line, -1)
        this.#dropping = true
        this.#carry = []
        this.#carryBytes = 0
        return
      }
      const to = cut(line, 0, limit)
      const rest = line.subarray(to)
      this.#writer.add(line.subarray(0, to), this.#offset + chunk.length - rest.length)
      this.#carry = [rest]
      this.#carryBytes = rest.length
    }
  }

  end(): void {
    if (this.#carryBytes > 0 && !this.#dropping && this.#headerLeft === 0) {
      this.#record(Buffer.concat(this.#carry), this.#offset)
    }
  }
}

/** Finds row ends of csv (RFC 4180): a quote opens only at the start of a field, `""` inside is a quote. */
export class RowEnds {
  readonly #separator: number
  #isQuoted = false
  #isFieldStart = true
  #previous = -1

  constructor(separator: number) {
    this.#separator = separator
  }

  /** Index of the next line end that ends a row, from `from` on, or -1; remembers where it stands. */
  end(chunk: Buffer, from: number): number {
    for (let i = from; i < chunk.length; i += 1) {
      const byte = chunk[i]
      if (this.#isQuoted) {
        // A doubled quote closes and opens again: the same in effect.
        if (byte === quote) this.#isQuoted = false
      } else if (byte === quote) {
        this.#isQuoted = this.#isFieldStart || (i > 0 ? chunk[i - 1] : this.#previous) === quote
        this.#isFieldStart = false
      } else if (byte === lf) {
        this.#isFieldStart = true
        this.#previous = lf
        return i
      } else this.#isFieldStart = byte === this.#separator
    }
    this.#previous = chunk.at(-1) ?? this.#previous
    return -1
  }
}

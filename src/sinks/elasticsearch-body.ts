/**
 * The body of a `_bulk` request: two lines a record, built by copying bytes into one Buffer.
 *
 *   {"create":{"_id":"<hash of the object's id>-<record number>"}}   made once per object, but for the number
 *   {"as":"it is"}                                                   a record that is a JSON object: its own bytes
 *   {"@timestamp":"…","message":"…"}                                 any other record
 *
 * Whatever a record holds, it stays within its line: a raw LF in it would make the server read the rest as an action.
 */
import { isUtf8 } from 'node:buffer'
import { createHash } from 'node:crypto'
import { recordNumber, recordStart } from '../core/block.ts'
import type { Batch, ObjectRef, Origin } from '../core/component.ts'

const lf = 10
const space = 32
const quote = 34
const colon = 58
const backslash = 92
const openBrace = 123
const closeBrace = 125
const openBracket = 91
const closeBracket = 93

/** More than this are seldom under way. */
const spareBodies = 4
const nothing = Buffer.alloc(0)
const idEnd = Buffer.from('"}}\n')
const messageEnd = Buffer.from('"}\n')
const timestampKey = Buffer.from('"@timestamp"')
/** Bytes that the digits of a number and the ends of lines need at most. */
const marginBytes = 32
/** One byte of text becomes at most `\u0000`. */
const escapedBytes = 6

/** byte -> 0 if it stands for itself in a JSON string, 1 if only `\u00xx` will do, else the letter behind the backslash. */
const escapes = new Uint8Array(256).fill(1, 0, 32)
for (const [byte, letter] of Object.entries({ 8: 'b', 9: 't', 10: 'n', 12: 'f', 13: 'r', 34: '"', 92: '\\' }))
  escapes[Number(byte)] = letter.charCodeAt(0)
const hexDigits = Buffer.from('0123456789abcdef')

export interface BulkShape {
  /** `create` stores what is not there yet; `index` is for servers that make up the ids. */
  readonly action: 'create' | 'index'
  /** Name of the index for a time in ms; undefined if the path of the request names it. */
  readonly indexAt: ((timeMs: number) => string) | undefined
  /** False: the server makes up the ids. */
  readonly hasIds: boolean
  /** True if each document must have an `@timestamp`. */
  readonly hasTimestamps: boolean
}

/** What is the same for all records of an object. */
interface ObjectLines {
  /** The action line, up to the record number if there are ids. */
  readonly action: Buffer
  /** `{"@timestamp":"…"` */
  readonly timestamp: Buffer
  /** `{"@timestamp":"…","message":"` */
  readonly message: Buffer
}

/** The part of a record's `_id` that names its object: keys may be longer than the 512 bytes of an id. */
export function objectHash({ id }: ObjectRef): string {
  return createHash('sha256').update(id).digest('base64url')
}

export class BulkEncoder {
  readonly #shape: BulkShape
  readonly #lines = new WeakMap<Origin, ObjectLines>()
  /** Bodies of earlier requests, to be written over: the garbage collector is slow to give back large ones. */
  readonly #spare: Buffer[] = []
  #out: Buffer = nothing
  #at = 0

  constructor(shape: BulkShape) {
    this.#shape = shape
  }

  /** The body for the records of the batch that are not `settled` yet (1 at their index). */
  encode(batch: Batch, settled: Uint8Array): Buffer {
    this.#out = this.#bufferFor(batch.bytes + (batch.bytes >>> 3) + batch.count * 128)
    this.#at = 0
    let index = 0
    for (const { block, from, to, object } of batch.parts) {
      const { data, ends } = block
      const lines = this.#linesOf(object)
      const end = ends[to - 1] as number
      let start = recordStart(block, from)
      const isText = isUtf8(data.subarray(start, end))
      // Searched from record to record, not for each: it may not be there at all.
      let timestampAt = this.#shape.hasTimestamps ? -1 : Number.POSITIVE_INFINITY
      for (let i = from; i < to; i += 1, index += 1) {
        const next = ends[i] as number
        if (settled[index] === 0) {
          if (timestampAt < start) timestampAt = timestampFrom(data, start)
          this.#action(lines, recordNumber(block, i))
          this.#document(lines, data, start, next - 1, isText, timestampAt < next)
        }
        start = next
      }
    }
    const body = this.#out.subarray(0, this.#at)
    this.#out = nothing
    return body
  }

  /** Takes back a body that nobody reads any more, for one of the next. */
  recycle(body: Buffer): void {
    if (this.#spare.length < spareBodies) this.#spare.push(Buffer.from(body.buffer))
  }

  #bufferFor(bytes: number): Buffer {
    const spare = this.#spare.pop()
    return spare && spare.length >= bytes ? spare : Buffer.allocUnsafeSlow(bytes)
  }

  #linesOf(object: Origin): ObjectLines {
    const known = this.#lines.get(object)
    if (known) return known
    const { action, indexAt, hasIds } = this.#shape
    const fields = [
      ...(indexAt ? [`"_index":${JSON.stringify(indexAt(object.timeMs))}`] : []),
      ...(hasIds ? [`"_id":"${objectHash(object)}-`] : []),
    ]
    const timestamp = `{"@timestamp":"${new Date(object.timeMs).toISOString()}"`
    const lines = {
      action: Buffer.from(`{"${action}":{${fields.join(',')}${hasIds ? '' : '}}\n'}`),
      timestamp: Buffer.from(timestamp),
      message: Buffer.from(`${timestamp},"message":"`),
    }
    this.#lines.set(object, lines)
    return lines
  }

  #action({ action }: ObjectLines, number: number): void {
    this.#reserve(action.length + marginBytes)
    this.#put(action)
    if (!this.#shape.hasIds) return
    this.#at = writeDecimal(this.#out, this.#at, number)
    this.#put(idEnd)
  }

  /** `hasTimestampText`: the text `"@timestamp"` is somewhere in the record. */
  #document(
    lines: ObjectLines,
    data: Buffer,
    start: number,
    end: number,
    isText: boolean,
    hasTimestampText: boolean,
  ): void {
    if (!isText && !isUtf8(data.subarray(start, end))) {
      // Bytes that are no UTF-8 are no JSON either: they become U+FFFD.
      const text = Buffer.from(data.toString('utf8', start, end))
      this.#document(lines, text, 0, text.length, true, hasTimestampText)
      return
    }
    const from = skipSpace(data, start, end)
    const to = skipSpaceBack(data, from, end)
    const first = skipSpace(data, from + 1, to)
    if (!isObject(data, from, first, to)) {
      this.#message(lines, data, start, end)
      return
    }
    const lfAt = data.indexOf(lf, from)
    if (lfAt >= 0 && lfAt < to) {
      const line = inOneLine(data.subarray(from, to))
      if (line) this.#document(lines, line, 0, line.length, true, hasTimestampText)
      else this.#message(lines, data, start, end)
      return
    }
    this.#reserve(lines.timestamp.length + to - from + marginBytes)
    let copyFrom = from
    if (this.#shape.hasTimestamps && !(hasTimestampText && hasTimestamp(data, from, to))) {
      this.#put(lines.timestamp)
      if (data[first] !== closeBrace) this.#byte(44)
      copyFrom = from + 1
    }
    this.#at += data.copy(this.#out, this.#at, copyFrom, to)
    this.#byte(lf)
  }

  #message(lines: ObjectLines, data: Buffer, start: number, end: number): void {
    this.#reserve(lines.message.length + escapedBytes * (end - start) + marginBytes)
    this.#put(lines.message)
    this.#at = writeEscaped(this.#out, this.#at, data, start, end)
    this.#put(messageEnd)
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#out.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#out.length + (this.#out.length >>> 1)))
    this.#out.copy(larger, 0, 0, this.#at)
    this.#out = larger
  }

  #put(bytes: Buffer): void {
    this.#out.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #byte(byte: number): void {
    this.#out[this.#at] = byte
    this.#at += 1
  }
}

/** Where the next `"@timestamp"` stands, Infinity if there is none. */
function timestampFrom(data: Buffer, from: number): number {
  const at = data.indexOf(timestampKey, from)
  return at < 0 ? Number.POSITIVE_INFINITY : at
}

/** JSON's white space: space, tab, LF, CR. */
function isSpace(byte: number | undefined): boolean {
  return byte === space || byte === 9 || byte === lf || byte === 13
}

function skipSpace(data: Buffer, from: number, end: number): number {
  let at = from
  while (at < end && isSpace(data[at])) at += 1
  return at
}

function skipSpaceBack(data: Buffer, from: number, end: number): number {
  let at = end
  while (at > from && isSpace(data[at - 1])) at -= 1
  return at
}

/**
 * Looks like a JSON object: braces at both ends, and a key or nothing behind the first. What only looks like one is
 * refused by the server, alone: it is within its line.
 */
function isObject(data: Buffer, from: number, first: number, to: number): boolean {
  if (to - from < 2 || data[from] !== openBrace || data[to - 1] !== closeBrace) return false
  return data[first] === quote || first === to - 1
}

/** The object without line breaks. Valid JSON has them only between tokens; undefined if it is not valid. */
function inOneLine(object: Buffer): Buffer | undefined {
  try {
    JSON.parse(object.toString())
  } catch {
    return undefined
  }
  const line = Buffer.from(object)
  for (let at = line.indexOf(lf); at >= 0; at = line.indexOf(lf, at + 1)) line[at] = space
  return line
}

/** True if the object itself has the key, not one inside it, and not as a value. */
function hasTimestamp(data: Buffer, from: number, to: number): boolean {
  let depth = 0
  for (let i = from; i < to; i += 1) {
    const byte = data[i]
    if (byte === quote) {
      const open = i
      i += 1
      while (i < to && data[i] !== quote) i += data[i] === backslash ? 2 : 1
      if (depth !== 1 || i + 1 - open !== timestampKey.length) continue
      if (data.compare(timestampKey, 0, timestampKey.length, open, i + 1) !== 0) continue
      if (data[skipSpace(data, i + 1, to)] === colon) return true
    } else if (byte === openBrace || byte === openBracket) depth += 1
    else if (byte === closeBrace || byte === closeBracket) depth -= 1
  }
  return false
}

/** Writes the digits of a whole number; gives the place behind them. */
function writeDecimal(out: Buffer, at: number, value: number): number {
  let length = 1
  for (let limit = 10; value >= limit; limit *= 10) length += 1
  let rest = value
  for (let i = at + length - 1; i >= at; i -= 1) {
    const tenth = Math.floor(rest / 10)
    out[i] = 48 + rest - tenth * 10
    rest = tenth
  }
  return at + length
}

/** Writes UTF-8 text as the inside of a JSON string (RFC 8259 section 7); gives the place behind it. */
function writeEscaped(out: Buffer, start: number, data: Buffer, from: number, to: number): number {
  let at = start
  for (let i = from; i < to; i += 1) {
    const byte = data[i] as number
    const letter = escapes[byte] as number
    if (letter === 0) {
      out[at] = byte
      at += 1
      continue
    }
    out[at] = backslash
    if (letter !== 1) {
      out[at + 1] = letter
      at += 2
      continue
    }
    out[at + 1] = 117
    out[at + 2] = 48
    out[at + 3] = 48
    out[at + 4] = hexDigits[byte >>> 4] as number
    out[at + 5] = hexDigits[byte & 15] as number
    at += 6
  }
  return at
}

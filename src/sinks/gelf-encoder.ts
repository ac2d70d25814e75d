/**
 * Batches as GELF 1.1 messages, in one Buffer.
 *
 *   {"version":"1.1","host":"…","_bucket":"…","_key":"…","_record_id":"…#N","_record":N,"timestamp":T,"level":L, …
 *   └──────────── head, built once for an object ───────────────────────┘              └── middle, the same ──┘
 *   … "_field":…,"short_message":"…","full_message":"…"}
 *
 * The texts stand last, so that a message that is too long is cut where its room ends. Text that is valid UTF-8 goes from the block
 * to the message byte for byte, only what JSON escapes is changed. https://go2docs.graylog.org/current/getting_in_log_data/gelf.html
 */
import { isUtf8 } from 'node:buffer'
import { type Block, recordNumber, recordStart } from '../core/block.ts'
import type { Batch, Origin, Refused } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { reclaim } from '../core/reclaim.ts'
import { cutOf, FieldReader, type GelfFields } from './gelf-fields.ts'
import { beginsObject } from './syslog-encoder.ts'

export interface MessageFormat {
  /** Who the messages are from. */
  readonly host: string
  /** Level of a record that does not say its own, 0 to 7. */
  readonly level: number
  readonly levelField: string
  /** Fields of a JSON record that may hold its message; the first one that does counts. */
  readonly messageFields: readonly string[]
  /** What follows each message. */
  readonly end: 'nul' | 'lf' | 'none'
  /** Longest message, without what follows it. */
  readonly maxMessageBytes: number
}

export interface EncodedMessages {
  readonly data: Buffer
  /** Where each message ends in `data`, with what follows it; a record that was refused has a message of no bytes. */
  readonly ends: Uint32Array
  /** Numbers of the messages of which something was cut. */
  readonly cut: ReadonlySet<number>
  /** Records that do not fit even without their text. */
  readonly refused: Refused
}

const openShort = ',"short_message":"'
const openFull = '","full_message":"'
const close = '"}'
const lf = 0x0a
const maxDigits = 16

/** How each byte stands in a JSON string, RFC 8259 7; those that are left out stand as they are. */
const escapes: string[] = []
for (let byte = 0; byte < 0x20; byte += 1) escapes[byte] = `\\u${byte.toString(16).padStart(4, '0')}`
for (const char of ['\b', '\t', '\n', '\f', '\r', '"', '\\'])
  escapes[char.charCodeAt(0)] = JSON.stringify(char).slice(1, -1)
/** And how many bytes that are. */
const escapedBytes = Uint8Array.from({ length: 256 }, (_, byte) => escapes[byte]?.length ?? 1)

export class GelfEncoder {
  readonly #o: MessageFormat
  readonly #fields: FieldReader
  /** -1: nothing follows a message. */
  readonly #endByte: number
  #object: Origin | undefined
  /** Of `#object`: up to the record number, and from the time to the text for a record that says nothing of its own. */
  #head = Buffer.alloc(0)
  #middle = Buffer.alloc(0)
  #out = Buffer.alloc(0)
  #at = 0

  constructor(o: MessageFormat) {
    this.#o = o
    this.#fields = new FieldReader(o)
    this.#endByte = { nul: 0, lf, none: -1 }[o.end]
  }

  /** The messages of a batch, in order; the Buffer is the caller's. */
  encode({ parts, count, bytes }: Batch): EncodedMessages {
    const ends = new Uint32Array(count)
    const refused = new Map<number, StreamError>()
    this.#out = Buffer.allocUnsafe(bytes + count * 256)
    reclaim(this.#out.length)
    this.#at = 0
    const cut = new Set<number>()
    let n = 0
    for (const { block, from, to, object } of parts) {
      this.#begin(object)
      const isText = isUtf8(block.data.subarray(recordStart(block, from), block.ends[to - 1]))
      for (let i = from; i < to; i += 1, n += 1) {
        const outcome = this.#message(block, i, isText, this.#o.maxMessageBytes)
        if (outcome === 'cut') cut.add(n)
        else if (outcome === 'too_long') {
          this.#at = n === 0 ? 0 : (ends[n - 1] as number)
          refused.set(n, tooLarge(this.#o.maxMessageBytes))
        }
        ends[n] = this.#at
      }
    }
    const data = this.#out.subarray(0, this.#at)
    this.#out = Buffer.alloc(0)
    return { data, ends, cut, refused }
  }

  /** The message of record `n`, cut so that it is no longer than `maxBytes`, or as short as it can be if that is longer. */
  encodeOne({ parts }: Batch, n: number, maxBytes: number): Buffer {
    let left = n
    for (const { block, from, to, object } of parts) {
      const index = from + left
      left -= to - from
      if (left >= 0) continue
      const start = recordStart(block, index)
      const end = (block.ends[index] as number) - 1
      this.#out = Buffer.allocUnsafe(end - start + 512)
      this.#at = 0
      this.#begin(object)
      this.#message(block, index, isUtf8(block.data.subarray(start, end)), maxBytes)
      const data = this.#out.subarray(0, this.#at)
      this.#out = Buffer.alloc(0)
      return data
    }
    throw new RangeError(`the batch has no record ${n}`)
  }

  #begin(object: Origin): void {
    if (object === this.#object) return
    this.#object = object
    const { host, level } = this.#o
    const { id, bucket, key, timeMs } = object
    const start = JSON.stringify({ version: '1.1', host, _bucket: bucket, _key: key, _record_id: `${id}#` })
    // Without `"}`: the record number follows.
    this.#head = Buffer.from(start.slice(0, -2))
    this.#middle = Buffer.from(`${timeAndLevel(timeMs, level)}${openShort}`)
  }

  /** Writes one message; `too_long`: even with next to no text it is longer than `maxBytes`. */
  #message(block: Block, index: number, isText: boolean, maxBytes: number): 'whole' | 'cut' | 'too_long' {
    const began = this.#at
    let { data } = block
    let start = recordStart(block, index)
    let end = (block.ends[index] as number) - 1
    if (!isText && !isUtf8(data.subarray(start, end))) {
      data = Buffer.from(data.toString('utf8', start, end))
      start = 0
      end = data.length
    }
    const fields = beginsObject(data, start, end) ? this.#fields.read(data.toString('utf8', start, end)) : undefined
    this.#beforeText(recordNumber(block, index), fields)
    if (fields?.message !== undefined) {
      data = Buffer.from(fields.message)
      start = 0
      end = data.length
    }
    const isCut = this.#texts(data, start, end, fields?.fullMessage, maxBytes - (this.#at - began))
    if (this.#at - began > maxBytes) return 'too_long'
    if (this.#endByte >= 0) this.#out[this.#at++] = this.#endByte
    return isCut || fields?.isCut ? 'cut' : 'whole'
  }

  #beforeText(number: number, fields: GelfFields | undefined): void {
    this.#reserve(this.#head.length + this.#middle.length + 2 * maxDigits + 16)
    this.#append(this.#head)
    this.#number(number)
    this.#ascii('","_record":')
    this.#number(number)
    if (fields === undefined) {
      this.#append(this.#middle)
      return
    }
    const timeMs = fields.timeMs ?? (this.#object as Origin).timeMs
    const text = `${timeAndLevel(timeMs, fields.level ?? this.#o.level)}${fields.additional}${openShort}`
    this.#reserve(text.length * 3)
    this.#at += this.#out.write(text, this.#at)
  }

  /**
   * Writes the texts and the end of the JSON. Of a text of several lines the first one is the short message and all of it the full
   * one, unless the record has a full message of its own. Takes one byte of text more than `bytes` if there is no room at all.
   * Returns whether something was cut.
   */
  #texts(data: Buffer, start: number, end: number, ownFull: string | undefined, bytes: number): boolean {
    let full: Buffer | undefined
    let shortStart = start
    let shortEnd = end
    if (ownFull !== undefined) full = Buffer.from(ownFull)
    else {
      const textStart = skipBlanks(data, start, end)
      const lineEnd = data.indexOf(lf, textStart)
      if (textStart === end || (lineEnd >= 0 && lineEnd < end)) {
        full = data.subarray(start, end)
        shortStart = textStart
        shortEnd = textStart === end ? end : lineEnd
      }
    }
    const room = Math.max(1, bytes - close.length - (full ? openFull.length : 0))
    const textAt = this.#at
    let isCut = this.#text(data, shortStart, shortEnd, full ? Math.ceil(room / 2) : room)
    // Graylog drops a message whose short one is empty, as it is if not even the first character has room.
    if (this.#at === textAt) {
      this.#reserve(1)
      this.#ascii('-')
    }
    this.#reserve(openFull.length)
    if (full) {
      this.#ascii(openFull)
      isCut = this.#text(full, 0, full.length, room - (this.#at - openFull.length - textAt)) || isCut
    }
    this.#reserve(close.length + 1)
    this.#ascii(close)
    return isCut
  }

  /** Writes as much of the text as `room` bytes can hold once it is escaped; returns whether something was cut. */
  #text(data: Buffer, start: number, end: number, room: number): boolean {
    let at = start
    let left = room
    while (at < end) {
      let run = at
      while (run < end && escapedBytes[data[run] as number] === 1) run += 1
      const isCut = run - at > left
      if (isCut) run = cutOf(data, at, at + left)
      this.#reserve(run - at + 6)
      this.#at += data.copy(this.#out, this.#at, at, run)
      if (isCut) return true
      if (run === end) return false
      left -= run - at
      const byte = data[run] as number
      if ((escapedBytes[byte] as number) > left) return true
      this.#ascii(escapes[byte] as string)
      left -= escapedBytes[byte] as number
      at = run + 1
    }
    return false
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#out.length) return
    const larger = Buffer.allocUnsafe(Math.max(this.#out.length * 2, this.#at + bytes))
    this.#out.copy(larger, 0, 0, this.#at)
    this.#out = larger
  }

  #append(piece: Buffer): void {
    this.#at += piece.copy(this.#out, this.#at)
  }

  #ascii(text: string): void {
    this.#at += this.#out.write(text, this.#at, 'latin1')
  }

  #number(value: number): void {
    let digits = 1
    for (let limit = 10; value >= limit; limit *= 10) digits += 1
    let rest = value
    for (let i = this.#at + digits - 1; i >= this.#at; i -= 1) {
      this.#out[i] = 0x30 + (rest % 10)
      rest = Math.floor(rest / 10)
    }
    this.#at += digits
  }
}

/** GELF wants seconds; a time of 0 or before would be taken as none. */
function timeAndLevel(timeMs: number, level: number): string {
  return `${timeMs > 0 ? `,"timestamp":${timeMs / 1000}` : ''},"level":${level}`
}

/** Past what Java calls white space: Graylog takes a short message of nothing else for empty. */
function skipBlanks(data: Buffer, start: number, end: number): number {
  for (let at = start; ; ) {
    const byte = at < end ? (data[at] as number) : 0
    if ((byte >= 0x09 && byte <= 0x0d) || (byte >= 0x1c && byte <= 0x20)) at += 1
    // Those beyond ASCII: U+1680, U+2000 to U+205F, U+3000.
    else if (byte >= 0xe1 && byte <= 0xe3 && /^\s/.test(data.toString('utf8', at, at + 3))) at += 3
    else return at
  }
}

/** What a record is refused with whose message cannot be cut enough. */
export function tooLarge(maxBytes: number): StreamError {
  return new StreamError(
    'sink.rejected',
    `the fields of the record alone need a GELF message of more than ${maxBytes} bytes (leave some out by a filter, or raise max_message_bytes)`,
  )
}

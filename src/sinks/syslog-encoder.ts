/**
 * Batches as syslog messages, in one Buffer.
 *
 *   rfc5424   <PRI>1 TIME HOST APP PROCID MSGID [origin@32473 bucket="…" key="…" version="…" record="N"] MSG
 *   rfc3164   <PRI>Mmm dd hh:mm:ss HOST TAG: MSG
 *             └──────── head, built once for an object and severity ─────────────────────────────┘└┴ tail
 *
 * Only the record number, and the time where the record has its own, are written for each message.
 * https://www.rfc-editor.org/rfc/rfc5424#section-6, https://www.rfc-editor.org/rfc/rfc3164#section-4
 */
import { isUtf8 } from 'node:buffer'
import { recordNumber, recordStart } from '../core/block.ts'
import type { Batch, Origin } from '../core/component.ts'
import { reclaim } from '../core/reclaim.ts'
import { fieldAt } from '../filters/fields.ts'
import { lastMs, severityOf, timeOf } from './syslog-levels.ts'

export interface MessageFormat {
  readonly format: 'rfc5424' | 'rfc3164'
  /** How a message ends: by its length before it, by LF, or with its datagram. */
  readonly framing: 'octet_counting' | 'lf' | 'datagram'
  /** Number of the facility. */
  readonly facility: number
  /** Number of the severity, where the record does not say. */
  readonly severity: number
  readonly severityField: string | undefined
  readonly timestamp: 'record' | 'object'
  /** Names in the header, `-` for none. */
  readonly hostname: string
  readonly appName: string
  readonly procId: string
  readonly msgId: string
  /** SD-ID of the element that says where a record came from; `-` for none. */
  readonly structuredDataId: string
  readonly bom: boolean
  /** Longest message, header included, framing not. */
  readonly maxMessageBytes: number
}

export interface EncodedMessages {
  readonly data: Buffer
  /** Where each message ends in `data`, its framing included. */
  readonly ends: Uint32Array
  /** Messages that were cut. */
  readonly truncated: number
}

const tail = Buffer.from('"] ')
const bom = Buffer.from([0xef, 0xbb, 0xbf])
const maxDigits = 16
const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

export class SyslogEncoder {
  readonly #o: MessageFormat
  /** Control characters would break the framing, or the receivers of the old format. */
  readonly #isEscaping: boolean
  readonly #isReading: boolean
  /** Heads of `#object` by severity. */
  #heads: Array<Buffer | undefined> = []
  #object: Origin | undefined
  /** True if the heads of `#object` end where the record number goes. */
  #isNumbered = false
  #out = Buffer.alloc(0)
  #at = 0
  #truncated = 0

  constructor(o: MessageFormat) {
    this.#o = o
    this.#isEscaping = o.framing === 'lf' || o.format === 'rfc3164'
    this.#isReading = o.severityField !== undefined || o.timestamp === 'record'
  }

  /** The messages of a batch, in order; the Buffer is the caller's. */
  encode({ parts, count, bytes }: Batch): EncodedMessages {
    const ends = new Uint32Array(count)
    this.#out = Buffer.allocUnsafe(bytes + count * 256)
    reclaim(this.#out.length)
    this.#at = 0
    this.#truncated = 0
    let n = 0
    for (const { block, from, to, object } of parts) {
      this.#begin(object)
      let start = recordStart(block, from)
      for (let i = from; i < to; i += 1, n += 1) {
        const end = (block.ends[i] as number) - 1
        this.#message(block.data, start, end, recordNumber(block, i), object)
        ends[n] = this.#at
        start = end + 1
      }
    }
    const data = this.#out.subarray(0, this.#at)
    this.#out = Buffer.alloc(0)
    return { data, ends, truncated: this.#truncated }
  }

  #begin(object: Origin): void {
    if (object === this.#object) return
    this.#object = object
    this.#heads = []
    const longest = this.#longestHead(object)
    // A head that leaves the record less than half of the message does more harm than good.
    this.#isNumbered = longest > 0 && longest + maxDigits + tail.length <= this.#o.maxMessageBytes / 2
  }

  /** Length of the head with structured data; 0 where there is none. */
  #longestHead(object: Origin): number {
    if (this.#o.format === 'rfc3164' || this.#o.structuredDataId === '-') return 0
    return this.#head(7, object, true).length
  }

  #message(data: Buffer, start: number, end: number, number: number, object: Origin): void {
    const { framing, maxMessageBytes } = this.#o
    let severity = this.#o.severity
    let timeMs: number | undefined
    if (this.#isReading && beginsObject(data, start, end)) {
      const fields = parsed(data, start, end)
      if (fields !== undefined) {
        severity = this.#severityIn(fields)
        timeMs = this.#timeIn(fields)
      }
    }
    const head = this.#heads[severity] ?? this.#head(severity, object, this.#isNumbered)
    this.#heads[severity] = head
    const hasBom = this.#o.bom && isUtf8(data.subarray(start, end))
    const digits = this.#isNumbered ? digitsOf(number) : 0
    const fixed = head.length + (this.#isNumbered ? digits + tail.length : 0) + (hasBom ? bom.length : 0)

    const room = Math.max(0, maxMessageBytes - fixed)
    let controls = this.#isEscaping ? controlsIn(data, start, end) : 0
    let cut = end
    if (end - start + 3 * controls > room) {
      cut = controls > 0 ? escapedCut(data, start, end, room) : cutOf(data, start, start + room)
      controls = controls > 0 ? controlsIn(data, start, cut) : 0
      this.#truncated += 1
    }
    const length = fixed + cut - start + 3 * controls

    this.#reserve(length + maxDigits + 2)
    if (framing === 'octet_counting') {
      this.#number(length, digitsOf(length))
      this.#out[this.#at++] = 0x20
    }
    const headAt = this.#at
    head.copy(this.#out, headAt)
    this.#at += head.length
    if (timeMs !== undefined) this.#out.write(this.#time(timeMs), headAt + this.#timeAt(severity), 'latin1')
    if (this.#isNumbered) {
      this.#number(number, digits)
      this.#append(tail)
    }
    if (hasBom) this.#append(bom)
    if (controls === 0) this.#at += data.copy(this.#out, this.#at, start, cut)
    else this.#escaped(data, start, cut)
    if (framing === 'lf') this.#out[this.#at++] = 0x0a
  }

  #severityIn(fields: object): number {
    const name = this.#o.severityField
    return (name === undefined ? undefined : severityOf(fieldAt(fields, name))) ?? this.#o.severity
  }

  #timeIn(fields: object): number | undefined {
    if (this.#o.timestamp === 'object') return undefined
    for (const name of ['@timestamp', 'timestamp', 'time']) {
      const timeMs = timeOf(fieldAt(fields, name))
      if (timeMs !== undefined) return timeMs
    }
    return undefined
  }

  /** Everything before the record number, or before MSG if there is none. */
  #head(severity: number, object: Origin, isNumbered: boolean): Buffer {
    const { format, facility, hostname, appName, procId, msgId } = this.#o
    const time = this.#time(object.timeMs)
    if (format === 'rfc3164') {
      const pid = procId === '-' ? '' : `[${procId}]`
      return Buffer.from(`<${facility * 8 + severity}>${time} ${hostname} ${appName}${pid}: `)
    }
    const start = `<${facility * 8 + severity}>1 ${time} ${hostname} ${appName} ${procId} ${msgId} `
    return Buffer.from(isNumbered ? `${start}[${this.#origin(object)} record="` : `${start}- `)
  }

  /** SD-ID and the parameters that all records of the object share. */
  #origin({ id, bucket, key }: Origin): string {
    const start = `${bucket}/${key}@`
    const rest = id.startsWith(start) ? (['version', id.slice(start.length)] as const) : (['object', id] as const)
    const params = [['bucket', bucket] as const, ['key', key] as const, rest]
    return [this.#o.structuredDataId, ...params.map(([name, value]) => `${name}="${this.#paramValue(value)}"`)].join(
      ' ',
    )
  }

  /** RFC 5424 6.3.3. */
  #paramValue(text: string): string {
    const value = text.replaceAll(/["\\\]]/g, '\\$&')
    return this.#isEscaping
      ? value.replaceAll(/[\p{Cc}]/gu, (c) => `#${c.charCodeAt(0).toString(8).padStart(3, '0')}`)
      : value
  }

  #time(ms: number): string {
    const date = new Date(Number.isFinite(ms) ? Math.min(Math.max(ms, 0), lastMs) : 0)
    if (this.#o.format === 'rfc5424') return date.toISOString()
    // RFC 3164 4.1.2: local time, the day padded with a space.
    const [clock] = date.toTimeString().split(' ')
    return `${months[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock}`
  }

  /** Where the time stands in a head. */
  #timeAt(severity: number): number {
    return digitsOf(this.#o.facility * 8 + severity) + (this.#o.format === 'rfc3164' ? 2 : 4)
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

  #number(value: number, digits: number): void {
    let rest = value
    for (let i = this.#at + digits - 1; i >= this.#at; i -= 1) {
      this.#out[i] = 0x30 + (rest % 10)
      rest = Math.floor(rest / 10)
    }
    this.#at += digits
  }

  /** Control characters as rsyslog shows them, `#012` for LF. */
  #escaped(data: Buffer, start: number, end: number): void {
    const out = this.#out
    let at = this.#at
    for (let i = start; i < end; i += 1) {
      const byte = data[i] as number
      if (isControl(byte)) {
        out[at] = 0x23
        out[at + 1] = 0x30 + (byte >>> 6)
        out[at + 2] = 0x30 + ((byte >>> 3) & 7)
        out[at + 3] = 0x30 + (byte & 7)
        at += 4
      } else out[at++] = byte
    }
    this.#at = at
  }
}

/** True if the record may be a JSON object: white space before it (RFC 8259 2) is part of the JSON. */
export function beginsObject(data: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at += 1) {
    const byte = data[at]
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d) return byte === 0x7b
  }
  return false
}

/** A tab harms no framing, and many logs are separated by tabs. */
function isControl(byte: number): boolean {
  return (byte < 0x20 && byte !== 0x09) || byte === 0x7f
}

function controlsIn(data: Buffer, start: number, end: number): number {
  let n = 0
  for (let i = start; i < end; i += 1) if (isControl(data[i] as number)) n += 1
  return n
}

/** The last place up to `limit` that does not cut a UTF-8 character; `limit` itself where the bytes are no UTF-8. */
function cutOf(data: Buffer, start: number, limit: number): number {
  let cut = limit
  while (cut > start && limit - cut < 3 && ((data[cut] as number) & 0xc0) === 0x80) cut -= 1
  return (data[cut] as number) >= 0xc0 ? cut : limit
}

/** The same where each control character takes four bytes of `room`. */
function escapedCut(data: Buffer, start: number, end: number, room: number): number {
  let left = room
  for (let i = start; i < end; i += 1) {
    left -= isControl(data[i] as number) ? 4 : 1
    if (left < 0) return cutOf(data, start, i)
  }
  return end
}

function digitsOf(value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits += 1
  return digits
}

function parsed(data: Buffer, start: number, end: number): object | undefined {
  try {
    const value: unknown = JSON.parse(data.toString('utf8', start, end))
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

/**
 * `envelope: json`: every record as one JSON object in one line that says where the record comes from.
 *
 *   {"status":200}   {"@timestamp":"…","origin":{…},"status":200}              the record's own bytes, behind ours
 *   alpha,200        {"@timestamp":"…","origin":{…},"message":"alpha,200","name":"alpha","status":200}
 *   anything else    {"@timestamp":"…","origin":{…},"message":"anything else"}
 *
 * What comes out is always valid JSON. A record is taken for JSON only if all of it is; that costs a JSON.parse, and
 * without it a record that was cut off would break the line for every reader behind.
 */
import { isUtf8 } from 'node:buffer'
import type { Origin } from '../core/component.ts'
import type { FieldReader } from './fields.ts'
import { textOf } from './json-values.ts'

export interface EnvelopeOptions {
  readonly object: Pick<Origin, 'bucket' | 'key'>
  /** Name of the format. */
  readonly format: string
  /** Name of the machine that sends the records on. */
  readonly host: string
  readonly reader: FieldReader
  /** Time of a record in ms since the epoch. One that no RFC 3339 time can say (before year 0, after 9999) is left out. */
  readonly timeOf: (record: Buffer) => number
}

export interface Enveloper {
  /**
   * The record in its envelope, without LF; `number` is its number within the object. The bytes are valid until the next
   * call. Fields of a JSON record come before ours of the same name, ours before those of a delimited one.
   */
  wrap(record: Buffer, number: number): Buffer
}

export function enveloper(options: EnvelopeOptions): Enveloper {
  return new JsonEnvelope(options)
}

/** Names that are ours. */
const timeName = '@timestamp'
const originName = 'origin'
const messageName = 'message'
const ownNames = [timeName, originName, messageName]

/** Years 0000 to 9999, https://www.rfc-editor.org/rfc/rfc3339#section-5.6. */
const firstTime = Date.UTC(-1, 12)
const lastTime = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

const lf = 10
const cr = 13
const blank = 32
const openBrace = 123

class JsonEnvelope implements Enveloper {
  readonly #reader: FieldReader
  readonly #timeOf: (record: Buffer) => number
  /** The origin, but for the number in its middle. */
  readonly #beforeNumber: string
  readonly #behindNumber: string
  #timeMs = Number.NaN
  #time = ''
  #out = Buffer.allocUnsafe(8192)

  constructor({ object, format, host, reader, timeOf }: EnvelopeOptions) {
    const { bucket, key } = object
    this.#reader = reader
    this.#timeOf = timeOf
    this.#beforeNumber = `"${originName}":${JSON.stringify({ bucket, key }).slice(0, -1)},"record":`
    this.#behindNumber = `,${JSON.stringify({ format, host }).slice(1)}`
  }

  wrap(record: Buffer, number: number): Buffer {
    if (this.#reader.isJson(record)) {
      const text = textOf(record)
      const fields = parsed(text)
      if (fields !== undefined) return this.#object(record, number, text, fields)
    }
    return this.#text(textOf(record), this.#head(record, number, true, true), this.#delimited(record))
  }

  /** The opening brace and our members. */
  #head(record: Buffer, number: number, hasTime: boolean, hasOrigin: boolean): string {
    const time = hasTime ? this.#timeText(record) : ''
    const origin = hasOrigin ? `${this.#beforeNumber}${number}${this.#behindNumber}` : ''
    return `{${time}${time !== '' && origin !== '' ? ',' : ''}${origin}`
  }

  #timeText(record: Buffer): string {
    const ms = this.#timeOf(record)
    if (ms !== this.#timeMs) {
      this.#timeMs = ms
      this.#time = ms >= firstTime && ms <= lastTime ? `"${timeName}":"${new Date(ms).toISOString()}"` : ''
    }
    return this.#time
  }

  #object(record: Buffer, number: number, text: string, fields: object): Buffer {
    const head = this.#head(record, number, !Object.hasOwn(fields, timeName), !Object.hasOwn(fields, originName))
    const body = isUtf8(record) ? record : Buffer.from(text)
    const start = body.indexOf(openBrace) + 1
    const length = this.#write(head.length > 1 && hasFields(fields) ? `${head},` : head, body.length - start)
    const end = length + body.copy(this.#out, length, start)
    const wrapped = this.#out.subarray(0, end)
    blankOut(wrapped, lf)
    blankOut(wrapped, cr)
    return wrapped
  }

  /** `fields`: further members, with a comma before each. */
  #text(text: string, head: string, fields = ''): Buffer {
    const end = this.#write(`${head},"${messageName}":${JSON.stringify(text)}${fields}}`, 0)
    return this.#out.subarray(0, end)
  }

  /** The members of a delimited record, with a comma before each. */
  #delimited(record: Buffer): string {
    if (this.#reader.cut === undefined) return ''
    const fields = this.#reader.read(record)
    const others = ownNames.some((name) => Object.hasOwn(fields, name)) ? withoutOwnNames(fields) : fields
    const members = JSON.stringify(others).slice(1, -1)
    return members === '' ? '' : `,${members}`
  }

  /** Starts the output with the text, with room for `more` bytes behind it; gives its length in bytes. */
  #write(text: string, more: number): number {
    const needed = Buffer.byteLength(text) + more
    if (needed > this.#out.length) this.#out = Buffer.allocUnsafe(Math.max(needed, this.#out.length * 2))
    return this.#out.write(text)
  }
}

/** Line ends in valid JSON stand between values only. */
function blankOut(json: Buffer, byte: number): void {
  for (let at = json.indexOf(byte); at >= 0; at = json.indexOf(byte, at + 1)) json[at] = blank
}

function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function withoutOwnNames(fields: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !ownNames.includes(name)))
}

function hasFields(fields: object): boolean {
  for (const _ in fields) return true
  return false
}

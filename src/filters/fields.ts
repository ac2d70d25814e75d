/**
 * Fields of records, for filters and sinks that ask for them by name.
 *
 *   {"status":200}                     JSON: its own fields, whatever the format
 *   alpha,200  ·  GET /x 200           delimited: by the names of the format, its header, or the position
 *   anything else                      none
 *
 * How records are cut is decided once for an object; whether a record is JSON, for each record.
 */
import { isAscii } from 'node:buffer'
import { StreamError } from '../core/errors.ts'
import { guessedSeparator } from '../decoders/decode.ts'
import { RowEnds } from '../decoders/lines.ts'
import type { Format } from '../formats/format.ts'
import { type Cut, FieldCursor, fieldIndex, positionName, type Quoting, unescaped } from './delimited.ts'

export type Fields = Readonly<Record<string, unknown>>

export interface FieldReader {
  /**
   * Fields of one record. A JSON object gives its own; a delimited record its fields by name; anything else none.
   *
   * In delimited records text that is a decimal number of at most 15 digits becomes a number (not one with leading zeros
   * or an exponent: those are identifiers); a field without a value (`-` in access logs and W3C) is left out.
   * `only` names the fields that are wanted: others may be left out. The same set should come with every record.
   * Throws filter.failed if a record begins like a JSON object and is none.
   */
  read(record: Buffer, only?: ReadonlySet<string>): Fields
  /** True if `read` takes the record for JSON. */
  isJson(record: Buffer): boolean
  /** How delimited records are cut, undefined for JSON and plain text. */
  readonly cut: Cut | undefined
}

const noFields: Fields = Object.freeze({})

/** Fields that no name is given to; what comes behind so many is padding or no delimited text. */
const maxFields = 1000

const lf = 10
const hash = 35
const dash = 45
const point = 46
const zero = 48
const nine = 57
const brace = 123
const closingBrace = 125

/** The reader for the records of one object; `sample` is its decoded start. */
export function fieldReader(o: { readonly format: Format; readonly sample: Buffer }): FieldReader {
  const cut = cutOf(o.format, o.sample)
  return cut === undefined ? jsonReader : new DelimitedReader(cut)
}

/**
 * The value at a path like `user.name`. A key that is written with dots comes before an object within an object, on
 * every level. Undefined if there is none.
 */
export function fieldAt(fields: unknown, path: string): unknown {
  if (typeof fields !== 'object' || fields === null) return undefined
  if (Object.hasOwn(fields, path)) return (fields as Fields)[path]
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
    const key = path.slice(0, dot)
    if (!Object.hasOwn(fields, key)) continue
    const value = fieldAt((fields as Fields)[key], path.slice(dot + 1))
    if (value !== undefined) return value
  }
  return undefined
}

/** First byte that is no blank, undefined in a blank record. */
function firstByte(record: Buffer): number | undefined {
  let at = 0
  while (at < record.length && isBlank(record[at] as number)) at += 1
  return record[at]
}

function lastByte(record: Buffer): number | undefined {
  let at = record.length - 1
  while (at >= 0 && isBlank(record[at] as number)) at -= 1
  return record[at]
}

function isBlank(byte: number): boolean {
  return byte === 32 || (byte >= 9 && byte <= 13)
}

function textOf(record: Buffer): string {
  return isAscii(record) ? record.toString('latin1') : record.toString()
}

function parsedJson(record: Buffer): Fields {
  try {
    return JSON.parse(textOf(record)) as Fields
  } catch (error) {
    // The parser's own message quotes the record, which may hold secrets: only the place is taken from it.
    const place = error instanceof Error ? /at position \d+/.exec(error.message)?.[0] : undefined
    const where = place === undefined ? '' : ` (it breaks ${place})`
    throw new StreamError(
      'filter.failed',
      `cannot read fields: the record begins like a JSON object and is none${where}`,
    )
  }
}

/** The value a record is in JSON; undefined if it is none. */
export function jsonIn(record: Buffer): Fields | undefined {
  try {
    return JSON.parse(textOf(record)) as Fields
  } catch {
    return undefined
  }
}

const jsonReader: FieldReader = {
  cut: undefined,
  isJson: (record) => firstByte(record) === brace,
  read: (record) => (firstByte(record) === brace ? parsedJson(record) : noFields),
}

class DelimitedReader implements FieldReader {
  readonly cut: Cut
  readonly #cursor: FieldCursor
  readonly #names: string[]
  #only: ReadonlySet<string> | undefined
  /** 1 for each field that `#only` wants, up to the last of them. */
  #wanted = new Uint8Array(0)

  constructor(cut: Cut) {
    this.cut = cut
    this.#cursor = new FieldCursor(cut)
    this.#names = [...cut.names]
  }

  /** In delimited text only with both braces: the first field of a row may be `{a-guid}`. */
  isJson(record: Buffer): boolean {
    return firstByte(record) === brace && lastByte(record) === closingBrace
  }

  read(record: Buffer, only?: ReadonlySet<string>): Fields {
    if (this.isJson(record)) {
      const fields = jsonIn(record)
      // `{guid},alpha,{guid}` is a row.
      if (fields !== undefined) return fields
    }
    if (only !== undefined && only !== this.#only) this.#want(only)
    const wanted = only === undefined ? undefined : this.#wanted
    const most = wanted?.length ?? Math.max(maxFields, this.cut.names.length)
    const cursor = this.#cursor
    const { quoting } = this.cut
    // One string for the record and parts of it are cheaper than a string made for each field.
    let text: string | undefined
    let isText = false
    const fields: Record<string, unknown> = {}
    cursor.open(record)
    for (let i = 0; i < most && cursor.next(); i += 1) {
      if (wanted !== undefined && wanted[i] === 0) continue
      const { start, end, isEscaped } = cursor
      if (quoting !== 'csv' && isMissing(record, start, end, quoting)) continue
      const value = isEscaped ? undefined : numberIn(record, start, end)
      if (value !== undefined) fields[this.#name(i)] = value
      else if (isEscaped) fields[this.#name(i)] = unescaped(record.subarray(start, end), quoting)
      else {
        if (!isText) {
          isText = true
          text = isAscii(record) ? record.toString('latin1') : undefined
        }
        fields[this.#name(i)] = text === undefined ? record.toString('utf8', start, end) : text.substring(start, end)
      }
    }
    return fields
  }

  #name(index: number): string {
    for (let i = this.#names.length; i <= index; i += 1) {
      const name = positionName(i)
      this.#names.push(this.cut.names.includes(name) ? `${name}_` : name)
    }
    return this.#names[index] as string
  }

  #want(only: ReadonlySet<string>): void {
    this.#only = only
    const indexes = [...only].map((name) => fieldIndex(this.cut, name)).filter((index) => index >= 0)
    this.#wanted = new Uint8Array(Math.max(-1, ...indexes) + 1)
    for (const index of indexes) this.#wanted[index] = 1
  }
}

/** `-` stands for no value; in access logs also nothing between two blanks. */
function isMissing(record: Buffer, start: number, end: number, quoting: Quoting): boolean {
  if (end - start === 1) return record[start] === dash
  return end === start && quoting === 'access'
}

/** The decimal number in the bytes, exactly; undefined if they are none, or one with more digits than a double keeps. */
function numberIn(record: Buffer, start: number, end: number): number | undefined {
  // 15 digits, a sign and a point.
  if (end <= start || end - start > 17) return undefined
  const isNegative = record[start] === dash
  const from = isNegative ? start + 1 : start
  let digits = 0
  let value = 0
  let places = -1
  for (let at = from; at < end; at += 1) {
    const byte = record[at] as number
    if (byte >= zero && byte <= nine) {
      // A leading zero is fine only before the point.
      if (at === from + 1 && places < 0 && record[from] === zero) return undefined
      value = value * 10 + (byte - zero)
      digits += 1
      if (places >= 0) places += 1
    } else if (byte === point && places < 0 && at > from) places = 0
    else return undefined
  }
  if (digits === 0 || digits > 15 || places === 0 || (isNegative && value === 0)) return undefined
  // Both are exact in a double, so the quotient is the nearest double to what is written.
  if (places > 0) value /= 10 ** places
  return isNegative ? -value : value
}

/** How records of this format are cut; undefined if they are JSON or plain text. */
function cutOf(format: Format, sample: Buffer): Cut | undefined {
  const { decoder, fieldSeparator } = format
  if (decoder === 'json') return undefined
  if (decoder === 'w3c') {
    const separator = fieldSeparator ?? w3cSeparator(sample)
    return { separator, quoting: 'none', names: checkedNames(format.fieldNames ?? w3cNames(sample)) }
  }
  const separator = fieldSeparator ?? (decoder === 'csv' ? guessedSeparator(sample) : undefined)
  if (separator === undefined) return undefined
  const quoting = separator === ' ' ? 'access' : 'csv'
  const names = format.fieldNames ?? headerNames(format, sample, { separator, quoting })
  return { separator, quoting, names: checkedNames(names ?? []), lacksHeader: names === undefined }
}

/** Names under which fields can be told apart: what is empty or was there before goes by its position. */
function checkedNames(names: readonly string[]): string[] {
  const seen = new Set<string>()
  return names.map((name, index) => {
    let unique = name === '' || name === '__proto__' || seen.has(name) ? positionName(index) : name
    while (seen.has(unique)) unique += '_'
    seen.add(unique)
    return unique
  })
}

/** The fields of the last header line; undefined if it does not end within the sample. */
function headerNames(format: Format, sample: Buffer, style: Pick<Cut, 'separator' | 'quoting'>): string[] | undefined {
  if (format.skipHeaderLines === 0) return []
  // As the decoder drops them: with csv a line end inside quotes does not end the line.
  const rows = format.decoder === 'csv' ? new RowEnds(style.separator.charCodeAt(0)) : undefined
  let start = 0
  let end = -1
  for (let i = 0; i < format.skipHeaderLines; i += 1) {
    start = end + 1
    end = rows === undefined ? sample.indexOf(lf, start) : rows.end(sample, start)
    // Without a line end it is only the start of a line, or an object without records.
    if (end < 0) return undefined
  }
  const line = withoutCr(sample.subarray(start, end))
  const cursor = new FieldCursor(style)
  cursor.open(line)
  const names: string[] = []
  while (cursor.next()) {
    const value = line.subarray(cursor.start, cursor.end)
    names.push((cursor.isEscaped ? unescaped(value, style.quoting) : value.toString()).trim())
  }
  return names
}

function withoutCr(line: Buffer): Buffer {
  return line.at(-1) === 13 ? line.subarray(0, -1) : line
}

function* linesOf(sample: Buffer): Generator<Buffer> {
  for (let start = 0; start < sample.length; ) {
    const end = sample.indexOf(lf, start)
    yield withoutCr(sample.subarray(start, end < 0 ? sample.length : end))
    start = end < 0 ? sample.length : end + 1
  }
}

const fieldsDirective = '#Fields:'

/** The names in the first #Fields directive; https://www.w3.org/TR/WD-logfile.html. Blanks stand between them, in tab-separated logs too. */
function w3cNames(sample: Buffer): string[] {
  for (const line of linesOf(sample)) {
    if (line[0] !== hash || line.toString('latin1', 0, fieldsDirective.length) !== fieldsDirective) continue
    return line
      .toString('utf8', fieldsDirective.length)
      .split(/[ \t]+/)
      .filter((name) => name !== '')
  }
  return []
}

/** IIS writes blanks between fields, CloudFront tabs. */
function w3cSeparator(sample: Buffer): string {
  for (const line of linesOf(sample)) if (line.length > 0 && line[0] !== hash) return line.includes(9) ? '\t' : ' '
  return ' '
}

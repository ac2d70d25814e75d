/** `redact`: the values of some fields become `[redacted]`; everything else of a record stays byte for byte. */
import { StreamError } from '../core/errors.ts'
import { meansField } from './cel-names.ts'
import { type Cut, FieldCursor, fieldIndex } from './delimited.ts'
import { type FieldReader, jsonIn } from './fields.ts'
import { JsonPaths } from './json-values.ts'

const placeholder = Buffer.from('[redacted]')
const quotedPlaceholder = Buffer.from('"[redacted]"')
const bracketedPlaceholder = Buffer.from('redacted')

const quote = 34
const openBracket = 91
const openBrace = 123

/**
 * Gives what hides the named fields in a record: the SAME buffer if it holds none of them.
 *
 * In JSON a name is a key or a dotted path, arrays on the way stand for all their elements; any number of places may be
 * hit, and whatever the value is, it becomes a string. In delimited records a name is one of the header or the format, also
 * as filters write it (`cs_Cookie_`). Plain text has no fields.
 *
 * The function throws filter.failed if a record may hold such a field but is no valid JSON: nobody can tell where the
 * value ends then.
 */
export function redactor(names: readonly string[], reader: FieldReader): (record: Buffer) => Buffer {
  const json = new JsonRedaction(names)
  const { cut } = reader
  if (cut === undefined) return (record) => json.apply(record)
  const delimited = new DelimitedRedaction(names, cut)
  return (record) => {
    if (cut.lacksHeader) {
      throw new StreamError(
        'filter.failed',
        'cannot redact: the header that names the fields is too far from the start',
      )
    }
    if (!reader.isJson(record)) return delimited.apply(record)
    const hidden = json.apply(record)
    // `{guid},alpha,{guid}` is a row.
    return hidden === record && jsonIn(record) === undefined ? delimited.apply(record) : hidden
  }
}

/** Whether the record begins with an object or a list, and whether that is an object, or a list that begins with one. */
function beginning(record: Buffer): { readonly isValue: boolean; readonly isObject: boolean } {
  let at = 0
  let isList = false
  for (; at < record.length; at += 1) {
    const byte = record[at] as number
    if (byte === openBracket) isList = true
    else if (byte > 32) break
  }
  const isObject = record[at] === openBrace
  return { isValue: isList || isObject, isObject }
}

class JsonRedaction {
  readonly #paths: JsonPaths
  /** Bytes one of which every record has that holds a field to hide. */
  readonly #signs: readonly Buffer[]

  constructor(names: readonly string[]) {
    this.#paths = new JsonPaths(names)
    this.#signs = signsOf(names)
  }

  apply(record: Buffer): Buffer {
    const { isValue, isObject } = beginning(record)
    if (!isValue || !this.#signs.some((sign) => record.includes(sign))) return record
    if (jsonIn(record) === undefined) {
      // Plain text may begin with `[` too.
      if (!isObject) return record
      throw new StreamError('filter.failed', 'cannot redact: the record begins like JSON and is none')
    }
    return replaced(record, this.#paths.find(record), () => quotedPlaceholder)
  }
}

/**
 * The last key of each path as JSON has it in plain bytes, and the escapes by which it may be written otherwise: `\u0061`
 * for any character, and shorter ones for some.
 */
function signsOf(names: readonly string[]): readonly Buffer[] {
  const keys = names.map((name) => name.slice(name.lastIndexOf('.') + 1))
  const hasShortEscapes = keys.some((key) => key.includes('/') || JSON.stringify(key).includes('\\'))
  return [...new Set([...keys, hasShortEscapes ? '\\' : '\\u'])].map((sign) => Buffer.from(sign))
}

class DelimitedRedaction {
  readonly #cut: Cut
  readonly #cursor: FieldCursor
  /** 1 for each field to hide, up to the last of them. */
  readonly #hidden: Uint8Array
  readonly #plain: Buffer

  constructor(names: readonly string[], cut: Cut) {
    this.#cut = cut
    this.#cursor = new FieldCursor(cut)
    this.#hidden = hiddenFields(names, cut)
    // In access logs brackets are a kind of quotes, and the separator may be any character.
    const isQuoted = cut.quoting === 'access' || (cut.quoting === 'csv' && placeholder.includes(cut.separator))
    this.#plain = isQuoted ? quotedPlaceholder : placeholder
  }

  apply(record: Buffer): Buffer {
    const ranges: number[] = []
    this.#cursor.open(record)
    for (let i = 0; i < this.#hidden.length && this.#cursor.next(); i += 1) {
      if (this.#hidden[i] === 1) ranges.push(this.#cursor.start, this.#cursor.end)
    }
    return replaced(record, ranges, (start) => this.#placeholderAt(record, start))
  }

  #placeholderAt(record: Buffer, start: number): Buffer {
    if (this.#cut.quoting === 'none' || start === 0) return this.#plain
    const before = record[start - 1]
    if (before === quote) return placeholder
    return before === openBracket && this.#cut.quoting === 'access' ? bracketedPlaceholder : this.#plain
  }
}

function hiddenFields(names: readonly string[], cut: Cut): Uint8Array {
  const indexes = new Set(names.map((name) => fieldIndex(cut, name)))
  for (const [index, name] of cut.names.entries()) {
    if (names.some((hidden) => meansField(hidden, name))) indexes.add(index)
  }
  indexes.delete(-1)
  const hidden = new Uint8Array(Math.max(-1, ...indexes) + 1)
  for (const index of indexes) hidden[index] = 1
  return hidden
}

/** The record with other bytes in some ranges; the record itself if there are none. */
function replaced(record: Buffer, ranges: readonly number[], replacementAt: (start: number) => Buffer): Buffer {
  if (ranges.length === 0) return record
  const pieces: Buffer[] = []
  let from = 0
  for (let i = 0; i < ranges.length; i += 2) {
    const start = ranges[i] as number
    pieces.push(record.subarray(from, start), replacementAt(start))
    from = ranges[i + 1] as number
  }
  pieces.push(record.subarray(from))
  return Buffer.concat(pieces)
}

/**
 * The fields of a JSON record as a GELF message has them: https://go2docs.graylog.org/current/getting_in_log_data/gelf.html
 *
 * Additional fields begin with `_`, which Graylog strips. What it drops without a word is avoided here: booleans, and names that
 * are its own (GelfCodec.java, Message.java of graylog2-server).
 */
import { fieldAt } from '../filters/fields.ts'
import { severityOf, timeOf } from './syslog-levels.ts'

/** Longest value of an additional field: Graylog indexes it as one Lucene term, and a longer one costs the whole message. */
const maxValueBytes = 32_766
/** Names remembered; logs whose keys are data would fill the memory. */
const maxNames = 10_000

/**
 * Names that Graylog keeps for itself, or that we give: a field of this name is sent with `_` behind it. `id` is forbidden by
 * GELF 1.1 itself.
 */
const taken = new Set([
  'id',
  'host',
  'source',
  'message',
  'short_message',
  'full_message',
  'timestamp',
  'level',
  'streams',
  '_id',
  '_ttl',
  '_source',
  '_all',
  '_index',
  '_type',
  '_score',
  'bucket',
  'key',
  'record',
  'record_id',
])

const timeFields = ['timestamp', '@timestamp', 'time']

export interface GelfFields {
  /** Text of the message; undefined if no field has one. */
  readonly message: string | undefined
  /** The record's own `full_message`. */
  readonly fullMessage: string | undefined
  readonly timeMs: number | undefined
  readonly level: number | undefined
  /** The other fields, each as `,"_name":value`. */
  readonly additional: string
  /** True if a value was cut. */
  readonly isCut: boolean
}

/** What goes before a value, and whether the name is still the record's own. */
interface FieldName {
  readonly name: string
  readonly prefix: string
  readonly isOwn: boolean
}

export class FieldReader {
  readonly #messageFields: readonly string[]
  readonly #levelField: string
  readonly #names = new Map<string, FieldName>()

  /** The first of `messageFields` that has a text is the message. */
  constructor(o: { readonly messageFields: readonly string[]; readonly levelField: string }) {
    this.#messageFields = o.messageFields
    this.#levelField = o.levelField
  }

  /** undefined if the text is no JSON object. */
  read(text: string): GelfFields | undefined {
    const fields = objectOf(text)
    if (fields === undefined) return undefined
    const messageName = this.#messageFields.find((name) => hasText(fields, name))
    const timeName = timeFields.find((name) => Object.hasOwn(fields, name) && timeOf(fields[name]) !== undefined)
    const level = severityOf(fieldAt(fields, this.#levelField))
    const hasFull = messageName !== 'full_message' && hasText(fields, 'full_message')

    let additional = ''
    let isCut = false
    let renamed: Set<string> | undefined
    for (const key of Object.keys(fields)) {
      if (key === messageName || key === timeName || (hasFull && key === 'full_message')) continue
      if (level !== undefined && key === this.#levelField) continue
      const value = fields[key]
      if (value === null) continue
      let field = this.#nameOf(key)
      if (!field.isOwn) {
        renamed ??= new Set()
        // Two keys may look the same once they are clean.
        while (renamed.has(field.name) || (field.name !== key && Object.hasOwn(fields, field.name)))
          field = fieldName(`${field.name}_`, false)
        renamed.add(field.name)
      }
      const whole = typeof value === 'number' && Number.isFinite(value) ? value : textOf(value)
      const fitting = typeof whole === 'string' ? fittingText(whole) : whole
      if (fitting !== whole) isCut = true
      additional += field.prefix + JSON.stringify(fitting)
    }
    return {
      message: messageName === undefined ? undefined : textOf(fieldAt(fields, messageName)),
      fullMessage: hasFull ? textOf(fields.full_message) : undefined,
      timeMs: timeName === undefined ? undefined : timeOf(fields[timeName]),
      level,
      additional,
      isCut,
    }
  }

  #nameOf(key: string): FieldName {
    const known = this.#names.get(key)
    if (known) return known
    const clean = key.replaceAll(/[^\w.-]/g, '_')
    const name = clean === '' || taken.has(clean) || clean.startsWith('gl2_') ? `${clean}_` : clean
    const made = fieldName(name, name === key)
    if (this.#names.size < maxNames) this.#names.set(key, made)
    return made
  }
}

function fieldName(name: string, isOwn: boolean): FieldName {
  return { name, prefix: `,"_${name}":`, isOwn }
}

type Reviver = (this: unknown, key: string, value: unknown, context: { readonly source?: string }) => unknown
const parse = JSON.parse as (text: string, reviver?: Reviver) => unknown

function objectOf(text: string): Record<string, unknown> | undefined {
  try {
    // Integers that a double cannot hold are passed on as text, digit by digit; looking for them in every record would be slow.
    const value = /\d{16}/.test(text) ? parse(text, keepDigits) : parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

const keepDigits: Reviver = (_key, value, { source }) =>
  typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) ? source : value

/** True if the field is there and something can be read in it. */
function hasText(fields: Record<string, unknown>, name: string): boolean {
  const value = fieldAt(fields, name)
  return value !== undefined && value !== null && /\S/.test(textOf(value))
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

function fittingText(text: string): string {
  if (text.length * 3 <= maxValueBytes || Buffer.byteLength(text) <= maxValueBytes) return text
  const bytes = Buffer.from(text)
  return bytes.toString('utf8', 0, cutOf(bytes, 0, maxValueBytes))
}

/** The last place up to `limit` that does not cut a UTF-8 character; `limit` lies within valid UTF-8. */
export function cutOf(data: Buffer, start: number, limit: number): number {
  let cut = limit
  while (cut > start && ((data[cut] as number) & 0xc0) === 0x80) cut -= 1
  return cut
}

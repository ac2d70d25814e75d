/**
 * Delimited records, cut into fields on their bytes.
 *
 *   csv      a,"b ""c""",d        RFC 4180: a quote opens at the start of a field, `""` inside is a quote
 *   access   a [b c] "d \"e\"" -  access logs of web servers and AWS services: blanks inside `[…]` and `"…"`, `\` escapes
 *   none     a b c                W3C: what stands between two separators is the field
 *
 * No record is refused. A field that breaks the rules is taken as it stands; a quote that nothing closes takes the rest of
 * the record, as it would in a record that was cut off.
 */

export type Quoting = 'csv' | 'access' | 'none'

/** How the records of an object are cut. */
export interface Cut {
  /** One character. */
  readonly separator: string
  readonly quoting: Quoting
  /** Names of the fields, in order; fields behind the last of them go by their position. */
  readonly names: readonly string[]
  /** True if a header names the fields and does not end within the sample. */
  readonly lacksHeader?: boolean
}

const quote = 34
const backslash = 92
const open = 91
const close = 93

/** Name of a field that has none: `field1` is the first. */
export function positionName(index: number): string {
  return `field${index + 1}`
}

/** Index of the field with this name, -1 if no field can have it. */
export function fieldIndex({ names }: Cut, name: string): number {
  const index = names.indexOf(name)
  if (index >= 0) return index
  if (!/^field[1-9]\d{0,5}$/.test(name)) return -1
  const position = Number(name.slice('field'.length)) - 1
  return position >= names.length ? position : -1
}

/** Walks over the fields of a record, one record after the other; makes no object. */
export class FieldCursor {
  /** Place of the value in the record: [start, end), without the quotes or brackets around it. */
  start = 0
  end = 0
  /** True if quotes or brackets stand around [start, end): there the value may hold separators. */
  isQuoted = false
  /** True if escapes or doubled quotes stand in [start, end). */
  isEscaped = false
  readonly #quoting: Quoting
  readonly #first: number
  /** The bytes of a separator that is not ASCII. */
  readonly #wide: Buffer | undefined
  readonly #width: number
  #record: Buffer = Buffer.alloc(0)
  /** Where the next field starts; -1 behind the last one. */
  #next = -1

  constructor({ separator, quoting }: Pick<Cut, 'separator' | 'quoting'>) {
    const bytes = Buffer.from(separator)
    this.#first = bytes[0] as number
    this.#width = bytes.length
    this.#wide = bytes.length > 1 ? bytes : undefined
    this.#quoting = quoting
  }

  /** Goes before the first field of a record. An empty record has one empty field. */
  open(record: Buffer): void {
    this.#record = record
    this.#next = 0
  }

  /** Goes on to the next field; false if there is none. */
  next(): boolean {
    const at = this.#next
    if (at < 0) return false
    this.isQuoted = false
    this.isEscaped = false
    if (this.#quoting !== 'none') {
      const byte = this.#record[at]
      if (byte === quote) {
        if (this.#quoting === 'csv') this.#quotedCsv(at)
        else this.#quotedAccess(at)
        return true
      }
      if (byte === open && this.#quoting === 'access' && this.#bracketed(at)) return true
    }
    this.#plain(at, at)
    return true
  }

  /** Goes to field `index` of the record; false if it has none. */
  seek(record: Buffer, index: number): boolean {
    this.open(record)
    for (let i = 0; i <= index; i += 1) if (!this.next()) return false
    return true
  }

  #isSeparator(at: number): boolean {
    const record = this.#record
    if (record[at] !== this.#first) return false
    if (this.#wide === undefined) return true
    const end = at + this.#width
    return end <= record.length && record.compare(this.#wide, 0, this.#width, at, end) === 0
  }

  /** Everything from `start` on to the first separator at or behind `from`. */
  #plain(start: number, from: number): void {
    const record = this.#record
    const first = this.#first
    const length = record.length
    let at = from
    while (at < length && !(record[at] === first && (this.#wide === undefined || this.#isSeparator(at)))) at += 1
    this.start = start
    this.end = at
    this.#next = at < length ? at + this.#width : -1
  }

  /** The value is [start, end), and the byte at `end` closes it. False if something else than a separator follows. */
  #closed(start: number, end: number): boolean {
    const behind = end + 1
    const isLast = behind >= this.#record.length
    if (!isLast && !this.#isSeparator(behind)) return false
    this.start = start
    this.end = end
    this.isQuoted = true
    this.#next = isLast ? -1 : behind + this.#width
    return true
  }

  /** A quote opened and nothing closes it. */
  #unclosed(at: number): void {
    this.start = at + 1
    this.end = this.#record.length
    this.#next = -1
  }

  #quotedCsv(at: number): void {
    const record = this.#record
    const length = record.length
    for (let end = at + 1; end < length; end += 1) {
      if (record[end] !== quote) continue
      if (record[end + 1] === quote) {
        this.isEscaped = true
        end += 1
      } else if (this.#closed(at + 1, end)) return
      else {
        // Something follows the closing quote: the field as it stands.
        this.isEscaped = false
        this.#plain(at, end + 1)
        return
      }
    }
    this.#unclosed(at)
  }

  #quotedAccess(at: number): void {
    const record = this.#record
    const length = record.length
    let isBare = false
    for (let end = at + 1; end < length; end += 1) {
      const byte = record[end]
      if (byte === backslash) {
        this.isEscaped = true
        end += 1
      } else if (byte === quote) {
        if (this.#closed(at + 1, end)) {
          if (isBare) this.#whole(at, end + 1)
          return
        }
        // `"h2","http/1.1"`: a list of quoted words, or a quote that was not escaped.
        isBare = true
      }
    }
    this.#unclosed(at)
  }

  /** The field with its quotes. */
  #whole(start: number, end: number): void {
    this.start = start
    this.end = end
    this.isQuoted = false
    this.isEscaped = false
  }

  /** `[…]` up to the first closing bracket. `[2001:db8::1]:443` is a plain field. */
  #bracketed(at: number): boolean {
    const end = this.#record.indexOf(close, at + 1)
    return end >= 0 && this.#closed(at + 1, end)
  }
}

/**
 * Place of the value of field `index` in a record, without quotes around it; undefined if the record has no such field.
 * Other bytes may be put there as they are if they hold no quote, bracket, backslash or separator.
 */
export function fieldRange(
  cut: Cut,
  record: Buffer,
  index: number,
): { readonly start: number; readonly end: number } | undefined {
  const cursor = new FieldCursor(cut)
  return cursor.seek(record, index) ? { start: cursor.start, end: cursor.end } : undefined
}

/** The text of a value that holds escapes, from its bytes as they stand in the record. */
export function unescaped(value: Buffer, quoting: Quoting): string {
  if (quoting === 'csv') return value.toString().replaceAll('""', '"')
  if (quoting === 'none') return value.toString()
  const bytes = Buffer.allocUnsafe(value.length)
  let length = 0
  for (let at = 0; at < value.length; at += 1) {
    let byte = value[at] as number
    if (byte === backslash) {
      const next = value[at + 1]
      if (next === quote || next === backslash) {
        byte = next
        at += 1
      } else if (next === 0x78) {
        // nginx and Apache write quotes, control characters and all that is not ASCII as \xHH, byte for byte.
        const code = 16 * hexDigit(value[at + 2]) + hexDigit(value[at + 3])
        if (code >= 0) {
          byte = code
          at += 3
        }
      }
    }
    bytes[length] = byte
    length += 1
  }
  return bytes.toString('utf8', 0, length)
}

/** Value of a hex digit; so far below 0 for any other byte that no sum with it is a byte. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1000
  if (byte >= 48 && byte <= 57) return byte - 48
  const letter = byte | 0x20
  return letter >= 97 && letter <= 102 ? letter - 87 : -1000
}

/**
 * Go's time layouts (`2006-01-02T15:04:05Z07:00`): which verbs there are, which text each accepts and which dates are
 * refused follow time.Parse of Go 1.26, proven by vectors that Go itself wrote (test/vectors/go-layout).
 *
 * It differs from Go in two ways, both because Go's answer would be a wrong instant:
 *   1. A zone abbreviation listed in `zoneOffsets`, and one with a number (`GMT+3`, `+03`), counts with its true offset.
 *      Go takes every name that is not in the machine's own zone for UTC. Names that mean several zones (BST, IST)
 *      stay UTC, as in Go.
 *   2. A layout that names a day but no year takes the year from `nearMs`.
 */

import { isDigit, type Token, tokensOf, type Verb } from './go-layout-tokens.ts'

/**
 * Hours east of UTC. North America as RFC 5322 §4.3 fixes them; Europe and Japan as the tz database has them.
 */
export const zoneOffsets: Readonly<Record<string, number>> = {
  EST: -5,
  EDT: -4,
  CST: -6,
  CDT: -5,
  MST: -7,
  MDT: -6,
  PST: -8,
  PDT: -7,
  WET: 0,
  WEST: 1,
  CET: 1,
  CEST: 2,
  EET: 2,
  EEST: 3,
  JST: 9,
}

const longMonths = 'january february march april may june july august september october november december'.split(' ')
const shortMonths = longMonths.map((name) => name.slice(0, 3))
const longDays = 'sunday monday tuesday wednesday thursday friday saturday'.split(' ')
const shortDays = longDays.map((name) => name.slice(0, 3))

/** A time in a value was out of range or in the wrong shape. Thrown and caught in this file only. */
const mismatch = new Error('value does not fit the layout')

/** Where parsing stands, and the fields found so far; -1 where none was found. */
class Reader {
  readonly text: string
  at = 0
  year = 0
  month = -1
  day = -1
  yearDay = -1
  hour = 0
  minute = 0
  second = 0
  nanosecond = 0
  afternoon = false
  morning = false
  utc = false
  /** Seconds east of UTC. Go too takes an offset of -1 s for none. */
  offset = -1
  zone = ''

  constructor(text: string) {
    this.text = text
  }

  left(): number {
    return this.text.length - this.at
  }

  /** Literal text. A run of spaces in the layout stands for one or more in the value, or none at its end. */
  skip(prefix: string): void {
    for (let i = 0; i < prefix.length; ) {
      if (prefix[i] !== ' ') {
        if (this.text[this.at] !== prefix[i]) throw mismatch
        i++
        this.at++
        continue
      }
      if (this.left() > 0 && this.text[this.at] !== ' ') throw mismatch
      while (prefix[i] === ' ') i++
      while (this.text[this.at] === ' ') this.at++
    }
  }

  skipSpace(): void {
    if (this.text[this.at] === ' ') this.at++
  }

  /** One or two digits, with `fixed` two. */
  number(fixed: boolean): number {
    const { text, at } = this
    if (!isDigit(text, at) || (fixed && !isDigit(text, at + 1))) throw mismatch
    const length = isDigit(text, at + 1) ? 2 : 1
    this.at += length
    return Number(text.slice(at, at + length))
  }

  numberIn(fixed: boolean, min: number, max: number): number {
    const value = this.number(fixed)
    if (value < min || value > max) throw mismatch
    return value
  }

  /** An integer of exactly `length` characters, of which the first may be a sign. */
  signed(length: number): number {
    const part = this.text.slice(this.at, this.at + length)
    if (part.length < length || !/^[+-]?\d*$/.test(part)) throw mismatch
    this.at += length
    return /^[+-]?$/.test(part) ? 0 : Number(part)
  }

  name(names: readonly string[]): number {
    for (const [i, name] of names.entries()) {
      // Go folds ASCII letters only: toLowerCase would make a Kelvin sign a k.
      const part = this.text.slice(this.at, this.at + name.length)
      if (/^[A-Za-z]+$/.test(part) && part.toLowerCase() === name) {
        this.at += name.length
        return i
      }
    }
    throw mismatch
  }

  half(morning: string, afternoon: string): void {
    const part = this.text.slice(this.at, this.at + 2)
    if (part === afternoon) this.afternoon = true
    else if (part === morning) this.morning = true
    else throw mismatch
    this.at += 2
  }

  /** A separator and `digits` digits; those past the ninth are read and ignored. */
  fraction(digits: number): void {
    const { text, at } = this
    if (this.left() < digits + 1 || (text[at] !== '.' && text[at] !== ',')) throw mismatch
    const used = Math.min(digits, 9)
    this.at++
    const value = this.signed(used)
    if (value < 0) throw mismatch
    this.nanosecond = value * 10 ** (9 - used)
    this.at = at + 1 + digits
  }

  /** Number of digits after the separator here; 0 if there is no fraction. */
  fractionDigits(): number {
    const separator = this.text[this.at]
    if (separator !== '.' && separator !== ',') return 0
    let digits = 0
    while (isDigit(this.text, this.at + 1 + digits)) digits++
    return digits
  }

  /** `shape` is the verb without its first character: `0700`, `07:00`, … */
  numericZone(shape: string): void {
    const part = this.text.slice(this.at, this.at + 1 + shape.length)
    const sign = part[0]
    if (part.length < 1 + shape.length || (sign !== '+' && sign !== '-')) throw mismatch
    const numbers = [0, 0, 0]
    let found = 0
    for (let i = 0; i < shape.length; ) {
      if (shape[i] === ':') {
        if (part[1 + i] !== ':') throw mismatch
        i++
        continue
      }
      if (!isDigit(part, 1 + i) || !isDigit(part, 2 + i)) throw mismatch
      numbers[found++] = Number(part.slice(1 + i, 3 + i))
      i += 2
    }
    const [hours, minutes, seconds] = numbers as [number, number, number]
    if (hours > 24 || minutes > 60 || seconds > 60) throw mismatch
    const offset = (hours * 60 + minutes) * 60 + seconds
    this.offset = sign === '-' ? -offset : offset
    this.at += part.length
  }

  /** Length of `+3` or `-12` at `at`; 0 if there is none or it is past 23 hours. */
  signedHours(at: number): number {
    const digits = /^[+-](\d+)/.exec(this.text.slice(at))?.[1]
    return digits === undefined || Number(digits) > 23 ? 0 : digits.length + 1
  }

  namedZone(): void {
    const { text, at } = this
    if (text.startsWith('UTC', at)) {
      this.utc = true
      this.at += 3
      return
    }
    if (this.left() < 3) throw mismatch
    let length = 0
    if (text.startsWith('ChST', at) || text.startsWith('MeST', at)) length = 4
    else if (text.startsWith('GMT', at)) length = 3 + this.signedHours(at + 3)
    else if (text[at] === '+' || text[at] === '-') length = this.signedHours(at)
    else {
      const capitals = (/^[A-Z]{0,6}/.exec(text.slice(at, at + 6)) as RegExpExecArray)[0]
      if (capitals.length === 5 && capitals[4] === 'T') length = 5
      else if (capitals.length === 4 && (capitals[3] === 'T' || capitals === 'WITA')) length = 4
      else if (capitals.length === 3) length = 3
    }
    if (length === 0) throw mismatch
    this.zone = text.slice(at, at + length)
    this.at += length
  }
}

function readVerb(reader: Reader, token: Token, next: Token): void {
  switch (token.verb) {
    case '06': {
      const year = reader.signed(2)
      reader.year = year >= 69 ? 1900 + year : 2000 + year
      break
    }
    case '2006':
      if (!isDigit(reader.text, reader.at)) throw mismatch
      reader.year = reader.signed(4)
      break
    case 'Jan':
      reader.month = reader.name(shortMonths) + 1
      break
    case 'January':
      reader.month = reader.name(longMonths) + 1
      break
    case '1':
    case '01':
      reader.month = reader.numberIn(token.verb === '01', 1, 12)
      break
    case 'Mon':
      reader.name(shortDays)
      break
    case 'Monday':
      reader.name(longDays)
      break
    case '_2':
      reader.skipSpace()
      reader.day = reader.number(false)
      break
    case '2':
    case '02':
      reader.day = reader.number(token.verb === '02')
      break
    case '__2':
    case '002': {
      if (token.verb === '__2') {
        reader.skipSpace()
        reader.skipSpace()
      }
      const digits = (/^\d{0,3}/.exec(reader.text.slice(reader.at, reader.at + 3)) as RegExpExecArray)[0]
      if (digits === '' || (token.verb === '002' && digits.length !== 3)) throw mismatch
      reader.yearDay = Number(digits)
      reader.at += digits.length
      break
    }
    case '15':
      reader.hour = reader.numberIn(false, 0, 23)
      break
    case '3':
    case '03':
      reader.hour = reader.numberIn(token.verb === '03', 0, 12)
      break
    case '4':
    case '04':
      reader.minute = reader.numberIn(token.verb === '04', 0, 59)
      break
    case '5':
    case '05': {
      reader.second = reader.numberIn(token.verb === '05', 0, 59)
      // A fraction is accepted after the seconds although the layout has none.
      const digits = reader.fractionDigits()
      if (digits > 0 && next.verb !== '.0' && next.verb !== '.9') reader.fraction(digits)
      break
    }
    case 'PM':
      reader.half('AM', 'PM')
      break
    case 'pm':
      reader.half('am', 'pm')
      break
    case 'MST':
      reader.namedZone()
      break
    case '.0':
      reader.fraction(token.digits)
      break
    case '.9': {
      const digits = reader.fractionDigits()
      if (digits > 0) reader.fraction(digits)
      break
    }
    case undefined:
      break
    default:
      if (token.verb.startsWith('Z') && reader.text[reader.at] === 'Z') {
        reader.utc = true
        reader.at++
      } else {
        reader.numericZone(token.verb.slice(1))
      }
  }
}

const dayMs = 86_400_000

/** Midnight UTC of the reader's date in this year, or undefined if the year has no such date. */
function midnight(reader: Reader, year: number): number | undefined {
  const { month, day, yearDay } = reader
  const wantedMonth = yearDay >= 0 ? 1 : Math.max(month, 1)
  const wantedDay = yearDay >= 0 ? yearDay : day < 0 ? 1 : day
  if (wantedDay < 1) return undefined
  const date = new Date(0)
  date.setUTCFullYear(year, wantedMonth - 1, wantedDay)
  // A day past the end of its month or year moved the date on.
  if (date.getUTCFullYear() !== year) return undefined
  if (month >= 0 && date.getUTCMonth() !== month - 1) return undefined
  if (day >= 0 && date.getUTCDate() !== day) return undefined
  return date.getTime()
}

/** Milliseconds to add to the wall clock to get UTC. */
function zoneMs(reader: Reader): number {
  if (reader.utc) return 0
  if (reader.offset !== -1) return reader.offset * -1000
  const { zone } = reader
  const hours = zone.startsWith('GMT')
    ? Number(zone.slice(3))
    : zone.startsWith('+') || zone.startsWith('-')
      ? Number(zone)
      : (zoneOffsets[zone] ?? 0)
  return hours * -3_600_000
}

/** A layout, compiled. */
export interface GoLayout {
  readonly source: string
  /** What the layout names. */
  readonly names: { readonly year: boolean; readonly month: boolean; readonly day: boolean; readonly clock: boolean }
  /**
   * Milliseconds since the epoch, cut down to whole ones; undefined if `value` does not fit. Without a zone the time is
   * UTC. If the layout names a day but no year, the result is the latest such time that is not more than a day after
   * `nearMs` (a log may be ahead of its object's time by a zone, never by months); without `nearMs` it is in year 0, as in Go.
   */
  parse(value: string, nearMs?: number): number | undefined
}

/** Never throws: any text is a layout, if only a literal one. `layoutProblem` says what is of no use as one. */
export function compileGoLayout(source: string): GoLayout {
  const tokens = tokensOf(source)
  const has = (...wanted: readonly Verb[]) => tokens.some(({ verb }) => verb !== undefined && wanted.includes(verb))
  const yearDay = has('__2', '002')
  const names = {
    year: has('2006', '06'),
    month: yearDay || has('1', '01', 'Jan', 'January'),
    day: yearDay || has('2', '02', '_2'),
    clock: has('15', '3', '03'),
  }
  const yearless = !names.year && names.month && names.day

  const parse = (value: string, nearMs?: number): number | undefined => {
    const reader = new Reader(value)
    try {
      for (const [i, token] of tokens.entries()) {
        reader.skip(token.prefix)
        readVerb(reader, token, tokens[i + 1] ?? token)
      }
    } catch (error) {
      if (error === mismatch) return undefined
      throw error
    }
    if (reader.left() > 0) return undefined
    let { hour } = reader
    if (reader.afternoon && hour < 12) hour += 12
    else if (reader.morning && !reader.afternoon && hour === 12) hour = 0
    const clockMs =
      ((hour * 60 + reader.minute) * 60 + reader.second) * 1000 + Math.floor(reader.nanosecond / 1e6) + zoneMs(reader)
    if (!yearless || nearMs === undefined) {
      const dateMs = midnight(reader, reader.year)
      return dateMs === undefined ? undefined : dateMs + clockMs
    }
    const latestMs = nearMs + dayMs
    const lastYear = new Date(latestMs + dayMs).getUTCFullYear()
    // 29 February comes back after eight years at most.
    for (let year = lastYear; year >= lastYear - 9; year--) {
      const dateMs = midnight(reader, year)
      if (dateMs !== undefined && dateMs + clockMs <= latestMs) return dateMs + clockMs
    }
    return undefined
  }
  return { source, names, parse }
}

/** Why this text is of no use as a layout for log times; undefined if it is fine. */
export function layoutProblem(source: string): string | undefined {
  const { names } = compileGoLayout(source)
  const like = 'a Go layout writes the reference time 2006-01-02T15:04:05Z07:00 in the form of the log'
  if (/%[a-zA-Z]/.test(source)) return `it has strftime verbs (%Y); ${like}`
  if (/yyyy|YYYY|HH|mm:ss/.test(source)) return `it has letters for digits (YYYY); ${like}`
  if (!names.month || !(names.year || names.day)) return `it names no date; ${like}`
  return undefined
}

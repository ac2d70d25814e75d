/** Finding a time in text: an RE2 expression for where it stands, one or more notations for what it says. */
import { RE2JS } from 're2js'
import { compileGoLayout } from './go-layout.ts'

/** Where a timestamp stands and how it is written: `unix`, `unix_ms` or Go layouts, tried in order. */
export interface Timestamp {
  readonly regex: string
  readonly formats: readonly string[]
}

/** Time in ms since the epoch of the first match that has one; undefined if there is none. */
export type FindTime = (text: string, nearMs?: number) => number | undefined

/** No log object is older than S3 by decades or from the next century: such a time is a number taken for one. */
const earliestMs = Date.UTC(1980, 0, 1)
const latestMs = Date.UTC(2100, 0, 1)

/** Matches tried in one text before giving up: a bound for texts full of numbers. */
const maxMatches = 16

function isPlausible(ms: number | undefined): ms is number {
  return ms !== undefined && ms >= earliestMs && ms < latestMs
}

function unixTime(unitMs: number): (value: string) => number | undefined {
  return (value) => (/^\d{1,16}(?:\.\d{1,12})?$/.test(value) ? Math.floor(Number(value) * unitMs) : undefined)
}

function parserOf(format: string): (value: string, nearMs?: number) => number | undefined {
  if (format === 'unix') return unixTime(1000)
  if (format === 'unix_ms') return unixTime(1)
  const layout = compileGoLayout(format)
  return (value, nearMs) => layout.parse(value, nearMs)
}

/** The first group that took part in the match is the timestamp; without groups it is the whole match. */
export function compileTimestamp(timestamp: Timestamp): FindTime {
  const parsers = timestamp.formats.map(parserOf)
  const regex = RE2JS.compile(timestamp.regex)
  const groups = regex.groupCount()
  const matcher = regex.matcher('')

  const matched = (): string => {
    for (let group = 1; group <= groups; group++) {
      const text = matcher.group(group)
      if (text !== null) return text
    }
    return matcher.group(0) ?? ''
  }

  return (text, nearMs) => {
    matcher.resetMatcherInput(text)
    for (let tries = 0; tries < maxMatches && matcher.find(); tries++) {
      const value = matched()
      for (const parse of parsers) {
        const ms = parse(value, nearMs)
        if (isPlausible(ms)) return ms
      }
    }
    return undefined
  }
}

/** The first of several that finds a time. */
export function firstTime(timestamps: readonly Timestamp[]): FindTime {
  const finders = timestamps.map(compileTimestamp)
  return (text, nearMs) => {
    for (const find of finders) {
      const ms = find(text, nearMs)
      if (ms !== undefined) return ms
    }
    return undefined
  }
}

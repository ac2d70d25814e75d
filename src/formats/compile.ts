/**
 * The formats of a pipeline: the configured ones in their order, then the built-in ones whose names were not taken.
 *
 *   listing   timeFromKey(key)       glob, then the timestamp in the key
 *   reading   select(key, sample)    glob and content, or content alone, or the first format as a fallback
 *
 * A wrong choice must never lose a record. So header lines of built-in formats are dropped only where they are seen,
 * and a fallback lends its name and content type but no rules that leave out or join lines, or name what is in them.
 */
import { StreamError } from '../core/errors.ts'
import type { Format, FormatConfig, Formats } from './format.ts'
import { compileGlob } from './glob.ts'
import { type Head, headOf, type Likeness, recordLines } from './head.ts'
import type { Preset } from './preset.ts'
import { presets } from './presets.ts'
import { type FindTime, firstTime } from './timestamp.ts'

/** A compiled format and what choosing it needs besides. */
interface Candidate {
  readonly format: Format
  readonly configured: boolean
  /** False for a format whose timestamps stand in the content only: keys need not be tried. */
  readonly dated: boolean
  /** How well this object fits, given whether the glob fitted its key. */
  fit(key: string, head: () => Head, named: boolean): Likeness
  /** The format as this object needs it. */
  for(head: () => Head): Format
  /** The format without rules that leave out or join lines, or cut them into fields. */
  readonly plain: Format
}

/** Records in which a time is looked for, and in which it speaks for the format. */
const timeRecords = 20
const checkRecords = 5

/** Content checks ask whether a time without a year is a time at all; any year does, and this one is a leap year. */
const someTimeMs = Date.UTC(2024, 11, 31)

function timeOfKey(find: FindTime): (key: string) => number | undefined {
  return (key) => {
    const slash = key.lastIndexOf('/')
    if (slash < 0) return find(key)
    return find(key.slice(slash + 1)) ?? find(key)
  }
}

function timeOfContent(find: FindTime, head: Head, skip: number, most: number, nearMs: number): number | undefined {
  const lines = recordLines(head, skip, most)
  for (const line of lines) {
    const ms = find(line, nearMs)
    if (ms !== undefined) return ms
  }
  // Indented JSON has its records over many lines.
  return head.json && /[[{]\s*$/.test(lines[0] ?? '') ? find(head.text, nearMs) : undefined
}

function plainOf(format: Format): Format {
  return {
    ...format,
    decoder: 'auto',
    skipHeaderLines: 0,
    fieldSeparator: undefined,
    fieldNames: undefined,
    multilineStart: undefined,
  }
}

function configuredCandidate(config: FormatConfig): Candidate {
  const find = firstTime([{ regex: config.timestamp_regex, formats: [config.timestamp_format] }])
  const skipHeaderLines = config.skip_header_lines
  const json = /json/i.test(config.content_type)
  const timeFromKey = timeOfKey(find)

  const likeness = (head: Head): Likeness => {
    if (json && !head.json) return 'none'
    const timed = timeOfContent(find, head, skipHeaderLines, checkRecords, someTimeMs) !== undefined
    // A time found in JSON says little for a format of text lines.
    if (json || !head.json) return timed ? 'strong' : 'weak'
    return 'weak'
  }
  const format: Format = {
    name: config.name,
    contentType: config.content_type,
    decoder: config.multiline !== undefined && config.decoder === 'auto' ? 'lines' : config.decoder,
    skipHeaderLines,
    fieldSeparator: config.field_separator === '\\t' ? '\t' : config.field_separator,
    fieldNames: config.field_names,
    multilineStart: config.multiline?.start,
    recordsPath: config.records_path,
    matchesKey: compileGlob(config.filename_pattern),
    matchesContent(sample) {
      const found = likeness(headOf(sample))
      return found === 'strong' || (found === 'weak' && json)
    },
    timeFromKey,
    timeFromContent: (sample, nearMs) => timeOfContent(find, headOf(sample), skipHeaderLines, timeRecords, nearMs),
  }
  return {
    format,
    configured: true,
    dated: true,
    plain: plainOf(format),
    for: () => format,
    fit(key, head, named) {
      // Glob and timestamp are the operator's own words, whatever the content.
      if (named && timeFromKey(key) !== undefined) return 'strong'
      const found = likeness(head())
      // Without a glob that fits, a format of text lines needs better evidence than text.
      return !named && found === 'weak' && !json ? 'none' : found
    },
  }
}

function presetCandidate(preset: Preset): Candidate {
  const timeFromKey = timeOfKey(firstTime(preset.keyTimes))
  const find = firstTime(preset.contentTimes)
  const skipHeaderLines = preset.skipHeaderLines ?? 0
  const format: Format = {
    name: preset.name,
    contentType: preset.contentType,
    decoder: preset.decoder,
    skipHeaderLines,
    fieldSeparator: preset.fieldSeparator,
    fieldNames: undefined,
    multilineStart: preset.multilineStart,
    recordsPath: preset.recordsPath,
    matchesKey: compileGlob(preset.glob),
    matchesContent: (sample) => preset.likeness(headOf(sample)) !== 'none',
    timeFromKey,
    timeFromContent: (sample, nearMs) => timeOfContent(find, headOf(sample), 0, timeRecords, nearMs),
  }
  const headless: Format = skipHeaderLines === 0 ? format : { ...format, skipHeaderLines: 0 }
  return {
    format,
    configured: false,
    dated: preset.keyTimes.length > 0,
    plain: plainOf(format),
    for(head) {
      if (skipHeaderLines > 0 && preset.hasHeader?.(head()) === true) return format
      const fieldNames = preset.fieldNames?.(head())
      return fieldNames === undefined ? headless : { ...headless, fieldNames }
    },
    fit(key, head, named) {
      const known = named && timeFromKey(key) !== undefined
      if (known && preset.trustsKey === true) return 'strong'
      const found = preset.likeness(head())
      return known && found === 'weak' ? 'strong' : found
    },
  }
}

function choose(candidates: readonly Candidate[], key: string, sample: Buffer): ReturnType<Formats['select']> {
  let read: Head | undefined
  const head = () => {
    read ??= headOf(sample)
    return read
  }
  const chosen = (candidate: Candidate, by: 'name' | 'content') => ({ format: candidate.for(head), by })

  let weaklyNamed: Candidate | undefined
  let named: Candidate | undefined
  const others: Candidate[] = []
  for (const candidate of candidates) {
    if (!candidate.format.matchesKey(key)) {
      others.push(candidate)
      continue
    }
    const found = candidate.fit(key, head, true)
    if (found === 'strong') return chosen(candidate, 'name')
    if (!candidate.configured) continue
    named ??= candidate
    if (found === 'weak') weaklyNamed ??= candidate
  }
  // A configured glob is the operator's word; that of a built-in format counts only together with the content.
  const byName = weaklyNamed ?? named
  if (byName !== undefined) return chosen(byName, 'name')

  let weak: Candidate | undefined
  for (const candidate of others) {
    const found = candidate.fit(key, head, false)
    if (found === 'strong') return chosen(candidate, 'content')
    if (found === 'weak') weak ??= candidate
  }
  if (weak !== undefined) return chosen(weak, 'content')
  return { format: (candidates[0] as Candidate).plain, by: 'fallback' }
}

/** Number of single-character edits between two names. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}

function unknownFormat(name: string, known: readonly string[]): StreamError {
  const [near] = known
    .map((other) => ({ other, distance: editDistance(name.toLowerCase(), other.toLowerCase()) }))
    .filter(({ other, distance }) => distance <= Math.max(2, Math.floor(other.length / 3)))
    .sort((a, b) => a.distance - b.distance)
  const hint = near === undefined ? '' : ` (did you mean ${JSON.stringify(near.other)}?)`
  return new StreamError(
    'config.invalid',
    `default_format: there is no format ${JSON.stringify(name)}${hint}; use "auto" or one of ${known.join(', ')}`,
    { data: { name } },
  )
}

/**
 * Compiles the formats of a pipeline. With a format's name as `defaultFormat` every object has that format; with `auto`,
 * an empty name or none it is chosen for each object. Throws config.invalid if there is no such format, and what the
 * compilers of globs and regexes throw if the configuration did not pass `formatSchema`.
 */
export function createFormats(
  configs: readonly FormatConfig[],
  o: { readonly defaultFormat?: string | undefined } = {},
): Formats {
  const taken = new Set(configs.map(({ name }) => name))
  const candidates = [
    ...configs.map(configuredCandidate),
    ...presets.filter(({ name }) => !taken.has(name)).map(presetCandidate),
  ]
  const list = candidates.map(({ format }) => format)
  const wanted = o.defaultFormat ?? ''

  if (wanted !== '' && wanted !== 'auto') {
    const fixed = candidates.find(({ format }) => format.name === wanted)
    if (fixed === undefined) throw unknownFormat(wanted, [...new Set(list.map(({ name }) => name))])
    return {
      list,
      timeFromKey: fixed.format.timeFromKey,
      select: (_key, sample) => ({ format: fixed.for(() => headOf(sample)), by: 'fixed' }),
    }
  }

  const dated = candidates.filter(({ dated }) => dated).map(({ format }) => format)
  return {
    list,
    timeFromKey(key) {
      for (const format of dated) {
        if (!format.matchesKey(key)) continue
        const ms = format.timeFromKey(key)
        if (ms !== undefined) return ms
      }
      return undefined
    },
    select: (key, sample) => choose(candidates, key, sample),
  }
}

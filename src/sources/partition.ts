/**
 * Dates in folder names. A folder `year=2025/`, `10/` below `2025/`, `dt=2025-10-12/` and the like says that its objects
 * belong to a span of time (UTC), so listing may pass over folders before the window. Names that are no dates say nothing.
 */

/** A calendar span: the first missing part and all below it are open. Months and days count from 1. */
export interface DateParts {
  readonly year?: number
  readonly month?: number
  readonly day?: number
  readonly hour?: number
}

/** The end of the span (exclusive), in ms since the epoch; undefined if not even the year is known. */
export function spanEndMs({ year, month, day, hour }: DateParts): number | undefined {
  if (year === undefined) return undefined
  if (month === undefined) return Date.UTC(year + 1, 0, 1)
  if (day === undefined) return Date.UTC(year, month, 1)
  if (hour === undefined) return Date.UTC(year, month - 1, day + 1)
  return Date.UTC(year, month - 1, day, hour + 1)
}

/** The start of the span, in ms since the epoch; undefined if not even the year is known. */
export function spanStartMs({ year, month = 1, day = 1, hour = 0 }: DateParts): number | undefined {
  return year === undefined ? undefined : Date.UTC(year, month - 1, day, hour)
}

function valid(parts: DateParts): DateParts | undefined {
  const { year = 2000, month = 1, day = 1, hour = 0 } = parts
  if (year < 1990 || year > 2100 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23) return undefined
  // 31 February is no date.
  return new Date(Date.UTC(year, month - 1, day)).getUTCDate() === day ? parts : undefined
}

const key = {
  year: /^(?:year|yyyy|y)=(\d{4})$/i,
  month: /^(?:month|mm|m)=(\d{1,2})$/i,
  day: /^(?:day|dd|d)=(\d{1,2})$/i,
  hour: /^(?:hour|hr|hh|h)=(\d{1,2})$/i,
}
const plain = /^\d{1,2}$/
const compound = /^(?:[A-Za-z_]+=)?(\d{4})-?(\d{2})-?(\d{2})(?:[-T_]?(\d{2}))?$/
const yearMonth = /^(?:[A-Za-z_]+=)?(\d{4})-(\d{2})$/

/**
 * What the folder `name` (no slash) adds to the date that its parents say, or undefined if it is no date folder.
 * Understands Hive keys padded or not, `YYYY/MM/DD/HH`, `YYYY-MM-DD[-HH]`, `YYYYMMDD[HH]`, `YYYY-MM`, with or without `key=`.
 */
export function folderDate(name: string, parent: DateParts): DateParts | undefined {
  const compoundMatch = compound.exec(name)
  if (compoundMatch) {
    const [, year, month, day, hour] = compoundMatch.map(Number) as [number, number, number, number, number]
    return valid({ year, month, day, ...(compoundMatch[4] === undefined ? {} : { hour }) })
  }
  const monthMatch = yearMonth.exec(name)
  if (monthMatch) return valid({ year: Number(monthMatch[1]), month: Number(monthMatch[2]) })
  if (parent.year === undefined) {
    const match = key.year.exec(name) ?? /^((?:19|20)\d\d)$/.exec(name)
    return match ? valid({ year: Number(match[1]) }) : undefined
  }
  const part = parent.month === undefined ? 'month' : parent.day === undefined ? 'day' : 'hour'
  if (parent.hour !== undefined) return undefined
  const match = key[part].exec(name)
  if (match) return valid({ ...parent, [part]: Number(match[1]) })
  return plain.test(name) ? valid({ ...parent, [part]: Number(name) }) : undefined
}

/** One folder level of a template; gives the date of a matching folder, undefined for one that does not match. */
export type TemplateLevel = (name: string, parent: DateParts) => DateParts | undefined

const verbs: Record<string, { readonly part: keyof DateParts; readonly pattern: string }> = {
  yyyy: { part: 'year', pattern: '\\d{4}' },
  MM: { part: 'month', pattern: '\\d{2}' },
  M: { part: 'month', pattern: '\\d{1,2}' },
  dd: { part: 'day', pattern: '\\d{2}' },
  d: { part: 'day', pattern: '\\d{1,2}' },
  HH: { part: 'hour', pattern: '\\d{2}' },
  H: { part: 'hour', pattern: '\\d{1,2}' },
}

/**
 * The levels of a template such as `year={yyyy}/month={M}/day={d}/` or `*\/{yyyy}{MM}{dd}/`; `*` stands for any part of a folder
 * name. Throws an Error that says what is wrong with the template.
 */
export function templateLevels(template: string): TemplateLevel[] {
  const names = template.replace(/^\//, '').replace(/\/$/, '').split('/')
  const seen = new Set<string>()
  return names.map((name) => {
    if (name === '') throw new Error(`partition template ${JSON.stringify(template)} has an empty folder name`)
    const parts: Array<keyof DateParts> = []
    const source = name.replaceAll(/\{([^}]*)\}|\*|[^{*]+|\{/g, (token, verb?: string) => {
      if (token === '*') return '[^/]*'
      if (verb === undefined) return token.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
      const known = verbs[verb]
      if (!known) {
        throw new Error(
          `partition template ${JSON.stringify(template)}: unknown {${verb}}, known are ${Object.keys(verbs)
            .map((v) => `{${v}}`)
            .join(' ')}`,
        )
      }
      if (seen.has(known.part))
        throw new Error(`partition template ${JSON.stringify(template)} has the ${known.part} twice`)
      seen.add(known.part)
      parts.push(known.part)
      return `(${known.pattern})`
    })
    const pattern = new RegExp(`^${source}$`)
    return (folder, parent) => {
      const match = pattern.exec(folder)
      if (!match) return undefined
      const date: Record<string, number> = { ...parent }
      for (const [i, part] of parts.entries()) date[part] = Number(match[i + 1])
      return valid(date)
    }
  })
}

/** Facilities, severities and times: how syslog numbers them, and the words that records use for them. */

/** By number; RFC 5424 6.2.1, names as syslog.conf and rsyslog have them. */
export const facilities = [
  'kern',
  'user',
  'mail',
  'daemon',
  'auth',
  'syslog',
  'lpr',
  'news',
  'uucp',
  'cron',
  'authpriv',
  'ftp',
  'ntp',
  'audit',
  'alert',
  'clock',
  'local0',
  'local1',
  'local2',
  'local3',
  'local4',
  'local5',
  'local6',
  'local7',
] as const

/** By number; RFC 5424 6.2.1. */
export const severities = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const

const words: Readonly<Record<string, number>> = {
  ...Object.fromEntries(severities.map((name, number) => [name, number])),
  emergency: 0,
  panic: 0,
  critical: 2,
  fatal: 2,
  error: 3,
  warn: 4,
  informational: 6,
  information: 6,
  verbose: 7,
  trace: 7,
}

/** Severity of a level as records write it (0 to 7, or a word in any case); undefined if it is none. */
export function severityOf(level: unknown): number | undefined {
  if (typeof level === 'number') return Number.isInteger(level) && level >= 0 && level <= 7 ? level : undefined
  if (typeof level !== 'string') return undefined
  const word = level.trim().toLowerCase()
  if (/^[0-7]$/.test(word)) return Number(word)
  return Object.hasOwn(words, word) ? words[word] : undefined
}

/** The last ms that has a year of four digits, as both formats need it. */
export const lastMs = Date.UTC(10_000, 0, 1) - 1

/**
 * Time in ms since the epoch of what a record has as its time: RFC 3339 (UTC if it has no zone), or a Unix time in s, ms, µs or ns,
 * told apart by size; undefined if it is no time.
 */
export function timeOf(value: unknown): number | undefined {
  if (typeof value === 'number') return fromUnix(value)
  if (typeof value !== 'string') return undefined
  if (/^\d{9,19}(?:\.\d+)?$/.test(value)) return fromUnix(Number(value))
  const match = /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)\s?([Zz]|[+-]\d\d(?::?\d\d)?)?)?$/.exec(
    value,
  )
  if (!match) return undefined
  const [, date, time = '00:00', zone = 'Z'] = match
  const offset = /^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone.replace(/^(...)(\d\d)$/, '$1:$2').toUpperCase()
  return within(Date.parse(`${date}T${time.replace(',', '.')}${offset}`))
}

function fromUnix(value: number): number | undefined {
  // 1e11 s is the year 5138, 1e11 ms is 1973.
  if (value < 1e8) return undefined
  const ms = value < 1e11 ? value * 1000 : value < 1e14 ? value : value < 1e17 ? value / 1000 : value / 1e6
  // A number of ns is known to a quarter of a µs only.
  return within(Math.floor(ms + 0.001))
}

function within(ms: number): number | undefined {
  return ms >= 0 && ms <= lastMs ? ms : undefined
}

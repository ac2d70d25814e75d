/** Figures for people. */

const units = ['B', 'kB', 'MB', 'GB', 'TB']

/** `12.3 MB`: decimal units, as S3 consoles show. */
export function fileSize(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** `6,554` */
export function count(n: number): string {
  return n.toLocaleString('en-US')
}

/** `1 object`, `6,554 objects`, `2 entries`. */
export function counted(n: number, noun: string, nouns = `${noun}s`): string {
  return `${count(n)} ${n === 1 ? noun : nouns}`
}

/** `2025-10-12T21:41:32Z`: to the second. */
export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

/** `0.4 s`, `12 s`, `3m20s`, `5h07m`. */
export function duration(ms: number): string {
  const seconds = Math.max(0, ms) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.round(seconds)} s`
  const minutes = Math.floor(seconds / 60)
  const rest = (n: number) => String(n).padStart(2, '0')
  if (minutes < 60) return `${minutes}m${rest(Math.floor(seconds % 60))}s`
  return `${Math.floor(minutes / 60)}h${rest(minutes % 60)}m`
}

/** In one unit: `3 s`, `5 min`, `2 h`, `4 days`. */
export function roughly(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
}

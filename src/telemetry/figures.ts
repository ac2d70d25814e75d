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

/** `2025-10-12T21:41:32Z`: to the second. */
export function utc(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`
}

/** Value types of the configuration: durations, sizes, secrets. Sizes and times are written with units, as in Go. */
import { inspect } from 'node:util'
import * as z from 'zod'

const unitMs: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

/** Milliseconds of a Go-style duration (`1m30s`, `1.5h`, also `7d`), or undefined if it is none. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  const pattern = /(\d+(?:\.\d+)?|\.\d+)(ns|us|µs|ms|s|m|h|d)/gy
  let total = 0
  let at = 0
  for (let match = pattern.exec(text); match; match = pattern.exec(text)) {
    total += Number(match[1]) * (unitMs[match[2] as string] as number)
    at = pattern.lastIndex
  }
  return at === text.length && at > 0 ? total : undefined
}

const unitBytes: Record<string, number> = {
  '': 1,
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
}

/** Bytes of a size (`1048576`, `8MiB`, `1.5GB`), or undefined if it is none. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]i?B|[KMG]|B|)$/.exec(text.trim())
  if (!match) return undefined
  const bytes = Number(match[1]) * (unitBytes[match[2] as string] as number)
  return Number.isInteger(bytes) ? bytes : Math.round(bytes)
}

/** A duration in the file, milliseconds in the program. */
export const duration = (o: { min?: string; max?: string } = {}) =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const ms = typeof value === 'string' ? parseDuration(value) : value === 0 ? 0 : undefined
      const min = o.min === undefined ? 0 : (parseDuration(o.min) as number)
      const max = o.max === undefined ? Number.POSITIVE_INFINITY : (parseDuration(o.max) as number)
      if (ms === undefined) {
        context.addIssue(
          `${JSON.stringify(value)} is not a duration: write a number with a unit, like "15s", "500ms" or "1m30s"`,
        )
        return z.NEVER
      }
      if (ms < min || ms > max) {
        context.addIssue(
          `${JSON.stringify(value)} is out of range: ${o.max === undefined ? `at least ${o.min}` : `${o.min ?? '0s'} to ${o.max}`}`,
        )
        return z.NEVER
      }
      return ms
    })
    .meta({ kind: 'duration' })

/** A size in the file, bytes in the program. */
export const size = (o: { min?: string; max?: string } = {}) =>
  z
    .union([z.string(), z.number()])
    .transform((value, context) => {
      const bytes = parseSize(String(value))
      const min = o.min === undefined ? 0 : (parseSize(o.min) as number)
      const max = o.max === undefined ? Number.POSITIVE_INFINITY : (parseSize(o.max) as number)
      if (bytes === undefined) {
        context.addIssue(
          `${JSON.stringify(value)} is not a size: write bytes or a number with a unit, like 1048576 or "8MiB"`,
        )
        return z.NEVER
      }
      if (bytes < min || bytes > max) {
        context.addIssue(
          `${JSON.stringify(value)} is out of range: ${o.max === undefined ? `at least ${o.min}` : `${o.min ?? '0'} to ${o.max}`}`,
        )
        return z.NEVER
      }
      return bytes
    })
    .meta({ kind: 'size' })

/** A secret: usable by `reveal()`, invisible to logs, JSON and inspection. */
export class Secret {
  readonly #value: string
  constructor(value: string) {
    this.#value = value
  }
  reveal(): string {
    return this.#value
  }
  toString(): string {
    return '[redacted]'
  }
  toJSON(): string {
    return '[redacted]'
  }
  [inspect.custom](): string {
    return '[redacted]'
  }
}

export const secret = () =>
  z
    .string()
    .transform((value) => new Secret(value))
    .meta({ kind: 'secret' })

/** The log: pino's JSON lines, or the same as text for people. */
import { type Logger, pino } from 'pino'
import { textLine } from './text-line.ts'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly format: 'json' | 'text'
  /** Where lines go. Called synchronously: the last line before an exit is the one that matters. */
  readonly write: (line: string) => void
  /** Only for text. */
  readonly color: boolean
}

export function createLog(o: LogOptions): Logger {
  const options = {
    level: o.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const { color } = o
  return pino(options, { write: o.format === 'json' ? o.write : (line) => o.write(textLine(line, { color })) })
}

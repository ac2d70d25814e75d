/** The log: pino's JSON lines, or the same as text for people. */
import { type Logger, pino } from 'pino'
import type { RepeatLimit } from './log-limit.ts'
import { textLine } from './text-line.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface LogOptions {
  /** This, `format` and `color` are looked at anew for each line: they may change. */
  readonly level: LogLevel
  readonly format: 'json' | 'text'
  /** Only for text. */
  readonly color: boolean
  /** Where lines go. Called synchronously: the last line before an exit is the one that matters. */
  readonly write: (line: string, level: LogLevel, json: string) => void
  /** Whoever shows the text adds the time. */
  readonly isTimed?: boolean
  /** Takes out of a line what nobody may read. */
  readonly hide?: (json: string) => string
  /** Called for each warning and error, written or not. */
  readonly count?: (level: 'warn' | 'error') => void
  /** Holds back warnings and errors that repeat. */
  readonly limit?: RepeatLimit
}

const levels: Readonly<Record<number, LogLevel>> = { 20: 'debug', 30: 'info', 40: 'warn', 50: 'error', 60: 'error' }
const severity: Readonly<Record<LogLevel, number>> = { debug: 20, info: 30, warn: 40, error: 50 }

export function createLog(o: LogOptions): Logger {
  const stream = {
    /** Asks pino to tell the level of each line. */
    [Symbol.for('pino.metadata')]: true,
    lastLevel: severity.info,
    write(entry: string): void {
      const json = o.hide ? o.hide(entry) : entry
      const level = levels[this.lastLevel] ?? 'info'
      const isTimed = o.isTimed ?? true
      o.write(o.format === 'json' ? json : textLine(json, { color: o.color, isTimed }), level, json)
    },
  }
  const isWanted = (level: number) => level >= severity[o.level]
  return pino(
    {
      // Children keep the level they were made with; the one in force is asked for below.
      level: 'debug',
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      hooks: {
        logMethod(args, method, level) {
          if (level < severity.warn) {
            if (isWanted(level)) method.apply(this, args)
            return
          }
          o.count?.(level === severity.warn ? 'warn' : 'error')
          if (!isWanted(level)) return
          const [facts, message] = args as unknown as [object, string]
          const write = (told: object, text: string) => {
            if (isWanted(level)) method.call(this, told, text)
          }
          if (!o.limit) write(facts, message)
          else o.limit.tell({ level, pipeline: this.bindings().pipeline, message, facts, write })
        },
      },
    },
    stream,
  )
}

/** The log: pino's JSON lines, or text for people. */
import { Writable } from 'node:stream'
import { type Logger, pino } from 'pino'
import pretty from 'pino-pretty'

export interface LogOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error'
  readonly format: 'json' | 'text'
  /** Where lines go. Written synchronously: the last line before an exit is the one that matters. */
  readonly write: (line: string) => void
  readonly color: boolean
}

export function createLog(o: LogOptions): Logger {
  const base = { level: o.level, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  const sink = new Writable({
    decodeStrings: false,
    write: (chunk: string | Buffer, _encoding, done) => {
      o.write(String(chunk))
      done()
    },
  })
  if (o.format === 'json') {
    const formatters = { level: (label: string) => ({ level: label }) }
    return pino({ ...base, formatters }, sink)
  }
  const text = pretty({
    colorize: o.color,
    translateTime: 'UTC:yyyy-mm-dd HH:MM:ss.l',
    ignore: 'pid,hostname',
    singleLine: true,
    destination: sink,
    sync: true,
  })
  return pino(base, text)
}

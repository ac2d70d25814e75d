/** Where the log of a run goes, and in what form. */
import type { Logger } from 'pino'
import { Hidden, secretsOf } from '../config/hidden.ts'
import type { LoadedConfig } from '../config/pipeline.ts'
import type { Meter } from '../core/component.ts'
import { isJournal, journalLines } from '../telemetry/journal.ts'
import { createLog, type LogLevel } from '../telemetry/log.ts'
import type { LogConfig } from '../telemetry/log-config.ts'
import { LogFile } from '../telemetry/log-file.ts'
import { RepeatLimit } from '../telemetry/log-limit.ts'
import { logMetrics } from '../telemetry/log-metrics.ts'
import { textLine } from '../telemetry/text-line.ts'
import type { Io } from './io.ts'
import type { Progress } from './progress.ts'

type Listener = (json: string, level: LogLevel) => void

export interface RunLogOptions {
  readonly meter?: Meter
  /** The progress bar makes room for each line. */
  readonly progress?: Progress | undefined
}

/** On standard output, as in the seed, unless records go there, or into a file. */
export class RunLog implements Disposable {
  readonly log: Logger
  readonly #io: Io
  readonly #limit = new RepeatLimit()
  readonly #progress: Progress | undefined
  readonly #listeners = new Set<Listener>()
  #logging: LogConfig
  #takesRecords: boolean
  #file: LogFile | undefined
  #isJournal: boolean
  #hidden: Hidden

  /** Throws config.invalid if its file cannot be written. */
  constructor(loaded: LoadedConfig, io: Io, { meter, progress }: RunLogOptions = {}) {
    this.#io = io
    this.#progress = progress
    this.#logging = loaded.logging
    this.#takesRecords = takesRecords(loaded)
    this.#isJournal = isJournal(io.env, this.#takesRecords ? 2 : 1)
    this.#hidden = new Hidden(secretsOf(loaded))
    this.#file = this.#open(loaded.logging)
    this.log = this.#create(meter)
  }

  #create(meter: Meter | undefined): Logger {
    const counters = meter && {
      warn: meter.bind(logMetrics, { level: 'warn' }).log_messages_total,
      error: meter.bind(logMetrics, { level: 'error' }).log_messages_total,
    }
    const isTimed = () => this.#file !== undefined || !this.#isJournal
    const color = () => !this.#file && (this.#takesRecords ? this.#io.color.stderr : this.#io.color.stdout)
    const logging = () => this.#logging
    return createLog({
      get level() {
        return logging().level
      },
      get format() {
        return logging().format
      },
      get color() {
        return color()
      },
      get isTimed() {
        return isTimed()
      },
      write: (line, level, json) => {
        this.#write(line, level, json)
        for (const listener of this.#listeners) listener(json, level)
      },
      ...(counters && { count: (level) => counters[level].add(1) }),
      limit: this.#limit,
      hide: (json) => this.hide(json),
    })
  }

  /** Text without the secrets of the configuration. */
  hide(text: string): string {
    return this.#hidden.in(text)
  }

  #write(line: string, level: LogLevel, json: string): void {
    if (this.#file) {
      this.#file.write(line)
      // Whoever starts it by hand, or asks systemd why it failed, does not look into the file first.
      if (level === 'error') this.#complain(json, level)
      return
    }
    const text = this.#isJournal ? journalLines(line, level) : line
    this.#show(this.#takesRecords ? this.#io.stderr : this.#io.stdout, text)
  }

  #complain(json: string, level: LogLevel): void {
    const { env, color, stderr } = this.#io
    const isTimed = !isJournal(env, 2)
    const text = textLine(json, { color: color.stderr, isTimed })
    this.#show(stderr, isTimed ? text : journalLines(text, level))
  }

  #show(write: (text: string) => void, text: string): void {
    this.#progress?.clear()
    write(text)
    this.#progress?.restore()
  }

  #open({ file, format }: LogConfig): LogFile | undefined {
    if (!file) return undefined
    const lostLine = (lines: number) => {
      const msg = 'lines of the log were lost: its file could not be written'
      const json = `${JSON.stringify({ level: 'error', time: new Date().toISOString(), lines, msg })}\n`
      return format === 'json' ? json : textLine(json, { color: false })
    }
    return new LogFile({
      path: file.path,
      maxBytes: file.max_size,
      maxFiles: file.max_files,
      complain: (text) => this.#show(this.#io.stderr, text),
      lostLine,
      nowMs: Date.now,
    })
  }

  /** Each line that is written is given to `listener`, too, as JSON; gives what ends that. It must not log. */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** From now on as `loaded` says; the secrets of `former` are kept out as well: what began with it may still go on. Throws config.invalid, and goes on as before, if its file cannot be written. */
  reconfigure(loaded: LoadedConfig, former?: LoadedConfig): void {
    const file = this.#open(loaded.logging)
    this.#file?.[Symbol.dispose]()
    this.#file = file
    this.#hidden = new Hidden([...secretsOf(loaded), ...secretsOf(former)])
    this.#logging = loaded.logging
    this.#takesRecords = takesRecords(loaded)
    this.#isJournal = isJournal(this.#io.env, this.#takesRecords ? 2 : 1)
  }

  /** Tells what is held back, and closes the file. */
  [Symbol.dispose](): void {
    this.#limit.flush()
    this.#limit[Symbol.dispose]()
    this.#file?.[Symbol.dispose]()
    this.#file = undefined
  }
}

function takesRecords(loaded: LoadedConfig): boolean {
  return loaded.pipelines.some(({ sink }) => sink.type === 'stdout')
}

/** The log of a command that answers on standard output: only what someone should know, on standard error. */
export function createCommandLog(io: Io): Logger {
  return createLog({ level: 'warn', format: 'text', color: io.color.stderr, write: io.stderr })
}

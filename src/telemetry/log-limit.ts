/**
 * Warnings and errors that repeat: the first few of a text in a minute are written, then one line at the end of the minute says
 * how many more there were. An outage is worth a few lines a minute, not a disk full of them.
 *
 * 1. What is held back is counted and told, at the latest by `flush`.
 * 2. At most `maxTexts` texts are told apart; beyond them all others are as one.
 */
import { count } from './figures.ts'

/** So many of a text are written in a minute. */
const written = 5
const minuteMs = 60_000
const maxTexts = 1000

export interface LogMessage {
  readonly level: number
  readonly pipeline: unknown
  readonly message: string
  readonly facts: object
  /** Writes an entry as the logger that was given this one would. */
  readonly write: (facts: object, message: string) => void
}

interface Repeated {
  told: number
  /** The last one that was held back. */
  last: LogMessage | undefined
}

export class RepeatLimit implements Disposable {
  readonly #texts = new Map<string, Repeated>()
  #timer: NodeJS.Timeout | undefined

  /** Writes the entry, or holds it back. */
  tell(entry: LogMessage): void {
    const text = this.#textOf(entry)
    text.told += 1
    if (text.told > written) text.last = entry
    else entry.write(entry.facts, entry.message)
    this.#timer ??= setInterval(() => this.flush(), minuteMs).unref()
  }

  /** What differs between entries of one text is in the facts. */
  #textOf({ level, pipeline, message }: LogMessage): Repeated {
    const id = `${level} ${pipeline ?? ''} ${message}`
    const known = this.#texts.get(id)
    if (known) return known
    const key = this.#texts.size < maxTexts ? id : `${level}`
    const text = this.#texts.get(key) ?? { told: 0, last: undefined }
    this.#texts.set(key, text)
    return text
  }

  /** Tells what is held back; a new minute begins. */
  flush(): void {
    const ended = [...this.#texts.values()]
    this.#texts.clear()
    if (ended.length === 0) this[Symbol.dispose]()
    for (const { told, last } of ended) {
      if (!last) continue
      const repeated = told - written
      const times = repeated === 1 ? 'once' : `${count(repeated)} times`
      last.write(
        { ...last.facts, repeated },
        `${last.message} (repeated ${times} in the last minute; this is the last)`,
      )
    }
  }

  /** No timer is left; what is held back is lost unless `flush` was called before. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer)
    this.#timer = undefined
    this.#texts.clear()
  }
}

/**
 * The log in a file that is rotated by size. Written synchronously, which no rotating stream does: the last line before an exit
 * is the one that matters.
 *
 *   log ──full──▶ log.1 ──▶ log.2 ──▶ … ──▶ log.N ──▶ gone
 *
 * 1. Nothing here throws after the start: a disk that is full stops the log, not the delivery. It is told once, and what was lost is counted.
 * 2. A file that was moved or removed by someone else (logrotate) is noticed within a second, and begun anew.
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname } from 'node:path'
import { explainError, StreamError } from '../core/errors.ts'

/** How often it is looked whether the file is still where it was, and whether a file that failed can be opened. */
const lookMs = 1000

export interface LogFileOptions {
  readonly path: string
  readonly maxBytes: number
  /** How many rotated files are kept. */
  readonly maxFiles: number
  /** Where it is told that the file cannot be written. */
  readonly complain: (text: string) => void
  /** The line that says how many were lost. */
  readonly lostLine: (lines: number) => string
  readonly nowMs: () => number
}

export class LogFile implements Disposable {
  readonly #o: LogFileOptions
  #fd: number | undefined
  #bytes = 0
  /** Rotated when it would be larger: more than `maxBytes` after a rotation failed. */
  #limit: number
  #lookedMs: number
  #lost = 0
  /** A line was cut off by an error. */
  #isTorn = false

  /** Throws config.invalid if the file cannot be written. */
  constructor(o: LogFileOptions) {
    this.#o = o
    this.#limit = o.maxBytes
    this.#lookedMs = o.nowMs()
    try {
      mkdirSync(dirname(o.path), { recursive: true, mode: 0o755 })
      this.#open()
    } catch (error) {
      const hint =
        'it must be a file in a folder that this user may write to; without logging.file the log is on standard output'
      throw new StreamError(
        'config.invalid',
        `cannot write the log ${o.path} (logging.file.path): ${explainError(error)} (${hint})`,
      )
    }
  }

  #open(): void {
    const { path } = this.#o
    // A pipe would wait for someone who reads it.
    const there = statSync(path, { throwIfNoEntry: false })
    if (there && !there.isFile()) throw new Error(`it is ${there.isDirectory() ? 'a folder' : 'no regular file'}`)
    this.#fd = openSync(path, 'a', 0o640)
    this.#bytes = fstatSync(this.#fd).size
    this.#limit = this.#o.maxBytes
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  write(line: string): void {
    try {
      this.#look()
      const bytes = Buffer.byteLength(line)
      if (this.#bytes > 0 && this.#bytes + bytes > this.#limit) this.#rotate(bytes)
      if (this.#lost > 0) this.#append(`${this.#isTorn ? '\n' : ''}${this.#o.lostLine(this.#lost)}`)
      else if (this.#isTorn) this.#append('\n')
      this.#isTorn = false
      this.#lost = 0
      this.#append(line)
    } catch (error) {
      if (this.#lost === 0) {
        const { path, complain } = this.#o
        complain(
          `cannot write the log ${path}: ${explainError(error)} (is the disk full? delivery goes on, what is not logged is counted)\n`,
        )
      }
      this.#lost += 1
    }
  }

  #append(text: string): void {
    if (this.#fd === undefined) throw new Error('it could not be opened')
    const bytes = Buffer.from(text)
    for (let done = 0; done < bytes.length; ) {
      const n = writeSync(this.#fd, bytes, done)
      done += n
      this.#bytes += n
      this.#isTorn = done < bytes.length
    }
  }

  #look(): void {
    const now = this.#o.nowMs()
    if (Math.abs(now - this.#lookedMs) < lookMs) return
    this.#lookedMs = now
    this.reopen()
  }

  /** Begins the file anew if it is not where it was. Throws if it cannot be opened. */
  reopen(): void {
    if (this.#fd !== undefined && isSame(fstatSync(this.#fd), statSync(this.#o.path, { throwIfNoEntry: false }))) return
    this.#close()
    this.#open()
  }

  #rotate(bytes: number): void {
    const { path, maxBytes, maxFiles, complain } = this.#o
    // Another process may have rotated it, or someone emptied it.
    this.reopen()
    this.#bytes = this.#fd === undefined ? 0 : fstatSync(this.#fd).size
    if (this.#bytes === 0 || this.#bytes + bytes <= maxBytes) return
    try {
      // Those that a larger max_files left, too.
      for (let n = maxFiles; existsSync(`${path}.${n}`); n += 1) rmSync(`${path}.${n}`)
      for (let n = maxFiles - 1; n >= 1; n -= 1)
        if (existsSync(`${path}.${n}`)) renameSync(`${path}.${n}`, `${path}.${n + 1}`)
      renameSync(path, `${path}.1`)
    } catch (error) {
      this.#limit = this.#bytes + maxBytes
      complain(`cannot rotate the log ${path}: ${explainError(error)} (it grows on; its folder must be writable)\n`)
      return
    }
    this.#close()
    this.#open()
  }

  [Symbol.dispose](): void {
    this.#close()
  }
}

function isSame(a: Stats, b: Stats | undefined): boolean {
  return b !== undefined && a.ino === b.ino && a.dev === b.dev
}

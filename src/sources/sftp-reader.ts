/**
 * Reads a run of bytes of one file with many requests under way at once, each straight into its place in the caller's buffer.
 *
 * A reading outlives the session it runs on: what was not answered is asked again on the next one. `run` never returns while an
 * answer may still be written into the buffer: it waits for the answers, and breaks the session if they do not come.
 *
 * Servers differ (https://github.com/rclone/rclone/issues/6404, https://github.com/mscdex/ssh2/issues/1078):
 *   - an answer may be shorter than asked for: the rest is asked for again; a server that always gives so much is asked for so much;
 *   - a request may fail because it asks for too much, or because another one is under way: it is asked again alone, then for less,
 *     and what helped is remembered for all sessions of the store.
 */
import type { Log, Signal } from '../core/component.ts'
import type { StreamError } from '../core/errors.ts'
import { reclaim } from '../core/reclaim.ts'
import { interrupted, sftpStatus, statusError, statusOf } from './sftp-errors.ts'
import type { SftpSession } from './sftp-session.ts'

/** How long answers that nobody wants any more may take before the session is broken to be rid of them. */
const graceMs = 500
/** What every server must be able to answer with. */
const modestBytes = 32 * 1024
/** So many reads that fail beside others and work alone, one after the other, mean that the server cannot do it. */
const aloneBeforeSerial = 3

/** What was learnt about the reads of a server. */
export class ReadHabits {
  readonly requests: number
  readonly #log: Log
  readonly #place: string
  #maxBytes = Number.POSITIVE_INFINITY
  #isSerial = false
  #shortBytes = 0
  #workedAlone = 0

  constructor(o: { requests: number; log: Log; place: string }) {
    this.requests = o.requests
    this.#log = o.log
    this.#place = o.place
  }

  get isSerial(): boolean {
    return this.#isSerial
  }

  bytesFor(session: SftpSession): number {
    return Math.min(session.readBytes, this.#maxBytes)
  }

  /** A read that failed beside others was answered when it was asked alone. Once may be an accident. */
  workedAlone(): void {
    this.#workedAlone += 1
    if (this.#isSerial || this.#workedAlone < aloneBeforeSerial) return
    this.#isSerial = true
    this.#log.warn(
      { place: this.#place },
      'the SFTP server fails reads that are under way at once: reading one at a time',
    )
  }

  /** Several reads were answered that were under way at once. */
  workedTogether(): void {
    this.#workedAlone = 0
  }

  needsAtMost(bytes: number): void {
    if (bytes >= this.#maxBytes) return
    this.#maxBytes = bytes
    this.#log.info(
      { place: this.#place, bytes },
      'the SFTP server answers smaller reads only: reading so much at a time',
    )
  }

  /** An answer in the middle of the file was shorter than asked for; the second of one length is no accident. */
  wasShort(bytes: number): void {
    if (bytes === this.#shortBytes && bytes >= 4096) this.needsAtMost(bytes)
    this.#shortBytes = bytes
  }
}

interface Range {
  readonly at: number
  readonly length: number
  /** Set if this is the rest of an answer that had only so many bytes. */
  readonly after?: number
}

export class Reading {
  readonly #path: string
  readonly #offset: number
  readonly #into: Buffer
  readonly #habits: ReadHabits
  /** Where asking goes on; everything before was asked for. */
  #next = 0
  /** How much there is to read; less than the buffer when the file turns out to end before. */
  #end: number
  /** To be asked again; never more than there were requests under way. */
  readonly #again: Range[] = []
  /** The server refused to answer these. */
  readonly #refused: Range[] = []
  /** How it refused the last one. */
  #refusal: unknown
  #filled = 0

  constructor(path: string, offset: number, into: Buffer, habits: ReadHabits) {
    this.#path = path
    this.#offset = offset
    this.#into = into
    this.#end = into.length
    this.#habits = habits
  }

  /** Bytes that are in the buffer so far, in any order; for seeing whether there is progress. */
  get filled(): number {
    return this.#filled
  }

  /** Reads what is missing. Gives the bytes from the start of the buffer on: fewer than it has only if the file ends there. */
  async run(session: SftpSession, handle: Buffer, o: Signal): Promise<number> {
    const { requests } = this.#habits
    while (this.#refused.length > 0 || this.#again.length > 0 || this.#next < this.#end) {
      const refused = this.#refused.shift()
      if (refused !== undefined || this.#habits.isSerial) {
        const range = refused ?? this.#take(this.#habits.bytesFor(session))
        if (range !== undefined) await this.#alone(range, refused !== undefined, session, handle, o)
      } else if (session.gate.isOpen) {
        const next = () => (session.gate.isOpen ? this.#take(this.#habits.bytesFor(session)) : undefined)
        await this.#burst(next, requests, session, handle, o)
      } else await session.gate.opened(o)
    }
    return this.#end
  }

  #take(bytes: number): Range | undefined {
    for (let range = this.#again.pop(); range; range = this.#again.pop()) {
      if (range.at >= this.#end) continue
      if (range.length <= bytes) return range
      this.#again.push({ at: range.at + bytes, length: range.length - bytes })
      return { ...range, length: bytes }
    }
    if (this.#next >= this.#end) return undefined
    const range = { at: this.#next, length: Math.min(bytes, this.#end - this.#next) }
    this.#next += range.length
    return range
  }

  /** Asks for one range while no other read is under way on the session; for less of it if that fails too. */
  async #alone(range: Range, wasRefused: boolean, session: SftpSession, handle: Buffer, o: Signal): Promise<void> {
    let hasBegun = false
    try {
      await session.gate.alone(async () => {
        hasBegun = true
        if (await this.#answers(range, session, handle, o)) {
          if (wasRefused) this.#habits.workedAlone()
          return
        }
        const { at, length } = range
        const less = { at, length: Math.min(length, modestBytes) }
        if (less.length < length) {
          this.#again.push({ at: at + less.length, length: length - less.length })
          if (await this.#answers(less, session, handle, o)) {
            this.#habits.needsAtMost(modestBytes)
            return
          }
        }
        this.#again.push(less)
        throw statusError(this.#refusal, this.#what(less))
      }, o)
    } finally {
      if (!hasBegun) this.#again.push(range)
    }
  }

  /** Asks for one range; false if the server refused. */
  async #answers(range: Range, session: SftpSession, handle: Buffer, o: Signal): Promise<boolean> {
    const others = this.#refused.length
    let isSent = false
    const next = () => {
      if (isSent) return undefined
      isSent = true
      return range
    }
    try {
      await this.#burst(next, 1, session, handle, o)
    } finally {
      if (!isSent) this.#again.push(range)
    }
    if (this.#refused.length === others) return true
    this.#refused.pop()
    return false
  }

  /** Keeps `requests` requests under way until there is no next one or one failed, then waits for the answers to all of them. */
  #burst(
    next: () => Range | undefined,
    requests: number,
    session: SftpSession,
    handle: Buffer,
    { signal }: Signal,
  ): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      let inFlight = 0
      let most = 0
      let failure: StreamError | undefined
      let grace: NodeJS.Timeout | undefined
      const refusedBefore = this.#refused.length
      const isRefused = () => this.#refused.length > refusedBefore
      const finish = () => {
        signal.removeEventListener('abort', onAbort)
        clearTimeout(grace)
        if (failure !== undefined) reject(failure)
        else {
          if (most > 1 && !isRefused()) this.#habits.workedTogether()
          resolve()
        }
      }
      const send = (range: Range) => {
        inFlight += 1
        most = Math.max(most, inFlight)
        session.gate.enter()
        session.read(handle, this.#into, range.at, range.length, this.#offset + range.at, (error, bytes) => {
          inFlight -= 1
          session.gate.leave()
          if (!error) this.#took(range, bytes)
          else if (isRefusal(error)) {
            this.#refused.push(range)
            this.#refusal = error
          } else {
            this.#again.push({ at: range.at, length: range.length })
            failure ??= statusError(error, this.#what(range))
          }
          pump()
        })
      }
      const pump = () => {
        while (failure === undefined && !isRefused() && inFlight < requests) {
          const range = next()
          if (range === undefined) break
          send(range)
        }
        if (inFlight === 0) finish()
      }
      const onAbort = () => {
        failure ??= interrupted(`reading ${this.#path}`, signal)
        if (inFlight === 0) finish()
        else grace ??= setTimeout(() => session.giveUp('answers to a read that was stopped did not come'), graceMs)
      }
      signal.addEventListener('abort', onAbort)
      failure = session.failure ?? (signal.aborted ? interrupted(`reading ${this.#path}`, signal) : undefined)
      pump()
    })
  }

  /** An answer with that many bytes. */
  #took(range: Range, bytes: number): void {
    if (bytes === 0) {
      this.#end = Math.min(this.#end, range.at)
      return
    }
    this.#filled += bytes
    reclaim(bytes)
    if (range.after !== undefined) this.#habits.wasShort(range.after)
    if (bytes < range.length) {
      this.#again.push({ at: range.at + bytes, length: range.length - bytes, after: bytes })
    }
  }

  #what({ at, length }: Range): string {
    return `read ${length} bytes at ${this.#offset + at} of ${this.#path}`
  }
}

/** True for an answer that may mean: not so many bytes, or not now. */
function isRefusal(error: unknown): boolean {
  const status = statusOf(error)
  return status !== undefined && (status === sftpStatus.failure || status === sftpStatus.badMessage)
}

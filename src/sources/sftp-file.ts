/** A file on an SFTP server that is open for reading: one handle on each session that reads it, made when it is needed. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Stats } from 'ssh2'
import { backoffMs } from '../core/backoff.ts'
import type { RetryWaits, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { untilAborted } from '../core/until-aborted.ts'
import type { ExpectedFile, FileFacts, OpenFile } from './file-store.ts'
import { interrupted, statusError, statusOf } from './sftp-errors.ts'
import { factsOf } from './sftp-facts.ts'
import { type ReadHabits, Reading } from './sftp-reader.ts'
import type { SftpSession } from './sftp-session.ts'
import type { SftpSessions } from './sftp-sessions.ts'

/** How often reading goes on after a failure before which not a byte came. */
const attemptsWithoutProgress = 4
const readWaits: RetryWaits = { minMs: 100, maxMs: 2000 }
/** A read of so few bytes takes a session that has the file open already. */
const smallBytes = 256 * 1024
/** How long the server may take to close the handles before we go on without its answers. */
const closeMs = 2000
/** Without one Node makes an error with a stack for each file that is closed. */
const closedReason = new Error('the file is closed')

interface Handle {
  readonly session: SftpSession
  readonly id: Buffer
}

export class SftpFile implements OpenFile {
  readonly #path: string
  readonly #sessions: SftpSessions
  readonly #habits: ReadHabits
  readonly #handles = new Map<SftpSession, Promise<Handle>>()
  /** What was listed, or opened first; whatever is opened under the name later must be the same. */
  #first: ExpectedFile | undefined
  #wasOpen = false
  readonly #closed = new AbortController()

  constructor(path: string, expected: ExpectedFile | undefined, sessions: SftpSessions, habits: ReadHabits) {
    this.#path = path
    this.#first = expected
    this.#sessions = sessions
    this.#habits = habits
  }

  /** Opens it on some session, so that it is known whether it can be. */
  async open(o: Signal): Promise<void> {
    await this.#sessions.ask((session) => this.#handle(session, o), o)
  }

  async stat(o: Signal): Promise<FileFacts> {
    for (let attempt = 1; ; attempt += 1) {
      const session = await this.#sessions.acquire({ has: this.#has, isSmall: true }, o)
      try {
        const { id } = await this.#handle(session, o)
        return await factsOfHandle(session, id, o)
      } catch (error) {
        if (!session.isBroken || o.signal.aborted || attempt === attemptsWithoutProgress) {
          throw statusError(error, `stat the open file ${this.#path}`)
        }
      } finally {
        this.#sessions.release(session)
      }
    }
  }

  async read(offset: number, into: Buffer, o: Signal): Promise<number> {
    if (into.length === 0) return 0
    const reading = new Reading(this.#path, offset, into, this.#habits)
    const wish = { has: this.#has, isSmall: into.length <= smallBytes }
    for (let failures = 0; ; ) {
      const session = await this.#sessions.acquire(wish, o)
      const filled = reading.filled
      let handle: Handle | undefined
      try {
        handle = await this.#handle(session, o)
        return await reading.run(session, handle.id, o)
      } catch (error) {
        const mayPass = error instanceof StreamError && error.code === 'source.unavailable'
        if (o.signal.aborted || !mayPass) throw error
        failures = reading.filled > filled ? 1 : failures + 1
        if (failures === attemptsWithoutProgress) throw error
        // The handle may be what is wrong: the server forgot it, or the disk behind it went away and came back.
        if (handle !== undefined && statusOf(error) !== undefined) this.#drop(handle)
      } finally {
        this.#sessions.release(session)
      }
      await pause(backoffMs(readWaits, failures), this.#path, o)
    }
  }

  readonly #has = (session: SftpSession) => this.#handles.has(session)

  /** The handle on that session; callers at the same time share one, and none of them ends the opening for the others. */
  async #handle(session: SftpSession, o: Signal): Promise<Handle> {
    let opening = this.#handles.get(session)
    if (opening === undefined) {
      for (const one of this.#handles.keys()) if (one.isBroken) this.#handles.delete(one)
      const begun = this.#open(session)
      opening = begun
      this.#handles.set(session, begun)
      begun.catch(() => {
        if (this.#handles.get(session) === begun) this.#handles.delete(session)
      })
    }
    try {
      return await untilAborted(opening, o.signal)
    } catch (error) {
      throw o.signal.aborted ? interrupted(`reading ${this.#path}`, o.signal) : error
    }
  }

  async #open(session: SftpSession): Promise<Handle> {
    const { signal } = this.#closed
    const give = (id: Buffer) => void session.closeHandle(id).catch(() => {})
    let id: Buffer
    try {
      id = await session.request<Buffer>((sftp, answer) => sftp.open(this.#path, 'r', answer), { signal }, give)
    } catch (error) {
      throw statusError(error, `open ${this.#path}`)
    }
    // Whether the first one is what was expected shows after its last byte.
    const isExpected = this.#first !== undefined && !this.#wasOpen
    this.#wasOpen = true
    if (isExpected) return { session, id }
    const checked = this.#check(session, id)
    // The first one is not waited for: the reads may follow at once.
    if (this.#first === undefined) void checked.catch(() => {})
    else {
      try {
        await checked
      } catch (error) {
        give(id)
        throw error
      }
    }
    return { session, id }
  }

  /** Throws source.replaced if it is not what was opened first. A server that cannot tell is believed; the end of the copy shows it. */
  async #check(session: SftpSession, id: Buffer): Promise<void> {
    const first = this.#first
    let facts: FileFacts
    try {
      facts = await factsOfHandle(session, id, this.#closed)
    } catch (error) {
      if (session.failure) throw error
      return
    }
    if (first === undefined) this.#first ??= facts
    else if (facts.size !== first.size || facts.modifiedMs !== first.modifiedMs) {
      throw new StreamError(
        'source.replaced',
        `cannot go on reading ${this.#path}: it is another file now, of ${facts.size} bytes (it had ${first.size})`,
        { data: { path: this.#path, size: facts.size, previousSize: first.size } },
      )
    }
  }

  #drop(handle: Handle): void {
    const { session, id } = handle
    const opening = this.#handles.get(session)
    const give = (current: Handle) => {
      if (current !== handle || this.#handles.get(session) !== opening) return
      this.#handles.delete(session)
      session.closeHandle(id).catch(() => {})
    }
    // Another reading may be opening it anew already, and hears itself what becomes of that.
    opening?.then(give, () => {})
  }

  /** Gives the handles back. Nothing may be read any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    const handles = [...this.#handles.values()]
    this.#handles.clear()
    this.#closed.abort(closedReason)
    if (handles.length === 0) return
    const closed = Promise.allSettled(
      handles.map(async (opening) => {
        const { session, id } = await opening
        await session.closeHandle(id)
      }),
    )
    await new Promise<void>((resolve) => {
      // What hangs is given back with its session.
      const late = setTimeout(resolve, closeMs)
      void closed.then(() => {
        clearTimeout(late)
        resolve()
      })
    })
  }
}

async function factsOfHandle(session: SftpSession, id: Buffer, o: Signal): Promise<FileFacts> {
  return factsOf(await session.request<Stats>((sftp, answer) => sftp.fstat(id, answer), o))
}

async function pause(ms: number, path: string, o: Signal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: o.signal })
  } catch {
    throw interrupted(`reading ${path}`, o.signal)
  }
}

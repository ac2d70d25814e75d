/** The files of an SFTP server. What a lost connection left without an answer is asked again here, where that is safe. */
import type { FileEntryWithStats, SFTPWrapper, Stats } from 'ssh2'
import type { Context, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { ExpectedFile, FileEntry, FileFacts, FileStore, OpenFile } from './file-store.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'
import { saysMissing, sftpStatus, statusError, statusOf } from './sftp-errors.ts'
import { entryOf, factsOf } from './sftp-facts.ts'
import { SftpFile } from './sftp-file.ts'
import { ReadHabits } from './sftp-reader.ts'
import type { Answer, SftpSession } from './sftp-session.ts'
import { SftpSessions } from './sftp-sessions.ts'

/**
 * Connects when it is first asked for something; `used` is told how that went, each time. Throws config.invalid for what the
 * schema cannot see.
 */
export function createSftpStore(
  config: SftpConfig,
  context: Pick<Context, 'log' | 'meter'>,
  used: (error?: unknown) => void = () => undefined,
): SftpStore {
  if (config.private_key_file !== undefined && config.private_key !== undefined) {
    throw new StreamError('config.invalid', 'private_key_file and private_key are both set: use one of them')
  }
  const hasKey = config.private_key_file !== undefined || config.private_key !== undefined
  if (!hasKey && config.password === undefined && config.agent === false) {
    throw new StreamError('config.invalid', 'there is nothing to log in with: set password, private_key_file or agent')
  }
  return new SftpStore(config, context, used)
}

export class SftpStore implements FileStore {
  readonly place: string
  readonly #sessions: SftpSessions
  readonly #habits: ReadHabits

  constructor(config: SftpConfig, context: Pick<Context, 'log' | 'meter'>, used: (error?: unknown) => void) {
    this.place = sftpPlace(config)
    this.#sessions = new SftpSessions(config, context, used)
    const { log } = context
    this.#habits = new ReadHabits({ requests: config.read_requests, log, place: this.place })
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sessions.count
  }

  async resolve(path: string, o: Signal): Promise<string> {
    try {
      return await this.#ask<string>((sftp, answer) => sftp.realpath(path, answer), o)
    } catch (error) {
      throw saysMissing(error) ? this.#noFolder(path, error) : statusError(error, `resolve ${path} at ${this.place}`)
    }
  }

  async *list(folder: string, o: Signal): AsyncGenerator<readonly FileEntry[]> {
    const given = new Set<string>()
    for (let attempt = 1; ; attempt += 1) {
      const session = await this.#sessions.acquire(undefined, o)
      try {
        for await (const page of this.#pages(session, folder, o)) {
          const entries = page.filter(({ name }) => !given.has(name))
          for (const { name } of entries) given.add(name)
          if (entries.length > 0) yield entries
        }
        return
      } catch (error) {
        // Listing begins anew on another connection; what was given is not given again.
        if (session.isBroken && !o.signal.aborted && attempt < listAttempts) continue
        throw saysMissing(error) ? this.#noFolder(folder, error) : statusError(error, `list ${folder} at ${this.place}`)
      } finally {
        this.#sessions.release(session)
      }
    }
  }

  async stat(path: string, o: Signal): Promise<FileFacts | undefined> {
    try {
      return factsOf(await this.#ask<Stats>((sftp, answer) => sftp.stat(path, answer), o))
    } catch (error) {
      if (saysMissing(error)) return undefined
      throw statusError(error, `stat ${path} at ${this.place}`)
    }
  }

  async open(path: string, o: Signal & { readonly expected?: ExpectedFile }): Promise<OpenFile> {
    const file = new SftpFile(path, o.expected, this.#sessions, this.#habits)
    try {
      await file.open(o)
    } catch (error) {
      await file[Symbol.asyncDispose]()
      throw error
    }
    return file
  }

  async remove(path: string, o: Signal): Promise<void> {
    try {
      await this.#ask<void>((sftp, answer) => sftp.unlink(path, (error) => answer(error, undefined)), o)
    } catch (error) {
      if (!saysMissing(error)) throw statusError(error, `remove ${path} at ${this.place}`)
    }
  }

  async move(from: string, to: string, o: Signal): Promise<boolean> {
    // The protocol forbids RENAME to overwrite, but servers do it.
    if (await this.#exists(to, o)) return false
    let mayHaveMoved = false
    try {
      await this.#sessions.ask(async (session) => {
        if (mayHaveMoved && !(await this.#exists(from, o)) && (await this.#exists(to, o))) return
        mayHaveMoved = true
        await session.request<void>((sftp, answer) => sftp.rename(from, to, (error) => answer(error, undefined)), o)
      }, o)
      return true
    } catch (error) {
      const what = `move ${from} to ${to} at ${this.place}`
      if (statusOf(error) === undefined || !(await this.#exists(from, o))) throw statusError(error, what)
      if (await this.#exists(to, o)) return false
      if (!saysMissing(error)) throw statusError(error, what)
      throw new StreamError('source.access', `cannot ${what}: there is no folder for it (make it)`, { cause: error })
    }
  }

  async makeFolder(path: string, o: Signal): Promise<void> {
    const facts = await this.stat(path, o)
    if (facts?.kind === 'folder') return
    if (facts !== undefined) throw this.#notFolder(path)
    const above = path.replace(/\/+[^/]*\/*$/, '')
    if (above !== '' && above !== path) await this.makeFolder(above, o)
    try {
      await this.#ask<void>((sftp, answer) => sftp.mkdir(path, (error) => answer(error, undefined)), o)
    } catch (error) {
      // Somebody else may have made it, or we did and the answer was lost.
      const now = statusOf(error) === undefined ? undefined : await this.stat(path, o)
      if (now?.kind === 'folder') return
      if (now !== undefined) throw this.#notFolder(path)
      throw statusError(error, `make the folder ${path} at ${this.place}`)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sessions[Symbol.asyncDispose]()
  }

  async #ask<T>(send: (sftp: SFTPWrapper, answer: Answer<T>) => void, o: Signal): Promise<T> {
    return await this.#sessions.ask((session) => session.request(send, o), o)
  }

  /** The name itself, also if it is a link to nothing. */
  async #exists(path: string, o: Signal): Promise<boolean> {
    try {
      await this.#ask<Stats>((sftp, answer) => sftp.lstat(path, answer), o)
      return true
    } catch (error) {
      if (saysMissing(error)) return false
      throw statusError(error, `stat ${path} at ${this.place}`)
    }
  }

  async *#pages(session: SftpSession, folder: string, o: Signal): AsyncGenerator<readonly FileEntry[]> {
    const close = (handle: Buffer) => void session.closeHandle(handle).catch(() => {})
    const handle = await session.request<Buffer>((sftp, answer) => sftp.opendir(folder, answer), o, close)
    try {
      for (;;) {
        const names = await page(session, handle, o)
        if (names === undefined) return
        yield await Promise.all(names.map(async (name) => entryOf(name) ?? (await this.#lookUp(folder, name, o))))
      }
    } finally {
      close(handle)
    }
  }

  /** For servers whose lists do not tell size, time or kind. What went away meanwhile has no size. */
  async #lookUp(folder: string, { filename, longname, attrs }: FileEntryWithStats, o: Signal): Promise<FileEntry> {
    const path = `${folder === '/' ? '' : folder}/${filename}`
    try {
      const told = await this.#ask<Stats>((sftp, answer) => sftp.lstat(path, answer), o)
      return { name: filename, ...factsOf(told, longname) }
    } catch (error) {
      if (saysMissing(error)) return { name: filename, ...factsOf(attrs, longname) }
      throw error
    }
  }

  #noFolder(path: string, cause: unknown): StreamError {
    return new StreamError(
      'source.access',
      `cannot find ${path} at ${this.place}: there is no such folder (check \`path\`; many servers show a user only a part of their disk)`,
      { cause, data: { path, status: statusOf(cause) } },
    )
  }

  #notFolder(path: string): StreamError {
    return new StreamError(
      'source.access',
      `cannot make the folder ${path} at ${this.place}: there is something else of that name (rename it, or choose another folder)`,
      { data: { path } },
    )
  }
}

/** How often listing a folder is begun when connections break. */
const listAttempts = 4

/** The next entries of an open folder, without `.` and `..`; undefined at the end. */
async function page(
  session: SftpSession,
  handle: Buffer,
  o: Signal,
): Promise<readonly FileEntryWithStats[] | undefined> {
  try {
    return await session.request<FileEntryWithStats[]>((sftp, answer) => sftp.readdir(handle, answer), o)
  } catch (error) {
    if (statusOf(error) === sftpStatus.eof) return undefined
    throw error
  }
}

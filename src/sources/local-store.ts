/** Files of this machine. */
import { constants, type Stats } from 'node:fs'
import {
  copyFile,
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  opendir,
  realpath,
  rename,
  rm,
  stat,
  utimes,
} from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { untilAborted } from '../core/until-aborted.ts'
import type { FileEntry, FileFacts, FileStore, OpenFile } from './file-store.ts'

/** Entries of a folder that are asked for at once. */
const listedAtOnce = 64

export class LocalStore implements FileStore {
  readonly place = 'file://'

  async resolve(path: string, o: Signal): Promise<string> {
    return await attempt('find', resolve(path), o, () => realpath(resolve(path)), 'folder')
  }

  async *list(folder: string, o: Signal): AsyncGenerator<readonly FileEntry[], void, undefined> {
    const opening = opendir(folder, { bufferSize: listedAtOnce })
    // A file system that hangs, hangs when it is closed too: nobody waits for it.
    const close = () => void opening.then((entries) => entries.close()).catch(() => undefined)
    try {
      const entries = await attempt('list', folder, o, () => opening, 'folder')
      for (let isOver = false; !isOver; ) {
        const names: string[] = []
        while (names.length < listedAtOnce && !isOver) {
          const entry = await attempt('list', folder, o, () => entries.read(), 'folder')
          if (entry) names.push(entry.name)
          else isOver = true
        }
        const facts = await attempt('list', folder, o, () => Promise.all(names.map((name) => entryOf(folder, name))))
        yield facts.filter((one) => one !== undefined)
      }
    } finally {
      close()
    }
  }

  async stat(path: string, o: Signal): Promise<FileFacts | undefined> {
    return await attempt('look at', path, o, async () => {
      try {
        return factsOf(await stat(path))
      } catch (error) {
        // A link that points to itself points to nothing.
        if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(codeOf(error))) return undefined
        throw error
      }
    })
  }

  async open(path: string, o: Signal): Promise<OpenFile> {
    const opening = this.#open(path)
    return await untilAborted(opening, o.signal).catch((error: unknown) => {
      void opening.then((file) => file[Symbol.asyncDispose]()).catch(() => undefined)
      throw error
    })
  }

  async #open(path: string): Promise<OpenFile> {
    try {
      // Without O_NONBLOCK, opening a pipe that took the place of the file would wait for its writer for ever.
      const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
      const facts = await handle.stat()
      if (facts.isFile()) return new LocalFile(handle, path)
      await handle.close()
    } catch (error) {
      throw localError(error, 'open', path)
    }
    throw new StreamError('source.vanished', `cannot open ${path}: it is no file any more`, { data: { path } })
  }

  async remove(path: string, o: Signal): Promise<void> {
    await attempt('delete', path, o, () => rm(path, { force: true }))
  }

  async move(from: string, to: string, o: Signal): Promise<boolean> {
    return await attempt('move', from, o, () => moveFile(from, to))
  }

  async makeFolder(path: string, o: Signal): Promise<void> {
    await attempt('make', path, o, () => mkdir(path, { recursive: true }), 'folder')
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class LocalFile implements OpenFile {
  readonly #handle: FileHandle
  readonly #path: string
  #reading = 0
  #isOver = false

  constructor(handle: FileHandle, path: string) {
    this.#handle = handle
    this.#path = path
  }

  async stat(o: Signal): Promise<FileFacts> {
    return await attempt('look at', this.#path, o, async () => factsOf(await this.#handle.stat()))
  }

  /** Is not ended by the signal in the middle of a read: the system would go on to write into memory that is another's by then. */
  async read(offset: number, into: Buffer, o: Signal): Promise<number> {
    let got = 0
    this.#reading += 1
    try {
      while (got < into.length) {
        o.signal.throwIfAborted()
        const { bytesRead } = await this.#handle.read(into, got, into.length - got, offset + got)
        if (bytesRead === 0) break
        got += bytesRead
      }
      o.signal.throwIfAborted()
      return got
    } catch (error) {
      o.signal.throwIfAborted()
      throw localError(error, 'read', this.#path)
    } finally {
      this.#reading -= 1
      if (this.#isOver && this.#reading === 0) await this.#close()
    }
  }

  async #close(): Promise<void> {
    await this.#handle.close().catch(() => undefined)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isOver) return
    this.#isOver = true
    if (this.#reading === 0) await this.#close()
  }
}

async function attempt<T>(
  verb: string,
  path: string,
  o: Signal,
  act: () => Promise<T>,
  kind: 'file' | 'folder' = 'file',
): Promise<T> {
  o.signal.throwIfAborted()
  try {
    return await untilAborted(act(), o.signal)
  } catch (error) {
    o.signal.throwIfAborted()
    throw localError(error, verb, path, kind)
  }
}

/** undefined if it is gone by now. */
async function entryOf(folder: string, name: string): Promise<FileEntry | undefined> {
  try {
    return { name, ...factsOf(await lstat(join(folder, name))) }
  } catch (error) {
    const code = codeOf(error)
    // Bytes that are no UTF-8 were replaced in the name, and nothing is found by it; it is told all the same.
    if (code === 'ENAMETOOLONG' || name.includes('\ufffd')) return { name, kind: 'file', size: 0, modifiedMs: 0 }
    if (code === 'ENOENT') return undefined
    throw error
  }
}

function factsOf(stats: Stats): FileFacts {
  const kind = stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : stats.isSymbolicLink() ? 'link' : 'other'
  return { kind, size: stats.size, modifiedMs: Math.floor(stats.mtimeMs) }
}

/** A file system that has no second names for files, or not for this one. */
const withoutLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'])

/** A rename would go over what is there; a second name for the file does not. */
async function moveFile(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EXDEV') return await copyOver(from, to)
    if (withoutLinks.has(code)) return await renameTo(from, to)
    if (code !== 'EEXIST') throw error
    // Half of it was done before: it has both names.
    const [here, there] = await Promise.all([lstat(from), lstat(to)])
    if (here.ino !== there.ino || here.dev !== there.dev) return false
  }
  await rm(from, { force: true })
  return true
}

/** Another process that makes `to` between the look and the rename would lose it: there is no better way here. */
async function renameTo(from: string, to: string): Promise<boolean> {
  if (await isThere(to)) return false
  await rename(from, to)
  return true
}

/** To another disk: under a name of its own first, so that no half file ever has the right one. */
async function copyOver(from: string, to: string): Promise<boolean> {
  if (await isThere(to)) return false
  const partial = join(dirname(to), `.${basename(to).slice(0, 200)}.${process.pid}.part`)
  try {
    const before = await stat(from)
    await copyFile(from, partial)
    await utimes(partial, before.atime, before.mtime)
    const copy = await open(partial, 'r+')
    await copy.sync().finally(() => copy.close())
    const after = await stat(from)
    if (after.size !== before.size || after.mtimeMs !== before.mtimeMs) throw new Error('it changed meanwhile')
    if (!(await moveFile(partial, to))) return false
  } finally {
    await rm(partial, { force: true })
  }
  await rm(from, { force: true })
  return true
}

async function isThere(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return false
    throw error
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

const accessCodes = new Set([
  'EACCES',
  'EPERM',
  'EROFS',
  'ENOTDIR',
  'EISDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'EINVAL',
  'EEXIST',
])

function localError(error: unknown, verb: string, path: string, kind: 'file' | 'folder' = 'file'): StreamError {
  if (error instanceof StreamError) return error
  const code = codeOf(error)
  const o = { cause: error, data: { path } }
  const what = `cannot ${verb} ${path}: ${explainError(error)}`
  if (code === 'ENOENT' && kind === 'file')
    return new StreamError('source.vanished', `cannot ${verb} ${path}: it is not there`, o)
  if (code === 'ENOENT')
    return new StreamError('source.access', `cannot ${verb} ${path}: there is no such folder (check the path)`, o)
  if (accessCodes.has(code)) {
    const advice =
      code === 'ENOTDIR' || code === 'ELOOP'
        ? 'check the path'
        : 'give this user the right to it, or choose another path'
    return new StreamError('source.access', `${what} (${advice})`, o)
  }
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new StreamError('source.unavailable', `${what} (free space on the disk)`, o)
  if (code === 'EMFILE' || code === 'ENFILE')
    return new StreamError('source.unavailable', `${what} (let the process open more files: ulimit -n)`, o)
  return new StreamError('source.unavailable', `${what} (check the disk)`, o)
}

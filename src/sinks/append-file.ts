/**
 * A file that grows by whole batches: what was appended since the last `commit` can be taken back, and what a crash left half
 * written is repaired when the file is opened.
 *
 * Lines: a last line without LF gets one. It is not cut off, for it may be someone else's.
 * Gzip: each batch is a member that tells its own length in the extra field (RFC 1952 2.3.1.1), so a half one is found
 * without inflating the file, and cut off: behind it no reader would find the members that follow.
 */
import { type FileHandle, mkdir, open, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { promisify } from 'node:util'
import { crc32, deflateRaw } from 'node:zlib'
import type { Log } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'

const deflate = promisify(deflateRaw)
const lf = 10

/** What an open file does, a FileHandle among others: writes at its end, perhaps only a part. */
export interface PartWriter {
  write(data: Buffer, offset: number, length: number): Promise<{ readonly bytesWritten: number }>
}

/** Writes all of it: a disk that is nearly full takes a part and says nothing before the next call. */
export async function writeAll(file: PartWriter, data: Buffer): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const { bytesWritten } = await file.write(data, at, data.length - at)
    at += bytesWritten
  }
}

/** Header of a member, up to its length: deflate, FEXTRA, no name and no time; XLEN 8; subfield `S3`, 4 bytes. */
const memberStart = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, 0x53, 0x33, 4, 0])
const headerBytes = memberStart.length + 4
const trailerBytes = 8

/** One gzip member. */
export async function gzipMember(data: Buffer): Promise<Buffer> {
  const body = await deflate(data)
  const member = Buffer.allocUnsafe(headerBytes + body.length + trailerBytes)
  memberStart.copy(member)
  member.writeUInt32LE(member.length, memberStart.length)
  body.copy(member, headerBytes)
  member.writeUInt32LE(crc32(data), member.length - trailerBytes)
  member.writeUInt32LE(data.length, member.length - 4)
  return member
}

export class AppendFile {
  readonly path: string
  readonly #handle: FileHandle
  readonly #identity: string
  /** Length when the file was last committed or opened. */
  #committed: number
  #length: number

  private constructor(path: string, handle: FileHandle, identity: string, length: number) {
    this.path = path
    this.#handle = handle
    this.#identity = identity
    this.#committed = length
    this.#length = length
  }

  /** Opens the file, makes it and its folders if need be, and repairs its end. Throws what the system says, or a StreamError. */
  static async open(
    path: string,
    o: { readonly compression: 'none' | 'gzip'; readonly sync: boolean; readonly log: Log },
  ): Promise<AppendFile> {
    const folder = dirname(resolve(path))
    const firstMade = await mkdir(folder, { recursive: true })
    const handle = await open(path, 'a+')
    try {
      const facts = await handle.stat()
      if (!facts.isFile())
        throw new StreamError('sink.access', `cannot append to ${path}: it is no regular file (choose another path)`)
      const repair = o.compression === 'gzip' ? cutHalfMember : endHalfLine
      const length = await repair(handle, path, facts.size, o.log)
      // A new file is only there for good when its folder is on disk too, and that one's, if it is new.
      if (o.sync && facts.size === 0) {
        await syncFolder(folder)
        for (let at = folder; firstMade !== undefined && at.length >= firstMade.length; at = dirname(at))
          await syncFolder(dirname(at))
      }
      return new AppendFile(path, handle, `${facts.dev}:${facts.ino}`, length)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** False if the file was moved or removed since it was opened, as log rotation does. */
  async isInPlace(): Promise<boolean> {
    try {
      const { dev, ino } = await stat(this.path)
      return `${dev}:${ino}` === this.#identity
    } catch {
      return false
    }
  }

  async append(data: Buffer): Promise<void> {
    this.#length += data.length
    await writeAll(this.#handle, data)
  }

  /** Resolves when the disk has what was appended. */
  async sync(): Promise<void> {
    await this.#handle.datasync()
  }

  /** What was appended stays. */
  commit(): void {
    this.#committed = this.#length
  }

  /** Takes back what was appended since the last commit. Throws what the system says: then the file must be opened anew. */
  async undo(): Promise<void> {
    if (this.#length === this.#committed) return
    const { size } = await this.#handle.stat()
    if (size > this.#length) throw new Error(`${this.path} is written by someone else too`)
    // As by logrotate's copytruncate: cutting at a place behind the end would make the file longer.
    if (size < this.#committed) throw new Error(`${this.path} was cut by someone else`)
    await this.#handle.truncate(this.#committed)
    this.#length = this.#committed
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

async function endHalfLine(handle: FileHandle, path: string, size: number, log: Log): Promise<number> {
  if (size === 0) return 0
  const last = Buffer.alloc(1)
  await handle.read(last, 0, 1, size - 1)
  if (last[0] === lf) return size
  await writeAll(handle, Buffer.from('\n'))
  log.warn({ path }, 'the last line of the file was not ended, as after a crash: ended it')
  return size + 1
}

async function cutHalfMember(handle: FileHandle, path: string, size: number, log: Log): Promise<number> {
  const header = Buffer.alloc(headerBytes)
  let at = 0
  while (at < size) {
    const { bytesRead } = await handle.read(header, 0, headerBytes, at)
    const known = Math.min(bytesRead, memberStart.length)
    const length = bytesRead === headerBytes ? header.readUInt32LE(memberStart.length) : headerBytes
    if (!header.subarray(0, known).equals(memberStart.subarray(0, known)) || length < headerBytes)
      throw new StreamError(
        'sink.access',
        `cannot append to ${path}: it holds other data than the gzip members of this sink (choose another path, or move the file away)`,
      )
    if (at + length > size) break
    at += length
  }
  if (at === size) return size
  await handle.truncate(at)
  log.warn({ path, bytes: size - at }, 'the file ended with half a batch, as after a crash: cut it off')
  return at
}

async function syncFolder(path: string): Promise<void> {
  // Windows has no such call, and needs none.
  if (process.platform === 'win32') return
  const handle = await open(path)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

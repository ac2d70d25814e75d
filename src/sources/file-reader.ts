/**
 * Bytes of the files that are under way: each is opened once, and all of its parts are read through that.
 *
 * 1. What is read is the version that was listed: size and time of the path are compared before the first byte and after the last.
 * 2. At the end of a file a read beyond it must give nothing: a server that lies about a size is found out, both ways.
 */
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { untilAborted } from '../core/until-aborted.ts'
import { type FileObject, fileId } from './file-object.ts'
import type { FileFacts, FileStore, OpenFile } from './file-store.ts'

/** Small pieces cost the inflater more than anything else (docs/design.md, "Speed"), and a server answers several requests of one at once. */
const pieceBytes = 512 * 1024

export class FileReader implements AsyncDisposable {
  readonly #store: FileStore
  readonly #open = new Map<string, Promise<OpenFile>>()
  readonly #over = new AbortController()

  constructor(store: FileStore) {
    this.#store = store
  }

  /** Size of the file. Throws source.replaced or source.vanished. */
  async confirm(object: FileObject, o: Signal): Promise<number> {
    const opening = this.#file(object, o)
    const looking = this.#store.stat(`/${object.key}`, o)
    // Neither may fail unseen while the other is waited for; and that it was replaced says more than why it cannot be opened.
    const [opened, facts] = await Promise.allSettled([opening, looking])
    if (facts.status === 'rejected') throw facts.reason
    this.#compare(object, facts.value)
    if (opened.status === 'rejected') throw opened.reason
    return object.size
  }

  #compare(object: FileObject, facts: FileFacts | undefined): void {
    const { bucket, key, size, lastModifiedMs } = object
    const what = `cannot read ${bucket}/${key}`
    if (facts?.kind !== 'file') {
      throw new StreamError('source.vanished', `${what}: ${facts ? `it is a ${facts.kind} now` : 'it is gone'}`)
    }
    if (fileId(bucket, key, facts) === object.id) return
    const changes = [
      ...(facts.size === size ? [] : [`${size} bytes were listed, ${facts.size} are there`]),
      ...(facts.modifiedMs === lastModifiedMs ? [] : [`changed at ${isoOf(facts.modifiedMs)}`]),
    ]
    throw new StreamError('source.replaced', `${what}: it is another version now (${changes.join(', ')})`)
  }

  /** Throws source.short_body if the file does not end where it should. */
  async fill(object: FileObject, offset: number, into: Buffer, o: Signal): Promise<void> {
    const file = await this.#file(object, o)
    const end = offset + into.length
    const proving = end >= object.size ? file.read(Math.max(end, object.size), Buffer.allocUnsafe(1), o) : 0
    // Both are waited for: after a throw nothing may write into memory that is the caller's again.
    const [reading, proof] = await Promise.allSettled([file.read(offset, into, o), proving])
    if (reading.status === 'rejected') throw reading.reason
    if (proof.status === 'rejected') throw proof.reason
    const [read, beyond] = [reading.value, proof.value]
    if (read === into.length && beyond === 0) return
    // A file that changed says so itself; what is left is a server, or a disk, that tells a wrong size.
    this.#compare(object, await this.#store.stat(`/${object.key}`, o))
    const got = beyond > 0 ? 'goes on behind them' : `ended after ${offset + read}`
    const what = `cannot read ${object.bucket}/${object.key}`
    throw new StreamError('source.short_body', `${what}: ${object.size} bytes were listed, and it ${got}`, {
      data: { size: object.size, offset, read },
    })
  }

  /** Bytes from `offset` on, one piece read ahead. */
  async *read(object: FileObject, offset: number, o: Signal): AsyncGenerator<Buffer, void, undefined> {
    // A reader that leaves half-way must not leave a read behind.
    const left = new AbortController()
    const signal = AbortSignal.any([o.signal, left.signal])
    const pieceAt = (at: number) => {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, Math.max(object.size - at, 0)))
      const filled = this.fill(object, at, piece, { signal })
      // It may fail before anyone waits for it.
      filled.catch(() => undefined)
      return { piece, filled }
    }
    try {
      await this.confirm(object, o)
      let next = pieceAt(offset)
      for (let at = offset; at < object.size; ) {
        const { piece, filled } = next
        await filled
        at += piece.length
        if (at < object.size) next = pieceAt(at)
        else await this.#isUnchanged(object, o)
        yield piece
      }
      if (offset >= object.size) await next.filled
    } finally {
      left.abort()
    }
  }

  /** After the last byte. That the file is gone since is no harm: all of it was read. */
  async #isUnchanged(object: FileObject, o: Signal): Promise<void> {
    const facts = await this.#store.stat(`/${object.key}`, o)
    if (facts) this.#compare(object, facts)
  }

  /** Opened when it is needed first, for all who need it: no signal of one of them ends it. */
  #file(object: FileObject, o: Signal): Promise<OpenFile> {
    const { id, key } = object
    let opening = this.#open.get(id)
    if (!opening) {
      const expected = { size: object.size, modifiedMs: object.lastModifiedMs }
      const started = this.#store.open(`/${key}`, { signal: this.#over.signal, expected })
      opening = started
      this.#open.set(id, started)
      started.catch(() => {
        if (this.#open.get(id) === started) this.#open.delete(id)
      })
    }
    return untilAborted(opening, o.signal)
  }

  /** Nothing of it will be read any more. Throws nothing. */
  async close({ id }: { readonly id: string }): Promise<void> {
    const opening = this.#open.get(id)
    this.#open.delete(id)
    try {
      await (await opening)?.[Symbol.asyncDispose]()
    } catch {
      // A file that could not be opened, or whose connection is gone, holds nothing.
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort(new Error('the source is closed'))
    await Promise.all([...this.#open.keys()].map((id) => this.close({ id })))
  }
}

function isoOf(ms: number): string {
  return Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString() : String(ms)
}

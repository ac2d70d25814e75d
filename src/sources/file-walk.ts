/**
 * Goes through a tree of files: depth first, in the order of the bytes of the paths, as S3 lists keys.
 *
 * 1. Memory is that of the listing of one folder, and of the folders above it that are not through; of a folder with more files
 *    than `sliceFiles` only so many at once, each slice in order.
 * 2. What cannot be read, or has no name that could be read by, is told as a problem; the rest goes on.
 * 3. Links are followed only when asked to, and then no folder is entered twice, by whatever names it has: there is no loop.
 * 4. Names come from others. One that would lead out of its folder is never used.
 */
import { explainError, StreamError } from '../core/errors.ts'
import { absolutePath } from './file-object.ts'
import type { FileEntry, FileStore } from './file-store.ts'

export interface FoundFile {
  /** Below the folder where the walk began. */
  readonly path: string
  readonly size: number
  readonly modifiedMs: number
}

/** Files of one folder, some at a time. */
export interface FoundFiles {
  readonly files: readonly FoundFile[]
  /** True if there is a file of this name in the folder; known only for names of markers. */
  readonly hasMarker: (name: string) => boolean
}

export interface WalkOptions {
  readonly store: FileStore
  /** Absolute, resolved. */
  readonly root: string
  readonly followLinks: boolean
  readonly signal: AbortSignal
  /** Only these are looked at, each by its name, and nothing is listed: it may be a large folder, or one that may not be listed. */
  readonly names?: readonly string[] | undefined
  /** Paths are below `root`. */
  readonly enters: (folder: string) => boolean
  /** Called once for each file; false leaves it out. */
  readonly wants: (path: string) => boolean
  readonly isMarker: (path: string) => boolean
  /** With markers a folder is gone through as a whole: its marker may be listed last. */
  readonly hasMarkers: boolean
  /** Something is there that cannot be read. */
  readonly problem: (path: string, reason: string) => void
  /** Something is there that is no file: a link that is not followed, a device. */
  readonly passedOver: (path: string, kind: 'link' | 'other') => void
}

/** S3 takes no longer keys (docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html), and paths become keys. */
export const longestPathBytes = 1024
const sliceFiles = 50_000
const pageFiles = 1000
/** After so many folders in a row that could not be listed it is the store that is unwell, not the folders. */
const unlucky = 3

interface Folder {
  readonly path: string
  /** Without links. */
  readonly real: string
}

type Item = { readonly sortKey: string } & (
  | { readonly file: FoundFile; readonly folder?: undefined }
  | { readonly folder: Folder; readonly file?: undefined }
)

export class Walk {
  readonly #o: WalkOptions
  /** Folders that were entered, without links; only where links are followed. */
  readonly #entered = new Set<string>()
  #failuresInRow = 0
  /** False once something was not seen that may be a folder. */
  isWhole = true

  constructor(o: WalkOptions) {
    this.#o = o
  }

  /** Throws what listing the first folder throws. */
  files(): AsyncGenerator<FoundFiles, void, undefined> {
    const { root } = this.#o
    return this.#folder({ path: '', real: root })
  }

  async *#folder(folder: Folder): AsyncGenerator<FoundFiles, void, undefined> {
    const { followLinks, hasMarkers, signal } = this.#o
    signal.throwIfAborted()
    if (followLinks) this.#entered.add(folder.real)
    const folders: Item[] = []
    const markers = new Set<string>()
    const hasMarker = (name: string) => markers.has(name)
    let files: Item[] = []
    try {
      for await (const entries of this.#entries(folder)) {
        for (const entry of entries) {
          const item = await this.#item(folder, entry, markers)
          if (item?.folder) folders.push(item)
          else if (item) files.push(item)
        }
        if (files.length < sliceFiles || hasMarkers) continue
        for (const page of pagesOf(files)) yield { files: page, hasMarker }
        files = []
      }
      this.#failuresInRow = 0
    } catch (error) {
      await this.#cannotList(folder, error)
      return
    }
    let page: FoundFile[] = []
    for (const { file, folder: below } of sorted([...files, ...folders])) {
      if (file) page.push(file)
      if (page.length > 0 && (below || page.length === pageFiles)) {
        yield { files: page, hasMarker }
        page = []
      }
      if (below && !this.#entered.has(below.real)) yield* this.#folder(below)
    }
    if (page.length > 0) yield { files: page, hasMarker }
  }

  async *#entries({ path }: Folder): AsyncGenerator<readonly FileEntry[], void, undefined> {
    const { names, store, signal } = this.#o
    if (names === undefined) yield* store.list(this.#whole(path), { signal })
    for (const name of names ?? []) {
      const facts = await store.stat(this.#whole(name), { signal })
      if (facts) yield [{ name, ...facts }]
    }
  }

  /** Throws again what must end the walk. */
  async #cannotList(folder: Folder, error: unknown): Promise<void> {
    const { signal, store, problem } = this.#o
    signal.throwIfAborted()
    if (!(error instanceof StreamError) || error.kind === 'bug' || folder.path === '') throw error
    const isGone = error.code === 'source.vanished' || error.code === 'source.access'
    // Removed since its name was read: nothing is missing.
    if (isGone && (await store.stat(this.#whole(folder.path), { signal })) === undefined) return
    this.isWhole = false
    problem(folder.path, explainError(error))
    this.#failuresInRow = error.kind === 'transient' ? this.#failuresInRow + 1 : 0
    if (this.#failuresInRow >= unlucky) throw error
  }

  async #item(folder: Folder, entry: FileEntry, markers: Set<string>): Promise<Item | undefined> {
    const { enters, wants, isMarker, problem, passedOver } = this.#o
    const { name } = entry
    const path = folder.path === '' ? name : `${folder.path}/${name}`
    const reason = unusable(name) ?? tooLong(this.#whole(path))
    if (reason !== undefined) {
      // What would be left out by its name is no loss.
      if (entry.kind === 'folder' ? enters(path) : wants(path)) problem(path, reason)
      return undefined
    }
    let { kind, size, modifiedMs } = entry
    let real = absolutePath(folder.real, name)
    if (kind === 'link') {
      const target = await this.#target(path)
      if (!target) return undefined
      ;({ kind, size, modifiedMs } = target.facts)
      real = target.real
    }
    if (kind === 'folder') return enters(path) ? { sortKey: `${name}/`, folder: { path, real } } : undefined
    if (kind !== 'file') {
      passedOver(path, 'other')
      return undefined
    }
    if (isMarker(path)) markers.add(name)
    return wants(path) ? { sortKey: name, file: { path, size, modifiedMs } } : undefined
  }

  /** What a link points to; undefined if it is passed over. */
  async #target(path: string) {
    const { followLinks, store, signal, problem, passedOver, enters, wants } = this.#o
    if (!followLinks) {
      passedOver(path, 'link')
      return undefined
    }
    if (!wants(path) && !enters(path)) return undefined
    try {
      const facts = await store.stat(this.#whole(path), { signal })
      if (!facts) {
        // It points nowhere, or to itself.
        passedOver(path, 'link')
        return undefined
      }
      return { facts, real: facts.kind === 'folder' ? await store.resolve(this.#whole(path), { signal }) : path }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof StreamError) || error.kind !== 'config') throw error
      this.isWhole = false
      problem(path, explainError(error))
      return undefined
    }
  }

  #whole(path: string): string {
    return absolutePath(this.#o.root, path)
  }
}

function* pagesOf(items: readonly Item[]): Generator<FoundFile[], void, undefined> {
  const files = sorted(items).flatMap(({ file }) => (file ? [file] : []))
  for (let at = 0; at < files.length; at += pageFiles) yield files.slice(at, at + pageFiles)
}

function sorted(items: readonly Item[]): Item[] {
  return items.toSorted((a, b) => compareBytes(a.sortKey, b.sortKey))
}

/** Order of the UTF-8 bytes; JavaScript's own puts emoji before some letters. */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let i = 0; i < length; i += 1) {
    const [x, y] = [a.charCodeAt(i), b.charCodeAt(i)]
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

/** Halves of pairs stand for code points above all others. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x10000 : unit
}

/** Why a name cannot be used; undefined if it can. */
function unusable(name: string): string | undefined {
  if (name === '' || name === '.' || name === '..') return 'its name leads out of the folder or to itself'
  if (name.includes('/')) return 'its name has a / in it, which no file system allows'
  if (name.includes('\0')) return 'its name has a NUL in it'
  // Bytes that are no text have become this sign, and lead to no file any more.
  if (name.includes('\ufffd')) return 'its name is not UTF-8'
  return undefined
}

function tooLong(path: string): string | undefined {
  const bytes = Buffer.byteLength(path) - 1
  return bytes > longestPathBytes ? `its path has ${bytes} bytes, and ${longestPathBytes} are the most` : undefined
}

/**
 * What a test bucket holds: objects in memory, and shelves of virtual ones that exist only as functions, so that a
 * million keys or an object of 10 GB take no memory. Keys are in UTF-8 byte order, as S3 lists them.
 */
import { createHash, randomBytes } from 'node:crypto'
import type { Checksum } from './s3-checksum.ts'

export type S3Body = Buffer | Iterable<Buffer> | AsyncIterable<Buffer>

export interface StoredObject {
  readonly size: number
  /** With its quotes. */
  readonly etag: string
  readonly lastModified: Date
  readonly storageClass: string
  /** Bytes `from` up to, not including, `to`. */
  readonly body: (from: number, to: number) => S3Body
  /** What was given with the object and comes back with it: Content-Type, x-amz-meta-*, encryption. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly tags?: ReadonlyArray<readonly [key: string, value: string]> | undefined
  /** None: the object is older than checksums, or the server does not know them. */
  readonly checksum?: Checksum | undefined
  /** Parts it was uploaded in, if it was. */
  readonly parts?: number | undefined
  readonly versionId?: string | undefined
}

export interface PutOptions {
  /** Now, if left out. */
  readonly lastModified?: Date
  /** GLACIER and DEEP_ARCHIVE objects are listed but cannot be read, as on AWS. */
  readonly storageClass?: string
  /** Without quotes; the MD5 of the body, if left out. */
  readonly etag?: string
  /** As with a PUT, in small letters: content-type, x-amz-meta-…. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Objects by index; keys must rise with it in the order of UTF-8 bytes. */
export interface Shelf {
  readonly count: number
  keyAt(index: number): string
  objectAt(index: number): StoredObject
}

export interface ListRequest {
  readonly prefix: string
  readonly delimiter: string
  readonly startAfter: string
  /** As given by the page before. */
  readonly token: string
  readonly maxKeys: number
}

export interface ListPage {
  readonly objects: ReadonlyArray<readonly [key: string, object: StoredObject]>
  readonly prefixes: readonly string[]
  readonly nextToken: string | undefined
}

export class S3Store {
  /** Keeps the versions before, and gives each new one an id. */
  versioned = false
  readonly #objects = new Map<string, StoredObject>()
  /** Versions that are not the newest, oldest first. A delete marker is not among them: the key just has no newest one. */
  readonly #older = new Map<string, StoredObject[]>()
  readonly #shelves: Shelf[] = []
  #sorted: string[] | undefined

  put(key: string, body: Buffer, o: PutOptions = {}): StoredObject {
    const etag = o.etag ?? createHash('md5').update(body).digest('hex')
    return this.add(key, {
      size: body.length,
      etag: `"${etag}"`,
      lastModified: o.lastModified ?? new Date(),
      storageClass: o.storageClass ?? 'STANDARD',
      body: (from, to) => (from === 0 && to === body.length ? body : body.subarray(from, to)),
      headers: o.headers,
    })
  }

  add(key: string, object: StoredObject): StoredObject {
    if (!this.#objects.has(key)) this.#sorted = undefined
    else if (this.versioned) this.#keep(key)
    const stored = this.versioned ? { ...object, versionId: randomBytes(16).toString('base64url') } : object
    this.#objects.set(key, stored)
    return stored
  }

  addShelf(shelf: Shelf): void {
    this.#shelves.push(shelf)
  }

  /** Whether there was such an object; those on shelves cannot be removed. A version by its id is gone for good. */
  remove(key: string, versionId?: string): boolean {
    const current = this.#objects.get(key)
    const older = this.#older.get(key)
    if (versionId !== undefined && current?.versionId !== versionId) {
      const at = older?.findIndex((version) => version.versionId === versionId) ?? -1
      older?.splice(at, at < 0 ? 0 : 1)
      return at >= 0
    }
    const before = versionId === undefined ? undefined : older?.pop()
    if (versionId === undefined && current && this.versioned) this.#keep(key)
    if (before) this.#objects.set(key, before)
    else if (this.#objects.delete(key)) this.#sorted = undefined
    return current !== undefined
  }

  /** The newest version, or that with the id. */
  get(key: string, versionId?: string): StoredObject | undefined {
    const object = this.#objects.get(key)
    if (versionId !== undefined && object?.versionId !== versionId) {
      return this.#older.get(key)?.find((version) => version.versionId === versionId)
    }
    if (object) return object
    for (const shelf of this.#shelves) {
      const index = firstIndex(shelf, (other) => compareKeys(other, key) >= 0)
      if (index < shelf.count && shelf.keyAt(index) === key) return shelf.objectAt(index)
    }
    return undefined
  }

  /** In order; without those on shelves. */
  keys(): string[] {
    this.#sorted ??= [...this.#objects.keys()].sort(compareKeys)
    return this.#sorted.slice()
  }

  #keep(key: string): void {
    const current = this.#objects.get(key)
    if (current) this.#older.set(key, [...(this.#older.get(key) ?? []), current])
  }

  list(o: ListRequest): ListPage {
    const shelves = [this.#plainShelf(), ...this.#shelves]
    const start = startOf(o)
    const cursors = shelves.map((shelf) => firstIndex(shelf, start))
    const objects: Array<readonly [string, StoredObject]> = []
    const prefixes: string[] = []
    let last = ''
    for (;;) {
      const next = smallest(shelves, cursors, o.prefix)
      if (next === undefined) return { objects, prefixes, nextToken: undefined }
      // Asked for nothing: not truncated, as AWS has it.
      if (o.maxKeys === 0) return { objects, prefixes, nextToken: undefined }
      if (objects.length + prefixes.length >= o.maxKeys) {
        return { objects, prefixes, nextToken: Buffer.from(last).toString('base64url') }
      }
      const end = o.delimiter === '' ? -1 : next.key.indexOf(o.delimiter, o.prefix.length)
      if (end < 0) {
        objects.push([next.key, shelves[next.shelf]!.objectAt(cursors[next.shelf]!)])
        last = `k${next.key}`
        cursors[next.shelf]! += 1
      } else {
        const common = next.key.slice(0, end + o.delimiter.length)
        // The folder that StartAfter points into is not listed, as versitygw and fauxqs have it.
        if (o.token !== '' || compareKeys(common, o.startAfter) > 0) {
          prefixes.push(common)
          last = `p${common}`
        }
        for (const [at, shelf] of shelves.entries()) cursors[at] = firstIndex(shelf, after(common), cursors[at])
      }
    }
  }

  #plainShelf(): Shelf {
    this.#sorted ??= [...this.#objects.keys()].sort(compareKeys)
    const keys = this.#sorted
    return {
      count: keys.length,
      keyAt: (index) => keys[index]!,
      objectAt: (index) => this.#objects.get(keys[index]!)!,
    }
  }
}

/** Says of a key whether the listing begins at it or before it. */
function startOf(o: ListRequest): (key: string) => boolean {
  const marker = Buffer.from(o.token, 'base64url').toString()
  const fromPrefix = (key: string) => compareKeys(key, o.prefix) >= 0
  if (marker.startsWith('p')) return after(marker.slice(1))
  const from = marker.startsWith('k') ? marker.slice(1) : o.startAfter
  if (from === '' || compareKeys(from, o.prefix) < 0) return fromPrefix
  return (key) => compareKeys(key, from) > 0
}

/** True for keys that come after all those that begin with `prefix`. */
function after(prefix: string): (key: string) => boolean {
  return (key) => !key.startsWith(prefix) && compareKeys(key, prefix) > 0
}

/** Where the smallest key under the cursors is, as long as it has the prefix. An equal key on another shelf is passed over. */
function smallest(
  shelves: readonly Shelf[],
  cursors: number[],
  prefix: string,
): { readonly key: string; readonly shelf: number } | undefined {
  let key: string | undefined
  let best = 0
  for (const [at, shelf] of shelves.entries()) {
    const cursor = cursors[at]!
    if (cursor >= shelf.count) continue
    const candidate = shelf.keyAt(cursor)
    if (candidate === key) {
      cursors[at] = cursor + 1
    } else if (key === undefined || compareKeys(candidate, key) < 0) {
      key = candidate
      best = at
    }
  }
  return key?.startsWith(prefix) ? { key, shelf: best } : undefined
}

/** The first index from `low` on whose key satisfies a condition that, once true, stays true. */
function firstIndex(shelf: Shelf, condition: (key: string) => boolean, low = 0): number {
  let from = low
  let to = shelf.count
  while (from < to) {
    const middle = (from + to) >>> 1
    if (condition(shelf.keyAt(middle))) to = middle
    else from = middle + 1
  }
  return from
}

/** Order of UTF-8 bytes. UTF-16, in which strings compare, differs only in surrogates: they belong after U+FFFF. */
export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length)
  for (let at = 0; at < length; at += 1) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

function rank(unit: number): number {
  if (unit < 0xd800) return unit
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800
}

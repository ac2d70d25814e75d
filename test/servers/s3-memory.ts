/**
 * A small S3 server in this process: one bucket of objects in memory, whose times and storage classes a test may set, and
 * of virtual objects that exist only as functions, so that a bucket of a million keys or an object of 10 GB takes no memory.
 *
 * Serves GetObject (Range, If-Match, If-None-Match), HeadObject, PutObject (If-None-Match: *), DeleteObject,
 * ListObjectsV2 (Prefix, Delimiter, StartAfter, ContinuationToken, MaxKeys, EncodingType) and HeadBucket. Keys are in
 * UTF-8 byte order. No signatures are checked.
 */
import { createHash } from 'node:crypto'
import { SegmentedBody } from './s3-bodies.ts'
import { archived, noSuchBucket, noSuchKey, type S3Fault, type S3Request } from './s3-faults.ts'
import { type AnswerBody, errorAnswer, escapeXml, type S3Answer, type S3Front, startFront } from './s3-front.ts'

export interface PutOptions {
  /** Now, if left out. */
  readonly lastModified?: Date
  /** GLACIER and DEEP_ARCHIVE objects cannot be read, as on AWS. */
  readonly storageClass?: string
}

/** Objects made when they are asked for. */
export interface VirtualObjects {
  readonly count: number
  /** Must rise with the index, in the order of UTF-8 bytes. */
  key(index: number): string
  size(index: number): number
  body(index: number): Buffer | SegmentedBody
  lastModified(index: number): Date
}

export interface MemoryS3 extends S3Front {
  readonly bucket: string
  put(key: string, body: Buffer | string, options?: PutOptions): void
  remove(key: string): void
  /** Lists and serves these beside the others; keys must not collide. */
  addVirtual(objects: VirtualObjects): void
}

interface Entry {
  readonly key: string
  readonly size: number
  /** With its quotes. */
  readonly etag: string
  readonly lastModified: Date
  readonly storageClass: string
  body(): Buffer | SegmentedBody
}

/** Entries in key order. */
interface Shelf {
  readonly count: number
  keyAt(index: number): string
  entryAt(index: number): Entry
}

export async function startMemoryS3(
  options: { readonly bucket?: string; readonly trace?: boolean } = {},
): Promise<MemoryS3> {
  const bucket = options.bucket ?? 'logs'
  const store = new Store()
  const front = await startFront((request) => {
    if (request.bucket !== bucket) return faultAnswer(noSuchBucket(), request)
    return store.answer(request)
  }, options)
  return Object.assign(front, {
    bucket,
    put: (key: string, body: Buffer | string, put: PutOptions = {}) => store.put(key, Buffer.from(body), put),
    remove: (key: string) => store.remove(key),
    addVirtual: (objects: VirtualObjects) => store.addVirtual(objects),
  })
}

class Store {
  readonly #entries = new Map<string, Entry>()
  readonly #virtual: Array<Shelf> = []
  #sorted: string[] | undefined

  put(key: string, body: Buffer, options: PutOptions): Entry {
    const entry: Entry = {
      key,
      size: body.length,
      etag: `"${createHash('md5').update(body).digest('hex')}"`,
      lastModified: options.lastModified ?? new Date(),
      storageClass: options.storageClass ?? 'STANDARD',
      body: () => body,
    }
    if (!this.#entries.has(key)) this.#sorted = undefined
    this.#entries.set(key, entry)
    return entry
  }

  remove(key: string): void {
    if (this.#entries.delete(key)) this.#sorted = undefined
  }

  addVirtual(objects: VirtualObjects): void {
    this.#virtual.push({
      count: objects.count,
      keyAt: (index) => objects.key(index),
      entryAt: (index) => ({
        key: objects.key(index),
        size: objects.size(index),
        etag: `"${index.toString(16).padStart(32, '0')}"`,
        lastModified: objects.lastModified(index),
        storageClass: 'STANDARD',
        body: () => objects.body(index),
      }),
    })
  }

  answer(request: S3Request): S3Answer {
    const { operation, key, method } = request
    if (operation === 'list') return this.#list(request)
    if (operation === 'get' || operation === 'head') return this.#get(request)
    if (operation === 'put') {
      if (request.headers['if-none-match'] === '*' && this.#find(key)) return preconditionFailed(request)
      const storageClass = request.headers['x-amz-storage-class']?.toString()
      const { etag } = this.put(key, request.body, storageClass === undefined ? {} : { storageClass })
      return empty(200, { etag })
    }
    if (operation === 'delete') {
      this.remove(key)
      return empty(204, {})
    }
    if (key === '' && method === 'HEAD') return empty(200, { 'x-amz-bucket-region': 'us-east-1' })
    return errorAnswer({ status: 501, code: 'NotImplemented', message: `${method} ${request.url}` }, request)
  }

  #find(key: string): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry) return entry
    for (const shelf of this.#virtual) {
      const index = firstNotBefore(shelf, (other) => compareKeys(other, key) < 0)
      if (index < shelf.count && shelf.keyAt(index) === key) return shelf.entryAt(index)
    }
    return undefined
  }

  #get(request: S3Request): S3Answer {
    const entry = this.#find(request.key)
    if (!entry) return faultAnswer(noSuchKey(), request)
    if (request.operation === 'get' && /^(GLACIER|DEEP_ARCHIVE)$/.test(entry.storageClass)) {
      return archivedAnswer(entry.storageClass, request)
    }
    const ifMatch = request.headers['if-match']?.toString()
    if (ifMatch !== undefined && ifMatch !== '*' && bare(ifMatch) !== bare(entry.etag))
      return preconditionFailed(request)
    const ifNoneMatch = request.headers['if-none-match']?.toString()
    if (ifNoneMatch !== undefined && bare(ifNoneMatch) === bare(entry.etag)) return empty(304, { etag: entry.etag })
    const headers = {
      'accept-ranges': 'bytes',
      'content-type': 'binary/octet-stream',
      etag: entry.etag,
      'last-modified': entry.lastModified.toUTCString(),
      ...(entry.storageClass === 'STANDARD' ? {} : { 'x-amz-storage-class': entry.storageClass }),
    }
    const range = rangeOf(request.headers.range?.toString(), entry.size)
    if (range === 'unsatisfiable') {
      const error = { status: 416, code: 'InvalidRange', message: 'The requested range is not satisfiable' }
      return errorAnswer({ ...error, headers: { 'content-range': `bytes */${entry.size}` } }, request)
    }
    if (range === undefined) {
      return {
        status: 200,
        headers: { ...headers, 'content-length': String(entry.size) },
        body: cut(entry, 0, entry.size),
      }
    }
    const [start, end] = range
    return {
      status: 206,
      headers: {
        ...headers,
        'content-length': String(end - start),
        'content-range': `bytes ${start}-${end - 1}/${entry.size}`,
      },
      body: cut(entry, start, end),
    }
  }

  #list(request: S3Request): S3Answer {
    const { query, key: prefix, bucket } = request
    if (query.get('list-type') !== '2') {
      return errorAnswer({ status: 501, code: 'NotImplemented', message: 'only ListObjectsV2' }, request)
    }
    const delimiter = query.get('delimiter') ?? ''
    const maxKeys = Math.min(Number(query.get('max-keys') ?? 1000), 1000)
    const token = query.get('continuation-token')
    const startAfter = query.get('start-after') ?? ''
    const urls = query.get('encoding-type') === 'url'
    const text = urls ? urlEncoded : escapeXml
    const contents: string[] = []
    const folders: string[] = []
    let last = ''
    let truncated = false
    const cursor = this.#cursor(
      prefix,
      token === null ? startAfter : Buffer.from(token, 'base64url').toString(),
      delimiter,
      token !== null,
    )
    for (;;) {
      const entry = cursor.next()
      if (!entry?.key.startsWith(prefix)) break
      if (contents.length + folders.length >= maxKeys) {
        truncated = maxKeys > 0
        break
      }
      const slash = delimiter === '' ? -1 : entry.key.indexOf(delimiter, prefix.length)
      if (slash >= 0) {
        last = entry.key.slice(0, slash + delimiter.length)
        folders.push(`<CommonPrefixes><Prefix>${text(last)}</Prefix></CommonPrefixes>`)
        cursor.skip(last)
        continue
      }
      last = entry.key
      contents.push(
        `<Contents><Key>${text(entry.key)}</Key><LastModified>${entry.lastModified.toISOString()}</LastModified><ETag>&quot;${bare(entry.etag)}&quot;</ETag><Size>${entry.size}</Size><StorageClass>${entry.storageClass}</StorageClass></Contents>`,
      )
    }
    const optional = (name: string, value: string | null | undefined) =>
      value ? `<${name}>${text(value)}</${name}>` : ''
    const body = `<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${bucket}</Name><Prefix>${text(prefix)}</Prefix>${optional('StartAfter', startAfter)}${optional('Delimiter', delimiter)}${urls ? '<EncodingType>url</EncodingType>' : ''}<KeyCount>${contents.length + folders.length}</KeyCount><MaxKeys>${maxKeys}</MaxKeys><IsTruncated>${truncated}</IsTruncated>${truncated ? `<NextContinuationToken>${Buffer.from(last).toString('base64url')}</NextContinuationToken>` : ''}${contents.join('')}${folders.join('')}</ListBucketResult>`
    return { status: 200, headers: { 'content-type': 'application/xml' }, body: Buffer.from(body) }
  }

  /** Entries from the first key at or after the prefix and after `after`, in key order over all shelves. */
  #cursor(prefix: string, after: string, delimiter: string, isToken: boolean) {
    this.#sorted ??= [...this.#entries.keys()].sort(compareKeys)
    const sorted = this.#sorted
    const plain: Shelf = {
      count: sorted.length,
      keyAt: (index) => sorted[index] as string,
      entryAt: (index) => this.#entries.get(sorted[index] as string) as Entry,
    }
    // A page that ended with a folder is continued behind the whole folder.
    const folder = isToken && delimiter !== '' && after.endsWith(delimiter) && after.length > prefix.length
    const isBefore = (key: string) =>
      compareKeys(key, prefix) < 0 ||
      (after !== '' && (compareKeys(key, after) <= 0 || (folder && key.startsWith(after))))
    const shelves = [plain, ...this.#virtual].map((shelf) => ({ shelf, at: firstNotBefore(shelf, isBefore) }))
    return {
      next(): Entry | undefined {
        let best: { shelf: Shelf; at: number } | undefined
        let bestKey = ''
        for (const place of shelves) {
          if (place.at >= place.shelf.count) continue
          const key = place.shelf.keyAt(place.at)
          if (best && compareKeys(key, bestKey) >= 0) continue
          best = place
          bestKey = key
        }
        return best?.shelf.entryAt(best.at++)
      },
      /** Passes over all keys that begin with this. */
      skip(start: string): void {
        const isPassed = (key: string) => compareKeys(key, start) < 0 || key.startsWith(start)
        for (const place of shelves) place.at = Math.max(place.at, firstNotBefore(place.shelf, isPassed))
      },
    }
  }
}

/** The first index whose key is not before; `isBefore` holds for a first part of the shelf only. */
function firstNotBefore(shelf: Shelf, isBefore: (key: string) => boolean): number {
  let low = 0
  let high = shelf.count
  while (low < high) {
    const middle = (low + high) >>> 1
    if (isBefore(shelf.keyAt(middle))) low = middle + 1
    else high = middle
  }
  return low
}

/** UTF-8 byte order; JavaScript's own order is by UTF-16 units, which differs where there are surrogates. */
export function compareKeys(a: string, b: string): number {
  if (surrogates.test(a) || surrogates.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b))
  return a < b ? -1 : a > b ? 1 : 0
}

const surrogates = /[\ud800-\udfff]/

function cut(entry: Entry, start: number, end: number): AnswerBody {
  const body = entry.body()
  if (body instanceof SegmentedBody) return body.slices(start, end)
  return start === 0 && end === body.length ? body : body.subarray(start, end)
}

/** First and one past the last byte; undefined: the whole object (also for what is not a single byte range). */
function rangeOf(header: string | undefined, size: number): readonly [number, number] | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (!match || (match[1] === '' && match[2] === '')) return undefined
  if (match[1] === '') return size === 0 ? 'unsatisfiable' : [Math.max(0, size - Number(match[2])), size]
  const start = Number(match[1])
  if (start >= size) return 'unsatisfiable'
  return [start, match[2] === '' ? size : Math.min(Number(match[2]) + 1, size)]
}

/** As S3 does it: `/` stays, a space becomes `+`. */
function urlEncoded(text: string): string {
  if (/^[\w./=~-]*$/.test(text)) return text.replaceAll('=', '%3D')
  return encodeURIComponent(text)
    .replaceAll('%2F', '/')
    .replaceAll('%20', '+')
    .replaceAll(/[!'()]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

const bare = (etag: string) => etag.replaceAll('"', '')

function empty(status: number, headers: Readonly<Record<string, string>>): S3Answer {
  return { status, headers, body: Buffer.alloc(0) }
}

function preconditionFailed(request: S3Request): S3Answer {
  const message = 'At least one of the pre-conditions you specified did not hold'
  return errorAnswer({ status: 412, code: 'PreconditionFailed', message }, request)
}

/** What S3 says when an archived object is read. */
export function archivedAnswer(storageClass: string, request: S3Request): S3Answer {
  return faultAnswer(archived(storageClass), request)
}

function faultAnswer(fault: S3Fault, request: S3Request): S3Answer {
  return errorAnswer(fault.kind === 'error' ? fault.answer : { status: 500, code: 'TestServerBug' }, request)
}

/**
 * Walks a bucket below a prefix: date folders before the window are passed over, the rest is listed page by page, some
 * folders at a time, oldest first as far as that goes. Nothing keeps a full list: pages wait in a short channel, and
 * listing waits when nobody takes them.
 *
 * A leaf folder in which key order was seen to be time order is listed from the last key before the window
 * (`StartAfter`), except in a sweep, which lists everything in the window again and relearns the order.
 */
import { ListObjectsV2Command, type ListObjectsV2CommandOutput, type S3Client } from '@aws-sdk/client-s3'
import type { Signal } from '../core/component.ts'
import { type DateParts, folderDate, spanEndMs, type TemplateLevel } from './partition.ts'
import { s3Error } from './s3-connection.ts'
import { objectId, type S3Object } from './s3-object.ts'

export interface ListingOptions extends Signal {
  /** Objects before this time are of no interest; ms since the epoch. */
  readonly windowMs: number
  /** No shortcuts, and one more day back: folders may be dated in another time zone. */
  readonly sweep: boolean
}

/** Requests at once. */
const parallel = 8
/** More folders without a date than this at one level: list everything below it as one. */
const manyFolders = 300
const dayMs = 86_400_000
/** A folder's date may be in another time zone, up to 14 h from UTC; hours may be named by their end. */
const spanSlackMs = 3_600_000

interface Folder {
  readonly prefix: string
  readonly date: DateParts
  /** Levels of the template still to match; undefined: dates are recognised. */
  readonly levels: readonly TemplateLevel[] | undefined
  readonly flat: boolean
}

/** What is known of one leaf: as long as `ordered`, times never fall as keys rise. */
interface Leaf {
  ordered: boolean
  lastMs: number
  /** Last key and time of each page. */
  marks: Array<{ readonly key: string; readonly timeMs: number }>
}

export class S3Listing {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #prefix: string
  readonly #levels: readonly TemplateLevel[] | undefined
  readonly #flat: boolean
  readonly #timeFromKey: (key: string) => number | undefined
  readonly #channelPages: number
  #leaves = new Map<string, Leaf>()
  /** Bare four-digit folders that were looked into: true if they hold months. */
  readonly #years = new Map<string, boolean>()

  constructor(
    client: S3Client,
    o: {
      readonly bucket: string
      readonly prefix: string
      /** Levels of a template, `auto`, or `none` for one flat list. */
      readonly partition: readonly TemplateLevel[] | 'auto' | 'none'
      readonly timeFromKey: (key: string) => number | undefined
      /** Listed objects that may wait. */
      readonly queue: number
    },
  ) {
    this.#client = client
    this.#bucket = o.bucket
    this.#prefix = o.prefix
    this.#levels = typeof o.partition === 'string' ? undefined : o.partition
    this.#flat = o.partition === 'none'
    this.#timeFromKey = o.timeFromKey
    this.#channelPages = Math.max(1, Math.ceil(o.queue / 1000))
  }

  /**
   * Pages of objects in the window; also some before it. Throws a StreamError when a page cannot be listed: then the
   * list is not complete.
   */
  async *pages(o: ListingOptions): AsyncGenerator<S3Object[], void, undefined> {
    const stop = new AbortController()
    const signal = AbortSignal.any([o.signal, stop.signal])
    const root: Folder = { prefix: this.#prefix, date: {}, levels: this.#levels, flat: this.#flat }
    const todo: Folder[] = [root]
    const channel: S3Object[][] = []
    const leaves = new Map<string, Leaf>()
    let busy = 0
    let failure: { readonly error: unknown } | undefined
    let changed = Promise.withResolvers<void>()
    const notify = () => {
      changed.resolve()
      changed = Promise.withResolvers()
    }
    const emit = async (page: S3Object[]) => {
      channel.push(page)
      notify()
      while (channel.length > this.#channelPages && !signal.aborted) await changed.promise
    }
    const next = () => {
      while (busy < parallel && todo.length > 0 && !failure) {
        busy += 1
        this.#list(todo.pop() as Folder, { ...o, signal }, leaves, emit)
          .then((folders) => {
            // Depth first and oldest first: the stack stays as short as the tree is narrow.
            for (const folder of folders.reverse()) todo.push(folder)
          })
          .catch((error) => {
            failure ??= { error }
          })
          .finally(() => {
            busy -= 1
            next()
            notify()
          })
      }
    }
    try {
      next()
      for (;;) {
        const page = channel.shift()
        if (page) {
          notify()
          yield page
        } else if (failure) throw failure.error
        else if (busy === 0) break
        else await changed.promise
      }
      this.#leaves = leaves
    } finally {
      stop.abort()
      notify()
    }
  }

  /** Lists one folder; gives the folders below it that must be listed too, in key order. */
  async #list(
    folder: Folder,
    o: ListingOptions,
    leaves: Map<string, Leaf>,
    emit: (page: S3Object[]) => Promise<void>,
  ): Promise<Folder[]> {
    const below: Folder[] = []
    const known = this.#leaves.get(folder.prefix)
    const from = known?.ordered && !o.sweep ? lastBefore(known, o.windowMs) : undefined
    const leaf: Leaf = from ? { ordered: true, lastMs: from.timeMs, marks: [from] } : newLeaf()
    leaves.set(folder.prefix, leaf)
    let plain = 0
    let token: string | undefined
    do {
      const page = await this.#page(
        {
          Prefix: folder.prefix,
          ...(folder.flat ? {} : { Delimiter: '/' }),
          ...(token === undefined ? (from ? { StartAfter: from.key } : {}) : { ContinuationToken: token }),
        },
        o,
      )
      const decoded = page.EncodingType === 'url' ? decodeKey : (key: string) => key
      for (const { Prefix: raw = '' } of page.CommonPrefixes ?? []) {
        const child = await this.#child(folder, decoded(raw), o)
        if (child === undefined) continue
        if (child.date === folder.date) plain += 1
        below.push(child)
      }
      // StartAfter would hide folders that sort before it.
      if (page.CommonPrefixes?.length) leaf.ordered = false
      const objects = this.#objects(page, decoded, leaf)
      if (objects.length > 0) await emit(objects)
      o.signal.throwIfAborted()
      if (plain > manyFolders && folder.levels === undefined) {
        leaf.ordered = false
        leaves.delete(folder.prefix)
        return [{ ...folder, flat: true }]
      }
      token = page.IsTruncated ? page.NextContinuationToken : undefined
    } while (token !== undefined)
    return below
  }

  async #page(
    input: {
      readonly Prefix: string
      readonly Delimiter?: string
      readonly StartAfter?: string
      readonly ContinuationToken?: string
      readonly MaxKeys?: number
    },
    o: Signal,
  ): Promise<ListObjectsV2CommandOutput> {
    try {
      // Keys may hold characters that XML 1.0 cannot: url is the encoding that always works.
      const command = new ListObjectsV2Command({ Bucket: this.#bucket, EncodingType: 'url', ...input })
      return await this.#client.send(command, { abortSignal: o.signal })
    } catch (error) {
      o.signal.throwIfAborted()
      throw s3Error(error, `list s3://${this.#bucket}/${input.Prefix}`)
    }
  }

  #objects(page: ListObjectsV2CommandOutput, decoded: (key: string) => string, leaf: Leaf): S3Object[] {
    const objects: S3Object[] = []
    for (const { Key: raw, ETag: etag, Size: size, LastModified: modified } of page.Contents ?? []) {
      if (raw === undefined) continue
      const key = decoded(raw)
      const named = this.#timeFromKey(key)
      const lastModifiedMs = modified?.getTime() ?? 0
      if (named === undefined || named < leaf.lastMs) leaf.ordered = false
      else leaf.lastMs = named
      objects.push({
        id: objectId(this.#bucket, key, etag ?? `~${size}-${lastModifiedMs}`),
        bucket: this.#bucket,
        key,
        size,
        etag,
        timeMs: named ?? lastModifiedMs,
        lastModifiedMs,
      })
    }
    const last = objects.at(-1)
    if (last && leaf.ordered) leaf.marks.push({ key: last.key, timeMs: leaf.lastMs })
    return objects
  }

  /** The folder below, or undefined if everything in it is before the window (or outside the template). */
  async #child(parent: Folder, prefix: string, o: ListingOptions): Promise<Folder | undefined> {
    if (parent.levels) {
      const name = prefix.slice(parent.prefix.length, -1)
      // The configured prefix lacks its slash: the template begins below this folder.
      if (name === '') return { ...parent, prefix }
      const [level, ...rest] = parent.levels
      if (!level) return { prefix, date: parent.date, levels: [], flat: true }
      const date = level(name, parent.date)
      if (!date || this.#isPast(date, o)) return undefined
      return { prefix, date, levels: rest, flat: rest.length === 0 }
    }
    const name = prefix.slice(0, -1).split('/').at(-1) ?? ''
    const date = folderDate(name, parent.date)
    if (!date) return { prefix, date: parent.date, levels: undefined, flat: false }
    if (!this.#isPast(date, o)) return { prefix, date, levels: undefined, flat: date.hour !== undefined }
    if (/^\d{4}$/.test(name) && !(await this.#holdsMonths(prefix, o))) {
      return { prefix, date: parent.date, levels: undefined, flat: false }
    }
    return undefined
  }

  #isPast(date: DateParts, o: ListingOptions): boolean {
    const end = spanEndMs(date)
    return end !== undefined && end + spanSlackMs + (o.sweep ? dayMs : 0) <= o.windowMs
  }

  /** A bare `2024/` may be a year or a number: it is passed over only if it holds nothing but months. */
  async #holdsMonths(prefix: string, o: ListingOptions): Promise<boolean> {
    const known = this.#years.get(prefix)
    if (known !== undefined) return known
    const page = await this.#page({ Prefix: prefix, Delimiter: '/', MaxKeys: 20 }, o)
    const folders = (page.CommonPrefixes ?? []).map(({ Prefix: raw = '' }) => raw.slice(0, -1).split('/').at(-1) ?? '')
    const files = (page.Contents ?? []).filter(({ Key }) => !Key?.endsWith('/'))
    const months = files.length === 0 && folders.every((name) => /^(0?[1-9]|1[0-2])$/.test(name))
    this.#years.set(prefix, months)
    return months
  }
}

function newLeaf(): Leaf {
  return { ordered: true, lastMs: Number.NEGATIVE_INFINITY, marks: [] }
}

function lastBefore(leaf: Leaf, windowMs: number): Leaf['marks'][number] | undefined {
  return leaf.marks.findLast((mark) => mark.timeMs < windowMs)
}

/** S3's url encoding: `+` is a space. A key that does not decode is left as it is. */
function decodeKey(raw: string): string {
  if (!raw.includes('%') && !raw.includes('+')) return raw
  try {
    return decodeURIComponent(raw.replaceAll('+', ' '))
  } catch {
    return raw
  }
}

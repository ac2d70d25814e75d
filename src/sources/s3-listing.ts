/**
 * Walks a bucket below a prefix: date folders before the window are passed over, the rest is listed page by page, some
 * folders at a time, oldest first as far as that goes. Nothing keeps a full list: pages wait in a short channel, and
 * listing waits when nobody takes them.
 *
 * A leaf folder in which key order was seen to be time order is listed from the last key before the window
 * (`StartAfter`), except in a sweep, which lists everything in the window again and relearns the order.
 */
import type { S3Client } from '@aws-sdk/client-s3'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import { type DateParts, folderDate, spanEndMs, spanStartMs, type TemplateLevel } from './partition.ts'
import { s3ListError } from './s3-errors.ts'
import { type ListPage, listPage } from './s3-list-page.ts'
import { objectId, type S3Object } from './s3-object.ts'

export interface ListingOptions extends Signal {
  /** Objects before this time are of no interest; ms since the epoch. */
  readonly windowMs: number
  /** Nor are those from this time on. */
  readonly untilMs?: number
  /** Nor are keys that do not begin so. */
  readonly within?: string
  /** Folders (and those above them) that are listed though their date is before the window: something arrived there lately. */
  readonly live: ReadonlySet<string>
  /** No shortcuts, and one more day back: folders may be dated in another time zone. */
  readonly sweep: boolean
}

/** Requests at once. */
const parallel = 8
/** Longest wait for a page, attempts of the SDK included. Without it a body that stops half-way would stop the scan for ever. */
const defaultPageMs = 120_000
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
  /** Listed as one with all that is below it. */
  readonly flat: boolean
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
  readonly #pageMs: number
  readonly #outside: (prefix: string) => void
  #leaves = new Map<string, Leaf>()
  /** Bare four-digit folders that were looked into: true if they hold months. */
  readonly #years = new Map<string, boolean>()
  #channel: readonly S3Object[][] = []

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
      /** Told of each folder that the template does not know, and is passed over for that. */
      readonly outside?: (prefix: string) => void
      /** Longest wait for a page, in ms; two minutes if left out. */
      readonly pageMs?: number
    },
  ) {
    this.#client = client
    this.#bucket = o.bucket
    this.#prefix = o.prefix
    this.#levels = typeof o.partition === 'string' ? undefined : o.partition
    this.#flat = o.partition === 'none'
    this.#timeFromKey = o.timeFromKey
    this.#channelPages = Math.max(1, Math.ceil(o.queue / 1000))
    this.#outside = o.outside ?? (() => undefined)
    this.#pageMs = o.pageMs ?? defaultPageMs
  }

  /** Pages that are listed and wait to be taken. */
  get waiting(): ReadonlyArray<readonly S3Object[]> {
    return this.#channel
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
    this.#channel = channel
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
      this.#channel = []
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
    // Learned last time: the order that was seen is that of the whole tree, not of this level.
    if (known?.flat && !folder.flat && !o.sweep) return [{ ...folder, flat: true }]
    const from = known?.ordered && !o.sweep ? lastBefore(known, o.windowMs) : undefined
    const leaf: Leaf = from ? { ...newLeaf(folder.flat), lastMs: from.timeMs, marks: [from] } : newLeaf(folder.flat)
    leaves.set(folder.prefix, leaf)
    let plain = 0
    let token: string | undefined
    do {
      const page = await this.#page(
        {
          Prefix: prefixOf(folder, o.within),
          ...(folder.flat ? {} : { Delimiter: '/' }),
          ...(token === undefined ? (from ? { StartAfter: from.key } : {}) : { ContinuationToken: token }),
        },
        o,
      )
      for (const prefix of page.prefixes) {
        if (!mayHold(prefix, o.within)) continue
        const child = await this.#child(folder, prefix, o)
        if (child === undefined) continue
        if (child.date === folder.date) plain += 1
        below.push(child)
      }
      // StartAfter would hide folders that sort before it.
      if (page.prefixes.length > 0) leaf.ordered = false
      const objects = this.#objects(page, leaf)
      if (objects.length > 0) await emit(objects)
      o.signal.throwIfAborted()
      if (plain > manyFolders && folder.levels === undefined) {
        leaf.ordered = false
        leaves.delete(folder.prefix)
        return [{ ...folder, flat: true }]
      }
      const last: string | undefined = token
      token = page.isTruncated ? page.nextToken : undefined
      if (page.isTruncated && (token === undefined || token === last)) {
        // Going on as if this were all would lose the rest.
        throw new StreamError(
          'source.unavailable',
          `cannot list s3://${this.#bucket}/${folder.prefix} to its end: the server says there is more, but not where`,
        )
      }
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
  ): Promise<ListPage> {
    try {
      using limit = new TimeLimit(o.signal, this.#pageMs)
      return await listPage(this.#client, { Bucket: this.#bucket, ...input }, limit.signal)
    } catch (error) {
      o.signal.throwIfAborted()
      throw s3ListError(error, this.#bucket, input.Prefix)
    }
  }

  #objects(page: ListPage, leaf: Leaf): S3Object[] {
    const objects: S3Object[] = []
    for (const { key, etag, size, lastModifiedMs } of page.objects) {
      const named = this.#timeFromKey(key)
      // A folder marker says nothing about the objects.
      if (key.endsWith('/')) leaf.ordered &&= size === 0
      else if (named === undefined || named < leaf.lastMs) leaf.ordered = false
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
    if (last && leaf.ordered && leaf.lastMs > Number.NEGATIVE_INFINITY)
      leaf.marks.push({ key: last.key, timeMs: leaf.lastMs })
    return objects
  }

  /** The folder below, or undefined if everything in it is outside the window (or the template). */
  async #child(parent: Folder, prefix: string, o: ListingOptions): Promise<Folder | undefined> {
    if (parent.levels) {
      const name = prefix.slice(parent.prefix.length, -1)
      // The configured prefix lacks its slash: the template begins below this folder.
      if (name === '') return { ...parent, prefix }
      const [level, ...rest] = parent.levels
      if (!level) return { prefix, date: parent.date, levels: [], flat: true }
      const date = level(name, parent.date)
      if (!date) this.#outside(prefix)
      if (!date || this.#isOutside(prefix, date, o)) return undefined
      return { prefix, date, levels: rest, flat: rest.length === 0 }
    }
    const name = prefix.slice(0, -1).split('/').at(-1) ?? ''
    const date = folderDate(name, parent.date)
    // A bare number that is no year must not make months of the numbers below it.
    if (!date || (/^\d{4}$/.test(name) && parent.date.year === undefined && !(await this.#holdsMonths(prefix, o)))) {
      return { prefix, date: parent.date, levels: undefined, flat: false }
    }
    return this.#isOutside(prefix, date, o)
      ? undefined
      : { prefix, date, levels: undefined, flat: date.hour !== undefined }
  }

  #isOutside(prefix: string, date: DateParts, o: ListingOptions): boolean {
    if (o.live.has(prefix)) return false
    const [start, end] = [spanStartMs(date), spanEndMs(date)]
    if (start === undefined || end === undefined) return false
    const slackMs = spanSlackMs + (o.sweep ? dayMs : 0)
    return end + slackMs <= o.windowMs || start - slackMs >= (o.untilMs ?? Number.POSITIVE_INFINITY)
  }

  /** A bare `2024/` may be a year or a number: it is a year if it holds nothing but months. */
  async #holdsMonths(prefix: string, o: ListingOptions): Promise<boolean> {
    const known = this.#years.get(prefix)
    if (known !== undefined) return known
    const page = await this.#page({ Prefix: prefix, Delimiter: '/', MaxKeys: 20 }, o)
    const folders = page.prefixes.map((folder) => folder.slice(0, -1).split('/').at(-1) ?? '')
    const files = page.objects.filter(({ key }) => !key.endsWith('/'))
    const months = !page.isTruncated && files.length === 0 && folders.every((name) => /^(0?[1-9]|1[0-2])$/.test(name))
    this.#years.set(prefix, months)
    return months
  }
}

/** True if keys in the folder may begin with `within`. */
function mayHold(folder: string, within = ''): boolean {
  return folder.startsWith(within) || within.startsWith(folder)
}

/** What to ask for, so that what is not wanted is not listed: no further than the next folder, unless all below is listed as one. */
function prefixOf({ prefix, flat }: Folder, within = ''): string {
  if (!within.startsWith(prefix)) return prefix
  const end = flat ? -1 : within.indexOf('/', prefix.length)
  return end < 0 ? within : within.slice(0, end)
}

function newLeaf(flat: boolean): Leaf {
  return { ordered: true, flat, lastMs: Number.NEGATIVE_INFINITY, marks: [] }
}

function lastBefore(leaf: Leaf, windowMs: number): Leaf['marks'][number] | undefined {
  return leaf.marks.findLast((mark) => mark.timeMs < windowMs)
}

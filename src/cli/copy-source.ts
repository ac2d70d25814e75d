/** The source of a one-off copy: lists ahead of the copying, so that a total can be told, and keeps to one object where one is meant. */
import { basename } from 'node:path'
import type { Finding, ListedObject, Outcome, ReplayRange, Signal, Source } from '../core/component.ts'
import type { Counts } from '../core/delivery.ts'
import { StreamError } from '../core/errors.ts'
import type { CopyRequest } from './copy-request.ts'

/** Objects that may be listed and not yet begun. Beyond it the total is told as "at least". */
const aheadObjects = 100_000
/** An object that changes while it is copied is looked for again so many times. */
const rounds = 5

export class CopySource implements Source {
  readonly #source: Source
  readonly #only: CopyRequest['only']
  readonly #outcomes = new Map<string, Outcome>()
  #waiting: ListedObject[] = []
  /** Those before it were given: taking the first of a long list away moves all others. */
  #next = 0
  /** Bytes of the objects found so far, as listed. */
  foundBytes = 0
  #found = 0
  #listed = false
  #unstable = 0
  /** Wakes who waits for a change of what is listed or waits. */
  #changed = Promise.withResolvers<void>()

  constructor(source: Source, only: CopyRequest['only']) {
    this.#source = source
    this.#only = only
  }

  get workers(): number {
    return this.#source.workers
  }

  get dependencies(): Source['dependencies'] {
    return this.#source.dependencies
  }

  get oldestWaitingMs(): number | undefined {
    return this.#source.oldestWaitingMs
  }

  get progress(): Source['progress'] {
    const { complete, failed = 0 } = this.#source.progress
    // A source of files has listed all, and waits for what it gave: it may have to look again.
    return { found: this.#found, complete: this.#listed || complete, failed: failed + this.#unstable }
  }

  async *objects(o: Parameters<Source['objects']>[0]): AsyncGenerator<ListedObject, void, undefined> {
    const listing = this.#list(o)
    // Told below, when what was found before is on its way.
    let failure: unknown
    listing.catch((error: unknown) => {
      failure = error ?? new Error('listing failed')
      this.#wake()
    })
    while (!o.soft.aborted) {
      const object = this.#take()
      if (object) {
        this.#wake()
        yield object
      } else if (failure !== undefined) throw failure
      else if (this.#listed) return
      else await this.#changed.promise
    }
    await listing
  }

  #take(): ListedObject | undefined {
    const object = this.#waiting[this.#next]
    if (object) this.#next += 1
    else if (this.#next > 0) {
      this.#waiting = []
      this.#next = 0
    }
    return object
  }

  async #list(o: Parameters<Source['objects']>[0]): Promise<void> {
    const wake = () => this.#wake()
    o.soft.addEventListener('abort', wake)
    try {
      for await (const object of this.#all(o)) {
        this.#found += 1
        this.foundBytes += object.size ?? 0
        this.#waiting.push(object)
        this.#wake()
        while (this.#waiting.length - this.#next >= aheadObjects && !o.soft.aborted) await this.#changed.promise
        if (o.soft.aborted) return
      }
      this.#listed = true
    } finally {
      o.soft.removeEventListener('abort', wake)
      this.#wake()
    }
  }

  async *#all(o: Parameters<Source['objects']>[0]): AsyncGenerator<ListedObject, void, undefined> {
    const only = this.#only
    if (only && 'key' in only) return yield* this.#one(only.key, o.soft)
    for await (const object of this.#source.objects(o)) {
      if (only && basename(object.key) !== only.file) {
        const advice = 'end DEST with / to copy what is in it'
        throw new StreamError('config.invalid', `SOURCE is a folder, and DEST is the name of one object: ${advice}`)
      }
      yield object
    }
  }

  async *#one(key: string, soft: AbortSignal): AsyncGenerator<ListedObject, void, undefined> {
    for (let round = 1; round <= rounds && !soft.aborted; round += 1) {
      const found = await this.#source.find(key, { signal: soft }).catch((error: unknown) => {
        if (!(error instanceof StreamError) || error.code !== 'source.vanished') throw error
        const advice = 'for all that is below it, end SOURCE with /'
        throw new StreamError('source.access', `there is no object of the key ${key}: ${advice}`, { cause: error })
      })
      const object = { ...found, path: basename(key) }
      yield object
      while (!soft.aborted && !this.#outcomes.has(object.id)) await this.#changed.promise
      if (this.#outcomes.get(object.id) !== 'replaced') return
    }
    this.#unstable += 1
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  finished(object: ListedObject, outcome: Outcome, counts: Counts): void {
    if (this.#only) this.#outcomes.set(object.id, outcome)
    this.#wake()
    this.#source.finished(object, outcome, counts)
  }

  check(o: Signal): Promise<void> {
    return this.#source.check(o)
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#source.examine(o)
  }

  replayed(range: ReplayRange, o: Signal): AsyncIterable<ListedObject> {
    return this.#source.replayed(range, o)
  }

  find(key: string, o: Signal): Promise<ListedObject> {
    return this.#source.find(key, o)
  }

  open(object: ListedObject, offset: number, o: Signal): AsyncIterable<Buffer> {
    return this.#source.open(object, offset, o)
  }

  confirm(object: ListedObject, o: Signal): Promise<number> {
    return this.#source.confirm(object, o)
  }

  fill(object: ListedObject, offset: number, into: Buffer, o: Signal): Promise<void> {
    return this.#source.fill(object, offset, into, o)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]()
  }
}

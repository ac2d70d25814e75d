/** A source and an object sink in memory, for tests of the copier. */
import { setImmediate as turn } from 'node:timers/promises'
import type {
  Finding,
  ListedObject,
  ObjectPart,
  ObjectSink,
  ObjectUpload,
  Outcome,
  Signal,
  Source,
} from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { finalOutcomes } from './pipeline.ts'

/** A body whose every byte tells its place. */
export function bodyOf(bytes: number, seed = 0): Buffer {
  const body = Buffer.alloc(bytes)
  for (let i = 0; i < bytes; i += 1) body[i] = (i * 31 + (i >> 8) * 7 + seed) & 255
  return body
}

/** Gives what is in `files` and not settled, one poll after the other until nothing is new. */
export class FileTree implements Source {
  readonly dependencies = []
  readonly oldestWaitingMs = undefined
  readonly workers: number
  readonly progress = { found: 0, complete: false }
  readonly files = new Map<string, Buffer>()
  readonly told: Array<{ readonly key: string; readonly outcome: Outcome }> = []
  readonly #ledger: Ledger
  /** Called before a part is read; may throw, wait or change the tree. */
  onFill: (key: string, offset: number, o: Signal) => Promise<void> | void = () => undefined
  onConfirm: (key: string) => Promise<void> | void = () => undefined
  reads = 0
  readsNow = 0
  mostReads = 0

  constructor(ledger: Ledger, files: Readonly<Record<string, Buffer>>, o: { workers?: number } = {}) {
    this.#ledger = ledger
    this.workers = o.workers ?? 4
    for (const [key, body] of Object.entries(files)) this.files.set(key, body)
  }

  #object(key: string, body: Buffer): ListedObject {
    const id = `b/${key}@${body.length}-${body[0] ?? 0}`
    return { id, bucket: 'b', key, size: body.length, timeMs: 1e12, lastModifiedMs: 1e12 }
  }

  async check(): Promise<void> {}

  async *examine(): AsyncGenerator<Finding> {}

  async *replayed(): AsyncGenerator<ListedObject> {}

  async *objects({ soft }: { readonly soft: AbortSignal }): AsyncGenerator<ListedObject> {
    for (const [key, body] of this.files) {
      await turn()
      if (soft.aborted) return
      const object = this.#object(key, body)
      const state = this.#ledger.find(object.id)?.state
      if (state === undefined || !finalOutcomes.has(state)) yield object
    }
  }

  async find(): Promise<ListedObject> {
    throw new Error('not asked for here')
  }

  open(): AsyncIterable<Buffer> {
    throw new Error('not asked for here')
  }

  async confirm(object: ListedObject): Promise<number> {
    await this.onConfirm(object.key)
    const body = this.files.get(object.key)
    if (!body) throw new StreamError('source.vanished', `cannot read ${object.key}: it is gone`)
    if (this.#object(object.key, body).id === object.id) return body.length
    throw new StreamError('source.replaced', `cannot read ${object.key}: it changed`)
  }

  async fill(object: ListedObject, offset: number, into: Buffer, o: Signal): Promise<void> {
    this.reads += 1
    this.readsNow += 1
    this.mostReads = Math.max(this.mostReads, this.readsNow)
    try {
      await turn()
      await this.onFill(object.key, offset, o)
      o.signal.throwIfAborted()
      const bytes = this.files.get(object.key)?.subarray(offset, offset + into.length) ?? Buffer.alloc(0)
      if (bytes.copy(into) < into.length)
        throw new StreamError('source.short_body', `cannot read ${object.key}: it ends early`)
    } finally {
      this.readsNow -= 1
    }
  }

  finished({ key }: ListedObject, outcome: Outcome): void {
    this.told.push({ key, outcome })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

interface Stored {
  readonly size: number
  readonly parts: Map<number, Buffer>
}

/** What outlives the process: finished objects, and uploads that were begun. */
export class MemoryBucket {
  readonly objects = new Map<string, Buffer>()
  readonly uploads = new Map<string, Stored>()
}

export type SinkCall = 'open' | 'send' | 'complete' | 'abort'

export class MemoryObjects implements ObjectSink {
  readonly dependencies = []
  readonly partBytes: number
  readonly readConcurrency: number
  readonly uploadConcurrency: number
  readonly retry = { minMs: 1, maxMs: 2, maxAttempts: 4 }
  readonly bucket: MemoryBucket
  /** Called before each call; may throw. */
  onCall: (call: SinkCall, key: string, part: number, o: Signal) => Promise<void> | void = () => undefined
  sendsNow = 0
  mostSends = 0
  exists: 'overwrite' | 'skip' = 'overwrite'

  constructor(bucket: MemoryBucket, o: { partBytes?: number; reads?: number; sends?: number } = {}) {
    this.bucket = bucket
    this.partBytes = o.partBytes ?? 100
    this.readConcurrency = o.reads ?? 2
    this.uploadConcurrency = o.sends ?? 3
  }

  async check(): Promise<void> {}

  async *examine(): AsyncGenerator<Finding> {}

  placeOf({ key }: ListedObject): string {
    return `mem://${key}`
  }

  async open(object: ListedObject, size: number, o: Signal): Promise<ObjectUpload | undefined> {
    await this.onCall('open', object.key, 0, o)
    if (this.exists === 'skip' && this.bucket.objects.has(object.key)) return undefined
    const stored = this.bucket.uploads.get(object.id) ?? { size, parts: new Map() }
    this.bucket.uploads.set(object.id, stored)
    const partCount = Math.max(1, Math.ceil(size / this.partBytes))
    const parts = Array.from({ length: partCount }, (_, i) => {
      const offset = i * this.partBytes
      return { number: i + 1, offset, bytes: Math.min(this.partBytes, size - offset) }
    })
    const { key } = object
    return {
      partCount,
      partBytes: this.partBytes,
      missing: parts.filter(({ number }) => !stored.parts.has(number)),
      send: (part, bytes, signal) => this.#send(key, stored, part, bytes, signal),
      complete: async (signal) => {
        await this.onCall('complete', key, 0, signal)
        this.bucket.uploads.delete(object.id)
        if (this.exists === 'skip' && this.bucket.objects.has(key)) return 'left alone'
        this.bucket.objects.set(key, Buffer.concat(parts.map(({ number }) => stored.parts.get(number) as Buffer)))
        return 'stored'
      },
      abort: async (signal) => {
        await this.onCall('abort', key, 0, signal)
        this.bucket.uploads.delete(object.id)
      },
    }
  }

  async #send(key: string, stored: Stored, part: ObjectPart, bytes: Buffer, o: Signal): Promise<void> {
    this.sendsNow += 1
    this.mostSends = Math.max(this.mostSends, this.sendsNow)
    try {
      await turn()
      await this.onCall('send', key, part.number, o)
      o.signal.throwIfAborted()
      stored.parts.set(part.number, Buffer.from(bytes))
    } finally {
      this.sendsNow -= 1
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

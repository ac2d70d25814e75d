/** The state of a test S3 server: what it holds, what it was asked, how it is told to behave. */
import { createHash } from 'node:crypto'
import type { S3Fault } from './s3-answer.ts'
import { type PutOptions, type S3Body, S3Store, type StoredObject } from './s3-store.ts'
import { partsOf, S3Uploads } from './s3-uploads.ts'
import type { S3Request } from './s3-wire.ts'

/** `n` counts the requests for this name that this hook saw, from 1. A hook may also change the bucket. */
export type FaultHook = (
  name: string,
  n: number,
  request: S3Request,
) => S3Fault | undefined | Promise<S3Fault | undefined>

/** A hook gets the key, but for those that say otherwise. */
export interface S3Faults {
  onGet?: FaultHook | undefined
  onHead?: FaultHook | undefined
  onPut?: FaultHook | undefined
  onDelete?: FaultHook | undefined
  onTagging?: FaultHook | undefined
  onCreateUpload?: FaultHook | undefined
  /** Gets `<key>#<part number>`. */
  onUploadPart?: FaultHook | undefined
  onListParts?: FaultHook | undefined
  onComplete?: FaultHook | undefined
  onAbort?: FaultHook | undefined
  /** Gets the prefix. */
  onList?: FaultHook | undefined
  /** Gets the prefix. */
  onListUploads?: FaultHook | undefined
  /** Gets the bucket. */
  onHeadBucket?: FaultHook | undefined
}

/** One request as it came. */
export interface RecordedRequest {
  readonly method: string
  readonly key: string
  readonly query: URLSearchParams
  readonly range: string | undefined
  readonly headers: S3Request['headers']
}

export interface VirtualObject {
  readonly key: string
  readonly size: number
  /** Bytes `from` up to, not including, `to`. */
  readonly body: (from: number, to: number) => S3Body
  readonly lastModified?: Date
  readonly storageClass?: string
}

export interface VirtualListing {
  /** Bytes of each; 0 if left out. */
  readonly sizeOf?: (index: number) => number
  readonly lastModifiedOf?: (index: number) => Date
  /** The whole object; without it every GET is a NoSuchKey. */
  readonly bodyOf?: (index: number) => Buffer
}

export interface S3Counters {
  list: number
  get: number
  head: number
  put: number
  delete: number
  createUpload: number
  uploadPart: number
  listParts: number
  listUploads: number
  complete: number
  abort: number
  tagging: number
  other: number
  /** Bytes of bodies of objects handed to the sockets. */
  bytesSent: number
  /** Bytes of bodies of requests, with their framing. */
  bytesReceived: number
}

/** An upload that was begun and neither completed nor aborted. */
export interface OpenUpload {
  readonly key: string
  readonly uploadId: string
  readonly initiated: Date
  readonly parts: ReadonlyArray<{ readonly number: number; readonly size: number; readonly etag: string }>
}

export class State {
  readonly store = new S3Store()
  readonly multipart = new S3Uploads()
  readonly requests: RecordedRequest[] = []
  record = true
  readonly counters: S3Counters = {
    list: 0,
    get: 0,
    head: 0,
    put: 0,
    delete: 0,
    createUpload: 0,
    uploadPart: 0,
    listParts: 0,
    listUploads: 0,
    complete: 0,
    abort: 0,
    tagging: 0,
    other: 0,
    bytesSent: 0,
    bytesReceived: 0,
  }
  readonly faults: S3Faults = {}
  listWithoutSize = false
  buckets: Set<string> | undefined
  checksums = true
  conditionalWrites = true
  listPartsChecksums = true
  minPartBytes = 5 * 2 ** 20
  keepBodies = true
  nowMs: () => number = Date.now
  readonly #asked = new WeakMap<FaultHook, Map<string, number>>()

  get versioned(): boolean {
    return this.store.versioned
  }

  set versioned(on: boolean) {
    this.store.versioned = on
  }

  put(key: string, body: Buffer | string, o?: PutOptions): void {
    this.store.put(key, typeof body === 'string' ? Buffer.from(body) : body, o)
  }

  remove(key: string): void {
    this.store.remove(key)
  }

  read(key: string): Buffer | undefined {
    const object = this.store.get(key)
    const body = object?.body(0, object.size)
    if (body === undefined || Buffer.isBuffer(body)) return body
    return Symbol.iterator in body ? Buffer.concat([...body]) : undefined
  }

  stat(key: string): StoredObject | undefined {
    return this.store.get(key)
  }

  keys(): string[] {
    return this.store.keys()
  }

  uploads(): OpenUpload[] {
    return this.multipart.sorted().map((upload) => ({
      key: upload.key,
      uploadId: upload.uploadId,
      initiated: upload.initiated,
      parts: partsOf(upload).map(({ number, etag, received }) => ({ number, size: received.size, etag })),
    }))
  }

  addVirtual(o: VirtualObject): void {
    const etag = createHash('md5').update(`${o.key} ${o.size}`).digest('hex')
    const { size, body, lastModified = new Date(), storageClass = 'STANDARD' } = o
    this.store.add(o.key, { size, etag: `"${etag}"`, lastModified, storageClass, body })
  }

  addVirtualListing(count: number, keyOf: (index: number) => string, o: VirtualListing = {}): void {
    const now = new Date()
    this.store.addShelf({
      count,
      keyAt: keyOf,
      objectAt: (index) => {
        const { sizeOf, lastModifiedOf, bodyOf } = o
        return {
          size: sizeOf?.(index) ?? 0,
          etag: `"${index.toString(16).padStart(32, '0')}"`,
          lastModified: lastModifiedOf?.(index) ?? now,
          storageClass: 'STANDARD',
          body: (from, to) => bodyOf?.(index).subarray(from, to) ?? Buffer.alloc(0),
        }
      },
    })
  }

  /** The fault for this request, if a hook is set. */
  fault(hook: keyof S3Faults, name: string, request: S3Request): ReturnType<FaultHook> {
    const call = this.faults[hook]
    if (!call) return undefined
    const asked = this.#asked.get(call) ?? new Map<string, number>()
    this.#asked.set(call, asked)
    const n = (asked.get(name) ?? 0) + 1
    asked.set(name, n)
    return call(name, n, request)
  }
}

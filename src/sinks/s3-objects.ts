/** The `s3` sink for whole objects: which upload an object gets, and what an earlier one has left. */
import type { S3Client } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import { RequestWatch } from '../aws/request-watch.ts'
import type {
  Bound,
  Dependency,
  Finding,
  ListedObject,
  ObjectSink,
  ObjectSinkContext,
  ObjectUpload,
  RetryWaits,
  Signal,
} from '../core/component.ts'
import type { DependencyState } from '../core/dependency-state.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { UploadEntry, UploadedPart } from '../ledger/ledger.ts'
import { crc64FromBase64 } from './crc64.ts'
import { bucketDependency, checkBucket } from './s3-bucket.ts'
import type { S3ObjectsConfig } from './s3-config.ts'
import { examineBucket } from './s3-examine.ts'
import { fixedPrefix, ObjectKeys } from './s3-key.ts'
import { crcOfParts, MultipartUpload, partsOf, type UploadOptions } from './s3-upload.ts'
import { isCopyOf, keptHeaders } from './s3-upload-headers.ts'
import { UploadRequests } from './s3-upload-requests.ts'
import { SingleUpload } from './s3-upload-single.ts'
import { s3ObjectMetrics, type UploadTask, Verifier } from './s3-upload-verify.ts'

const mib = 2 ** 20
/** https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html */
const maxParts = 10_000
const maxPartBytes = 5 * 2 ** 30

/** Makes the sink; nothing is asked of the server yet. */
export async function createS3Objects(config: S3ObjectsConfig, context: ObjectSinkContext): Promise<ObjectSink> {
  return new S3Objects(config, context)
}

/** Size of the parts of an object; undefined if it is too large for S3. */
export function partBytesFor(size: number, configured: number): number | undefined {
  const least = Math.ceil(size / maxParts)
  const partBytes = least <= configured ? configured : Math.ceil(least / mib) * mib
  return partBytes > maxPartBytes ? undefined : partBytes
}

class S3Objects implements ObjectSink {
  readonly partBytes: number
  readonly readConcurrency: number
  readonly uploadConcurrency: number
  readonly retry: RetryWaits & { readonly maxAttempts: number }
  readonly #config: S3ObjectsConfig
  readonly #context: ObjectSinkContext
  readonly #keys: ObjectKeys
  readonly #client: S3Client
  readonly #watch: RequestWatch
  readonly #dependency: DependencyState
  readonly #requests: UploadRequests
  readonly #metrics: Bound<typeof s3ObjectMetrics>
  readonly #options: UploadOptions
  /** Uploads that are not over, by key and id: left by earlier runs, or begun by this one. */
  readonly #known = new Map<string, Map<string, UploadEntry>>()
  readonly #begun = new Set<string>()

  constructor(config: S3ObjectsConfig, context: ObjectSinkContext) {
    const { bucket, checksum, verify, timeout: timeoutMs, retry } = config
    const { log, pipeline, meter, uploads } = context
    this.partBytes = config.part_size
    this.readConcurrency = config.read_concurrency
    this.uploadConcurrency = config.upload_concurrency
    this.retry = { minMs: retry.min, maxMs: retry.max, maxAttempts: retry.max_attempts }
    this.#config = config
    this.#context = context
    this.#keys = new ObjectKeys(config.key, pipeline)
    // The caller bounds how many requests there are: one that waited for a connection would look like one that cannot connect.
    this.#client = createS3Client(config, Number.POSITIVE_INFINITY, { idleMs: timeoutMs, maxAttempts: 1 })
    this.#watch = new RequestWatch(this.#client, () => undefined)
    const prefix = fixedPrefix(config.key, pipeline)
    this.#dependency = bucketDependency({ client: this.#client, bucket, prefix, nowMs: context.nowMs })
    const used = (error?: unknown) => this.#dependency.used(error)
    this.#requests = new UploadRequests({ client: this.#client, bucket, checksum, idleMs: timeoutMs, log, used })
    this.#metrics = meter.bind(s3ObjectMetrics, {})
    const verifier = new Verifier({ requests: this.#requests, verify, timeoutMs, log, metrics: this.#metrics })
    this.#options = { requests: this.#requests, verifier, ifExists: config.if_exists, log }
    for (const upload of uploads.list()) if (upload.bucket === bucket) this.#remember(upload)
  }

  async check({ signal }: Signal): Promise<void> {
    const { bucket, key } = this.#config
    const { log, pipeline } = this.#context
    await checkBucket(this.#client, { bucket, prefix: fixedPrefix(key, pipeline), log, signal })
  }

  get dependencies(): readonly Dependency[] {
    return [this.#dependency]
  }

  examine(o: Signal): AsyncIterable<Finding> {
    const prefix = fixedPrefix(this.#config.key, this.#context.pipeline)
    const { bucket, endpoint } = this.#config
    const hasEndpoint = endpoint !== undefined
    return examineBucket({ hasEndpoint, client: this.#client, watch: this.#watch, bucket, prefix, hasUploads: true }, o)
  }

  placeOf(object: ListedObject): string {
    return this.#requests.place(this.#keys.keyOf(object))
  }

  async open(object: ListedObject, size: number, o: Signal): Promise<ObjectUpload | undefined> {
    const key = this.#keys.keyOf(object)
    const partBytes = partBytesFor(size, this.partBytes)
    if (partBytes === undefined) {
      throw new StreamError(
        'sink.rejected',
        `cannot store ${this.#requests.place(key)}: ${size} bytes are more than S3 takes in ${maxParts} parts of 5 GiB (split the object)`,
      )
    }
    const task = { object, size, key, headers: keptHeaders(object, this.#config, this.#context.pipeline) }
    const mayBeKnown = size > this.partBytes || this.#known.has(key)
    const known = mayBeKnown ? this.#context.uploads.find(object.id, { bucket: this.#config.bucket, key }) : undefined
    if (this.#config.if_exists !== 'overwrite' && (await this.#isTaken(task, o))) {
      await this.#abortOthers(task, undefined, o)
      return undefined
    }
    const fits = known && known.size === size && known.partBytes === partBytes && size > this.partBytes
    await this.#abortOthers(task, fits ? known.uploadId : undefined, o)
    if (size <= this.partBytes) return new SingleUpload(task, this.#options)
    const resumed = fits ? await this.#resume(task, known, o) : undefined
    return resumed ?? (await this.#begin(task, partBytes, o))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#requests.close()
    this.#client.destroy()
  }

  /** True if the key is taken and is to be left so. Throws sink.rejected if that must not be. */
  async #isTaken(task: UploadTask, o: Signal): Promise<boolean> {
    const found = await this.#requests.head(task.key, o).catch((error: unknown) => {
      // Who may not list is refused for keys that are free, too: the condition of the write decides.
      if (error instanceof StreamError && error.data.status === 403) return undefined
      throw error
    })
    if (!found) return false
    const place = this.#requests.place(task.key)
    // An earlier run stored it and could not write that down.
    if (isCopyOf(found, task.headers, task.size)) {
      this.#context.log.info({ place }, 'this very object is there already')
      return true
    }
    if (this.#config.if_exists === 'skip') return true
    throw new StreamError(
      'sink.rejected',
      `cannot write ${place}: an object is there already (\`if_exists: fail\`; remove it, or change \`key\` or \`if_exists\`)`,
      { data: { bucket: this.#config.bucket, key: task.key } },
    )
  }

  async #begin(task: UploadTask, partBytes: number, o: Signal): Promise<ObjectUpload> {
    const { uploads, nowMs } = this.#context
    const { object, key, size } = task
    const uploadId = await this.#requests.create(key, task.headers, o)
    const { bucket } = this.#config
    const entry = { uploadId, objectId: object.id, bucket, key, size, partBytes, startedMs: nowMs() }
    try {
      uploads.begin(entry)
    } catch (error) {
      // Nobody would ever know of it.
      await this.#requests.abort(key, uploadId, o)
      throw error
    }
    return this.#uploadOf(task, { ...entry, parts: [] })
  }

  /** Goes on with an upload that was begun earlier; undefined if the server does not have it any more. */
  async #resume(task: UploadTask, known: UploadEntry, o: Signal): Promise<ObjectUpload | undefined> {
    const listed = await this.#requests.parts(known.key, known.uploadId, o)
    const { size, partBytes } = known
    if (!listed) {
      // Completed by a run that was killed before it could write that down? Only who knows all its parts can tell.
      const { parts } = known
      const isKnown = parts.length === [...partsOf(size, partBytes)].length && parts.every(hasChecksum)
      if (isKnown && (await this.#options.verifier.find(task, crcOfParts(parts), o))) return this.#uploadOf(task, known)
      this.#context.uploads.remove(known.uploadId)
      this.#forget(known)
      return undefined
    }
    const expected = new Map([...partsOf(size, partBytes)].map((part) => [part.number, part.bytes]))
    const written = new Map(known.parts.map((part) => [part.number, part]))
    const parts: UploadedPart[] = []
    for (const { number, bytes, etag, checksum } of listed) {
      if (bytes === undefined || bytes !== expected.get(number)) continue
      const ours = written.get(number)
      // What the server has now is not what it was sent: it is sent again.
      if (ours && checksum !== undefined && checksum !== ours.checksum) continue
      const isOurs = ours?.etag === etag
      const sum = isOurs ? ours.checksum : checksum
      // A part whose checksum nobody tells could not be part of the checksum of the whole.
      if (sum === undefined || crc64FromBase64(sum) === undefined) continue
      const part = { number, bytes, etag, checksum: sum }
      if (!isOurs) this.#context.uploads.addPart(known.uploadId, part)
      parts.push(part)
    }
    this.#metrics.s3_uploads_resumed_total.add(1)
    const place = this.#requests.place(known.key)
    this.#context.log.info({ place, parts: parts.length, of: expected.size }, 'going on with an upload that was begun')
    return this.#uploadOf(task, { ...known, parts })
  }

  #uploadOf(task: UploadTask, entry: UploadEntry): ObjectUpload {
    const { uploadId } = entry
    this.#begun.add(uploadId)
    this.#remember(entry)
    return new MultipartUpload(task, entry, {
      ...this.#options,
      uploads: this.#context.uploads,
      ended: () => this.#forget(entry),
      aborted: () => this.#metrics.s3_uploads_aborted_total.add(1),
    })
  }

  /** Aborts the uploads to the same key that nobody goes on with. `kept` is the one that is gone on with. */
  async #abortOthers({ key, object }: UploadTask, kept: string | undefined, o: Signal): Promise<void> {
    const place = this.#requests.place(key)
    for (const upload of [...(this.#known.get(key)?.values() ?? [])]) {
      const { uploadId, objectId } = upload
      if (uploadId === kept) continue
      const isSameSource = objectId.startsWith(`${object.bucket}/${object.key}@`)
      if (!isSameSource && this.#begun.has(uploadId)) {
        const facts = { place, object: object.id, other: objectId }
        this.#context.log.warn(
          facts,
          'two objects have the same key: the later one takes the place of the other (change `key`)',
        )
        continue
      }
      try {
        await this.#requests.abort(key, uploadId, o)
        this.#context.uploads.remove(uploadId)
        this.#forget(upload)
        this.#metrics.s3_uploads_aborted_total.add(1)
      } catch (error) {
        o.signal.throwIfAborted()
        // It stays in the log, and must not keep the object from being stored.
        const facts = { place, uploadId, error: explainError(error) }
        this.#context.log.warn(facts, 'cannot abort an upload that nobody goes on with; it is tried again')
      }
    }
  }

  #remember(upload: UploadEntry): void {
    const others = this.#known.get(upload.key)
    if (others) others.set(upload.uploadId, upload)
    else this.#known.set(upload.key, new Map([[upload.uploadId, upload]]))
  }

  #forget({ key, uploadId }: UploadEntry): void {
    this.#begun.delete(uploadId)
    const others = this.#known.get(key)
    others?.delete(uploadId)
    if (others?.size === 0) this.#known.delete(key)
  }
}

function hasChecksum({ checksum }: UploadedPart): boolean {
  return crc64FromBase64(checksum) !== undefined
}

/** Compares what a bucket has with what was sent, and removes what is wrong. */
import type { Bound, ListedObject, Log, MetricSpec, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { objectId, readObject } from '../sources/s3-object.ts'
import { Crc64, crc64ToBase64 } from './crc64.ts'
import { isCopyOf } from './s3-upload-headers.ts'
import type { FoundObject, KeptHeaders, StoredObject, UploadRequests } from './s3-upload-requests.ts'

export const s3ObjectMetrics = {
  s3_objects_stored_total: { kind: 'counter', unit: '{object}', help: 'Objects stored and verified.' },
  s3_objects_wrong_total: {
    kind: 'counter',
    unit: '{object}',
    help: 'Objects that the server stored other than they were sent; they were removed again.',
  },
  s3_uploads_resumed_total: { kind: 'counter', unit: '{upload}', help: 'Uploads that an earlier attempt had begun.' },
  s3_uploads_aborted_total: { kind: 'counter', unit: '{upload}', help: 'Uploads aborted.' },
} as const satisfies Record<string, MetricSpec>

/** One object, and what it is to become. */
export interface UploadTask {
  readonly object: ListedObject
  readonly size: number
  readonly key: string
  readonly headers: KeptHeaders
}

export interface VerifierOptions {
  readonly requests: UploadRequests
  readonly verify: 'checksum' | 'size' | 'read_back'
  readonly timeoutMs: number
  readonly log: Log
  readonly metrics: Bound<typeof s3ObjectMetrics>
}

export class Verifier {
  readonly #o: VerifierOptions
  #toldOfSize = false

  constructor(o: VerifierOptions) {
    this.#o = o
  }

  /**
   * The object that is there if it is the one that was sent: for requests whose answer was lost. Whoever may not look finds
   * nothing, and asks again for what may have been done.
   */
  async find(task: UploadTask, crc: bigint, o: Signal): Promise<FoundObject | undefined> {
    const found = await this.#o.requests.head(task.key, o).catch((error: unknown) => {
      if (error instanceof StreamError && error.code === 'sink.access') return undefined
      throw error
    })
    if (!found || !isCopyOf(found, task.headers, task.size)) return undefined
    return found.crc === undefined || found.crc === crc ? found : undefined
  }

  /** Throws if the object that was just stored is not what was sent; then it is removed. `crc` is that of the bytes sent. */
  async verify(task: UploadTask, stored: StoredObject, crc: bigint, o: Signal): Promise<void> {
    const problem = await this.#problem(task, stored, crc, o)
    if (problem !== undefined) throw await this.#remove(task, stored, problem, o)
    this.#o.metrics.s3_objects_stored_total.add(1)
  }

  async #problem(task: UploadTask, stored: StoredObject, crc: bigint, o: Signal): Promise<string | undefined> {
    const { verify, requests } = this.#o
    // Any checksum that is given must be right, whatever is asked for.
    if (stored.crc !== undefined && stored.crc !== crc) return differentCrc(stored.crc, crc)
    if (verify === 'checksum' && stored.crc !== undefined) return undefined
    const found = await requests.head(task.key, o)
    if (!found) throw this.#gone(task)
    // Another program wrote there meanwhile; what it wrote is not ours to judge.
    if (stored.etag !== undefined && found.etag !== undefined && found.etag !== stored.etag) throw this.#replaced(task)
    if (found.size !== task.size)
      return `the server has ${found.size ?? 'an unknown number of'} bytes, and ${task.size} were sent`
    if (found.crc !== undefined && found.crc !== crc) return differentCrc(found.crc, crc)
    if (verify === 'read_back') return await this.#readBack(task, found, crc, o)
    if (verify === 'checksum' && found.crc === undefined) this.#tellOfSize()
    return undefined
  }

  async #readBack(task: UploadTask, found: FoundObject, crc: bigint, o: Signal): Promise<string | undefined> {
    const { requests, timeoutMs } = this.#o
    const { object, key, size } = task
    const { bucket } = requests
    const copy = { ...object, id: objectId(bucket, key, found.etag ?? ''), bucket, key, etag: found.etag, size }
    const read = await Crc64.create()
    try {
      for await (const piece of readObject(requests.client, copy, 0, { signal: o.signal, stallMs: timeoutMs }))
        read.update(piece)
    } catch (error) {
      o.signal.throwIfAborted()
      if (error instanceof StreamError && error.code === 'source.replaced') throw this.#replaced(task)
      throw new StreamError(
        'sink.unavailable',
        `cannot verify ${requests.place(key)}: ${explainError(error)} (\`verify: read_back\` needs s3:GetObject)`,
        { cause: error },
      )
    }
    return read.digest() === crc ? undefined : differentCrc(read.digest(), crc)
  }

  /** Removes the wrong object; the error to throw. */
  async #remove(task: UploadTask, stored: StoredObject, problem: string, o: Signal): Promise<StreamError> {
    const { requests, log, metrics } = this.#o
    metrics.s3_objects_wrong_total.add(1)
    const place = requests.place(task.key)
    const removed = await requests.remove(task.key, { signal: o.signal, versionId: stored.versionId }).then(
      () => true,
      (error: unknown) => {
        o.signal.throwIfAborted()
        log.error({ place, error: explainError(error) }, 'a wrong object cannot be removed: remove it')
        return false
      },
    )
    log.error({ place, problem, removed }, 'the server did not store what it was sent')
    return new StreamError(
      'sink.rejected',
      `cannot store ${place}: ${problem} (${removed ? 'the wrong object was removed' : 'remove the wrong object'}; look after the server, then copy again)`,
      { data: { bucket: requests.bucket, key: task.key } },
    )
  }

  #gone({ key }: UploadTask): StreamError {
    const text = `cannot verify ${this.#o.requests.place(key)}: it is gone already (does another program remove it?)`
    return new StreamError('sink.unavailable', text)
  }

  #replaced({ key }: UploadTask): StreamError {
    const text = `cannot verify ${this.#o.requests.place(key)}: something else was written there meanwhile (give each writer keys of its own)`
    return new StreamError('sink.rejected', text)
  }

  #tellOfSize(): void {
    if (this.#toldOfSize) return
    this.#toldOfSize = true
    this.#o.log.warn(
      { bucket: this.#o.requests.bucket },
      'the server keeps no CRC64NVME of whole objects: their size is compared (`verify: read_back` compares their bytes)',
    )
  }
}

function differentCrc(theirs: bigint, ours: bigint): string {
  return `the bytes there have the checksum ${crc64ToBase64(theirs)}, and those sent ${crc64ToBase64(ours)}`
}

/** One object on its way up in a single request: no larger than a part, maybe empty. */
import type { ObjectPart, ObjectUpload, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { crc64Of } from './crc64.ts'
import { s3FailureName } from './s3-sink-errors.ts'
import { expectWhole, partsOf, type UploadOptions } from './s3-upload.ts'
import type { StoredObject } from './s3-upload-requests.ts'
import type { UploadTask } from './s3-upload-verify.ts'

export class SingleUpload implements ObjectUpload {
  readonly partCount = 1
  readonly partBytes: number
  readonly missing: readonly ObjectPart[]
  readonly #task: UploadTask
  readonly #o: UploadOptions
  /** The caller's, until `complete` or `abort` returns: what was sent must not be visible before. */
  #bytes: Buffer | undefined
  /** An earlier request may have stored the object already, whether its answer came or not. */
  #isRepeat = false
  #isOver = false
  #outcome: 'stored' | 'left alone' = 'stored'

  constructor(task: UploadTask, o: UploadOptions) {
    this.#task = task
    this.#o = o
    this.partBytes = task.size
    this.missing = [...partsOf(task.size, task.size)]
  }

  async send(part: ObjectPart, bytes: Buffer, { signal }: Signal): Promise<void> {
    signal.throwIfAborted()
    expectWhole(part, bytes)
    this.#bytes = bytes
  }

  async complete(o: Signal): Promise<'stored' | 'left alone'> {
    if (this.#isOver) return this.#outcome
    const { requests, verifier } = this.#o
    const { key } = this.#task
    const bytes = this.#bytes
    if (!bytes) throw new StreamError('core.unbalanced', `${requests.place(key)} was to be completed without its bytes`)
    const crc = await crc64Of(bytes)
    const known = this.#isRepeat ? await verifier.find(this.#task, crc, o) : undefined
    this.#isRepeat = true
    const stored = known ?? (await this.#put(bytes, crc, o))
    if (stored === 'left alone') this.#outcome = stored
    else await verifier.verify(this.#task, stored, crc, o)
    this.#end()
    return this.#outcome
  }

  async abort(): Promise<void> {
    this.#end()
  }

  async #put(bytes: Buffer, crc: bigint, o: Signal): Promise<StoredObject | 'left alone'> {
    const { requests, verifier, ifExists, log } = this.#o
    const { key, headers } = this.#task
    try {
      return await requests.put(key, bytes, { signal: o.signal, crc, headers, ifFree: ifExists !== 'overwrite' })
    } catch (error) {
      o.signal.throwIfAborted()
      if (s3FailureName(error) !== 'PreconditionFailed') throw error
      const found = await verifier.find(this.#task, crc, o)
      if (found) return found
      if (ifExists !== 'skip') throw error
      log.info({ place: requests.place(key) }, 'left alone: an object was stored there meanwhile')
      return 'left alone'
    }
  }

  #end(): void {
    this.#isOver = true
    this.#bytes = undefined
  }
}

/**
 * One object on its way up in parts.
 *
 *   begun ──send──▶ every part stored ──complete──▶ stored, verified
 *     │                                    │
 *     └──────────────abort─────────────────┴──▶ removed
 *
 * An upload that the server has lost, or refuses to complete, is over: every further call throws the same error, and a new
 * attempt at the object begins a new upload.
 */
import type { Log, ObjectPart, ObjectUpload, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { UploadedPart, UploadLog } from '../ledger/ledger.ts'
import { crc64FromBase64, joinCrc64 } from './crc64.ts'
import { s3FailureName } from './s3-sink-errors.ts'
import type { FoundObject, StoredObject, UploadRequests } from './s3-upload-requests.ts'
import type { UploadTask, Verifier } from './s3-upload-verify.ts'

export interface UploadOptions {
  readonly requests: UploadRequests
  readonly verifier: Verifier
  readonly ifExists: 'overwrite' | 'skip' | 'fail'
  readonly log: Log
}

export interface MultipartOptions extends UploadOptions {
  readonly uploads: UploadLog
  /** The upload is over: stored, or removed. */
  readonly ended: () => void
  readonly aborted: () => void
}

/** Answers to CompleteMultipartUpload after which these parts never become an object. */
const hopeless = new Set([
  'BadDigest',
  'ConditionalRequestConflict',
  'EntityTooSmall',
  'InvalidPart',
  'InvalidPartOrder',
  'NoSuchUpload',
])

export class MultipartUpload implements ObjectUpload {
  readonly partCount: number
  readonly partBytes: number
  readonly missing: readonly ObjectPart[]
  readonly #task: UploadTask
  readonly #uploadId: string
  readonly #o: MultipartOptions
  /** Stored parts, by number. */
  readonly #parts: Map<number, UploadedPart>
  #isOver = false
  #outcome: 'stored' | 'left alone' = 'stored'
  #lost: StreamError | undefined

  /** `parts` are stored already. */
  constructor(
    task: UploadTask,
    upload: { readonly uploadId: string; readonly partBytes: number; readonly parts: readonly UploadedPart[] },
    o: MultipartOptions,
  ) {
    this.#task = task
    this.#uploadId = upload.uploadId
    this.#o = o
    this.partBytes = upload.partBytes
    this.#parts = new Map(upload.parts.map((part) => [part.number, part]))
    const parts = [...partsOf(task.size, upload.partBytes)]
    this.partCount = parts.length
    this.missing = parts.filter(({ number }) => !this.#parts.has(number))
  }

  async send(part: ObjectPart, bytes: Buffer, o: Signal): Promise<void> {
    this.#throwIfLost()
    expectWhole(part, bytes)
    const { key } = this.#task
    const { requests, uploads } = this.#o
    try {
      const stored = await requests.part(key, this.#uploadId, part.number, bytes, o)
      this.#parts.set(part.number, stored)
      uploads.addPart(this.#uploadId, stored)
    } catch (error) {
      if (s3FailureName(error) === 'NoSuchUpload') throw this.#lose(error, o)
      throw error
    }
  }

  async complete(o: Signal): Promise<'stored' | 'left alone'> {
    if (this.#isOver) return this.#outcome
    this.#throwIfLost()
    const { requests, ifExists } = this.#o
    const { key, size } = this.#task
    const parts = [...this.#parts.values()].toSorted((a, b) => a.number - b.number)
    if (parts.length < this.partCount) {
      const message = `${requests.place(key)} was to be completed with ${parts.length} of ${this.partCount} parts`
      throw new StreamError('core.unbalanced', message)
    }
    const crc = crcOfParts(parts)
    let stored: StoredObject
    try {
      stored = await requests.complete(key, this.#uploadId, {
        signal: o.signal,
        parts,
        size,
        crc,
        ifFree: ifExists !== 'overwrite',
      })
    } catch (error) {
      o.signal.throwIfAborted()
      const found = await this.#resolve(error, crc, o)
      if (found === 'left alone') {
        this.#outcome = found
        return found
      }
      stored = found
    }
    await this.#verify(stored, crc, o)
    this.#end()
    return 'stored'
  }

  async abort(o: Signal): Promise<void> {
    if (this.#isOver) return
    await this.#o.requests.abort(this.#task.key, this.#uploadId, o)
    this.#o.aborted()
    this.#end()
  }

  /** What became of the object, after an answer that does not tell, or was lost. */
  async #resolve(thrown: unknown, crc: bigint, o: Signal): Promise<FoundObject | 'left alone'> {
    const { verifier } = this.#o
    const found = await verifier.find(this.#task, crc, o)
    if (found) return found
    const name = s3FailureName(thrown)
    if (name === 'PreconditionFailed') return await this.#taken(thrown, o)
    if (name !== undefined && hopeless.has(name)) throw this.#lose(thrown, o)
    throw thrown
  }

  /** Somebody else has stored an object there meanwhile. */
  async #taken(thrown: unknown, o: Signal): Promise<'left alone'> {
    const { requests, ifExists, log } = this.#o
    await this.abort(o)
    if (ifExists !== 'skip') throw thrown
    log.info({ place: requests.place(this.#task.key) }, 'left alone: an object was stored there meanwhile')
    return 'left alone'
  }

  async #verify(stored: StoredObject, crc: bigint, o: Signal): Promise<void> {
    try {
      await this.#o.verifier.verify(this.#task, stored, crc, o)
    } catch (error) {
      if (error instanceof StreamError && error.kind === 'permanent') this.#end()
      throw error
    }
  }

  #lose(cause: unknown, o: Signal): StreamError {
    o.signal.throwIfAborted()
    const message = `${explainError(cause)}; the upload is given up, and the next attempt at the object begins anew`
    this.#lost = new StreamError('sink.unavailable', message, { cause, data: { isLost: true } })
    return this.#lost
  }

  #throwIfLost(): void {
    if (this.#lost) throw this.#lost
  }

  #end(): void {
    this.#isOver = true
    this.#o.uploads.remove(this.#uploadId)
    this.#o.ended()
  }
}

/** The parts of an object, in order; an empty object has one empty part. */
export function* partsOf(size: number, partBytes: number): Generator<ObjectPart> {
  for (let number = 1, offset = 0; number === 1 || offset < size; number += 1, offset += partBytes)
    yield { number, offset, bytes: Math.min(partBytes, size - offset) }
}

/** CRC64NVME of the object that the parts make, which are in order. */
export function crcOfParts(parts: readonly UploadedPart[]): bigint {
  return joinCrc64(parts.map(({ checksum, bytes }) => ({ crc: crc64FromBase64(checksum) ?? 0n, bytes })))
}

export function expectWhole(part: ObjectPart, bytes: Buffer): void {
  if (bytes.length === part.bytes) return
  throw new StreamError(
    'core.unbalanced',
    `part ${part.number} has ${part.bytes} bytes, and ${bytes.length} were given`,
  )
}

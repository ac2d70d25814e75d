/** Unfinished uploads, for an operator who lists and aborts them: those that the log knows, and others at the server. */
import { EncodingType, ListMultipartUploadsCommand, type S3Client } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import type { UnfinishedUploads as Interface, Log, Signal, UnfinishedUpload } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { UploadLog } from '../ledger/ledger.ts'
import type { S3ObjectsConfig } from './s3-config.ts'
import { fixedPrefix } from './s3-key.ts'
import { s3SinkError } from './s3-sink-errors.ts'
import { UploadRequests } from './s3-upload-requests.ts'

export interface UnfinishedUploadsContext {
  readonly pipeline: string
  readonly uploads: UploadLog
  readonly log: Log
}

export class UnfinishedUploads implements Interface {
  readonly #bucket: string
  readonly #prefix: string
  readonly #uploads: UploadLog
  readonly #client: S3Client
  readonly #requests: UploadRequests

  constructor(config: S3ObjectsConfig, { pipeline, uploads, log }: UnfinishedUploadsContext) {
    const { bucket, key, checksum, timeout: idleMs } = config
    this.#bucket = bucket
    this.#prefix = fixedPrefix(key, pipeline)
    this.#uploads = uploads
    this.#client = createS3Client(config, 4, { idleMs })
    this.#requests = new UploadRequests({ client: this.#client, bucket, checksum, idleMs, log, used: () => undefined })
  }

  /** First those at the server, in the order of their keys, below what all keys begin with; then those only the log has. */
  async *list(o: Signal): AsyncGenerator<UnfinishedUpload, void, undefined> {
    const unseen = new Map(
      this.#uploads
        .list()
        .filter(({ bucket }) => bucket === this.#bucket)
        .map((entry) => [entry.uploadId, entry]),
    )
    for await (const upload of this.#atServer(o)) {
      const known = unseen.get(upload.uploadId)
      unseen.delete(upload.uploadId)
      yield { ...upload, known, isAtServer: true }
    }
    for (const known of unseen.values()) {
      const { bucket, key, uploadId, startedMs } = known
      // It may be elsewhere: `key` was another when it was begun.
      const parts = await this.#requests.parts(key, uploadId, o)
      yield { bucket, key, uploadId, startedMs, known, isAtServer: parts !== undefined }
    }
  }

  /** Removes its parts at the server, and what the log has of it. That it is gone already is no error. */
  async abort({ key, uploadId, known }: UnfinishedUpload, o: Signal): Promise<void> {
    await this.#requests.abort(key, uploadId, o)
    if (known) this.#uploads.remove(uploadId)
  }

  [Symbol.dispose](): void {
    this.#client.destroy()
  }

  async *#atServer({
    signal,
  }: Signal): AsyncGenerator<Pick<UnfinishedUpload, 'bucket' | 'key' | 'uploadId' | 'startedMs'>> {
    const bucket = this.#bucket
    for (let marker: Marker | undefined; ; ) {
      const page = await this.#page(marker, signal)
      // Keys may hold what XML cannot. A server that does not know the wish sends them as they are.
      const decoded = (key: string) =>
        page.EncodingType === 'url' ? decodeURIComponent(key.replaceAll('+', ' ')) : key
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        if (Key === undefined || UploadId === undefined) continue
        yield { bucket, key: decoded(Key), uploadId: UploadId, startedMs: Initiated?.getTime() ?? 0 }
      }
      const { IsTruncated, NextKeyMarker, NextUploadIdMarker } = page
      if (!IsTruncated || !NextKeyMarker) return
      const next = { KeyMarker: decoded(NextKeyMarker), UploadIdMarker: NextUploadIdMarker ?? '' }
      if (next.KeyMarker === marker?.KeyMarker && next.UploadIdMarker === marker.UploadIdMarker) {
        throw new StreamError(
          'sink.unavailable',
          `cannot list the unfinished uploads of s3://${bucket}/${this.#prefix}: the pages of the list do not move on (look after the server)`,
        )
      }
      marker = next
    }
  }

  async #page(marker: Marker | undefined, signal: AbortSignal) {
    const command = new ListMultipartUploadsCommand({
      Bucket: this.#bucket,
      EncodingType: EncodingType.url,
      ...(this.#prefix === '' ? {} : { Prefix: this.#prefix }),
      ...marker,
    })
    try {
      return await this.#client.send(command, { abortSignal: signal })
    } catch (error) {
      signal.throwIfAborted()
      throw s3SinkError(error, `list the unfinished uploads of s3://${this.#bucket}/${this.#prefix}`)
    }
  }
}

type Marker = { readonly KeyMarker: string; readonly UploadIdMarker: string }

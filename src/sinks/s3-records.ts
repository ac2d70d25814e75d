/** What `s3` does with records: each batch becomes objects, one for each key that its records have. */
import { promisify } from 'node:util'
import { gzip, constants as zlib, zstdCompress } from 'node:zlib'
import type { S3Client } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import { RequestWatch } from '../aws/request-watch.ts'
import type {
  Batch,
  BatchLimits,
  Bound,
  Context,
  Dependency,
  Finding,
  MetricSpec,
  Refused,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import type { DependencyState } from '../core/dependency-state.ts'
import { StreamError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import { crc64Of, crc64ToBase64 } from './crc64.ts'
import { ndjsonBody } from './http-body.ts'
import { bucketDependency, checkBucket } from './s3-bucket.ts'
import type { S3RecordsConfig } from './s3-config.ts'
import { examineBucket } from './s3-examine.ts'
import { fixedPrefix, RecordKeys, recordText } from './s3-key.ts'
import { groupId, groupRecords, type RecordGroup } from './s3-record-group.ts'
import { metadataValue, storedAs } from './s3-stored-as.ts'
import { type KeptHeaders, UploadRequests } from './s3-upload-requests.ts'

const gzipped = promisify(gzip)
const zstandard = promisify(zstdCompress)

export const s3RecordMetrics = {
  s3_record_objects_written_total: { kind: 'counter', unit: '{object}', help: 'Objects of records written.' },
  s3_records_written_total: { kind: 'counter', unit: '{record}', help: 'Records written.' },
  s3_record_bytes_written_total: { kind: 'counter', unit: 'By', help: 'Bytes of these objects, after compression.' },
  s3_record_errors_total: { kind: 'counter', unit: '{error}', help: 'Objects of records that could not be written.' },
  s3_record_request_duration_seconds: { kind: 'histogram', unit: 's', help: 'Time to write one object of records.' },
} as const satisfies Record<string, MetricSpec>

const compressed = {
  none: { ext: '', contentType: undefined },
  gzip: { ext: '.gz', contentType: 'application/gzip' },
  zstd: { ext: '.zst', contentType: 'application/zstd' },
} as const

export class S3RecordSink implements Sink {
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #config: S3RecordsConfig
  readonly #context: Context
  readonly #keys: RecordKeys
  readonly #client: S3Client
  readonly #watch: RequestWatch
  readonly #dependency: DependencyState
  readonly #requests: UploadRequests
  readonly #metrics: Bound<typeof s3RecordMetrics>
  /** Objects on their way; a batch may become several. */
  readonly #slots: Slots
  readonly #storedAs: KeptHeaders

  constructor(config: S3RecordsConfig, context: Context) {
    const { batch, retry } = config
    this.#config = config
    this.#context = context
    this.maxInFlight = config.max_in_flight
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#keys = new RecordKeys(config.key, context.pipeline)
    // The engine tries again.
    this.#client = createS3Client(config, config.max_in_flight, { idleMs: config.timeout, maxAttempts: 1 })
    const { bucket, checksum, timeout: idleMs } = config
    this.#watch = new RequestWatch(this.#client, () => undefined)
    const prefix = fixedPrefix(config.key, context.pipeline)
    this.#dependency = bucketDependency({ client: this.#client, bucket, prefix, nowMs: context.nowMs })
    const used = (error?: unknown) => this.#dependency.used(error)
    this.#requests = new UploadRequests({ client: this.#client, bucket, checksum, idleMs, log: context.log, used })
    this.#metrics = context.meter.bind(s3RecordMetrics, {})
    this.#slots = new Slots(config.max_in_flight)
    this.#storedAs = storedAs(config)
  }

  async check(o: Signal): Promise<void> {
    const prefix = fixedPrefix(this.#config.key, this.#context.pipeline)
    await checkBucket(this.#client, { bucket: this.#config.bucket, prefix, log: this.#context.log, signal: o.signal })
  }

  get dependencies(): readonly Dependency[] {
    return [this.#dependency]
  }

  examine(o: Signal): AsyncIterable<Finding> {
    const prefix = fixedPrefix(this.#config.key, this.#context.pipeline)
    const { bucket, endpoint } = this.#config
    const hasEndpoint = endpoint !== undefined
    return examineBucket(
      { hasEndpoint, client: this.#client, watch: this.#watch, bucket, prefix, hasUploads: false },
      o,
    )
  }

  /** What was stored before a part of the batch failed is stored again with it, in the same place. */
  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const ext = extensionOf(batch.contentType) + compressed[this.#config.compression].ext
    const groups = groupRecords(batch, (origin) => this.#keys.groupOf(origin, ext))
    const outcomes = await Promise.allSettled(groups.map((group) => this.#put(group, batch, ext, o)))
    if (o.signal.aborted)
      throw new StreamError('run.aborted', 'writing to S3 interrupted by the stop', { cause: o.signal.reason })
    const refused = new Map<number, StreamError>()
    for (const [i, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') continue
      const error: unknown = outcome.reason
      if (!(error instanceof StreamError) || error.kind !== 'permanent' || groups.length === 1) throw error
      for (const index of indexesOf(groups[i] as RecordGroup)) refused.set(index, error)
    }
    return refused.size > 0 ? refused : undefined
  }

  async #put(group: RecordGroup, batch: Batch, ext: string, o: Signal): Promise<void> {
    const { bucket } = this.#config
    await this.#slots.acquire(o)
    const startMs = performance.now()
    try {
      const lines = bytesOf(ndjsonBody({ ...batch, parts: group.parts }))
      const id = groupId(group, await crc64Of(lines))
      const key = this.#keys.keyOf(group.origin, id, ext)
      const body = await this.#compress(lines)
      await this.#send(key, body, this.#headersOf(group, id, ext, batch.contentType), o)
      this.#metrics.s3_record_objects_written_total.add(1)
      this.#metrics.s3_records_written_total.add(group.count)
      this.#metrics.s3_record_bytes_written_total.add(body.length)
      this.#context.log.debug({ bucket, key, records: group.count, bytes: body.length }, 'records written')
    } catch (error) {
      if (!o.signal.aborted) this.#metrics.s3_record_errors_total.add(1)
      throw error
    } finally {
      this.#metrics.s3_record_request_duration_seconds.record((performance.now() - startMs) / 1000)
      this.#slots.release()
    }
  }

  async #send(key: string, body: Buffer, headers: KeptHeaders, o: Signal): Promise<void> {
    const crc = await crc64Of(body)
    const stored = await this.#requests.put(key, body, { crc, headers, ifFree: false, signal: o.signal })
    if (stored.crc === undefined || stored.crc === crc) return
    const place = this.#requests.place(key)
    throw new StreamError(
      'sink.unavailable',
      `cannot write ${place}: the server says that it stored bytes with the checksum ${crc64ToBase64(stored.crc)}, and ${crc64ToBase64(crc)} was sent (the object is written again; look after the server)`,
      { data: { bucket: this.#config.bucket, key } },
    )
  }

  #headersOf(group: RecordGroup, id: string, ext: string, contentType: string): KeptHeaders {
    const { metadata, content_type, compression } = this.#config
    const { pipeline } = this.#context
    const texts = Object.entries(metadata).map(([name, text]) => [
      name,
      metadataValue(recordText(text, group.origin, { id, ext, pipeline })),
    ])
    return {
      ...this.#storedAs,
      ContentType: content_type ?? compressed[compression].contentType ?? contentType,
      ...(texts.length === 0 ? {} : { Metadata: Object.fromEntries(texts) }),
    }
  }

  /** On Node's own threads. */
  async #compress(lines: Buffer): Promise<Buffer> {
    const { compression, compression_level: level } = this.#config
    if (compression === 'gzip') return await gzipped(lines, level === undefined ? {} : { level })
    if (compression === 'none') return lines
    // With a checksum, as the zstd command has it.
    const params = {
      [zlib.ZSTD_c_checksumFlag]: 1,
      ...(level === undefined ? {} : { [zlib.ZSTD_c_compressionLevel]: level }),
    }
    return await zstandard(lines, { params })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#requests.close()
    this.#client.destroy()
  }
}

function bytesOf(pieces: Buffer[]): Buffer {
  return pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces)
}

function extensionOf(contentType: string): string {
  return contentType === 'application/x-ndjson' ? '.ndjson' : '.log'
}

function* indexesOf({ parts, starts }: RecordGroup): Generator<number> {
  for (const [i, { from, to }] of parts.entries())
    for (let index = 0; index < to - from; index += 1) yield (starts[i] as number) + index
}

/** The requests that store an object, each tried once, with the checksums that the server turns out to know. */
import { createHash } from 'node:crypto'
import { setImmediate as otherWork } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  ChecksumAlgorithm,
  ChecksumMode,
  ChecksumType,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  HeadObjectCommand,
  ListPartsCommand,
  type PutObjectCommandInput,
  type S3Client,
} from '@aws-sdk/client-s3'
import type { Log, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { UploadedPart } from '../ledger/ledger.ts'
import { crc64FromBase64, crc64Of, crc64ToBase64 } from './crc64.ts'
import { DataRequests } from './s3-data-requests.ts'
import { s3SinkError } from './s3-sink-errors.ts'

/** Headers that an object keeps: metadata, type, encryption and so on. */
export type KeptHeaders = Pick<
  PutObjectCommandInput,
  'BucketKeyEnabled' | 'ContentType' | 'Metadata' | 'ServerSideEncryption' | 'SSEKMSKeyId' | 'StorageClass' | 'Tagging'
>

/** What the server says of an object that it has, or has just stored. */
export interface StoredObject {
  readonly etag: string | undefined
  readonly versionId: string | undefined
  /** CRC64NVME of all its bytes; undefined if the server has none. */
  readonly crc: bigint | undefined
}

export interface FoundObject extends StoredObject {
  readonly size: number | undefined
  readonly metadata: Readonly<Record<string, string>>
}

/** A part as ListParts tells it. */
export interface ListedPart {
  readonly number: number
  readonly bytes: number | undefined
  readonly etag: string
  readonly checksum: string | undefined
}

export interface RequestOptions {
  readonly client: S3Client
  readonly bucket: string
  readonly checksum: 'crc64nvme' | 'when_required'
  /** Longest time in which nothing of a request with data or its answer moves. */
  readonly idleMs: number
  readonly log: Log
  /** Told what came of each request. */
  readonly used: (error?: unknown) => void
}

/** Bytes of MD5 in a row, before others have their turn. */
const sliceBytes = 2 * 1024 * 1024

export class UploadRequests {
  readonly bucket: string
  readonly client: S3Client
  readonly #log: Log
  readonly #used: (error?: unknown) => void
  readonly #sums: 'crc64nvme' | 'when_required'
  /** Bytes on the way cannot be changed unseen: by TLS, or because there is no way. */
  readonly #isPrivate: Promise<boolean>
  /** Whether the server compares CRC64NVME, as its answers show; undefined before the first. */
  #echoes: boolean | undefined
  readonly #data: DataRequests

  constructor({ client, bucket, checksum, idleMs, log, used }: RequestOptions) {
    this.client = client
    this.#used = used
    this.bucket = bucket
    this.#log = log
    this.#sums = checksum
    this.#isPrivate = isPrivate(client).catch(() => false)
    this.#data = new DataRequests(client, bucket, idleMs)
  }

  /** Ends what is under way. The client stays whose it is. */
  async close(): Promise<void> {
    await this.#data.close()
  }

  place(key: string): string {
    return `s3://${this.bucket}/${key}`
  }

  async head(key: string, { signal }: Signal): Promise<FoundObject | undefined> {
    const command = new HeadObjectCommand({
      Bucket: this.bucket,
      Key: key,
      ...(this.#sums === 'crc64nvme' ? { ChecksumMode: ChecksumMode.ENABLED } : {}),
    })
    const answer = await this.#ask(`look at ${this.place(key)}`, signal, async () => {
      try {
        return await this.client.send(command, { abortSignal: signal })
      } catch (error) {
        // Without a body the bucket and the key look alike: a bucket that is missing shows with the next request.
        if (error instanceof Error && (error.name === 'NotFound' || error.name === 'NoSuchKey')) return undefined
        throw error
      }
    })
    if (!answer) return undefined
    return {
      etag: answer.ETag,
      versionId: answer.VersionId,
      crc: fullCrc(answer.ChecksumCRC64NVME, answer.ChecksumType),
      size: answer.ContentLength,
      metadata: answer.Metadata ?? {},
    }
  }

  /** Stores a whole object at once. */
  async put(
    key: string,
    bytes: Buffer,
    o: Signal & { readonly crc: bigint; readonly headers: KeptHeaders; readonly ifFree: boolean },
  ): Promise<StoredObject> {
    const { crc, headers, ifFree, signal } = o
    const fields = { ...headers, ...(await this.#sumsOf(bytes, crc)), ...(ifFree ? { IfNoneMatch: '*' } : {}) }
    const withoutSha = await this.#needsNoSha()
    const answer = await this.#ask(`write ${this.place(key)}`, signal, () =>
      this.#data.put(key, bytes, fields, { signal, withoutSha }),
    )
    this.#learn(answer.ChecksumCRC64NVME)
    return { etag: answer.ETag, versionId: answer.VersionId, crc: fullCrc(answer.ChecksumCRC64NVME, undefined) }
  }

  /** Begins an upload in parts; gives its id. */
  async create(key: string, headers: KeptHeaders, { signal }: Signal): Promise<string> {
    const command = new CreateMultipartUploadCommand({
      ...headers,
      ...(this.#sums === 'crc64nvme'
        ? { ChecksumAlgorithm: ChecksumAlgorithm.CRC64NVME, ChecksumType: ChecksumType.FULL_OBJECT }
        : {}),
      Bucket: this.bucket,
      Key: key,
    })
    const what = `begin to upload ${this.place(key)}`
    const { UploadId } = await this.#ask(what, signal, () => this.client.send(command, { abortSignal: signal }))
    if (UploadId) return UploadId
    throw new StreamError(
      'sink.access',
      `cannot ${what}: the answer has no upload id (check that \`endpoint\` speaks S3)`,
    )
  }

  async part(key: string, uploadId: string, number: number, bytes: Buffer, { signal }: Signal): Promise<UploadedPart> {
    const crc = await crc64Of(bytes)
    const checksum = crc64ToBase64(crc)
    const fields = await this.#sumsOf(bytes, crc)
    const withoutSha = await this.#needsNoSha()
    const what = `upload part ${number} of ${this.place(key)}`
    const answer = await this.#ask(what, signal, () =>
      this.#data.part({ key, uploadId, number }, bytes, fields, { signal, withoutSha }),
    )
    this.#learn(answer.ChecksumCRC64NVME)
    if (answer.ChecksumCRC64NVME !== undefined && answer.ChecksumCRC64NVME !== checksum) {
      throw new StreamError(
        'sink.unavailable',
        `cannot ${what}: the server says that it stored bytes with the checksum ${answer.ChecksumCRC64NVME}, and ${checksum} was sent (the part is sent again; look after the server)`,
        { data: { bucket: this.bucket, key } },
      )
    }
    if (!answer.ETag) {
      throw new StreamError(
        'sink.unavailable',
        `cannot ${what}: the answer has no ETag (check that \`endpoint\` speaks S3)`,
      )
    }
    return { number, bytes: bytes.length, etag: answer.ETag, checksum }
  }

  /** The parts that the server has, in order. undefined if it does not know the upload. */
  async parts(key: string, uploadId: string, { signal }: Signal): Promise<ListedPart[] | undefined> {
    const what = `list the parts of ${this.place(key)}`
    const listed: ListedPart[] = []
    for (let marker: string | undefined; ; ) {
      const command = new ListPartsCommand({
        Bucket: this.bucket,
        Key: key,
        UploadId: uploadId,
        ...(marker === undefined ? {} : { PartNumberMarker: marker }),
      })
      const page = await this.#unlessGone(what, signal, () => this.client.send(command, { abortSignal: signal }))
      if (!page) return undefined
      for (const { PartNumber, Size, ETag, ChecksumCRC64NVME } of page.Parts ?? []) {
        if (PartNumber === undefined || !ETag) continue
        listed.push({ number: PartNumber, bytes: Size, etag: ETag, checksum: ChecksumCRC64NVME })
      }
      const next = page.NextPartNumberMarker
      // A server that says there is more and does not say where would be asked for ever.
      if (!page.IsTruncated || next === undefined || next === marker) return listed
      marker = next
    }
  }

  /** Makes the object of its parts, which are in order. */
  async complete(
    key: string,
    uploadId: string,
    o: Signal & {
      readonly parts: readonly UploadedPart[]
      readonly size: number
      readonly crc: bigint
      readonly ifFree: boolean
    },
  ): Promise<StoredObject> {
    const { parts, size, crc, ifFree, signal } = o
    const command = new CompleteMultipartUploadCommand({
      Bucket: this.bucket,
      Key: key,
      UploadId: uploadId,
      MultipartUpload: {
        Parts: parts.map(({ number, etag, checksum }) => ({
          PartNumber: number,
          ETag: etag,
          // S3 can do without them where the whole has one; versitygw cannot.
          ...(this.#sums === 'crc64nvme' ? { ChecksumCRC64NVME: checksum } : {}),
        })),
      },
      ...(ifFree ? { IfNoneMatch: '*' } : {}),
      ...(this.#sums === 'crc64nvme'
        ? {
            ChecksumCRC64NVME: crc64ToBase64(crc),
            ChecksumType: ChecksumType.FULL_OBJECT,
            MpuObjectSize: size,
          }
        : {}),
    })
    const answer = await this.#ask(`complete ${this.place(key)}`, signal, () =>
      this.client.send(command, { abortSignal: signal }),
    )
    return {
      etag: answer.ETag,
      versionId: answer.VersionId,
      crc: fullCrc(answer.ChecksumCRC64NVME, answer.ChecksumType),
    }
  }

  /** That there is no such upload is no error. */
  async abort(key: string, uploadId: string, { signal }: Signal): Promise<void> {
    const command = new AbortMultipartUploadCommand({ Bucket: this.bucket, Key: key, UploadId: uploadId })
    await this.#unlessGone(`abort the upload of ${this.place(key)}`, signal, () =>
      this.client.send(command, { abortSignal: signal }),
    )
  }

  async remove(key: string, o: Signal & { readonly versionId: string | undefined }): Promise<void> {
    const { versionId, signal } = o
    const command = new DeleteObjectCommand({
      Bucket: this.bucket,
      Key: key,
      ...(versionId === undefined ? {} : { VersionId: versionId }),
    })
    await this.#ask(`remove ${this.place(key)}`, signal, () => this.client.send(command, { abortSignal: signal }))
  }

  async #unlessGone<T>(what: string, signal: AbortSignal, act: () => Promise<T>): Promise<T | undefined> {
    return await this.#ask(what, signal, async () => {
      try {
        return await act()
      } catch (error) {
        if (error instanceof Error && error.name === 'NoSuchUpload') return undefined
        throw error
      }
    })
  }

  async #ask<T>(what: string, signal: AbortSignal, act: () => Promise<T>): Promise<T> {
    signal.throwIfAborted()
    try {
      const answer = await act()
      this.#used()
      return answer
    } catch (error) {
      signal.throwIfAborted()
      const meant = s3SinkError(error, what)
      this.#used(meant)
      throw meant
    }
  }

  /** MD5 besides, where nothing shows that the server compares the CRC. */
  async #sumsOf(bytes: Buffer, crc: bigint): Promise<{ ChecksumCRC64NVME?: string; ContentMD5?: string }> {
    const isSent = this.#sums === 'crc64nvme'
    return {
      ...(isSent ? { ChecksumCRC64NVME: crc64ToBase64(crc) } : {}),
      ...(isSent && this.#echoes !== false ? {} : { ContentMD5: await md5Of(bytes) }),
    }
  }

  #learn(echo: string | undefined): void {
    if (this.#sums !== 'crc64nvme' || this.#echoes !== undefined) return
    this.#echoes = echo !== undefined
    if (this.#echoes) return
    this.#log.warn(
      { bucket: this.bucket },
      'the server does not compare CRC64NVME: Content-MD5 is sent besides (`checksum: when_required` sends nothing else)',
    )
  }

  /**
   * SHA-256 of a body, as signing asks for it, costs most of all sums. It may be left out once the server has shown that it
   * compares the CRC, whose header is signed; and where nobody on the way could make up other bytes with the same CRC.
   */
  async #needsNoSha(): Promise<boolean> {
    return this.#echoes === true && (await this.#isPrivate)
  }
}

async function isPrivate(client: S3Client): Promise<boolean> {
  const endpoint = client.config.endpoint
  if (!endpoint) return true
  const { protocol, hostname } = await endpoint()
  return protocol === 'https:' || /^(localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/.test(hostname)
}

/** A checksum of parts ends in their number, and says nothing of the whole. */
function fullCrc(checksum: string | undefined, type: string | undefined): bigint | undefined {
  return checksum === undefined || type === ChecksumType.COMPOSITE ? undefined : crc64FromBase64(checksum)
}

async function md5Of(bytes: Buffer): Promise<string> {
  const hash = createHash('md5')
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    if (at > 0) await otherWork()
    hash.update(bytes.subarray(at, at + sliceBytes))
  }
  return hash.digest('base64')
}

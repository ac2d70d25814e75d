/** The multipart uploads that were begun and neither completed nor aborted. */
import { createHash, randomBytes } from 'node:crypto'
import { type ChecksumAlgorithm, type ChecksumType, checksumOfParts } from './s3-checksum.ts'
import type { Properties } from './s3-properties.ts'
import type { Received } from './s3-receive.ts'
import { compareKeys, type StoredObject } from './s3-store.ts'

export interface Part {
  readonly number: number
  /** With its quotes; of the bytes that were sent. */
  readonly etag: string
  readonly lastModified: Date
  /** What is stored, which a fault may have changed. */
  readonly received: Received
}

export interface Upload {
  readonly uploadId: string
  readonly key: string
  readonly initiated: Date
  /** Undefined: the client named none, so S3 takes CRC64NVME. */
  readonly asked: ChecksumAlgorithm | undefined
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  readonly properties: Properties
  readonly parts: Map<number, Part>
}

export class S3Uploads {
  readonly #uploads = new Map<string, Upload>()

  begin(o: Omit<Upload, 'uploadId' | 'parts'>): Upload {
    const upload: Upload = { ...o, uploadId: randomBytes(24).toString('base64url'), parts: new Map() }
    this.#uploads.set(upload.uploadId, upload)
    return upload
  }

  /** The upload of that id, if it is of this key. */
  find(uploadId: string, key: string): Upload | undefined {
    const upload = this.#uploads.get(uploadId)
    return upload?.key === key ? upload : undefined
  }

  end(upload: Upload): boolean {
    return this.#uploads.delete(upload.uploadId)
  }

  /** By key in the order of UTF-8 bytes, then by the time of their beginning, as ListMultipartUploads has them. */
  sorted(): Upload[] {
    return [...this.#uploads.values()].sort(
      (a, b) => compareKeys(a.key, b.key) || a.initiated.getTime() - b.initiated.getTime(),
    )
  }
}

/** Parts in the order of their numbers. */
export function partsOf(upload: Upload): Part[] {
  return [...upload.parts.values()].sort((a, b) => a.number - b.number)
}

/** The checksum of the object that these parts make. */
export function wholeChecksum({ algorithm, type }: Upload, parts: readonly Part[]): string {
  const sums = parts.map(({ received }) => ({
    size: received.size,
    sum: received.sums[algorithm] ?? Buffer.alloc(0),
  }))
  return checksumOfParts(algorithm, type, sums)
}

/** The object that these parts make. */
export function objectOfParts(upload: Upload, parts: readonly Part[], lastModified: Date): StoredObject {
  const md5s = Buffer.concat(parts.map(({ etag }) => Buffer.from(etag.slice(1, -1), 'hex')))
  const { algorithm, type, properties } = upload
  return {
    ...properties,
    size: parts.reduce((sum, { received }) => sum + received.size, 0),
    etag: `"${createHash('md5').update(md5s).digest('hex')}-${parts.length}"`,
    lastModified,
    parts: parts.length,
    checksum: { algorithm, type, value: wholeChecksum(upload, parts) },
    body: (from, to) => {
      if (parts.some(({ received }) => received.body === undefined)) throw new Error(bodyNotKept)
      return bytesOfParts(parts, from, to)
    },
  }
}

function* bytesOfParts(parts: readonly Part[], from: number, to: number): Generator<Buffer, void, undefined> {
  let begin = 0
  for (const { received } of parts) {
    const first = Math.max(from - begin, 0)
    const end = Math.min(to - begin, received.size)
    begin += received.size
    if (first < end && received.body) yield received.body.subarray(first, end)
  }
}

export const bodyNotKept = 'the body was not kept: set keepBodies of the test server before writing what is read again'

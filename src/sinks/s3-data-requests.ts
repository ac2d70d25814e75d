/**
 * PutObject and UploadPart, which a copy consists of, without the SDK: it takes a millisecond of the processor for each request.
 * Credentials, endpoint, region and clock are those of its client.
 */
import { createHash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { setImmediate as otherWork } from 'node:timers/promises'
import {
  PutObjectCommand,
  type PutObjectCommandInput,
  type S3Client,
  S3ServiceException,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { escapeUri } from '../aws/sigv4.ts'
import type { Signal } from '../core/component.ts'
import { type DataAnswer, DataConnections } from './s3-data-connections.ts'
import { learnTarget, type S3Target } from './s3-target.ts'

/** What is said of the bytes, beside where they go. */
export type DataFields = Pick<
  PutObjectCommandInput,
  | 'BucketKeyEnabled'
  | 'ChecksumCRC64NVME'
  | 'ContentMD5'
  | 'ContentType'
  | 'IfNoneMatch'
  | 'Metadata'
  | 'ServerSideEncryption'
  | 'SSEKMSKeyId'
  | 'StorageClass'
  | 'Tagging'
>
export type PartFields = Pick<DataFields, 'ChecksumCRC64NVME' | 'ContentMD5'>

/** Stored, says the server. */
export interface DataStored {
  readonly ETag?: string | undefined
  readonly VersionId?: string | undefined
  readonly ChecksumCRC64NVME?: string | undefined
}

export interface DataOptions extends Signal {
  /** SHA-256 of the bytes is not computed, and not signed. */
  readonly withoutSha: boolean
}

/** Bytes of SHA-256 in a row, before others have their turn. */
const sliceBytes = 2 * 1024 * 1024

export class DataRequests {
  readonly #client: S3Client
  readonly #bucket: string
  readonly #connections: DataConnections
  #target: Promise<S3Target | undefined> | undefined

  /** `idleMs`: longest time in which nothing of a request or its answer moves. */
  constructor(client: S3Client, bucket: string, idleMs: number) {
    this.#client = client
    this.#bucket = bucket
    this.#connections = new DataConnections(idleMs)
  }

  /** Throws as the SDK does. */
  async put(key: string, bytes: Buffer, fields: DataFields, o: DataOptions): Promise<DataStored> {
    const target = await this.#known()
    if (target) return storedOf(await this.#send(target, { key, query: '', bytes, headers: headersOf(fields) }, o))
    const command = new PutObjectCommand({ ...fields, Bucket: this.#bucket, Key: key, Body: bytes })
    return await this.#client.send(command, { abortSignal: o.signal })
  }

  /** Throws as the SDK does. */
  async part(
    { key, uploadId, number }: { readonly key: string; readonly uploadId: string; readonly number: number },
    bytes: Buffer,
    fields: PartFields,
    o: DataOptions,
  ): Promise<DataStored> {
    const target = await this.#known()
    const query = `partNumber=${number}&uploadId=${escapeUri(uploadId)}`
    if (target) return storedOf(await this.#send(target, { key, query, bytes, headers: headersOf(fields) }, o))
    const place = { Bucket: this.#bucket, Key: key, UploadId: uploadId, PartNumber: number }
    return await this.#client.send(new UploadPartCommand({ ...fields, ...place, Body: bytes }), {
      abortSignal: o.signal,
    })
  }

  async close(): Promise<void> {
    await this.#connections.close()
  }

  #known(): Promise<S3Target | undefined> {
    this.#target ??= this.#learn()
    return this.#target
  }

  #learn(redirect?: S3ServiceException): Promise<S3Target | undefined> {
    const learning = learnTarget(this.#client, this.#bucket, redirect)
    // Credentials may be there the next time.
    learning.catch(() => {
      if (this.#target === learning) this.#target = undefined
    })
    return learning
  }

  /** Sends it, and once more where S3 says that it was for another region or another host, or that our clock is wrong. */
  async #send(target: S3Target, request: Request, o: DataOptions): Promise<DataAnswer> {
    const payload = o.withoutSha ? 'UNSIGNED-PAYLOAD' : await sha256Of(request.bytes)
    const answer = await this.#attempt(target, request, payload, o)
    if (answer.status < 300) return answer
    const failure = failureOf(answer)
    const better = await this.#better(target, request, answer, failure)
    if (!better) throw failure
    const second = await this.#attempt(better, request, payload, o)
    if (second.status < 300) return second
    throw failureOf(second)
  }

  async #attempt(target: S3Target, request: Request, payload: string, { signal }: Signal): Promise<DataAnswer> {
    const { key, query, bytes, headers } = request
    const { origin, host, signer, userAgent } = target
    const path = request.path ?? target.path + key.split('/').map(escapeUri).join('/')
    const keys = await this.#client.config.credentials()
    const signed = signer.sign(
      { method: 'PUT', path, query, payload, headers: { ...headers, host, 'x-amz-content-sha256': payload } },
      keys,
      Date.now() + this.#client.config.systemClockOffset,
    )
    signed['user-agent'] = userAgent
    const sent = { origin, path: query === '' ? path : `${path}?${query}`, headers: signed, body: bytes }
    return await this.#connections.send(sent, { signal })
  }

  /** Where, or when, the request would be taken. */
  async #better(
    target: S3Target,
    request: Request,
    { status, headers }: DataAnswer,
    failure: S3ServiceException,
  ): Promise<S3Target | undefined> {
    if (failure.name === 'RequestTimeTooSkewed') {
      const serverMs = Date.parse(headers.date ?? '')
      if (Number.isNaN(serverMs)) return undefined
      this.#client.config.systemClockOffset = serverMs - Date.now()
      return target
    }
    if (status === 307 && headers.location !== undefined && URL.canParse(headers.location, target.origin)) {
      // A bucket that is new: its name is not known everywhere yet. The place is for this request only.
      const { origin, host, protocol, pathname } = new URL(headers.location, target.origin)
      if (!target.origin.startsWith(protocol)) return undefined
      request.path = pathname
      return { ...target, origin, host }
    }
    if (headers['x-amz-bucket-region'] === undefined || !elsewhere.has(status)) return undefined
    const learned = this.#learn(failure)
    const better = await learned.catch(() => undefined)
    if (!better || (better.origin === target.origin && better.signer.region === target.signer.region)) return undefined
    this.#target = learned
    return better
  }
}

/** Statuses with which S3 may tell that the bucket is in another region. */
const elsewhere = new Set([301, 400])

interface Request {
  readonly key: string
  readonly query: string
  readonly bytes: Buffer
  readonly headers: Record<string, string>
  /** In the place of the key's own. */
  path?: string
}

function headersOf(fields: DataFields): Record<string, string> {
  const headers: Record<string, string> = { 'content-type': fields.ContentType ?? 'application/octet-stream' }
  const put = (name: string, value: string | undefined) => {
    if (value !== undefined) headers[name] = value
  }
  put('content-md5', fields.ContentMD5)
  put('if-none-match', fields.IfNoneMatch)
  put('x-amz-checksum-crc64nvme', fields.ChecksumCRC64NVME)
  put('x-amz-storage-class', fields.StorageClass)
  put('x-amz-tagging', fields.Tagging)
  put('x-amz-server-side-encryption', fields.ServerSideEncryption)
  put('x-amz-server-side-encryption-aws-kms-key-id', fields.SSEKMSKeyId)
  put('x-amz-server-side-encryption-bucket-key-enabled', fields.BucketKeyEnabled?.toString())
  for (const name in fields.Metadata) headers[`x-amz-meta-${name.toLowerCase()}`] = fields.Metadata[name] as string
  return headers
}

function storedOf({ headers }: DataAnswer): DataStored {
  return {
    ETag: headers.etag,
    VersionId: textOf(headers, 'x-amz-version-id'),
    ChecksumCRC64NVME: textOf(headers, 'x-amz-checksum-crc64nvme'),
  }
}

/** An error of S3 as the SDK would have thrown it. */
function failureOf({ status, headers, body }: DataAnswer): S3ServiceException {
  const said = (name: string) => {
    const text = new RegExp(`<${name}>([^<]*)</${name}>`).exec(body)?.[1]
    return text === undefined || text === '' ? undefined : unescaped(text)
  }
  const name = said('Code') ?? (status === 404 ? 'NotFound' : 'UnknownError')
  const requestId = textOf(headers, 'x-amz-request-id') ?? said('RequestId')
  const extendedRequestId = textOf(headers, 'x-amz-id-2') ?? said('HostId')
  const told: Record<string, string> = {}
  for (const header in headers) told[header] = String(headers[header])
  const error = new S3ServiceException({
    name,
    message: said('Message') ?? name,
    $fault: status >= 500 ? 'server' : 'client',
    $metadata: {
      httpStatusCode: status,
      ...(requestId === undefined ? {} : { requestId }),
      ...(extendedRequestId === undefined ? {} : { extendedRequestId }),
    },
  })
  // The constructor forgets it.
  return Object.assign(error, { $response: { statusCode: status, headers: told } })
}

function textOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

const entities: Readonly<Record<string, string>> = { amp: '&', apos: "'", gt: '>', lt: '<', quot: '"' }

function unescaped(xml: string): string {
  return xml.replaceAll(/&(amp|apos|gt|lt|quot|#\d{1,7}|#x[0-9a-fA-F]{1,6});/g, (all, name: string) => {
    if (!name.startsWith('#')) return entities[name] ?? all
    const code = name[1] === 'x' ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1))
    return code <= 0x10ffff ? String.fromCodePoint(code) : all
  })
}

async function sha256Of(bytes: Buffer): Promise<string> {
  const hash = createHash('sha256')
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    if (at > 0) await otherWork()
    hash.update(bytes.subarray(at, at + sliceBytes))
  }
  return hash.digest('hex')
}

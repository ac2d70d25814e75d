/** GetObject, HeadObject, PutObject, DeleteObject and GetObjectTagging. */
import type { ServerResponse } from 'node:http'
import { answer, refuse, type S3Answer, type S3Fault, send } from './s3-answer.ts'
import { type Checksum, digestOf } from './s3-checksum.ts'
import { encryptionHeaders, readProperties } from './s3-properties.ts'
import type { Received } from './s3-receive.ts'
import type { State } from './s3-state.ts'
import type { S3Body, StoredObject } from './s3-store.ts'
import { bodyNotKept } from './s3-uploads.ts'
import {
  checksumHeader,
  elements,
  invalidObjectState,
  parseRange,
  type S3ErrorAnswer,
  type S3Request,
  s3Errors,
  s3Namespace,
} from './s3-wire.ts'

export function putObject(
  state: State,
  request: S3Request,
  received: Received,
  stored: Received,
): S3Answer | S3ErrorAnswer {
  const properties = readProperties(request)
  if ('code' in properties) return properties
  const refusal = writeRefusal(state, request)
  if (refusal) return refusal
  const { body } = stored
  const algorithm = received.sent ?? 'CRC64NVME'
  const keptSum = ({ sums }: Received): Checksum => {
    return { algorithm, type: 'FULL_OBJECT', value: sums[algorithm]?.toString('base64') ?? '' }
  }
  const object = state.store.add(request.key, {
    ...properties,
    size: stored.size,
    etag: `"${received.md5.toString('hex')}"`,
    lastModified: new Date(state.nowMs()),
    checksum: keptSum(stored),
    body: (from, to) => {
      if (body === undefined) throw new Error(bodyNotKept)
      return from === 0 && to === body.length ? body : body.subarray(from, to)
    },
  })
  const { etag } = object
  const echoed = state.checksums ? checksumHeaders(keptSum(received)) : {}
  return { status: 200, headers: { etag, ...encryptionHeaders(object), ...echoed, ...versionHeaders(object) } }
}

function checksumHeaders(checksum: Checksum | undefined): Record<string, string> {
  if (!checksum) return {}
  return { [checksumHeader(checksum.algorithm)]: checksum.value, 'x-amz-checksum-type': checksum.type }
}

export function versionHeaders({ versionId }: StoredObject): Record<string, string> {
  return versionId === undefined ? {} : { 'x-amz-version-id': versionId }
}

/**
 * The conditions of a write: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html.
 * They hold at the time of PutObject or CompleteMultipartUpload.
 */
export function writeRefusal(state: State, { headers, key }: S3Request): S3ErrorAnswer | undefined {
  if (!state.conditionalWrites) return undefined
  const there = state.store.get(key)
  const ifNoneMatch = headers['if-none-match']
  const ifMatch = headers['if-match']
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') {
    const message = 'A header you provided implies functionality that is not implemented'
    return { status: 501, code: 'NotImplemented', message, elements: { Header: 'If-None-Match' } }
  }
  if (ifNoneMatch !== undefined && there) {
    return { ...s3Errors.preconditionFailed, elements: { Condition: 'If-None-Match' } }
  }
  if (ifMatch === undefined) return undefined
  if (!there) return s3Errors.noSuchKey
  if (matches(ifMatch, there.etag)) return undefined
  return { ...s3Errors.preconditionFailed, elements: { Condition: 'If-Match' } }
}

/** A read, which streams. */
export async function serveObject(
  state: State,
  request: S3Request,
  response: ServerResponse,
  fault: S3Fault | undefined,
): Promise<void> {
  const versionId = request.query.get('versionId') ?? undefined
  const object = state.store.get(request.key, versionId)
  if (!object) return refuse(request, response, versionId === undefined ? s3Errors.noSuchKey : noSuchVersion)
  const { size, etag } = object
  const { headers } = request
  if (headers['if-match'] !== undefined && !matches(headers['if-match'], etag)) {
    return refuse(request, response, s3Errors.preconditionFailed)
  }
  if (headers['if-none-match'] !== undefined && matches(headers['if-none-match'], etag)) {
    return answer(response, 304, { etag })
  }
  if (request.method === 'GET' && archived.has(object.storageClass)) {
    return refuse(request, response, invalidObjectState(object.storageClass))
  }
  const ignoreRange = fault !== undefined && 'ignoreRange' in fault
  const range = ignoreRange ? undefined : parseRange(headers.range?.toString(), size)
  if (range === 'bad') {
    const message = 'The requested range is not satisfiable'
    const unsatisfied = { 'content-range': `bytes */${size}` }
    return refuse(request, response, { status: 416, code: 'InvalidRange', message, headers: unsatisfied })
  }
  const [first, last] = range ?? [0, size - 1]
  const length = last + 1 - first
  const given: Record<string, string> = {
    'content-type': 'binary/octet-stream',
    ...object.headers,
    'content-length': String(length),
    'accept-ranges': 'bytes',
    etag,
    'last-modified': object.lastModified.toUTCString(),
    ...(object.storageClass === 'STANDARD' ? {} : { 'x-amz-storage-class': object.storageClass }),
    ...(object.tags?.length ? { 'x-amz-tagging-count': String(object.tags.length) } : {}),
    ...versionHeaders(object),
    ...(range === undefined ? {} : { 'content-range': `bytes ${first}-${last}/${size}` }),
  }
  // Not for a range: the checksum is that of the whole.
  if (
    headers['x-amz-checksum-mode']?.toString().toUpperCase() === 'ENABLED' &&
    range === undefined &&
    state.checksums
  ) {
    Object.assign(given, checksumHeaders(await checksumOf(object)))
  }
  const status = range === undefined ? 200 : 206
  if (request.method === 'HEAD') return answer(response, status, given)
  const body = object.body(first, last + 1)
  const wrong = fault !== undefined && 'corrupt' in fault
  return send(state.counters, response, status, given, wrong ? misread(body) : body, fault)
}

/** That of an object put in process is computed now; virtual ones have none, as objects older than checksums. */
async function checksumOf(object: StoredObject): Promise<Checksum | undefined> {
  const body = object.checksum ?? object.body(0, object.size)
  if (!Buffer.isBuffer(body)) return object.checksum
  const value = (await digestOf('CRC64NVME', [body])).toString('base64')
  return { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value }
}

/** What is read, with its last byte wrong. */
async function* misread(body: S3Body): AsyncGenerator<Buffer, void, undefined> {
  let held: Buffer | undefined
  for await (const piece of Buffer.isBuffer(body) ? [body] : body) {
    if (held) yield held
    held = piece.length > 0 ? piece : held
  }
  if (!held) return
  const wrong = Buffer.from(held)
  wrong[wrong.length - 1]! ^= 0xff
  yield wrong
}

const archived = new Set(['GLACIER', 'DEEP_ARCHIVE'])

const noSuchVersion: S3ErrorAnswer = {
  status: 404,
  code: 'NoSuchVersion',
  message: 'The specified version does not exist.',
}

function matches(header: string | string[], etag: string): boolean {
  return header
    .toString()
    .split(',')
    .some((one) => one.trim() === '*' || one.trim().replaceAll('"', '') === etag.replaceAll('"', ''))
}

export function deleteObject(state: State, { key, query }: S3Request): S3Answer {
  const versionId = query.get('versionId') ?? undefined
  state.store.remove(key, versionId)
  return { status: 204, headers: versionId === undefined ? {} : { 'x-amz-version-id': versionId } }
}

export function getTagging(state: State, { key }: S3Request): S3Answer | S3ErrorAnswer {
  const object = state.store.get(key)
  if (!object) return s3Errors.noSuchKey
  const tags = (object.tags ?? []).map(([Key, Value]) => `<Tag>${elements({ Key, Value })}</Tag>`)
  return { status: 200, xml: `<Tagging ${s3Namespace}><TagSet>${tags.join('')}</TagSet></Tagging>` }
}

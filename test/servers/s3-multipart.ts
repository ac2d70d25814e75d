/** Multipart uploads as S3 has them: https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html */
import type { S3Answer } from './s3-answer.ts'
import { type ChecksumAlgorithm, type ChecksumType, canBeFullObject, checksumAlgorithms } from './s3-checksum.ts'
import { versionHeaders, writeRefusal } from './s3-objects.ts'
import { encryptionHeaders, readProperties } from './s3-properties.ts'
import { corrupted, type Received } from './s3-receive.ts'
import type { State } from './s3-state.ts'
import { compareKeys } from './s3-store.ts'
import { objectOfParts, type Part, partsOf, type Upload, wholeChecksum } from './s3-uploads.ts'
import {
  checksumHeader,
  elements,
  invalidChecksum,
  invalidRequest,
  isChecksum,
  type S3ErrorAnswer,
  type S3Request,
  s3Errors,
  s3Namespace,
  unescapeXml,
  urlEncodeKey,
  wrongChecksum,
} from './s3-wire.ts'

export function createUpload(state: State, request: S3Request): S3Answer | S3ErrorAnswer {
  const properties = readProperties(request)
  if ('code' in properties) return properties
  const checksum = state.checksums ? askedChecksum(request) : defaultChecksum
  if ('code' in checksum) return checksum
  const { key, bucket } = request
  const upload = state.multipart.begin({ key, properties, initiated: new Date(state.nowMs()), ...checksum })
  const echoed = state.checksums && upload.asked !== undefined
  return {
    status: 200,
    headers: {
      ...encryptionHeaders(properties),
      ...(echoed ? { 'x-amz-checksum-algorithm': upload.algorithm, 'x-amz-checksum-type': upload.type } : {}),
    },
    xml: `<InitiateMultipartUploadResult ${s3Namespace}>${elements({
      Bucket: bucket,
      Key: key,
      UploadId: upload.uploadId,
    })}</InitiateMultipartUploadResult>`,
  }
}

type AskedChecksum = Pick<Upload, 'asked' | 'algorithm' | 'type'>

const defaultChecksum: AskedChecksum = { asked: undefined, algorithm: 'CRC64NVME', type: 'FULL_OBJECT' }

function askedChecksum({ headers }: S3Request): AskedChecksum | S3ErrorAnswer {
  const name = headers['x-amz-checksum-algorithm']?.toString().toUpperCase()
  const type = headers['x-amz-checksum-type']?.toString()
  if (name === undefined) {
    if (type === undefined) return defaultChecksum
    return invalidRequest('The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.')
  }
  const algorithm = checksumAlgorithms.find((known) => known === name)
  if (!algorithm) return invalidRequest('Checksum algorithm provided is unsupported. Please try again.')
  const usual: ChecksumType = algorithm === 'CRC64NVME' ? 'FULL_OBJECT' : 'COMPOSITE'
  const taken = type === undefined ? usual : type === 'FULL_OBJECT' || type === 'COMPOSITE' ? type : undefined
  if (taken === undefined) return invalidRequest('Value for x-amz-checksum-type header is invalid.')
  const possible = taken === 'COMPOSITE' ? algorithm !== 'CRC64NVME' : canBeFullObject(algorithm)
  if (possible) return { asked: algorithm, algorithm, type: taken }
  return invalidRequest(
    `The ${taken} checksum type cannot be used with the ${algorithm.toLowerCase()} checksum algorithm.`,
  )
}

/** `stored` is what is kept, which a fault may have changed; the answer tells of what was received. */
export function uploadPart(
  state: State,
  { query, key }: S3Request,
  received: Received,
  stored: Received,
): S3Answer | S3ErrorAnswer {
  const number = Number(query.get('partNumber'))
  if (!Number.isInteger(number) || number < 1 || number > 10_000) return invalidPartNumber
  const upload = state.multipart.find(query.get('uploadId') ?? '', key)
  if (!upload) return s3Errors.noSuchUpload
  if (received.size > maxPartBytes) return entityTooLarge
  const { algorithm, asked } = upload
  // CRC64NVME is computed even if nobody sends one; any other has to come with each part.
  const sent = received.sent ?? (algorithm === 'CRC64NVME' ? algorithm : undefined)
  if (state.checksums && sent !== algorithm) {
    const text = (name: ChecksumAlgorithm | undefined) => name?.toLowerCase() ?? 'null'
    return invalidRequest(
      `Checksum Type mismatch occurred, expected checksum Type: ${text(asked)}, actual checksum Type: ${text(sent)}`,
    )
  }
  const etag = `"${received.md5.toString('hex')}"`
  upload.parts.set(number, { number, etag, lastModified: new Date(state.nowMs()), received: stored })
  const sum = state.checksums ? received.sums[algorithm] : undefined
  return {
    status: 200,
    headers: {
      etag,
      ...encryptionHeaders(upload.properties),
      ...(sum ? { [checksumHeader(algorithm)]: sum.toString('base64') } : {}),
    },
  }
}

const maxPartBytes = 5 * 2 ** 30
const entityTooLarge: S3ErrorAnswer = {
  status: 400,
  code: 'EntityTooLarge',
  message: 'Your proposed upload exceeds the maximum allowed size',
}
const invalidPartNumber: S3ErrorAnswer = {
  status: 400,
  code: 'InvalidArgument',
  message: 'Part number must be an integer between 1 and 10000, inclusive',
}

export function listParts(state: State, { query, key, bucket }: S3Request): S3Answer | S3ErrorAnswer {
  const upload = state.multipart.find(query.get('uploadId') ?? '', key)
  if (!upload) return s3Errors.noSuchUpload
  const max = pageSize(query.get('max-parts'))
  const marker = Number(query.get('part-number-marker') ?? 0)
  const left = partsOf(upload).filter(({ number }) => number > marker)
  const page = left.slice(0, max)
  const { algorithm, type, asked, properties } = upload
  const parts = page.map(({ number, etag, lastModified, received }) => {
    const sum = state.checksums && state.listPartsChecksums ? received.sums[algorithm] : undefined
    return `<Part>${elements({
      PartNumber: number,
      LastModified: lastModified.toISOString(),
      ETag: etag,
      Size: received.size,
      [`Checksum${algorithm}`]: sum?.toString('base64'),
    })}</Part>`
  })
  const told = state.checksums && asked !== undefined
  return {
    status: 200,
    xml: `<ListPartsResult ${s3Namespace}>${elements({
      Bucket: bucket,
      Key: key,
      UploadId: upload.uploadId,
      PartNumberMarker: marker,
      NextPartNumberMarker: page.at(-1)?.number ?? 0,
      MaxParts: max,
      IsTruncated: left.length > page.length,
      StorageClass: properties.storageClass,
      ChecksumAlgorithm: told ? algorithm : undefined,
      ChecksumType: told ? type : undefined,
    })}${parts.join('')}</ListPartsResult>`,
  }
}

export function listUploads(state: State, { query, bucket }: S3Request): S3Answer {
  const asked = {
    Prefix: query.get('prefix') ?? '',
    KeyMarker: query.get('key-marker') ?? '',
    UploadIdMarker: query.get('upload-id-marker') ?? '',
  }
  const max = pageSize(query.get('max-uploads'))
  const all = state.multipart.sorted().filter(({ key }) => key.startsWith(asked.Prefix))
  const begin = firstAfter(all, asked.KeyMarker, asked.UploadIdMarker)
  const page = all.slice(begin, begin + max)
  const truncated = begin + max < all.length
  const encoded = query.get('encoding-type') === 'url' ? urlEncodeKey : (key: string) => key
  const uploads = page.map(({ key, uploadId, initiated, properties, algorithm, asked: named, type }) => {
    const told = state.checksums && named !== undefined
    return `<Upload>${elements({
      Key: encoded(key),
      UploadId: uploadId,
      StorageClass: properties.storageClass,
      Initiated: initiated.toISOString(),
      ChecksumAlgorithm: told ? algorithm : undefined,
      ChecksumType: told ? type : undefined,
    })}</Upload>`
  })
  return {
    status: 200,
    xml: `<ListMultipartUploadsResult ${s3Namespace}>${elements({
      Bucket: bucket,
      KeyMarker: encoded(asked.KeyMarker),
      UploadIdMarker: asked.UploadIdMarker,
      NextKeyMarker: truncated ? encoded(page.at(-1)?.key ?? '') : undefined,
      NextUploadIdMarker: truncated ? page.at(-1)?.uploadId : undefined,
      Prefix: encoded(asked.Prefix),
      EncodingType: query.get('encoding-type') ?? undefined,
      MaxUploads: max,
      IsTruncated: truncated,
    })}${uploads.join('')}</ListMultipartUploadsResult>`,
  }
}

/** Where the page begins. A marker of an upload that has ended meanwhile stands for its key: none of that key comes again. */
function firstAfter(all: readonly Upload[], keyMarker: string, uploadIdMarker: string): number {
  if (keyMarker === '') return 0
  const marked = all.findIndex(({ key, uploadId }) => key === keyMarker && uploadId === uploadIdMarker)
  if (marked >= 0) return marked + 1
  const next = all.findIndex(({ key }) => compareKeys(key, keyMarker) > 0)
  return next < 0 ? all.length : next
}

function pageSize(asked: string | null): number {
  return Math.min(1000, Number(asked ?? 1000))
}

export function abortUpload(state: State, { query, key }: S3Request): S3Answer | S3ErrorAnswer {
  const upload = state.multipart.find(query.get('uploadId') ?? '', key)
  if (!upload) return s3Errors.noSuchUpload
  state.multipart.end(upload)
  return { status: 204 }
}

/** `corrupt`: the object that comes of it differs from its parts. */
export async function completeUpload(
  state: State,
  request: S3Request,
  body: Buffer,
  corrupt: 'bytes' | 'bytes_and_sums' | 'size' | undefined,
): Promise<S3Answer | S3ErrorAnswer> {
  const { query, key, bucket, headers } = request
  const upload = state.multipart.find(query.get('uploadId') ?? '', key)
  if (!upload) return s3Errors.noSuchUpload
  const chosen = chooseParts(state, upload, body.toString())
  if ('code' in chosen) return chosen
  const size = chosen.reduce((sum, { received }) => sum + received.size, 0)
  const promised = headers['x-amz-mp-object-size']
  if (promised !== undefined && Number(promised) !== size) {
    return invalidRequest('The provided x-amz-mp-object-size header does not match the size of the uploaded parts.')
  }
  const refusal = (state.checksums ? compareWhole(upload, chosen, request) : undefined) ?? writeRefusal(state, request)
  if (refusal) return refusal
  const last = chosen.at(-1)
  const parts =
    corrupt && last ? chosen.with(-1, { ...last, received: await corrupted(last.received, corrupt) }) : chosen
  const object = state.store.add(key, objectOfParts(upload, parts, new Date(state.nowMs())))
  state.multipart.end(upload)
  const { etag } = object
  const checksum = state.checksums ? object.checksum : undefined
  return {
    status: 200,
    headers: { ...encryptionHeaders(object), ...versionHeaders(object) },
    xml: `<CompleteMultipartUploadResult ${s3Namespace}>${elements({
      Location: `http://${bucket}.s3.amazonaws.com/${encodeURIComponent(key)}`,
      Bucket: bucket,
      Key: key,
      ETag: etag,
      ...(checksum ? { [`Checksum${checksum.algorithm}`]: checksum.value, ChecksumType: checksum.type } : {}),
    })}</CompleteMultipartUploadResult>`,
  }
}

/** The parts that the request names, if they are what was uploaded. */
function chooseParts(state: State, upload: Upload, xml: string): Part[] | S3ErrorAnswer {
  const chosen: Part[] = []
  for (const [, inner = ''] of xml.matchAll(/<Part>(.*?)<\/Part>/gs)) {
    const field = (name: string) => {
      const text = new RegExp(`<${name}>(.*?)</${name}>`, 's').exec(inner)?.[1]
      return text === undefined ? undefined : unescapeXml(text).trim()
    }
    const number = Number(field('PartNumber'))
    const etag = field('ETag')
    if (!Number.isInteger(number) || etag === undefined) return malformedXml
    if (number <= (chosen.at(-1)?.number ?? 0)) return invalidPartOrder
    const part = upload.parts.get(number)
    if (!part || part.etag.replaceAll('"', '') !== etag.replaceAll('"', '')) return invalidPart(upload, number, etag)
    const sum = field(`Checksum${upload.algorithm}`)
    if (state.checksums && sum === undefined && upload.type === 'COMPOSITE') {
      return invalidRequest(
        `The upload was created using a ${upload.algorithm.toLowerCase()} checksum. The complete request must include ` +
          `the checksum for each part. It was missing for part ${number} in the request.`,
      )
    }
    if (state.checksums && sum !== undefined && sum !== part.received.sums[upload.algorithm]?.toString('base64')) {
      return invalidPart(upload, number, etag)
    }
    chosen.push(part)
  }
  if (chosen.length === 0) return malformedXml
  const small = chosen.slice(0, -1).find(({ received }) => received.size < state.minPartBytes)
  return small ? entityTooSmall(small, state.minPartBytes) : chosen
}

function compareWhole(upload: Upload, parts: readonly Part[], { headers }: S3Request): S3ErrorAnswer | undefined {
  const { algorithm, type } = upload
  const givenType = headers['x-amz-checksum-type']
  if (givenType !== undefined && givenType !== type) {
    return invalidRequest(
      `The upload was created using the ${type} checksum mode. The complete request must use the same checksum mode.`,
    )
  }
  for (const given of checksumAlgorithms) {
    const name = checksumHeader(given)
    const value = headers[name]?.toString()
    if (value === undefined) continue
    if (given !== algorithm) {
      return invalidRequest(
        `Checksum Type mismatch occurred, expected checksum Type: ${algorithm.toLowerCase()}, actual checksum Type: ${given.toLowerCase()}`,
      )
    }
    if (type === 'FULL_OBJECT' && !isChecksum(algorithm, value)) return invalidChecksum(name)
    if (value !== wholeChecksum(upload, parts)) return wrongChecksum(algorithm)
  }
  return undefined
}

const malformedXml: S3ErrorAnswer = {
  status: 400,
  code: 'MalformedXML',
  message: 'The XML you provided was not well-formed or did not validate against our published schema',
}
const invalidPartOrder: S3ErrorAnswer = {
  status: 400,
  code: 'InvalidPartOrder',
  message: 'The list of parts was not in ascending order. Parts must be ordered by part number.',
}

function invalidPart({ uploadId }: Upload, number: number, etag: string): S3ErrorAnswer {
  return { ...s3Errors.invalidPart, elements: { UploadId: uploadId, PartNumber: String(number), ETag: etag } }
}

function entityTooSmall({ number, etag, received }: Part, least: number): S3ErrorAnswer {
  return {
    status: 400,
    code: 'EntityTooSmall',
    message: 'Your proposed upload is smaller than the minimum allowed size',
    elements: {
      ProposedSize: String(received.size),
      MinSizeAllowed: String(least),
      PartNumber: String(number),
      ETag: etag.slice(1, -1),
    },
  }
}

/** What a client gives with an object, in PutObject or CreateMultipartUpload, and gets back with it. */
import type { StoredObject } from './s3-store.ts'
import { invalidRequest, type S3ErrorAnswer, type S3Request } from './s3-wire.ts'

export type Properties = Pick<StoredObject, 'headers' | 'tags' | 'storageClass'>

const kept = new Set([
  'content-type',
  'content-encoding',
  'content-language',
  'content-disposition',
  'cache-control',
  'expires',
  'x-amz-server-side-encryption',
  'x-amz-server-side-encryption-aws-kms-key-id',
  'x-amz-server-side-encryption-bucket-key-enabled',
])

const storageClasses = new Set([
  'STANDARD',
  'REDUCED_REDUNDANCY',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER',
  'DEEP_ARCHIVE',
  'GLACIER_IR',
  'EXPRESS_ONEZONE',
])

export function readProperties({ headers, key }: S3Request): Properties | S3ErrorAnswer {
  if (Buffer.byteLength(key) > 1024) return { status: 400, code: 'KeyTooLongError', message: 'Your key is too long' }
  const own: Record<string, string> = {}
  let metadataBytes = 0
  for (const [name, value] of Object.entries(headers)) {
    const isMetadata = name.startsWith('x-amz-meta-')
    if (value === undefined || !(isMetadata || kept.has(name))) continue
    const text = value.toString()
    if (isMetadata) metadataBytes += Buffer.byteLength(name.slice('x-amz-meta-'.length)) + Buffer.byteLength(text)
    // aws-chunked is the framing of the request, not of the object.
    const plain = name === 'content-encoding' ? text.replace(/\s*aws-chunked\s*,?/, '') : text
    if (plain !== '') own[name] = plain
  }
  if (metadataBytes > 2048) return metadataTooLarge
  const storageClass = headers['x-amz-storage-class']?.toString() ?? 'STANDARD'
  if (!storageClasses.has(storageClass)) return invalidStorageClass
  const encryption = own['x-amz-server-side-encryption']
  if (encryption !== undefined && !['AES256', 'aws:kms', 'aws:kms:dsse'].includes(encryption)) return invalidEncryption
  const tags = [...new URLSearchParams(headers['x-amz-tagging']?.toString() ?? '')]
  if (tags.length > 10) return { status: 400, code: 'BadRequest', message: 'Object tags cannot be greater than 10' }
  if (tags.some(([name, value]) => name === '' || name.length > 128 || value.length > 256)) return invalidTag
  return { headers: own, tags, storageClass }
}

/** Those that an answer to a write repeats. */
export function encryptionHeaders({ headers = {} }: Pick<Properties, 'headers'>): Record<string, string> {
  const found = Object.entries(headers).filter(([name]) => name.startsWith('x-amz-server-side-encryption'))
  return Object.fromEntries(found)
}

const metadataTooLarge: S3ErrorAnswer = {
  status: 400,
  code: 'MetadataTooLarge',
  message: 'Your metadata headers exceed the maximum allowed metadata size',
}
const invalidStorageClass: S3ErrorAnswer = {
  status: 400,
  code: 'InvalidStorageClass',
  message: 'The storage class you specified is not valid',
}
const invalidEncryption = invalidRequest('The encryption method specified is not supported')
const invalidTag: S3ErrorAnswer = {
  status: 400,
  code: 'InvalidTag',
  message: 'The tag provided was not a valid tag. This error can occur if the tag did not pass input validation.',
}

/** Which operation of S3 a request is, where it is counted, and who is asked whether it fails. */
import type { S3Counters, S3Faults } from './s3-state.ts'
import type { S3Request } from './s3-wire.ts'

type Counted = Exclude<keyof S3Counters, 'other' | 'bytesSent' | 'bytesReceived'>
type Uncounted = 'headBucket' | 'createBucket' | 'location' | 'unknown'
export type Operation = Counted | Uncounted

export interface Route {
  readonly operation: Operation
  readonly counted: keyof S3Counters
  readonly hook: keyof S3Faults | undefined
  /** What the hook is told. */
  readonly name: string
}

const hooks: Readonly<Partial<Record<Operation, keyof S3Faults>>> = {
  list: 'onList',
  get: 'onGet',
  head: 'onHead',
  put: 'onPut',
  delete: 'onDelete',
  createUpload: 'onCreateUpload',
  uploadPart: 'onUploadPart',
  listParts: 'onListParts',
  listUploads: 'onListUploads',
  complete: 'onComplete',
  abort: 'onAbort',
  tagging: 'onTagging',
  headBucket: 'onHeadBucket',
}

export function routeOf(request: S3Request): Route {
  const { bucket, key, query } = request
  const operation = key === '' ? ofBucket(request) : ofObject(request)
  const listed = operation === 'list' || operation === 'listUploads'
  const ofName = operation === 'headBucket' ? bucket : listed ? (query.get('prefix') ?? '') : key
  return {
    operation,
    counted: isCounted(operation) ? operation : 'other',
    hook: hooks[operation],
    name: operation === 'uploadPart' ? `${key}#${query.get('partNumber')}` : ofName,
  }
}

const uncounted: ReadonlySet<string> = new Set<Uncounted>(['headBucket', 'createBucket', 'location', 'unknown'])

function isCounted(operation: Operation): operation is Counted {
  return !uncounted.has(operation)
}

function ofBucket({ method, bucket, query }: S3Request): Operation {
  if (bucket === '') return 'unknown'
  if (method === 'HEAD') return 'headBucket'
  if (method === 'PUT') return 'createBucket'
  if (method !== 'GET') return 'unknown'
  if (query.has('location')) return 'location'
  return query.has('uploads') ? 'listUploads' : 'list'
}

/** Parts of an object that are not served. */
const subresources = ['acl', 'attributes', 'legal-hold', 'restore', 'retention', 'select', 'torrent', 'partNumber']

function ofObject({ method, query, headers }: S3Request): Operation {
  const ofUpload = query.has('uploadId')
  if (method === 'POST') return query.has('uploads') ? 'createUpload' : ofUpload ? 'complete' : 'unknown'
  if (method === 'GET' && ofUpload) return 'listParts'
  if (method === 'DELETE' && ofUpload) return 'abort'
  if (headers['x-amz-copy-source'] !== undefined) return 'unknown'
  if (method === 'PUT' && ofUpload) return query.has('partNumber') ? 'uploadPart' : 'unknown'
  if (query.has('tagging')) return method === 'GET' ? 'tagging' : 'unknown'
  if (subresources.some((name) => query.has(name))) return 'unknown'
  return plain[method] ?? 'unknown'
}

const plain: Readonly<Partial<Record<string, Operation>>> = { GET: 'get', HEAD: 'head', PUT: 'put', DELETE: 'delete' }

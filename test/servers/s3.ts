/**
 * A small S3 server in this process, for tests and measurements: path style, no signatures checked, one set of objects
 * under whatever bucket name it is asked for. Its objects cost memory or, virtual, none; each request may be made to fail.
 *
 * Serves ListObjectsV2, GetObject, HeadObject, PutObject, DeleteObject, HeadBucket, CreateBucket, GetBucketLocation.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { answer, refuse, type S3Fault, send } from './s3-answer.ts'
import { type ListPage, type PutOptions, type S3Body, S3Store } from './s3-store.ts'
import {
  escapeXml,
  invalidObjectState,
  parseRange,
  readBody,
  readRequest,
  type S3Request,
  s3Errors,
  urlEncodeKey,
  xmlHeader,
} from './s3-wire.ts'

/** `n` counts the requests for this key (or prefix) that this hook saw, from 1. A hook may also change the bucket. */
export type FaultHook = (name: string, n: number) => S3Fault | undefined | Promise<S3Fault | undefined>

export interface S3Faults {
  onGet?: FaultHook | undefined
  onHead?: FaultHook | undefined
  onPut?: FaultHook | undefined
  /** Gets the prefix. */
  onList?: FaultHook | undefined
}

/** One request as it came. */
export interface RecordedRequest {
  readonly method: string
  readonly key: string
  readonly query: URLSearchParams
  readonly range: string | undefined
}

export interface VirtualObject {
  readonly key: string
  readonly size: number
  /** Bytes `from` up to, not including, `to`. */
  readonly body: (from: number, to: number) => S3Body
  readonly lastModified?: Date
  readonly storageClass?: string
}

export interface VirtualListing {
  /** Bytes of each; 0 if left out. */
  readonly sizeOf?: (index: number) => number
  readonly lastModifiedOf?: (index: number) => Date
  /** The whole object; without it every GET is a NoSuchKey. */
  readonly bodyOf?: (index: number) => Buffer
}

export interface S3Counters {
  list: number
  get: number
  head: number
  put: number
  delete: number
  other: number
  /** Bytes of bodies of objects handed to the sockets. */
  bytesSent: number
}

export interface S3Server {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  readonly port: number
  put(key: string, body: Buffer | string, o?: PutOptions): void
  remove(key: string): void
  addVirtual(object: VirtualObject): void
  /** `count` objects that cost no memory. `keyOf` must rise in the order of UTF-8 bytes. */
  addVirtualListing(count: number, keyOf: (index: number) => string, o?: VirtualListing): void
  /** The bytes of an object that was put. */
  read(key: string): Buffer | undefined
  /** What was asked, in order; empty it at will. Not kept if `record` is false. */
  readonly requests: RecordedRequest[]
  record: boolean
  readonly counters: S3Counters
  /** Set or replace hooks at any time. */
  readonly faults: S3Faults
  /** Lists lack `Size`, as some S3-like servers have it. */
  listWithoutSize: boolean
  /** The bucket names that exist; undefined: all. */
  buckets: Set<string> | undefined
  /** Breaks open connections. */
  close(): Promise<void>
}

/** Starts on a free port of 127.0.0.1. */
export async function startS3(): Promise<S3Server> {
  const state = new State()
  const http = createServer((incoming, response) => {
    serve(state, incoming, response).catch((error: unknown) => {
      if (response.destroyed) return
      // The client left, or this server (or a hook) is broken: the latter must be seen.
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      if (response.headersSent) response.destroy()
      else response.writeHead(500, { 'content-type': 'text/plain' }).end(`test server: ${message}`)
    })
  })
  http.keepAliveTimeout = 60_000
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  return Object.assign(state, {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    close: async () => {
      if (!http.listening) return
      const closed = once(http, 'close')
      http.close()
      http.closeAllConnections()
      await closed
    },
  })
}

class State {
  readonly store = new S3Store()
  readonly requests: RecordedRequest[] = []
  record = true
  readonly counters: S3Counters = { list: 0, get: 0, head: 0, put: 0, delete: 0, other: 0, bytesSent: 0 }
  readonly faults: S3Faults = {}
  listWithoutSize = false
  buckets: Set<string> | undefined
  readonly #asked = new WeakMap<FaultHook, Map<string, number>>()

  put(key: string, body: Buffer | string, o?: PutOptions): void {
    this.store.put(key, typeof body === 'string' ? Buffer.from(body) : body, o)
  }

  remove(key: string): void {
    this.store.remove(key)
  }

  read(key: string): Buffer | undefined {
    const object = this.store.get(key)
    const body = object?.body(0, object.size)
    return Buffer.isBuffer(body) ? body : undefined
  }

  addVirtual(o: VirtualObject): void {
    const etag = createHash('md5').update(`${o.key} ${o.size}`).digest('hex')
    const { size, body, lastModified = new Date(), storageClass = 'STANDARD' } = o
    this.store.add(o.key, { size, etag: `"${etag}"`, lastModified, storageClass, body })
  }

  addVirtualListing(count: number, keyOf: (index: number) => string, o: VirtualListing = {}): void {
    const now = new Date()
    this.store.addShelf({
      count,
      keyAt: keyOf,
      objectAt: (index) => {
        const { sizeOf, lastModifiedOf, bodyOf } = o
        return {
          size: sizeOf?.(index) ?? 0,
          etag: `"${index.toString(16).padStart(32, '0')}"`,
          lastModified: lastModifiedOf?.(index) ?? now,
          storageClass: 'STANDARD',
          body: (from, to) => bodyOf?.(index).subarray(from, to) ?? Buffer.alloc(0),
        }
      },
    })
  }

  /** The fault for this request, if a hook is set. */
  fault(hook: keyof S3Faults, name: string): S3Fault | undefined | Promise<S3Fault | undefined> {
    const call = this.faults[hook]
    if (!call) return undefined
    const asked = this.#asked.get(call) ?? new Map<string, number>()
    this.#asked.set(call, asked)
    const n = (asked.get(name) ?? 0) + 1
    asked.set(name, n)
    return call(name, n)
  }
}

async function serve(state: State, incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const request = readRequest(incoming)
  const { method, key, query } = request
  if (state.record) state.requests.push({ method, key, query, range: incoming.headers.range })
  const body = method === 'PUT' || method === 'POST' ? await readBody(incoming) : undefined
  const list = key === '' && method === 'GET' && !query.has('location') && request.bucket !== ''
  const operation = list ? 'list' : key === '' ? 'other' : operations[method]
  state.counters[operation ?? 'other'] += 1
  const known = !state.buckets || state.buckets.has(request.bucket)
  if (!known && !(method === 'PUT' && key === '')) return refuse(request, response, s3Errors.noSuchBucket)

  const hook = operation === undefined ? undefined : hooks[operation]
  const fault = hook ? state.fault(hook, list ? (query.get('prefix') ?? '') : key) : undefined
  const harm = await harmless(request, response, fault instanceof Promise ? await fault : fault)
  if (harm === 'answered') return
  if (list) return serveList(state, request, response, harm)
  if (operation === 'get' || operation === 'head') return serveObject(state, request, response, harm)
  if (operation === 'put' && body) return servePut(state, request, response, body)
  if (operation === 'delete') {
    state.store.remove(key)
    return answer(response, 204, {})
  }
  serveBucket(state, request, response)
}

const operations: Partial<Record<string, keyof S3Counters & ('get' | 'head' | 'put' | 'delete')>> = {
  GET: 'get',
  HEAD: 'head',
  PUT: 'put',
  DELETE: 'delete',
}
const hooks: Partial<Record<string, keyof S3Faults>> = { get: 'onGet', head: 'onHead', put: 'onPut', list: 'onList' }

/** Faults that need no body are dealt with here; the rest is given back. */
async function harmless(
  request: S3Request,
  response: ServerResponse,
  fault: S3Fault | undefined,
): Promise<S3Fault | undefined | 'answered'> {
  if (fault === undefined) return undefined
  if ('delayMs' in fault) {
    await sleep(fault.delayMs)
    return harmless(request, response, fault.next)
  }
  if ('code' in fault) {
    refuse(request, response, fault)
    return 'answered'
  }
  if ('cutAfter' in fault && fault.cutAfter < 0) {
    response.socket?.resetAndDestroy()
    return 'answered'
  }
  return 'stallAfter' in fault && fault.stallAfter < 0 ? 'answered' : fault
}

function serveBucket(state: State, request: S3Request, response: ServerResponse): undefined {
  const { method, query, bucket } = request
  if (method === 'HEAD') return answer(response, 200, { 'x-amz-bucket-region': 'us-east-1' })
  if (method === 'PUT') {
    state.buckets?.add(bucket)
    return answer(response, 200, { location: `/${bucket}` })
  }
  if (method === 'GET' && query.has('location')) {
    const xml = `${xmlHeader}<LocationConstraint ${namespace}/>`
    return answer(response, 200, { 'content-type': 'application/xml' }, Buffer.from(xml))
  }
  refuse(request, response, { status: 501, code: 'NotImplemented', message: `${method} /${bucket}/${request.key}` })
}

function servePut(state: State, request: S3Request, response: ServerResponse, body: Buffer): undefined {
  const { headers, key } = request
  const md5 = headers['content-md5']
  if (headers['if-none-match'] === '*' && state.store.get(key)) {
    return refuse(request, response, s3Errors.preconditionFailed)
  }
  if (md5 !== undefined && md5 !== createHash('md5').update(body).digest('base64')) {
    return refuse(request, response, s3Errors.badDigest)
  }
  const storageClass = headers['x-amz-storage-class']?.toString()
  const { etag } = state.store.put(key, body, storageClass === undefined ? {} : { storageClass })
  answer(response, 200, { etag })
}

function serveObject(
  state: State,
  request: S3Request,
  response: ServerResponse,
  fault: S3Fault | undefined,
): Promise<void> | undefined {
  const object = state.store.get(request.key)
  if (!object) return refuse(request, response, s3Errors.noSuchKey)
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
    'content-length': String(length),
    'accept-ranges': 'bytes',
    etag,
    'last-modified': object.lastModified.toUTCString(),
    ...(object.storageClass === 'STANDARD' ? {} : { 'x-amz-storage-class': object.storageClass }),
    ...(range === undefined ? {} : { 'content-range': `bytes ${first}-${last}/${size}` }),
  }
  const status = range === undefined ? 200 : 206
  if (request.method === 'HEAD') return answer(response, status, given)
  return send(state.counters, response, status, given, object.body(first, last + 1), fault)
}

const archived = new Set(['GLACIER', 'DEEP_ARCHIVE'])

function matches(header: string | string[], etag: string): boolean {
  return header
    .toString()
    .split(',')
    .some((one) => one.trim() === '*' || one.trim().replaceAll('"', '') === etag.replaceAll('"', ''))
}

function serveList(
  state: State,
  request: S3Request,
  response: ServerResponse,
  fault: S3Fault | undefined,
): Promise<void> | undefined {
  const { query, bucket } = request
  const asked = {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    startAfter: query.get('start-after') ?? '',
    token: query.get('continuation-token') ?? '',
    maxKeys: Math.min(1000, Number(query.get('max-keys') ?? 1000)),
  }
  const encoded = query.get('encoding-type') === 'url' ? urlEncodeKey : escapeXml
  const page = state.store.list(asked)
  const one = (name: string, text: string | undefined) => (text === undefined ? '' : `<${name}>${text}</${name}>`)
  const given = (name: string, text: string) => (text === '' ? '' : one(name, encoded(text)))
  const xml =
    `${xmlHeader}<ListBucketResult ${namespace}>${one('Name', escapeXml(bucket))}` +
    `<Prefix>${encoded(asked.prefix)}</Prefix>${given('Delimiter', asked.delimiter)}` +
    given('StartAfter', asked.startAfter) +
    (asked.token === '' ? '' : one('ContinuationToken', asked.token)) +
    one('NextContinuationToken', page.nextToken) +
    one('KeyCount', String(page.objects.length + page.prefixes.length)) +
    one('MaxKeys', String(asked.maxKeys)) +
    (query.get('encoding-type') === 'url' ? '<EncodingType>url</EncodingType>' : '') +
    `${one('IsTruncated', String(page.nextToken !== undefined))}${contentsXml(page, encoded, !state.listWithoutSize)}</ListBucketResult>`
  const body = Buffer.from(xml)
  const headers = { 'content-type': 'application/xml', 'content-length': String(body.length) }
  return send(undefined, response, 200, headers, body, fault)
}

const namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

function contentsXml(page: ListPage, encoded: (key: string) => string, withSize: boolean): string {
  let xml = ''
  for (const [key, { etag, size, lastModified, storageClass }] of page.objects) {
    xml +=
      `<Contents><Key>${encoded(key)}</Key><LastModified>${lastModified.toISOString()}</LastModified>` +
      `<ETag>&quot;${etag.slice(1, -1)}&quot;</ETag>${withSize ? `<Size>${size}</Size>` : ''}` +
      `<StorageClass>${storageClass}</StorageClass></Contents>`
  }
  for (const prefix of page.prefixes) xml += `<CommonPrefixes><Prefix>${encoded(prefix)}</Prefix></CommonPrefixes>`
  return xml
}

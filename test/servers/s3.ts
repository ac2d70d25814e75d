/**
 * A small S3 server in this process, for tests and measurements: path style, no signatures checked, one set of objects
 * under whatever bucket name it is asked for. Its objects cost memory or, virtual, none; each request may be made to fail.
 *
 * Serves ListObjectsV2, GetObject, HeadObject, PutObject, DeleteObject, GetObjectTagging, multipart uploads, HeadBucket,
 * CreateBucket, GetBucketLocation. What is sent is compared with its sums, and writes keep their conditions, as on AWS.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { harm, pause, refuse, reply, type S3Answer, type S3Fault } from './s3-answer.ts'
import { serveList } from './s3-list.ts'
import { abortUpload, completeUpload, createUpload, listParts, listUploads, uploadPart } from './s3-multipart.ts'
import { deleteObject, getTagging, putObject, serveObject } from './s3-objects.ts'
import { corrupted, type Received, receive } from './s3-receive.ts'
import { type Operation, routeOf } from './s3-route.ts'
import {
  type OpenUpload,
  type RecordedRequest,
  type S3Counters,
  type S3Faults,
  State,
  type VirtualListing,
  type VirtualObject,
} from './s3-state.ts'
import type { PutOptions, StoredObject } from './s3-store.ts'
import { readRequest, type S3ErrorAnswer, type S3Request, s3Errors, s3Namespace } from './s3-wire.ts'

export interface S3Server {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  readonly port: number
  put(key: string, body: Buffer | string, o?: PutOptions): void
  remove(key: string): void
  addVirtual(object: VirtualObject): void
  /** `count` objects that cost no memory. `keyOf` must rise in the order of UTF-8 bytes. */
  addVirtualListing(count: number, keyOf: (index: number) => string, o?: VirtualListing): void
  /** The bytes of an object that was put. Throws if bodies were not kept. */
  read(key: string): Buffer | undefined
  /** What is known of an object. */
  stat(key: string): StoredObject | undefined
  /** Keys of all objects but those of virtual listings, in order. */
  keys(): string[]
  /** Multipart uploads that were begun and neither completed nor aborted. */
  uploads(): OpenUpload[]
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
  /** False: a server that knows no x-amz-checksum-*: takes no notice of them and never gives any. */
  checksums: boolean
  /** False: a server that takes no notice of If-Match and If-None-Match when it writes. */
  conditionalWrites: boolean
  /** False: ListParts gives no checksums of parts. */
  listPartsChecksums: boolean
  /** Least size of all parts but the last. */
  minPartBytes: number
  /** False: of what is written from now on only size and sums are kept; it cannot be read. */
  keepBodies: boolean
  /** True: writes give x-amz-version-id, and a version deleted by its id brings back the one before. */
  versioned: boolean
  /** The clock of the server, for LastModified and the begin of uploads. */
  nowMs: () => number
  /** Breaks open connections. */
  close(): Promise<void>
}

/** Starts on a free port of 127.0.0.1. */
export async function startS3(): Promise<S3Server> {
  const state = new State()
  const closing = new AbortController()
  const onRequest = (incoming: IncomingMessage, response: ServerResponse) => {
    serve(state, incoming, response, closing.signal).catch((error: unknown) => {
      if (response.destroyed || closing.signal.aborted) return
      // The client left, or this server (or a hook) is broken: the latter must be seen.
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      if (response.headersSent) response.destroy()
      else response.writeHead(500, { 'content-type': 'text/plain' }).end(`test server: ${message}`)
    })
  }
  const http = createServer(onRequest)
  // The client that waits for a 100 gets it when its body is wanted.
  http.on('checkContinue', onRequest)
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
      closing.abort()
      http.close()
      http.closeAllConnections()
      await closed
    },
  })
}

/** Only what the fault leaves of a request reaches its handler; only what `after` leaves of an answer, the client. */
async function serve(
  state: State,
  incoming: IncomingMessage,
  response: ServerResponse,
  closing: AbortSignal,
): Promise<void> {
  const request = readRequest(incoming)
  const { method, key, query, headers } = request
  if (state.record) state.requests.push({ method, key, query, range: headers.range?.toString(), headers })
  const { operation, counted, hook, name } = routeOf(request)
  state.counters[counted] += 1
  const hooked = hook ? state.fault(hook, name, request) : undefined
  const fault = hooked === undefined ? undefined : await pause(await hooked, closing)
  if (fault && 'beforeBody' in fault) {
    return refuse(request, response, {
      ...fault.beforeBody,
      headers: { ...fault.beforeBody.headers, connection: 'close' },
    })
  }

  let received: Received | undefined
  if (method === 'PUT' || method === 'POST') {
    // As AWS: bytes of unknown length come in the framing of aws-chunked only.
    if (headers['transfer-encoding'] !== undefined && headers['x-amz-decoded-content-length'] === undefined) {
      return refuse(request, response, { ...notImplemented, headers: { connection: 'close' } })
    }
    if (headers.expect?.toString().toLowerCase() === '100-continue') response.writeContinue()
    const body = await receive(incoming, {
      keep: operation === 'complete' || (state.keepBodies && (operation === 'put' || operation === 'uploadPart')),
      // With CompleteMultipartUpload comes the checksum of the object, not that of the request.
      checksums: state.checksums && operation !== 'complete',
      algorithm:
        operation === 'uploadPart' ? state.multipart.find(query.get('uploadId') ?? '', key)?.algorithm : undefined,
      fault,
      counters: state.counters,
    })
    if (body === undefined) return
    if ('code' in body) return refuse(request, response, body)
    received = body
  }
  const known = !state.buckets || state.buckets.has(request.bucket)
  if (!known && operation !== 'createBucket') return refuse(request, response, s3Errors.noSuchBucket)
  const left = fault === undefined ? undefined : await harm(request, response, fault, closing)
  if (left === 'answered') return
  if (left && 'corrupt' in left && !corruptible.has(operation)) throw new Error(`${operation} has no body to corrupt`)
  if (operation === 'list') return serveList(state, request, response, left)
  if (operation === 'get' || operation === 'head') return serveObject(state, request, response, left)
  const given = await work(state, operation, request, received ?? nothing, left)
  const answered = left && 'after' in left ? await harm(request, response, left.after, closing) : left
  if (answered !== 'answered') return reply(request, response, given, answered)
}

const notImplemented: S3ErrorAnswer = {
  status: 501,
  code: 'NotImplemented',
  message: 'A header you provided implies functionality that is not implemented',
  elements: { Header: 'Transfer-Encoding' },
}
const corruptible: ReadonlySet<Operation> = new Set<Operation>(['get', 'put', 'uploadPart', 'complete'])

/** A request without a body. */
const nothing: Received = { size: 0, body: undefined, md5: Buffer.alloc(0), sums: {}, sent: undefined }

async function work(
  state: State,
  operation: Operation,
  request: S3Request,
  received: Received,
  fault: S3Fault | undefined,
): Promise<S3Answer | S3ErrorAnswer> {
  const corrupt = fault && 'corrupt' in fault ? fault.corrupt : undefined
  const stored = async () => (corrupt ? await corrupted(received, corrupt) : received)
  switch (operation) {
    case 'put':
      return putObject(state, request, received, await stored())
    case 'delete':
      return deleteObject(state, request)
    case 'tagging':
      return getTagging(state, request)
    case 'createUpload':
      return createUpload(state, request)
    case 'uploadPart':
      return uploadPart(state, request, received, await stored())
    case 'listParts':
      return listParts(state, request)
    case 'listUploads':
      return listUploads(state, request)
    case 'complete':
      return await completeUpload(state, request, received.body ?? Buffer.alloc(0), corrupt)
    case 'abort':
      return abortUpload(state, request)
    case 'headBucket':
      return { status: 200, headers: { 'x-amz-bucket-region': 'us-east-1' } }
    case 'createBucket':
      state.buckets?.add(request.bucket)
      return { status: 200, headers: { location: `/${request.bucket}` } }
    case 'location':
      return { status: 200, xml: `<LocationConstraint ${s3Namespace}/>` }
    default:
      return { status: 501, code: 'NotImplemented', message: `${request.method} /${request.bucket}/${request.key}` }
  }
}

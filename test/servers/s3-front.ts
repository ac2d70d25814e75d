/**
 * The HTTP side of a test S3 server, path style: understands the request, applies faults, counts, sends. What the bucket
 * holds is the business of a handler: objects in memory (s3-memory.ts) or another server behind it (s3.ts).
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type FaultRule,
  type S3ErrorAnswer,
  type S3Fault,
  S3Faults,
  type S3Operation,
  type S3Request,
} from './s3-faults.ts'

export type AnswerBody = Buffer | Iterable<Buffer> | AsyncIterable<Buffer>

export interface S3Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: AnswerBody
}

export type S3Handler = (request: S3Request) => S3Answer | Promise<S3Answer>

/** One request and what became of it. */
export interface S3Trace {
  readonly operation: S3Operation
  readonly key: string
  readonly range: string | undefined
  readonly ifMatch: string | undefined
  readonly query: URLSearchParams
  /** 0: the connection was broken before an answer. */
  readonly status: number
  readonly fault: S3Fault['kind'] | undefined
}

export interface S3Front {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  /** Requests by operation, whether they failed or not. */
  readonly requests: Readonly<Record<S3Operation, number>>
  /** Requests that met a fault. */
  readonly faulted: number
  /** Bytes of bodies handed to the sockets. */
  readonly bytesSent: number
  /** What was asked since the start; kept only if the server was started with `trace`. */
  readonly traces: readonly S3Trace[]
  /** Replaces all rules; counters of rules start anew. */
  setFaults(rules: readonly FaultRule[]): void
  /** Breaks open connections. */
  close(): Promise<void>
}

/** Starts on a free port of 127.0.0.1. */
export async function startFront(handler: S3Handler, options: { readonly trace?: boolean } = {}): Promise<S3Front> {
  const faults = new S3Faults()
  const requests: Record<S3Operation, number> = { get: 0, head: 0, list: 0, put: 0, delete: 0, other: 0 }
  const traces: S3Trace[] = []
  const state = { bytesSent: 0 }

  async function serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const request = await readRequest(incoming)
    requests[request.operation] += 1
    const fault = faults.take(request)
    const status = await answerRequest(request, response, handler, fault, state)
    if (options.trace) traces.push(traceOf(request, status, fault))
  }

  const server = createServer((incoming, response) => {
    serve(incoming, response).catch((error: unknown) => {
      // The client left, or the handler is broken: the latter must be seen.
      if (response.destroyed || incoming.destroyed) return
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      if (response.headersSent) response.destroy()
      else sendAnswer(response, errorAnswer({ status: 500, code: 'TestServerBug', message }))
    })
  })
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    traces,
    get faulted() {
      return faults.fired
    },
    get bytesSent() {
      return state.bytesSent
    },
    setFaults: (rules) => faults.set(rules),
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function traceOf(request: S3Request, status: number, fault: S3Fault | undefined): S3Trace {
  const { operation, key, query, headers } = request
  const one = (name: string) => headers[name]?.toString()
  return { operation, key, range: one('range'), ifMatch: one('if-match'), query, status, fault: fault?.kind }
}

/** The status sent, or 0. */
async function answerRequest(
  asked: S3Request,
  response: ServerResponse,
  handler: S3Handler,
  fault: S3Fault | undefined,
  state: { bytesSent: number },
): Promise<number> {
  let request = asked
  switch (fault?.kind) {
    case 'hang':
      return 0
    case 'reset':
      if (fault.afterBytes >= 0) break
      response.socket?.resetAndDestroy()
      return 0
    case 'error':
      sendAnswer(response, errorAnswer(fault.answer, asked))
      return fault.answer.status
    case 'delay':
      await sleep(fault.ms)
      break
    case 'call':
      await fault.call(asked)
      break
    case 'ignore_range':
      request = { ...asked, headers: { ...asked.headers, range: undefined } }
      break
  }
  let answer = await handler(request)
  if (fault?.kind === 'omit' && Buffer.isBuffer(answer.body)) {
    const body = Buffer.from(answer.body.toString().replaceAll(new RegExp(`<(${fault.element})>[^<]*</\\1>`, 'g'), ''))
    answer = { ...answer, body, headers: { ...answer.headers, 'content-length': String(body.length) } }
  }
  if (asked.method === 'HEAD') {
    response.writeHead(answer.status, answer.headers)
    response.end()
  } else if (fault?.kind === 'reset' || fault?.kind === 'truncate' || fault?.kind === 'drip') {
    await sendBroken(response, answer, fault, state)
  } else if (Buffer.isBuffer(answer.body)) {
    state.bytesSent += answer.body.length
    sendAnswer(response, { ...answer, body: answer.body })
  } else {
    response.writeHead(answer.status, answer.headers)
    for await (const piece of answer.body) {
      if (response.destroyed) break
      state.bytesSent += piece.length
      if (!response.write(piece)) await drained(response)
    }
    response.end()
  }
  return answer.status
}

function sendAnswer(response: ServerResponse, answer: S3Answer & { readonly body: Buffer }): void {
  response.writeHead(answer.status, { 'content-length': answer.body.length, ...answer.headers })
  response.end(answer.body)
}

async function sendBroken(
  response: ServerResponse,
  answer: S3Answer,
  fault: Extract<S3Fault, { kind: 'reset' | 'truncate' | 'drip' }>,
  state: { bytesSent: number },
): Promise<void> {
  let left = fault.kind === 'drip' ? Number.POSITIVE_INFINITY : fault.afterBytes
  const headers: Record<string, string> = { ...answer.headers }
  if (Buffer.isBuffer(answer.body)) headers['content-length'] ??= String(answer.body.length)
  const whole = Number(headers['content-length'])
  if (fault.kind === 'truncate' && fault.declared === 'cut') headers['content-length'] = String(Math.min(left, whole))
  response.writeHead(answer.status, headers)
  response.flushHeaders()
  for await (const piece of Buffer.isBuffer(answer.body) ? [answer.body] : answer.body) {
    for (let at = 0; at < piece.length && left > 0 && !response.destroyed; ) {
      const size = Math.min(piece.length - at, left, fault.kind === 'drip' ? fault.bytes : left)
      state.bytesSent += size
      const room = response.write(piece.subarray(at, at + size))
      at += size
      left -= size
      if (fault.kind === 'drip') await sleep(fault.everyMs)
      else if (!room) await drained(response)
    }
    if (left <= 0 || response.destroyed) break
  }
  // A fault beyond the end of the body does no harm.
  if (left > 0 || fault.kind === 'drip' || (fault.kind === 'truncate' && fault.declared === 'cut')) response.end()
  else if (fault.kind === 'truncate') response.socket?.end()
  else {
    // A reset throws away what the client has not read yet: let it read first, so that the place of the break is known.
    await sleep(20)
    response.socket?.resetAndDestroy()
  }
}

/** Waits for room, or for the end of the connection. */
async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return
  await new Promise<void>((resolve) => {
    const done = () => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

export function errorAnswer(error: S3ErrorAnswer, request?: S3Request): S3Answer & { readonly body: Buffer } {
  const elements = Object.entries({ Code: error.code, Message: error.message ?? error.code, ...error.elements })
  const resource = request === undefined ? '' : `<Resource>/${escapeXml(`${request.bucket}/${request.key}`)}</Resource>`
  const inner = elements.map(([name, text]) => `<${name}>${escapeXml(text)}</${name}>`).join('')
  const body = `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${inner}${resource}<RequestId>TEST</RequestId></Error>`
  const headers = { 'content-type': 'application/xml', 'x-amz-request-id': 'TEST', ...error.headers }
  return { status: error.status, headers, body: Buffer.from(body) }
}

/** Characters that XML 1.0 cannot hold become references, as S3 does it: a strict parser refuses them. */
export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"\p{Cc}]/gu, (c) => `&#${c.charCodeAt(0)};`)
}

async function readRequest(incoming: IncomingMessage): Promise<S3Request> {
  const url = incoming.url ?? '/'
  const mark = url.indexOf('?')
  // Not by URL: keys may hold `//` and `..`.
  const path = (mark < 0 ? url : url.slice(0, mark)).slice(1)
  const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1))
  const slash = path.indexOf('/')
  const bucket = decodeURIComponent(slash < 0 ? path : path.slice(0, slash))
  const key = slash < 0 ? '' : decodeURIComponent(path.slice(slash + 1))
  const method = incoming.method ?? 'GET'
  const operation = operationOf(method, key, query)
  let body: Buffer = Buffer.alloc(0)
  let rawBody = body
  if (method !== 'GET' && method !== 'HEAD') {
    const chunks: Buffer[] = []
    for await (const chunk of incoming) chunks.push(chunk as Buffer)
    rawBody = Buffer.concat(chunks)
    body = rawBody
    const sha = incoming.headers['x-amz-content-sha256']?.toString() ?? ''
    if (sha.startsWith('STREAMING-') || incoming.headers['content-encoding']?.includes('aws-chunked')) {
      body = withoutChunks(rawBody)
    }
  } else {
    incoming.resume()
  }
  const target = operation === 'list' ? (query.get('prefix') ?? '') : key
  return { operation, method, bucket, key: target, query, headers: incoming.headers, url, body, rawBody }
}

function operationOf(method: string, key: string, query: URLSearchParams): S3Operation {
  if (method === 'GET' && key === '') return query.has('list-type') || query.size === 0 ? 'list' : 'other'
  if (key === '') return 'other'
  if (method === 'GET') return 'get'
  if (method === 'HEAD') return 'head'
  if (method === 'PUT') return query.has('partNumber') ? 'other' : 'put'
  if (method === 'DELETE') return 'delete'
  return 'other'
}

/** aws-chunked: `<hex size>[;chunk-signature=…]CRLF <bytes> CRLF`, ended by a chunk of size 0 and trailers. */
function withoutChunks(framed: Buffer): Buffer {
  const pieces: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = framed.indexOf('\r\n', at)
    const size = lineEnd < 0 ? 0 : Number.parseInt(framed.toString('latin1', at, lineEnd), 16)
    if (!(size > 0)) return Buffer.concat(pieces)
    pieces.push(framed.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
}

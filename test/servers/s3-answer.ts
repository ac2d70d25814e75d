/** How a test S3 server answers: whole, with an error, or broken as a fault has it. */
import type { ServerResponse } from 'node:http'
import type { S3Body } from './s3-store.ts'
import { errorBody, type S3ErrorAnswer, type S3Request } from './s3-wire.ts'

/** What happens to one request instead of an ordinary answer. Bytes are counted from the begin of the body of this answer. */
export type S3Fault =
  /** An error answer; `s3Errors` of s3-wire.ts has the usual ones. */
  | S3ErrorAnswer
  /** The connection ends after that many bytes, though Content-Length promised more. -1: before any answer. */
  | { readonly cutAfter: number }
  /** The body ends after that many bytes and Content-Length tells no more: only the listed size betrays it. */
  | { readonly shortAfter: number }
  /** After that many bytes nothing more comes; the connection stays open. -1: no answer at all. */
  | { readonly stallAfter: number }
  /** 200 and the whole object, whatever was asked for (RFC 9110 14.2 allows it). */
  | { readonly ignoreRange: true }
  | { readonly delayMs: number; readonly next?: S3Fault }

export function refuse(request: S3Request, response: ServerResponse, error: S3ErrorAnswer): undefined {
  const body = request.method === 'HEAD' ? undefined : errorBody(error, request)
  answer(response, error.status, { 'content-type': 'application/xml', ...error.headers }, body)
}

export function answer(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body?: Buffer,
): undefined {
  response.writeHead(status, {
    'x-amz-request-id': 'TEST',
    ...(status === 204 || status === 304 ? {} : { 'content-length': body?.length ?? 0 }),
    ...headers,
  })
  response.end(body)
}

/** Sends a body, or what a fault leaves of it. A buffer goes out in one piece: a GET of a small object costs next to nothing. */
export function send(
  counters: { bytesSent: number } | undefined,
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: S3Body,
  fault: S3Fault | undefined,
): Promise<void> | undefined {
  if (Buffer.isBuffer(body) && fault === undefined) {
    if (counters) counters.bytesSent += body.length
    response.writeHead(status, { 'x-amz-request-id': 'TEST', ...headers })
    response.end(body)
    return undefined
  }
  return stream(counters, response, status, headers, body, fault ?? { ignoreRange: true })
}

async function stream(
  counters: { bytesSent: number } | undefined,
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: S3Body,
  fault: S3Fault,
): Promise<void> {
  const whole = Number(headers['content-length'])
  const limit =
    'cutAfter' in fault
      ? fault.cutAfter
      : 'stallAfter' in fault
        ? fault.stallAfter
        : 'shortAfter' in fault
          ? fault.shortAfter
          : whole
  const length = 'shortAfter' in fault ? Math.min(whole, limit) : whole
  response.writeHead(status, { 'x-amz-request-id': 'TEST', ...headers, 'content-length': String(length) })
  response.flushHeaders()
  let left = Math.min(limit, whole)
  for await (const piece of Buffer.isBuffer(body) ? [body] : body) {
    if (left <= 0 || response.destroyed) break
    const part = piece.length > left ? piece.subarray(0, left) : piece
    left -= part.length
    if (counters) counters.bytesSent += part.length
    if (!response.write(part)) await drained(response)
  }
  if (limit >= whole || 'shortAfter' in fault) response.end()
  // The end, not a reset, which would throw away what the client has not read yet: the place of the break is known.
  else if ('cutAfter' in fault) response.socket?.end()
}

/** Waits for room, or for the end of the connection. */
async function drained(response: ServerResponse): Promise<void> {
  if (response.destroyed || !response.writableNeedDrain) return
  const { promise, resolve } = Promise.withResolvers<void>()
  response.once('drain', resolve)
  response.once('close', resolve)
  await promise
  response.off('drain', resolve)
  response.off('close', resolve)
}

/** How a test S3 server answers: whole, with an error, or broken as a fault has it. */
import type { ServerResponse } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type { S3Body } from './s3-store.ts'
import { errorBody, type S3ErrorAnswer, type S3Request, xmlHeader } from './s3-wire.ts'

/**
 * What happens to one request instead of an ordinary answer. A request with a body is read to its end first, but for the
 * faults that say otherwise. The work is not done, but for `after` and for what breaks the body of the answer.
 * Bytes are counted from the begin of the body.
 */
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
  /** An error answer before the body is read, which then nobody reads: the client may see a reset instead. */
  | { readonly beforeBody: S3ErrorAnswer }
  /** The connection is reset once that many bytes of the request's body came, or all of it. */
  | { readonly cutRequestAt: number }
  /** After that many bytes of the request's body nothing more is read; the connection stays open. */
  | { readonly stallRequestAt: number }
  /** The work is done, then this happens to the answer. */
  | { readonly after: S3Fault }
  /** 200 with an error in the body, as a CompleteMultipartUpload or a copy may end. */
  | { readonly okWithError: S3ErrorAnswer }
  /**
   * Put, part or complete: another body is stored than was sent, and nobody is told. `bytes`: all sums stay as sent, so
   * only reading shows it; `bytes_and_sums`: the checksums kept are those of the wrong bytes; `size`: the last byte is
   * missing. Get: the last byte that is read is wrong.
   */
  | { readonly corrupt: 'bytes' | 'bytes_and_sums' | 'size' }

/** An answer that is all known; a handler gives this or an error. */
export interface S3Answer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly xml?: string
}

export function refuse(request: S3Request, response: ServerResponse, error: S3ErrorAnswer): undefined {
  const body = request.method === 'HEAD' ? undefined : errorBody(error, request)
  answer(response, error.status, { 'content-type': 'application/xml', ...error.headers }, body)
}

/** Answers with what a handler gave, or with what a fault leaves of its body. */
export function reply(
  request: S3Request,
  response: ServerResponse,
  given: S3Answer | S3ErrorAnswer,
  fault: S3Fault | undefined,
): Promise<void> | undefined {
  if ('code' in given) return refuse(request, response, given)
  const { status, headers, xml } = given
  if (xml === undefined) return answer(response, status, { ...headers })
  const body = Buffer.from(`${xmlHeader}${xml}`)
  const all = { 'content-type': 'application/xml', 'content-length': String(body.length), ...headers }
  return send(undefined, response, status, all, body, fault)
}

/** Waits if the fault says so, and gives what comes then. Throws when the server closes. */
export async function pause(fault: S3Fault | undefined, closing: AbortSignal): Promise<S3Fault | undefined> {
  if (fault === undefined || !('delayMs' in fault)) return fault
  await sleep(fault.delayMs, undefined, { signal: closing })
  return await pause(fault.next, closing)
}

/** Faults that need no answer of their own are dealt with here; the rest is given back. */
export async function harm(
  request: S3Request,
  response: ServerResponse,
  given: S3Fault | undefined,
  closing: AbortSignal,
): Promise<S3Fault | undefined | 'answered'> {
  const fault = await pause(given, closing)
  if (fault === undefined) return undefined
  if ('code' in fault) {
    refuse(request, response, fault)
    return 'answered'
  }
  if ('okWithError' in fault) {
    answer(response, 200, { 'content-type': 'application/xml' }, errorBody(fault.okWithError, request))
    return 'answered'
  }
  if ('cutAfter' in fault && fault.cutAfter < 0) {
    response.socket?.resetAndDestroy()
    return 'answered'
  }
  if ('cutRequestAt' in fault) {
    response.socket?.resetAndDestroy()
    return 'answered'
  }
  if ('stallRequestAt' in fault) return 'answered'
  return 'stallAfter' in fault && fault.stallAfter < 0 ? 'answered' : fault
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

/**
 * Reads one object: pinned to the version that was listed, in pieces large enough for the inflater, and resumed by
 * Range when the connection breaks in the middle.
 */
import type { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { GetObjectCommand, HeadObjectCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import { backoffMs } from '../core/backoff.ts'
import type { ListedObject, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { reclaim } from '../core/reclaim.ts'
import { s3Error } from './s3-errors.ts'

/** An object in a bucket, as listed. */
export interface S3Object extends ListedObject {
  /** undefined if the server gives none: then the read cannot be pinned. */
  readonly etag: string | undefined
}

/** `bucket/key@version`. The version is the ETag without quotes, or `~` and what else tells versions apart. */
export function objectId(bucket: string, key: string, version: string): string {
  return `${bucket}/${key}@${version.replaceAll('"', '')}`
}

/** The ETag in an id, quoted as S3 gives it; undefined if the server gave none. */
export function etagOf(id: string): string | undefined {
  const version = id.slice(id.lastIndexOf('@') + 1)
  return version === '' || version.startsWith('~') ? undefined : `"${version}"`
}

/** The version of an object that is there now. Throws a StreamError: source.vanished if there is none. */
export async function headObject(
  client: S3Client,
  { bucket, key }: { readonly bucket: string; readonly key: string },
  o: Signal & { readonly timeFromKey: (key: string) => number | undefined },
): Promise<S3Object> {
  try {
    const head = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: o.signal })
    const lastModifiedMs = head.LastModified?.getTime() ?? 0
    return {
      id: objectId(bucket, key, head.ETag || `~${head.ContentLength}-${lastModifiedMs}`),
      bucket,
      key,
      etag: head.ETag || undefined,
      size: head.ContentLength,
      timeMs: o.timeFromKey(key) ?? lastModifiedMs,
      lastModifiedMs,
    }
  } catch (error) {
    throw s3Error(error, `find s3://${bucket}/${key}`)
  }
}

/** Small pieces cost the inflater more than anything else (docs/design.md, "Speed"). */
const pieceBytes = 256 * 1024
/** Longest wait for the next bytes of a body. */
const defaultStallMs = 60_000
const waits = { minMs: 100, maxMs: 10_000 }
/** Broken connections without a byte of progress before the caller decides. */
const attempts = 5

export interface ReadOptions extends Signal {
  /** Longest wait for the next bytes, in ms; a minute if left out. */
  readonly stallMs?: number
  /** Where to end, in bytes from the start; the end of the object if left out. */
  readonly end?: number
}

/** Size of the object, if it still is what was listed. Its ETag pins every read, so it need not be asked where both are known. */
export async function confirmObject(client: S3Client, object: S3Object, o: Signal): Promise<number> {
  const { id, bucket, key, etag, size } = object
  // An empty one is not read, so nothing pins it.
  if (size !== undefined && size > 0 && etag !== undefined) return size
  const now = await headObject(client, object, { ...o, timeFromKey: () => undefined })
  if (now.size === undefined)
    throw new StreamError('source.unavailable', `cannot read s3://${bucket}/${key}: the server does not tell its size`)
  const isSame = etag === undefined ? now.size === (size ?? now.size) : now.id === id
  if (isSame) return now.size
  throw new StreamError('source.replaced', `cannot read s3://${bucket}/${key}: it was overwritten meanwhile`)
}

/** Fills `into` with the bytes from `offset` on. Throws a StreamError; `transient` ones after some attempts of its own. */
export async function fillFromObject(
  client: S3Client,
  object: S3Object,
  offset: number,
  into: Buffer,
  o: ReadOptions,
): Promise<void> {
  let at = 0
  for await (const piece of readObject(client, object, offset, { ...o, end: offset + into.length })) {
    piece.copy(into, at)
    at += piece.length
    reclaim(2 * piece.length)
  }
  if (at === into.length) return
  throw new StreamError(
    'source.short_body',
    `cannot read s3://${object.bucket}/${object.key}: it ends after ${offset + at} bytes, but ${object.size} were listed`,
  )
}

/** Bytes from `offset` on. Throws a StreamError; `transient` ones after some attempts of its own. */
export async function* readObject(
  client: S3Client,
  object: S3Object,
  offset: number,
  o: ReadOptions,
): AsyncGenerator<Buffer, void, undefined> {
  let at = offset
  const what = `read s3://${object.bucket}/${object.key}`
  const { end = Number.POSITIVE_INFINITY } = o
  for (let attempt = 1; ; attempt += 1) {
    // Nothing to ask for: an empty object, a folder marker, or one that was read to its end before.
    if (at >= Math.min(end, object.size ?? end)) return
    const before = at
    try {
      for await (let piece of readFrom(client, object, at, what, o)) {
        // A server may answer a Range with all that follows.
        if (piece.length > end - at) piece = piece.subarray(0, end - at)
        at += piece.length
        yield piece
        if (at >= end) return
      }
      // A server may end a body early and promise no more: only the size that was listed betrays it.
      if (object.size === undefined || at >= object.size) return
      throw new StreamError('source.short_body', `cannot ${what}: the body ended after ${at} of ${object.size} bytes`)
    } catch (error) {
      o.signal.throwIfAborted()
      // Nothing stands behind `at`. Where the size is not listed, that is how the end is learned.
      if (at > 0 && object.size === undefined && isUnsatisfiable(error)) return
      const known = s3Error(error, what)
      if (at > before) attempt = 1
      if (known.kind !== 'transient' || attempt >= attempts) throw known
      await sleep(Math.max(backoffMs(waits, attempt), Math.min(known.retryAfterMs ?? 0, 30_000)), undefined, {
        signal: o.signal,
      })
    }
  }
}

function isUnsatisfiable(error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 416
}

async function* readFrom(
  client: S3Client,
  object: S3Object,
  at: number,
  what: string,
  { signal, stallMs = defaultStallMs, end }: ReadOptions,
): AsyncGenerator<Buffer, void, undefined> {
  const response = await client.send(
    new GetObjectCommand({
      Bucket: object.bucket,
      Key: object.key,
      ...(object.etag === undefined ? {} : { IfMatch: object.etag }),
      ...(at > 0 || end !== undefined ? { Range: `bytes=${at}-${end === undefined ? '' : end - 1}` } : {}),
    }),
    { abortSignal: signal },
  )
  const body = response.Body as Readable
  // A server may answer a Range with the whole object (RFC 9110 14.2): pass over what is known already.
  let skip = at - firstByte(response.ContentRange)
  if (skip < 0) {
    body.destroy()
    throw new StreamError('source.short_body', `cannot ${what}: asked from byte ${at}, got ${response.ContentRange}`)
  }
  const total = totalBytes(response.ContentRange, response.ContentLength)
  if (end !== undefined && object.size !== undefined && total !== undefined && total !== object.size) {
    body.destroy()
    throw new StreamError('source.short_body', `cannot ${what}: it has ${total} bytes, but ${object.size} were listed`)
  }
  const expected = response.ContentLength === undefined ? undefined : response.ContentLength - skip
  let got = 0
  let waiting = true
  const stalled = setTimeout(() => {
    if (waiting) body.destroy(new Error(`no bytes for ${stallMs / 1000} s`))
    else stalled.refresh()
  }, stallMs)
  const abort = () => body.destroy(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
  signal.addEventListener('abort', abort, { once: true })
  let chunks: Buffer[] = []
  let length = 0
  const takePiece = () => {
    const piece = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length)
    got += length
    chunks = []
    length = 0
    return piece
  }
  try {
    let broken: unknown
    try {
      for await (let chunk of body as AsyncIterable<Buffer>) {
        stalled.refresh()
        if (skip > 0) {
          const dropped = Math.min(skip, chunk.length)
          skip -= dropped
          chunk = chunk.subarray(dropped)
          if (chunk.length === 0) continue
        }
        chunks.push(chunk)
        length += chunk.length
        if (length < pieceBytes) continue
        waiting = false
        yield takePiece()
        waiting = true
        stalled.refresh()
      }
    } catch (error) {
      // What came before the break counts: else a server that cuts every connection early would never be read.
      broken = error
    }
    signal.throwIfAborted()
    waiting = false
    if (length > 0) yield takePiece()
    if (broken !== undefined) throw broken
    if (expected !== undefined && got < expected) {
      throw new StreamError('source.short_body', `cannot ${what}: the body ended after ${got} of ${expected} bytes`)
    }
  } finally {
    clearTimeout(stalled)
    signal.removeEventListener('abort', abort)
    if (!body.readableEnded) body.destroy()
  }
}

/** Size of the whole object by the answer to a part of it (`bytes 7-9/10`), or to all of it. */
function totalBytes(contentRange: string | undefined, contentLength: number | undefined): number | undefined {
  if (contentRange === undefined) return contentLength
  const total = /\/(\d+)$/.exec(contentRange)?.[1]
  return total === undefined ? undefined : Number(total)
}

/** Where a body begins by its Content-Range (`bytes 7-9/10`); 0 without one. */
function firstByte(contentRange: string | undefined): number {
  return Number(/^bytes (\d+)-/.exec(contentRange ?? '')?.[1] ?? 0)
}

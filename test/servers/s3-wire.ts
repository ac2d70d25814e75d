/** Requests and answers of the S3 REST protocol as a server sees them: path style, XML errors, aws-chunked bodies. */
import type { IncomingMessage } from 'node:http'

/** A request, understood. */
export interface S3Request {
  readonly method: string
  readonly bucket: string
  /** Decoded; empty for requests on the bucket. */
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** An error answer: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html */
export interface S3ErrorAnswer {
  readonly status: number
  readonly code: string
  readonly message?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Elements of the body besides Code and Message. */
  readonly elements?: Readonly<Record<string, string>>
}

export const s3Errors = {
  noSuchKey: { status: 404, code: 'NoSuchKey', message: 'The specified key does not exist.' },
  noSuchBucket: { status: 404, code: 'NoSuchBucket', message: 'The specified bucket does not exist' },
  accessDenied: { status: 403, code: 'AccessDenied', message: 'Access Denied' },
  invalidAccessKeyId: {
    status: 403,
    code: 'InvalidAccessKeyId',
    message: 'The AWS Access Key Id you provided does not exist in our records.',
  },
  slowDown: { status: 503, code: 'SlowDown', message: 'Please reduce your request rate.' },
  internalError: {
    status: 500,
    code: 'InternalError',
    message: 'We encountered an internal error. Please try again.',
  },
  preconditionFailed: {
    status: 412,
    code: 'PreconditionFailed',
    message: 'At least one of the pre-conditions you specified did not hold',
  },
  badDigest: {
    status: 400,
    code: 'BadDigest',
    message: 'The Content-MD5 you specified did not match what we received.',
  },
} as const satisfies Record<string, S3ErrorAnswer>

/** GET of an object in Glacier. */
export function invalidObjectState(storageClass: string): S3ErrorAnswer {
  return {
    status: 403,
    code: 'InvalidObjectState',
    message: "The operation is not valid for the object's storage class",
    elements: { StorageClass: storageClass },
  }
}

/** The bucket is in another region; `endpoint` is where the client is sent. */
export function permanentRedirect(region: string, endpoint = `s3.${region}.amazonaws.com`): S3ErrorAnswer {
  return {
    status: 301,
    code: 'PermanentRedirect',
    message:
      'The bucket you are attempting to access must be addressed using the specified endpoint. ' +
      'Please send all future requests to this endpoint.',
    headers: { 'x-amz-bucket-region': region },
    elements: { Endpoint: endpoint },
  }
}

export function errorBody(error: S3ErrorAnswer, request: S3Request): Buffer {
  const elements = {
    Code: error.code,
    Message: error.message ?? error.code,
    ...error.elements,
    Resource: `/${request.bucket}/${request.key}`,
    RequestId: 'TEST',
  }
  const inner = Object.entries(elements).map(([name, text]) => `<${name}>${escapeXml(text)}</${name}>`)
  return Buffer.from(`${xmlHeader}<Error>${inner.join('')}</Error>`)
}

export const xmlHeader = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** Control characters too become references, as S3 does it: XML 1.0 cannot hold them and strict parsers refuse them. */
export function escapeXml(text: string): string {
  let escaped = ''
  let from = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code >= 0x20 && code !== 0x26 && code !== 0x3c && code !== 0x3e && code !== 0x22) continue
    escaped += `${text.slice(from, at)}&#${code};`
    from = at + 1
  }
  return from === 0 ? text : escaped + text.slice(from)
}

/** `EncodingType=url` as AWS does it: a space is `+`, a slash stays. */
export function urlEncodeKey(key: string): string {
  if (/^[\w./=-]*$/.test(key)) return key.replaceAll('=', '%3D')
  return encodeURIComponent(key)
    .replaceAll('%20', '+')
    .replaceAll('%2F', '/')
    .replaceAll(/[!'()~]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** Not by URL: keys may hold `//` and `..`. Throws URIError. */
export function readRequest(incoming: IncomingMessage): S3Request {
  const url = incoming.url ?? '/'
  const mark = url.indexOf('?')
  const path = (mark < 0 ? url : url.slice(0, mark)).slice(1)
  const slash = path.indexOf('/')
  return {
    method: incoming.method ?? 'GET',
    bucket: decodeURIComponent(slash < 0 ? path : path.slice(0, slash)),
    key: slash < 0 ? '' : decodeURIComponent(path.slice(slash + 1)),
    query: new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1)),
    headers: incoming.headers,
  }
}

/** The whole body, without aws-chunked framing. */
export async function readBody(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const sha = incoming.headers['x-amz-content-sha256']?.toString() ?? ''
  const chunked = sha.startsWith('STREAMING-') || incoming.headers['content-encoding']?.includes('aws-chunked')
  return chunked ? withoutChunks(body) : body
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

/** `[first, last]`; undefined: the whole object; 'bad': 416. Several ranges are answered with the whole, as S3 does. */
export function parseRange(header: string | undefined, size: number): [number, number] | undefined | 'bad' {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '')
  if (!match || (match[1] === '' && match[2] === '')) return undefined
  if (match[1] === '') {
    const length = Math.min(Number(match[2]), size)
    return length === 0 ? 'bad' : [size - length, size - 1]
  }
  const first = Number(match[1])
  const last = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1)
  if (first >= size) return 'bad'
  return last < first ? undefined : [first, last]
}

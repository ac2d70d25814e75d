/** Requests and answers of the S3 REST protocol as a server sees them: path style, XML, errors. */
import type { IncomingMessage } from 'node:http'
import { type ChecksumAlgorithm, checksumBytes } from './s3-checksum.ts'

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
  noSuchUpload: {
    status: 404,
    code: 'NoSuchUpload',
    message:
      'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
  },
  invalidPart: {
    status: 400,
    code: 'InvalidPart',
    message:
      'One or more of the specified parts could not be found. ' +
      "The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
  },
  requestTimeTooSkewed: {
    status: 403,
    code: 'RequestTimeTooSkewed',
    message: 'The difference between the request time and the current time is too large.',
  },
  requestTimeout: {
    status: 400,
    code: 'RequestTimeout',
    message: 'Your socket connection to the server was not read from or written to within the timeout period.',
  },
  conditionalConflict: {
    status: 409,
    code: 'ConditionalRequestConflict',
    message: 'The conditional request cannot succeed due to a conflicting operation against this resource.',
  },
} as const satisfies Record<string, S3ErrorAnswer>

export function invalidRequest(message: string): S3ErrorAnswer {
  return { status: 400, code: 'InvalidRequest', message }
}

/** `x-amz-checksum-crc64nvme` and its like. */
export function checksumHeader(algorithm: ChecksumAlgorithm): string {
  return `x-amz-checksum-${algorithm.toLowerCase()}`
}

/** Whether a value is base64 of as many bytes as the algorithm gives. */
export function isChecksum(algorithm: ChecksumAlgorithm, value: string): boolean {
  const bytes = Buffer.from(value, 'base64')
  return bytes.length === checksumBytes[algorithm] && bytes.toString('base64') === value
}

export function invalidChecksum(name: string): S3ErrorAnswer {
  return invalidRequest(`Value for ${name} header is invalid.`)
}

export function wrongChecksum(algorithm: ChecksumAlgorithm): S3ErrorAnswer {
  const message = `The ${algorithm} you specified did not match the calculated checksum.`
  return { status: 400, code: 'BadDigest', message }
}

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

/** Elements of an answer, in order; those without a value are left out. Keys are URL-encoded by the caller if asked for. */
export function elements(fields: Readonly<Record<string, string | number | boolean | undefined>>): string {
  let xml = ''
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) xml += `<${name}>${typeof value === 'string' ? escapeXml(value) : value}</${name}>`
  }
  return xml
}

export const s3Namespace = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

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

/** Entities and references of text back to characters. */
export function unescapeXml(text: string): string {
  return text.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (entity, hex, decimal, name: string | undefined) => {
    if (name !== undefined) return entities[name] ?? entity
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16))
  })
}

const entities: Readonly<Record<string, string>> = { quot: '"', amp: '&', lt: '<', gt: '>', apos: "'" }

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

/**
 * What can be made to go wrong on a test S3 server. A rule says which requests it meets and what happens to them; the
 * first rule that meets a request decides. Error answers have the codes and bodies of
 * https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
 */
export type S3Operation = 'get' | 'head' | 'list' | 'put' | 'delete' | 'other'

/** A request as the server understood it. For `list`, `key` is the prefix asked for. */
export interface S3Request {
  readonly operation: S3Operation
  readonly method: string
  readonly bucket: string
  readonly key: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Path and query as they came. */
  readonly url: string
  /** The whole body of a PUT or POST, without aws-chunked framing. */
  readonly body: Buffer
  /** The same as it came. */
  readonly rawBody: Buffer
}

export type S3Fault =
  /** The connection is reset after that many bytes of the body; 0: after the headers; -1: before any answer. */
  | { readonly kind: 'reset'; readonly afterBytes: number }
  /** The connection ends in order after that many bytes. `declared`: whether Content-Length tells the whole or the cut length. */
  | { readonly kind: 'truncate'; readonly afterBytes: number; readonly declared: 'whole' | 'cut' }
  | { readonly kind: 'error'; readonly answer: S3ErrorAnswer }
  | { readonly kind: 'delay'; readonly ms: number }
  /** No answer, ever; the connection stays open. */
  | { readonly kind: 'hang' }
  /** The body trickles: `bytes` every `everyMs`. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly everyMs: number }
  /** 200 and the whole object, whatever Range was asked for (RFC 9110 14.2 allows it). */
  | { readonly kind: 'ignore_range' }
  /** A list answer in which the objects lack an element, for example `Size` or `ETag`. */
  | { readonly kind: 'omit'; readonly element: string }
  /** Something is done before the request is served: an object replaced or deleted between list and get. */
  | { readonly kind: 'call'; readonly call: (request: S3Request) => void | Promise<void> }

export interface S3ErrorAnswer {
  readonly status: number
  readonly code: string
  readonly message?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Elements besides Code and Message. */
  readonly elements?: Readonly<Record<string, string>>
}

export interface FaultRule {
  readonly on: S3Operation | 'any'
  /** The key, or for `list` the prefix; a string must be equal. Left out: any. */
  readonly key?: string | RegExp
  /** That many requests that it meets pass unharmed first. */
  readonly after?: number
  /** It fires that often, then no more. */
  readonly times?: number
  /** It fires on that share of the requests, 0 to 1, by a generator with a fixed seed. */
  readonly share?: number
  readonly fault: S3Fault
}

/** The rules of one server and how often each fired. */
export class S3Faults {
  #rules: Array<{ readonly rule: FaultRule; met: number; fired: number }> = []
  #state = 0x9e3779b9
  /** Requests that met a fault. */
  fired = 0

  set(rules: readonly FaultRule[]): void {
    this.#rules = rules.map((rule) => ({ rule, met: 0, fired: 0 }))
  }

  take(request: S3Request): S3Fault | undefined {
    for (const entry of this.#rules) {
      const { on, key, after = 0, times = Number.POSITIVE_INFINITY, share = 1 } = entry.rule
      if (on !== 'any' && on !== request.operation) continue
      if (typeof key === 'string' ? key !== request.key : key !== undefined && !key.test(request.key)) continue
      entry.met += 1
      if (entry.met <= after || entry.fired >= times) continue
      if (share < 1 && this.#random() >= share) continue
      entry.fired += 1
      this.fired += 1
      return entry.rule.fault
    }
    return undefined
  }

  /** mulberry32 */
  #random(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let t = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** 503 SlowDown; `retryAfter` in seconds. */
export function slowDown(retryAfter?: number): S3Fault {
  const headers = retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }
  return {
    kind: 'error',
    answer: { status: 503, code: 'SlowDown', message: 'Please reduce your request rate.', headers },
  }
}

export function internalError(): S3Fault {
  const message = 'We encountered an internal error. Please try again.'
  return { kind: 'error', answer: { status: 500, code: 'InternalError', message } }
}

export function accessDenied(): S3Fault {
  return { kind: 'error', answer: { status: 403, code: 'AccessDenied', message: 'Access Denied' } }
}

export function noSuchKey(): S3Fault {
  return { kind: 'error', answer: { status: 404, code: 'NoSuchKey', message: 'The specified key does not exist.' } }
}

export function noSuchBucket(): S3Fault {
  return {
    kind: 'error',
    answer: { status: 404, code: 'NoSuchBucket', message: 'The specified bucket does not exist' },
  }
}

export function invalidAccessKey(): S3Fault {
  const message = 'The AWS Access Key Id you provided does not exist in our records.'
  return { kind: 'error', answer: { status: 403, code: 'InvalidAccessKeyId', message } }
}

/** The bucket is in another region: 301 with `x-amz-bucket-region`. */
export function permanentRedirect(region: string): S3Fault {
  const message =
    'The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.'
  return {
    kind: 'error',
    answer: {
      status: 301,
      code: 'PermanentRedirect',
      message,
      headers: { 'x-amz-bucket-region': region },
      elements: { Endpoint: `s3.${region}.amazonaws.com` },
    },
  }
}

export function archived(storageClass = 'GLACIER'): S3Fault {
  const message = "The operation is not valid for the object's storage class"
  return {
    kind: 'error',
    answer: { status: 403, code: 'InvalidObjectState', message, elements: { StorageClass: storageClass } },
  }
}

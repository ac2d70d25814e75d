/**
 * Signature Version 4 in the Authorization header.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto'

export interface SigningKeys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly sessionToken?: string | undefined
}

export interface UnsignedRequest {
  readonly method: string
  /** Canonical already: escaped as the service wants it, once (S3) or twice (the others). */
  readonly path: string
  /** Canonical already: escaped, in the order of the names; without the question mark. */
  readonly query: string
  /** What is to be signed, names in lower case; `host` must be there. */
  readonly headers: Readonly<Record<string, string>>
  /** SHA-256 of the body in hex, or what the service takes in its place. */
  readonly payload: string
}

/** Signs for one region of one service. */
export class SigV4 {
  readonly region: string
  readonly service: string
  /** Good for a day. An object, as Node takes long to find out that bytes are none. */
  #key: { readonly day: string; readonly secret: string; readonly object: KeyObject } | undefined
  #second = 0
  #date = ''

  constructor(scope: { readonly region: string; readonly service: string }) {
    this.region = scope.region
    this.service = scope.service
  }

  /** The headers to send: those given and what proves them. */
  sign(request: UnsignedRequest, keys: SigningKeys, nowMs: number): Record<string, string> {
    const { method, path, query, payload } = request
    const date = this.#dateOf(nowMs)
    const headers: Record<string, string> = { ...request.headers, 'x-amz-date': date }
    if (keys.sessionToken !== undefined) headers['x-amz-security-token'] = keys.sessionToken
    const names = Object.keys(headers).sort()
    let lines = ''
    for (const name of names) lines += `${name}:${canonicalValue(headers[name] as string)}\n`
    const signedHeaders = names.join(';')
    const canonical = `${method}\n${path}\n${query}\n${lines}\n${signedHeaders}\n${payload}`
    const day = date.slice(0, 8)
    const scope = `${day}/${this.region}/${this.service}/aws4_request`
    const text = `AWS4-HMAC-SHA256\n${date}\n${scope}\n${hash('sha256', canonical, 'hex')}`
    const signature = createHmac('sha256', this.#keyOf(day, keys.secretAccessKey)).update(text).digest('hex')
    headers.authorization = `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${signedHeaders}, Signature=${signature}`
    return headers
  }

  #keyOf(day: string, secret: string): KeyObject {
    if (this.#key?.day !== day || this.#key.secret !== secret) {
      const bytes = [day, this.region, this.service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
      this.#key = { day, secret, object: createSecretKey(bytes as Buffer) }
    }
    return this.#key.object
  }

  /** `20261121T162526Z` */
  #dateOf(ms: number): string {
    const second = Math.floor(ms / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#date = `${new Date(second * 1000).toISOString().replaceAll(/[-:]/g, '').slice(0, 15)}Z`
    }
    return this.#date
  }
}

/** All but what RFC 3986 calls unreserved. */
export function escapeUri(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

function canonicalValue(value: string): string {
  const trimmed = value.trim()
  return /\s\s|[\t\r\n]/.test(trimmed) ? trimmed.replaceAll(/\s+/g, ' ') : trimmed
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

/** What goes back over HTTP: a value that a route makes, and the one place where it is sent, with the headers that all have. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
  /** The body compressed, where that is at hand. */
  readonly gzip?: Buffer
}

/** Thrown by whatever cannot answer as it was asked to: the message says why, and what to do. */
export class Refusal extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, detail: string, headers: Readonly<Record<string, string>> = {}) {
    super(detail)
    this.name = 'Refusal'
    this.status = status
    this.headers = headers
  }
}

export function json(
  value: unknown,
  o: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Answer {
  return {
    status: o.status ?? 200,
    headers: { 'content-type': 'application/json; charset=utf-8', ...o.headers },
    body: JSON.stringify(value),
  }
}

export function text(body: string, o: { readonly status?: number; readonly type?: string } = {}): Answer {
  return { status: o.status ?? 200, headers: { 'content-type': o.type ?? 'text/plain; charset=utf-8' }, body }
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Token needed',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  429: 'Too Many Requests',
  500: 'Internal Error',
  503: 'Service Unavailable',
}

/** RFC 9457. */
export function problem(status: number, detail: string, headers: Readonly<Record<string, string>> = {}): Answer {
  const body = { type: 'about:blank', title: titles[status] ?? 'Error', status, detail }
  return {
    status,
    headers: { 'content-type': 'application/problem+json; charset=utf-8', ...headers },
    body: JSON.stringify(body),
  }
}

/** Of every answer. What is shown changes all the time, and belongs to whoever asked. */
export const commonHeaders = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const

const gzipBytes = 1024
/** On the thread pool: the main thread has records to move. */
const compress = promisify<Buffer | string, { level: number }, Buffer>(gzip)

/** How long a client may take to fetch an answer: what it has not taken is in our memory. */
const fetchMs = 60_000

/** That the client is gone is its own affair. */
export async function send(request: IncomingMessage, response: ServerResponse, answer: Answer): Promise<void> {
  const isPlain = request.method === 'HEAD' || answer.body.length < gzipBytes || !takesGzip(request)
  const body = isPlain ? answer.body : (answer.gzip ?? (await compress(answer.body, { level: 1 })))
  if (response.destroyed || response.headersSent) return
  response.writeHead(answer.status, {
    ...commonHeaders,
    vary: 'accept-encoding',
    ...answer.headers,
    ...(isPlain ? {} : { 'content-encoding': 'gzip' }),
    ...(answer.status === 204 || answer.status === 304 ? {} : { 'content-length': Buffer.byteLength(body) }),
  })
  const timer = setTimeout(() => response.destroy(), fetchMs).unref()
  response.once('close', () => clearTimeout(timer))
  response.end(body)
}

function takesGzip(request: IncomingMessage): boolean {
  const accepted = String(request.headers['accept-encoding'] ?? '').split(',')
  return accepted.some((one) => /^\s*(gzip|\*)\s*(;\s*q\s*=\s*(1|0?\.\d*[1-9]\d*)(\.0*)?\s*)?$/i.test(one))
}

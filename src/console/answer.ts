/** What goes back over HTTP: a value that a route makes, and the one place where it is sent, with the headers that all have. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
  /** The body compressed, where that is at hand. */
  readonly gzip?: () => Buffer | Promise<Buffer>
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

export const jsonType = 'application/json; charset=utf-8'

/** JSON of a value; `hide` takes secrets out of its texts. */
export function hiddenJson(value: unknown, hide: (text: string) => string): string {
  const plain = JSON.stringify(value)
  // Text by text only if there is one, and then not in what is no text of the value: a secret may be a word like "pipelines".
  return hide(plain) === plain
    ? plain
    : JSON.stringify(value, (_, item: unknown) => (typeof item === 'string' ? hide(item) : item))
}

export function json(
  value: unknown,
  o: { readonly status?: number; readonly headers?: Record<string, string> } = {},
): Answer {
  return {
    status: o.status ?? 200,
    headers: { 'content-type': jsonType, ...o.headers },
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
const compress = promisify<Buffer | string, { level: number }, Buffer>(gzip)

/** On the thread pool: the main thread has records to move. */
export function compressed(body: Buffer | string): Promise<Buffer> {
  return compress(body, { level: 1 })
}

/** How long a client may take to fetch an answer: what it has not taken is in our memory. */
const fetchMs = 60_000

/** That the client is gone is its own affair. */
export async function send(request: IncomingMessage, response: ServerResponse, answer: Answer): Promise<void> {
  const isPlain = request.method === 'HEAD' || answer.body.length < gzipBytes || !takesGzip(request)
  const body = isPlain ? answer.body : await (answer.gzip?.() ?? compressed(answer.body))
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
  return accepted.some((one) => {
    const [coding = '', ...parameters] = one.split(';').map((part) => part.trim().toLowerCase())
    // No expression over all of it: one that backtracks would take a second for what a header may hold.
    const [, weight = '1'] = parameters.find((part) => part.startsWith('q'))?.split('=') ?? []
    return (coding === 'gzip' || coding === '*') && Number(weight) > 0
  })
}

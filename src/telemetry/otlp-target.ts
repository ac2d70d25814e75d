/** Where exports by OTLP go and what goes along with each: made of the `otlp` section. Throws config.invalid for what the schema cannot see. */
import { validateHeaderName, validateHeaderValue } from 'node:http'
import { StreamError } from '../core/errors.ts'
import { type TlsOptions, tlsOptions } from '../sinks/tls.ts'
import type { OtlpConfig } from './otlp-config.ts'
import { printable } from './text-line.ts'
import { version } from './version.ts'

export type OtlpSignal = 'metrics' | 'logs' | 'traces'

export interface OtlpTarget {
  /** For people: `grpc localhost:4317`, or the URL before `/v1/…`. */
  readonly name: string
  /** `http://host:4317` or https, without path. */
  readonly origin: string
  /** `host:4317`; an IPv6 address in brackets. */
  readonly host: string
  /** Before `/v1/metrics`: '' or `/otlp`. Only by HTTP. */
  readonly path: string
  /** undefined: no TLS. */
  readonly tls: TlsOptions | undefined
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** Words of the receiver, in one line and not too long, without the secrets that it may have sent back. */
  readonly quote: (words: string) => string
  readonly gzip: boolean
}

const ports = { grpc: '4317', http: '4318' } as const
/** Words of the receiver that are kept. */
const wordsLength = 300
/** What the protocol itself says in its headers. */
const reserved = new Set([
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'host',
  'te',
  'transfer-encoding',
  'user-agent',
])

export function otlpTarget(config: OtlpConfig): OtlpTarget {
  const { protocol } = config
  const { url, hasScheme, hasPort } = parsed(config.endpoint)
  const { tls } = config
  const wantsTls =
    !config.insecure ||
    tls.insecure_skip_verify ||
    [tls.ca_file, tls.cert_file, tls.key_file].some((file) => file !== undefined)
  if (hasScheme && url.protocol === 'http:' && wantsTls) {
    throw unusable('http:// is without TLS, and `insecure: false` or `tls` asks for it', 'write https://')
  }
  const isSecure = wantsTls || url.protocol === 'https:'
  if (!hasScheme) url.protocol = isSecure ? 'https:' : 'http:'
  const usual = url.protocol === 'https:' ? '443' : '80'
  const port = url.port !== '' ? url.port : hasPort || (hasScheme && protocol === 'http') ? usual : ports[protocol]
  const path = url.pathname.replace(/\/+$/, '').replace(/\/v1\/(?:metrics|logs|traces)$/, '')
  if (protocol === 'grpc' && path !== '') throw unusable('gRPC knows no path', 'leave it out, or set protocol: http')
  const host = `${url.hostname}:${port}`
  const origin = `${isSecure ? 'https' : 'http'}://${host}`
  return {
    name: protocol === 'grpc' ? `grpc ${host}` : `${origin}${path}`,
    origin,
    host,
    path,
    tls: isSecure ? tlsOptions(tls) : undefined,
    headers: headersOf(config),
    quote: quoting(config),
    gzip: config.compression === 'gzip',
  }
}

interface ParsedEndpoint {
  readonly url: URL
  readonly hasScheme: boolean
  /** A port is written there; the URL drops the usual one of its scheme. */
  readonly hasPort: boolean
}

function parsed(endpoint: string): ParsedEndpoint {
  const hasScheme = /^[a-z][a-z\d+.-]*:\/\//i.test(endpoint)
  const text = hasScheme ? endpoint : `http://${endpoint.startsWith(':') ? `localhost${endpoint}` : endpoint}`
  const url = URL.parse(text)
  const advice = 'write host:port, or a URL like https://collector.example:4318'
  if (!url || url.hostname === '') throw unusable('it is no address', advice)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw unusable('its scheme is not known', advice)
  if (url.username !== '' || url.password !== '') {
    throw unusable('it has a user or password in it', 'set otlp.headers.authorization')
  }
  if (url.search !== '' || url.hash !== '') throw unusable('it has a query in it', advice)
  if (!hasScheme && url.pathname !== '/') throw unusable('a path needs a URL', advice)
  return { url, hasScheme, hasPort: /^[a-z][a-z\d+.-]*:\/\/[^/]*:\d+(?:\/|$)/i.test(text) }
}

function headersOf({ headers }: OtlpConfig): Record<string, string> {
  const own: Record<string, string> = { 'user-agent': `s3-streamer/${version}` }
  for (const [written, secret] of Object.entries(headers)) {
    const name = written.toLowerCase()
    const value = secret.reveal()
    if (reserved.has(name) || name.startsWith('grpc-')) throw unusableHeader(written, 'the protocol sets it itself')
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
      // gRPC takes ASCII only, and HTTP what we would have to guess the encoding of.
      if (/[^\x20-\x7e]/.test(value)) throw new Error('not ASCII')
    } catch {
      // Not as a cause: the words of Node have the value in them.
      throw unusableHeader(written, 'its name or value has a character that headers cannot have')
    }
    own[name] = value
  }
  return own
}

function quoting({ headers }: OtlpConfig): (words: string) => string {
  const values = Object.values(headers).map((secret) => secret.reveal())
  // `Bearer x` is two words, of which the second is the secret.
  const secrets = values.flatMap((value) => [value, ...value.split(' ').filter((word) => word.length > 3)])
  const shapes = [...new Set(secrets.flatMap((text) => [text, JSON.stringify(text).slice(1, -1)]))]
    .filter((text) => text !== '')
    .toSorted((a, b) => b.length - a.length)
  return (words) => {
    let text = words
    for (const shape of shapes) text = text.replaceAll(shape, '…')
    return printable(
      text
        .replaceAll(/[\p{Cc}\s\ufffd]+/gu, ' ')
        .trim()
        .slice(0, wordsLength),
    )
  }
}

function unusable(reason: string, advice: string): StreamError {
  return new StreamError('config.invalid', `cannot use otlp.endpoint: ${reason} (${advice})`)
}

function unusableHeader(name: string, reason: string): StreamError {
  const message = `cannot send the header ${JSON.stringify(name)} of otlp.headers: ${reason} (remove or correct it)`
  return new StreamError('config.invalid', message)
}

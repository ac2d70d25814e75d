/** What `doctor` tells of one HTTP endpoint: by a HEAD, which writes nothing. */
import type { Finding, Signal } from '../core/component.ts'
import type { Endpoint, Greeting } from './http-endpoints.ts'
import { clockFinding, problemOf, timed } from '../core/findings.ts'
import { certificateFinding } from './certificate-finding.ts'
import type { TlsOptions } from './tls.ts'

/** Returns whether it answered. */
export async function* examineEndpoint(
  endpoint: Endpoint,
  o: Signal & {
    readonly tls: TlsOptions
    /** True if requests are signed with the time of this machine. */
    readonly isSigned?: boolean
    /** False where the answer to a HEAD says nothing about rights. */
    readonly judgesStatus?: boolean
  },
): AsyncGenerator<Finding, boolean> {
  const who = endpoint.dependency.name
  const { protocol, hostname, port } = new URL(endpoint.name)
  if (protocol === 'https:') {
    const host = hostname.replace(/^\[(.*)\]$/, '$1')
    const at = { host, port: port === '' ? 443 : Number(port), tls: o.tls }
    const certificate = await certificateFinding(who, at, o)
    if (certificate) yield certificate
  }
  let greeting: Greeting
  try {
    greeting = (await timed((signal) => endpoint.greet(signal), o)).value
  } catch (error) {
    yield problemOf(error, { ...o, what: who })
    return false
  }
  const { headers, atMs, tookMs } = greeting
  yield o.judgesStatus === false
    ? { level: 'ok', text: `${who}: answers in ${Math.max(1, Math.round(tookMs))} ms` }
    : statusFinding(who, greeting)
  const date = typeof headers.date === 'string' ? headers.date : undefined
  const clock = clockFinding(who, { date, atMs, tookMs, isSigned: o.isSigned ?? false })
  if (clock) yield clock
  return true
}

function statusFinding(who: string, { status, headers, tookMs }: Greeting): Finding {
  const server = typeof headers.server === 'string' ? headers.server.slice(0, 60).replaceAll(/\p{Cc}/gu, ' ') : ''
  const text = `${who}: answers ${status} in ${Math.max(1, Math.round(tookMs))} ms${server === '' ? '' : ` (${server})`}`
  if (status === 401 || status === 403 || status === 407)
    return {
      level: 'problem',
      text: `${text}: it does not let us in`,
      advice: 'set or correct `auth` or `headers`; the receiver says in its own log who it expects',
    }
  if (status >= 300 && status < 400)
    return {
      level: 'problem',
      text: `${text}: it sends us elsewhere, and redirects are not followed`,
      advice: `give the URL it points to as endpoint${typeof headers.location === 'string' ? `: ${withoutQuery(headers.location)}` : ''}`,
    }
  if (status === 404)
    return {
      level: 'warning',
      text: `${text}: it knows no such path, or no HEAD there`,
      advice: 'compare the path of the endpoint with that of the receiver; with the first POST it shows',
    }
  if (status >= 500)
    return { level: 'problem', text: `${text}: the server fails`, advice: 'look into the log of the receiver' }
  return { level: 'ok', text }
}

function withoutQuery(location: string): string {
  return location.slice(0, 200).replace(/[?#].*$/s, '')
}

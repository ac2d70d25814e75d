/** What `doctor` tells of one HTTP endpoint: by a HEAD, which writes nothing. */
import type { Finding, Signal } from '../core/component.ts'
import { clockFinding, problemOf, type ServerClock, timed } from '../core/findings.ts'
import { certificateOfUrl } from './certificate-finding.ts'
import type { Endpoint, Greeting } from './http-endpoints.ts'
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
  const certificate = await certificateOfUrl(who, new URL(endpoint.name), o)
  if (certificate) yield certificate
  let greeting: Greeting
  try {
    greeting = (await timed((signal) => endpoint.greet(signal), o)).value
  } catch (error) {
    yield problemOf(error, { ...o, what: who })
    return false
  }
  yield o.judgesStatus === false
    ? { level: 'ok', text: `${who}: answers in ${Math.max(1, Math.round(greeting.tookMs))} ms` }
    : statusFinding(who, greeting)
  const clock = clockFinding(who, clockOf(greeting), { isSigned: o.isSigned ?? false })
  if (clock) yield clock
  return true
}

function clockOf({ headers, atMs }: Greeting): ServerClock | undefined {
  const serverMs = typeof headers.date === 'string' ? Date.parse(headers.date) : Number.NaN
  return Number.isNaN(serverMs) ? undefined : { serverMs, oursMs: atMs }
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

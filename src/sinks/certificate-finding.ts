/** The certificate of a server, for `doctor`: who it is for, who says so, and until when. */
import { isIP } from 'node:net'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import type { Finding, Signal } from '../core/component.ts'
import { timed } from '../core/findings.ts'
import { untilAborted } from '../core/until-aborted.ts'
import type { TlsOptions } from './tls.ts'

const dayMs = 86_400_000
/** Automatic renewals come 30 days before the end at the latest. */
const soonDays = 14

export interface Certificate {
  readonly subject: string
  readonly issuer: string
  readonly validToMs: number
  readonly protocol: string
}

/** The certificate of a server, whoever signed it: whether it is trusted shows where it is used. */
async function certificateOf(
  at: { readonly host: string; readonly port: number; readonly tls: TlsOptions },
  signal: AbortSignal,
): Promise<Certificate> {
  const { host, port, tls } = at
  const socket = connectTls({
    ...tls,
    host,
    port,
    rejectUnauthorized: false,
    ...(isIP(host) > 0 ? {} : { servername: host }),
  })
  try {
    const secured = new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', () => resolve())
      socket.on('error', reject)
      socket.once('close', () => reject(new Error('the server closed the connection')))
    })
    await untilAborted(secured, signal)
    const found = socket.getPeerCertificate()
    return {
      subject: nameIn(found.subject),
      issuer: nameIn(found.issuer),
      validToMs: Date.parse(found.valid_to),
      protocol: socket.getProtocol() ?? 'TLS',
    }
  } finally {
    socket.destroy()
  }
}

function nameIn(subject: PeerCertificate['subject'] | undefined): string {
  const name = subject?.CN ?? subject?.O ?? 'no name'
  return String(name)
}

/** Until when a certificate is good, and who says so. */
export function judgeCertificate(
  who: string,
  { subject, issuer, validToMs, protocol }: Certificate,
  o: { readonly isVerified: boolean; readonly nowMs: number },
): Finding {
  const days = Math.floor((validToMs - o.nowMs) / dayMs)
  const day = new Date(validToMs).toISOString().slice(0, 10)
  const facts = `${who}: certificate for ${subject} by ${issuer}`
  const advice = 'renew the certificate of the receiver'
  if (days < 0) return { level: 'problem', text: `${facts} expired on ${day}`, advice }
  if (days < soonDays) return { level: 'warning', text: `${facts} expires in ${days} days, on ${day}`, advice }
  if (o.isVerified) return { level: 'ok', text: `${facts}, good until ${day} (${protocol})` }
  return {
    level: 'warning',
    text: `${facts}, good until ${day}; it is not verified (tls.insecure_skip_verify)`,
    advice: 'set tls.ca_file and leave out tls.insecure_skip_verify: anyone between here and there can read along',
  }
}

/** The certificate of a server. undefined if it shows none: connecting says why. */
export async function certificateFinding(
  who: string,
  at: { readonly host: string; readonly port: number; readonly tls: TlsOptions },
  o: Signal,
): Promise<Finding | undefined> {
  try {
    const { value } = await timed(({ signal }) => certificateOf(at, signal), o)
    return judgeCertificate(who, value, { isVerified: at.tls.rejectUnauthorized, nowMs: Date.now() })
  } catch {
    o.signal.throwIfAborted()
    return undefined
  }
}

/** As `certificateFinding`; undefined also if the URL is not https. */
export async function certificateOfUrl(
  who: string,
  { protocol, hostname, port }: URL,
  o: Signal & { readonly tls: TlsOptions },
): Promise<Finding | undefined> {
  if (protocol !== 'https:') return undefined
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  return await certificateFinding(who, { host, port: port === '' ? 443 : Number(port), tls: o.tls }, o)
}

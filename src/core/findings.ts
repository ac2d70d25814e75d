/** Lines of `doctor` that several components have in common. */
import { roughly } from '../telemetry/figures.ts'
import type { Finding, Signal } from './component.ts'
import { explainError } from './errors.ts'
import { TimeLimit } from './time-limit.ts'
import { untilAborted } from './until-aborted.ts'

/** Longest time for one question. */
const questionMs = 10_000
const minuteMs = 60_000

/**
 * An error as a finding. What its message says in brackets at the end is the advice; `advice` is for messages that give
 * none. `what` stands before it, if it does not name that place itself. Throws what an abort has thrown.
 */
export function problemOf(error: unknown, o: Signal & { readonly what?: string; readonly advice?: string }): Finding {
  o.signal.throwIfAborted()
  const whole = explainError(error)
  const message = error instanceof Error ? error.message : ''
  // A number, or the name of an error, in brackets is none.
  const [, told, advice] = /^(.*?\S)\s+\(((?=[A-Za-z`])(?=[^()]*\s)[^()]*(?:\([^()]*\)[^()]*)*)\)$/s.exec(message) ?? []
  const text = told ?? whole
  const address = /\S*[:/]\S*$/.exec(o.what ?? '')?.[0]
  const isNamed = o.what === undefined || (address !== undefined && text.includes(address))
  return {
    level: 'problem',
    text: isNamed ? text : `${o.what}: ${text}`,
    advice: advice ?? o.advice ?? adviceFor(whole),
  }
}

function adviceFor(text: string): string {
  if (/ECONNREFUSED/.test(text)) return 'start the server, or correct its address and port'
  if (/ENOTFOUND|EAI_AGAIN/.test(text)) return 'correct the host name, or look after the name server of this machine'
  if (/ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|time-?out|no answer/i.test(text))
    return 'look for a firewall or a proxy between here and there, and whether the server is overloaded'
  if (/EPROTO|TLS: wrong version/.test(text))
    return 'no TLS is spoken there: correct the port, or write http:// for https://'
  if (/certificate|CERT_|self.signed/i.test(text))
    return 'set tls.ca_file to the authority that signed it; for AWS and S3 servers NODE_EXTRA_CA_CERTS in the environment'
  if (/ 40[137]\b/.test(text)) return 'check the credentials, and what they allow'
  return 'mend what the server names, or correct the configuration'
}

/** Asks with a time limit; the outcome and how long it took. */
export async function timed<T>(
  ask: (o: Signal) => Promise<T>,
  o: Signal,
): Promise<{ readonly value: T; readonly ms: number }> {
  using limit = new TimeLimit(o.signal, questionMs)
  const startMs = performance.now()
  try {
    const value = await untilAborted(ask({ signal: limit.signal }), limit.signal)
    return { value, ms: Math.max(1, Math.round(performance.now() - startMs)) }
  } catch (error) {
    if (limit.isOver && !o.signal.aborted) throw new Error(`no answer within ${questionMs / 1000} s`)
    throw error
  }
}

/** What was seen last of the clock of a server: its `Date`, which has whole seconds, and ours when it came. */
export interface ServerClock {
  readonly serverMs: number
  readonly oursMs: number
}

/** Whether the clocks here and there agree; undefined where the server tells no time, or nothing is worth a word. */
export function clockFinding(
  who: string,
  clock: ServerClock | undefined,
  /** True if requests are signed with the time of this machine. */
  o: { readonly isSigned: boolean },
): Finding | undefined {
  if (clock === undefined) return undefined
  // What is told has whole seconds, and was on its way for a moment.
  const aheadMs = clock.oursMs - clock.serverMs
  const offMs = Math.max(0, Math.abs(aheadMs) - 2000)
  if (offMs <= minuteMs)
    return o.isSigned ? { level: 'ok', text: `the clock of ${who} and that of this machine agree` } : undefined
  const text = `the clock of this machine is ${roughly(offMs)} ${aheadMs > 0 ? 'ahead of' : 'behind'} that of ${who}`
  const advice =
    'let this machine keep its time by NTP (timedatectl set-ntp true), or look after the clock of the server'
  if (!o.isSigned || offMs <= 5 * minuteMs) return { level: 'warning', text, advice }
  return { level: 'problem', text: `${text}: signed requests may be refused`, advice }
}

/** The first few, and how many more there are. */
export function someOf(names: readonly string[], most = 3): string {
  const rest = names.length - most
  return `${names.slice(0, most).join(', ')}${rest > 0 ? `, and ${rest} more` : ''}`
}

/** Some of a list, evenly over all of it, the last one included. */
export function spread<T>(list: readonly T[], most: number): T[] {
  if (list.length <= most) return [...list]
  return Array.from({ length: most }, (_, i) => list[Math.floor(((i + 1) * list.length) / most) - 1] as T)
}

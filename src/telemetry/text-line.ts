/**
 * A log entry as one line for people: time, level, message, what it is about, why, then the other facts.
 *
 *   2026-11-21 07:42:37.094 INFO  scan: 44 new of 44 objects · 30 under way · 191 ms
 */
import { styleText } from 'node:util'
import { count, fileSize } from './figures.ts'

type Fact = unknown

/** What an entry is about; stands right after the message. */
const subjects = ['key', 'endpoint', 'statePath']
/** Why; stands after that. */
const reasons = ['reason', 'error']
/** Numbers that say which one, not how many. */
const ordinals = new Set(['attempt', 'status', 'process', 'position'])

/** The line of one JSON entry of the log, its newline included; a stack follows on lines of its own. */
export function textLine(json: string, o: { readonly color: boolean; readonly isTimed?: boolean }): string {
  const { level, time, msg, stack, ...facts } = JSON.parse(json) as Record<string, Fact>
  const paint = (style: Parameters<typeof styleText>[0], text: string) =>
    o.color ? styleText(style, text, { validateStream: false }) : text
  const name = String(level).toUpperCase().padEnd(5)
  const styles = { ERROR: 'red', 'WARN ': 'yellow', 'INFO ': 'green' } as const
  const reason = textOf(facts, reasons)
  const subject = textOf(facts, subjects).filter((text) => !reason.some((why) => why.includes(text)))
  const told = [String(msg ?? ''), ...subject, ...reason].filter((text) => text !== '').map(printable)
  const rest = Object.entries(facts)
    .filter(([key]) => ![...subjects, ...reasons].includes(key))
    .map(([key, fact]) => printable(showFact(key, fact)))
    .filter((text) => text !== '')
  const words = [
    ...(o.isTimed === false ? [] : [paint('gray', String(time).replace('T', ' ').replace('Z', ''))]),
    paint(styles[name as keyof typeof styles] ?? 'gray', name),
    `${told.join(': ')}${rest.length > 0 ? paint('gray', ` · ${rest.join(' · ')}`) : ''}`,
  ]
  const trace = typeof stack === 'string' ? stack.split('\n').map((at) => `    ${printable(at.trim())}\n`) : []
  return `${words.join(' ')}\n${trace.join('')}`
}

/** Text from elsewhere (keys, answers, records), fit for a terminal: control characters are shown, not obeyed. */
export function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu,
    (character) => escapes[character] ?? `\\x${character.codePointAt(0)?.toString(16).padStart(2, '0')}`,
  )
}

const escapes: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function textOf(facts: Record<string, Fact>, names: readonly string[]): string[] {
  return names.flatMap((name) => (typeof facts[name] === 'string' ? [facts[name]] : []))
}

/** `44 listed`, `30.7 MB`, `format zscaler`, `records: 24,829 read, 24,629 delivered`; nothing for zero, false and empty. */
function showFact(key: string, fact: Fact): string {
  const name = key.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  if (fact === undefined || fact === null || fact === 0 || fact === false || fact === '') return ''
  if (fact === true) return name
  if (typeof fact === 'number') {
    if (key === 'bytes') return fileSize(fact)
    if (key === 'ms') return `${count(fact)} ms`
    if (key === 'seconds') return `${fact} s`
    if (key.endsWith('Ms')) return `${name.slice(0, -3)} ${fact >= 1000 ? `${fact / 1000} s` : `${fact} ms`}`
    return ordinals.has(key) ? `${name} ${fact}` : `${count(fact)} ${name}`
  }
  if (Array.isArray(fact)) return fact.length === 0 ? '' : `${name} ${fact.map(String).join(', ')}`
  if (typeof fact === 'object') {
    const inner = Object.entries(fact)
      .map(([at, value]) => showFact(at, value))
      .filter((text) => text !== '')
    return inner.length === 0 ? '' : `${name}: ${inner.join(', ')}`
  }
  return `${name} ${String(fact)}`
}

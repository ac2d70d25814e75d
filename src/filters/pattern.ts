/** Regular expressions (RE2) on raw records: which records of a block one is found in, and replacing what it finds. */
import { isUtf8 } from 'node:buffer'
import type { RE2JS } from 're2js'
import type { Block } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import { Automaton, foundState, neverState } from './pattern-automaton.ts'
import { anywhere, atRecordStart, contextAfter, Program } from './pattern-program.ts'
import { BlockScan } from './pattern-scan.ts'

/**
 * "Found anywhere in the record", without its LF; letters as written unless `(?i)`. `^`, `$`, `\A`, `\z` are the ends of the
 * record, with `(?m)` the first two also those of its lines. A byte that is no UTF-8 counts as U+FFFD.
 */
export interface Pattern {
  /** Sets hits[i] = 1 for every record i of the block in which the pattern is found; leaves the others as they are and passes over those already 1. */
  mark(block: Block, hits: Uint8Array): void
}

/** Throws config.invalid if the source is no RE2 expression. */
export function compilePattern(source: string): Pattern {
  return new BlockScan(new Automaton(source))
}

export interface Replacement {
  /**
   * The record, without its LF, with every place the pattern is found in replaced, as RE2 does it: from the left, and no empty
   * one right behind another. The same object if it is found nowhere. All bytes between the places stay as they are.
   * Linear in the record for each place, as in RE2: `x*y|x` looks to the end of the record at every x.
   */
  apply(record: Buffer): Buffer
}

/**
 * In the template `$1`, `${1}` and `${name}` are groups, `$0` is all that was found, `$$` is a dollar sign. Throws
 * config.invalid if the source is no RE2 expression or the template has a problem.
 */
export function compileReplacement(source: string, template: string): Replacement {
  return new AutomatonReplacement(source, template)
}

/** Why a template does not go with a pattern, undefined if it does. Throws config.invalid if the source is no RE2 expression. */
export function replacementProblem(source: string, template: string): string | undefined {
  const parts = templateParts(new Program(source).regex, template)
  return typeof parts === 'string' ? parts : undefined
}

/** Bytes, or the number of a group. */
type Part = Buffer | number

/** What a template consists of; its problem if it has one. */
function templateParts(regex: RE2JS, template: string): Part[] | string {
  const parts: Part[] = []
  const names = regex.namedGroups()
  const count = regex.groupCount()
  let text = ''
  let at = 0
  for (const found of template.matchAll(/\$(?:(\$)|(\d+)|\{(\w+)\})?/g)) {
    const [whole, dollar, digits, name] = found
    text += template.slice(at, found.index)
    at = found.index + whole.length
    if (whole === '$') return 'has a "$" that begins no group: a group is $1, ${1} or ${name}, a dollar sign is $$'
    if (dollar !== undefined) {
      text += '$'
      continue
    }
    const wanted = digits ?? name ?? ''
    const group = /^\d+$/.test(wanted) ? Number(wanted) : Object.hasOwn(names, wanted) ? names[wanted] : undefined
    if (group === undefined || group > count) {
      const longer = digits !== undefined && digits.length > 1 ? ' (a digit behind a group: ${1}0)' : ''
      return `names the group "${wanted}", and the pattern has ${described(count, Object.keys(names))}${longer}`
    }
    if (text !== '') parts.push(Buffer.from(text))
    text = ''
    parts.push(group)
  }
  text += template.slice(at)
  if (text !== '') parts.push(Buffer.from(text))
  return parts
}

function described(count: number, names: readonly string[]): string {
  if (count === 0) return 'no groups'
  const numbers = count === 1 ? 'only group 1' : `only groups 1 to ${count}`
  return names.length === 0 ? numbers : `${numbers}, named ${names.join(', ')}`
}

const lf = 10

/**
 * The automaton says that there is something, and where it begins at the earliest; only from there re2js, which is some
 * twenty times slower, finds where it begins and ends, and its groups. A pattern that is just a literal does without.
 */
class AutomatonReplacement implements Replacement {
  readonly #automaton: Automaton
  readonly #regex: RE2JS
  readonly #parts: readonly Part[]

  constructor(source: string, template: string) {
    this.#automaton = new Automaton(source)
    this.#regex = this.#automaton.program.regex
    const parts = templateParts(this.#regex, template)
    if (typeof parts === 'string') {
      throw new StreamError('config.invalid', `the replacement ${JSON.stringify(template)} ${parts}`)
    }
    this.#parts = parts
  }

  apply(record: Buffer): Buffer {
    let near = this.#near(record, 0)
    if (near < 0) return record
    const { isLiteral, prefix } = this.#automaton.program
    const matcher = isLiteral ? undefined : this.#regex.matcher(record)
    const out: Buffer[] = []
    let copied = 0
    for (let from = 0; near >= 0; near = from > record.length ? -1 : this.#near(record, from)) {
      if (matcher && !matcher.find(near)) break
      const start = matcher ? matcher.start() : near
      const end = matcher ? matcher.end() : near + prefix.length
      // Go's and RE2's rule: no empty place right behind another.
      if (end > copied || start === 0) {
        if (start > copied) out.push(record.subarray(copied, start))
        for (const part of this.#parts) {
          if (typeof part !== 'number') out.push(part)
          else if (part === 0) out.push(record.subarray(start, end))
          else if (matcher && matcher.start(part) >= 0)
            out.push(record.subarray(matcher.start(part), matcher.end(part)))
        }
        copied = end
      }
      from = end > from ? end : from + runeBytes(record, from)
    }
    if (copied < record.length) out.push(record.subarray(copied))
    return Buffer.concat(out)
  }

  /** A place at or before the next one the pattern is found in, with no match under way; -1 if it is found nowhere behind `from`. */
  #near(record: Buffer, from: number): number {
    const automaton = this.#automaton
    const { prefix, isLiteral } = automaton.program
    let near = from
    if (prefix.length > 0) {
      near = record.indexOf(prefix, from)
      if (near < 0 || isLiteral) return near
    }
    const context = prefix.length > 0 ? anywhere : from === 0 ? atRecordStart : contextAfter(record[from - 1] as number)
    let state = automaton.startAt(context)
    if (state === foundState) return near
    if (state === neverState) return -1
    let { table, idle } = automaton
    for (let at = near; at < record.length; at += 1) {
      if (idle[state >>> 8] === 1) near = at
      const byte = record[at] as number
      let next = table[state | byte] as number
      if (next < 0) {
        next = byte === lf ? automaton.afterLineFeed(state) : automaton.next(state, byte)
        if (next === foundState) return near
        if (next === neverState) return -1
        ;({ table, idle } = automaton)
      }
      state = next
    }
    if (idle[state >>> 8] === 1) near = record.length
    return automaton.isMatchAtEnd(state) ? near : -1
  }
}

/** Bytes of the rune at a place, as re2js counts them: 1 where there is no valid one, and at the end. */
function runeBytes(record: Buffer, at: number): number {
  const first = record[at] ?? 0
  const bytes = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  return at + bytes <= record.length && isUtf8(record.subarray(at, at + bytes)) ? bytes : 1
}

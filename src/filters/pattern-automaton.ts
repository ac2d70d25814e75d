/**
 * A Program as a table over bytes, filled as bytes come: the next state is one look-up away. A state is what goes on in the
 * program, and the bytes of a UTF-8 sequence that has begun. When the table grows too
 * large it is emptied and filled anew; even a pattern that needs a new state for every byte takes linear time, of some 50 ns
 * per byte and thread.
 *
 *   table[state | byte]   >= 0  the next state
 *                         <  0  look again: `next` says what to do (found, never, or not known yet), `afterLineFeed` for LF
 *
 * States are row offsets in the table, multiples of 256. The entries for LF always say "look again", because LF is where
 * records end; so a loop over the table needs no other test.
 */
import { atRecordStart, dead, invalidRune, matched, Program, type Threads } from './pattern-program.ts'

/** Or-ed to an entry that is no next state. */
const lookAgain = 1 << 31
const row = 256
const lf = 10

/** "State" of a record in which the pattern is found, and of one in which it cannot be found any more. */
export const foundState = lookAgain | (0 * row)
export const neverState = lookAgain | (1 * row)

/** A UTF-8 sequence that has begun. */
interface Sequence {
  readonly seen: number
  /** Bytes still to come. */
  readonly missing: number
  /** Range of the next one: https://www.unicode.org/versions/Unicode16.0.0/core-spec/chapter-3/#G27506 (table 3-7). */
  readonly low: number
  readonly high: number
  /** Payload bits so far. -1: whatever comes, it will be a rune of the class of `rune`. */
  readonly bits: number
  readonly rune: number
}

interface State {
  readonly threads: Threads
  readonly begun: Sequence | undefined
  afterLineFeed: number | undefined
  isMatchAtEnd: boolean | undefined
}

/** States that can be in use at a time. */
export const lanes = 4

export class Automaton {
  readonly program: Program
  readonly #limitBytes: number
  /** States in use. When the table is emptied they are given their new offsets here; all others are void then. */
  readonly live = new Int32Array(lanes).fill(foundState)
  #table = new Int32Array(64 * row)
  #states: State[] = []
  #byKey = new Map<string, number>()
  #starts = new Map<number, number>()
  #idle = new Uint8Array(64)
  #bytes = 0
  /** Times the table was emptied. */
  #epoch = 0

  /** `limitBytes`: about what the states may take in memory. Throws config.invalid if the source is no RE2 expression. */
  constructor(source: string, limitBytes = 2 * 1024 * 1024) {
    this.program = new Program(source)
    this.#limitBytes = limitBytes
    this.#clear()
  }

  /** Another array when it has grown. */
  get table(): Int32Array {
    return this.#table
  }

  /** The state at the start of a record: also foundState or neverState. */
  get start(): number {
    return this.startAt(atRecordStart)
  }

  /** The state at a place of which `context` is known. May empty the table. */
  startAt(context: number): number {
    const known = this.#starts.get(context)
    if (known !== undefined) return known
    const state = this.#stateOf(this.program.start(context), undefined)
    this.#starts.set(context, state)
    return state
  }

  /** By state / 256: 1 if no match is under way in it, so that one found later begins later. Another array when it has grown. */
  get idle(): Uint8Array {
    return this.#idle
  }

  /** The state after `byte`; foundState or neverState if that is settled. May empty the table: see `live`. */
  next(state: number, byte: number): number {
    const { threads, begun } = this.#at(state)
    const epoch = this.#epoch
    const next = this.#step(threads, begun, byte)
    // Emptied meanwhile: the row is another state's.
    if (epoch !== this.#epoch) return next
    if (begun === undefined && byte < 0x80) {
      const last = Math.min(this.program.classEnd(byte), 0x7f)
      this.#table.fill(next, state + this.program.classStart(byte), state + last + 1)
      this.#table[state + lf] = lookAgain | state
    } else this.#table[state + byte] = next
    return next
  }

  /** The state after an LF that does not end the record. May empty the table. */
  afterLineFeed(state: number): number {
    const from = this.#at(state)
    from.afterLineFeed ??= this.#step(from.threads, from.begun, lf)
    return from.afterLineFeed
  }

  /** Whether the pattern is found if the record ends here. */
  isMatchAtEnd(state: number): boolean {
    const from = this.#at(state)
    if (from.isMatchAtEnd !== undefined) return from.isMatchAtEnd
    const threads = this.#breakOff(from.threads, from.begun)
    from.isMatchAtEnd = threads === matched || (threads !== dead && this.program.isMatchAtEnd(threads))
    return from.isMatchAtEnd
  }

  #at(state: number): State {
    return this.#states[state >>> 8] as State
  }

  #step(threads: Threads, begun: Sequence | undefined, byte: number): number {
    if (begun === undefined) {
      if (byte < 0x80) return this.#stateOf(this.program.step(threads, byte), undefined)
      const first = this.#begin(byte)
      if (first === undefined) return this.#stateOf(this.program.step(threads, invalidRune), undefined)
      return this.#stateOf(threads, first)
    }
    if (byte < begun.low || byte > begun.high) {
      const after = this.#breakOff(threads, begun)
      return after === matched || after === dead ? this.#stateOf(after, undefined) : this.#step(after, undefined, byte)
    }
    const { seen, missing, rune } = begun
    const bits = begun.bits < 0 ? -1 : (begun.bits << 6) | (byte & 0x3f)
    if (missing === 1) return this.#stateOf(this.program.step(threads, bits < 0 ? rune : bits), undefined)
    return this.#stateOf(
      threads,
      this.#narrowed({ seen: seen + 1, missing: missing - 1, low: 0x80, high: 0xbf, bits, rune }),
    )
  }

  /** The threads behind a sequence that is not completed: each of its bytes is an invalid rune. */
  #breakOff(threads: Threads, begun: Sequence | undefined): Threads {
    let after = threads
    for (let left = begun?.seen ?? 0; left > 0 && after !== matched && after !== dead; left -= 1) {
      after = this.program.step(after, invalidRune)
    }
    return after
  }

  /** The sequence that begins with `byte`, undefined if none does. */
  #begin(byte: number): Sequence | undefined {
    if (byte < 0xc2 || byte > 0xf4) return undefined
    const missing = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3
    const low = byte === 0xe0 ? 0xa0 : byte === 0xf0 ? 0x90 : 0x80
    const high = byte === 0xed ? 0x9f : byte === 0xf4 ? 0x8f : 0xbf
    return this.#narrowed({ seen: 1, missing, low, high, bits: byte & (0x3f >> missing), rune: -1 })
  }

  /** With the class of the rune in place of its bits as soon as that is certain: fewer states. */
  #narrowed(begun: Sequence): Sequence {
    if (begun.bits < 0) return begun
    const rest = 6 * (begun.missing - 1)
    const first = ((begun.bits << 6) | (begun.low & 0x3f)) << rest
    const last = ((((begun.bits << 6) | (begun.high & 0x3f)) + 1) << rest) - 1
    const rune = this.program.classStart(first)
    return rune === this.program.classStart(last) ? { ...begun, bits: -1, rune } : begun
  }

  #stateOf(threads: Threads, begun: Sequence | undefined): number {
    if (threads === matched) return foundState
    if (threads === dead) return neverState
    const known = this.#byKey.get(keyOf(threads, begun))
    if (known !== undefined) return known
    if (this.#bytes > this.#limitBytes) this.#clear()
    return this.#add(threads, begun)
  }

  #add(threads: Threads, begun: Sequence | undefined): number {
    const key = keyOf(threads, begun)
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const index = this.#states.length
    const state = index * row
    if (state === this.#table.length) {
      const table = new Int32Array(2 * state)
      table.set(this.#table)
      this.#table = table
      const idle = new Uint8Array(2 * index)
      idle.set(this.#idle)
      this.#idle = idle
    }
    this.#table.fill(lookAgain | state, state, state + row)
    this.#idle[index] = threads.waiting.length === 0 && begun === undefined ? 1 : 0
    this.#states.push({ threads, begun, afterLineFeed: undefined, isMatchAtEnd: undefined })
    this.#byKey.set(key, state)
    this.#bytes += 4 * row + 200 + 8 * threads.waiting.length + 2 * key.length
    return state
  }

  #clear(): void {
    const before = this.#states
    // The rows of foundState and neverState are never looked into.
    const none: State = { threads: dead, begun: undefined, afterLineFeed: undefined, isMatchAtEnd: undefined }
    this.#states = [none, none]
    this.#byKey = new Map()
    this.#starts = new Map()
    this.#bytes = 0
    this.#epoch += 1
    for (const [lane, entry] of this.live.entries()) {
      if (entry === foundState || entry === neverState) continue
      const { threads, begun } = before[(entry & ~lookAgain) >>> 8] as State
      this.live[lane] = this.#add(threads, begun) | (entry & lookAgain)
    }
  }
}

function keyOf(threads: Threads, begun: Sequence | undefined): string {
  if (begun === undefined) return threads.key
  const { seen, missing, low, high, bits, rune } = begun
  return `${threads.key}/${seen},${missing},${low},${high},${bits},${rune}`
}

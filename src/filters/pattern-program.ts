/**
 * An RE2 expression as sets of threads that run over runes: what a regular expression "is" between two characters. It
 * answers whether the expression is found at all, not where; the time that takes per rune is at most
 * in proportion to the length of the expression.
 *
 * re2js parses and compiles; its program is that of Go's regexp/syntax (https://pkg.go.dev/regexp/syntax#Prog), which it
 * gives through `re2().prog` without types.
 */
import { RE2JS } from 're2js'
import { explainError, StreamError } from '../core/errors.ts'
import { regexProblem } from '../formats/schema.ts'

/** One instruction; of those that consume a rune `matchRune` is what counts. */
interface Instruction {
  readonly op: number
  readonly out: number
  readonly arg: number
  /** Pairs of lowest and highest rune; a single one is a rune, with both cases meant if `arg` is odd. */
  readonly runes: Int32Array
  matchRune(rune: number): boolean
}

interface Compiled {
  readonly inst: readonly Instruction[]
  readonly start: number
  /** Whether a match is just the literal, and the literal every match begins with. */
  prefix(): [boolean, string]
  /** Conditions that hold where a match begins; -1 if there can be none. */
  startCond(): number
}

const op = { alt: 1, altMatch: 2, capture: 3, emptyWidth: 4, match: 6, nop: 7, rune: 8, runeAnyNotNewline: 11 }

const condition = { beginLine: 1, endLine: 2, beginText: 4, endText: 8, wordBoundary: 16, noWordBoundary: 32 }
const beginConditions = condition.beginLine | condition.beginText
/** Added to the begin conditions of a place: the rune before it is a word character. */
const afterWord = 64

/** Context of a place: at the start of a record, at a place that asks for nothing, behind a given byte. */
export const atRecordStart = beginConditions
export const anywhere = 0
export function contextAfter(byte: number): number {
  return (byte === lf ? condition.beginLine : 0) | (isWordRune(byte) ? afterWord : 0)
}

const lf = 10
const foldCase = 1
const maxRune = 0x10ffff
/** What a byte that belongs to no valid UTF-8 sequence counts as, each for itself. */
export const invalidRune = 0xfffd

/** What goes on between two runes. */
export interface Threads {
  /** Equal for threads that go on equally. */
  readonly key: string
  /** Instructions that wait: for a rune, or for a condition that the next rune decides. Not those of a match that begins here. */
  readonly waiting: Int32Array
  /** Begin conditions that hold here, and `afterWord`; 0 where nothing asks for them. */
  readonly context: number
}

/** A match is found. */
export const matched: Threads = { key: 'matched', waiting: new Int32Array(0), context: 0 }
/** No match can be found in what follows. */
export const dead: Threads = { key: 'dead', waiting: new Int32Array(0), context: 0 }

export class Program {
  readonly regex: RE2JS
  /** Literal every match begins with; empty if there is none. */
  readonly prefix: Buffer
  /** A match is nothing but the literal. */
  readonly isLiteral: boolean
  readonly #code: readonly Instruction[]
  readonly #start: number
  readonly #isAnchored: boolean
  readonly #startHasConditions: boolean
  /** By begin conditions: whether the pattern is found in nothing. */
  readonly #startMatches: boolean[] = []
  /** First rune of each class, ascending from 0. Runes of a class are alike to every instruction. */
  readonly #classes: Int32Array
  /** Scratch of #follow: instructions visited in the walk with this number. */
  readonly #visited: Uint32Array
  #walk = 0
  readonly #stack: number[] = []

  /** Throws config.invalid if the source is no RE2 expression. */
  constructor(source: string) {
    try {
      this.regex = RE2JS.compile(source)
    } catch (error) {
      const reason = regexProblem(source) ?? explainError(error)
      throw new StreamError('config.invalid', `${JSON.stringify(source)} is no RE2 expression: ${reason}`, {
        cause: error,
      })
    }
    const compiled: Compiled = this.regex.re2().prog
    const [isWhole, prefix] = compiled.prefix()
    this.prefix = Buffer.from(prefix)
    this.isLiteral = isWhole && prefix !== '' && this.regex.groupCount() === 0
    this.#code = compiled.inst
    this.#start = compiled.start
    this.#isAnchored = (compiled.startCond() & condition.beginText) !== 0
    this.#visited = new Uint32Array(this.#code.length)
    this.#classes = runeClasses(this.#code)
    this.#startHasConditions =
      this.#follow([], true, ~0, false, []) ||
      this.#code.some(({ op: kind }, pc) => kind === op.emptyWidth && this.#visited[pc] === this.#walk)
  }

  /** The threads at a place where no match is under way. */
  start(context: number): Threads {
    return this.#threads([], context)
  }

  /** First rune of the class of `rune`: it stands for all of them. */
  classStart(rune: number): number {
    return this.#classes[this.#classIndex(rune)] as number
  }

  /** Last rune of the class of `rune`. */
  classEnd(rune: number): number {
    return (this.#classes[this.#classIndex(rune) + 1] ?? maxRune + 1) - 1
  }

  step(threads: Threads, rune: number): Threads {
    const { context } = threads
    const isWord = isWordRune(rune)
    const runnable: number[] = []
    const here =
      (context & beginConditions) |
      (rune === lf ? condition.endLine : 0) |
      (isWord === ((context & afterWord) !== 0) ? condition.noWordBoundary : condition.wordBoundary)
    if (this.#follow(threads.waiting, this.#mayStart(context), here, false, runnable)) return matched
    const next: number[] = []
    for (const pc of runnable) {
      const instruction = this.#at(pc)
      if (instruction.matchRune(rune)) next.push(instruction.out)
    }
    return this.#threads(next, contextAfter(rune))
  }

  /** Whether there is a match if the record ends here. */
  isMatchAtEnd(threads: Threads): boolean {
    const { context } = threads
    const word = (context & afterWord) !== 0 ? condition.wordBoundary : condition.noWordBoundary
    const here = (context & beginConditions) | condition.endLine | condition.endText | word
    return this.#follow(threads.waiting, this.#mayStart(context), here, false, [])
  }

  #mayStart(context: number): boolean {
    return !this.#isAnchored || (context & condition.beginText) !== 0
  }

  #threads(next: readonly number[], context: number): Threads {
    const open: number[] = []
    const begins = context & beginConditions
    if (this.#follow(next, false, begins, true, open)) return matched
    const mayStart = this.#mayStart(context)
    if (mayStart) {
      this.#startMatches[begins] ??= this.#follow([], true, begins, true, [])
      if (this.#startMatches[begins]) return matched
    } else if (open.length === 0) return dead
    const waiting = Int32Array.from(open).sort()
    const asks = (mayStart && this.#startHasConditions) || open.some((pc) => this.#at(pc).op === op.emptyWidth)
    const kept = asks ? context : this.#isAnchored ? context & condition.beginText : 0
    // The bytes as they are: with hundreds of threads, to write numbers out would take most of the time.
    const key = `${kept}:${Buffer.from(waiting.buffer).toString('latin1')}`
    return { key, waiting, context: kept }
  }

  /**
   * Walks from `from`, and where a match may begin, over all that consumes no rune; true if that reaches a match. What consumes one is put into `waiting`,
   * and, with `isOpen`, conditions that do not hold, as the next rune may yet fulfil them.
   */
  #follow(from: ArrayLike<number>, alsoStart: boolean, here: number, isOpen: boolean, waiting: number[]): boolean {
    this.#walk += 1
    const stack = this.#stack
    stack.length = 0
    for (let i = 0; i < from.length; i += 1) stack.push(from[i] as number)
    if (alsoStart) stack.push(this.#start)
    for (let pc = stack.pop(); pc !== undefined; pc = stack.pop()) {
      if (this.#visited[pc] === this.#walk) continue
      this.#visited[pc] = this.#walk
      const instruction = this.#at(pc)
      if (instruction.op === op.match) return true
      if (instruction.op >= op.rune && instruction.op <= op.runeAnyNotNewline) waiting.push(pc)
      else if (instruction.op === op.alt || instruction.op === op.altMatch) stack.push(instruction.out, instruction.arg)
      else if (instruction.op === op.nop || instruction.op === op.capture) stack.push(instruction.out)
      else if (instruction.op === op.emptyWidth) {
        if ((instruction.arg & ~here) === 0) stack.push(instruction.out)
        else if (isOpen) waiting.push(pc)
      }
    }
    return false
  }

  #at(pc: number): Instruction {
    return this.#code[pc] as Instruction
  }

  #classIndex(rune: number): number {
    let low = 0
    let high = this.#classes.length
    while (high - low > 1) {
      const middle = (low + high) >>> 1
      if ((this.#classes[middle] as number) <= rune) low = middle
      else high = middle
    }
    return low
  }
}

/** `\b` and `\w` are about ASCII in RE2: https://github.com/google/re2/wiki/Syntax */
function isWordRune(rune: number): boolean {
  return (
    (rune >= 0x30 && rune <= 0x39) || (rune >= 0x41 && rune <= 0x5a) || rune === 0x5f || (rune >= 0x61 && rune <= 0x7a)
  )
}

function runeClasses(code: readonly Instruction[]): Int32Array {
  const starts = new Set<number>([0])
  const add = (first: number, last: number) => {
    starts.add(first)
    if (last < maxRune) starts.add(last + 1)
  }
  for (const instruction of code) {
    const { op: kind, arg, runes } = instruction
    if (kind === op.emptyWidth) {
      add(lf, lf)
      if ((arg & (condition.wordBoundary | condition.noWordBoundary)) === 0) continue
      add(0x30, 0x39)
      add(0x41, 0x5a)
      add(0x5f, 0x5f)
      add(0x61, 0x7a)
    } else if (kind >= op.rune && kind <= op.runeAnyNotNewline) {
      if (runes.length === 1) for (const rune of cases(instruction, (arg & foldCase) !== 0)) add(rune, rune)
      else for (let i = 0; i < runes.length; i += 2) add(runes[i] as number, runes[i + 1] as number)
    }
  }
  return Int32Array.from(starts).sort()
}

/** The runes an instruction for a single rune takes. */
function cases(instruction: Instruction, isFolded: boolean): number[] {
  const rune = instruction.runes[0] as number
  if (!isFolded) return [rune]
  // The only ones that fold to ASCII from outside are the long s and the Kelvin sign (CaseFolding.txt).
  if (rune < 0x80) return [rune, rune ^ 0x20, 0x17f, 0x212a].filter((one) => instruction.matchRune(one))
  const found: number[] = []
  for (let one = 0; one <= lastWithCase; one += 1) if (instruction.matchRune(one)) found.push(one)
  return found
}

/** No rune above it has cases (CaseFolding.txt: U+1E921); with room for a later Unicode. */
const lastWithCase = 0x1ffff

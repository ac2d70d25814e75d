/**
 * Finds values in the bytes of a JSON document, so that they can be replaced there and everything else stays as it was
 * written: numbers beyond 2^53, the order and repetition of keys, blanks.
 *
 * The document must be valid: JSON.parse has to accept it first. What is done to others is not defined.
 */
import { isAscii } from 'node:buffer'
import { StreamError } from '../core/errors.ts'

const quote = 34
const comma = 44
const openBracket = 91
const backslash = 92
const closeBracket = 93
const openBrace = 123
const closeBrace = 125

/** Arrays and objects within each other along a path; deeper ones are no logs. */
const maxDepth = 500

/** The text of a record. What is no UTF-8 becomes U+FFFD; ASCII, that is nearly everything, is read much faster than UTF-8. */
export function textOf(record: Buffer): string {
  return record.toString(isAscii(record) ? 'latin1' : 'utf8')
}

/** What to look for among the keys of an object. */
interface Level {
  readonly keys: readonly Key[]
}

interface Key {
  readonly text: string
  readonly bytes: Buffer
  /** True if a path ends here: the value itself is meant. */
  readonly isEnd: boolean
  /** What to look for in the value. */
  readonly within: Level | undefined
}

/** The values at some paths. A path is a key, or keys joined by dots; arrays on the way stand for all their elements. */
export class JsonPaths {
  readonly #top: Level
  readonly #levels = new Map<string, Level>()
  #document: Buffer = Buffer.alloc(0)
  #ranges: number[] = []

  constructor(paths: readonly string[]) {
    this.#top = this.#level(paths)
  }

  #level(paths: readonly string[]): Level {
    const name = JSON.stringify(paths)
    const known = this.#levels.get(name)
    if (known) return known
    const ends = new Set(paths)
    const withins = new Map<string, string[]>()
    for (const path of paths) {
      // Any of the dots may be part of a key.
      for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
        const key = path.slice(0, dot)
        withins.set(key, [...(withins.get(key) ?? []), path.slice(dot + 1)])
      }
    }
    const keys = [...new Set([...ends, ...withins.keys()])].map((text) => {
      const within = withins.get(text)
      return {
        text,
        bytes: Buffer.from(text),
        isEnd: ends.has(text),
        within: within && this.#level(within),
      }
    })
    const level = { keys }
    this.#levels.set(name, level)
    return level
  }

  /**
   * Where the values stand: start and end of the first, of the second and so on, in order. A key that is there twice
   * counts twice. Throws filter.failed if arrays and objects are nested too deep.
   */
  find(document: Buffer): readonly number[] {
    this.#document = document
    this.#ranges = []
    this.#value(this.#skipBlanks(0), this.#top, 0)
    return this.#ranges
  }

  /** Looks into the value at `at`; gives its end. */
  #value(at: number, level: Level, depth: number): number {
    const byte = this.#document[at]
    if (byte !== openBrace && byte !== openBracket) return this.#end(at)
    if (depth > maxDepth) {
      throw new StreamError(
        'filter.failed',
        `cannot look for fields: more than ${maxDepth} arrays or objects in each other`,
      )
    }
    return byte === openBrace ? this.#object(at, level, depth) : this.#array(at, level, depth)
  }

  #object(at: number, level: Level, depth: number): number {
    const document = this.#document
    let next = this.#skipBlanks(at + 1)
    while (document[next] === quote) {
      const keyEnd = this.#stringEnd(next)
      // Behind the colon; between key and colon there may be blanks.
      const start = this.#skipBlanks(this.#skipBlanks(keyEnd) + 1)
      const key = this.#keyAt(next, keyEnd, level)
      let end: number
      if (key === undefined) end = this.#end(start)
      else if (key.isEnd) {
        end = this.#end(start)
        this.#ranges.push(start, end)
      } else end = key.within ? this.#value(start, key.within, depth + 1) : this.#end(start)
      next = this.#skipBlanks(end)
      if (document[next] === comma) next = this.#skipBlanks(next + 1)
    }
    return next + 1
  }

  #array(at: number, level: Level, depth: number): number {
    const document = this.#document
    let next = this.#skipBlanks(at + 1)
    while (next < document.length && document[next] !== closeBracket) {
      next = this.#skipBlanks(this.#value(next, level, depth + 1))
      if (document[next] === comma) next = this.#skipBlanks(next + 1)
    }
    return next + 1
  }

  /** The key of the level that stands in [start, end), quotes included. */
  #keyAt(start: number, end: number, { keys }: Level): Key | undefined {
    const document = this.#document
    const length = end - start - 2
    let isEscaped = false
    for (let at = start + 1; at < end - 1 && !isEscaped; at += 1) isEscaped = document[at] === backslash
    if (isEscaped) {
      const text: unknown = JSON.parse(document.toString('utf8', start, end))
      return keys.find((key) => key.text === text)
    }
    for (const key of keys) {
      if (key.bytes.length === length && document.compare(key.bytes, 0, length, start + 1, end - 1) === 0) return key
    }
    return undefined
  }

  #skipBlanks(from: number): number {
    const document = this.#document
    let at = from
    for (;;) {
      const byte = document[at]
      if (byte !== 32 && byte !== 10 && byte !== 13 && byte !== 9) return at
      at += 1
    }
  }

  /** Behind the string that opens at `at`. */
  #stringEnd(at: number): number {
    const document = this.#document
    let next = at + 1
    while (next < document.length && document[next] !== quote) next += document[next] === backslash ? 2 : 1
    return next + 1
  }

  /** Behind the value at `at`, whatever it is. */
  #end(at: number): number {
    const document = this.#document
    const byte = document[at]
    if (byte === quote) return this.#stringEnd(at)
    let next = at
    if (byte !== openBrace && byte !== openBracket) {
      while (next < document.length && !endsLiteral(document[next] as number)) next += 1
      return next
    }
    let depth = 0
    while (next < document.length) {
      const inside = document[next]
      if (inside === quote) {
        next = this.#stringEnd(next)
        continue
      }
      next += 1
      if (inside === openBrace || inside === openBracket) depth += 1
      else if (inside === closeBrace || inside === closeBracket) {
        depth -= 1
        if (depth === 0) return next
      }
    }
    return next
  }
}

function endsLiteral(byte: number): boolean {
  return byte === comma || byte === closeBrace || byte === closeBracket || byte <= 32
}

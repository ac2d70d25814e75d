/**
 * Elements of a JSON array as records, scanned on bytes: the object is never parsed, nor held, as a whole. The array stands alone
 * (`[…]`) or is a member of a wrapping object (`{"Records":[…]}`, CloudTrail and others); several such documents may follow each
 * other. Line ends between tokens become spaces, so that each record is one line; everything else goes through byte for byte.
 */
import type { Block } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import type { RecordWriter } from './records.ts'

/** Members that are unwrapped without being asked for, where they come first and hold objects. */
const knownWrapper = /^\s*\{\s*"(?:Records|records)"\s*:\s*\[\s*(?:\{|\])/
const bareArray = /^\s*\[\s*(?:\{\s*["}]|\])/

/** True if the content is an array of objects, or wraps one under a well-known name. */
export function isJsonArray(sample: Buffer): boolean {
  const head = sample.toString('latin1', 0, 4096)
  return bareArray.test(head) || knownWrapper.test(head)
}

export async function* splitJson(
  bytes: AsyncIterable<Buffer>,
  o: { readonly writer: RecordWriter; readonly recordsPath: string | undefined },
): AsyncGenerator<Block, void, undefined> {
  const scanner = new JsonScanner(o.writer, o.recordsPath)
  try {
    for await (const chunk of bytes) {
      scanner.feed(chunk)
      yield* o.writer.take()
    }
    scanner.end()
  } catch (error) {
    yield* o.writer.take()
    throw error
  }
  yield* o.writer.take()
  o.writer.finish()
}

/** Where the scanner stands. */
const top = 0
const member = 1
const key = 2
const colon = 3
const memberValue = 4
const skipped = 5
const array = 6
const element = 7

const space = 32
const quote = 34
const comma = 44
const backslash = 92

class JsonScanner {
  readonly #writer: RecordWriter
  readonly #names: ReadonlySet<string>
  #state = top
  #offset = 0
  /** In a value: nesting, and whether inside a string, and after its backslash. */
  #depth = 0
  #isString = false
  #isEscaped = false
  #isWrapped = false
  #found = false
  #key: number[] = []
  /** The element under way, as far as it came in earlier chunks. */
  #carry: Buffer[] = []
  #carryBytes = 0
  #isTooLong = false

  constructor(writer: RecordWriter, recordsPath: string | undefined) {
    this.#writer = writer
    this.#names = new Set(recordsPath === undefined ? ['Records', 'records'] : [recordsPath])
  }

  feed(chunk: Buffer): void {
    let at = 0
    while (at < chunk.length) {
      at =
        this.#state === element
          ? this.#inElement(chunk, at)
          : this.#state === skipped
            ? this.#value(chunk, at)
            : this.#step(chunk, at)
    }
    this.#offset += chunk.length
  }

  #malformed(at: number, why: string): StreamError {
    const offset = this.#offset + at
    return new StreamError('decode.malformed', `not a JSON array of records: ${why} at decoded byte ${offset}`, {
      data: { decodedOffset: offset, records: this.#writer.next },
    })
  }

  /** One byte outside of values. Gives where to go on. */
  #step(chunk: Buffer, at: number): number {
    const byte = chunk[at] as number
    if (this.#state === key) {
      if (this.#isEscaped) this.#isEscaped = false
      else if (byte === backslash) this.#isEscaped = true
      else if (byte === quote) {
        this.#state = colon
        return at + 1
      }
      if (this.#key.length < 256) this.#key.push(byte)
      return at + 1
    }
    if (byte <= space) return at + 1
    switch (this.#state) {
      case top:
        if (byte === 0x5b) {
          this.#state = array
          this.#isWrapped = false
          this.#found = true
        } else if (byte === 0x7b) {
          this.#state = member
          this.#isWrapped = true
        } else if (byte !== comma) throw this.#malformed(at, `${printed(byte)} where an array or object should begin`)
        return at + 1
      case member:
        if (byte === quote) {
          this.#state = key
          this.#key.length = 0
        } else if (byte === 0x7d) this.#state = top
        else if (byte !== comma) throw this.#malformed(at, `${printed(byte)} where a member should begin`)
        return at + 1
      case colon:
        if (byte !== 0x3a) throw this.#malformed(at, `${printed(byte)} where a colon should be`)
        this.#state = memberValue
        return at + 1
      case memberValue:
        if (byte === 0x5b && this.#names.has(Buffer.from(this.#key).toString())) {
          this.#state = array
          this.#found = true
          return at + 1
        }
        this.#state = skipped
        return at
      default:
        if (byte === 0x5d) this.#state = this.#isWrapped ? member : top
        else if (byte !== comma) {
          this.#state = element
          return at
        }
        return at + 1
    }
  }

  /** Passes over one value, or the part of it in this chunk. */
  #value(chunk: Buffer, from: number): number {
    const end = this.#valueEnd(chunk, from)
    if (end < 0) return chunk.length
    this.#state = member
    return end
  }

  #inElement(chunk: Buffer, from: number): number {
    const end = this.#valueEnd(chunk, from)
    const part = chunk.subarray(from, end < 0 ? chunk.length : end)
    if (end >= 0) {
      this.#emit(part)
      this.#state = array
      return end
    }
    if (this.#carryBytes + part.length > this.#writer.lineBytes) {
      // It is lost for this policy anyway; what is kept of it must not grow.
      this.#isTooLong = true
      this.#carry = []
      this.#carryBytes = 0
    } else if (!this.#isTooLong) {
      this.#carry.push(Buffer.from(part))
      this.#carryBytes += part.length
    }
    return chunk.length
  }

  #emit(part: Buffer): void {
    const whole = this.#carryBytes === 0 ? part : Buffer.concat([...this.#carry, part])
    const isTooLong = this.#isTooLong || whole.length > this.#writer.lineBytes
    this.#carry = []
    this.#carryBytes = 0
    this.#isTooLong = false
    if (isTooLong) {
      // A piece of a JSON value is no JSON: whatever the policy for lines, the element is reported, the others go on.
      this.#writer.refuse()
      return
    }
    this.#writer.add(whole.includes(10) || whole.includes(13) ? oneLine(whole) : whole, -1)
  }

  /** Index after the value that begins (or goes on) at `from`; -1 if it goes on in the next chunk. */
  #valueEnd(chunk: Buffer, from: number): number {
    let depth = this.#depth
    let i = from
    if (this.#isString) {
      i = this.#stringEnd(chunk, i)
      if (i < 0) return -1
      if (depth === 0) return i
    }
    for (; i < chunk.length; i += 1) {
      const byte = chunk[i] as number
      if (byte === quote) {
        this.#isString = true
        i = this.#stringEnd(chunk, i + 1)
        if (i < 0) {
          this.#depth = depth
          return -1
        }
        if (depth === 0) return i
        i -= 1
      } else if (byte === 0x7b || byte === 0x5b) depth += 1
      else if (byte === 0x7d || byte === 0x5d) {
        // The bracket of what the value stands in: the value was a number or a word.
        if (depth === 0) return i
        depth -= 1
        if (depth === 0) {
          this.#depth = 0
          return i + 1
        }
      } else if (depth === 0 && (byte === comma || byte <= space)) return i
    }
    this.#depth = depth
    return -1
  }

  /** Index after the closing quote; -1 if the string goes on in the next chunk. */
  #stringEnd(chunk: Buffer, from: number): number {
    let i = from
    if (this.#isEscaped && i < chunk.length) {
      this.#isEscaped = false
      i += 1
    }
    for (; i < chunk.length; i += 1) {
      const byte = chunk[i]
      if (byte === quote) {
        this.#isString = false
        return i + 1
      }
      if (byte === backslash) {
        i += 1
        if (i === chunk.length) this.#isEscaped = true
      }
    }
    return -1
  }

  end(): void {
    const data = { records: this.#writer.next }
    if (this.#state !== top) {
      throw new StreamError('decode.malformed', 'the JSON ends in the middle: a bracket is not closed', { data })
    }
    if (!this.#found && this.#offset > 0) {
      const names = [...this.#names].map((name) => `"${name}"`).join(' or ')
      throw new StreamError('decode.malformed', `no array and no member ${names} that is one`, { data })
    }
  }
}

function printed(byte: number): string {
  return byte > space && byte < 127 ? `"${String.fromCharCode(byte)}"` : `byte 0x${byte.toString(16)}`
}

/** Line ends can only stand between tokens of valid JSON; in a broken string they would end the record early. */
function oneLine(value: Buffer): Buffer {
  const copy = Buffer.from(value)
  for (let i = 0; i < copy.length; i += 1) if (copy[i] === 10 || copy[i] === 13) copy[i] = space
  return copy
}

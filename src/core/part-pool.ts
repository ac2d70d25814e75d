/**
 * The memory of a copy: buffers for so many parts, made once and used again. A part larger than usual takes the room of
 * several; one larger than everything has it all to itself. A small one takes only what it needs, in memory of its own.
 */
import type { Signal } from './component.ts'

interface Waiting {
  readonly bytes: number
  readonly grant: () => void
}

/** Parts of up to this share of a usual one are small. */
const smallShare = 1 / 8
/** Idle buffers are let go when so many small parts in a row were wanted: they may not be needed again. */
const smallInARow = 64

export class PartPool {
  readonly #unitBytes: number
  /** Bytes that may be in use. */
  readonly limit: number
  #free: number
  /** Buffers that nobody has; their room is free. */
  #idle: Buffer[] = []
  readonly #waiting: Waiting[] = []
  #smallInARow = 0

  /** `unitBytes`: size of a usual part; `units`: how many of them fit. */
  constructor(unitBytes: number, units: number) {
    this.#unitBytes = unitBytes
    this.limit = unitBytes * units
    this.#free = this.limit
  }

  /** Bytes that are in use. */
  get used(): number {
    return this.limit - this.#free
  }

  /**
   * A buffer of at least so many bytes, first come first served; to be given back by `release`. Throws the reason of an
   * aborted signal and then holds nothing.
   */
  async acquire(bytes: number, o: Signal): Promise<Buffer> {
    o.signal.throwIfAborted()
    const capacity = this.#capacityFor(bytes)
    const room = this.#roomOf(capacity)
    if (this.#waiting.length > 0 || this.#free < room) {
      await new Promise<void>((resolve, reject) => {
        const waiting = {
          bytes: room,
          grant: () => {
            o.signal.removeEventListener('abort', aborted)
            resolve()
          },
        }
        const aborted = () => {
          this.#waiting.splice(this.#waiting.indexOf(waiting), 1)
          reject(o.signal.reason)
          this.#grant()
        }
        this.#waiting.push(waiting)
        o.signal.addEventListener('abort', aborted, { once: true })
      })
    } else this.#free -= room
    return this.#take(capacity)
  }

  release(buffer: Buffer): void {
    // A small one is made anew each time, and one that is larger than all together would keep the others out for ever.
    if (!this.#isSmall(buffer.length) && buffer.length <= this.limit) this.#idle.push(buffer)
    this.#free += this.#roomOf(buffer.length)
    this.#grant()
  }

  #isSmall(bytes: number): boolean {
    return bytes <= this.#unitBytes * smallShare
  }

  #capacityFor(bytes: number): number {
    return this.#isSmall(bytes) ? bytes : Math.ceil(bytes / this.#unitBytes) * this.#unitBytes
  }

  #roomOf(capacity: number): number {
    return Math.min(this.limit, capacity)
  }

  #grant(): void {
    for (let next = this.#waiting[0]; next && next.bytes <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#free -= next.bytes
      next.grant()
    }
  }

  #take(capacity: number): Buffer {
    const isSmall = this.#isSmall(capacity)
    this.#smallInARow = isSmall ? this.#smallInARow + 1 : 0
    if (this.#smallInARow === smallInARow) this.#idle = []
    const at = isSmall ? -1 : this.#idle.findLastIndex(({ length }) => length === capacity)
    if (at >= 0) return this.#idle.splice(at, 1)[0] as Buffer
    // Idle ones make room; what is granted already and not taken yet counts as in use.
    let idleBytes = this.#idle.reduce((sum, { length }) => sum + length, 0)
    while (idleBytes > this.#free) idleBytes -= (this.#idle.shift() as Buffer).length
    // Not from Node's shared pool; and not filled with zeros: memory that is never used is never taken.
    return Buffer.allocUnsafeSlow(capacity)
  }
}

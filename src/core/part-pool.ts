/**
 * The memory of a copy: buffers for so many parts, made once and used again. A part larger than usual takes the room of
 * several; one larger than everything has it all to itself.
 */
import type { Signal } from './component.ts'

interface Waiting {
  readonly units: number
  readonly grant: () => void
}

export class PartPool {
  readonly #unitBytes: number
  readonly #units: number
  #free: number
  /** Buffers that nobody has; their units are free. */
  readonly #idle: Buffer[] = []
  readonly #waiting: Waiting[] = []

  /** `unitBytes`: size of a usual part; `units`: how many of them fit. */
  constructor(unitBytes: number, units: number) {
    this.#unitBytes = unitBytes
    this.#units = units
    this.#free = units
  }

  /** Units that are in use. */
  get used(): number {
    return this.#units - this.#free
  }

  /**
   * A buffer of at least so many bytes, first come first served; to be given back by `release`. Throws the reason of an
   * aborted signal and then holds nothing.
   */
  async acquire(bytes: number, o: Signal): Promise<Buffer> {
    o.signal.throwIfAborted()
    const units = this.#unitsOf(bytes)
    if (this.#waiting.length > 0 || this.#free < units) {
      await new Promise<void>((resolve, reject) => {
        const waiting = {
          units,
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
    } else this.#free -= units
    return this.#take(Math.max(1, Math.ceil(bytes / this.#unitBytes)) * this.#unitBytes)
  }

  release(buffer: Buffer): void {
    // One that is larger than all together would keep the others out for ever.
    if (buffer.length <= this.#units * this.#unitBytes) this.#idle.push(buffer)
    this.#free += this.#unitsOf(buffer.length)
    this.#grant()
  }

  #unitsOf(bytes: number): number {
    return Math.min(this.#units, Math.max(1, Math.ceil(bytes / this.#unitBytes)))
  }

  #grant(): void {
    for (let next = this.#waiting[0]; next && next.units <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#free -= next.units
      next.grant()
    }
  }

  #take(capacity: number): Buffer {
    const at = this.#idle.findLastIndex(({ length }) => length === capacity)
    if (at >= 0) return this.#idle.splice(at, 1)[0] as Buffer
    // Idle ones of another size make room; what is granted already and not taken yet counts as in use.
    let idleUnits = this.#idle.reduce((sum, { length }) => sum + this.#unitsOf(length), 0)
    while (idleUnits > this.#free) idleUnits -= this.#unitsOf((this.#idle.shift() as Buffer).length)
    // Not from Node's shared pool; and not filled with zeros: memory that is never used is never taken.
    return Buffer.allocUnsafeSlow(capacity)
  }
}

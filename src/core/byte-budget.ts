import type { Signal } from './component.ts'

/**
 * The bytes that may be under way at once, from the decoder to the receiver's answer. First come first served, so a
 * large taker is not starved by small ones. One that is larger than the whole budget is let in alone, never refused.
 */
export class ByteBudget {
  readonly limit: number
  #used = 0
  readonly #waiting: Array<{ readonly bytes: number; readonly grant: () => void }> = []

  constructor(limit: number) {
    this.limit = limit
  }

  get used(): number {
    return this.#used
  }

  /** Takers that wait for room. */
  get waiting(): number {
    return this.#waiting.length
  }

  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.limit
  }

  /** True if the bytes are taken now; false if `acquire` must be awaited. Spares a promise on the common path. */
  tryAcquire(bytes: number): boolean {
    if (this.#waiting.length > 0 || !this.#fits(bytes)) return false
    this.#used += bytes
    return true
  }

  /** Resolves when the bytes are taken; throws the reason of an aborted signal and then takes nothing. */
  async acquire(bytes: number, o: Signal): Promise<void> {
    o.signal.throwIfAborted()
    if (this.tryAcquire(bytes)) return
    await new Promise<void>((resolve, reject) => {
      const waiter = {
        bytes,
        grant: () => {
          o.signal.removeEventListener('abort', aborted)
          resolve()
        },
      }
      const aborted = () => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1)
        reject(o.signal.reason)
        this.#admit()
      }
      this.#waiting.push(waiter)
      o.signal.addEventListener('abort', aborted, { once: true })
    })
  }

  release(bytes: number): void {
    this.#used -= bytes
    this.#admit()
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#used += next.bytes
      next.grant()
    }
  }
}

/**
 * A value that takes time to make, for whoever asks: made anew for each, until all of it takes more than a tenth of the main
 * thread. Then the last one is given again for a moment, since others have work to do there.
 */

const part = 0.1
/** What may be taken at once, after it was quiet. */
const mostMs = 500

export class Sparing<T> {
  readonly #make: () => T
  readonly #nowMs: () => number
  #last: { readonly value: T } | undefined
  #leftMs = mostMs
  #sinceMs: number

  constructor(make: () => T, nowMs: () => number = () => performance.now()) {
    this.#make = make
    this.#nowMs = nowMs
    this.#sinceMs = nowMs()
  }

  /** Throws what making it throws. */
  get(): T {
    const now = this.#nowMs()
    this.#leftMs = Math.min(mostMs, this.#leftMs + (now - this.#sinceMs) * part)
    this.#sinceMs = now
    if (this.#last && this.#leftMs <= 0) return this.#last.value
    const value = this.#make()
    this.#last = { value }
    this.#leftMs -= this.#nowMs() - now
    return value
  }
}

/** Objects of a page that are given out one after the other, and how old the oldest one is that still waits for its turn. */
export class InTurn<O extends { readonly timeMs: number }> {
  /** By index: the time of the oldest object from there on. */
  #oldest = new Float64Array(0)
  #next = 0

  /** Time of the oldest object that was not taken yet, ms since the epoch; undefined if none waits. */
  get oldestMs(): number | undefined {
    return this.#oldest[this.#next]
  }

  /** What is left when the caller leaves half-way does not wait any more. */
  *of(objects: readonly O[]): Generator<O, void, undefined> {
    const oldest = new Float64Array(objects.length)
    let oldestMs = Number.POSITIVE_INFINITY
    for (let i = objects.length - 1; i >= 0; i -= 1) {
      oldestMs = Math.min(oldestMs, objects[i]?.timeMs ?? oldestMs)
      oldest[i] = oldestMs
    }
    this.#oldest = oldest
    this.#next = 0
    try {
      for (const object of objects) {
        this.#next += 1
        yield object
      }
    } finally {
      this.#oldest = new Float64Array(0)
    }
  }
}

/** The older of two times, each of which may be unknown. */
export function older(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b
  return b === undefined ? a : Math.min(a, b)
}

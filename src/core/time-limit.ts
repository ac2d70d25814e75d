/**
 * A signal that follows another one and is aborted by itself after a time. Unlike `AbortSignal.any([signal, AbortSignal.timeout(ms)])`
 * it leaves nothing behind: that timer lives on after the work is done, and there are thousands of requests in its time.
 */
export class TimeLimit implements Disposable {
  readonly #controller = new AbortController()
  readonly #outer: AbortSignal
  readonly #follow = () => {
    // Work that does not heed the signal must not keep the process for the rest of the time.
    clearTimeout(this.#timer)
    this.#controller.abort(this.#outer.reason)
  }
  readonly #timer: NodeJS.Timeout | undefined
  /** True if the time was up before the work was done. */
  isOver = false

  /** `ms` 0: no limit. */
  constructor(outer: AbortSignal, ms: number) {
    this.#outer = outer
    if (outer.aborted) this.#follow()
    outer.addEventListener('abort', this.#follow)
    if (ms > 0 && !outer.aborted) {
      this.#timer = setTimeout(() => {
        this.isOver = true
        this.#controller.abort(new Error(`not done within ${ms / 1000} s`))
      }, ms)
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#outer.removeEventListener('abort', this.#follow)
  }
}

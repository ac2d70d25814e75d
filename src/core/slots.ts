import type { Signal } from './component.ts'

/** A counting semaphore: at most `free` holders, first come first served. */
export class Slots {
  #free: number
  readonly #waiting: Array<() => void> = []

  constructor(free: number) {
    this.#free = free
  }

  /** Resolves when a slot is held; throws the reason of an aborted signal and then holds nothing. */
  async acquire(o: Signal): Promise<void> {
    o.signal.throwIfAborted()
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const granted = () => {
        o.signal.removeEventListener('abort', aborted)
        resolve()
      }
      const aborted = () => {
        this.#waiting.splice(this.#waiting.indexOf(granted), 1)
        reject(o.signal.reason)
      }
      this.#waiting.push(granted)
      o.signal.addEventListener('abort', aborted, { once: true })
    })
  }

  release(): void {
    const next = this.#waiting.shift()
    if (next) next()
    else this.#free += 1
  }
}

import type { Signal } from '../core/component.ts'
import { Slots } from '../core/slots.ts'
import { untilAborted } from '../core/until-aborted.ts'

/** Counts the reads under way on one session, and lets one go alone: nothing else is read before it is answered. */
export class ReadGate {
  #inFlight = 0
  #wanted = 0
  readonly #turns = new Slots(1)
  #empty: (() => void) | undefined
  #opened: PromiseWithResolvers<void> | undefined

  /** False while something is to go alone: then no other read may be sent. */
  get isOpen(): boolean {
    return this.#wanted === 0
  }

  enter(): void {
    this.#inFlight += 1
  }

  leave(): void {
    this.#inFlight -= 1
    if (this.#inFlight === 0) this.#empty?.()
  }

  /** Runs `work` when all reads before it were answered. The reads under way end by themselves, so this does too. */
  async alone<T>(work: () => Promise<T>, o: Signal): Promise<T> {
    this.#wanted += 1
    try {
      await this.#turns.acquire(o)
      try {
        if (this.#inFlight > 0) {
          const empty = new Promise<void>((resolve) => {
            this.#empty = resolve
          })
          await untilAborted(empty, o.signal)
        }
        return await work()
      } finally {
        this.#empty = undefined
        this.#turns.release()
      }
    } finally {
      this.#wanted -= 1
      if (this.#wanted === 0) {
        this.#opened?.resolve()
        this.#opened = undefined
      }
    }
  }

  /** Resolves when other reads may be sent. */
  async opened(o: Signal): Promise<void> {
    if (this.isOpen) return
    this.#opened ??= Promise.withResolvers()
    await untilAborted(this.#opened.promise, o.signal)
  }
}

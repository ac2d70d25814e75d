/** So many bytes a second, and no more; whoever was first goes first. Half a second may be made up for. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Signal } from './component.ts'

const burstMs = 500

export class BytePace {
  #bytesPerSecond: number
  /** From now on nobody waits any more. */
  readonly #over: AbortSignal
  /** When all that was taken so far is paid for; of a clock that nobody sets. */
  #paidMs = Number.NEGATIVE_INFINITY

  constructor(bytesPerSecond: number, over: AbortSignal) {
    this.#bytesPerSecond = bytesPerSecond
    this.#over = over
  }

  /** From now on it is at least so much. */
  quicken(bytesPerSecond: number): void {
    this.#bytesPerSecond = Math.max(this.#bytesPerSecond, bytesPerSecond)
    this.#paidMs = Number.NEGATIVE_INFINITY
  }

  /** Resolves when so many bytes may pass. Throws the reason of an aborted signal. */
  async take(bytes: number, { signal }: Signal): Promise<void> {
    signal.throwIfAborted()
    if (this.#over.aborted) return
    const nowMs = performance.now()
    this.#paidMs = Math.max(this.#paidMs, nowMs - burstMs) + (bytes / this.#bytesPerSecond) * 1000
    const waitMs = Math.min(this.#paidMs - nowMs, 2 ** 31 - 1)
    if (waitMs <= 0) return
    await sleep(waitMs, undefined, { signal: AbortSignal.any([signal, this.#over]) }).catch(() => undefined)
    signal.throwIfAborted()
  }
}

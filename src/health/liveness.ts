/** Whether this process lives: its event loop turns, whatever the world outside does. */

export interface Liveness {
  readonly status: 'alive'
  readonly uptimeSeconds: number
  /** How late the last timer of each second was: what a busy main thread delays. */
  readonly eventLoopDelaySeconds: number
}

export class EventLoopWatch implements Disposable {
  readonly #timer: NodeJS.Timeout
  #delayMs = 0
  #dueMs: number

  constructor(everyMs = 1000) {
    this.#dueMs = performance.now() + everyMs
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.#delayMs = Math.max(0, now - this.#dueMs)
      this.#dueMs = now + everyMs
    }, everyMs).unref()
  }

  look(): Liveness {
    // The one that is due may be late already.
    const delayMs = Math.max(this.#delayMs, performance.now() - this.#dueMs)
    return {
      status: 'alive',
      uptimeSeconds: Math.round(process.uptime()),
      eventLoopDelaySeconds: Math.round(delayMs) / 1000,
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

/**
 * Log records or spans that wait for their export, in order.
 *
 *   add ─▶ [ … ] ─▶ send, at most `batchItems` at once ─┬─ taken, refused ─▶ gone
 *    └─full─▶ counted        ▲                          │
 *                            └────────── wait ── failed ┘
 *
 * 1. `add` never waits and never throws. What does not fit is dropped and counted: what came first tells how trouble began.
 * 2. One export at a time, so the queue is all the memory that a receiver which is slow or down can take.
 */
import type { Log, Signal } from '../core/component.ts'
import type { OtlpSender } from './otlp-sender.ts'
import type { OtlpSignal } from './otlp-target.ts'

export interface QueueLimits {
  readonly items: number
  readonly bytes: number
  readonly batchItems: number
  /** How long the first item waits for company. */
  readonly delayMs: number
  /** Wait after an export that failed. */
  readonly retryMs: number
}

/** Most that waits: some minutes of a log in which something happens. */
export const usualLimits: QueueLimits = {
  items: 2048,
  bytes: 4 * 2 ** 20,
  batchItems: 512,
  delayMs: 1000,
  retryMs: 5000,
}

export class OtlpQueue<T> {
  readonly #signal: OtlpSignal
  readonly #sender: OtlpSender<T>
  readonly #log: Log
  readonly #limits: QueueLimits
  readonly #items: T[] = []
  readonly #sizes: number[] = []
  readonly #stop = new AbortController()
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> | undefined
  #isFull = false
  #isEnded = false

  constructor(o: {
    readonly signal: OtlpSignal
    readonly sender: OtlpSender<T>
    readonly log: Log
    readonly limits?: QueueLimits
  }) {
    this.#signal = o.signal
    this.#sender = o.sender
    this.#log = o.log
    this.#limits = o.limits ?? usualLimits
  }

  /** Items that wait, those that are being sent included. */
  get length(): number {
    return this.#items.length
  }

  /** `bytes`: about what it takes in memory. */
  add(item: T, bytes: number): void {
    const { items, bytes: most } = this.#limits
    if (this.#isEnded || this.#items.length >= items || this.#bytes + bytes > most) {
      this.#sender.dropped(1)
      this.#tellFull()
      return
    }
    this.#items.push(item)
    this.#sizes.push(bytes)
    this.#bytes += bytes
    this.#schedule(this.#limits.delayMs)
  }

  /** Sends what waits. Ends when all of it was sent, an export failed, or the signal is aborted. Later items are dropped. */
  async end({ signal }: Signal): Promise<void> {
    this.#isEnded = true
    clearTimeout(this.#timer)
    const stop = () => this.#stop.abort(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    try {
      await this.#sending
      let sent = true
      while (sent && this.#items.length > 0 && !signal.aborted) sent = await this.#sendBatch()
    } finally {
      signal.removeEventListener('abort', stop)
    }
    if (this.#items.length === 0) return
    this.#sender.dropped(this.#items.length)
    this.#log.warn(
      { signal: this.#signal, dropped: this.#items.length },
      'ended before all of them were exported by OTLP',
    )
  }

  /** Ends without sending. */
  abandon(): void {
    this.#isEnded = true
    clearTimeout(this.#timer)
    this.#stop.abort(new Error('disposed'))
  }

  #schedule(waitMs: number): void {
    if (this.#isEnded || this.#sending) return
    const isDue = this.#items.length === this.#limits.batchItems && !this.#sender.isFailing
    if (this.#timer && !isDue) return
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#start(), isDue ? 0 : waitMs).unref()
  }

  #start(): void {
    this.#timer = undefined
    this.#sending = this.#sendBatch().then((sent) => {
      this.#sending = undefined
      if (this.#items.length === 0) this.#isFull = false
      else if (!sent) this.#schedule(this.#limits.retryMs)
      else this.#schedule(this.#items.length >= this.#limits.batchItems ? 0 : this.#limits.delayMs)
    })
  }

  /** False if it failed: what it was about still waits. */
  async #sendBatch(): Promise<boolean> {
    const batch = this.#items.slice(0, this.#limits.batchItems)
    // One that was down before gets a single attempt; the queue asks again.
    const once = this.#sender.isFailing
    if ((await this.#sender.send(batch, { signal: this.#stop.signal, once })) === 'failed') return false
    this.#items.splice(0, batch.length)
    for (const bytes of this.#sizes.splice(0, batch.length)) this.#bytes -= bytes
    return true
  }

  #tellFull(): void {
    if (this.#isFull || this.#isEnded) return
    this.#isFull = true
    this.#log.warn(
      { signal: this.#signal },
      'the OTLP receiver is too slow or down: what is new is not exported (see otlp_dropped_total)',
    )
  }
}

/**
 * Cuts Blocks into Batches. One open batch per content type; records of several objects share it. A batch leaves when
 * the next record does not fit, when it is full, or when its first record has waited `lingerMs`: without the timer the
 * last records of a quiet bucket would never leave, and whatever waits for them would wait for ever.
 */
import { type Block, recordStart } from './block.ts'
import type { Batch, BatchLimits } from './component.ts'
import type { Delivery, HeldPart } from './delivery.ts'

export interface HeldBatch extends Batch {
  readonly parts: readonly HeldPart[]
}

interface OpenBatch {
  parts: HeldPart[]
  count: number
  bytes: number
  timer: NodeJS.Timeout | undefined
}

export class Batcher {
  readonly #limits: BatchLimits
  readonly #dispatch: (batch: HeldBatch) => void
  readonly #open = new Map<string, OpenBatch>()

  /** `dispatch` gets each batch as soon as it is complete; it must not throw. */
  constructor(limits: BatchLimits, dispatch: (batch: HeldBatch) => void) {
    this.#limits = limits
    this.#dispatch = dispatch
  }

  /** Takes every record of the block. */
  add(delivery: Delivery, block: Block, contentType: string): void {
    let open = this.#open.get(contentType)
    if (!open) {
      open = { parts: [], count: 0, bytes: 0, timer: undefined }
      this.#open.set(contentType, open)
    }
    for (let from = 0; from < block.ends.length; ) {
      let to = this.#fit(open, block, from)
      if (to === from) {
        if (open.count > 0) {
          this.#send(contentType, open)
          continue
        }
        to = from + 1
      }
      const part = delivery.hold(block, from, to)
      open.parts.push(part)
      open.count += to - from
      open.bytes += part.bytes
      from = to
      if (open.count >= this.#limits.records || open.bytes >= this.#limits.bytes) this.#send(contentType, open)
    }
    if (open.count > 0 && !open.timer) {
      open.timer = setTimeout(() => this.#send(contentType, open), this.#limits.lingerMs)
    }
  }

  /** The end of the longest run of records from `from` on that still fits into the open batch. */
  #fit(open: OpenBatch, block: Block, from: number): number {
    const { ends } = block
    const limit = recordStart(block, from) + this.#limits.bytes - open.bytes
    let low = from
    let high = Math.min(ends.length, from + this.#limits.records - open.count)
    if (high > low && (ends[high - 1] as number) <= limit) return high
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((ends[middle] as number) <= limit) low = middle + 1
      else high = middle
    }
    return low
  }

  #send(contentType: string, open: OpenBatch): void {
    clearTimeout(open.timer)
    open.timer = undefined
    const { parts, count, bytes } = open
    if (count === 0) return
    open.parts = []
    open.count = 0
    open.bytes = 0
    this.#dispatch({ parts, contentType, count, bytes })
  }

  /** Sends what waits, complete or not. */
  flush(): void {
    for (const [contentType, open] of this.#open) this.#send(contentType, open)
  }

  /** Forgets what waits, for a stop that cannot wait; the ledger knows where to go on. */
  abandon(): void {
    for (const open of this.#open.values()) clearTimeout(open.timer)
    this.#open.clear()
  }
}

/** Reads parts of objects into the buffers of a copy, so many at once. */
import type { TransferMetrics } from '../telemetry/transfer-metrics.ts'
import type { ListedObject, ObjectPart, Source } from './component.ts'
import type { CopyAttempts } from './copy-attempts.ts'
import type { InFlight } from './flow.ts'
import type { PartPool } from './part-pool.ts'
import { Slots } from './slots.ts'

export class PartReader {
  readonly #source: Source
  readonly #pool: PartPool
  readonly #slots: Slots
  readonly #attempts: CopyAttempts
  readonly #metrics: TransferMetrics
  /** Parts in memory. */
  #held = 0

  constructor(o: {
    readonly source: Source
    readonly pool: PartPool
    readonly readConcurrency: number
    readonly attempts: CopyAttempts
    readonly metrics: TransferMetrics
  }) {
    this.#source = o.source
    this.#pool = o.pool
    this.#slots = new Slots(o.readConcurrency)
    this.#attempts = o.attempts
    this.#metrics = o.metrics
  }

  get inFlight(): InFlight {
    const { used: bytes, limit: budgetBytes } = this.#pool
    return { bytes, budgetBytes, batches: this.#held }
  }

  /**
   * A buffer that begins with the bytes of the part, to be given back. undefined if it was stopped before. Parts of one object
   * wait in one `line`, of which only the first waits beside other objects: so these have their turn.
   */
  async read(
    object: ListedObject,
    part: ObjectPart,
    line: Slots,
    soft: AbortSignal,
    signal: AbortSignal,
  ): Promise<Buffer | undefined> {
    // Before anything is taken that others could use.
    await this.#source.paced?.(object, part.bytes, { signal })
    const buffer = await this.#claim(part.bytes, line, soft, signal)
    if (!buffer) return undefined
    try {
      let isFilled: true | undefined
      try {
        const fill = async () => {
          await this.#source.fill(object, part.offset, buffer.subarray(0, part.bytes), { signal })
          return true as const
        }
        isFilled = await this.#attempts.read(object, soft, signal, fill, () => this.#source.confirm(object, { signal }))
      } finally {
        if (!isFilled) this.giveBack(buffer)
      }
      return isFilled && buffer
    } finally {
      this.#slots.release()
    }
  }

  /** A slot to read, and a buffer. undefined, and nothing, if it was stopped. */
  async #claim(bytes: number, line: Slots, soft: AbortSignal, signal: AbortSignal): Promise<Buffer | undefined> {
    await line.acquire({ signal })
    try {
      // The slot first: a sink that is slow keeps the buffers, and then nothing more is read.
      await this.#slots.acquire({ signal })
      let buffer: Buffer | undefined
      try {
        if (soft.aborted) return undefined
        buffer = await this.#pool.acquire(bytes, { signal })
        this.#held += 1
        this.#metrics.inFlight(this.#held)
        return buffer
      } finally {
        if (!buffer) this.#slots.release()
      }
    } finally {
      line.release()
    }
  }

  giveBack(buffer: Buffer): void {
    this.#pool.release(buffer)
    this.#held -= 1
    this.#metrics.inFlight(this.#held)
  }
}

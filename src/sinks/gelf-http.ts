/** GELF messages as POST requests: one for each message, several under way at once, or many in one with `bulk`. */
import type { Batch, Refused, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { EncodedMessages } from './gelf-encoder.ts'
import type { HttpSender } from './http-sender.ts'

const headers = { 'content-type': 'application/json' }

export class HttpPoster {
  readonly #sender: HttpSender
  /** Requests of one batch under way at once. */
  readonly #parallel: number
  /** How far a batch that is written again had come, so that only the rest is sent: 1 for each message that is settled. */
  readonly #progress = new WeakMap<
    Batch,
    { readonly settled: Uint8Array; readonly refused: Map<number, StreamError> }
  >()

  constructor(sender: HttpSender, parallel: number) {
    this.#sender = sender
    this.#parallel = parallel
  }

  /** All messages in one request, one a line; the receiver must have "Enable Bulk Receiving" on. Throws as `HttpSender.post`. */
  async postAll({ data }: EncodedMessages, o: Signal): Promise<void> {
    if (data.length > 0) await this.#sender.post(data, headers, o)
  }

  /** Each message by itself. Returns those that the receiver refused for good; throws if one could not be settled. */
  async postEach(batch: Batch, { data, ends }: EncodedMessages, o: Signal): Promise<Refused> {
    const progress = this.#progress.get(batch) ?? { settled: new Uint8Array(ends.length), refused: new Map() }
    this.#progress.set(batch, progress)
    const { settled, refused } = progress
    let next = 0
    let failure: unknown
    const work = async () => {
      while (next < ends.length && failure === undefined) {
        const n = next
        next += 1
        const start = n === 0 ? 0 : (ends[n - 1] as number)
        const end = ends[n] as number
        if (settled[n] === 1 || end === start) continue
        try {
          await this.#sender.post(data.subarray(start, end), headers, o)
          settled[n] = 1
        } catch (error) {
          if (error instanceof StreamError && (error.kind === 'permanent' || error.kind === 'too_large')) {
            refused.set(n, error)
            settled[n] = 1
          } else failure ??= error
        }
      }
    }
    await Promise.all(Array.from({ length: this.#parallel }, work))
    if (failure !== undefined) throw failure
    return refused
  }
}

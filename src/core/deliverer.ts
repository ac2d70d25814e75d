/**
 * Around every sink, once: limit what is in flight, retry what is transient, split what is too large, and put in
 * quarantine what is refused for good. A batch leaves here only when every record of it is settled, or at a hard stop.
 *
 *   batch ─▶ slot ─▶ write ─┬─ accepted ──────────────▶ release
 *                   ▲       ├─ some refused ──────────▶ keep those, release
 *                   └ wait ─┼─ transient, config
 *                           ├─ too_large ─▶ two halves ─▶ write; a single record is kept
 *                           └─ permanent ─────────────▶ keep all, release
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from './backoff.ts'
import type { HeldBatch } from './batcher.ts'
import { type Block, recordStart } from './block.ts'
import type { Batch, Bound, Log, Origin, Part, Refused, Sink } from './component.ts'
import type { HeldPart } from './delivery.ts'
import { explainError, StreamError } from './errors.ts'
import type { deliveryMetrics } from './pipeline-metrics.ts'
import { Slots } from './slots.ts'
import type { BatchSpan, Tracing } from './tracing.ts'

/** Records of one part that the sink refused, on their way to the quarantine. */
export interface RefusedRecords {
  readonly part: Part
  readonly from: number
  readonly to: number
  readonly contentType: string
  readonly reason: string
}

/** A part, or a piece of one, of a batch that may have been split. */
interface HeldView extends Part {
  readonly held: HeldPart
}
interface ViewBatch extends Batch {
  readonly parts: readonly HeldView[]
}

/** Whom to tell of batches, and the type of the sink, which they name. */
export interface Trace {
  readonly tracing: Tracing
  readonly sink: string
}

/** How many records of each held part were put in quarantine. */
type RefusedCounts = Map<HeldPart, number>

export class Deliverer {
  readonly #sink: Sink
  readonly #keep: (records: RefusedRecords) => void
  readonly #log: Log
  readonly #hard: AbortSignal
  readonly #slots: Slots
  readonly #retried: () => void
  readonly #broke: (error: unknown) => void
  readonly #rested: () => void
  readonly #metrics: Bound<typeof deliveryMetrics>
  readonly #trace: Trace | undefined
  #writing = 0
  #idle: Array<() => void> = []

  /**
   * `keep` puts records in quarantine and returns when they are safe; if it throws it is called again later.
   * `retried` is called for each write that is tried again, `broke` with an error that is a bug: the pipeline must stop.
   * `rested` is called when nothing waits or is being written any more.
   */
  constructor(o: {
    readonly sink: Sink
    readonly keep: (records: RefusedRecords) => void
    readonly log: Log
    readonly hard: AbortSignal
    readonly retried: () => void
    readonly broke: (error: unknown) => void
    readonly rested?: () => void
    readonly metrics: Bound<typeof deliveryMetrics>
    readonly trace?: Trace | undefined
  }) {
    this.#sink = o.sink
    this.#keep = o.keep
    this.#log = o.log
    this.#hard = o.hard
    this.#slots = new Slots(o.sink.maxInFlight)
    this.#retried = o.retried
    this.#broke = o.broke
    this.#metrics = o.metrics
    this.#trace = o.trace
    this.#rested = o.rested ?? (() => undefined)
  }

  /** Batches that wait for a slot or are being written. */
  get waiting(): number {
    return this.#writing
  }

  /** Takes a batch; settles its parts in time. Never throws. */
  deliver(batch: HeldBatch): void {
    this.#writing += 1
    this.#run(batch)
      .catch((error) => {
        if (!this.#hard.aborted) this.#broke(error)
      })
      .finally(() => {
        this.#writing -= 1
        if (this.#writing > 0) return
        for (const resolve of this.#idle.splice(0)) resolve()
        this.#rested()
      })
  }

  /** Resolves when nothing waits or is being written. */
  async idle(): Promise<void> {
    if (this.#writing > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
  }

  async #run(batch: HeldBatch): Promise<void> {
    await this.#slots.acquire({ signal: this.#hard })
    const span = this.#trace && this.#spanOf(batch, this.#trace)
    try {
      const refused: RefusedCounts = new Map()
      await this.#settle(batch, refused, span)
      span?.ended({ refused: [...refused.values()].reduce((sum, n) => sum + n, 0) })
      this.#metrics.sink_batches_total.add(1)
      for (const part of batch.parts) part.delivery.release(part, refused.get(part) ?? 0)
    } catch (error) {
      span?.ended({ refused: 0, error })
      throw error
    } finally {
      this.#slots.release()
    }
  }

  #spanOf(batch: HeldBatch, { tracing, sink }: Trace): BatchSpan | undefined {
    const { count: records, bytes, contentType, parts } = batch
    if (parts.every(({ delivery }) => delivery.span === undefined)) return undefined
    const objects = parts.map(({ delivery }) => delivery.span)
    return tracing.batch({ sink, records, bytes, contentType }, objects)
  }

  async #settle(batch: ViewBatch, counts: RefusedCounts, span: BatchSpan | undefined): Promise<void> {
    let refused: Refused | undefined
    try {
      refused = await this.#write(batch, span)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      if (error.kind === 'too_large' && batch.count > 1) {
        this.#log.debug({ records: batch.count, bytes: batch.bytes }, 'batch too large for the receiver: splitting it')
        for (const half of halves(batch)) await this.#settle(half, counts, span)
        return
      }
      if (error.kind !== 'too_large' && error.kind !== 'permanent') throw error
      let at = 0
      for (const part of batch.parts) {
        await this.#quarantine(batch, counts, part, part.from, part.to, error)
        at += part.to - part.from
      }
      this.#log.error(
        { records: at, reason: explainError(error) },
        'records refused by the receiver: kept in quarantine',
      )
      return
    }
    if (refused && refused.size > 0) await this.#keepRefused(batch, counts, refused)
  }

  /** One write, tried again until its outcome is final. */
  async #write(batch: Batch, span: BatchSpan | undefined): Promise<Refused | undefined> {
    for (let attempt = 1; ; attempt += 1) {
      const startMs = performance.now()
      try {
        const refused = await this.#sink.write(batch, { signal: this.#hard })
        this.#metrics.sink_write_duration_seconds.record((performance.now() - startMs) / 1000)
        return refused
      } catch (error) {
        this.#metrics.sink_write_duration_seconds.record((performance.now() - startMs) / 1000)
        this.#hard.throwIfAborted()
        if (!(error instanceof StreamError) || (error.kind !== 'transient' && error.kind !== 'config')) throw error
        this.#retried()
        span?.retried(error)
        const waitMs = Math.max(backoffMs(this.#sink.retry, attempt), Math.min(error.retryAfterMs ?? 0, 300_000))
        // The first failures are everyday life; after that someone should look.
        const facts = { attempt, waitMs: Math.round(waitMs), records: batch.count, error: explainError(error) }
        if (attempt >= 5) this.#log.warn(facts, 'batch not delivered yet, trying again')
        else this.#log.debug(facts, 'batch not delivered, trying again')
        await sleep(waitMs, undefined, { signal: this.#hard })
      }
    }
  }

  /** Refused records, in runs of neighbours with the same reason. */
  async #keepRefused(batch: ViewBatch, counts: RefusedCounts, refused: Refused): Promise<void> {
    let index = 0
    for (const part of batch.parts) {
      for (let i = part.from; i < part.to; ) {
        const error = refused.get(index)
        let to = i + 1
        index += 1
        if (error) {
          while (to < part.to && refused.get(index)?.message === error.message) {
            to += 1
            index += 1
          }
          await this.#quarantine(batch, counts, part, i, to, error)
        }
        i = to
      }
    }
    const first = refused.values().next().value
    this.#log.error(
      { records: refused.size, reason: explainError(first) },
      'records refused by the receiver: kept in quarantine',
    )
  }

  async #quarantine(
    batch: Batch,
    counts: RefusedCounts,
    part: HeldView,
    from: number,
    to: number,
    error: StreamError,
  ): Promise<void> {
    const { contentType } = batch
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#keep({ part, from, to, contentType, reason: explainError(error) })
        break
      } catch (failure) {
        // A full disk must not turn refused records into lost ones: hold them until they can be kept.
        const waitMs = backoffMs({ minMs: 1000, maxMs: 60_000 }, attempt)
        this.#log.error({ error: explainError(failure), waitMs }, 'cannot put records in quarantine, trying again')
        await sleep(waitMs, undefined, { signal: this.#hard })
      }
    }
    counts.set(part.held, (counts.get(part.held) ?? 0) + (to - from))
  }
}

/** Records `from <= i < to` of a held part; what a split batch is made of. */
class PartView implements HeldView {
  readonly held: HeldPart
  readonly block: Block
  readonly object: Origin
  readonly from: number
  readonly to: number

  constructor(held: HeldPart, from: number, to: number) {
    this.held = held
    this.block = held.block
    this.object = held.object
    this.from = from
    this.to = to
  }
}

function halves(batch: ViewBatch): [ViewBatch, ViewBatch] {
  const middle = batch.count >>> 1
  const sides: [HeldView[], HeldView[]] = [[], []]
  let at = 0
  for (const part of batch.parts) {
    const cut = part.from + Math.min(Math.max(middle - at, 0), part.to - part.from)
    if (cut > part.from) sides[0].push(new PartView(part.held, part.from, cut))
    if (cut < part.to) sides[1].push(new PartView(part.held, cut, part.to))
    at += part.to - part.from
  }
  const batchOf = (parts: HeldView[]): ViewBatch => ({
    parts,
    contentType: batch.contentType,
    count: parts.reduce((sum, part) => sum + part.to - part.from, 0),
    bytes: parts.reduce(
      (sum, part) => sum + (part.block.ends[part.to - 1] as number) - recordStart(part.block, part.from),
      0,
    ),
  })
  return [batchOf(sides[0]), batchOf(sides[1])]
}

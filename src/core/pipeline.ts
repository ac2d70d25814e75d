/**
 * One pipeline: objects of a source become records, records become batches, batches go to the sink, and the ledger
 * writes down an object only when every record of it is settled.
 *
 *   source.objects ─▶ worker: open ▶ decode ─Blocks─▶ shape ─▶ budget ─▶ batcher ─Batches─▶ deliverer ─▶ sink
 *                        │                                                             │
 *   source.finished ◀─ ledger.settle ◀───────────── delivery (counts, position) ◀── release
 *
 * 1. An object is settled in the ledger only after its reading ended and every record it gave was delivered, filtered,
 *    or put in quarantine. Quarantined records are kept before they count.
 * 2. A saved position is behind the first record that is not settled. Going on from it skips nothing.
 * 3. Each record is held once before it is sent and released once after; each object is sealed once. Counts, not closures.
 * 4. What cannot be read to its end is delivered as far as it goes; then it is failed (tried again) or quarantined.
 * 5. Memory is bounded by the byte budget plus one decoded chunk per worker. A worker waits for room, so a slow sink slows
 *    the source; nothing is dropped.
 * 6. `soft` stops intake: workers stop at their next block, what is under way is drained. `hard` aborts: what is not
 *    settled stays where the ledger has it, and is never written down as done.
 *
 * Not promised: order between objects, or between batches when the sink takes several at once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { decode } from '../decoders/decode.ts'
import type { DecodeLimits, Decoding } from '../decoders/decoding.ts'
import type { Shape } from '../filters/shape.ts'
import type { Formats } from '../formats/format.ts'
import type { Ledger, ObjectEntry } from '../ledger/ledger.ts'
import { Account, type ObjectReport, type Totals } from './account.ts'
import { backoffMs } from './backoff.ts'
import { Batcher } from './batcher.ts'
import { ByteBudget } from './byte-budget.ts'
import type { ListedObject, Log, Meter, Outcome, RetryWaits, Sink, Source } from './component.ts'
import { Deliverer, type Trace } from './deliverer.ts'
import { Delivery } from './delivery.ts'
import { explainError, StreamError } from './errors.ts'
import type { Flow, InFlight, UnderWay } from './flow.ts'
import { recordsOf } from './kept-records.ts'
import { deliveryMetrics } from './pipeline-metrics.ts'
import { keepBelow } from './reclaim.ts'
import { Resender } from './resender.ts'
import { shapedBlock } from './shaped-block.ts'
import { Slots } from './slots.ts'

export interface PipelineOptions {
  readonly source: Source
  readonly sink: Sink
  readonly ledger: Ledger
  readonly formats: Formats
  /** What records go through between decoder and sink; undefined: they go on as they are. */
  readonly shape?: Shape | undefined
  readonly limits: DecodeLimits
  readonly log: Log
  readonly meter: Meter
  readonly nowMs: () => number
  readonly saveIntervalMs: number
  /** Waits before reading goes on after an interruption. */
  readonly readWaits?: RetryWaits
  readonly trace?: Trace | undefined
  /** Called after each attempt at an object was written down. */
  readonly observe?: (report: ObjectReport) => void
}

/** Decoded bytes between decoder and answer: room for many requests under way, small beside the process itself. */
const budgetBytes = 16 * 2 ** 20
/** Where the sink encodes every record anew: so many of its batches, and a size of the process to keep to. */
const encodedBatches = 4
const encodingRssBytes = 240e6
/** Inflating at once. More gains nothing once the cores are busy and costs a chunk of memory each. */
const decodeSlots = 2
/** Objects read to their end may wait for the answers to their last batch; this many at most. */
const openObjects = 10_000
const usualReadWaits = { minMs: 200, maxMs: 15_000 }
/** Attempts to read on after transient errors, without progress, before the object is left for a later scan. */
const readAttempts = 10
const requeueIntervalMs = 2000
/** A run that is to end has nothing to read for so long, twice: what lingers goes on. */
const idleMs = 100

/** What the objects of a run go through. */
interface Path {
  readonly batcher: Batcher
  readonly makeRoom: () => void
  readonly soft: AbortSignal
  readonly hard: AbortSignal
}

type ReadResult = { readonly outcome: Outcome; readonly reason?: string }

export class Pipeline implements Flow {
  readonly #o: PipelineOptions
  readonly #account: Account
  readonly #budget: ByteBudget
  readonly #slots: Slots
  /** Deliveries to give up at a hard stop. */
  readonly #deliveries = new Set<Delivery>()
  /** Objects under way, and when they were begun. */
  readonly #underWay = new Map<Delivery, number>()
  #deliverer: Deliverer | undefined
  /** Objects being read right now. */
  #reading = 0
  #savedMs = 0

  constructor(o: PipelineOptions) {
    this.#o = o
    this.#account = new Account(o.log, o.meter)
    const { encodes, limits } = o.sink
    this.#budget = new ByteBudget(encodes ? Math.min(encodedBatches * limits.bytes, budgetBytes) : budgetBytes)
    this.#slots = new Slots(encodes || o.shape ? 1 : decodeSlots)
    if (encodes) keepBelow(encodingRssBytes)
  }

  get totals(): Totals {
    return this.#account.totals
  }

  get underWay(): UnderWay[] {
    return [...this.#underWay].map(([{ object, position, counts }, startedMs]) => ({
      ...{ object, startedMs, records: position.records, bytes: counts.bytes, totalBytes: undefined },
    }))
  }

  get inFlight(): InFlight {
    const { used: bytes, limit: budgetBytes } = this.#budget
    return { bytes, budgetBytes, batches: this.#deliverer?.waiting ?? 0 }
  }

  /**
   * Runs until the source ends or `soft` is aborted, and everything under way is settled, or until `hard` is aborted.
   * Throws when an invariant of ours is broken, or what the source throws when it cannot list at all.
   */
  async run(o: { readonly once: boolean; readonly soft: AbortSignal; readonly hard: AbortSignal }): Promise<Totals> {
    const { source, sink, ledger, log } = this.#o
    // A bug anywhere must stop the whole pipeline, not one object.
    const broken = new AbortController()
    const hard = AbortSignal.any([o.hard, broken.signal])
    const soft = AbortSignal.any([o.soft, hard])
    const deliverer = new Deliverer({
      ...{ sink, log, hard, metrics: this.#o.meter.bind(deliveryMetrics, {}), trace: this.#o.trace },
      keep: ({ part: { block, object }, from, to, contentType, reason }) =>
        ledger.reject({ ...recordsOf(block, from, to), object, contentType, reason }),
      retried: () => this.#account.retried(),
      broke: (error) => broken.abort(error),
      rested: () => this.#makeRoom(batcher, deliverer),
    })
    this.#deliverer = deliverer
    const batcher = new Batcher(sink.limits, (batch) => deliverer.deliver(batch))
    const workers = new Slots(source.workers)
    // A replay is slow on purpose: it keeps no live object from being read. How many there are its source sees to.
    const beside = new Slots(source.workers)
    const abandon = () => {
      for (const delivery of this.#deliveries) delivery.abandon()
    }
    hard.addEventListener('abort', abandon)
    const open = new Slots(openObjects)
    const running = new Set<Promise<void>>()
    const start = (task: Promise<void>) => {
      const guarded = task
        .catch((error) => {
          if (!hard.aborted) broken.abort(error)
        })
        .finally(() => running.delete(guarded))
      running.add(guarded)
    }
    const path: Path = { batcher, makeRoom: () => this.#makeRoom(batcher, deliverer), soft, hard }
    const resender = new Resender({
      ...{ ledger, log, batcher, soft, hard, start, formats: this.#o.formats, shape: this.#o.shape },
      room: (bytes) => this.#room(bytes, path),
      freed: (bytes) => this.#budget.release(bytes),
      settled: (delivery) => this.#settled(delivery, hard),
      recovered: (records) => this.#account.recovered(records),
    })
    const resend = () => start(resender.sweep())
    const saving = setInterval(() => this.#save(), this.#o.saveIntervalMs)
    const resending = setInterval(resend, requeueIntervalMs)
    // A source that waits for what it gave out must not wait for company that nobody sends.
    let wasIdle = false
    const lingering = setInterval(() => {
      const isIdle = o.once && this.#reading === 0
      if (isIdle && wasIdle) batcher.flush()
      wasIdle = isIdle
    }, idleMs)
    let sourceFailure: StreamError | undefined
    try {
      resend()
      try {
        for await (const object of source.objects({ soft, hard, once: o.once })) {
          await open.acquire({ signal: hard })
          const slots = source.replaying?.has(object.id) ? beside : workers
          await slots.acquire({ signal: hard })
          if (soft.aborted) break
          start(this.#process(object, path, slots).finally(() => open.release()))
        }
      } catch (error) {
        if (!(error instanceof StreamError) || error.kind === 'bug') throw error
        // No more objects, but those it gave are whole: their records are delivered first.
        sourceFailure = error
      }
      clearInterval(resending)
      while (running.size > 0 && !hard.aborted) {
        // When nothing is read any more, the last records have no company to wait for.
        if (this.#reading === 0) batcher.flush()
        await sleep(10)
      }
    } catch (error) {
      if (!hard.aborted) broken.abort(error)
    } finally {
      clearInterval(saving)
      clearInterval(resending)
      clearInterval(lingering)
      batcher.abandon()
      await Promise.allSettled([...running])
      await deliverer.idle()
      // Who listens to a signal made of others is kept as long as those are: this pipeline, after each reload another one.
      hard.removeEventListener('abort', abandon)
      this.#save()
    }
    if (broken.signal.aborted) throw broken.signal.reason
    if (sourceFailure && !o.hard.aborted) throw sourceFailure
    return this.totals
  }

  async #process(object: ListedObject, path: Path, workers: Slots): Promise<void> {
    const { ledger, source, nowMs } = this.#o
    const startMs = nowMs()
    const entry = ledger.begin(object)
    const delivery = this.#hold(object, entry)
    this.#underWay.set(delivery, startMs)
    let decoding: Decoding | undefined
    let result: ReadResult
    try {
      this.#reading += 1
      result = await this.#read(delivery, path, (opened) => {
        decoding ??= opened
      })
    } finally {
      this.#reading -= 1
      workers.release()
    }
    const isSettled = await this.#settled(delivery, path.hard)
    this.#underWay.delete(delivery)
    if (!isSettled) return delivery.span?.ended()
    const { position, counts } = delivery
    const { outcome, reason } = result
    const timeMs = this.#timeOf(object, decoding)
    // Before the source gives it back: whoever has it then goes on from here.
    if (outcome === 'stopped') ledger.suspend(object.id)
    else ledger.settle(object.id, outcome, { position, counts, timeMs, ...(reason === undefined ? {} : { reason }) })
    const endedMs = nowMs()
    const isReplay = source.replaying?.has(object.id) ?? false
    const facts = { object, outcome, reason, decoding, timeMs, counts, isReplay }
    const report = { ...facts, endedMs, durationMs: endedMs - startMs }
    this.#account.add(report, entry.counts)
    this.#o.observe?.(report)
    delivery.span?.ended({ outcome, reason, counts, format: decoding?.format.name })
    source.finished(object, outcome, counts)
    if (nowMs() - this.#savedMs > 1000) this.#save()
  }

  #hold(object: ListedObject, from: ObjectEntry): Delivery {
    let counted = from.counts
    return new Delivery(object, from, {
      moved: ({ position, counts }) => {
        this.#o.ledger.advance(object.id, position, counts)
        this.#account.moved(counts, counted)
        counted = counts
      },
      freed: (bytes) => this.#budget.release(bytes),
      span: this.#o.trace?.tracing.begin(object),
    })
  }

  #room(bytes: number, path: Path): Promise<void> {
    const room = this.#budget.acquire(bytes, { signal: path.hard })
    path.makeRoom()
    return room
  }

  /** Someone waits for room and nothing is being written: only what waits in the batcher can make it, and that may wait long. */
  #makeRoom(batcher: Batcher, deliverer: Deliverer): void {
    if (this.#budget.waiting > 0 && deliverer.waiting === 0) batcher.flush()
  }

  /** Seals the delivery and waits for it; false after a hard stop. */
  async #settled(delivery: Delivery, hard: AbortSignal): Promise<boolean> {
    this.#deliveries.add(delivery)
    if (hard.aborted) delivery.abandon()
    delivery.seal()
    await delivery.settled
    this.#deliveries.delete(delivery)
    return !hard.aborted
  }

  /** Reads the object from where the delivery stands; every record that could be read is held when this returns. */
  async #read(delivery: Delivery, path: Path, opened: (decoding: Decoding) => void): Promise<ReadResult> {
    const { source, ledger, formats, limits, log } = this.#o
    const { object } = delivery
    const { soft, hard, batcher } = path
    let { offset, offsetRecords } = delivery.position
    for (let attempt = 1; ; attempt += 1) {
      try {
        const decoding = await decode((from) => source.open(object, from, { signal: hard }), {
          key: object.key,
          formats,
          limits,
          resume: { records: delivery.nextRecord, offset, offsetRecords },
          slots: this.#slots,
          signal: hard,
        })
        opened(decoding)
        const { format, sample } = decoding
        const shape = this.#o.shape?.({ object, format, sample })
        const contentType = shape?.contentType ?? format.contentType
        for await (const block of decoding.blocks) {
          if (soft.aborted) return { outcome: 'stopped' }
          const kept = { object, contentType: format.contentType, sample, ledger, log }
          const shaped = shape ? shapedBlock(shape, block, kept) : block
          const bytes = shaped.data.length
          if (!this.#budget.tryAcquire(bytes)) await this.#room(bytes, path)
          if (shaped.ends.length > 0) batcher.add(delivery, shaped, contentType)
          else delivery.release(delivery.hold(shaped, 0, 0))
          if (block.resumeAt >= 0) {
            offset = block.resumeAt
            offsetRecords = block.first + block.ends.length
          }
          attempt = 1
        }
        return { outcome: 'done' }
      } catch (error) {
        hard.throwIfAborted()
        if (!(error instanceof StreamError)) {
          const stack = error instanceof Error ? error.stack : undefined
          log.error(
            { key: object.key, error: explainError(error), stack },
            'object failed for an unknown reason; kept for the next scan',
          )
          return { outcome: 'failed', reason: explainError(error) }
        }
        if (error.kind === 'bug') throw error
        if (error.kind !== 'transient') return this.#giveUp(delivery, error)
        if (attempt >= readAttempts) return { outcome: 'failed', reason: explainError(error) }
        if (soft.aborted) return { outcome: 'stopped' }
        const waitMs = Math.max(
          backoffMs(this.#o.readWaits ?? usualReadWaits, attempt),
          Math.min(error.retryAfterMs ?? 0, 60_000),
        )
        log.debug(
          { key: object.key, attempt, waitMs: Math.round(waitMs), error: explainError(error) },
          'reading interrupted, trying again',
        )
        await sleep(waitMs, undefined, { signal: soft }).catch(() => undefined)
        if (soft.aborted) return { outcome: 'stopped' }
      }
    }
  }

  #giveUp(delivery: Delivery, error: StreamError): ReadResult {
    const reason = explainError(error)
    if (error.kind === 'config') return { outcome: 'failed', reason }
    if (error.code === 'source.replaced') return { outcome: 'replaced', reason }
    if (error.code === 'source.vanished' && delivery.nextRecord === 0) return { outcome: 'vanished', reason }
    return { outcome: 'quarantined', reason }
  }

  #timeOf(object: ListedObject, decoding: Decoding | undefined): number {
    if (!decoding) return object.timeMs
    const { format, sample } = decoding
    return (
      this.#o.formats.timeFromKey(object.key) ??
      format.timeFromKey(object.key) ??
      format.timeFromContent(sample, object.lastModifiedMs) ??
      object.timeMs
    )
  }

  #save(): void {
    this.#savedMs = this.#o.nowMs()
    this.#o.ledger.save()
  }
}

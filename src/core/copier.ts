/**
 * One copy: objects of a source go byte for byte into an object sink, part by part, through a fixed number of buffers.
 *
 *   source.objects ─▶ confirm ▶ open ─▶ for each part: buffer ▶ source.fill ▶ upload.send ─▶ confirm ▶ complete
 *                                                                                               │
 *   source.finished ◀────────────────────────────────────────────────────────── ledger.settle ◀─┘
 *
 * 1. An object is visible only when it is whole: every part was read in full and stored, and the source says after the last
 *    byte that the object is the one it was before the first. What cannot get there is removed.
 * 2. An object is settled as done only after `complete`. The source removes it, if it is to, only after that.
 * 3. Memory is the pool of parts, whatever the size of the objects and however slow the sink.
 * 4. `soft` stops intake: no new parts, those under way end; the upload stays, and the next start goes on with it. `hard`
 *    aborts: the same, without waiting.
 */
import type { Ledger } from '../ledger/ledger.ts'
import { TransferMetrics } from '../telemetry/transfer-metrics.ts'
import { Account, type ObjectReport, type Totals } from './account.ts'
import type { ListedObject, Log, Meter, ObjectPart, ObjectSink, ObjectUpload, RetryWaits, Source } from './component.ts'
import { CopyAttempts, SinkFailure } from './copy-attempts.ts'
import type { CopyProgress } from './copy-progress.ts'
import { type CopyResult, type Ended, outcomeOf } from './copy-result.ts'
import { nothingCounted, startOfObject } from './delivery.ts'
import { explainError, StreamError } from './errors.ts'
import type { Flow, InFlight } from './flow.ts'
import { objectName, shownKey } from './object-name.ts'
import { PartPool } from './part-pool.ts'
import { PartReader } from './part-reader.ts'
import { reclaimEvery, reclaimStart } from './reclaim.ts'
import { Slots } from './slots.ts'
import type { Tracing } from './tracing.ts'

export interface CopierOptions {
  readonly source: Source
  readonly sink: ObjectSink
  readonly ledger: Ledger
  readonly log: Log
  readonly meter: Meter
  readonly nowMs: () => number
  readonly saveIntervalMs: number
  /** Waits before reading goes on after an interruption. */
  readonly readWaits?: RetryWaits
  readonly tracing?: Tracing | undefined
  /** Called after each attempt at an object was written down. */
  readonly observe?: (report: ObjectReport) => void
}

/** An upload that the server lost is begun anew so many times. */
const wholeAttempts = 3
/** What reading leaves behind, an encrypted and a plain copy of everything, may be so much. */
const garbageBytes = 4 * 2 ** 20
/** Longest wait for a sink to remove what was stored of an object that is given up. */
const abortMs = 30_000

export class Copier implements Flow {
  readonly #o: CopierOptions
  readonly metrics: TransferMetrics
  readonly #account: Account
  readonly #parts: PartReader
  readonly #sends: Slots
  readonly #attempts: CopyAttempts
  readonly #underWay = new Set<CopyProgress>()
  /** Aborted when the sink has failed for so long that a run which is to end has nothing to wait for. */
  readonly #isDown = new AbortController()
  #once = false
  #isLarge = false
  /** Objects in a row that failed because the sink could not be reached. */
  #failedInARow = 0

  constructor(o: CopierOptions) {
    this.#o = o
    const { partBytes, readConcurrency, uploadConcurrency } = o.sink
    this.#account = new Account(o.log, o.meter, 'objects')
    this.metrics = new TransferMetrics(o.meter)
    this.#attempts = new CopyAttempts({
      ...{ log: o.log, storeWaits: o.sink.retry, retried: (step) => this.metrics.retried(step) },
      ...(o.readWaits === undefined ? {} : { readWaits: o.readWaits }),
    })
    const pool = new PartPool(partBytes, Math.max(readConcurrency, uploadConcurrency))
    this.#parts = new PartReader({
      source: o.source,
      pool,
      readConcurrency,
      attempts: this.#attempts,
      metrics: this.metrics,
    })
    this.#sends = new Slots(uploadConcurrency)
  }

  get totals(): Totals {
    return this.#account.totals
  }

  get underWay(): Iterable<CopyProgress> {
    return this.#underWay
  }

  get inFlight(): InFlight {
    return this.#parts.inFlight
  }

  /** Throws when an invariant of ours is broken, or what the source throws when it cannot list at all. */
  async run(o: { readonly once: boolean; readonly soft: AbortSignal; readonly hard: AbortSignal }): Promise<Totals> {
    const { source, ledger, saveIntervalMs } = this.#o
    // A bug anywhere must stop the whole copy, not one object.
    const broken = new AbortController()
    const hard = AbortSignal.any([o.hard, broken.signal])
    const soft = AbortSignal.any([o.soft, hard, this.#isDown.signal])
    this.#once = o.once
    const workers = new Slots(source.workers)
    // A replay is slow on purpose: it keeps no live object from being copied. How many there are its source sees to.
    const beside = new Slots(source.workers)
    const running = new Set<Promise<void>>()
    const saving = setInterval(() => ledger.save(), saveIntervalMs)
    let sourceFailure: StreamError | undefined
    try {
      for await (const object of source.objects({ soft, hard, once: o.once })) {
        const slots = source.replaying?.has(object.id) ? beside : workers
        await slots.acquire({ signal: hard })
        if (soft.aborted) break
        const task = this.#process(object, soft, hard)
          .catch((error: unknown) => {
            if (!hard.aborted) broken.abort(error)
          })
          .finally(() => {
            slots.release()
            running.delete(task)
          })
        running.add(task)
      }
    } catch (error) {
      // No more objects, but those it gave are copied first.
      if (error instanceof StreamError && error.kind !== 'bug') sourceFailure = error
      else if (!hard.aborted) broken.abort(error)
    } finally {
      await Promise.allSettled([...running])
      // What is settled since the last save is written when the ledger is closed, or was not worth it.
      clearInterval(saving)
    }
    if (broken.signal.aborted) throw broken.signal.reason
    if (o.hard.aborted) return this.totals
    if (sourceFailure) throw sourceFailure
    if (this.#isDown.signal.aborted) throw this.#isDown.signal.reason
    return this.totals
  }

  async #process(object: ListedObject, soft: AbortSignal, hard: AbortSignal): Promise<void> {
    const { ledger, source, log, nowMs } = this.#o
    const startMs = nowMs()
    const { counts: before } = ledger.begin(object)
    const span = this.#o.tracing?.begin(object)
    const { outcome, reason, skipped, bytes = 0 } = await this.#copy(object, soft, hard)
    if (hard.aborted) span?.ended()
    hard.throwIfAborted()
    if (outcome === 'done') this.#failedInARow = 0
    const counts = { ...nothingCounted, bytes }
    const { timeMs } = object
    if (outcome === 'stopped') ledger.suspend(object.id)
    else ledger.settle(object.id, outcome, { position: startOfObject, counts, timeMs, ...(reason && { reason }) })
    const endedMs = nowMs()
    const isReplay = source.replaying?.has(object.id) ?? false
    const facts = { object, outcome, reason, decoding: undefined, timeMs, counts, isReplay }
    const report = { ...facts, endedMs, durationMs: endedMs - startMs, skipped: skipped ?? false }
    this.#account.moved(counts, before)
    this.#account.add(report, before)
    this.metrics.fileFinished(skipped ? 'skipped' : outcome)
    if (outcome === 'done') {
      const to = this.#o.sink.placeOf(object)
      if (skipped) log.info({ key: shownKey(object), to }, 'left alone: there is an object of that name')
      else log.info({ key: shownKey(object), to, bytes, ms: report.durationMs }, 'copied')
    }
    this.#o.observe?.(report)
    span?.ended({ outcome, reason, counts, format: undefined })
    source.finished(object, outcome, counts)
  }

  async #copy(object: ListedObject, soft: AbortSignal, hard: AbortSignal): Promise<CopyResult> {
    for (let attempt = 1; ; attempt += 1) {
      const result = await this.#attempt(object, soft, hard)
      if (result !== 'lost') return result
      if (attempt === wholeAttempts)
        return { outcome: 'failed', reason: 'the upload was lost at the server again and again' }
    }
  }

  /** `lost`: the sink has lost what it had stored, and the object must be sent anew. */
  async #attempt(object: ListedObject, soft: AbortSignal, hard: AbortSignal): Promise<CopyResult | 'lost'> {
    const { source, sink, nowMs } = this.#o
    let upload: ObjectUpload | undefined
    let progress: CopyProgress | undefined
    try {
      // One that is read in a single go shows after its last byte whether it is what was listed.
      const isSmall = object.size !== undefined && object.size <= sink.partBytes
      const size = isSmall
        ? object.size
        : await this.#attempts.read(object, soft, hard, () => source.confirm(object, { signal: hard }))
      if (size === undefined) return { outcome: 'stopped' }
      const opened = await this.#attempts.store('open', soft, hard, () => sink.open(object, size, { signal: hard }))
      if (opened === 'stopped') return { outcome: 'stopped' }
      if (!opened) return { outcome: 'done', skipped: true }
      upload = opened
      const { partCount, missing } = upload
      if (partCount > 1 && !this.#isLarge) this.#mindMemory()
      const rest = missing.reduce((sum, part) => sum + part.bytes, 0)
      const sentParts = partCount - missing.length
      const known = { object, totalBytes: size, partCount, records: undefined, startedMs: nowMs() }
      progress = { ...known, bytes: size - rest, sentParts }
      this.#underWay.add(progress)
      if (rest < size) this.metrics.resumed(size - rest)
      const ended =
        partCount === 1
          ? await this.#sendWhole(object, upload, progress, soft, hard)
          : (await this.#sendParts(object, upload, progress, soft, hard))
            ? await this.#complete(object, upload, progress, soft, hard)
            : 'stopped'
      if (ended === 'stopped') return { outcome: 'stopped' }
      return ended === 'stored' ? { outcome: 'done', bytes: size } : { outcome: 'done', skipped: true }
    } catch (error) {
      hard.throwIfAborted()
      if (error instanceof SinkFailure && error.isLost) {
        const facts = { key: shownKey(object), error: explainError(error.failure) }
        this.#o.log.warn(facts, 'the upload was lost at the server: sending it again')
        // What the server refused to make an object of may be there in part: nothing of it may be gone on with.
        if (upload) await this.#abort(object, upload, hard)
        return 'lost'
      }
      return await this.#giveUp(object, upload, error, hard)
    } finally {
      if (progress) this.#underWay.delete(progress)
    }
  }

  /** From the first object of several parts on: small ones leave little behind, and would only be slower. */
  #mindMemory(): void {
    this.#isLarge = true
    reclaimStart()
    reclaimEvery(garbageBytes)
  }

  /** Every part is stored. */
  async #complete(
    object: ListedObject,
    upload: ObjectUpload,
    progress: CopyProgress,
    soft: AbortSignal,
    hard: AbortSignal,
  ): Promise<Ended> {
    const o = { signal: hard }
    // What was read is worth nothing if the object changed meanwhile.
    const size = await this.#attempts.read(object, soft, hard, () => this.#o.source.confirm(object, o))
    if (size === undefined) return 'stopped'
    if (size !== progress.totalBytes) {
      const reason = `cannot copy ${objectName(object)}: ${progress.totalBytes} bytes were listed, and it has ${size}`
      throw new StreamError('source.short_body', reason)
    }
    return await this.#attempts.store('complete', soft, hard, () => upload.complete(o))
  }

  /** An object of a single part, which is held until it is complete. */
  async #sendWhole(
    object: ListedObject,
    upload: ObjectUpload,
    progress: CopyProgress,
    soft: AbortSignal,
    hard: AbortSignal,
  ): Promise<Ended> {
    const o = { signal: hard }
    const part = upload.missing[0]
    if (!part) return await this.#complete(object, upload, progress, soft, hard)
    const buffer = await this.#parts.read(object, part, new Slots(1), soft, hard)
    if (!buffer) return 'stopped'
    try {
      await this.#sends.acquire(o)
      try {
        const bytes = buffer.subarray(0, part.bytes)
        if ((await this.#attempts.store('send', soft, hard, () => upload.send(part, bytes, o))) === 'stopped')
          return 'stopped'
        const ended = await this.#complete(object, upload, progress, soft, hard)
        if (ended === 'stored') this.#sent(progress, part)
        return ended
      } finally {
        this.#sends.release()
      }
    } finally {
      this.#parts.giveBack(buffer)
    }
  }

  /** False if the copy was stopped before every part was stored. */
  async #sendParts(
    object: ListedObject,
    upload: ObjectUpload,
    progress: CopyProgress,
    soft: AbortSignal,
    hard: AbortSignal,
  ): Promise<boolean> {
    const { readConcurrency, uploadConcurrency } = this.#o.sink
    // One part that fails for good ends the others.
    const failed = new AbortController()
    const signal = AbortSignal.any([hard, failed.signal])
    const parts = upload.missing.values()
    const line = new Slots(1)
    let stored = 0
    const lane = async () => {
      for (const part of parts) {
        if (soft.aborted || signal.aborted || !(await this.#move(object, upload, part, line, soft, signal))) return
        this.#sent(progress, part)
        stored += 1
      }
    }
    const lanes = Math.min(upload.missing.length, readConcurrency + uploadConcurrency)
    const running = Array.from({ length: lanes }, () =>
      lane().catch((error: unknown) => {
        if (!signal.aborted) failed.abort(error)
      }),
    )
    await Promise.all(running)
    hard.throwIfAborted()
    if (failed.signal.aborted) throw failed.signal.reason
    return stored === upload.missing.length
  }

  #sent(progress: CopyProgress, part: ObjectPart): void {
    progress.bytes += part.bytes
    progress.sentParts += 1
    this.metrics.partSent(part.bytes)
  }

  /** Reads one part and stores it. False if it was stopped. */
  async #move(
    object: ListedObject,
    upload: ObjectUpload,
    part: ObjectPart,
    line: Slots,
    soft: AbortSignal,
    signal: AbortSignal,
  ): Promise<boolean> {
    const buffer = await this.#parts.read(object, part, line, soft, signal)
    if (!buffer) return false
    try {
      await this.#sends.acquire({ signal })
      try {
        const bytes = buffer.subarray(0, part.bytes)
        return (
          (await this.#attempts.store('send', soft, signal, () => upload.send(part, bytes, { signal }))) !== 'stopped'
        )
      } finally {
        this.#sends.release()
      }
    } finally {
      this.#parts.giveBack(buffer)
    }
  }

  /** What an error makes of the object. What was stored of it is removed, unless reading may go on later. */
  async #giveUp(
    object: ListedObject,
    upload: ObjectUpload | undefined,
    thrown: unknown,
    hard: AbortSignal,
  ): Promise<CopyResult> {
    const { log } = this.#o
    const error = thrown instanceof SinkFailure ? thrown.failure : thrown
    if (error instanceof StreamError && error.kind === 'bug') throw error
    const reason = explainError(error)
    const known = error instanceof StreamError ? error : undefined
    if (!known) {
      const stack = error instanceof Error ? error.stack : undefined
      log.error({ key: shownKey(object), error: reason, stack }, 'copying failed for an unknown reason')
    }
    if (thrown instanceof SinkFailure && thrown.failure.kind === 'transient') this.#sinkFailed(thrown.failure)
    const isInterrupted = known?.code === 'source.unavailable'
    if (upload && !isInterrupted) await this.#abort(object, upload, hard)
    return { outcome: outcomeOf(known), reason }
  }

  #sinkFailed(failure: StreamError): void {
    // One that refuses may refuse these keys only.
    if (failure.code === 'sink.access') return
    this.#failedInARow += 1
    if (this.#once && this.#failedInARow >= this.#o.source.workers) this.#isDown.abort(failure)
  }

  async #abort(object: ListedObject, upload: ObjectUpload, hard: AbortSignal): Promise<void> {
    try {
      await upload.abort({ signal: AbortSignal.any([hard, AbortSignal.timeout(abortMs)]) })
    } catch (error) {
      hard.throwIfAborted()
      const facts = { key: shownKey(object), error: explainError(error) }
      const text =
        'cannot remove what was stored of it; another attempt goes on with it, or an operator aborts the upload'
      this.#o.log.warn(facts, text)
    }
  }
}

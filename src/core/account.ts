/** What became of the objects of a run: totals, metrics, and the log line of each object. */
import type { Decoding } from '../decoders/decoding.ts'
import type { Bound, ListedObject, Log, Meter, Outcome } from './component.ts'
import { type Counts, nothingCounted } from './delivery.ts'
import { shownKey } from './object-name.ts'
import { objectMetrics, pipelineMetrics } from './pipeline-metrics.ts'

/** What one attempt at an object came to. */
export interface ObjectReport {
  readonly object: ListedObject
  readonly outcome: Outcome
  readonly reason: string | undefined
  /** undefined if the object could not be opened. */
  readonly decoding: Decoding | undefined
  /** Time of the object: by its name, else by its first records, else LastModified; ms since the epoch. */
  readonly timeMs: number
  readonly counts: Counts
  readonly durationMs: number
  /** When the last answer for its records came, ms since the epoch. */
  readonly endedMs: number
  /** It was read again because an operator asked: how late it is says nothing. */
  readonly isReplay: boolean
  /** Done without a copy: something of that name was at the destination and is to be left alone. */
  readonly skipped?: boolean
}

export interface Totals extends Counts {
  readonly objects: Readonly<Record<Outcome, number>>
  /** Records that had been in quarantine before and are delivered now; in none of the other counts. */
  readonly recovered: number
}

const outcomes: readonly Outcome[] = ['done', 'quarantined', 'vanished', 'replaced', 'failed', 'stopped']

export class Account {
  readonly #log: Log
  readonly #what: 'records' | 'objects'
  readonly #metrics: Bound<typeof pipelineMetrics>
  readonly #objects: Record<Outcome, number> = {
    done: 0,
    quarantined: 0,
    vanished: 0,
    replaced: 0,
    failed: 0,
    stopped: 0,
  }
  #counts: Counts = nothingCounted
  #recovered = 0
  readonly #byOutcome: Readonly<Record<Outcome, Bound<typeof objectMetrics>>>

  /** `what` goes to the sink: records of objects, or the objects themselves. */
  constructor(log: Log, meter: Meter, what: 'records' | 'objects' = 'records') {
    this.#log = log
    this.#what = what
    this.#metrics = meter.bind(pipelineMetrics, {})
    const bound = outcomes.map((outcome) => [outcome, meter.bind(objectMetrics, { outcome })])
    this.#byOutcome = Object.fromEntries(bound) as Record<Outcome, Bound<typeof objectMetrics>>
  }

  get totals(): Totals {
    return { ...this.#counts, objects: { ...this.#objects }, recovered: this.#recovered }
  }

  retried(): void {
    this.#metrics.sink_retries_total.add(1)
  }

  /** Records that were in quarantine and are delivered now. */
  recovered(records: number): void {
    this.#recovered += records
    this.#metrics.records_recovered_total.add(records)
  }

  /** More of an object is settled: `counts` of it by now, of which `counted` were counted by an earlier call, or an earlier run. */
  moved(counts: Counts, counted: Counts): void {
    const settled = difference(counts, counted)
    this.#counts = sum(this.#counts, settled)
    const metrics = this.#metrics
    metrics.records_read_total.add(settled.read)
    metrics.records_delivered_total.add(settled.delivered)
    metrics.records_filtered_total.add(settled.filtered)
    metrics.records_quarantined_total.add(settled.quarantined)
    metrics.s3_bytes_processed_total.add(settled.bytes)
  }

  /** One attempt ended, and all that it settled was counted; `before` is what earlier attempts had settled. */
  add(report: ObjectReport, before: Counts): void {
    const { outcome, decoding, durationMs } = report
    this.#objects[outcome] += 1
    this.#byOutcome[outcome].objects_total.add(1)
    const metrics = this.#metrics
    metrics.oversize_records_total.add(decoding?.tally.oversize ?? 0)
    if (decoding?.selectedBy === 'fallback') metrics.unparsed_keys_total.add(1)
    if (outcome === 'failed' || outcome === 'quarantined') metrics.s3_files_errored_total.add(1)
    if (outcome === 'done' || outcome === 'quarantined') {
      metrics.s3_files_processed_total.add(1)
      metrics.s3_processing_latency_seconds.record(durationMs / 1000)
      if (!report.isReplay) metrics.delivery_delay_seconds.record(Math.max(0, report.endedMs - report.timeMs) / 1000)
    }
    this.#write(report, difference(report.counts, before))
  }

  #write({ object, outcome, reason, decoding, durationMs }: ObjectReport, settled: Counts): void {
    const facts = {
      key: shownKey(object),
      ...(reason === undefined ? {} : { reason }),
      format: decoding?.format.name,
      records: settled.read,
      delivered: settled.delivered,
      ...(settled.filtered > 0 ? { filtered: settled.filtered } : {}),
      ...(settled.quarantined > 0 ? { quarantined: settled.quarantined } : {}),
      bytes: settled.bytes,
      ...(decoding && decoding.tally.oversize > 0 ? { oversize: decoding.tally.oversize } : {}),
      ms: durationMs,
    }
    if (outcome === 'quarantined')
      this.#log.error(
        facts,
        `object in quarantine; ${this.#what === 'objects' ? 'it was not copied' : 'what could be read of it was delivered'}`,
      )
    else if (outcome === 'failed') this.#log.error(facts, 'object failed; it is tried again later')
    else if (outcome === 'vanished' || outcome === 'replaced')
      this.#log.warn(facts, `object ${outcome} before it was ${this.#what === 'objects' ? 'copied' : 'read'}`)
    else this.#log.debug(facts, `object ${outcome}`)
  }
}

/** What is settled in `counts` and was not in `before`. What is read and not settled counts when it is read again. */
function difference(counts: Counts, before: Counts): Counts {
  const delivered = counts.delivered - before.delivered
  const filtered = counts.filtered - before.filtered
  const quarantined = counts.quarantined - before.quarantined
  return {
    read: delivered + filtered + quarantined,
    delivered,
    filtered,
    quarantined,
    bytes: counts.bytes - before.bytes,
  }
}

function sum(a: Counts, b: Counts): Counts {
  return {
    read: a.read + b.read,
    delivered: a.delivered + b.delivered,
    filtered: a.filtered + b.filtered,
    quarantined: a.quarantined + b.quarantined,
    bytes: a.bytes + b.bytes,
  }
}

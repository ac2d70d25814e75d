/** What became of the objects of a run: totals, metrics, and the log line of each object. */
import type { Decoding } from '../decoders/decoding.ts'
import type { Bound, ListedObject, Log, Meter, MetricSpec, Outcome } from './component.ts'
import { type Counts, nothingCounted } from './delivery.ts'
import { shownKey } from './object-name.ts'

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
  /** Done without a copy: something of that name was at the destination and is to be left alone. */
  readonly skipped?: boolean
}

export interface Totals extends Counts {
  readonly objects: Readonly<Record<Outcome, number>>
}

export const pipelineMetrics = {
  s3_files_processed_total: { kind: 'counter', unit: '{file}', help: 'Objects of which every record is settled.' },
  s3_bytes_processed_total: { kind: 'counter', unit: 'By', help: 'Uncompressed bytes of settled objects.' },
  s3_files_errored_total: {
    kind: 'counter',
    unit: '{error}',
    help: 'Attempts at objects that failed or ended in quarantine.',
  },
  s3_processing_latency_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'From opening an object to the last answer for it.',
  },
  records_read_total: { kind: 'counter', unit: '{record}', help: 'Records decoded.' },
  records_delivered_total: { kind: 'counter', unit: '{record}', help: 'Records the sink accepted.' },
  records_filtered_total: { kind: 'counter', unit: '{record}', help: 'Records that match, exclude or filter dropped.' },
  records_quarantined_total: { kind: 'counter', unit: '{record}', help: 'Records kept in quarantine.' },
  sink_retries_total: { kind: 'counter', unit: '{retry}', help: 'Batches written again after a transient error.' },
  oversize_records_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records longer than line_limit: split, cut or kept out by line_policy.',
  },
  unparsed_keys_total: {
    kind: 'counter',
    unit: '{object}',
    help: 'Objects whose key no format knows; they stream all the same.',
  },
  in_flight_bytes: { kind: 'gauge', unit: 'By', help: 'Decoded bytes on their way to the sink.' },
} as const satisfies Record<string, MetricSpec>

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

  /** `what` goes to the sink: records of objects, or the objects themselves. */
  constructor(log: Log, meter: Meter, what: 'records' | 'objects' = 'records') {
    this.#log = log
    this.#what = what
    this.#metrics = meter.bind(pipelineMetrics, {})
  }

  get totals(): Totals {
    return { ...this.#counts, objects: { ...this.#objects } }
  }

  retried(): void {
    this.#metrics.sink_retries_total.add(1)
  }

  inFlight(bytes: number): void {
    this.#metrics.in_flight_bytes.set(bytes)
  }

  /** Records that were in quarantine and are delivered now. */
  recovered(records: number): void {
    this.#counts = { ...this.#counts, delivered: this.#counts.delivered + records }
    this.#metrics.records_delivered_total.add(records)
  }

  /** One attempt ended; `before` is what earlier attempts had settled already. */
  add(report: ObjectReport, before: Counts): void {
    const { outcome, decoding, counts, durationMs } = report
    const settled: Counts = {
      read: counts.read - before.delivered - before.filtered - before.quarantined,
      delivered: counts.delivered - before.delivered,
      filtered: counts.filtered - before.filtered,
      quarantined: counts.quarantined - before.quarantined,
      bytes: counts.bytes - before.bytes,
    }
    const sum = this.#counts
    this.#counts = {
      read: sum.read + settled.read,
      delivered: sum.delivered + settled.delivered,
      filtered: sum.filtered + settled.filtered,
      quarantined: sum.quarantined + settled.quarantined,
      bytes: sum.bytes + settled.bytes,
    }
    this.#objects[outcome] += 1
    const metrics = this.#metrics
    metrics.records_read_total.add(settled.read)
    metrics.records_delivered_total.add(settled.delivered)
    metrics.records_filtered_total.add(settled.filtered)
    metrics.records_quarantined_total.add(settled.quarantined)
    metrics.oversize_records_total.add(decoding?.tally.oversize ?? 0)
    if (decoding?.selectedBy === 'fallback') metrics.unparsed_keys_total.add(1)
    if (outcome === 'failed' || outcome === 'quarantined') metrics.s3_files_errored_total.add(1)
    if (outcome === 'done' || outcome === 'quarantined') {
      metrics.s3_files_processed_total.add(1)
      metrics.s3_bytes_processed_total.add(settled.bytes)
      metrics.s3_processing_latency_seconds.record(durationMs / 1000)
    }
    this.#write(report, settled)
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
    else if (outcome === 'failed')
      this.#log.error(
        facts,
        `object failed; ${this.#what === 'objects' ? 'it is tried again later' : 'the next scan tries it again'}`,
      )
    else if (outcome === 'vanished' || outcome === 'replaced')
      this.#log.warn(facts, `object ${outcome} before it was ${this.#what === 'objects' ? 'copied' : 'read'}`)
    else this.#log.debug(facts, `object ${outcome}`)
  }
}

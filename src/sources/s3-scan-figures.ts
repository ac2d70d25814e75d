/** What scans came to: for the log and for the metrics. */
import type { Bound, Meter, MetricSpec, Outcome } from '../core/component.ts'
import type { Counts } from '../core/delivery.ts'

export const scanMetrics = {
  scan_duration_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'Time of a scan that went through everything. Listing waits while the objects it found wait for workers.',
  },
  scan_listed_keys_total: { kind: 'counter', unit: '{key}', help: 'Keys listed by scans, known ones too.' },
  scan_given_objects_total: { kind: 'counter', unit: '{object}', help: 'Objects given out to be read.' },
  scan_waiting_objects: {
    kind: 'gauge',
    unit: '{object}',
    help: 'Objects that the last scan left for a later one: they are younger than delay_window.',
  },
  scan_last_success_timestamp_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'When a scan last went through everything, in Unix seconds; 0 before the first.',
  },
  scan_failures_total: { kind: 'counter', unit: '{scan}', help: 'Scans that ended early because listing failed.' },
} as const satisfies Record<string, MetricSpec>

/** Keys of one scan, by what became of them. */
export interface ScanTally {
  listed: number
  given: number
  known: number
  old: number
  waiting: number
}

export class ScanFigures {
  readonly #metrics: Bound<typeof scanMetrics>
  /** Since the last scan. */
  #finished = { objects: 0, failed: 0, quarantined: 0, records: 0, bytes: 0 }
  /** Objects given out so far. */
  found = 0

  constructor(meter: Meter) {
    this.#metrics = meter.bind(scanMetrics, {})
  }

  begin(): ScanTally {
    return { listed: 0, given: 0, known: 0, old: 0, waiting: 0 }
  }

  list(tally: ScanTally, keys: number): void {
    tally.listed += keys
    this.#metrics.scan_listed_keys_total.add(keys)
  }

  give(): void {
    this.found += 1
    this.#metrics.scan_given_objects_total.add(1)
  }

  finished(outcome: Outcome, counts: Counts): void {
    this.#finished.objects += 1
    this.#finished.records += counts.delivered
    this.#finished.bytes += counts.bytes
    if (outcome === 'failed') this.#finished.failed += 1
    if (outcome === 'quarantined') this.#finished.quarantined += 1
  }

  failed(): void {
    this.#metrics.scan_failures_total.add(1)
  }

  /** The scan went through everything. Gives what was finished since the last one. */
  completed(
    tally: ScanTally,
    o: { readonly startMs: number; readonly nowMs: number },
  ): Readonly<Record<string, number>> {
    this.#metrics.scan_waiting_objects.set(tally.waiting)
    this.#metrics.scan_duration_seconds.record(Math.max(0, o.nowMs - o.startMs) / 1000)
    this.#metrics.scan_last_success_timestamp_seconds.set(o.nowMs / 1000)
    const finished = this.#finished
    this.#finished = { objects: 0, failed: 0, quarantined: 0, records: 0, bytes: 0 }
    return finished
  }
}

/** What of a running pipeline is asked for, not counted: brought up to date before metrics are shown. */
import type { Ledger } from '../ledger/ledger.ts'
import type { Bound, Dependency, Meter, ObjectSink, Sink, Source } from './component.ts'
import type { Flow } from './flow.ts'
import { endpointMetrics, gaugeMetrics, lagMetrics, ledgerMetrics } from './pipeline-metrics.ts'

export interface GaugedParts {
  readonly source: Source
  readonly sink: Sink | ObjectSink
  readonly ledger: Ledger
  readonly flow: Flow
  readonly meter: Meter
  readonly nowMs: () => number
}

export class FlowGauges {
  readonly #o: GaugedParts
  readonly #gauges: Bound<typeof gaugeMetrics>
  readonly #lag: Bound<typeof lagMetrics>
  readonly #ledger: Bound<typeof ledgerMetrics>
  /** By component and name; a cluster may tell of more of them while it is used. */
  readonly #endpoints = new Map<string, Bound<typeof endpointMetrics>>()
  #saveFailures = 0

  constructor(o: GaugedParts) {
    this.#o = o
    this.#gauges = o.meter.bind(gaugeMetrics, {})
    // The label that dashboards of the S3-to-Edge-Delta streamer know.
    this.#lag = o.meter.bind(lagMetrics, { component: 'scanner' })
    this.#ledger = o.meter.bind(ledgerMetrics, {})
  }

  /** Age of the oldest object that was found and is not delivered, in seconds; 0 if there is none. Replays are left out. */
  get lagSeconds(): number {
    const { source, ledger, nowMs } = this.#o
    const unfinishedMs = ledger.oldestUnfinishedMs(source.replaying) ?? Number.POSITIVE_INFINITY
    const oldestMs = Math.min(unfinishedMs, source.oldestWaitingMs ?? Number.POSITIVE_INFINITY)
    return oldestMs === Number.POSITIVE_INFINITY ? 0 : Math.max(0, (nowMs() - oldestMs) / 1000)
  }

  sample(): void {
    const { source, sink, ledger, flow } = this.#o
    source.sample?.()
    sink.sample?.()
    const { bytes, budgetBytes, batches } = flow.inFlight
    const { health } = ledger
    const gauges = this.#gauges
    gauges.in_flight_bytes.set(bytes)
    gauges.in_flight_budget_bytes.set(budgetBytes)
    gauges.sink_batches_in_flight.set(batches)
    gauges.objects_in_flight.set([...flow.underWay].length)
    gauges.ledger_size_bytes.set(health.bytes)
    gauges.ledger_last_save_timestamp_seconds.set((health.savedMs ?? 0) / 1000)
    gauges.ledger_failed_objects.set(health.failed)
    gauges.quarantine_entries.set(health.quarantine)
    this.#ledger.ledger_save_failures_total.add(health.failures - this.#saveFailures)
    this.#saveFailures = health.failures
    this.#lag.processing_lag_seconds.set(this.lagSeconds)
    const gone = new Set(this.#endpoints.keys())
    for (const dependency of source.dependencies) gone.delete(this.#sampleEndpoint('source', dependency))
    for (const dependency of sink.dependencies) gone.delete(this.#sampleEndpoint('sink', dependency))
    // One that is no part of the cluster any more is no trouble.
    for (const id of gone) this.#endpoints.get(id)?.endpoint_up.set(1)
  }

  #sampleEndpoint(component: string, { name, state }: Dependency): string {
    const id = `${component} ${name}`
    const metrics = this.#endpoints.get(id) ?? this.#o.meter.bind(endpointMetrics, { component, endpoint: name })
    this.#endpoints.set(id, metrics)
    metrics.endpoint_up.set(state === 'up' || state === 'unused' ? 1 : 0)
    return id
  }

  /** The pipeline has ended, and its ledger is open: what it left stays shown, what was under way is not any more. */
  end(): void {
    try {
      this.sample()
    } finally {
      for (const gauge of [
        this.#gauges.in_flight_bytes,
        this.#gauges.objects_in_flight,
        this.#gauges.sink_batches_in_flight,
        this.#lag.processing_lag_seconds,
      ])
        gauge.set(0)
    }
  }
}

/** What this process is, what it takes of the machine, and how much of it is measured. */
import { readFileSync } from 'node:fs'
import { type ELDHistogram, type EventLoopUtilization, monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { Bound, MetricSpec } from '../core/component.ts'
import type { MemoryMeter } from './meter.ts'
import { version } from './version.ts'

/**
 * Names as in https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics where it has one. Of those the
 * types and the help are the ones of Go programs: the Pushgateway shows its own beside them, and logs each difference.
 */
export const processMetrics = {
  process_resident_memory_bytes: { kind: 'gauge', unit: 'By', help: 'Resident memory size in bytes.' },
  process_resident_memory_max_bytes: {
    kind: 'gauge',
    unit: 'By',
    help: 'Most resident memory since the start of the process.',
  },
  process_cpu_seconds_total: { kind: 'counter', unit: 's', help: 'Total user and system CPU time spent in seconds.' },
  process_start_time_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'Start time of the process since unix epoch in seconds.',
  },
  nodejs_eventloop_utilization_ratio: {
    kind: 'gauge',
    unit: '1',
    help: 'Part of the time in which the main thread was busy, since the last look.',
  },
  nodejs_eventloop_delay_p99_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'Delay of timers by a busy main thread, 99th percentile since the last look.',
  },
  nodejs_eventloop_delay_max_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'Delay of timers by a busy main thread, the longest since the last look.',
  },
} as const satisfies Record<string, MetricSpec>

export const infoMetrics = {
  s3_streamer_info: { kind: 'gauge', unit: '1', help: 'Always 1; the version is a label.', labels: ['version'] },
} as const satisfies Record<string, MetricSpec>

export const meterMetrics = {
  metrics_series: {
    kind: 'gauge',
    unit: '{series}',
    help: 'Series that are shown; a histogram counts as its lines. There are never more than 10,000.',
  },
  metrics_series_dropped_total: {
    kind: 'counter',
    unit: '{series}',
    help: 'Series that are not shown because there were 10,000 already.',
  },
} as const satisfies Record<string, MetricSpec>

/** Only where the system tells. */
export const processWriteMetrics = {
  process_write_bytes_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Bytes that this process caused to be written to disks, by the system.',
  },
} as const satisfies Record<string, MetricSpec>

export interface ProcessFacts {
  readonly rssBytes: number
  /** undefined if the system does not tell. */
  readonly writeBytes: number | undefined
}

/** How often the delay of the event loop is looked at, in ms. */
const resolutionMs = 20

export class ProcessMetrics implements Disposable {
  readonly #meter: MemoryMeter
  readonly #metrics: Bound<typeof processMetrics>
  readonly #measured: Bound<typeof meterMetrics>
  #written: Bound<typeof processWriteMetrics> | undefined
  readonly #io: () => string
  readonly #delay: ELDHistogram
  #utilization: EventLoopUtilization
  #cpuSeconds = 0
  #writeBytes = 0
  #dropped = 0

  /** `io` gives the text of /proc/self/io, or throws. */
  constructor(meter: MemoryMeter, io: () => string = () => readFileSync('/proc/self/io', 'latin1')) {
    this.#meter = meter
    this.#metrics = meter.bind(processMetrics, {})
    this.#measured = meter.bind(meterMetrics, {})
    meter.bind(infoMetrics, { version }).s3_streamer_info.set(1)
    this.#io = io
    this.#delay = monitorEventLoopDelay({ resolution: resolutionMs })
    this.#utilization = performance.eventLoopUtilization()
  }

  /** Brings the metrics up to date; called before they are shown. */
  sample(): ProcessFacts {
    const rssBytes = process.memoryUsage.rss()
    const { user, system } = process.cpuUsage()
    const cpuSeconds = (user + system) / 1e6
    const metrics = this.#metrics
    metrics.process_resident_memory_bytes.set(rssBytes)
    // maxRSS is in KiB.
    metrics.process_resident_memory_max_bytes.set(Math.max(rssBytes, process.resourceUsage().maxRSS * 1024))
    metrics.process_cpu_seconds_total.add(cpuSeconds - this.#cpuSeconds)
    this.#cpuSeconds = cpuSeconds
    metrics.process_start_time_seconds.set(performance.timeOrigin / 1000)
    this.#sampleEventLoop()
    const writeBytes = this.#sampleWrites()
    this.#measured.metrics_series.set(this.#meter.size)
    this.#measured.metrics_series_dropped_total.add(this.#meter.dropped - this.#dropped)
    this.#dropped = this.#meter.dropped
    return { rssBytes, writeBytes }
  }

  #sampleEventLoop(): void {
    const now = performance.eventLoopUtilization()
    this.#metrics.nodejs_eventloop_utilization_ratio.set(
      performance.eventLoopUtilization(now, this.#utilization).utilization,
    )
    this.#utilization = now
    const { count } = this.#delay
    // Without a look at it the histogram gives its own limits, which are no delays.
    const seconds = (ns: number) => (count === 0 ? 0 : Math.max(0, ns / 1e9 - resolutionMs / 1000))
    this.#metrics.nodejs_eventloop_delay_p99_seconds.set(seconds(this.#delay.percentile(99)))
    this.#metrics.nodejs_eventloop_delay_max_seconds.set(seconds(this.#delay.max))
    this.#delay.reset()
    // From the first look on: it wakes the process fifty times a second, for nothing if nobody looks.
    this.#delay.enable()
  }

  #sampleWrites(): number | undefined {
    const writeBytes = writeBytesOf(this.#io)
    if (writeBytes === undefined) return undefined
    // Bound here and not before: where the system does not tell there is no series, not one of 0.
    this.#written ??= this.#meter.bind(processWriteMetrics, {})
    this.#written.process_write_bytes_total.add(writeBytes - this.#writeBytes)
    this.#writeBytes = writeBytes
    return writeBytes
  }

  [Symbol.dispose](): void {
    this.#delay.disable()
  }
}

/** `write_bytes` of proc_pid_io(5). undefined where there is no such file, or no right to read it. */
function writeBytesOf(io: () => string): number | undefined {
  try {
    const digits = /^write_bytes: (\d+)$/m.exec(io())?.[1]
    return digits === undefined ? undefined : Number(digits)
  } catch {
    return undefined
  }
}

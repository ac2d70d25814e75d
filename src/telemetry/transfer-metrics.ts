/** What a copy counts, under names of our own and under those that dashboards of the SFTP-to-S3 streamer ask for. */
import type { Bound, Meter, MetricSpec, Outcome } from '../core/component.ts'
import type { ProcessFacts } from './process-metrics.ts'

/** What became of a file; `skipped`: it was at the destination already and was to be left alone. */
export type FileOutcome = Outcome | 'skipped'
const outcomes: readonly FileOutcome[] = ['done', 'skipped', 'quarantined', 'vanished', 'replaced', 'failed', 'stopped']

/** What of a copy is tried again: reading a part, or one of the calls to the destination. */
export type CopyStep = 'read' | 'open' | 'send' | 'complete'
const steps: readonly CopyStep[] = ['read', 'open', 'send', 'complete']

export const transferMetrics = {
  transfer_bytes_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Bytes of parts that the destination has confirmed; each part once, however often it was tried.',
  },
  transfer_parts_total: { kind: 'counter', unit: '{part}', help: 'Parts that the destination has confirmed.' },
  transfer_resumed_bytes_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Bytes that an earlier run had stored at the destination and that were not sent again.',
  },
  transfer_parts_in_flight: {
    kind: 'gauge',
    unit: '{part}',
    help: 'Parts in memory: being read, waiting or being sent.',
  },
  transfer_throughput_bytes_per_second: {
    kind: 'gauge',
    unit: 'By/s',
    help: 'Confirmed bytes per second, mean since the start of the run.',
  },
  transfer_duration_seconds: { kind: 'gauge', unit: 's', help: 'Time since the start of the run, until its end.' },
} as const satisfies Record<string, MetricSpec>

export const transferFileMetrics = {
  transfer_files_total: {
    kind: 'counter',
    unit: '{file}',
    help: 'Files by what became of them.',
    labels: ['outcome'],
  },
} as const satisfies Record<string, MetricSpec>

export const transferRetryMetrics = {
  transfer_retries_total: {
    kind: 'counter',
    unit: '{retry}',
    help: 'Steps of a copy that were tried again.',
    labels: ['type'],
  },
} as const satisfies Record<string, MetricSpec>

/** As the seed has them; its `mb` is 1,048,576 bytes. */
export const seedTransferMetrics = {
  sftp_s3_memory_usage_mb: { kind: 'gauge', unit: 'MiBy', help: 'Resident memory in MiB.' },
  sftp_s3_bytes_transferred_total: { kind: 'counter', unit: 'By', help: 'The same as transfer_bytes_total.' },
  sftp_s3_chunks_processed_total: { kind: 'counter', unit: '{chunk}', help: 'The same as transfer_parts_total.' },
  sftp_s3_throughput_mbps: {
    kind: 'gauge',
    unit: 'MiBy/s',
    help: 'MiB per second, mean since the start of the run.',
  },
} as const satisfies Record<string, MetricSpec>

export const seedWriteMetrics = {
  sftp_s3_process_write_bytes_mb: {
    kind: 'gauge',
    unit: 'MiBy',
    help: 'MiB that this process caused to be written to disks.',
  },
} as const satisfies Record<string, MetricSpec>

const mib = 2 ** 20

/** One for a run. What is called per part or file is an addition; `sample` brings up to date what depends on the time. */
export class TransferMetrics {
  readonly #meter: Meter
  readonly #metrics: Bound<typeof transferMetrics>
  readonly #seed: Bound<typeof seedTransferMetrics>
  readonly #files: Readonly<Record<FileOutcome, Bound<typeof transferFileMetrics>>>
  readonly #retries: Readonly<Record<CopyStep, Bound<typeof transferRetryMetrics>>>
  readonly #clockMs: () => number
  readonly #startMs: number
  #bytes = 0
  #endMs: number | undefined

  /** The run begins now. `clockMs` must not go back, as the time of day may. */
  constructor(meter: Meter, clockMs: () => number = () => performance.now()) {
    this.#meter = meter
    this.#metrics = meter.bind(transferMetrics, {})
    this.#seed = meter.bind(seedTransferMetrics, {})
    const files = outcomes.map((outcome) => [outcome, meter.bind(transferFileMetrics, { outcome })])
    this.#files = Object.fromEntries(files) as Record<FileOutcome, Bound<typeof transferFileMetrics>>
    const retries = steps.map((type) => [type, meter.bind(transferRetryMetrics, { type })])
    this.#retries = Object.fromEntries(retries) as Record<CopyStep, Bound<typeof transferRetryMetrics>>
    this.#clockMs = clockMs
    this.#startMs = clockMs()
  }

  /** The destination has confirmed a part of so many bytes; not called again for the same part. */
  partSent(bytes: number): void {
    this.#bytes += bytes
    this.#metrics.transfer_bytes_total.add(bytes)
    this.#metrics.transfer_parts_total.add(1)
    this.#seed.sftp_s3_bytes_transferred_total.add(bytes)
    this.#seed.sftp_s3_chunks_processed_total.add(1)
  }

  /** An upload goes on after so many bytes, or parts of them, that an earlier run had sent. */
  resumed(bytes: number): void {
    this.#metrics.transfer_resumed_bytes_total.add(bytes)
  }

  fileFinished(outcome: FileOutcome): void {
    this.#files[outcome].transfer_files_total.add(1)
  }

  /** How many parts are in memory now. */
  inFlight(parts: number): void {
    this.#metrics.transfer_parts_in_flight.set(parts)
  }

  retried(step: CopyStep): void {
    this.#retries[step].transfer_retries_total.add(1)
  }

  /** Called before the metrics are shown. */
  sample({ rssBytes, writeBytes }: ProcessFacts): void {
    const seconds = ((this.#endMs ?? this.#clockMs()) - this.#startMs) / 1000
    const perSecond = seconds > 0 ? this.#bytes / seconds : 0
    this.#metrics.transfer_duration_seconds.set(seconds)
    this.#metrics.transfer_throughput_bytes_per_second.set(perSecond)
    this.#seed.sftp_s3_throughput_mbps.set(perSecond / mib)
    this.#seed.sftp_s3_memory_usage_mb.set(rssBytes / mib)
    // A value that the system does not tell has no series, not one of 0.
    if (writeBytes !== undefined)
      this.#meter.bind(seedWriteMetrics, {}).sftp_s3_process_write_bytes_mb.set(writeBytes / mib)
  }

  /** The run is over: its duration and throughput stay as they are now. */
  end(): void {
    this.#endMs ??= this.#clockMs()
  }
}

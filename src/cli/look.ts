/** The running streamer as the console and `status` see it. */
import { hostname } from 'node:os'
import { describeConfig } from '../config/render.ts'
import type { Looking } from '../console/operations.ts'
import type {
  DependencySnapshot,
  ObjectSnapshot,
  PipelineSnapshot,
  QuarantineDetail,
  QuarantineSnapshot,
  RunSnapshot,
  SeriesSnapshot,
  Snapshot,
} from '../console/snapshot.ts'
import type { Dependency, Outcome } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { ObjectState, QuarantineEntry } from '../ledger/ledger.ts'
import type { Series } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { version } from '../telemetry/version.ts'
import { placeOf } from './place.ts'
import { figuresOf, RecentFigures } from './recent-figures.ts'
import type { RunningPipeline } from './running-pipeline.ts'
import type { Streamer } from './streamer.ts'

/** Objects under way that are shown of all pipelines, and of each at least. */
const shownUnderWay = 100
const shownOfEach = 10
const shownReplays = 5
/** A preview of quarantined records. */
const previewBytes = 16_384

export class Look implements Looking {
  readonly #streamer: Streamer
  readonly #recent = new RecentFigures()
  readonly #host = hostname()
  #cpu = { seconds: 0, atMs: 0, cores: 0 }

  constructor(streamer: Streamer) {
    this.#streamer = streamer
  }

  /** To be called about once a second. */
  tick(): void {
    const snapshot = this.metrics()
    this.#recent.sample(snapshot, Date.now())
    const nowMs = performance.now()
    const seconds = processFigure(snapshot, 'process_cpu_seconds_total')
    const { atMs } = this.#cpu
    if (seconds === this.#cpu.seconds) return
    this.#cpu = {
      seconds,
      atMs: nowMs,
      cores: atMs === 0 ? 0 : ((seconds - this.#cpu.seconds) * 1000) / (nowMs - atMs),
    }
  }

  metrics(): readonly Series[] {
    this.#streamer.sample()
    return this.#streamer.meter.snapshot()
  }

  snapshot(): Snapshot {
    const { startedMs, state, flags, loadedMs, lastReload, pipelines } = this.#streamer
    const metrics = this.metrics()
    const figures = figuresOf(metrics)
    const outcomes = Map.groupBy(
      metrics.filter(({ name }) => name === 'objects_total'),
      ({ labels }) => labels.pipeline,
    )
    return {
      ...{ atMs: Date.now(), version, host: this.#host, pid: process.pid, startedMs, state },
      config: { file: flags.config, loadedMs, reload: lastReload },
      process: {
        rssBytes: processFigure(metrics, 'process_resident_memory_bytes'),
        cpu: this.#cpu.cores,
        eventLoop: processFigure(metrics, 'nodejs_eventloop_utilization_ratio'),
      },
      pipelines: pipelines.map((pipeline) =>
        this.#pipeline(pipeline, outcomes.get(pipeline.config.name), figures.get(pipeline.config.name)),
      ),
    }
  }

  #pipeline(
    { config, parts, flow, state, error, startedMs, isOpen }: RunningPipeline,
    outcomes: readonly Series[] = [],
    figures: ReadonlyMap<string, number> = new Map(),
  ): PipelineSnapshot {
    const { name } = config
    const { source, sink, ledger, sends } = parts
    const value = (metric: string) => figures.get(metric) ?? 0
    const objects = Object.fromEntries(outcomes.map(({ labels, value }) => [labels.outcome, value]))
    const underWay = [...flow.underWay]
    const shown = Math.max(shownOfEach, Math.floor(shownUnderWay / this.#streamer.pipelines.length))
    const settled = Object.values(flow.totals.objects).reduce((sum, n) => sum + n, 0)
    const { bytes, savedMs, error: saveError, failed, quarantine } = isOpen ? ledger.health : closedLedger
    return {
      ...{ name, source: placeOf(config.source), sink: placeOf(config.sink), sends, state, error, startedMs },
      counts: {
        read: value('records_read_total'),
        delivered: value('records_delivered_total'),
        filtered: value('records_filtered_total'),
        quarantined: value('records_quarantined_total'),
        bytes: value('s3_bytes_processed_total'),
      },
      objects: objects as Record<Outcome, number>,
      retries: value('sink_retries_total') + value('transfer_retries_total'),
      rates: this.#recent.rates(name),
      lagSeconds: value('processing_lag_seconds'),
      inFlight: flow.inFlight,
      waiting: Math.max(0, source.progress.found - settled),
      complete: source.progress.complete,
      dependencies: [
        ...source.dependencies.map((one) => dependencyOf('source', one)),
        ...sink.dependencies.map((one) => dependencyOf('sink', one)),
      ],
      ledger: { bytes, savedMs, error: saveError, failed, quarantine },
      underWay: underWay.slice(0, shown).map(({ object, startedMs, records, bytes, totalBytes }) => ({
        ...{ id: object.id, key: object.key, startedMs, timeMs: object.timeMs, size: object.size },
        ...{ records, bytes, totalBytes, isReplay: source.replaying?.has(object.id) ?? false },
      })),
      underWayCount: underWay.length,
      replays: isOpen ? [...ledger.replays.list({ limit: shownReplays })] : [],
    }
  }

  series(): SeriesSnapshot {
    return this.#recent.series()
  }

  config(): string {
    return describeConfig(this.#streamer.loaded)
  }

  runs({ pipeline, limit }: { readonly pipeline?: string | undefined; readonly limit: number }): RunSnapshot[] {
    return newest(
      this.#of(pipeline),
      ({ config, parts }) => parts.ledger.runs.list({ limit }).map((run) => ({ ...run, pipeline: config.name })),
      { limit, atMs: ({ startedMs }) => startedMs },
    )
  }

  objects(o: {
    readonly pipeline?: string | undefined
    readonly state?: string | undefined
    readonly limit: number
  }): ObjectSnapshot[] {
    const states = o.state === undefined ? undefined : [o.state as ObjectState]
    return newest(
      this.#of(o.pipeline),
      ({ config, parts }) =>
        parts.ledger
          .objects({ limit: o.limit, ...(states && { states }) })
          .map(({ id, lastModifiedMs, position, counts, ...rest }) => ({ ...rest, ...counts, pipeline: config.name })),
      { limit: o.limit, atMs: ({ updatedMs }) => updatedMs },
    )
  }

  quarantine(o: { readonly pipeline?: string | undefined; readonly limit: number }): QuarantineSnapshot[] {
    return newest(
      this.#of(o.pipeline),
      ({ config, parts }) =>
        parts.ledger.quarantine({ limit: o.limit }).map((entry) => quarantineOf(config.name, entry)),
      { limit: o.limit, atMs: ({ createdMs }) => createdMs },
    )
  }

  quarantined(pipeline: string, id: number): QuarantineDetail {
    const { ledger } = this.find(pipeline).parts
    const entry = ledger.quarantined(id)
    if (!entry)
      throw new StreamError(
        'run.unknown',
        `there is no entry ${id} in the quarantine of ${pipeline}: it may be gone by now`,
      )
    const kept = ledger.rejectedRecords(id)?.data
    return {
      ...quarantineOf(pipeline, entry),
      preview: kept?.toString('utf8', 0, previewBytes).split('\n').map(printable).join('\n'),
      isCut: kept !== undefined && kept.length > previewBytes,
    }
  }

  /** Throws run.unknown. */
  find(name: string): RunningPipeline {
    const found = this.#alive().find(({ config }) => config.name === name)
    if (found) return found
    const names = this.#alive().map(({ config }) => config.name)
    const there = names.length > 0 ? `there is: ${names.join(', ')}` : 'none runs now'
    throw new StreamError('run.unknown', `there is no running pipeline "${name}"; ${there}`)
  }

  #of(pipeline: string | undefined): RunningPipeline[] {
    return pipeline === undefined ? this.#alive() : [this.find(pipeline)]
  }

  /** Those whose ledger is open. */
  #alive(): RunningPipeline[] {
    return this.#streamer.pipelines.filter(({ isOpen }) => isOpen)
  }
}

const closedLedger = { bytes: 0, savedMs: undefined, error: undefined, failed: 0, quarantine: 0 }

/** Of all pipelines together; never more in memory than of two of them. */
function newest<T>(
  pipelines: readonly RunningPipeline[],
  list: (pipeline: RunningPipeline) => readonly T[],
  o: { readonly limit: number; readonly atMs: (one: T) => number },
): T[] {
  let found: T[] = []
  for (const pipeline of pipelines)
    found = [...found, ...list(pipeline)].sort((a, b) => o.atMs(b) - o.atMs(a)).slice(0, o.limit)
  return found
}

function processFigure(metrics: readonly Series[], name: string): number {
  return metrics.find((series) => series.name === name)?.value ?? 0
}

function dependencyOf(of: 'source' | 'sink', { name, state, sinceMs, error }: Dependency): DependencySnapshot {
  return { of, name, state, sinceMs, error }
}

function quarantineOf(pipeline: string, { object, position, ...entry }: QuarantineEntry): QuarantineSnapshot {
  return { ...entry, pipeline, bucket: object.bucket, key: object.key }
}

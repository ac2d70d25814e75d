/** A streamer that runs only in words, for tests of what shows it and acts on it. */
import type { Operations, ReplayPlan, ReplayRequest } from '../../src/console/operations.ts'
import type {
  ObjectSnapshot,
  PipelineSnapshot,
  QuarantineDetail,
  QuarantineSnapshot,
  ReloadOutcome,
  RunSnapshot,
  SeriesSnapshot,
  Snapshot,
} from '../../src/console/snapshot.ts'
import type { Signal } from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'

export const startedMs = Date.UTC(2026, 10, 21, 9)

export function pipelineSnapshot(name: string, more: Partial<PipelineSnapshot> = {}): PipelineSnapshot {
  return {
    name,
    source: 's3://logs/web/',
    sink: 'http://localhost:8080/',
    sends: 'records',
    state: 'running',
    error: undefined,
    startedMs,
    counts: { read: 10, delivered: 7, filtered: 2, quarantined: 1, bytes: 1000 },
    objects: { done: 1, quarantined: 0, vanished: 0, replaced: 0, failed: 0, stopped: 0 },
    retries: 0,
    rates: { recordsPerSecond: 1, bytesPerSecond: 100, objectsPerSecond: 0.1 },
    lagSeconds: 0,
    inFlight: { bytes: 0, budgetBytes: 1e6, batches: 0 },
    waiting: 0,
    complete: true,
    dependencies: [],
    ledger: { bytes: 4096, savedMs: startedMs, error: undefined, failed: 0, quarantine: 1 },
    underWay: [],
    underWayCount: 0,
    replays: [],
    ...more,
  }
}

export function quarantineSnapshot(pipeline: string, id: number): QuarantineSnapshot {
  const what = { pipeline, id, kind: 'records', bucket: 'logs', key: 'web/a.gz' } as const
  return { ...what, reason: 'refused', firstRecord: 3, records: 1, createdMs: startedMs, requeued: false }
}

/** Its pipelines are `web` and `dns`; `web` has entries 1 to 3 in quarantine. */
export class FakeOperations implements Operations {
  state: Snapshot['state'] = 'running'
  pipelines: PipelineSnapshot[] = [pipelineSnapshot('web'), pipelineSnapshot('dns')]
  readonly meter = new MemoryMeter()
  /** What was asked for, in order. */
  readonly acts: unknown[][] = []
  snapshots = 0
  onPlan: (o: Signal) => Promise<ReplayPlan> = async () => ({ objects: 2, bytes: 100, seconds: undefined })
  onSnapshot: () => void = () => undefined

  snapshot(): Snapshot {
    this.snapshots += 1
    this.onSnapshot()
    return {
      atMs: startedMs + this.snapshots,
      version: '1.0.0',
      host: 'test',
      pid: 1,
      startedMs,
      state: this.state,
      config: { file: 'config.yaml', loadedMs: startedMs, reload: undefined },
      process: { rssBytes: 1e8, cpu: 0.1, eventLoop: 0.01 },
      pipelines: this.pipelines,
    }
  }

  series(): SeriesSnapshot {
    return { stepMs: 10_000, untilMs: startedMs, pipelines: [] }
  }

  metrics() {
    return this.meter.snapshot()
  }

  config(): string {
    return 'console:\n  token: "[redacted]"\n'
  }

  runs(o: { readonly pipeline?: string | undefined; readonly limit: number }): RunSnapshot[] {
    this.#known(o.pipeline ?? 'web')
    return []
  }

  objects(o: { readonly pipeline?: string | undefined; readonly limit: number }): ObjectSnapshot[] {
    this.#known(o.pipeline ?? 'web')
    return []
  }

  quarantine(o: { readonly pipeline?: string | undefined; readonly limit: number }): QuarantineSnapshot[] {
    this.#known(o.pipeline ?? 'web')
    return [3, 2, 1].slice(0, o.limit).map((id) => quarantineSnapshot('web', id))
  }

  quarantined(pipeline: string, id: number): QuarantineDetail {
    this.#known(pipeline)
    if (id > 3) throw new StreamError('run.unknown', `cannot show entry ${id} of ${pipeline}: there is none`)
    return { ...quarantineSnapshot(pipeline, id), preview: '<b>record</b>', isCut: false }
  }

  requeue(pipeline: string, ids: readonly number[] | 'all'): number {
    this.#known(pipeline)
    this.acts.push(['requeue', pipeline, ids])
    return ids === 'all' ? 3 : ids.length
  }

  drop(pipeline: string, ids: readonly number[]): number {
    this.#known(pipeline)
    this.acts.push(['drop', pipeline, ids])
    return ids.length
  }

  async planReplay(request: ReplayRequest, o: Signal): Promise<ReplayPlan> {
    this.#known(request.pipeline)
    return await this.onPlan(o)
  }

  startReplay(
    request: ReplayRequest & { readonly planned: { readonly objects: number; readonly bytes: number } },
  ): number {
    this.#known(request.pipeline)
    this.acts.push(['replay', request])
    return 5
  }

  cancelReplay(pipeline: string, id: number): void {
    this.#known(pipeline)
    this.acts.push(['cancel', pipeline, id])
  }

  async reload(): Promise<ReloadOutcome> {
    this.acts.push(['reload'])
    const names = { started: [], stopped: [], restarted: [], kept: ['web'] }
    return { atMs: startedMs, ok: false, problems: ['config.yaml:3:1 http: unknown key'], ...names }
  }

  #known(pipeline: string): void {
    if (this.pipelines.some(({ name }) => name === pipeline)) return
    throw new StreamError('run.unknown', `cannot look at pipeline "${pipeline}": there is none of that name`)
  }
}

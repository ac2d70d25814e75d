/** Operations of a streamer that is made up, but whose figures agree: for tests of the page, and to look at it. */

import type { Operations } from '../../src/console/operations.ts'
import type { ReloadOutcome, ReplaySnapshot, Snapshot } from '../../src/console/snapshot.ts'
import { StreamError } from '../../src/core/errors.ts'
import {
  configText,
  curve,
  hourMs,
  objectsOf,
  pipelinesOf,
  quarantineOf,
  refusal,
  replayOf,
  runsOf,
  type Scene,
  started,
} from './console-fake-data.ts'

export interface FakeOperations extends Operations {
  /** What was asked for, as one line each. */
  readonly asked: readonly string[]
  /** What the next snapshots say instead. */
  change(change: Partial<Snapshot>): void
}

export function fakeOperations(scene: Scene, nowMs: () => number = Date.now): FakeOperations {
  const begunMs = nowMs()
  const asked: string[] = []
  const entries = scene === 'trouble' || scene === 'many' ? quarantineOf(scene, begunMs) : []
  const replays: ReplaySnapshot[] = scene === 'busy' ? [replayOf(begunMs)] : []
  let reload: ReloadOutcome | undefined = scene === 'trouble' ? refusal(begunMs) : undefined
  let changed: Partial<Snapshot> = {}
  const seconds = () => Math.floor((nowMs() - begunMs) / 1000)
  const pipelines = () =>
    pipelinesOf(scene, begunMs, seconds()).map((pipeline, i) => {
      const own = entries.filter((entry) => entry.pipeline === pipeline.name && !entry.requeued)
      return {
        ...pipeline,
        ledger: { ...pipeline.ledger, quarantine: own.length },
        replays: i === 0 ? replays : [],
      }
    })
  const known = (name: string) => {
    if (!pipelines().some((pipeline) => pipeline.name === name))
      throw new StreamError(
        'run.unknown',
        `cannot find the pipeline ${JSON.stringify(name)}: there is none of this name`,
      )
  }
  const change = (pipeline: string, ids: readonly number[] | 'all', keep: boolean) => {
    known(pipeline)
    const found = entries.filter((entry) => entry.pipeline === pipeline && (ids === 'all' || ids.includes(entry.id)))
    for (const entry of found) {
      const index = entries.indexOf(entry)
      if (keep) entries[index] = { ...entry, requeued: true }
      else entries.splice(index, 1)
    }
    return found.length
  }
  const matching = <T extends { readonly pipeline: string }>(
    all: readonly T[],
    pipeline: string | undefined,
    limit: number,
  ) => all.filter((one) => pipeline === undefined || one.pipeline === pipeline).slice(0, limit)
  return {
    asked,
    change(change) {
      changed = change
    },
    snapshot: () => ({
      atMs: nowMs(),
      version: '0.1.0',
      host: 'ingest-eu-3',
      pid: 4711,
      startedMs: begunMs - 76 * hourMs,
      state: 'running',
      config: { file: '/etc/s3-streamer/config.yaml', loadedMs: begunMs - 76 * hourMs, reload },
      process: { rssBytes: 214_000_000, cpu: 0.41, eventLoop: 0.08 },
      pipelines: pipelines(),
      ...changed,
    }),
    series: () => ({
      stepMs: 10_000,
      untilMs: nowMs(),
      pipelines: pipelines().map(({ name, rates, lagSeconds }, i) => ({
        pipeline: name,
        recordsPerSecond: curve(rates.recordsPerSecond, i),
        bytesPerSecond: curve(rates.bytesPerSecond, i),
        lagSeconds: curve(lagSeconds, i + 3),
      })),
    }),
    metrics: () => [],
    config: () => configText,
    runs: ({ pipeline, limit }) =>
      matching(
        pipelines().flatMap(({ name }) => runsOf(name, begunMs)),
        pipeline,
        limit,
      ),
    objects: ({ pipeline, state, limit }) =>
      matching(
        pipelines()
          .flatMap(({ name }) => objectsOf(name, begunMs))
          .filter((object) => state === undefined || object.state === state),
        pipeline,
        limit,
      ),
    quarantine: ({ pipeline, limit }) => matching(entries, pipeline, limit),
    quarantined(pipeline, id) {
      const entry = entries.find((one) => one.pipeline === pipeline && one.id === id)
      if (!entry) throw new StreamError('run.unknown', `cannot find entry ${id} of ${pipeline}: there is none`)
      const preview =
        entry.kind === 'object' ? undefined : '{"user":"<b>someone</b>","action":"GET"}\n{"user":\u0007"bell"}\n'
      return { ...entry, preview, isCut: entry.kind === 'records' }
    },
    requeue(pipeline, ids) {
      asked.push(`requeue ${pipeline} ${ids}`)
      return change(pipeline, ids, true)
    },
    drop(pipeline, ids) {
      asked.push(`drop ${pipeline} ${ids}`)
      return change(pipeline, ids, false)
    },
    async planReplay({ pipeline, prefix }) {
      known(pipeline)
      asked.push(`plan ${pipeline} ${prefix}`)
      return { objects: 1204, bytes: 9_400_000_000, seconds: 940 }
    },
    startReplay(request) {
      asked.push(`replay ${request.pipeline} ${request.prefix}`)
      replays.push(started(request, replays.length + 1, nowMs()))
      return replays.length
    },
    cancelReplay(pipeline, id) {
      asked.push(`cancel ${pipeline} ${id}`)
      const index = replays.findIndex((replay) => replay.id === id)
      const replay = replays[index]
      if (replay) replays[index] = { ...replay, state: 'cancelled' }
    },
    async reload() {
      asked.push('reload')
      reload = {
        atMs: nowMs(),
        ok: true,
        problems: [],
        started: ['audit'],
        stopped: [],
        restarted: [],
        kept: ['web-logs'],
      }
      return reload
    },
  }
}

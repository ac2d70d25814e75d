/** The last hour of every pipeline: asked for once, then carried on with what comes every second. */
import { useEffect, useRef, useState } from 'preact/hooks'
import type { PipelineSnapshot, SeriesSnapshot, Snapshot } from '../snapshot.ts'
import { requests } from './requests.ts'

/** Columns as uPlot takes them. */
export interface History {
  /** Seconds since the epoch. */
  readonly times: readonly number[]
  readonly records: readonly number[]
  readonly bytes: readonly number[]
  readonly lag: readonly number[]
}

const spanMs = 3_600_000

/** By pipeline; a new value whenever a step has passed. */
export function useHistory(snapshot: Snapshot | undefined): ReadonlyMap<string, History> {
  const [histories, setHistories] = useState<ReadonlyMap<string, History>>(new Map())
  const last = useRef({ untilMs: 0, stepMs: 10_000, startedMs: 0, isAsking: false })
  const startedMs = snapshot?.startedMs ?? 0
  useEffect(() => {
    const now = last.current
    if (!snapshot || now.isAsking) return
    // Another process, or a gap (nobody looked): what is missing is asked for.
    if (now.startedMs !== snapshot.startedMs || snapshot.atMs > now.untilMs + 3 * now.stepMs) {
      now.isAsking = true
      void requests
        .series()
        .then((series) => {
          Object.assign(now, { untilMs: series.untilMs, stepMs: series.stepMs, startedMs })
          setHistories(historiesOf(series))
        })
        .catch(() => {
          // The next snapshot asks again, if there is one.
        })
        .finally(() => {
          now.isAsking = false
        })
    } else if (snapshot.atMs >= now.untilMs + now.stepMs) {
      now.untilMs = snapshot.atMs
      setHistories((before) => continued(before, snapshot))
    }
  }, [snapshot])
  return histories
}

export function historiesOf({ stepMs, untilMs, pipelines }: SeriesSnapshot): Map<string, History> {
  return new Map(
    pipelines.map(({ pipeline, recordsPerSecond, bytesPerSecond, lagSeconds }) => {
      const count = recordsPerSecond.length
      const times = Array.from({ length: count }, (_, i) => (untilMs - (count - 1 - i) * stepMs) / 1000)
      return [pipeline, { times, records: recordsPerSecond, bytes: bytesPerSecond, lag: lagSeconds }]
    }),
  )
}

export function continued(before: ReadonlyMap<string, History>, { atMs, pipelines }: Snapshot): Map<string, History> {
  const none: History = { times: [], records: [], bytes: [], lag: [] }
  return new Map(
    pipelines.map((pipeline) => [pipeline.name, withValue(before.get(pipeline.name) ?? none, pipeline, atMs)]),
  )
}

function withValue(history: History, { rates, lagSeconds }: PipelineSnapshot, atMs: number): History {
  const old = (atMs - spanMs) / 1000
  const found = history.times.findIndex((second) => second >= old)
  const start = found === -1 ? history.times.length : found
  return {
    times: [...history.times.slice(start), atMs / 1000],
    records: [...history.records.slice(start), rates.recordsPerSecond],
    bytes: [...history.bytes.slice(start), rates.bytesPerSecond],
    lag: [...history.lag.slice(start), lagSeconds],
  }
}

/** All pipelines together: rates add up, and the latest of them says the lag. */
export function inSum(histories: ReadonlyMap<string, History>): History {
  const all = [...histories.values()]
  const longest = all.reduce(
    (a, b) => (b.times.length > a.times.length ? b : a),
    all[0] ?? { times: [], records: [], bytes: [], lag: [] },
  )
  const at = (i: number, pick: (history: History) => readonly number[]) =>
    all.map((history) => pick(history)[i - (longest.times.length - history.times.length)] ?? 0)
  const total = (values: readonly number[]) => values.reduce((a, b) => a + b, 0)
  return {
    times: longest.times,
    records: longest.times.map((_, i) => total(at(i, ({ records }) => records))),
    bytes: longest.times.map((_, i) => total(at(i, ({ bytes }) => bytes))),
    lag: longest.times.map((_, i) => Math.max(...at(i, ({ lag }) => lag))),
  }
}

/** What is told of replays: one set for each pipeline. */
import type { Bound, Meter, MetricSpec, Outcome } from './component.ts'

export const replayMetrics = {
  replay_active: { kind: 'gauge', unit: '1', help: '1 while a range is read again because an operator asked, else 0.' },
  replay_remaining_objects: {
    kind: 'gauge',
    unit: '{object}',
    help: 'Objects of the replay under way that are not settled again yet, by its plan; 0 if there is none.',
  },
} as const satisfies Record<string, MetricSpec>

export const replayObjectMetrics = {
  replay_objects_total: {
    kind: 'counter',
    unit: '{object}',
    help: 'Attempts at objects that a replay gave out, by what became of them.',
    labels: ['outcome'],
  },
} as const satisfies Record<string, MetricSpec>

const outcomes = ['done', 'quarantined', 'vanished', 'replaced', 'failed', 'stopped'] as const satisfies Outcome[]

export interface ReplayMeter {
  readonly replay: Bound<typeof replayMetrics>
  readonly objects: Readonly<Record<Outcome, Bound<typeof replayObjectMetrics>>>
}

export function replayMeter(meter: Meter): ReplayMeter {
  const bound = outcomes.map((outcome) => [outcome, meter.bind(replayObjectMetrics, { outcome })])
  return {
    replay: meter.bind(replayMetrics, {}),
    objects: Object.fromEntries(bound) as ReplayMeter['objects'],
  }
}

/** What the polls of a source of files came to: for the log, for the history, for the metrics. */
import type { Bound, Meter, MetricSpec } from '../core/component.ts'
import type { Unfinished, Unwanted } from './file-rules.ts'

/** Why a file was not given out. `special`: no file at all. */
export type Skipped = Exclude<Unwanted, 'excluded'> | Unfinished | 'excluded' | 'known' | 'retry' | 'link' | 'special'

export const fileMetrics = {
  source_files_listed_total: { kind: 'counter', unit: '{file}', help: 'Files found by polls.' },
  source_files_given_total: { kind: 'counter', unit: '{file}', help: 'Files given out to be read.' },
  source_polls_total: { kind: 'counter', unit: '{poll}', help: 'Polls that went through everything.' },
  source_unreadable_paths: {
    kind: 'gauge',
    unit: '{path}',
    help: 'Files and folders that the last poll could not read, or whose names cannot be used.',
  },
  poll_duration_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'Time of a poll that went through everything. Listing waits while the files it found wait for workers.',
  },
  poll_last_success_timestamp_seconds: {
    kind: 'gauge',
    unit: 's',
    help: 'When a poll last went through everything, in Unix seconds; 0 before the first.',
  },
  poll_failures_total: { kind: 'counter', unit: '{poll}', help: 'Polls that ended early because listing failed.' },
} as const satisfies Record<string, MetricSpec>

export const skipMetrics = {
  source_files_skipped: {
    kind: 'gauge',
    unit: '{file}',
    help: 'Files that the last poll left, by reason.',
    labels: ['reason'],
  },
} as const satisfies Record<string, MetricSpec>

export const afterMetrics = {
  source_after_actions_total: {
    kind: 'counter',
    unit: '{file}',
    help: 'Files that were deleted or moved after they arrived, or could not be.',
    labels: ['outcome'],
  },
} as const satisfies Record<string, MetricSpec>

const reasons = [
  ...(['excluded', 'temporary', 'marker', 'young', 'changing', 'unmarked'] as const),
  ...(['known', 'retry', 'link', 'special'] as const),
] as const satisfies readonly Skipped[]

export class FileTally {
  readonly #metrics: Bound<typeof fileMetrics>
  readonly #skips: ReadonlyMap<Skipped, Bound<typeof skipMetrics>>
  readonly #afterDone: Bound<typeof afterMetrics>
  readonly #afterFailed: Bound<typeof afterMetrics>
  #skipped = new Map<Skipped, number>()
  /** Of the poll under way. */
  #listed = 0
  #given = 0
  #lastListed = 0
  #lastSkipped: ReadonlyMap<Skipped, number> = new Map()
  /** Of all polls. */
  given = 0
  afterDone = 0
  afterFailed = 0

  constructor(meter: Meter) {
    this.#metrics = meter.bind(fileMetrics, {})
    this.#skips = new Map(reasons.map((reason) => [reason, meter.bind(skipMetrics, { reason })]))
    this.#afterDone = meter.bind(afterMetrics, { outcome: 'done' })
    this.#afterFailed = meter.bind(afterMetrics, { outcome: 'failed' })
  }

  begin(): void {
    this.#skipped = new Map()
    this.#listed = 0
    this.#given = 0
  }

  list(): void {
    this.#listed += 1
    this.#metrics.source_files_listed_total.add(1)
  }

  skip(reason: Skipped): void {
    this.#skipped.set(reason, (this.#skipped.get(reason) ?? 0) + 1)
  }

  give(): void {
    this.#given += 1
    this.given += 1
    this.#metrics.source_files_given_total.add(1)
  }

  acted(outcome: 'done' | 'failed'): void {
    if (outcome === 'done') this.afterDone += 1
    else this.afterFailed += 1
    const metrics = outcome === 'done' ? this.#afterDone : this.#afterFailed
    metrics.source_after_actions_total.add(1)
  }

  /** The poll ended early. */
  failed(): void {
    this.#metrics.poll_failures_total.add(1)
  }

  /** The poll went through everything. Gives what it came to. */
  end(unreadable: number, o: { readonly startMs: number; readonly nowMs: number }): Readonly<Record<string, number>> {
    this.#metrics.poll_duration_seconds.record(Math.max(0, o.nowMs - o.startMs) / 1000)
    this.#metrics.poll_last_success_timestamp_seconds.set(o.nowMs / 1000)
    this.#lastListed = this.#listed
    this.#lastSkipped = this.#skipped
    for (const [reason, metrics] of this.#skips) metrics.source_files_skipped.set(this.#skipped.get(reason) ?? 0)
    this.#metrics.source_polls_total.add(1)
    this.#metrics.source_unreadable_paths.set(unreadable)
    return { listed: this.#listed, given: this.#given, ...Object.fromEntries(this.#skipped) }
  }

  /** Files that the poll under way found so far. */
  get listed(): number {
    return this.#listed
  }

  /** So many files wait for a later poll, by the last one. */
  waiting(...of: readonly Unfinished[]): number {
    return of.reduce((sum, reason) => sum + (this.#lastSkipped.get(reason) ?? 0), 0)
  }

  get figures(): Readonly<Record<string, number>> {
    const { afterDone, afterFailed } = this
    return {
      listed: this.#lastListed,
      given: this.given,
      ...Object.fromEntries(this.#lastSkipped),
      ...(afterDone > 0 ? { removed: afterDone } : {}),
      ...(afterFailed > 0 ? { notRemoved: afterFailed } : {}),
    }
  }
}

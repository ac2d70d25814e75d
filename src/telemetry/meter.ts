/**
 * Metrics in memory: each instrument is bound once and costs an addition. Exporters read `snapshot`.
 *
 *   bind ──▶ series, in snapshot ──forget──▶ gone; its instruments work on and are shown nowhere
 *     └─no room─▶ counted; the instruments work and are shown nowhere
 *
 * 1. Never more than `limit` lines of Prometheus text, whatever is bound: what is over it is counted, not remembered.
 * 2. The same name and labels, in whatever order, are one series; a counter never goes back but by `forget`.
 */
import type { Bound, LabelName, Meter, MetricSpec } from '../core/component.ts'

export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly spec: MetricSpec
  /** When it began to count, ms since the epoch. */
  readonly startMs: number
  /** Sum of a counter, last value of a gauge, sum of a histogram. */
  readonly value: number
  /** Observations of a histogram. */
  readonly count: number
  /** Observations of a histogram by the first of `bucketBounds` that is not below them; one more for those above all. Empty for other kinds. */
  readonly buckets: Float64Array
}

/**
 * Upper bounds of the buckets of every histogram: all of them are of seconds, from a request in the same room to an
 * object that waited for hours.
 */
export const bucketBounds: readonly number[] = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21_600,
]

/** Lines that a histogram takes: its buckets, the one above all of them, the sum and the count. */
const histogramLines = bucketBounds.length + 3
const defaultLimit = 10_000
/** How much of the room histograms may take: with very many pipelines each still has its counts, which the console shows. */
const histogramShare = 0.4
/** Longest value of a label, in UTF-16 units: one that is longer is no name, and costs memory in every reader. */
const labelLength = 256

const noBuckets = new Float64Array(0)

export interface MeterOptions {
  /** Most series; a histogram counts as the lines that it takes. */
  readonly limit?: number
  /** Called once, for the first series that has no room. */
  readonly onDropped?: (name: string) => void
}

export class MemoryMeter implements Meter {
  readonly #series = new Map<string, LiveSeries>()
  readonly #limit: number
  readonly #onDropped: ((name: string) => void) | undefined
  #size = 0
  /** Lines of it that histograms take. */
  #histograms = 0
  #dropped = 0

  constructor({ limit = defaultLimit, onDropped }: MeterOptions = {}) {
    this.#limit = limit
    this.#onDropped = onDropped
  }

  /** Series that are shown; a histogram counts as the lines that it takes. */
  get size(): number {
    return this.#size
  }

  /** How often a series had no room. */
  get dropped(): number {
    return this.#dropped
  }

  bind<const T extends Record<string, MetricSpec>>(table: T, labels: Readonly<Record<LabelName<T>, string>>): Bound<T> {
    const own = sortedLabels(labels)
    const ending = JSON.stringify(own)
    const bound: Record<string, LiveSeries> = {}
    for (const [name, spec] of Object.entries(table)) bound[name] = this.#find(`${name}${ending}`, name, spec, own)
    return bound as unknown as Bound<T>
  }

  snapshot(): readonly Series[] {
    return [...this.#series.values()]
  }

  /** Drops the series that have all of these labels, those of one kind only if that is given: what they belong to is gone. Bound anew they begin at 0. */
  forget(labels: Readonly<Record<string, string>>, kind?: MetricSpec['kind']): void {
    const wanted = Object.entries(labels)
    for (const [id, series] of this.#series) {
      if (kind !== undefined && series.spec.kind !== kind) continue
      if (!wanted.every(([name, value]) => series.labels[name] === value)) continue
      this.#series.delete(id)
      this.#resize(series.spec, -1)
    }
  }

  #find(id: string, name: string, spec: MetricSpec, labels: Readonly<Record<string, string>>): LiveSeries {
    const known = this.#series.get(id)
    if (known) return known
    const series = new LiveSeries(name, labels, spec)
    if (!this.#hasRoom(spec)) {
      this.#dropped += 1
      if (this.#dropped === 1) this.#onDropped?.(name)
      return series
    }
    this.#resize(spec, 1)
    this.#series.set(id, series)
    return series
  }

  #hasRoom(spec: MetricSpec): boolean {
    const lines = linesOf(spec)
    if (spec.kind === 'histogram' && this.#histograms + lines > this.#limit * histogramShare) return false
    return this.#size + lines <= this.#limit
  }

  #resize(spec: MetricSpec, by: 1 | -1): void {
    const lines = by * linesOf(spec)
    this.#size += lines
    if (spec.kind === 'histogram') this.#histograms += lines
  }
}

/** A series and its instrument in one, so that counting is a single addition. */
class LiveSeries implements Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly spec: MetricSpec
  readonly startMs = Date.now()
  readonly buckets: Float64Array
  value = 0
  count = 0

  constructor(name: string, labels: Readonly<Record<string, string>>, spec: MetricSpec) {
    this.name = name
    this.labels = labels
    this.spec = spec
    this.buckets = spec.kind === 'histogram' ? new Float64Array(bucketBounds.length + 1) : noBuckets
  }

  add(n: number): void {
    this.value += n
  }

  set(n: number): void {
    this.value = n
  }

  record(n: number): void {
    this.value += n
    this.count += 1
    let at = 0
    while (at < bucketBounds.length && n > (bucketBounds[at] as number)) at += 1
    this.buckets[at] = (this.buckets[at] ?? 0) + 1
  }
}

function linesOf({ kind }: MetricSpec): number {
  return kind === 'histogram' ? histogramLines : 1
}

function sortedLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const entries = Object.entries(labels).map(([name, value]) => [name, value.slice(0, labelLength).toWellFormed()])
  return Object.fromEntries(entries.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)))
}

/** Metrics of one component: every series carries the given labels too. */
export function labelled(meter: Meter, labels: Readonly<Record<string, string>>): Meter {
  return { bind: (table, more) => meter.bind(table, { ...labels, ...more }) }
}

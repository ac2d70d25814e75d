/** Metrics in memory: each instrument is bound once and costs an addition. Exporters read `snapshot`. */
import type { Bound, Meter, MetricSpec } from '../core/component.ts'

export interface Series {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly spec: MetricSpec
  /** Sum of a counter, last value of a gauge, sum of a histogram. */
  value: number
  /** Observations of a histogram. */
  count: number
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

const noBuckets = new Float64Array(0)

export class MemoryMeter implements Meter {
  readonly #series = new Map<string, Series>()

  bind<const T extends Record<string, MetricSpec>>(table: T, labels: Readonly<Record<string, string>>): Bound<T> {
    const bound: Record<string, { add(n: number): void; set(n: number): void; record(n: number): void }> = {}
    for (const [name, spec] of Object.entries(table)) {
      const id = `${name}${JSON.stringify(labels)}`
      const buckets = spec.kind === 'histogram' ? new Float64Array(bucketBounds.length + 1) : noBuckets
      const series = this.#series.get(id) ?? { name, labels, spec, value: 0, count: 0, buckets }
      this.#series.set(id, series)
      bound[name] = {
        add: (n) => {
          series.value += n
        },
        set: (n) => {
          series.value = n
        },
        record: (n) => {
          series.value += n
          series.count += 1
          const found = bucketBounds.findIndex((bound) => n <= bound)
          const at = found === -1 ? bucketBounds.length : found
          series.buckets[at] = (series.buckets[at] ?? 0) + 1
        },
      }
    }
    return bound as unknown as Bound<T>
  }

  snapshot(): readonly Series[] {
    return [...this.#series.values()]
  }
}

/** Metrics of one component: every series carries the given labels too. */
export function labelled(meter: Meter, labels: Readonly<Record<string, string>>): Meter {
  return { bind: (table, more) => meter.bind(table, { ...labels, ...more }) }
}

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
}

export class MemoryMeter implements Meter {
  readonly #series = new Map<string, Series>()

  bind<const T extends Record<string, MetricSpec>>(table: T, labels: Readonly<Record<string, string>>): Bound<T> {
    const bound: Record<string, { add(n: number): void; set(n: number): void; record(n: number): void }> = {}
    for (const [name, spec] of Object.entries(table)) {
      const id = `${name}${JSON.stringify(labels)}`
      const series = this.#series.get(id) ?? { name, labels, spec, value: 0, count: 0 }
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

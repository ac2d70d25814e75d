/**
 * Our series as cumulative data of OTLP: no second set of instruments, and nothing where things are counted.
 * https://opentelemetry.io/docs/specs/otel/metrics/data-model/
 */
import { type HrTime, ValueType } from '@opentelemetry/api'
import { AggregationTemporality, type DataPoint, DataPointType, type MetricData } from '@opentelemetry/sdk-metrics'
import type { MetricSpec } from '../core/component.ts'
import { bucketBounds, type Series } from './meter.ts'

const boundaries = [...bucketBounds]

/** One for each name, with a point for each of its series. */
export function metricData(snapshot: readonly Series[], nowMs: number): MetricData[] {
  const families = new Map<string, Series[]>()
  for (const series of snapshot) {
    const family = families.get(series.name)
    if (family) family.push(series)
    else families.set(series.name, [series])
  }
  return [...families].map(([name, family]) => familyData(name, family, nowMs))
}

function familyData(name: string, family: readonly Series[], nowMs: number): MetricData {
  const { spec } = family[0] as Series
  const descriptor = { name, description: spec.help, unit: unitOf(name, spec), valueType: ValueType.DOUBLE }
  const common = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE }
  const endTime = hrTime(nowMs)
  const points = <T>(pick: (series: Series) => T): Array<DataPoint<T>> =>
    family.map((series) => ({
      // A clock that was set back must not make a time that ends before it begins.
      startTime: hrTime(Math.min(series.startMs, nowMs)),
      endTime,
      attributes: series.labels,
      value: pick(series),
    }))
  switch (spec.kind) {
    case 'counter':
      return {
        ...common,
        dataPointType: DataPointType.SUM,
        isMonotonic: true,
        dataPoints: points(({ value }) => value),
      }
    case 'gauge':
      return { ...common, dataPointType: DataPointType.GAUGE, dataPoints: points(({ value }) => value) }
    case 'histogram':
      return {
        ...common,
        dataPointType: DataPointType.HISTOGRAM,
        dataPoints: points(({ value, count, buckets }) => ({
          buckets: { boundaries, counts: [...buckets] },
          sum: value,
          count,
        })),
      }
  }
}

/** Prometheus' translation of OTLP puts `_ratio` behind the name of every gauge of unit 1. */
function unitOf(name: string, { unit }: MetricSpec): string {
  return unit === '1' && !name.endsWith('_ratio') ? '' : unit
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)]
}

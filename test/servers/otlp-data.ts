/** What exports in the JSON form of OTLP say, flat: from the embedded receiver or from a file of the Collector. */
import { bucketBounds, type Series } from '../../src/telemetry/meter.ts'

export interface OtlpPoint {
  readonly name: string
  readonly unit: string
  readonly help: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly labels: Readonly<Record<string, unknown>>
  readonly startMs: number
  readonly timeMs: number
  /** Of a histogram: the sum. */
  readonly value: number
  readonly count: number
  readonly buckets: readonly number[]
  readonly resource: Readonly<Record<string, unknown>>
}

export interface OtlpLogRecord {
  readonly timeMs: number
  readonly severityNumber: number
  readonly severityText: string
  readonly body: unknown
  readonly attributes: Readonly<Record<string, unknown>>
  readonly resource: Readonly<Record<string, unknown>>
}

export interface OtlpSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly name: string
  readonly startMs: number
  readonly endMs: number
  readonly attributes: Readonly<Record<string, unknown>>
  readonly events: readonly string[]
  /** `traceId/spanId` */
  readonly links: readonly string[]
  readonly droppedLinks: number
  readonly status: { readonly code?: number; readonly message?: string }
}

interface KeyValue {
  readonly key: string
  readonly value?: Value
}
interface Value {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: number | string
  readonly doubleValue?: number
  readonly arrayValue?: { readonly values?: readonly Value[] }
  readonly kvlistValue?: { readonly values?: readonly KeyValue[] }
}
interface Point {
  readonly attributes?: readonly KeyValue[]
  readonly startTimeUnixNano: string
  readonly timeUnixNano: string
  readonly asDouble?: number
  readonly count?: string
  readonly sum?: number
  readonly bucketCounts?: readonly string[]
  readonly explicitBounds?: readonly number[]
}
interface Points {
  readonly dataPoints?: readonly Point[]
  readonly aggregationTemporality?: number
  readonly isMonotonic?: boolean
}
interface Metric {
  readonly name: string
  readonly description?: string
  readonly unit?: string
  readonly sum?: Points
  readonly gauge?: Points
  readonly histogram?: Points
}
interface LogRecord {
  readonly timeUnixNano: string
  readonly severityNumber?: number
  readonly severityText?: string
  readonly body?: Value
  readonly attributes?: readonly KeyValue[]
}
interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes?: readonly KeyValue[]
  readonly events?: ReadonlyArray<{ readonly name: string }>
  readonly links?: ReadonlyArray<{ readonly traceId: string; readonly spanId: string }>
  readonly droppedLinksCount?: number
  readonly status?: { readonly code?: number; readonly message?: string }
}
interface Resource {
  readonly resource?: { readonly attributes?: readonly KeyValue[] }
}
export interface OtlpJson {
  readonly resourceMetrics?: ReadonlyArray<
    Resource & { readonly scopeMetrics?: ReadonlyArray<{ readonly metrics?: readonly Metric[] }> }
  >
  readonly resourceLogs?: ReadonlyArray<
    Resource & { readonly scopeLogs?: ReadonlyArray<{ readonly logRecords?: readonly LogRecord[] }> }
  >
  readonly resourceSpans?: ReadonlyArray<
    Resource & { readonly scopeSpans?: ReadonlyArray<{ readonly spans?: readonly Span[] }> }
  >
}

const cumulative = 2

/** Throws if something is not cumulative, or has other buckets than ours. */
export function pointsOf(request: OtlpJson): OtlpPoint[] {
  return (request.resourceMetrics ?? []).flatMap((of) =>
    (of.scopeMetrics ?? [])
      .flatMap(({ metrics }) => metrics ?? [])
      .flatMap((metric) => metricPoints(metric, record(of.resource?.attributes))),
  )
}

function metricPoints(metric: Metric, resource: Record<string, unknown>): OtlpPoint[] {
  const { name, unit = '', description = '', sum, gauge, histogram } = metric
  const kind = sum ? 'counter' : gauge ? 'gauge' : 'histogram'
  const points = sum ?? gauge ?? histogram ?? {}
  if (!gauge && points.aggregationTemporality !== cumulative) throw new Error(`${name} is not cumulative`)
  if (sum && sum.isMonotonic !== true) throw new Error(`${name} is not monotonic`)
  return (points.dataPoints ?? []).map((point) => {
    if (histogram && JSON.stringify(point.explicitBounds) !== JSON.stringify(bucketBounds)) {
      throw new Error(`${name} has other buckets: ${point.explicitBounds}`)
    }
    return {
      ...{ name, unit, kind, resource, help: description },
      labels: record(point.attributes),
      startMs: millis(point.startTimeUnixNano),
      timeMs: millis(point.timeUnixNano),
      value: point.asDouble ?? point.sum ?? 0,
      count: Number(point.count ?? 0),
      buckets: (point.bucketCounts ?? []).map(Number),
    }
  })
}

export function logRecordsOf(request: OtlpJson): OtlpLogRecord[] {
  return (request.resourceLogs ?? []).flatMap((of) =>
    (of.scopeLogs ?? [])
      .flatMap(({ logRecords }) => logRecords ?? [])
      .map((one) => ({
        timeMs: millis(one.timeUnixNano),
        severityNumber: one.severityNumber ?? 0,
        severityText: one.severityText ?? '',
        body: plain(one.body),
        attributes: record(one.attributes),
        resource: record(of.resource?.attributes),
      })),
  )
}

export function spansOf(request: OtlpJson): OtlpSpan[] {
  return (request.resourceSpans ?? []).flatMap((of) =>
    (of.scopeSpans ?? [])
      .flatMap(({ spans }) => spans ?? [])
      .map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? '',
        name: span.name,
        startMs: millis(span.startTimeUnixNano),
        endMs: millis(span.endTimeUnixNano),
        attributes: record(span.attributes),
        events: (span.events ?? []).map(({ name }) => name),
        links: (span.links ?? []).map(({ traceId, spanId }) => `${traceId}/${spanId}`),
        droppedLinks: span.droppedLinksCount ?? 0,
        status: span.status ?? {},
      })),
  )
}

/** A series, as a point of OTLP should show it; to compare. */
export function shown({ name, labels, spec, value, count, buckets }: Series): string {
  return JSON.stringify([name, spec.kind, Object.entries(labels).toSorted(), value, count, [...buckets]])
}

/** A point, in the same form. */
export function shownPoint({ name, labels, kind, value, count, buckets }: OtlpPoint): string {
  return JSON.stringify([name, kind, Object.entries(labels).toSorted(), value, count, buckets])
}

function record(attributes: readonly KeyValue[] = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]))
}

function plain(value: Value = {}): unknown {
  if (value.kvlistValue) return record(value.kvlistValue.values)
  if (value.arrayValue) return (value.arrayValue.values ?? []).map((one) => plain(one))
  if (value.intValue !== undefined) return Number(value.intValue)
  return value.stringValue ?? value.boolValue ?? value.doubleValue
}

function millis(nanos: string): number {
  return Number(BigInt(nanos) / 1_000_000n)
}

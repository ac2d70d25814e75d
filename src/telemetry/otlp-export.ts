/**
 * What a process exports by OTLP: each signal by a sender of its own, over one transport.
 *
 *   MemoryMeter ──every export_interval──▶ metricData ─▶ sender ─┐
 *   log lines ─▶ log records ─▶ queue ─────────────────▶ sender ─┼─▶ transport ─▶ receiver
 *   Tracing ───▶ spans ───────▶ queue ─────────────────▶ sender ─┘
 *
 * 1. Nothing waits for the receiver but `end`, and that for one time-out.
 * 2. Metrics are cumulative: an export that fails costs nothing but time, for the next one says all of it again.
 */
import { randomUUID } from 'node:crypto'
import { hostname } from 'node:os'
import { DiagLogLevel, diag } from '@opentelemetry/api'
import {
  ProtobufLogsSerializer,
  ProtobufMetricsSerializer,
  ProtobufTraceSerializer,
} from '@opentelemetry/otlp-transformer'
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs'
import type { MetricData } from '@opentelemetry/sdk-metrics'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import { isLoopback } from '../console/config.ts'
import type { Log, Signal } from '../core/component.ts'
import { TimeLimit } from '../core/time-limit.ts'
import type { Otlp, OtlpOptions } from './otlp.ts'
import type { OtlpConfig } from './otlp-config.ts'
import { MetricExport } from './otlp-metric-export.ts'
import { OtlpQueue } from './otlp-queue.ts'
import { OtlpSender, type PartialAnswer } from './otlp-sender.ts'
import type { OtlpTarget } from './otlp-target.ts'
import type { OtlpTransport } from './otlp-transport.ts'
import { version } from './version.ts'

const scope = { name: 's3-streamer', version }
/** Words of the library that are kept of a message, and how many of its messages. */
const diagLength = 300
const diagMessages = 20

interface Parts {
  readonly config: OtlpConfig
  readonly o: OtlpOptions
  readonly target: OtlpTarget
  readonly transport: OtlpTransport
  readonly resource: Resource
}

export async function openExport(config: OtlpConfig, target: OtlpTarget, o: OtlpOptions): Promise<Otlp> {
  const transport =
    config.protocol === 'grpc'
      ? new (await import('./otlp-grpc.ts')).OtlpGrpc(target)
      : new (await import('./otlp-http.ts')).OtlpHttp(target, config.timeout)
  listenToLibrary(o.log)
  const parts: Parts = { config, o, target, transport, resource: resourceOf(config) }
  const metrics = metricExport(parts)
  const logs = config.logs ? await logsOf(parts) : undefined
  const traces = config.traces > 0 ? await tracesOf(parts) : undefined
  const queues = [logs?.queue, traces?.queue].filter((queue) => queue !== undefined)
  o.log.info({ endpoint: target.name, logs: config.logs, traces: config.traces }, 'exporting by OTLP')
  if (!target.tls && Object.keys(config.headers).length > 0 && !isLoopback(target.host)) {
    const headers = Object.keys(config.headers)
    o.log.warn(
      { headers },
      'otlp.headers go over the network without TLS (set otlp.insecure: false, or write https://)',
    )
  }
  let isEnded = false
  const dispose = async () => {
    isEnded = true
    for (const queue of queues) queue.abandon()
    await metrics[Symbol.asyncDispose]()
    await transport[Symbol.asyncDispose]()
  }
  return {
    takeLine: logs?.takeLine,
    tracing: (pipeline) => traces?.tracing(pipeline),
    start: () => metrics.start(),
    end: async ({ signal }: Signal) => {
      if (isEnded) return
      isEnded = true
      using limit = new TimeLimit(signal, config.timeout)
      // The metrics keep to a time-out of their own, and say what came of them when it is over.
      await Promise.all([metrics.end({ signal }), ...queues.map((queue) => queue.end({ signal: limit.signal }))])
    },
    [Symbol.asyncDispose]: dispose,
  }
}

function senderParts({ config, o, target, transport }: Parts) {
  return { transport, quote: target.quote, timeoutMs: config.timeout, log: o.log, meter: o.meter }
}

function metricExport(parts: Parts): MetricExport {
  const { config, o, resource } = parts
  const sender = new OtlpSender<MetricData>({
    ...senderParts(parts),
    signal: 'metrics',
    encode: (metrics) =>
      ProtobufMetricsSerializer.serializeRequest({ resource, scopeMetrics: [{ scope, metrics: [...metrics] }] }),
    partial: (answer) => {
      const said = ProtobufMetricsSerializer.deserializeResponse(answer).partialSuccess
      return said && partialAnswer(said.rejectedDataPoints, said.errorMessage)
    },
  })
  return new MetricExport({ ...o, sender, intervalMs: config.export_interval })
}

async function logsOf(parts: Parts) {
  const { logExport } = await import('./otlp-logs.ts')
  const sender = new OtlpSender<ReadableLogRecord>({
    ...senderParts(parts),
    signal: 'logs',
    encode: (records) => ProtobufLogsSerializer.serializeRequest([...records]),
    partial: (answer) => {
      const said = ProtobufLogsSerializer.deserializeResponse(answer).partialSuccess
      return said && partialAnswer(said.rejectedLogRecords, said.errorMessage)
    },
  })
  const queue = new OtlpQueue({ signal: 'logs', sender, log: parts.o.log })
  return { queue, takeLine: logExport(parts.resource, scope, (record, bytes) => queue.add(record, bytes)) }
}

async function tracesOf(parts: Parts) {
  const { traceExport } = await import('./otlp-traces.ts')
  const sender = new OtlpSender<ReadableSpan>({
    ...senderParts(parts),
    signal: 'traces',
    encode: (spans) => ProtobufTraceSerializer.serializeRequest([...spans]),
    partial: (answer) => {
      const said = ProtobufTraceSerializer.deserializeResponse(answer).partialSuccess
      return said && partialAnswer(said.rejectedSpans, said.errorMessage)
    },
  })
  const { resource, config, o } = parts
  const queue = new OtlpQueue({ signal: 'traces', sender, log: o.log })
  const emit = (span: ReadableSpan, bytes: number) => queue.add(span, bytes)
  return { queue, tracing: traceExport({ resource, scope, ratio: config.traces, hide: o.hide, emit }) }
}

function partialAnswer(rejected: number | undefined, words: string | undefined): PartialAnswer {
  return { rejected: rejected ?? 0, words: words ?? '' }
}

function resourceOf(config: OtlpConfig): Resource {
  return resourceFromAttributes({
    'service.name': config.service_name,
    'service.version': config.service_version ?? version,
    // Of this process alone: two on one host must not count into one series.
    'service.instance.id': randomUUID(),
    'host.name': hostname(),
    ...config.attributes,
  })
}

/** What the library itself has to say, which is little; it must not fill the log. */
function listenToLibrary(log: Log): void {
  let said = 0
  const take = (message: string) => {
    said += 1
    if (said <= diagMessages) log.warn({ text: message.slice(0, diagLength) }, 'the OpenTelemetry library says')
  }
  const ignore = () => undefined
  const logger = { error: take, warn: take, info: ignore, debug: ignore, verbose: ignore }
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
}

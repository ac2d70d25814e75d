import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLog } from '../../src/telemetry/log.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { ProcessMetrics } from '../../src/telemetry/process-metrics.ts'
import { otlpBench } from '../servers/otlp-bench.ts'
import { logRecordsOf, type OtlpJson, pointsOf, shown, shownPoint, spansOf } from '../servers/otlp-data.ts'
import { startOtelCollector } from './otel-collector.ts'
import { certificates } from './receiver.ts'

const never = new AbortController().signal
const file = (name: string) => join(certificates, name)
const tls = { ca_file: file('ca.pem'), cert_file: file('client.pem'), key_file: file('client.key.pem') }
const ways = [
  { protocol: 'grpc', port: 'grpc', settings: {} },
  { protocol: 'http', port: 'http', settings: { compression: 'gzip' } },
  { protocol: 'grpc', port: 'grpcTls', settings: { tls, compression: 'gzip' } },
  { protocol: 'http', port: 'httpTls', settings: { tls } },
] as const

const thingsOf = (exports: readonly OtlpJson[]) =>
  exports.flatMap(pointsOf).filter(({ name }) => name === 'things_total')

test('a real Collector gets every series with our value, the log and the traces, by gRPC and HTTP, with TLS and without', async () => {
  await using collector = await startOtelCollector()
  for (const { protocol, port, settings } of ways) {
    const name = `streamer-${port}`
    const meter = new MemoryMeter()
    using own = new ProcessMetrics(meter)
    const { wait_seconds } = meter.bind(
      { wait_seconds: { kind: 'histogram', unit: 's', labels: ['pipeline'], help: 'How long it takes.' } },
      { pipeline: 'web\n"ö' },
    )
    for (let i = 0; i < 1000; i += 1) wait_seconds.record(i / 10)
    let expected: string[] = []
    const common = { endpoint: `localhost:${collector.ports[port]}`, logs: true, traces: 1 }
    const bench = await otlpBench(
      { port: collector.ports[port] },
      {
        meter,
        settings: { ...common, protocol, service_name: name, ...settings },
        sample: () => {
          own.sample()
          expected = meter.snapshot().map(shown)
        },
      },
    )
    await using otlp = bench.otlp
    const log = createLog({ level: 'info', format: 'json', color: false, write: (line) => otlp.takeLine?.(line) })
    log.warn({ key: 'a.gz', attempt: 2 }, 'batch not delivered yet, trying again')
    const object = { id: 'logs/a.gz@1', bucket: 'logs', key: 'a.gz', size: 7, timeMs: 0, lastModifiedMs: 0 }
    const tracing = otlp.tracing('web')
    const span = tracing?.begin(object)
    const facts = { sink: 'http', records: 10, bytes: 1000, contentType: 'application/x-ndjson' }
    tracing?.batch(facts, [span])?.ended({ refused: 0 })
    const counts = { read: 10, delivered: 10, filtered: 0, quarantined: 0, bytes: 1000 }
    span?.ended({ outcome: 'done', reason: undefined, counts, format: 'ndjson' })
    await otlp.end({ signal: never })
    assert.deepEqual(bench.told('warn'), [])

    const of = (exports: readonly OtlpJson[]) => exports.filter((json) => JSON.stringify(json).includes(`"${name}"`))
    const found = of(await collector.until((exports) => of(exports).length >= 3))
    assert.deepEqual(found.flatMap(pointsOf).map(shownPoint).toSorted(), expected.toSorted())
    const [record, ...records] = found.flatMap(logRecordsOf)
    assert.deepEqual(records, [])
    assert.deepEqual([record?.severityText, record?.body], ['WARN', 'batch not delivered yet, trying again'])
    assert.deepEqual(record?.attributes, { key: 'a.gz', attempt: 2 })
    const spans = found.flatMap(spansOf)
    const ids = new Map(spans.map((one) => [one.name, `${one.traceId}/${one.spanId}`]))
    assert.deepEqual(spans.map(({ name, links }) => [name, links]).toSorted(), [
      ['batch', [ids.get('object')]],
      ['object', [ids.get('batch')]],
    ])
  }
})

test('a Collector that is killed and started again in the middle has lost nothing of the counters', async () => {
  for (const protocol of ['grpc', 'http'] as const) {
    await using collector = await startOtelCollector()
    const settings = { protocol, export_interval: '50ms', timeout: '2s', logs: true }
    const bench = await otlpBench({ port: collector.ports[protocol] }, { settings })
    await using otlp = bench.otlp
    otlp.start()
    let things = 0
    const work = setInterval(() => {
      bench.things.add(1)
      things += 1
    }, 1)
    try {
      await collector.until((exports) => thingsOf(exports).length >= 3)
      await collector.kill()
      const before = thingsOf(await collector.exports()).at(-1)?.value ?? 0
      await bench.until(() => bench.told('warn').length > 0)
      otlp.takeLine?.(JSON.stringify({ level: 'info', time: new Date().toISOString(), msg: 'while it was away' }))
      await collector.restart()
      await collector.until((exports) => (thingsOf(exports).at(-1)?.value ?? 0) > before)
    } finally {
      clearInterval(work)
    }
    await otlp.end({ signal: never })
    const found = await collector.until((exports) => thingsOf(exports).at(-1)?.value === things)
    const values = thingsOf(found).map(({ value }) => value)
    assert.deepEqual(
      values,
      values.toSorted((a, b) => a - b),
    )
    assert.equal(new Set(thingsOf(found).map(({ startMs }) => startMs)).size, 1)
    assert.ok(found.flatMap(logRecordsOf).some(({ body }) => body === 'while it was away'))
    assert.match(bench.told('info').join('\n'), /metrics reach the OTLP receiver again/)
  }
})

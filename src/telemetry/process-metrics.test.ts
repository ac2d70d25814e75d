import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePrometheus } from '../../test/servers/prometheus-parse.ts'
import { MemoryMeter } from './meter.ts'
import { ProcessMetrics } from './process-metrics.ts'
import { prometheusText } from './prometheus-text.ts'

const ioText = (writeBytes: number) =>
  `rchar: 323934931\nwchar: 323929600\nsyscr: 632687\nread_bytes: 0\nwrite_bytes: ${writeBytes}\ncancelled_write_bytes: 7\n`

const valuesOf = (meter: MemoryMeter): Record<string, number> =>
  Object.fromEntries(meter.snapshot().map(({ name, value }) => [name, value]))

test('memory, CPU and start are those of this process', () => {
  const meter = new MemoryMeter()
  using metrics = new ProcessMetrics(meter)
  const { rssBytes } = metrics.sample()
  const values = valuesOf(meter)
  assert.equal(values.process_resident_memory_bytes, rssBytes)
  assert.ok((values.process_resident_memory_max_bytes ?? 0) >= rssBytes)
  assert.ok(rssBytes > 10e6, `${rssBytes} bytes`)
  const { user, system } = process.cpuUsage()
  const cpu = values.process_cpu_seconds_total ?? 0
  assert.ok(cpu > 0 && cpu <= (user + system) / 1e6, `${cpu} s`)
  const age = Date.now() / 1000 - (values.process_start_time_seconds ?? 0)
  assert.ok(Math.abs(age - process.uptime()) < 60, `${age} s`)
})

test('counters follow the system and do not count twice', () => {
  const meter = new MemoryMeter()
  let writeBytes = 4096
  using metrics = new ProcessMetrics(meter, () => ioText(writeBytes))
  assert.equal(metrics.sample().writeBytes, 4096)
  assert.equal(metrics.sample().writeBytes, 4096)
  assert.equal(valuesOf(meter).process_write_bytes_total, 4096)
  writeBytes = 12_288
  assert.equal(metrics.sample().writeBytes, 12_288)
  assert.equal(valuesOf(meter).process_write_bytes_total, 12_288)
  assert.ok((valuesOf(meter).process_cpu_seconds_total ?? 0) <= process.cpuUsage().user + process.cpuUsage().system)
})

test('C3: where the system does not tell what was written, that one series is missing and all else works', () => {
  const meter = new MemoryMeter()
  using metrics = new ProcessMetrics(meter, () => {
    throw new Error('ENOENT')
  })
  assert.equal(metrics.sample().writeBytes, undefined)
  const values = valuesOf(meter)
  assert.ok(!('process_write_bytes_total' in values))
  assert.ok((values.process_resident_memory_bytes ?? 0) > 0)
})

test('a main thread that is busy is told, and only until the next look', async () => {
  const meter = new MemoryMeter()
  using metrics = new ProcessMetrics(meter)
  const turns = () => new Promise((resolve) => setTimeout(resolve, 50))
  metrics.sample()
  await turns()
  const busyUntil = performance.now() + 300
  while (performance.now() < busyUntil);
  await turns()
  metrics.sample()
  const busy = valuesOf(meter)
  assert.ok((busy.nodejs_eventloop_delay_max_seconds ?? 0) > 0.2, `${busy.nodejs_eventloop_delay_max_seconds} s`)
  assert.ok((busy.nodejs_eventloop_utilization_ratio ?? 0) > 0.2)
  metrics.sample()
  assert.equal(valuesOf(meter).nodejs_eventloop_delay_max_seconds, 0)
})

test('what is sampled is valid text, and without a sample too', () => {
  const meter = new MemoryMeter()
  using metrics = new ProcessMetrics(meter)
  parsePrometheus(prometheusText(meter.snapshot()))
  metrics.sample()
  const families = parsePrometheus(prometheusText(meter.snapshot()))
  // The Pushgateway has these itself: another type than there makes it refuse everything.
  assert.equal(families.get('process_cpu_seconds_total')?.type, 'counter')
  assert.equal(families.get('process_resident_memory_bytes')?.type, 'gauge')
  assert.equal(families.get('process_start_time_seconds')?.type, 'gauge')
})

test('the version is a label, and series that had no room are counted once', () => {
  const meter = new MemoryMeter({ limit: 20 })
  using metrics = new ProcessMetrics(meter, () => ioText(1))
  const info = meter.snapshot().find(({ name }) => name === 's3_streamer_info')
  assert.deepEqual([info?.value, Object.keys(info?.labels ?? {})], [1, ['version']])
  for (let i = 0; i < 50; i += 1)
    meter.bind({ odd_total: { kind: 'counter', unit: '1', help: 'Odd.' } }, { reason: `r${i}` })
  metrics.sample()
  metrics.sample()
  const values = valuesOf(meter)
  assert.equal(values.metrics_series, meter.snapshot().length)
  assert.equal(values.metrics_series_dropped_total, meter.dropped)
  assert.ok(meter.dropped > 0)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lagMetrics, objectMetrics, pipelineMetrics } from '../core/pipeline-metrics.ts'
import { labelled, MemoryMeter } from '../telemetry/meter.ts'
import { figuresOf, RecentFigures } from './recent-figures.ts'

function setUp(pipeline = 'one') {
  const meter = new MemoryMeter()
  const own = labelled(meter, { pipeline })
  return {
    meter,
    counts: own.bind(pipelineMetrics, {}),
    done: own.bind(objectMetrics, { outcome: 'done' }),
    failed: own.bind(objectMetrics, { outcome: 'failed' }),
    lag: own.bind(lagMetrics, { component: 'scanner' }),
  }
}

test('figures are added up over all labels but the pipeline, and what has no pipeline is left out', () => {
  const { meter, done, failed } = setUp()
  done.objects_total.add(3)
  failed.objects_total.add(2)
  meter.bind({ other_total: { kind: 'counter', unit: '1', help: 'x' } }, {}).other_total.add(1)
  const figures = figuresOf(meter.snapshot())
  assert.equal(figures.get('one')?.get('objects_total'), 5)
  assert.deepEqual([...figures.keys()], ['one'])
  assert.equal(figures.get('one')?.has('s3_processing_latency_seconds'), false)
})

test('rates are means of the last ten seconds, and 0 after as long a rest', () => {
  const { meter, counts, done } = setUp()
  const recent = new RecentFigures()
  const start = Date.now()
  assert.equal(recent.rates('one').recordsPerSecond, 0)
  for (let second = 0; second <= 30; second += 1) {
    recent.sample(meter.snapshot(), start + second * 1000)
    if (second >= 10) continue
    counts.records_read_total.add(100)
    counts.s3_bytes_processed_total.add(5000)
    done.objects_total.add(2)
    if (second === 5) assert.deepEqual(recent.rates('one').recordsPerSecond, 100)
  }
  assert.deepEqual(recent.rates('one'), { recordsPerSecond: 0, bytesPerSecond: 0, objectsPerSecond: 0 })
})

test('the series have a value for each five seconds of the last hour, and no more', () => {
  const { meter, counts, lag } = setUp()
  const recent = new RecentFigures()
  const start = Date.now()
  for (let second = 1; second <= 4000; second += 1) {
    counts.records_read_total.add(10)
    lag.processing_lag_seconds.set(second)
    recent.sample(meter.snapshot(), start + second * 1000)
  }
  const { stepMs, untilMs, pipelines } = recent.series()
  assert.equal(stepMs, 5000)
  assert.ok(untilMs > start + 3_990_000)
  assert.equal(pipelines[0]?.recordsPerSecond.length, 720)
  assert.deepEqual(new Set(pipelines[0]?.recordsPerSecond), new Set([10]))
  assert.ok((pipelines[0]?.lagSeconds.at(-1) ?? 0) > 3990)
})

test('a pipeline that is gone takes its series with it, and one whose counters begin anew has no rate below 0', () => {
  const { meter, counts } = setUp()
  const recent = new RecentFigures()
  const start = Date.now()
  counts.records_read_total.add(1000)
  recent.sample(meter.snapshot(), start)
  meter.forget({ pipeline: 'one' })
  recent.sample(meter.snapshot(), start + 1000)
  assert.deepEqual(recent.series().pipelines, [])
  const again = labelled(meter, { pipeline: 'one' }).bind(pipelineMetrics, {})
  recent.sample(meter.snapshot(), start + 2000)
  again.records_read_total.add(5)
  recent.sample(meter.snapshot(), start + 3000)
  assert.equal(recent.rates('one').recordsPerSecond, 5)
})

test('when the clock is put back, rates and charts go on from there, and nothing piles up until the old time comes again', () => {
  const { meter, counts } = setUp()
  const recent = new RecentFigures()
  const start = Date.now()
  const second = (atMs: number) => {
    counts.records_read_total.add(10)
    recent.sample(meter.snapshot(), atMs)
  }
  for (let n = 1; n <= 60; n += 1) second(start + n * 1000)
  const before = recent.series().pipelines[0]?.recordsPerSecond.length ?? 0
  for (let n = 1; n <= 61; n += 1) {
    second(start - 3_600_000 + n * 1000)
    if (n > 1) assert.equal(recent.rates('one').recordsPerSecond, 10)
  }
  const { untilMs, pipelines } = recent.series()
  assert.equal(pipelines[0]?.recordsPerSecond.length, before + 12)
  assert.deepEqual(new Set(pipelines[0]?.recordsPerSecond), new Set([10]))
  assert.ok(untilMs < start)
})

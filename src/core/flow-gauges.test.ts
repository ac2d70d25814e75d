import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeSink, FakeSource, ledgerIn, newFolder, objectOf } from '../../test/fakes/pipeline.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import type { Dependency } from './component.ts'
import { nothingCounted, startOfObject } from './delivery.ts'
import type { Flow } from './flow.ts'
import { FlowGauges } from './flow-gauges.ts'

const nowMs = 1_000_000

function setUp(o: { oldestWaitingMs?: number; replaying?: ReadonlySet<string>; dependencies?: Dependency[] } = {}) {
  const ledger = ledgerIn(newFolder())
  const source = Object.assign(new FakeSource([], ledger), o)
  const meter = new MemoryMeter()
  const flow = { underWay: [1, 2], inFlight: { bytes: 5, budgetBytes: 10, batches: 3 } } as unknown as Flow
  const gauges = new FlowGauges({ source, sink: new FakeSink(), ledger, flow, meter, nowMs: () => nowMs })
  const value = (name: string) => meter.snapshot().find((series) => series.name === name)?.value
  return { ledger, gauges, value, meter }
}

test('lag is the age of the oldest object that was found and is not delivered, wherever it waits; 0 if there is none', async () => {
  const { ledger, gauges, value } = setUp()
  await using _ = ledger
  gauges.sample()
  assert.equal(value('processing_lag_seconds'), 0)
  const failed = { ...objectOf(1, ['x']), timeMs: nowMs - 60_000 }
  ledger.begin(failed)
  assert.equal(gauges.lagSeconds, 60)
  ledger.settle(failed.id, 'failed', { position: startOfObject, counts: nothingCounted, timeMs: failed.timeMs })
  assert.equal(gauges.lagSeconds, 60)
  ledger.begin(failed)
  ledger.settle(failed.id, 'done', { position: startOfObject, counts: nothingCounted, timeMs: failed.timeMs })
  assert.equal(gauges.lagSeconds, 0)
})

test('what waits in the source counts, what is replayed does not, and a time in the future is no lag', async () => {
  const waiting = setUp({ oldestWaitingMs: nowMs - 5000 })
  await using _ = waiting.ledger
  assert.equal(waiting.gauges.lagSeconds, 5)
  const old = { ...objectOf(1, ['x']), timeMs: 1 }
  const replaying = setUp({ replaying: new Set([old.id]) })
  await using __ = replaying.ledger
  replaying.ledger.begin(old)
  assert.equal(replaying.gauges.lagSeconds, 0)
  const future = setUp({ oldestWaitingMs: nowMs + 5000 })
  await using ___ = future.ledger
  assert.equal(future.gauges.lagSeconds, 0)
})

test('endpoints have a series each, by what their use shows; what is in flight is gone when the pipeline ends', async () => {
  const dependency = (name: string, state: Dependency['state']) => ({
    ...{ name, state, sinceMs: 0, error: undefined, answeredMs: undefined },
    probe: async () => undefined,
  })
  const dependencies = [dependency('a', 'up'), dependency('b', 'failing'), dependency('c', 'unused')]
  const { ledger, gauges, value, meter } = setUp({ dependencies })
  await using _ = ledger
  gauges.sample()
  const up = meter.snapshot().filter(({ name }) => name === 'endpoint_up')
  assert.deepEqual(
    up.map(({ labels, value }) => [labels.component, labels.endpoint, value]),
    [
      ['source', 'a', 1],
      ['source', 'b', 0],
      ['source', 'c', 1],
    ],
  )
  assert.deepEqual([value('in_flight_bytes'), value('in_flight_budget_bytes')], [5, 10])
  assert.deepEqual([value('objects_in_flight'), value('sink_batches_in_flight')], [2, 3])
  assert.ok((value('ledger_size_bytes') ?? 0) > 0)
  gauges.end()
  const underWay = ['in_flight_bytes', 'objects_in_flight', 'sink_batches_in_flight', 'processing_lag_seconds']
  assert.deepEqual(underWay.map(value), [0, 0, 0, 0])
})

test('what a run left is shown at its end, however long nobody looked: objects to be tried again, when it was saved', async () => {
  const { ledger, gauges, value } = setUp()
  await using _ = ledger
  gauges.sample()
  const failed = objectOf(1, ['x'])
  ledger.begin(failed)
  ledger.settle(failed.id, 'failed', { position: startOfObject, counts: nothingCounted, timeMs: failed.timeMs })
  ledger.save()
  gauges.end()
  assert.equal(value('ledger_failed_objects'), 1)
  assert.ok((value('ledger_last_save_timestamp_seconds') ?? 0) > 0)
})

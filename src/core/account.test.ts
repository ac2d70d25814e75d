import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryMeter } from '../telemetry/meter.ts'
import { Account, type ObjectReport } from './account.ts'
import type { Log, Outcome } from './component.ts'
import { nothingCounted } from './delivery.ts'
import { pipelineMetrics } from './pipeline-metrics.ts'

function setUp() {
  const told: Array<{ readonly level: string; readonly facts: object; readonly message: string }> = []
  const at = (level: string) => (facts: object, message: string) => void told.push({ level, facts, message })
  const log: Log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
  const meter = new MemoryMeter()
  const account = new Account(log, meter)
  const value = (name: keyof typeof pipelineMetrics) => meter.snapshot().find((series) => series.name === name)?.value
  return { account, told, value }
}

function reportOf(outcome: Outcome, counts: Partial<ObjectReport['counts']>, reason?: string): ObjectReport {
  const object = { id: 'b/k@1', bucket: 'b', key: 'k', size: 1, timeMs: 0, lastModifiedMs: 0 }
  const all = { ...nothingCounted, ...counts }
  return {
    object,
    outcome,
    reason,
    decoding: undefined,
    timeMs: 0,
    counts: all,
    endedMs: 5000,
    durationMs: 2000,
    isReplay: false,
  }
}

test('an object that went on from an earlier attempt adds only what is new', () => {
  const { account, value } = setUp()
  const before = { read: 10, delivered: 6, filtered: 0, quarantined: 1, bytes: 70 }
  const half = { read: 20, delivered: 9, filtered: 1, quarantined: 1, bytes: 110 }
  const whole = { read: 20, delivered: 15, filtered: 3, quarantined: 2, bytes: 200 }
  account.moved(half, before)
  // What was read and is on its way counts when it is settled: so the counts balance at any moment.
  assert.equal(value('records_read_total'), 4)
  account.moved(whole, half)
  account.add(reportOf('done', whole), before)
  const { read, delivered, filtered, quarantined, bytes, objects } = account.totals
  assert.deepEqual(
    { read, delivered, filtered, quarantined, bytes },
    { read: 13, delivered: 9, filtered: 3, quarantined: 1, bytes: 130 },
  )
  assert.equal(objects.done, 1)
  assert.equal(value('records_delivered_total'), 9)
  assert.equal(value('records_filtered_total'), 3)
  assert.equal(value('s3_bytes_processed_total'), 130)
})

test('A16.18: every metric that is advertised is fed', () => {
  const { account, value } = setUp()
  const counts = { read: 5, delivered: 3, filtered: 1, quarantined: 1, bytes: 40 }
  account.moved(counts, nothingCounted)
  account.add(reportOf('quarantined', counts, 'truncated'), nothingCounted)
  account.add(reportOf('failed', {}, 'AccessDenied'), nothingCounted)
  const format = { name: 'zscaler' } as never
  const decoding = {
    layers: [],
    format,
    selectedBy: 'fallback',
    sample: Buffer.alloc(0),
    tally: { bytes: 0, oversize: 1 },
    blocks: [] as never,
  } as const
  account.add({ ...reportOf('done', {}), decoding }, nothingCounted)
  account.retried()
  account.recovered(2)
  assert.deepEqual(
    Object.keys(pipelineMetrics).filter((name) => !value(name as keyof typeof pipelineMetrics)),
    [],
  )
  assert.equal(value('s3_files_errored_total'), 2)
  assert.equal(value('s3_files_processed_total'), 2)
  assert.equal(value('delivery_delay_seconds'), 10)
})

test('what needs a look is said aloud with the reason; what went well is not', () => {
  const { account, told } = setUp()
  account.add(reportOf('done', {}), nothingCounted)
  account.add(reportOf('failed', {}, 'AccessDenied'), nothingCounted)
  account.add(reportOf('quarantined', {}, 'truncated'), nothingCounted)
  account.add(reportOf('vanished', {}, 'deleted'), nothingCounted)
  assert.deepEqual(
    told.map(({ level, facts }) => [level, (facts as { reason?: string }).reason]),
    [
      ['debug', undefined],
      ['error', 'AccessDenied'],
      ['error', 'truncated'],
      ['warn', 'deleted'],
    ],
  )
})

test('records that leave the quarantine are counted by themselves: they are among the quarantined ones already', () => {
  const { account, value } = setUp()
  account.recovered(5)
  assert.equal(account.totals.delivered, 0)
  assert.equal(account.totals.recovered, 5)
  assert.equal(value('records_recovered_total'), 5)
  assert.equal(value('records_delivered_total'), 0)
})

test('a replayed object does not tell how late objects are', () => {
  const { account, value } = setUp()
  account.add({ ...reportOf('done', {}), isReplay: true }, nothingCounted)
  assert.equal(value('delivery_delay_seconds'), 0)
  assert.equal(value('s3_files_processed_total'), 1)
})

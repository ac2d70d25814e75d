import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FakeOperations, pipelineSnapshot } from '../../../test/fakes/operations.ts'
import { continued, historiesOf, inSum } from './history.ts'

test('series that were asked for go on with what comes every second, for an hour', () => {
  const untilMs = 10_000_000
  const series = { pipeline: 'web', recordsPerSecond: [1, 2], bytesPerSecond: [10, 20], lagSeconds: [5, 6] }
  const asked = historiesOf({ stepMs: 10_000, untilMs, pipelines: [series] })
  assert.deepEqual(asked.get('web')?.times, [9990, 10_000])
  const snapshot = { ...new FakeOperations().snapshot(), pipelines: [pipelineSnapshot('web'), pipelineSnapshot('new')] }
  const next = continued(asked, { ...snapshot, atMs: untilMs + 10_000 })
  assert.deepEqual(next.get('web'), {
    times: [9990, 10_000, 10_010],
    records: [1, 2, 1],
    bytes: [10, 20, 100],
    lag: [5, 6, 0],
  })
  assert.deepEqual(next.get('new')?.times, [10_010])
  const later = continued(next, { ...snapshot, atMs: 10_005_000 + 3_600_000 })
  assert.deepEqual(later.get('web')?.times, [10_010, 13_605])
})

test('a pipeline that is gone is forgotten', () => {
  const asked = historiesOf({
    stepMs: 1,
    untilMs: 1,
    pipelines: [{ pipeline: 'old', recordsPerSecond: [], bytesPerSecond: [], lagSeconds: [] }],
  })
  assert.deepEqual([...continued(asked, new FakeOperations().snapshot()).keys()], ['web', 'dns'])
})

test('all together: rates add up, lag is the longest, and a younger pipeline counts from its beginning', () => {
  const old = { times: [1, 2, 3], records: [1, 1, 1], bytes: [10, 10, 10], lag: [9, 1, 1] }
  const young = { times: [3], records: [5], bytes: [50], lag: [4] }
  assert.deepEqual(
    inSum(
      new Map([
        ['old', old],
        ['young', young],
      ]),
    ),
    { times: [1, 2, 3], records: [1, 1, 6], bytes: [10, 10, 60], lag: [9, 1, 4] },
  )
  assert.deepEqual(inSum(new Map()), { times: [], records: [], bytes: [], lag: [] })
})

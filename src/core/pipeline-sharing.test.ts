/** Several processes on one ledger: what one gives back, another goes on with. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { FakeSink, FakeSource, never, newFolder, objectOf, pipelineOf } from '../../test/fakes/pipeline.ts'
import { openLedger } from '../ledger/sqlite.ts'

test('what a stop gives back is written down before another process can have it, and not written over later', async () => {
  const statePath = join(newFolder(), 'state.json')
  const times = { nowMs: Date.now, startMs: 0, retentionMs: 1e9, lookbackMs: 0 }
  const joint = () => openLedger({ statePath, mode: 'joint', log: testContext([]).log, ...times })
  const [one, two] = [joint(), joint()]
  const soft = new AbortController()
  const sink = new FakeSink()
  sink.fault = async () => {
    if (sink.writes === 8) soft.abort(new Error('SIGTERM'))
    return undefined
  }
  const records = Array.from({ length: 20_000 }, (_, i) => `record ${i} xxxxxxx`)
  const source = new FakeSource([objectOf(1, records)], one, { chunk: 256 })
  const taken: number[] = []
  source.finished = (object, outcome) => {
    assert.equal(outcome, 'stopped')
    const { position, counts } = two.begin(object)
    taken.push(position.records)
    two.settle(object.id, 'done', { position, counts, timeMs: 1 })
  }
  const totals = await pipelineOf(source, sink, one).run({ once: true, soft: soft.signal, hard: never })
  await one[Symbol.asyncDispose]()
  const { delivered } = totals
  assert.ok(delivered > 0 && delivered < records.length)
  assert.deepEqual([taken, two.objects()[0]?.state], [[delivered], 'done'])
  await two[Symbol.asyncDispose]()
})

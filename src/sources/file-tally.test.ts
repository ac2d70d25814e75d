import assert from 'node:assert/strict'
import { test } from 'node:test'
import { denied, FileBed } from '../../test/servers/file-bed.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { FileTally } from './file-tally.ts'

test('a poll that went through everything is told with its time, and one that did not is counted', () => {
  const meter = new MemoryMeter()
  const tally = new FileTally(meter)
  const metric = (name: string) => meter.snapshot().find((series) => series.name === name)
  tally.begin()
  tally.end(0, { startMs: 1000, nowMs: 3500 })
  tally.failed()
  assert.deepEqual([metric('poll_duration_seconds')?.count, metric('poll_duration_seconds')?.value], [1, 2.5])
  assert.equal(metric('poll_last_success_timestamp_seconds')?.value, 3.5)
  assert.equal(metric('poll_failures_total')?.value, 1)
})

test('a source of files feeds them', async () => {
  await using bed = new FileBed()
  await bed.start()
  bed.put('a', 'x')
  await bed.run()
  const metric = (name: string) => bed.meter.snapshot().find((series) => series.name === name)?.value
  assert.equal(metric('poll_last_success_timestamp_seconds'), bed.nowMs / 1000)
  bed.fault = (call) => {
    if (call === 'list') throw denied()
  }
  const soft = new AbortController()
  const polling = (async () => {
    for await (const _ of bed.source.objects({ soft: soft.signal, once: false }));
  })()
  while ((metric('poll_failures_total') ?? 0) === 0) await new Promise((resolve) => setTimeout(resolve, 2))
  soft.abort(new Error('stop'))
  await polling
  assert.equal(bed.source.dependencies[0]?.state, 'failing')
})

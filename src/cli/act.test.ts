import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryMeter } from '../telemetry/meter.ts'
import { Act } from './act.ts'
import type { Streamer } from './streamer.ts'

const never = new AbortController().signal

/** A streamer whose only pipeline is `pipeline`; what is not asked for is left out. */
function actOn(pipeline: object): Act {
  const streamer = { pipelines: [pipeline], meter: new MemoryMeter(), sample: () => undefined }
  return new Act(streamer as unknown as Streamer)
}

test('a pipeline that is restarted while a replay is planned is told so, not as a fault', async () => {
  const pipeline = {
    config: { name: 'one' },
    isOpen: true,
    parts: {
      ledger: { find: () => undefined },
      source: {
        replayed: async function* () {
          yield { id: 'a', size: 1, timeMs: 1 }
          pipeline.isOpen = false
          throw new Error('database is not open')
        },
      },
    },
  }
  const range = { pipeline: 'one', fromMs: 0, toMs: 1000, prefix: '', bytesPerSecond: 1000 }
  const planned = actOn(pipeline).planReplay(range, { signal: never })
  await assert.rejects(planned, { code: 'run.unknown', message: /restarted while.*ask again/ })
  await assert.rejects(actOn(pipeline).planReplay(range, { signal: never }), { message: /none runs now/ })
})

test('a pipeline that has ended is shown with its runs as long as the process looks after others', () => {
  const run = { id: 1, startedMs: 5, outcome: 'done' }
  const ended = {
    config: { name: 'one' },
    state: 'stopped',
    isOpen: true,
    parts: { ledger: { runs: { list: () => [run] }, objects: () => [] } },
  }
  const act = actOn(ended)
  assert.deepEqual(
    act.runs({ limit: 10 }).map(({ id, pipeline }) => [id, pipeline]),
    [[1, 'one']],
  )
  assert.deepEqual(act.objects({ limit: 10 }), [])
  ended.isOpen = false
  assert.deepEqual(act.runs({ limit: 10 }), [])
})

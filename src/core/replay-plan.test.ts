import assert from 'node:assert/strict'
import { test } from 'node:test'
import { never } from '../../test/fakes/pipeline.ts'
import { ReplayBed } from '../../test/fakes/replayed.ts'
import { planReplay } from './replay-plan.ts'

const o = { signal: never, nowMs: 1e6 }
const range = { fromMs: 2, toMs: 5, prefix: '', bytesPerSecond: 10 }

test('a plan counts objects and bytes, names the first and the last, and takes the time of the rate', async () => {
  await using bed = new ReplayBed(8)
  const seen: string[] = []
  const plan = await planReplay(bed, range, { ...o, seen: ({ key }) => seen.push(key) })
  const bytes = bed.objects.slice(2, 5).reduce((sum, { size = 0 }) => sum + size, 0)
  assert.deepEqual([plan.objects, plan.bytes, plan.seconds], [3, bytes, bytes / 10])
  assert.deepEqual([plan.first?.key, plan.last?.key], ['logs/o2', 'logs/o4'])
  assert.deepEqual(seen, ['logs/o2', 'logs/o3', 'logs/o4'])
})

test('a pipeline that was slower than the rate says how long it takes', async () => {
  await using bed = new ReplayBed(8)
  const [object = assert.fail()] = bed.objects.slice(2)
  const find = () => {
    bed.ledger.begin(object)
    const entry = bed.ledger.find(object.id) ?? assert.fail()
    return { ...entry, state: 'done', startedMs: 1000, updatedMs: 3000 } as const
  }
  const plan = await planReplay({ source: bed.source, ledger: { find } }, { ...range, bytesPerSecond: 1e9 }, o)
  assert.equal(plan.seconds, 6, 'two seconds for each of three, one at a time')
})

test('a range in which nothing can be is refused, one in which nothing is gives nothing', async () => {
  await using bed = new ReplayBed(8)
  await assert.rejects(planReplay(bed, { ...range, toMs: 2 }, o), /cannot replay this range: it ends before it begins/)
  await assert.rejects(planReplay(bed, { ...range, fromMs: 2e6, toMs: 3e6 }, o), /lies in the future/)
  const plan = await planReplay(bed, { ...range, fromMs: 900, toMs: 901 }, o)
  assert.deepEqual(plan, { objects: 0, bytes: 0, seconds: undefined, first: undefined, last: undefined })
})

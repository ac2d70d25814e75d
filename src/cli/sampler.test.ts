import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Flow } from '../core/flow.ts'
import type { FlowGauges } from '../core/flow-gauges.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { Sampler } from './sampler.ts'

test('figures that cannot be had end nothing: it is told once, until they can be had again, and the others are brought up to date', () => {
  const told: object[] = []
  const silent = () => undefined
  const log = { debug: silent, info: silent, warn: silent, error: (facts: object) => told.push(facts) }
  using sampler = new Sampler(new MemoryMeter(), log)
  let isBroken = true
  let sampled = 0
  const gaugesOf = (sample: () => void) => ({ sample }) as unknown as FlowGauges
  const flow = {} as Flow
  const broken = gaugesOf(() => {
    if (isBroken) throw new Error('disk I/O error')
  })
  const counting = gaugesOf(() => {
    sampled += 1
  })
  sampler.add({ name: 'one', flow, gauges: broken })
  sampler.add({ name: 'two', flow, gauges: counting })
  sampler.sample()
  sampler.sample()
  assert.deepEqual(told, [{ pipeline: 'one', error: 'disk I/O error' }])
  assert.equal(sampled, 2)
  isBroken = false
  sampler.sample()
  isBroken = true
  sampler.sample()
  assert.equal(told.length, 2)
})

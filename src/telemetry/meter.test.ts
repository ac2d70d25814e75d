import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bucketBounds, labelled, MemoryMeter } from './meter.ts'

const table = {
  things_total: { kind: 'counter', unit: '{thing}', help: 'Things.' },
  level: { kind: 'gauge', unit: 'By', help: 'Level.' },
  wait_seconds: { kind: 'histogram', unit: 's', help: 'Waits.' },
} as const

const valuesOf = (meter: MemoryMeter) =>
  Object.fromEntries(meter.snapshot().map(({ name, labels, value }) => [`${name} ${JSON.stringify(labels)}`, value]))

test('counters add up, gauges keep the last value, histograms sum and count', () => {
  const meter = new MemoryMeter()
  const { things_total, level, wait_seconds } = meter.bind(table, {})
  things_total.add(2)
  things_total.add(3)
  level.set(7)
  level.set(4)
  wait_seconds.record(0.5)
  wait_seconds.record(0.25)
  assert.deepEqual(valuesOf(meter), { 'things_total {}': 5, 'level {}': 4, 'wait_seconds {}': 0.75 })
  assert.equal(meter.snapshot().find(({ name }) => name === 'wait_seconds')?.count, 2)
})

test('an observation is counted in the bucket whose bound it does not exceed', () => {
  const meter = new MemoryMeter()
  const { wait_seconds } = meter.bind(table, {})
  for (const seconds of [0, 0.005, 0.0051, 1, 1e9]) wait_seconds.record(seconds)
  const buckets = meter.snapshot().find(({ name }) => name === 'wait_seconds')?.buckets ?? []
  const byBound = [...bucketBounds, Infinity].flatMap((bound, i) => (buckets[i] ? [[bound, buckets[i]]] : []))
  assert.deepEqual(byBound, [
    [0.005, 2],
    [0.01, 1],
    [1, 1],
    [Infinity, 1],
  ])
})

test('the same name and labels bound twice are one series', () => {
  const meter = new MemoryMeter()
  meter.bind(table, { a: 'x' }).things_total.add(1)
  meter.bind(table, { a: 'x' }).things_total.add(1)
  meter.bind(table, { a: 'y' }).things_total.add(1)
  const totals = meter.snapshot().filter(({ name }) => name === 'things_total')
  assert.deepEqual(
    totals.map(({ value }) => value),
    [2, 1],
  )
})

test('a labelled meter puts its labels on every series', () => {
  const meter = new MemoryMeter()
  labelled(meter, { pipeline: 'web' }).bind(table, { reason: 'x' }).things_total.add(1)
  assert.equal(valuesOf(meter)['things_total {"pipeline":"web","reason":"x"}'], 1)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePrometheus } from '../../test/servers/prometheus-parse.ts'
import { bucketBounds, labelled, MemoryMeter } from './meter.ts'
import { prometheusText } from './prometheus-text.ts'

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

test('labels in another order are the same series', () => {
  const meter = new MemoryMeter()
  meter.bind(table, { a: 'x', b: 'y' }).things_total.add(1)
  meter.bind(table, { b: 'y', a: 'x' }).things_total.add(1)
  assert.equal(valuesOf(meter)['things_total {"a":"x","b":"y"}'], 2)
})

test('each series tells since when it counts', () => {
  const beforeMs = Date.now()
  const meter = new MemoryMeter()
  meter.bind(table, {})
  for (const { startMs } of meter.snapshot()) assert.ok(startMs >= beforeMs && startMs <= Date.now())
})

test('what is forgotten is not shown any more, its instruments work on, and bound again it begins at 0', () => {
  const meter = new MemoryMeter()
  const gone = labelled(meter, { pipeline: 'web' }).bind(table, { reason: 'x' })
  const kept = labelled(meter, { pipeline: 'web2' }).bind(table, { reason: 'x' })
  gone.things_total.add(4)
  kept.things_total.add(5)
  meter.forget({ pipeline: 'web' })
  gone.things_total.add(1)
  assert.equal(valuesOf(meter)['things_total {"pipeline":"web","reason":"x"}'], undefined)
  assert.equal(valuesOf(meter)['things_total {"pipeline":"web2","reason":"x"}'], 5)
  assert.equal(meter.size, linesOf(meter))
  labelled(meter, { pipeline: 'web' }).bind(table, { reason: 'x' }).things_total.add(2)
  assert.equal(valuesOf(meter)['things_total {"pipeline":"web","reason":"x"}'], 2)
})

test('bound again without having been forgotten, counters go on', () => {
  const meter = new MemoryMeter()
  meter.bind(table, {}).things_total.add(3)
  meter.bind(table, {}).things_total.add(1)
  assert.equal(valuesOf(meter)['things_total {}'], 4)
})

test('50,000 odd keys and label values never make more than 10,000 lines, and the first one without room is told', () => {
  const told: string[] = []
  const meter = new MemoryMeter({ onDropped: (name) => told.push(name) })
  const first = meter.bind(table, { key: 'first' })
  const odd = ['"', '\\', '\n', '{}', '\u202e', '\ud800', '\0', 'x'.repeat(100_000), '__proto__', '']
  for (let i = 0; i < 50_000; i += 1) {
    const bound = meter.bind(table, { key: `${i} ${odd[i % odd.length]}` })
    bound.things_total.add(1)
    bound.level.set(1)
    bound.wait_seconds.record(1)
  }
  first.things_total.add(1)
  assert.ok(meter.size <= 10_000 && meter.size > 9_900, `${meter.size}`)
  assert.equal(meter.size, linesOf(meter))
  assert.equal(meter.dropped + meter.snapshot().length, 3 * 50_001)
  assert.equal(told.length, 1)
  const text = prometheusText(meter.snapshot())
  parsePrometheus(text)
  assert.ok(text.length < 5_000_000, `${text.length} characters`)
  assert.equal(valuesOf(meter)['things_total {"key":"first"}'], 1)
})

test('series that had no room are not remembered', () => {
  const meter = new MemoryMeter({ limit: 1 })
  const names = { odd_total: { kind: 'counter', unit: '1', help: 'Odd.' } } as const
  for (let i = 0; i < 1000; i += 1) meter.bind(names, { key: `${i}` }).odd_total.add(1)
  assert.deepEqual([meter.snapshot().length, meter.dropped], [1, 999])
  meter.forget({ key: '0' })
  meter.bind(names, { key: '7' }).odd_total.add(1)
  assert.deepEqual(valuesOf(meter), { 'odd_total {"key":"7"}': 1 })
})

/** As the text has them. */
function linesOf(meter: MemoryMeter): number {
  return prometheusText(meter.snapshot())
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#')).length
}

test('a hundred pipelines have all their counts: histograms leave them room', () => {
  const meter = new MemoryMeter()
  const histograms = Object.fromEntries(
    ['a', 'b', 'c', 'd', 'e'].map((name) => [name, { kind: 'histogram', unit: 's', help: 'x' }]),
  ) as Record<string, { kind: 'histogram'; unit: string; help: string }>
  for (let n = 0; n < 100; n += 1) {
    const own = labelled(meter, { pipeline: `p${n}` })
    own.bind(histograms, {})
    for (let i = 0; i < 60; i += 1) own.bind({ [`count_${i}_total`]: { kind: 'counter', unit: '1', help: 'x' } }, {})
  }
  const shown = meter.snapshot()
  assert.equal(shown.filter(({ spec }) => spec.kind === 'counter').length, 6000)
  assert.ok(shown.some(({ spec }) => spec.kind === 'histogram'))
  assert.ok(meter.size <= 10_000 && meter.dropped > 0)
})

test('only the gauges of a pipeline are forgotten where that is asked for: its counters go on', () => {
  const meter = new MemoryMeter()
  const own = labelled(meter, { pipeline: 'one' })
  const table = {
    up: { kind: 'gauge', unit: '1', help: 'x' },
    done_total: { kind: 'counter', unit: '1', help: 'x' },
  } as const
  own.bind(table, {}).done_total.add(3)
  meter.forget({ pipeline: 'one' }, 'gauge')
  assert.deepEqual(
    meter.snapshot().map(({ name, value }) => [name, value]),
    [['done_total', 3]],
  )
  own.bind(table, {}).up.set(1)
  assert.equal(meter.size, 2)
})

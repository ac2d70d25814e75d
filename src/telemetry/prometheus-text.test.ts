import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { parsePrometheus } from '../../test/servers/prometheus-parse.ts'
import { MemoryMeter } from './meter.ts'
import { prometheusText } from './prometheus-text.ts'

const counter = (help = 'Things.') => ({ kind: 'counter', unit: '{thing}', help }) as const
const textOf = (fill: (meter: MemoryMeter) => void): string => {
  const meter = new MemoryMeter()
  fill(meter)
  return prometheusText(meter.snapshot())
}

test('each name is told once, with its help and type, and its series stand together', () => {
  const text = textOf((meter) => {
    meter.bind({ a_total: counter() }, { outcome: 'done' }).a_total.add(2)
    meter.bind({ b: { kind: 'gauge', unit: 'By', help: 'Level.' } }, {}).b.set(-0.5)
    meter.bind({ a_total: counter() }, { outcome: 'failed' }).a_total.add(1)
  })
  assert.equal(
    text,
    `# HELP a_total Things.
# TYPE a_total counter
a_total{outcome="done"} 2
a_total{outcome="failed"} 1
# HELP b Level.
# TYPE b gauge
b -0.5
`,
  )
})

test('nothing bound is an empty text', () => {
  assert.equal(prometheusText([]), '')
})

test('A8: a histogram of seconds has buckets in which seconds can be told apart, each with all below it', () => {
  const text = textOf((meter) => {
    const { wait_seconds } = meter.bind({ wait_seconds: { kind: 'histogram', unit: 's', help: 'Waits.' } }, { at: 'x' })
    for (const seconds of [0.004, 0.2, 0.2, 7, 1e6]) wait_seconds.record(seconds)
  })
  const samples = parsePrometheus(text).get('wait_seconds')?.samples ?? []
  const bucket = (le: string) => samples.find(({ labels }) => labels.le === le && labels.at === 'x')?.value
  assert.deepEqual([bucket('0.005'), bucket('0.1'), bucket('0.25'), bucket('10'), bucket('21600')], [1, 1, 3, 4, 4])
  assert.equal(bucket('+Inf'), 5)
  const last = (name: string) => samples.find((sample) => sample.name === name)?.value
  assert.deepEqual([last('wait_seconds_count'), last('wait_seconds_sum')], [5, 1_000_007.404])
})

test('values that are no usual numbers are written as Go reads them', () => {
  const text = textOf((meter) => {
    for (const [name, value] of Object.entries({ a: Infinity, b: -Infinity, c: NaN, d: 1e300, e: 2 ** 53 }))
      meter.bind({ [name]: { kind: 'gauge', unit: '1', help: 'x' } }, {})[name]?.set(value)
  })
  const values = text.split('\n').flatMap((line) => (/^\w \S+$/.test(line) ? [line] : []))
  assert.deepEqual(values, ['a +Inf', 'b -Inf', 'c NaN', 'd 1e+300', 'e 9007199254740992'])
})

test('names that Prometheus does not allow become such that it does', () => {
  const text = textOf((meter) => {
    meter.bind({ '2nd.try-total': counter() }, { 'content-type': 'x', '9': 'y' })['2nd.try-total'].add(1)
  })
  assert.match(text, /^_2nd_try_total\{_9="y",content_type="x"\} 1$/m)
})

test('whatever labels and help hold, a reader gets it back', () => {
  const anything = fc.string({ unit: 'binary', maxLength: 30 })
  void fc.assert(
    fc.property(anything, anything, (help, value) => {
      const text = textOf((meter) => meter.bind({ a_total: counter(help) }, { key: value }).a_total.add(1))
      const family = parsePrometheus(text).get('a_total')
      assert.equal(family?.help, help)
      assert.equal(family?.samples[0]?.labels.key, value)
    }),
  )
  const hostile = 'a\\b"c\nd} 1\n# TYPE evil gauge\nevil 1'
  const families = parsePrometheus(
    textOf((meter) => meter.bind({ a_total: counter(hostile) }, { key: hostile }).a_total.add(1)),
  )
  assert.deepEqual([...families.keys()], ['a_total'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { LineCounter, ZscalerData, zscalerObject, zscalerPrefix } from './zscaler-data.ts'

test('an object has the shape the seed measured', async () => {
  const data = new ZscalerData({ objects: 1 })
  const { key, gz, bytes, lines } = await data.object(0)
  assert.equal(key, `${zscalerPrefix}year=2025/month=10/day=12/1760305292_56442_130_1.gz`)
  const text = gunzipSync(gz)
  assert.equal(text.length, bytes)
  assert.ok(bytes > 9_900_000 && bytes < 10_500_000, `${bytes} bytes`)
  assert.ok(gz.length > 640_000 && gz.length < 660_000, `${gz.length} bytes of gzip`)
  const records = text.toString().trimEnd().split('\n')
  assert.equal(records.length, 6554)
  assert.equal(lines, 6554)
  for (const record of records) {
    const { sourcetype, event } = JSON.parse(record) as { sourcetype: string; event: Record<string, string> }
    assert.equal(sourcetype, 'zscalernss-web')
    assert.match(event.datetime ?? '', /^2025-10-12 21:41:\d\d$/)
  }
})

test('the same options give the same bytes, and objects differ in every line', async () => {
  const options = { objects: 2, linesPerObject: 50 }
  const [one, two] = [new ZscalerData(options), new ZscalerData(options)]
  assert.ok(one.text(1).equals(two.text(1)))
  const lines = new Set(`${one.text(0)}${one.text(1)}`.trimEnd().split('\n'))
  assert.equal(lines.size, 100)
  const keys: string[] = []
  for await (const object of one.all()) keys.push(object.key)
  assert.deepEqual(keys, [one.key(0), one.key(1)])
})

test('objects of one second have different keys', () => {
  const data = new ZscalerData({ objects: 100, linesPerObject: 1, everySeconds: 0 })
  assert.equal(new Set(Array.from({ length: 100 }, (_, i) => data.key(i))).size, 100)
  assert.equal(data.time(99).getTime(), data.time(0).getTime())
})

test('an object of its own has the lines and name of its number and the time given', () => {
  const startMs = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
  const { key, body, bytes, lines } = zscalerObject({ object: 7, lines: 20, startMs })
  assert.match(key, /^year=2026\/month=1\/day=2\/1767323045_\d+_\d+_\d+\.gz$/)
  assert.equal(lines, 20)
  const text = gunzipSync(body)
  assert.equal(text.length, bytes)
  assert.match(text.toString(), /^\{ "sourcetype" : "zscalernss-web", "event" : \{"rid":"000007000000",/)
  const counter = new LineCounter({ objects: 8, linesPerObject: 20 })
  counter.add(text)
  assert.equal(counter.arrived(7), 20)
  assert.equal(counter.lost, 140)
})

test('the counter tells lost, duplicated and strange lines apart', () => {
  const data = new ZscalerData({ objects: 2, linesPerObject: 10 })
  const counter = new LineCounter(data)
  assert.deepEqual(counter.result(), { expected: 20, received: 0, lost: 20, duplicated: 0, strange: 0 })
  counter.add(data.text(0))
  const lines = data.text(1).toString().trimEnd().split('\n')
  counter.add(Buffer.from(lines.slice(0, 5).join('\n')))
  counter.add(Buffer.from(`${lines[4]}\n{"not":"ours"}\n\n${(lines[5] as string).slice(0, -1)}\n`))
  assert.deepEqual(counter.result(), { expected: 20, received: 18, lost: 5, duplicated: 1, strange: 2 })
  assert.equal(counter.arrived(0), 10)
  assert.equal(counter.arrived(1), 5)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { formatOf } from '../../test/conformance/decoder.ts'
import type { Format } from '../formats/format.ts'
import { enveloper } from './envelope.ts'
import { fieldReader } from './fields.ts'

const timeMs = Date.parse('2025-06-01T12:00:00.007Z')
const object = { bucket: 'logs', key: 'a "b"/Zoë.gz' }
const origin = { ...object, record: 5, format: 'app', host: 'node-1' }
const head = `{"@timestamp":"2025-06-01T12:00:00.007Z","origin":${JSON.stringify(origin)}`

function enveloperOf(format: Partial<Format> = {}, o: { readonly sample?: string; readonly timeMs?: number } = {}) {
  return enveloper({
    object,
    format: 'app',
    host: 'node-1',
    reader: fieldReader({ format: formatOf(format), sample: Buffer.from(o.sample ?? '') }),
    timeOf: () => o.timeMs ?? timeMs,
  })
}

function wrapped(record: string | Buffer, format: Partial<Format> = {}, sample = ''): string {
  const out = enveloperOf(format, { sample }).wrap(Buffer.from(record), 5).toString()
  assert.ok(!/[\r\n]/.test(out), 'one line')
  return out
}

test('a JSON record keeps its own bytes behind ours', () => {
  assert.equal(
    wrapped('{"id":12345678901234567890,"n":1.50e+3 , "s":"\\u00e9\\n"}'),
    `${head},"id":12345678901234567890,"n":1.50e+3 , "s":"\\u00e9\\n"}`,
  )
  assert.equal(wrapped('{}'), `${head}}`)
  assert.equal(wrapped(' { } '), `${head} } `)
  assert.equal(wrapped('{\r\n  "a": 1,\n  "b": [\n1]\n}'), `${head},    "a": 1,   "b": [ 1] }`)
})

test('fields of the record called like ours stay, and ours are left out', () => {
  assert.equal(wrapped('{"a":1,"@timestamp":"mine"}'), `{"origin":${JSON.stringify(origin)},"a":1,"@timestamp":"mine"}`)
  assert.equal(wrapped('{"origin":null}'), '{"@timestamp":"2025-06-01T12:00:00.007Z","origin":null}')
  assert.equal(wrapped('{"\\u0040timestamp":1,"origin":2}'), '{"\\u0040timestamp":1,"origin":2}')
  // Deeper down they are no fields of the record.
  assert.equal(wrapped('{"a":{"@timestamp":1,"origin":2}}'), `${head},"a":{"@timestamp":1,"origin":2}}`)
})

test('anything else is a message', () => {
  assert.equal(wrapped('GET "/a" 200'), `${head},"message":"GET \\"/a\\" 200"}`)
  assert.equal(wrapped('[1,2]'), `${head},"message":"[1,2]"}`)
  assert.equal(wrapped('at a\n  at b'), `${head},"message":"at a\\n  at b"}`)
  assert.equal(wrapped(Buffer.from([0x61, 0xff, 0x00])), `${head},"message":"a\ufffd\\u0000"}`)
})

test('a record that only begins like a JSON object is text', () => {
  for (const record of ['{', '{"a":1', '{"a":1}}', '{"a":1} {"b":2}', '{a:1}', '{guid} x']) {
    assert.equal(wrapped(record), `${head},"message":${JSON.stringify(record)}}`)
    assert.equal(JSON.parse(wrapped(record, { decoder: 'csv', fieldSeparator: ',' })).message, record)
  }
})

test('bytes in JSON strings that are no UTF-8 become U+FFFD', () => {
  const record = Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xff]), Buffer.from('","n":1.0}')])
  assert.equal(wrapped(record), `${head},"a":"\ufffd","n":1.0}`)
})

test('delimited records bring their fields by name, but none called like ours', () => {
  const csv = {
    decoder: 'csv',
    fieldSeparator: ',',
    fieldNames: ['name', 'n', 'message', 'origin', '@timestamp', 'a "b"'],
  } as const
  assert.equal(
    wrapped('"a,b",7,m,o,t,x,y', csv),
    `${head},"message":"\\"a,b\\",7,m,o,t,x,y","name":"a,b","n":7,"a \\"b\\"":"x","field7":"y"}`,
  )
  assert.equal(
    wrapped('- 404', { decoder: 'w3c' }, '#Fields: cs-user sc-status\n'),
    `${head},"message":"- 404","sc-status":404}`,
  )
})

test('a time that RFC 3339 cannot say is left out', () => {
  for (const [ms, text] of [
    [Number.NaN, undefined],
    [Date.UTC(10_000, 0), undefined],
    [Date.UTC(10_000, 0) - 1, '9999-12-31T23:59:59.999Z'],
    [-62_167_219_200_000, '0000-01-01T00:00:00.000Z'],
    [-62_167_219_200_001, undefined],
    [0, '1970-01-01T00:00:00.000Z'],
  ] as const) {
    for (const record of ['{"a":1}', 'text', '{}']) {
      const out = JSON.parse(enveloperOf({}, { timeMs: ms }).wrap(Buffer.from(record), 0).toString())
      assert.equal(out['@timestamp'], text)
      assert.equal(out.origin.record, 0)
    }
  }
})

test('one enveloper wraps record after record, small after large', () => {
  const envelope = enveloperOf()
  const large = 'x'.repeat(100_000)
  assert.equal(JSON.parse(envelope.wrap(Buffer.from(large), 1).toString()).message, large)
  assert.equal(envelope.wrap(Buffer.from('{"a":1}'), 5).toString(), `${head},"a":1}`)
  assert.equal(JSON.parse(envelope.wrap(Buffer.from(`{"a":"${large}"}`), 2).toString()).a, large)
  assert.equal(envelope.wrap(Buffer.from('{\n}'), 5).toString(), `${head} }`)
})

test('what comes out of JSON is valid JSON in one line with all its fields', () => {
  const key = fc.oneof(fc.constantFrom('@timestamp', 'origin', 'message', '__proto__'), fc.string())
  void fc.assert(
    fc.property(fc.dictionary(key, fc.jsonValue()), fc.integer({ min: 0, max: 3 }), (given, indent) => {
      const json = JSON.stringify(given, null, indent)
      const own = JSON.parse(json) as object
      const out = wrapped(json)
      assert.deepEqual(JSON.parse(out), { '@timestamp': '2025-06-01T12:00:00.007Z', origin, ...own })
      assert.ok(out.endsWith(json.replaceAll('\n', ' ').slice(1)), 'the own bytes')
    }),
    { numRuns: 300 },
  )
})

test('what comes out of any bytes is valid JSON in one line with all the text', () => {
  const bytes = fc.oneof(
    fc.uint8Array().map((array) => Buffer.from(array)),
    fc.string({ unit: 'binary' }).map((text) => Buffer.from(text)),
    fc.jsonValue().chain((value) => {
      const json = Buffer.from(JSON.stringify({ a: value }))
      return fc.nat({ max: json.length }).map((end) => json.subarray(0, end))
    }),
  )
  const formats = [
    {},
    { decoder: 'csv', fieldSeparator: ',' },
    { decoder: 'lines', fieldSeparator: ' ' },
    { decoder: 'w3c' },
  ] as const
  void fc.assert(
    fc.property(bytes, fc.constantFrom(...formats), (record, format) => {
      const out = JSON.parse(wrapped(record, format))
      assert.deepEqual(out.origin, origin)
      if ('message' in out) assert.equal(out.message, record.toString())
      else assert.deepEqual(out.a, JSON.parse(record.toString()).a)
    }),
    { numRuns: 500 },
  )
})

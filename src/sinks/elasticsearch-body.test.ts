import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { batchOf, batchOfParts, someObject } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import { BulkEncoder, type BulkShape, objectHash } from './elasticsearch-body.ts'

const time = '2026-11-21T08:30:00.000Z'
const shape: BulkShape = { action: 'create', indexAt: undefined, hasIds: true, hasTimestamps: false }
const bare: BulkShape = { ...shape, action: 'index', hasIds: false }
const stream: BulkShape = { ...bare, hasTimestamps: true }

/** The lines of the body, the action lines left out. */
function documents(records: readonly (string | Buffer)[], o: BulkShape = bare, multiline = false): string[] {
  const batch = batchOf(blockOf(records, 0, multiline))
  const lines = new BulkEncoder(o).encode(batch, new Uint8Array(batch.count)).toString().split('\n')
  assert.equal(lines.pop(), '')
  assert.equal(lines.length, 2 * batch.count)
  for (let i = 0; i < lines.length; i += 2) assert.equal(lines[i], '{"index":{}}')
  return lines.filter((_, i) => i % 2 === 1)
}

test('action lines name object and record, by the numbers that filters leave, and the index of the time', () => {
  const block = { ...blockOf(['{}', '{}', '{}']), first: 7 }
  const kept = { numbers: Uint32Array.of(1, 99, 4_294_967_295), next: 4_294_967_296, refused: [] }
  const parts = [
    { block, from: 1, to: 3, object: someObject },
    { block: { ...block, kept }, from: 0, to: 3, object: { ...someObject, id: `b/${'ü'.repeat(500)}@2`, timeMs: 0 } },
    { block: { ...block, first: 2 ** 40 }, from: 0, to: 1, object: someObject },
  ]
  const indexAt = (timeMs: number) => `at-${timeMs}`
  const body = new BulkEncoder({ ...shape, indexAt }).encode(batchOfParts(parts), new Uint8Array(6)).toString()
  const actions = body
    .split('\n')
    .filter((line) => line !== '' && line !== '{}')
    .map((line) => JSON.parse(line) as { create: { _index: string; _id: string } })
  const [short, long] = [objectHash(someObject), objectHash({ ...someObject, id: `b/${'ü'.repeat(500)}@2` })]
  const at = `at-${someObject.timeMs}`
  assert.deepEqual(
    actions.map(({ create }) => [create._index, create._id]),
    [
      [at, `${short}-8`],
      [at, `${short}-9`],
      ['at-0', `${long}-1`],
      ['at-0', `${long}-99`],
      ['at-0', `${long}-4294967295`],
      [at, `${short}-1099511627776`],
    ],
  )
  assert.equal(long.length, 43)
})

test('what is settled is left out', () => {
  const batch = batchOf(blockOf(['{"a":0}', '{"a":1}']), blockOf(['{"a":2}', '{"a":3}']))
  const body = new BulkEncoder(bare).encode(batch, Uint8Array.of(1, 0, 0, 1)).toString()
  assert.equal(body, '{"index":{}}\n{"a":1}\n{"index":{}}\n{"a":2}\n')
})

test('JSON objects go byte for byte, all else becomes a message with the time of the object', () => {
  assert.deepEqual(documents(['{"a" : 1.0, "a":"\\u00fc"}', ' {"a":1}\r', '{ }']), [
    '{"a" : 1.0, "a":"\\u00fc"}',
    '{"a":1}',
    '{ }',
  ])
  const texts = [
    'plain',
    '{foo}',
    '{foo} bar',
    '{"a":1} tail',
    '[1]',
    '"s"',
    '17',
    '{',
    '}',
    ' ',
    '\t"q" \\ \u0000\u001b[0m\u007f ü',
  ]
  assert.deepEqual(
    documents(texts).map((line) => JSON.parse(line)),
    texts.map((message) => ({ '@timestamp': time, message })),
  )
})

test('bytes that are no UTF-8 become U+FFFD, in messages and in objects', () => {
  const latin = (text: string) => Buffer.from(text, 'latin1')
  assert.deepEqual(documents([latin('Gr\xfc\xdfe'), 'fine ü', latin('{"a":"\xfc"}')]), [
    `{"@timestamp":"${time}","message":"Gr\ufffd\ufffde"}`,
    `{"@timestamp":"${time}","message":"fine ü"}`,
    '{"a":"\ufffd"}',
  ])
})

test('an object of several lines is put in one; what is no JSON becomes a message; neither breaks the lines that follow', () => {
  const pretty = '{\n  "a": [\r\n    1,\n 2 ],\n  "b": "x\\ny"\n}'
  const broken = '{"a": "raw\nbreak"}'
  const trace = 'Error: x\n\tat y\n{"create":{}}'
  const [first, second, third, last] = documents([pretty, broken, trace, '{"z":1}'], bare, true)
  assert.deepEqual(JSON.parse(first as string), JSON.parse(pretty))
  assert.deepEqual(JSON.parse(second as string), { '@timestamp': time, message: broken })
  assert.deepEqual(JSON.parse(third as string), { '@timestamp': time, message: trace })
  assert.equal(last, '{"z":1}')
  // A block that wrongly says its records are single lines must not break them either.
  assert.deepEqual(documents([pretty, broken, trace, '{"z":1}'], bare, false), [first, second, third, last])
})

test('a data stream gets @timestamp where the object itself has none', () => {
  const put = `{"@timestamp":"${time}"`
  const cases: ReadonlyArray<readonly [string, string]> = [
    ['{"a":1}', `${put},"a":1}`],
    ['{}', `${put}}`],
    ['{ }', `${put} }`],
    ['{"@timestamp":"2020-01-01"}', '{"@timestamp":"2020-01-01"}'],
    ['{"a":{"b":[{}]},"c":"}\\"{", "@timestamp" : 5}', '{"a":{"b":[{}]},"c":"}\\"{", "@timestamp" : 5}'],
    ['{"a":{"@timestamp":1}}', `${put},"a":{"@timestamp":1}}`],
    ['{"a":"@timestamp"}', `${put},"a":"@timestamp"}`],
    ['{"a":["@timestamp"]}', `${put},"a":["@timestamp"]}`],
    ['{"a":"\\"@timestamp\\":"}', `${put},"a":"\\"@timestamp\\":"}`],
    ['text "@timestamp": 1', `${put},"message":"text \\"@timestamp\\": 1"}`],
    ['{"b":2}', `${put},"b":2}`],
  ]
  assert.deepEqual(
    documents(
      cases.map(([record]) => record),
      stream,
    ),
    cases.map(([, line]) => line),
  )
})

test('any bytes give two lines of JSON a record, and say the same as the record', () => {
  const record = fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 60 }).map((bytes) => Buffer.from(bytes)),
    fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }).map((text) => Buffer.from(text)),
    fc.dictionary(fc.string(), fc.jsonValue()).map((object) => Buffer.from(JSON.stringify(object, null, 2))),
  )
  const property = fc.property(
    fc.array(record, { minLength: 1, maxLength: 20 }),
    fc.boolean(),
    (records, hasTimestamps) => {
      const lines = documents(records, hasTimestamps ? stream : bare, true)
      for (const [i, line] of lines.entries()) {
        const text = (records[i] as Buffer).toString()
        let parsed: unknown
        try {
          parsed = JSON.parse(text)
        } catch {
          parsed = undefined
        }
        const isObject = typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
        if (isObject) {
          const stored = JSON.parse(line) as Record<string, unknown>
          const expected = parsed as Record<string, unknown>
          if (hasTimestamps && !Object.hasOwn(expected, '@timestamp')) expected['@timestamp'] = time
          assert.deepEqual(stored, expected)
        } else if (line !== text.trim()) assert.deepEqual(JSON.parse(line), { '@timestamp': time, message: text })
      }
    },
  )
  fc.assert(property, { numRuns: 300 })
})

test('a body larger than foreseen grows', () => {
  const records = Array.from({ length: 200 }, (_, i) => `${i}${'\u0001'.repeat(500)}`)
  assert.deepEqual(
    documents(records).map((line) => (JSON.parse(line) as { message: string }).message),
    records,
  )
})

test('bodies that were given back are written over, and only they', () => {
  const encoder = new BulkEncoder(bare)
  const encode = (...records: string[]) => {
    const batch = batchOf(blockOf(records))
    return encoder.encode(batch, new Uint8Array(batch.count))
  }
  const first = encode('{"a":1}', '{"a":2}')
  const held = encode('{"held":1}')
  encoder.recycle(first)
  const second = encode('{"b":1}')
  assert.equal(second.buffer, first.buffer)
  assert.equal(second.toString(), '{"index":{}}\n{"b":1}\n')
  encoder.recycle(second)
  const large = `{"c":"${'x'.repeat(10_000)}"}`
  assert.equal(encode(large).toString(), `{"index":{}}\n${large}\n`)
  assert.equal(held.toString(), '{"index":{}}\n{"held":1}\n')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeAll, decoderConformance } from '../../test/conformance/decoder.ts'
import { isJsonArray } from './json.ts'

const text = (s: string) => Buffer.from(s)
const tricky = [{ a: '}],"\\"', b: [1, [2, { c: '\\\\' }]] }, { d: 'ü\n\t"' }, {}, { e: null, f: -1.5e3, g: true }]
const records = tricky.map((value) => JSON.stringify(value))

decoderConformance('json', [
  { bytes: text(JSON.stringify(tricky)), records },
  { bytes: text(JSON.stringify({ Records: tricky })), records },
  { bytes: text(`[\n${records.join(',\n')}\n]\n`), records },
  {
    bytes: text(`${JSON.stringify({ Records: tricky })}\n${JSON.stringify({ Records: tricky })}`),
    records: [...records, ...records],
  },
  { bytes: text('{"Records":[]}'), records: [] },
])

decoderConformance(
  'json by records_path',
  [
    {
      bytes: text(`{"v":[1,{"events":[9]}],"events":[1,"two, ]",null,{"x":[]}],"after":{"events":0}}`),
      records: ['1', '"two, ]"', 'null', '{"x":[]}'],
    },
  ],
  { format: { decoder: 'json', recordsPath: 'events' } },
)

test('line ends between tokens become spaces, everything else stays byte for byte', async () => {
  const { records: found } = await decodeAll(text('[\r\n  {\n    "a": 1.10,\r\n    "b":"x  y"\n  }\n]'))
  assert.deepEqual(found, ['{     "a": 1.10,      "b":"x  y"   }'])
})

test('what is an array by its content, and what only looks like one', () => {
  for (const yes of ['[{"a":1}]', ' [ { } ]', '[]', '{"Records":[{', '{ "records" : [ {'])
    assert.ok(isJsonArray(text(yes)), yes)
  for (const no of [
    '[2025-10-12 21:00:00] INFO x',
    '[error] {',
    '{"msg":"x","Records":[1]}',
    '{"records":["a"]}',
    'plain',
    '{"a":[{}]}',
  ]) {
    assert.ok(!isJsonArray(text(no)), no)
  }
})

test('a log of lines that begin with a bracket stays a log of lines', async () => {
  const lines = ['[2025-10-12 21:00:00] INFO a', '[2025-10-12 21:00:01] INFO b']
  assert.deepEqual((await decodeAll(text(lines.join('\n')))).records, lines)
})

test('broken JSON gives its good elements and then says where it broke', async () => {
  for (const cuts of [[], [1], [5]]) {
    const cut = await decodeAll(text('{"Records":[{"a":1},{"a":2},{"a":'), { cuts })
    assert.deepEqual(cut.records, ['{"a":1}', '{"a":2}'])
    assert.equal(cut.error?.code, 'decode.malformed')
    const wrong = await decodeAll(text('[{"a":1}] rubbish'), { cuts })
    assert.deepEqual(wrong.records, ['{"a":1}'])
    assert.match(wrong.error?.message ?? '', /"r" where an array or object should begin at decoded byte 10/)
    const missing = await decodeAll(text('{"a":1}'), { cuts, format: { decoder: 'json', recordsPath: 'events' } })
    assert.match(missing.error?.message ?? '', /no array and no member "events"/)
  }
})

test('an element longer than the limit is reported, the others are delivered', async () => {
  for (const cuts of [[], [1], [40]]) {
    const long = JSON.stringify({ x: 'y'.repeat(300) })
    const { records: found, error } = await decodeAll(text(`[{"a":1},${long},{"a":2}]`), {
      cuts,
      limits: { lineBytes: 100 },
    })
    assert.deepEqual(found, ['{"a":1}', '{"a":2}'])
    assert.equal(error?.code, 'decode.line_limit')
  }
})

test('for any values and any cuts, each element is one record with the same meaning', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.dictionary(fc.string(), fc.jsonValue()), { minLength: 1, maxLength: 6 }),
      fc.constantFrom(undefined, 1, '\t'),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      async (values, indent, cuts) => {
        for (const whole of [values, { Records: values }]) {
          const { records: found } = await decodeAll(text(JSON.stringify(whole, null, indent)), { cuts })
          assert.deepEqual(
            found.map((record) => JSON.parse(record)),
            JSON.parse(JSON.stringify(values)),
          )
        }
      },
    ),
    { numRuns: 40 },
  )
})

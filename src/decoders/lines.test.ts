import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeAll, decoderConformance } from '../../test/conformance/decoder.ts'

const text = (s: string) => Buffer.from(s)

decoderConformance('lines', [
  { bytes: text('one\ntwo\nthree\n'), records: ['one', 'two', 'three'] },
  { bytes: text('one\ntwo\nno final newline'), records: ['one', 'two', 'no final newline'] },
  { bytes: text('crlf\r\nmixed\nlines\r\n\r\n\n\nend\r\n'), records: ['crlf', 'mixed', 'lines', 'end'] },
  { bytes: text('zażółć\ngęślą 🦆\n日本\n'), records: ['zażółć', 'gęślą 🦆', '日本'] },
  {
    bytes: text(Array.from({ length: 500 }, (_, i) => `{"n":${i}}\n`).join('')),
    records: Array.from({ length: 500 }, (_, i) => `{"n":${i}}`),
  },
  { bytes: text('\ufeffwith a byte order mark\nnext\n'), records: ['with a byte order mark', 'next'] },
])

decoderConformance('lines with headers', [{ bytes: text('h1\n\nh3\nfirst\nsecond\n'), records: ['first', 'second'] }], {
  format: { skipHeaderLines: 3 },
})

decoderConformance(
  'w3c',
  [{ bytes: text('#Version: 1.0\r\n#Fields: a b\r\n1\t2\r\n#Date: x\r\n3\t4'), records: ['1\t2', '3\t4'] }],
  { format: { decoder: 'w3c' } },
)

decoderConformance(
  'csv',
  [
    {
      bytes: text('a,b\n1,2\r\n"x\ny",3\n"say ""hi""\n!",4\n5" disk,6\n7,8'),
      records: ['1,2', '"x\ny",3', '"say ""hi""\n!",4', '5" disk,6', '7,8'],
    },
  ],
  { format: { decoder: 'csv', skipHeaderLines: 1 } },
)

test('bytes that are no UTF-8, NUL among them, go through as they are', async () => {
  const bytes = Buffer.from([0xff, 0x00, 0xfe, 10, 0x80, 10])
  const { blocks } = await decodeAll(bytes)
  assert.deepEqual(Buffer.concat(blocks.map(({ data }) => data)), bytes)
})

test('clean lines are not copied: the block is a view of the piece', async () => {
  const { blocks } = await decodeAll(text('a\nb\nc\n'))
  assert.equal(blocks.length, 1)
  assert.equal(blocks[0]?.data.length, 6)
  assert.equal(blocks[0]?.resumeAt, 6)
})

test('A16.15: all header lines of the format are skipped, not only the first', async () => {
  const { records } = await decodeAll(text('# a\n# b\n# c\ndata\n'), { format: { skipHeaderLines: 3 } })
  assert.deepEqual(records, ['data'])
})

test('A16.11: a line longer than the limit is split, cut or left out, and the lines after it are read', async () => {
  const long = `${'x'.repeat(250)}é`
  for (const cuts of [[], [1], [33], [100], [101]]) {
    const bytes = text(`before\n${long}\nafter\n`)
    const split = await decodeAll(bytes, { cuts, limits: { lineBytes: 100 } })
    assert.deepEqual(split.records, ['before', 'x'.repeat(100), 'x'.repeat(100), `${'x'.repeat(50)}é`, 'after'])
    const cut = await decodeAll(bytes, { cuts, limits: { lineBytes: 100, linePolicy: 'truncate' } })
    assert.deepEqual(cut.records, ['before', 'x'.repeat(100), 'after'])
    const kept = await decodeAll(bytes, { cuts, limits: { lineBytes: 100, linePolicy: 'quarantine' } })
    assert.deepEqual(kept.records, ['before', 'after'])
    assert.equal(kept.error?.code, 'decode.line_limit')
    assert.match(kept.error?.message ?? '', /1 records are longer than line_limit \(100 bytes\).*after 1 records/)
  }
})

test('a line of exactly the limit is whole, with LF, CRLF or at the end', async () => {
  const line = 'y'.repeat(100)
  for (const cuts of [[], [1], [50], [101], [102], [105]]) {
    const { records } = await decodeAll(text(`${line}\n${line}\r\n${line}`), { cuts, limits: { lineBytes: 100 } })
    assert.deepEqual(records, [line, line, line])
  }
})

test('splitting does not cut a UTF-8 character in two', async () => {
  for (const cuts of [[], [1], [7]]) {
    const { records } = await decodeAll(text(`${'ü'.repeat(20)}\n`), { cuts, limits: { lineBytes: 7 } })
    assert.equal(records.join(''), 'ü'.repeat(20))
    assert.ok(records.every((record) => !record.includes('\ufffd')))
  }
})

test('a plain object goes on in the middle without being read from its start', async () => {
  const lines = Array.from({ length: 100_000 }, (_, i) => `line ${i}`)
  const bytes = text(`${lines.join('\n')}\n`)
  const whole = await decodeAll(bytes, { cuts: [10_000] })
  const block = whole.blocks[8]
  assert.ok(block)
  const resume = {
    records: block.first + block.ends.length + 3,
    offset: block.resumeAt,
    offsetRecords: block.first + block.ends.length,
  }
  const rest = await decodeAll(bytes, { cuts: [10_000], resume })
  assert.deepEqual(rest.opened, [0, block.resumeAt])
  assert.deepEqual(rest.records, lines.slice(resume.records))
})

test('for any text and any cuts, the records are its non-blank lines', async () => {
  const line = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constant(''),
    fc.constant('\r'),
    fc.string({ unit: 'binary' }),
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(line),
      fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1 }),
      fc.boolean(),
      async (lines, cuts, final) => {
        const source = `#${lines.join('\n')}${final ? '\n' : ''}`
        const expected = Buffer.from(source)
          .toString()
          .split('\n')
          .map((record) => record.replace(/\r$/, ''))
          .filter((record) => record !== '')
        const { records } = await decodeAll(Buffer.from(source), { cuts })
        assert.deepEqual(records, expected)
      },
    ),
    { numRuns: 60 },
  )
})

test('going on from any block gives exactly the rest, also where lines are copied and where long ones are split', async () => {
  const lines = Array.from({ length: 120_000 }, (_, i) => (i % 997 === 0 ? `${i} ${'x'.repeat(1500)}` : `line ${i}`))
  const bytes = text(`${lines.join('\r\n')}\r\n`)
  const o = { cuts: [300_000], limits: { lineBytes: 400 } }
  const whole = await decodeAll(bytes, o)
  assert.ok(whole.blocks.length > 4)
  for (const { first, ends, resumeAt } of whole.blocks) {
    if (resumeAt < 0) continue
    const records = first + ends.length
    const rest = await decodeAll(bytes, { ...o, resume: { records, offset: resumeAt, offsetRecords: records } })
    assert.deepEqual(rest.records, whole.records.slice(records))
  }
})

test('a record that the policy keeps out is told again when reading goes on behind it', async () => {
  const bytes = text(`${'x'.repeat(200)}\n${'line\n'.repeat(50_000)}`)
  const o = { cuts: [6000], limits: { lineBytes: 100, linePolicy: 'quarantine' } } as const
  const { blocks } = await decodeAll(bytes, o)
  const block = blocks[2]
  assert.ok(block)
  const records = block.first + block.ends.length
  const rest = await decodeAll(bytes, { ...o, resume: { records, offset: block.resumeAt, offsetRecords: records } })
  assert.equal(rest.records.length, 50_000 - records)
  assert.equal(rest.error?.code, 'decode.line_limit')
})

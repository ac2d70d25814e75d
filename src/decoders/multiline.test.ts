import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { decodeAll, decoderConformance } from '../../test/conformance/decoder.ts'

const text = (s: string) => Buffer.from(s)
const postgres = [
  '2025-10-12 21:00:00 UTC:1:LOG:  statement: SELECT 1',
  '2025-10-12 21:00:01 UTC:1:ERROR:  syntax error\n\tat character 8\n\nSTATEMENT:  SELEC',
  '2025-10-12 21:00:02 UTC:1:LOG:  done',
]

decoderConformance(
  'multiline',
  [
    { bytes: text(`${postgres.join('\n')}\n`), records: postgres },
    { bytes: text(`${postgres.join('\r\n')}\r\n\r\n`), records: postgres },
    {
      bytes: text(`lines before the first start\nstay together\n${postgres[0]}`),
      records: ['lines before the first start\nstay together', postgres[0] as string],
    },
  ],
  { format: { decoder: 'lines', multilineStart: '^\\d{4}-\\d\\d-\\d\\d ' } },
)

test('blocks say which records may contain line ends', async () => {
  const { blocks } = await decodeAll(text('# a\n# b\nbody\n'), { format: { multilineStart: '^# ' } })
  const flags = blocks.map(({ data, multiline }) => [data.toString(), multiline])
  assert.deepEqual(flags, [
    ['# a\n', false],
    ['# b\nbody\n', true],
  ])
})

test('a record longer than the limit is split, cut or left out', async () => {
  const bytes = text(`# one\n${'x'.repeat(50)}\n${'y'.repeat(50)}\n# two\nz\n`)
  const format = { multilineStart: '^# ' }
  for (const cuts of [[], [1], [13]]) {
    const split = await decodeAll(bytes, { cuts, format, limits: { lineBytes: 40 } })
    assert.equal(split.records.join('').replaceAll('\n', ''), `# one${'x'.repeat(50)}${'y'.repeat(50)}# twoz`)
    const cut = await decodeAll(bytes, { cuts, format, limits: { lineBytes: 40, linePolicy: 'truncate' } })
    assert.deepEqual(cut.records, [`# one\n${'x'.repeat(34)}`, '# two\nz'])
    const kept = await decodeAll(bytes, { cuts, format, limits: { lineBytes: 40, linePolicy: 'quarantine' } })
    assert.deepEqual(kept.records, ['# two\nz'])
    assert.equal(kept.error?.code, 'decode.line_limit')
  }
})

test('bytes after the compressed data do not cost the last record', async () => {
  const bytes = Buffer.concat([gzipSync(text('# a\nb\n# c\nd\n')), Buffer.from('junk')])
  const { records, error } = await decodeAll(bytes, { format: { multilineStart: '^# ' } })
  assert.deepEqual(records, ['# a\nb', '# c\nd'])
  assert.equal(error?.code, 'decode.trailing_bytes')
})

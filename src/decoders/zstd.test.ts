import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constants, zstdCompressSync } from 'node:zlib'
import { decodeAll, decoderConformance } from '../../test/conformance/decoder.ts'

const lines = Array.from(
  { length: 30_000 },
  (_, i) => `{"n":${i},"hash":"${((i * 2654435761) % 2 ** 32).toString(36)}"}`,
)
const text = Buffer.from(`${lines.join('\n')}\n`)
const checked = { params: { [constants.ZSTD_c_checksumFlag]: 1 } }
const large = zstdCompressSync(text, checked)
const small = (s: string) => zstdCompressSync(Buffer.from(s))
const skippable = Buffer.concat([Buffer.from([0x5a, 0x2a, 0x4d, 0x18, 5, 0, 0, 0]), Buffer.from('abcde')])

decoderConformance('zstd', [
  { bytes: Buffer.concat([small('a\n'), small('b\nc'), skippable, small('d\n')]), records: ['a', 'b', 'cd'] },
  {
    bytes: Buffer.concat([skippable, zstdCompressSync(Buffer.from('x\n'.repeat(3)), checked)]),
    records: ['x', 'x', 'x'],
  },
  { bytes: zstdCompressSync(Buffer.from(`${'z'.repeat(5000)}\n`)), records: ['z'.repeat(5000)] },
])

test('all frames are read, large and small, wherever the pieces are cut (Node stops after the first)', async () => {
  const bytes = Buffer.concat([large, small('x\n'), large, skippable, small('y\n'), large])
  for (const cuts of [[], [10_000], [large.length], [large.length + 3]]) {
    const { records, error, layers } = await decodeAll(bytes, { cuts })
    assert.equal(error, undefined)
    assert.deepEqual(layers, ['zstd'])
    assert.deepEqual(records, [...lines, 'x', ...lines, 'y', ...lines])
  }
})

test('truncated, corrupt and trailing bytes give what is good, then say so', async () => {
  const cut = await decodeAll(large.subarray(0, large.length - 100), { cuts: [8000] })
  assert.equal(cut.error?.code, 'decode.truncated')
  assert.ok(cut.records.length > 1000)
  assert.deepEqual(cut.records, lines.slice(0, cut.records.length))
  const damaged = Buffer.from(large)
  damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1
  const wrong = await decodeAll(damaged, { cuts: [8000] })
  assert.equal(wrong.error?.code, 'decode.corrupt')
  const trailing = await decodeAll(Buffer.concat([small('a\nb'), Buffer.from('junk')]))
  assert.equal(trailing.error?.code, 'decode.trailing_bytes')
  assert.deepEqual(trailing.records, ['a', 'b'])
})

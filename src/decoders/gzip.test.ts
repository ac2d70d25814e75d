import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deflateRawSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { decodeAll, decoderConformance } from '../../test/conformance/decoder.ts'

const lines = Array.from({ length: 3000 }, (_, i) => `{"n":${i},"hash":"${((i * 2654435761) % 2 ** 32).toString(36)}"}`)
const text = Buffer.from(`${lines.join('\n')}\n`)
const gz = gzipSync(text)
const small = (s: string) => gzipSync(Buffer.from(s))

decoderConformance('gzip', [
  { bytes: gz, records: lines },
  { bytes: Buffer.concat([small('a\nb'), small('c\n'), small(''), small('d\n')]), records: ['a', 'bc', 'd'] },
  { bytes: Buffer.concat([small('a\n'), Buffer.alloc(700), small('b\n'), Buffer.alloc(3)]), records: ['a', 'b'] },
  { bytes: gzipSync(small('inside\ninside\n')), records: ['inside', 'inside'] },
])

test('members of every size are read, in any order', async () => {
  const bytes = Buffer.concat([gz, small('x\n'), gz, small('y\n'), small('z\n'), gz])
  const { records, layers, error } = await decodeAll(bytes, { cuts: [5000] })
  assert.equal(error, undefined)
  assert.deepEqual(layers, ['gzip'])
  assert.deepEqual(records, [...lines, 'x', ...lines, 'y', 'z', ...lines])
})

test('a header with extra field, name, comment and checksum is passed over', async () => {
  const body = deflateRawSync(Buffer.from('hello\n'))
  const trailer = small('hello\n').subarray(-8)
  const header = Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 255, 3, 0, 1, 2, 3]),
    Buffer.from('name.log\0a comment\0'),
    Buffer.from([0, 0]),
  ])
  for (const cuts of [[], [1], [4]]) {
    assert.deepEqual((await decodeAll(Buffer.concat([header, body, trailer]), { cuts })).records, ['hello'])
  }
})

test('A16.11: a truncated object gives every whole line before the end, then says where it ended', async () => {
  for (const cuts of [[], [100], [4096]]) {
    const { records, error } = await decodeAll(gz.subarray(0, gz.length - 4000), { cuts })
    assert.equal(error?.code, 'decode.truncated')
    assert.equal(error?.data.offset, gz.length - 4000)
    assert.ok(records.length > 1000)
    assert.deepEqual(records, lines.slice(0, records.length))
  }
})

test('cut off anywhere, it ends with an error and never with wrong records', async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: gz.length - 1 }), async (length) => {
      const { records, error } = await decodeAll(gz.subarray(0, length))
      if (length < 4) return
      assert.ok(error, `no error at ${length}`)
      assert.deepEqual(records, lines.slice(0, records.length))
    }),
    { numRuns: 40 },
  )
})

test('a corrupt object gives what could be inflated before the damage', async () => {
  // Block type 3 does not exist: zlib refuses it where it stands.
  const damaged = Buffer.concat([gz.subarray(0, 10), deflateRawSync(text, { finishFlush: 2 }), Buffer.alloc(64, 0xff)])
  for (const cuts of [[], [1000], [4096]]) {
    const { records, error } = await decodeAll(damaged, { cuts })
    assert.equal(error?.code, 'decode.corrupt')
    assert.deepEqual(records, lines)
  }
})

test('a wrong checksum or length is noticed after everything was delivered', async () => {
  for (const at of [gz.length - 8, gz.length - 1]) {
    const damaged = Buffer.from(gz)
    damaged[at] = (damaged[at] as number) ^ 1
    const { records, error } = await decodeAll(damaged)
    assert.deepEqual(records, lines)
    assert.equal(error?.code, 'decode.corrupt')
  }
})

test('bytes after the last member do not cost a line, and are reported', async () => {
  for (const cuts of [[], [1000]]) {
    const { records, error } = await decodeAll(Buffer.concat([gzipSync(Buffer.from('a\nb')), Buffer.from('junk')]), {
      cuts,
    })
    assert.deepEqual(records, ['a', 'b'])
    assert.equal(error?.code, 'decode.trailing_bytes')
  }
})

test('an object that inflates without end is stopped by its ratio', async () => {
  const bomb = gzipSync(Buffer.alloc(8 * 2 ** 20, '0123456789\n'))
  const { error, blocks } = await decodeAll(bomb, { limits: { ratio: 100, ratioFreeBytes: 2 ** 20 } })
  assert.equal(error?.code, 'decode.ratio_limit')
  assert.ok(blocks.length > 0)
  const sized = await decodeAll(bomb, { limits: { totalBytes: 1000 } })
  assert.equal(sized.error?.code, 'decode.size_limit')
  assert.equal(
    sized.blocks.reduce((sum, { data }) => sum + data.length, 0),
    990,
  )
})

test('what is compressed in another way is named, not sent as garbage', async () => {
  const { error } = await decodeAll(Buffer.concat([Buffer.from('fd377a585a0000', 'hex'), Buffer.alloc(20)]))
  assert.equal(error?.code, 'decode.unsupported')
  assert.match(error?.message ?? '', /is xz, which is not supported/)
  assert.match((await decodeAll(Buffer.from('BZh91AY&SYxxxxxxxxx'))).error?.message ?? '', /bzip2/)
})

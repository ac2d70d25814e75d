import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { decodeAll, formatOf, limits } from '../../test/conformance/decoder.ts'
import { StreamError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import { decode } from './decode.ts'

const text = Buffer.from('{"a":1}\n{"a":2}\n')

test('compression is found by content, whatever the name: gzip, zstd, plain, and one in another', async () => {
  for (const [bytes, layers] of [
    [text, []],
    [gzipSync(text), ['gzip']],
    [zstdCompressSync(text), ['zstd']],
    [gzipSync(gzipSync(text)), ['gzip', 'gzip']],
    [zstdCompressSync(gzipSync(text)), ['zstd', 'gzip']],
  ] as const) {
    const decoded = await decodeAll(bytes)
    assert.deepEqual(decoded.layers, layers)
    assert.deepEqual(decoded.records, ['{"a":1}', '{"a":2}'])
  }
})

test('more layers than a log has are refused', async () => {
  let bytes = text
  for (let i = 0; i < 5; i += 1) bytes = gzipSync(bytes)
  assert.equal((await decodeAll(bytes)).error?.code, 'decode.unsupported')
})

test('an error of the source passes through, after the records before it', async () => {
  const format = formatOf()
  const open = async function* () {
    yield Buffer.from('one\ntwo\nthr')
    throw new StreamError('source.unavailable', 'connection reset')
  }
  const decoding = await decode(open, {
    key: 'k',
    formats: { list: [format], timeFromKey: () => undefined, select: () => ({ format, by: 'fixed' }) },
    limits,
    resume: undefined,
    slots: new Slots(1),
    signal: new AbortController().signal,
  })
  let records = 0
  await assert.rejects(async () => {
    for await (const block of decoding.blocks) records += block.ends.length
  }, /connection reset/)
  assert.equal(records, 2)
})

test('the separator of csv is guessed from its first line, or given', async () => {
  const tabs = Buffer.from('a\tb\n1\t"x\ny"\n')
  const format = { decoder: 'csv', skipHeaderLines: 1 } as const
  assert.deepEqual((await decodeAll(tabs, { format })).records, ['1\t"x\ny"'])
  const semicolons = Buffer.from('a;b\n1;"x\ny"\n')
  assert.deepEqual((await decodeAll(semicolons, { format: { ...format, fieldSeparator: ';' } })).records, ['1;"x\ny"'])
})

test('the tally counts decoded bytes', async () => {
  const format = formatOf()
  const decoding = await decode(
    async function* () {
      yield gzipSync(text)
    },
    {
      key: 'k',
      formats: { list: [format], timeFromKey: () => undefined, select: () => ({ format, by: 'fixed' }) },
      limits,
      resume: undefined,
      slots: new Slots(1),
      signal: new AbortController().signal,
    },
  )
  for await (const _ of decoding.blocks);
  assert.equal(decoding.tally.bytes, text.length)
  assert.equal(decoding.sample.toString(), text.toString())
})

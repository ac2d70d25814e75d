import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Reader, readRecordsBatch } from '@platformatic/kafka'
import fc from 'fast-check'
import { batchOf, batchOfParts, someObject, textOf } from '../../test/conformance/sink.ts'
import { readRecordBatch } from '../../test/servers/kafka-log.ts'
import { type Block, blockOf, recordNumber } from '../core/block.ts'
import type { Batch, Origin } from '../core/component.ts'
import { type KeyFrom, keysOf, partitionRuns } from './kafka-keys.ts'
import { type KafkaCompression, RecordEncoder, stampBatch } from './kafka-records.ts'

const stamp = { producerId: 4711n, producerEpoch: 3, baseSequence: 42 }

async function encoded(
  batch: Batch,
  o: { compression?: KafkaCompression; limitBytes?: number; headers?: boolean; key?: KeyFrom } = {},
) {
  const encoder = new RecordEncoder({
    compression: o.compression ?? 'none',
    limitBytes: o.limitBytes ?? 1024 * 1024,
    headers: o.headers ?? true,
  })
  const keys = keysOf(batch, o.key ?? 'none')
  const [run] = partitionRuns(batch.count, undefined, 1)
  const batches = await encoder.encode(batch, run?.indexes ?? new Uint32Array(), keys)
  for (const { bytes } of batches) stampBatch(bytes, stamp)
  return batches
}

const record = fc.oneof(
  fc.string({ minLength: 1, unit: 'grapheme' }),
  fc.json(),
  fc.string({ minLength: 120, maxLength: 400 }),
)
const object = fc.record({
  id: fc.string({ maxLength: 150 }),
  bucket: fc.string({ maxLength: 20 }),
  key: fc.string({ maxLength: 150, unit: 'grapheme' }),
  timeMs: fc.oneof(fc.integer({ min: 0, max: 4e12 }), fc.constantFrom(0, 1, 2 ** 31, 2 ** 32, 2 ** 40)),
})
const part = fc.record({
  records: fc.array(record, { minLength: 1, maxLength: 12 }),
  first: fc.constantFrom(0, 9, 10, 99, 1_000_000, 2 ** 33),
  object,
})
const compression = fc.constantFrom<KafkaCompression>('none', 'gzip', 'snappy', 'lz4', 'zstd')

test('what is encoded is read back the same by a reader of our own and by the library', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(part, { minLength: 1, maxLength: 5 }),
      compression,
      fc.boolean(),
      fc.constantFrom<KeyFrom>('none', 'object', { field: 'a' }),
      fc.constantFrom(300, 2000, 1024 * 1024),
      async (parts, codec, headers, key, limitBytes) => {
        const batch = batchOfParts(
          parts.map(({ records, first, object }) => {
            const block: Block = blockOf(records, first)
            return { block, from: 0, to: block.ends.length, object: object as Origin }
          }),
        )
        const expected = batch.parts.flatMap(({ block, object }) =>
          textOf(batchOf(block)).map((value, i) => ({
            value,
            timestamp: object.timeMs,
            headers: headers
              ? {
                  'x-origin': `s3://${object.bucket}/${object.key}`,
                  'x-record-id': `${object.id}#${recordNumber(block, i)}`,
                }
              : {},
          })),
        )
        const keys = keysOf(batch, key)
        const batches = await encoded(batch, { compression: codec, limitBytes, headers, key })
        const read = batches.flatMap(({ bytes }) => readRecordBatch(bytes).records)
        assert.deepEqual(
          read.map(({ value, timestamp, headers }) => ({ value: value.toString(), timestamp, headers })),
          expected.map(({ headers, ...rest }) => ({ ...rest, headers: { ...headers } })),
        )
        for (const [i, { key }] of read.entries()) {
          const start = keys?.starts[i] ?? -1
          assert.deepEqual(key, start < 0 ? null : keys?.bytes.subarray(start, keys.ends[i]))
        }
        const theirs = batches.flatMap(({ bytes }) => readRecordsBatch(Reader.from(bytes)).records)
        assert.deepEqual(
          theirs.map(({ value }) => value?.toString()),
          expected.map(({ value }) => value),
        )
      },
    ),
    { numRuns: 150 },
  )
})

test('the fields of the producer are stamped into the head, and may be stamped again', async () => {
  const [one] = await encoded(batchOf(blockOf(['a', 'b'])), { compression: 'zstd' })
  assert.ok(one)
  const first = readRecordBatch(one.bytes)
  assert.deepEqual(
    [first.producerId, first.producerEpoch, first.baseSequence, first.codec, one.valueBytes],
    [4711n, 3, 42, 4, 2],
  )
  stampBatch(one.bytes, { producerId: 2n ** 40n, producerEpoch: 0, baseSequence: 0x7fffffff })
  const second = readRecordBatch(one.bytes)
  assert.deepEqual([second.producerId, second.producerEpoch, second.baseSequence], [2n ** 40n, 0, 0x7fffffff])
})

test('record batches stay within the limit, hold as much as fits, and only a single record exceeds it', async () => {
  const records = Array.from({ length: 200 }, (_, i) => 'x'.repeat(i === 77 ? 5000 : 20 + (i % 50)))
  const batches = await encoded(batchOf(blockOf(records)), { limitBytes: 2000 })
  for (const { bytes, indexes } of batches) assert.ok(bytes.length <= 2000 || indexes.length === 1)
  assert.deepEqual(
    batches.filter(({ bytes }) => bytes.length > 2000).map(({ indexes }) => [...indexes]),
    [[77]],
  )
  for (const [i, { bytes, indexes }] of batches.entries()) {
    const next = batches[i + 1]
    // The first record of the next one would not have fitted.
    if (next)
      assert.ok(bytes.length + next.bytes.length / next.indexes.length > 2000 - 200, `batch ${i} of ${indexes.length}`)
  }
  assert.deepEqual(
    batches.flatMap(({ indexes }) => [...indexes]),
    [...records.keys()],
  )
})

test('a cut part of a block and a block with records left out keep their record numbers', async () => {
  const kept = { numbers: Uint32Array.of(3, 8, 21), next: 30, refused: [] }
  const block = { ...blockOf(['a', 'b', 'c']), kept }
  const [one] = await encoded(batchOfParts([{ block, from: 1, to: 3, object: someObject }]))
  assert.deepEqual(
    readRecordBatch(one?.bytes ?? Buffer.alloc(0)).records.map(({ headers, value }) => [
      headers['x-record-id'],
      String(value),
    ]),
    [
      ['b/k@1#8', 'b'],
      ['b/k@1#21', 'c'],
    ],
  )
})

test('memory that is taken back is never that which Node shares among small Buffers', async () => {
  const encoder = new RecordEncoder({ compression: 'none', limitBytes: Buffer.poolSize, headers: false })
  const encode = async (text: string, count: number) => {
    const batch = batchOf(blockOf(Array.from({ length: count }, () => text)))
    const [run] = partitionRuns(batch.count, undefined, 1)
    // What Node shares is used up: what is made next is the first in a new piece.
    for (let last = Buffer.allocUnsafe(8); last.byteOffset + 8 < Buffer.poolSize; ) last = Buffer.allocUnsafe(8)
    const [one] = await encoder.encode(batch, run?.indexes ?? new Uint32Array(), undefined)
    assert.ok(one)
    return one.bytes
  }
  const small = await encode('s', 100)
  const neighbour = Buffer.from('a Buffer of somebody else')
  assert.equal(neighbour.buffer, small.buffer)
  encoder.recycle(small)
  for (let i = 0; i < 3; i += 1) await encode('L'.repeat(1000), 60)
  assert.equal(neighbour.toString(), 'a Buffer of somebody else')
})

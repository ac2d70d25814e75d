import assert from 'node:assert/strict'
import { test } from 'node:test'
import { murmur2 as libraryMurmur2 } from '@platformatic/kafka'
import fc from 'fast-check'
import { batchOf, batchOfParts, someObject } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import { type KeyFrom, keysOf, murmur2, partitionRuns } from './kafka-keys.ts'

const hash = (text: string) => murmur2(Buffer.from(text), 0, Buffer.byteLength(text))

function texts(from: KeyFrom, records: string[]): Array<string | undefined> {
  const keys = keysOf(batchOf(blockOf(records)), from)
  return records.map((_, i) => {
    const start = keys?.starts[i] ?? -1
    return start < 0 ? undefined : keys?.bytes.toString('utf8', start, keys.ends[i])
  })
}

test('murmur2 gives the numbers of the Java client', () => {
  // From UtilsTest.testMurmur2 of Apache Kafka.
  const vectors = {
    '21': -973932308,
    foobar: -790332482,
    'a-little-bit-long-string': -985981536,
    'a-little-bit-longer-string': -1486304829,
    lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8: -58897971,
    abc: 479470107,
  }
  for (const [text, expected] of Object.entries(vectors)) assert.equal(hash(text), expected, text)
})

test('murmur2 agrees with the library on any bytes, wherever they stand', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(5), (bytes, before) => {
      const data = Buffer.concat([Buffer.alloc(before, 7), bytes, Buffer.alloc(3, 9)])
      assert.equal(murmur2(data, before, before + bytes.length), libraryMurmur2(Buffer.from(bytes)))
    }),
  )
})

test('a field gives strings, numbers and booleans; what is no JSON object or lacks it gives none', () => {
  const records = [
    '{"user":{"name":"ü"}}',
    '{"user.name":"own","user":{"name":"nested"}}',
    ' {"user":{"name":7}}',
    '{"user":{"name":false}}',
    '{"user":{"name":null}}',
    '{"user":{"name":{}}}',
    '{"user":{"name":[1]}}',
    '{"user":"name"}',
    '{"user":{"name":""}}',
    '[{"user":{"name":"a"}}]',
    '{"user":{"name":"cut',
    'plain user.name',
  ]
  const none = undefined
  const expected = ['ü', 'own', '7', 'false', none, none, none, none, '', none, none, none]
  assert.deepEqual(texts({ field: 'user.name' }, records), expected)
  assert.deepEqual(texts({ field: 'toString' }, ['{"a":1}']), [none])
  assert.deepEqual(texts({ field: 'id' }, ['{"id":12345678901234567890}', '{"id":-1.50}']), [
    '12345678901234567890',
    '-1.5',
  ])
  assert.deepEqual(texts('none', ['{"a":1}']), [none])
})

test('long keys of many records fit', () => {
  const long = Array.from({ length: 100 }, (_, i) => `${i}${'€'.repeat(2000)}`)
  const records = long.map((k) => JSON.stringify({ k }))
  assert.deepEqual(texts({ field: 'k' }, records), long)
})

test('the key of the object is the key of all its records', () => {
  const block = blockOf(['a', 'b', 'c'])
  const other = { ...someObject, key: 'other/ä' }
  const batch = batchOfParts([
    { block, from: 1, to: 3, object: someObject },
    { block, from: 0, to: 1, object: other },
  ])
  const keys = keysOf(batch, 'object')
  const of = (i: number) => keys?.bytes.toString('utf8', keys.starts[i], keys.ends[i])
  assert.deepEqual([of(0), of(1), of(2)], ['k', 'k', 'other/ä'])
})

test('records go to the partition of their key, in order, and each exactly once', () => {
  const key = fc.option(fc.string({ maxLength: 4 }), { nil: undefined })
  fc.assert(
    fc.property(fc.array(key, { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 9 }), (names, partitions) => {
      const records = names.map((k) => JSON.stringify(k === undefined ? { none: 1 } : { k }))
      const keys = keysOf(batchOf(blockOf(records)), { field: 'k' })
      const runs = partitionRuns(records.length, keys, partitions)
      const seen = runs.flatMap(({ indexes }) => [...indexes])
      assert.deepEqual(
        seen.toSorted((a, b) => a - b),
        [...records.keys()],
      )
      for (const { partition, indexes } of runs) {
        assert.deepEqual(
          [...indexes],
          [...indexes].toSorted((a, b) => a - b),
        )
        for (const i of indexes) {
          const name = names[i]
          const expected = name === undefined ? -1 : (hash(name) & 0x7fffffff) % partitions
          assert.equal(partition, expected)
        }
      }
    }),
  )
  assert.deepEqual(
    partitionRuns(3, undefined, 5).map(({ partition, indexes }) => [partition, ...indexes]),
    [[-1, 0, 1, 2]],
  )
})

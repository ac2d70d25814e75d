import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { Batcher, type HeldBatch } from './batcher.ts'
import { blockOf, recordAt } from './block.ts'
import { Delivery, nothingCounted, startOfObject } from './delivery.ts'

function deliveryOf(key: string): Delivery {
  const object = { id: `b/${key}@1`, bucket: 'b', key, size: 1, timeMs: 0, lastModifiedMs: 0 }
  return new Delivery(
    object,
    { position: startOfObject, counts: nothingCounted },
    { moved: () => undefined, freed: () => undefined },
  )
}

function recordsOf(batch: HeldBatch): string[] {
  return batch.parts.flatMap(({ block, from, to }) =>
    Array.from({ length: to - from }, (_, i) => recordAt(block, from + i).toString()),
  )
}

function batcherOf(limits: { records?: number; bytes?: number; lingerMs?: number }) {
  const batches: HeldBatch[] = []
  const batcher = new Batcher({ records: 1000, bytes: 1e6, lingerMs: 60_000, ...limits }, (batch) =>
    batches.push(batch),
  )
  return { batcher, batches }
}

test('a batch leaves when it has its records; the rest waits', () => {
  const { batcher, batches } = batcherOf({ records: 3 })
  batcher.add(deliveryOf('a'), blockOf(['1', '2', '3', '4']), 'text/plain')
  assert.deepEqual(batches.map(recordsOf), [['1', '2', '3']])
  batcher.flush()
  assert.deepEqual(batches.map(recordsOf), [['1', '2', '3'], ['4']])
})

test('a batch never exceeds its bytes, not even by one line as in the seed (A7); one oversize record goes alone', () => {
  const { batcher, batches } = batcherOf({ bytes: 10 })
  batcher.add(deliveryOf('a'), blockOf(['1234', '1234', 'x', '12345678901234567890', 'y']), 'text/plain')
  batcher.flush()
  assert.deepEqual(batches.map(recordsOf), [['1234', '1234'], ['x'], ['12345678901234567890'], ['y']])
  assert.deepEqual(
    batches.map(({ bytes }) => bytes),
    [10, 2, 21, 2],
  )
})

test('content types never mix, objects do', () => {
  const { batcher, batches } = batcherOf({})
  batcher.add(deliveryOf('a'), blockOf(['a1']), 'text/plain')
  batcher.add(deliveryOf('b'), blockOf(['b1']), 'application/x-ndjson')
  batcher.add(deliveryOf('c'), blockOf(['c1']), 'text/plain')
  batcher.flush()
  assert.deepEqual(
    batches.map((batch) => [batch.contentType, recordsOf(batch)]),
    [
      ['text/plain', ['a1', 'c1']],
      ['application/x-ndjson', ['b1']],
    ],
  )
})

test('a partial batch leaves after the linger time though nothing more comes', async () => {
  const { batcher, batches } = batcherOf({ lingerMs: 5 })
  batcher.add(deliveryOf('a'), blockOf(['1']), 'text/plain')
  assert.equal(batches.length, 0)
  while (batches.length === 0) await sleep(5)
  assert.deepEqual(batches.map(recordsOf), [['1']])
})

test('whatever the blocks and limits: every record is in one batch, in order, within the limits', () => {
  const record = fc.integer({ min: 1, max: 30 })
  fc.assert(
    fc.property(
      fc.array(fc.array(record, { minLength: 1, maxLength: 20 }), { maxLength: 15 }),
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 1, max: 60 }),
      (blocks, records, bytes) => {
        const { batcher, batches } = batcherOf({ records, bytes })
        const delivery = deliveryOf('a')
        let n = 0
        const sent: string[] = []
        for (const lengths of blocks) {
          const lines = lengths.map((length, i) => `${n + i}`.padEnd(length, '.'))
          batcher.add(delivery, blockOf(lines, n), 'text/plain')
          sent.push(...lines)
          n += lines.length
        }
        batcher.flush()
        assert.deepEqual(batches.flatMap(recordsOf), sent)
        for (const batch of batches) {
          assert.ok(batch.count <= records)
          assert.ok(batch.bytes <= bytes || batch.count === 1)
          assert.equal(batch.count, recordsOf(batch).length)
          assert.equal(
            batch.bytes,
            recordsOf(batch).reduce((sum, line) => sum + line.length + 1, 0),
          )
        }
      },
    ),
  )
})

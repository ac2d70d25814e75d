import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { blockOf } from './block.ts'
import { Delivery, type HeldPart, nothingCounted, type Position, startOfObject } from './delivery.ts'

const object = { id: 'b/k@1', bucket: 'b', key: 'k', size: 1, timeMs: 0, lastModifiedMs: 0 }
const fresh = { position: startOfObject, counts: nothingCounted }

function deliveryOf(from = fresh, positions: Position[] = []): Delivery {
  const moved = (delivery: Delivery) => void positions.push(delivery.position)
  return new Delivery(object, from, { moved, freed: () => undefined })
}

test('the position stays behind the first part that is not released', async () => {
  const positions: Position[] = []
  const delivery = deliveryOf(fresh, positions)
  const block = { ...blockOf(['a', 'b', 'c', 'd']), resumeAt: 8 }
  const first = delivery.hold(block, 0, 1)
  const second = delivery.hold(block, 1, 3)
  const third = delivery.hold(block, 3, 4)
  delivery.release(second)
  assert.deepEqual(positions, [])
  delivery.release(first)
  assert.deepEqual(positions, [{ records: 3, offset: 0, offsetRecords: 0 }])
  delivery.release(third)
  assert.deepEqual(delivery.position, { records: 4, offset: 8, offsetRecords: 4 })
  delivery.seal()
  await delivery.settled
})

test('a sealed object settles only when the last part is released (A16.3: delivery and state were unconnected)', async () => {
  const delivery = deliveryOf()
  const part = delivery.hold(blockOf(['a']), 0, 1)
  delivery.seal()
  let settled = false
  const waiting = delivery.settled.then(() => {
    settled = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  assert.equal(settled, false)
  delivery.release(part)
  await waiting
})

test('an object without records settles as soon as it is sealed', async () => {
  const delivery = deliveryOf()
  delivery.seal()
  await delivery.settled
  assert.deepEqual(delivery.counts, nothingCounted)
})

test('unbalanced use is refused: a gap, a second release, a part after the seal', () => {
  const delivery = deliveryOf()
  const block = blockOf(['a', 'b', 'c'])
  const part = delivery.hold(block, 0, 1)
  assert.throws(() => delivery.hold(block, 2, 3), /record 2 held, 1 expected/)
  delivery.release(part)
  assert.throws(() => delivery.release(part), /released twice/)
  delivery.seal()
  assert.throws(() => delivery.hold(block, 1, 2), /expected/)
})

test('going on from a saved position counts what was settled before, not what was read', () => {
  const counts = { read: 10, delivered: 5, filtered: 0, quarantined: 1, bytes: 60 }
  const delivery = deliveryOf({ position: { records: 6, offset: 0, offsetRecords: 0 }, counts })
  assert.equal(delivery.counts.read, 6)
  delivery.release(delivery.hold(blockOf(['x', 'y'], 6), 0, 2), 1)
  assert.deepEqual({ ...delivery.counts, bytes: 0 }, { read: 8, delivered: 6, filtered: 0, quarantined: 2, bytes: 0 })
})

test('in whatever order parts are released, positions only grow, never pass an open part, and counts balance', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 30 }),
      fc.infiniteStream(fc.nat()),
      async (sizes, random) => {
        const positions: Position[] = []
        const delivery = deliveryOf(fresh, positions)
        const parts: HeldPart[] = []
        let first = 0
        for (const size of sizes) {
          const records = Array.from({ length: size }, (_, i) => `r${first + i}`)
          parts.push(delivery.hold(blockOf(records, first), 0, size))
          first += size
        }
        delivery.seal()
        const open = new Set(parts)
        while (open.size > 0) {
          const list = [...open]
          const part = list[(random.next().value as number) % list.length] as HeldPart
          open.delete(part)
          delivery.release(part, part.to > 1 ? 1 : 0)
          const firstOpen = Math.min(first, ...[...open].map((held) => held.block.first + held.from))
          assert.equal(delivery.position.records, firstOpen)
        }
        await delivery.settled
        const { read, delivered, quarantined, filtered } = delivery.counts
        assert.equal(read, first)
        assert.equal(delivered + quarantined + filtered, read)
        assert.deepEqual(
          positions.map(({ records }) => records),
          positions.map(({ records }) => records).toSorted((a, b) => a - b),
        )
      },
    ),
    { numRuns: 50 },
  )
})

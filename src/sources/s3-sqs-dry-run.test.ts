import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event, snsWrapped, testEvent } from '../../test/servers/s3-events.ts'
import { within } from '../../test/servers/s3-sqs-bed.ts'

const limits = { timeout: 30_000 }

test('a dry run deletes nothing, writes nothing down, and leaves every message visible at its end', limits, () =>
  within({ maxReceiveCount: 2 }, async (bed) => {
    for (const key of ['a', 'b', 'gone', 'replaced']) bed.arrive(key)
    bed.s3.remove('gone')
    bed.s3.put('replaced', 'by this')
    bed.tell(testEvent('b'))
    bed.tell(snsWrapped('poison'))
    bed.tell(s3Event(bed.eventOf('a')))
    const consumer = await bed.consumer({}, { dryRun: true })
    const seen: string[] = []
    await consumer.drain((object) => {
      seen.push(object.key)
      // Others do not get them meanwhile.
      assert.equal(bed.messages.filter(({ state }) => state === 'in flight').length > 0, true)
      return undefined
    })
    assert.deepEqual(seen.toSorted(), ['a', 'b', 'gone', 'replaced'])
    assert.deepEqual([consumer.ledger.objects(), consumer.ledger.quarantine()], [[], []])
    await consumer.stop()
    assert.deepEqual(
      bed.messages.map(({ state, receives }) => [state, receives]),
      Array.from({ length: 7 }, () => ['visible', 1]),
    )
    assert.equal(bed.sqs.counters.DeleteMessageBatch, undefined)
    assert.ok(consumer.lines.some((line) => line.startsWith('warn a message that cannot be dealt with')))
    const real = await bed.consumer()
    await real.drain()
    assert.deepEqual(Object.fromEntries(real.read), { a: 'content of a', b: 'content of b', replaced: 'by this' })
  }),
)

test('a dry run looks at a thousand messages at most', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('a', 'x')
    for (let i = 0; i < 1030; i += 1) bed.tell(s3Event({ ...bed.eventOf('a'), key: `k${i}` }))
    const consumer = await bed.consumer({ workers: 50 }, { dryRun: true })
    assert.equal((await consumer.drain(() => 'done')).length, 1000)
    await consumer.stop()
    assert.equal(bed.visible, 1030)
    assert.equal(bed.messages.filter(({ receives }) => receives > 0).length, 1000)
  }),
)

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event } from '../../test/servers/s3-events.ts'
import { until, within } from '../../test/servers/s3-sqs-bed.ts'
import type { ListedObject } from '../core/component.ts'
import { nothingCounted, startOfObject } from '../core/delivery.ts'

const limits = { timeout: 30_000 }

test(
  'an object of a message that is given up while a replay reads it stays the replay’s, and the message comes again',
  limits,
  () =>
    within({}, async (bed) => {
      for (const key of ['x', 'y']) bed.s3.put(key, key)
      const id = bed.tell(s3Event(['x', 'y'].map((key) => bed.eventOf(key))))
      const consumer = await bed.consumer({ max_receives: 1 })
      const open = new Map<string, ListedObject>()
      consumer.follow((object) => {
        open.set(object.key, object)
        return 'open'
      })
      await until(() => open.size === 2)
      const [x, y] = [open.get('x') ?? assert.fail(), open.get('y') ?? assert.fail()]
      consumer.finish(x, 'failed')
      // As a replay begins it, beside what the queue tells of.
      consumer.ledger.begin(x)
      consumer.finish(y, 'done')
      assert.deepEqual(consumer.ledger.quarantine(), [])
      consumer.ledger.settle(x.id, 'done', { position: startOfObject, counts: nothingCounted, timeMs: 1 })
      assert.deepEqual(consumer.states, { x: 'done', y: 'done' })
      await until(() => (bed.message(id)?.untilMs ?? 0) - bed.sqs.nowMs() === 30_000)
      bed.sqs.advance(900_000)
      await until(() => bed.messages.length === 0)
      assert.equal(consumer.given.length, 2, 'it is known by then')
      await consumer.unfollow()
    }),
)

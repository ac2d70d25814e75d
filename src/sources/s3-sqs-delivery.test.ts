import assert from 'node:assert/strict'
import { test } from 'node:test'
import { eventBridge, objectRemoved, s3Event, snsRaw, snsWrapped, testEvent } from '../../test/servers/s3-events.ts'
import { type SqsBed, until, within } from '../../test/servers/s3-sqs-bed.ts'
import { sqsErrors } from '../../test/servers/sqs-wire.ts'
import type { ListedObject } from '../core/component.ts'

const limits = { timeout: 30_000 }

test(
  'B5.6: once reads what a queue of mixed envelopes tells of, all Records of each, deletes the messages and ends',
  limits,
  () =>
    within({}, async (bed) => {
      const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].map((name) => `${name}.log`)
      for (const key of keys) bed.s3.put(key, `content of ${key}`)
      const [a, b, c, d, e, f, g, h] = keys.map((key) => bed.eventOf(key)) as [
        Event,
        Event,
        Event,
        Event,
        Event,
        Event,
        Event,
        Event,
      ]
      bed.tell(testEvent('b'))
      bed.tell(s3Event([a, b, c]))
      bed.tell(snsWrapped(s3Event(d)))
      bed.tell(snsRaw(s3Event(e)))
      bed.tell(eventBridge(f))
      bed.tell(snsWrapped(eventBridge(g)))
      bed.tell(s3Event(h, { sender: 'minio' }))
      bed.tell(objectRemoved(a))
      bed.tell(snsWrapped(testEvent('b')))
      const consumer = await bed.consumer()
      assert.deepEqual(await consumer.drain(), keys)
      assert.deepEqual(
        Object.fromEntries(consumer.read),
        Object.fromEntries(keys.map((key) => [key, `content of ${key}`])),
      )
      assert.deepEqual(bed.messages, [])
      assert.deepEqual(consumer.source.progress, { found: 8, complete: true, failed: 0 })
      assert.deepEqual(consumer.source.figures, {
        ...{ received: 9, duplicates: 0, ignored: 3, tests: 2, failed: 0 },
        ...{ deleted: 9, extended: 0, released: 0, lost: 0, held: 0, waiting: 0, inFlight: 0 },
      })
    }),
)

type Event = ReturnType<SqsBed['eventOf']>

test('a FIFO queue is drained, each group in its order', limits, () =>
  within({ queue: 'events.fifo' }, async (bed) => {
    const keys: string[] = []
    for (let i = 0; i < 12; i += 1) {
      const key = `${i % 3}/${String(i).padStart(2, '0')}`
      keys.push(key)
      bed.s3.put(key, key)
      bed.tell(eventBridge(bed.eventOf(key)), { groupId: `group ${i % 3}`, dedupId: key })
    }
    const consumer = await bed.consumer({ workers: 1 })
    assert.deepEqual(await consumer.drain(), keys.toSorted())
    for (const group of ['0/', '1/', '2/']) {
      const order = consumer.given.filter((key) => key.startsWith(group))
      assert.deepEqual(order, order.toSorted())
    }
    assert.deepEqual(bed.messages, [])
  }),
)

test('events that come twice, and those of objects that were read before, are deleted without reading', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a')
    const consumer = await bed.consumer()
    await consumer.drain()
    bed.tell(s3Event(bed.eventOf('a')))
    bed.tell(snsWrapped(eventBridge(bed.eventOf('a'))))
    bed.tell(s3Event([bed.eventOf('a'), bed.eventOf('a')]))
    assert.deepEqual(await consumer.drain(), [])
    // And in the next process.
    await consumer.start()
    bed.tell(s3Event(bed.eventOf('a')))
    assert.deepEqual(await consumer.drain(), [])
    assert.deepEqual(bed.gets, ['a'])
    assert.deepEqual(bed.messages, [])
    assert.equal(consumer.metric('sqs_events_duplicate_total'), 5)
    assert.equal(consumer.figure('duplicates'), 1)
  }),
)

test('an object that is written anew, with other bytes, is read anew', limits, () =>
  within({}, async (bed) => {
    const consumer = await bed.consumer()
    bed.arrive('a', 'one')
    await consumer.drain()
    bed.arrive('a', 'two')
    await consumer.drain()
    assert.deepEqual(consumer.read, [
      ['a', 'one'],
      ['a', 'two'],
    ])
  }),
)

test('two messages of one object: it is read once, and both are deleted when it is done, not before', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a')
    bed.tell(eventBridge(bed.eventOf('a')))
    const consumer = await bed.consumer()
    const given: ListedObject[] = []
    consumer.follow((object) => {
      given.push(object)
      return 'open'
    })
    await until(() => consumer.figure('received') === 2 && given.length === 1)
    assert.deepEqual([bed.messages.length, consumer.figure('held')], [2, 2])
    consumer.finish(given[0] as ListedObject, await consumer.outcomeOf(given[0] as ListedObject))
    await until(() => bed.messages.length === 0)
    assert.deepEqual(consumer.given, ['a'])
  }),
)

test(
  'B5.6: a message of three objects is deleted only after the third, and what came after it is not held up',
  limits,
  () =>
    within({}, async (bed) => {
      for (const key of ['a', 'b', 'c']) bed.s3.put(key, key)
      const id = bed.tell(s3Event(['a', 'b', 'c'].map((key) => bed.eventOf(key))))
      const consumer = await bed.consumer()
      const open: ListedObject[] = []
      consumer.follow((object) => {
        if (object.key === 'd') return 'done'
        open.push(object)
        return 'open'
      })
      await until(() => open.length === 3)
      for (const object of open.slice(0, 2)) consumer.finish(object, 'done')
      bed.arrive('d')
      // A message that came later is deleted; so the delete of the first would have been seen, too.
      await until(() => bed.messages.length === 1)
      assert.equal(bed.message(id)?.state, 'in flight')
      consumer.finish(open[2] as ListedObject, 'done')
      await until(() => bed.messages.length === 0)
    }),
)

test('B5.10: one object failed of three: the message comes again, and only that one is read again', limits, () =>
  within({}, async (bed) => {
    for (const key of ['a', 'b', 'c']) bed.s3.put(key, key)
    bed.tell(s3Event(['a', 'b', 'c'].map((key) => bed.eventOf(key))))
    const consumer = await bed.consumer()
    assert.deepEqual(await consumer.drain(({ key }) => (key === 'b' ? 'failed' : undefined)), ['a', 'b', 'c'])
    assert.equal(consumer.source.progress.failed, 1)
    assert.equal(bed.messages.length, 1)
    bed.sqs.advance(60_000)
    assert.deepEqual(await consumer.drain(), ['b'])
    assert.deepEqual(bed.messages, [])
    assert.deepEqual(bed.gets, ['a', 'c', 'b'])
  }),
)

test('a message is deleted only after the ledger has written down its objects', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a')
    const consumer = await bed.consumer()
    let known: unknown
    bed.sqs.fault = ({ action }) => {
      if (action === 'DeleteMessageBatch') known = consumer.ledger.objects().map(({ key, state }) => [key, state])
      return undefined
    }
    await consumer.drain()
    assert.deepEqual(known, [['a', 'done']])
    // Killed between the two: nothing is read again.
    const busy = { failEntries: () => sqsErrors.internalFailure }
    bed.sqs.fault = ({ action }) => (action === 'DeleteMessageBatch' ? busy : undefined)
    bed.arrive('b')
    consumer.follow()
    await until(() => consumer.read.length === 2)
    await consumer.kill()
    bed.sqs.fault = undefined
    assert.equal(bed.messages.length, 1)
    bed.sqs.advance(60_000)
    await consumer.start()
    assert.deepEqual(await consumer.drain(), [])
    assert.deepEqual(bed.messages, [])
  }),
)

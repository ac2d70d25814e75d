import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event } from '../../test/servers/s3-events.ts'
import { until, within } from '../../test/servers/s3-sqs-bed.ts'
import type { ListedObject } from '../core/component.ts'
import { heldLimit } from './s3-sqs.ts'

const limits = { timeout: 30_000 }

test('B5.2: nothing that is held is visible to others; a stop gives back what was not read, at once', limits, () =>
  within({}, async (bed) => {
    const ids = Array.from({ length: 8 }, (_, i) => bed.arrive(`k${i}`))
    const consumer = await bed.consumer({ visibility_timeout: '1h', wait_time: '20s' })
    const soft = new AbortController()
    const given: ListedObject[] = []
    const never = new AbortController().signal
    for await (const object of consumer.source.objects({ soft: soft.signal, hard: never, once: false })) {
      given.push(object)
      if (given.length < 3) continue
      await until(() => consumer.figure('received') === 8)
      assert.ok(bed.messages.every(({ state }) => state === 'in flight'))
      soft.abort(new Error('stop'))
    }
    // Before anything that is under way is finished, and before the source is closed.
    await until(() => bed.visible === 5)
    const [done, stopped] = given as [ListedObject, ListedObject]
    consumer.finish(done, await consumer.outcomeOf(done))
    consumer.finish(stopped, 'stopped')
    await until(() => bed.visible === 6 && bed.messages.length === 7)
    // The third was never finished: a hard stop.
    await consumer.stop()
    assert.equal(bed.visible, 7)
    assert.equal(consumer.metric('sqs_messages_released_total'), 7)
    await consumer.start({})
    const rest = ids.flatMap((_, i) => (`k${i}` === done.key ? [] : [`k${i}`]))
    assert.deepEqual(await consumer.drain(), rest)
    assert.deepEqual(bed.messages, [])
  }),
)

test('what is stopped is not received again by a poll of the same process that still waits', limits, () =>
  within({}, async (bed) => {
    const id = bed.arrive('a')
    const consumer = await bed.consumer({ wait_time: '20s' })
    const open: ListedObject[] = []
    consumer.follow((object) => {
      open.push(object)
      return 'open'
    })
    await until(() => open.length === 1 && bed.sqs.waiting === 1)
    const ended = consumer.unfollow()
    consumer.finish(open[0] as ListedObject, 'stopped')
    await ended
    await until(() => bed.visible === 1)
    assert.equal(bed.message(id)?.receives, 1)
  }),
)

test('two that share a queue read each object once, if nothing fails', limits, () =>
  within({}, async (bed) => {
    const keys = Array.from({ length: 60 }, (_, i) => `k${String(i).padStart(2, '0')}`)
    for (const key of keys) bed.arrive(key)
    const one = await bed.consumer({ workers: 4 })
    const two = await bed.consumer({ workers: 4 })
    await Promise.all([one.drain(), two.drain()])
    assert.deepEqual([...one.given, ...two.given].toSorted(), keys)
    assert.ok(one.given.length > 0 && two.given.length > 0)
    assert.deepEqual(bed.messages, [])
  }),
)

test('of two that share a queue one is killed: the other has what it held after the visibility timeout', limits, () =>
  within({}, async (bed) => {
    const keys = Array.from({ length: 20 }, (_, i) => `k${String(i).padStart(2, '0')}`)
    for (const key of keys) bed.arrive(key)
    const config = { workers: 5, visibility_timeout: '1m', wait_time: '20s' }
    const [killed, other] = [await bed.consumer(config), await bed.consumer(config)]
    killed.follow(({ key }) => (key.endsWith('1') ? undefined : 'open'))
    await until(() => killed.given.length >= 5)
    const done = killed.read.map(([key]) => key)
    await killed.kill()
    other.follow()
    await until(() => other.read.length > 0)
    bed.sqs.advance(60_000)
    await until(() => bed.messages.length === 0)
    const read = other.read.map(([key]) => key).toSorted()
    assert.equal(new Set(read).size, read.length)
    // Only what was done in the moment of the kill may be read twice.
    assert.deepEqual(
      keys.filter((key) => !read.includes(key) && !done.includes(key)),
      [],
    )
  }),
)

test('a message that comes a second time while it is worked on is not worked on twice', limits, () =>
  within({}, async (bed) => {
    const id = bed.arrive('a')
    const consumer = await bed.consumer({ wait_time: '20s' })
    const given: ListedObject[] = []
    consumer.follow((object) => {
      given.push(object)
      return 'open'
    })
    await until(() => given.length === 1)
    bed.sqs.advance(60_000)
    await until(() => consumer.figure('received') === 2)
    assert.equal(bed.message(id)?.receives, 2)
    consumer.finish(given[0] as ListedObject, 'done')
    await until(() => consumer.figure('deleted') === 1)
    assert.deepEqual(bed.messages, [])
    assert.deepEqual([given.length, consumer.figure('lost')], [1, 0])
  }),
)

test('the limit of messages in flight is waited out', limits, () =>
  within({ inFlightLimit: 3 }, async (bed) => {
    const keys = ['a', 'b', 'c', 'd', 'e', 'f', 'g']
    for (const key of keys) bed.arrive(key)
    const consumer = await bed.consumer({ workers: 2 })
    assert.deepEqual(await consumer.drain(), keys)
    assert.deepEqual(bed.messages, [])
  }),
)

test('a long poll brings a message at once; `once` drains through long polls, too', limits, () =>
  within({}, async (bed) => {
    const consumer = await bed.consumer({ wait_time: '20s' })
    consumer.follow()
    await until(() => bed.sqs.waiting === 1)
    bed.arrive('a')
    await until(() => consumer.given.length === 1)
    await consumer.unfollow()
    // What came now would go to the poll that was left, and stay hidden.
    await until(() => bed.sqs.waiting === 0)
    bed.arrive('b')
    const drained = consumer.drain()
    await until(() => {
      if (bed.sqs.waiting === 1 && bed.messages.length === 0) bed.sqs.advance(2000)
      return consumer.source.progress.complete
    })
    assert.deepEqual(await drained, ['b'])
  }),
)

test('messages that wait for one object under way are held up to a limit', { timeout: 60_000 }, () =>
  within({}, async (bed) => {
    bed.s3.put('a', 'x')
    const event = s3Event(bed.eventOf('a'))
    for (let i = 0; i < heldLimit + 200; i += 1) bed.tell(event)
    const consumer = await bed.consumer({ workers: 2, visibility_timeout: '12h' })
    const open: ListedObject[] = []
    consumer.follow((object) => {
      open.push(object)
      return 'open'
    })
    await until(() => consumer.figure('held') === heldLimit)
    await new Promise((resolve) => setTimeout(resolve, 50))
    assert.equal(consumer.figure('held'), heldLimit)
    consumer.finish(open[0] as ListedObject, 'done')
    await until(() => bed.messages.length === 0)
    assert.equal(open.length, 1)
  }),
)

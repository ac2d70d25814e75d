import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event, snsWrapped, testEvent } from '../../test/servers/s3-events.ts'
import { type Consumer, until, within } from '../../test/servers/s3-sqs-bed.ts'
import type { ListedObject } from '../core/component.ts'
import { sqsMetrics } from './s3-sqs-messages.ts'

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
    await consumer.start()
    const rest = ids.flatMap((_, i) => (`k${i}` === done.key ? [] : [`k${i}`]))
    assert.deepEqual(await consumer.drain(), rest)
    assert.deepEqual(bed.messages, [])
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
    await until(() => bed.messages.length === 0 && bed.sqs.waiting === 1)
    bed.sqs.advance(2000)
    await until(() => bed.sqs.waiting === 1 || consumer.source.progress.complete)
    bed.sqs.advance(2000)
    assert.deepEqual(await drained, ['b'])
  }),
)

test('the figures add up, and every metric is fed', limits, () =>
  within({}, async (bed) => {
    for (const key of ['a', 'b', 'c', 'bad']) bed.s3.put(key, key)
    for (const key of ['a', 'a', 'b', 'bad']) bed.tell(s3Event(bed.eventOf(key)))
    for (const body of [testEvent('b'), 'poison']) bed.tell(body)
    const lost = bed.tell(s3Event(bed.eventOf('c')))
    const consumer = await bed.consumer({ visibility_timeout: '3s', wait_time: '20s', max_receives: 2 })
    const open: ListedObject[] = []
    consumer.follow((object) => {
      if (object.key === 'bad') return 'failed'
      if (object.key !== 'c') return undefined
      open.push(object)
      return 'open'
    })
    const settled = (name: string, n: number) => until(() => consumer.figure(name) === n)
    // a twice, b, the test event; c is held, bad and poison are given back.
    await Promise.all([settled('deleted', 4), settled('released', 2), settled('held', 1)])
    bed.sqs.advance(1000)
    // poison comes again, and is given up.
    await Promise.all([settled('deleted', 5), settled('extended', 1)])
    const { received, deleted, released, held, ...rest } = consumer.source.figures ?? {}
    assert.deepEqual([received, deleted, released, held], [8, 5, 2, 1])
    assert.deepEqual([rest.duplicates, rest.tests, rest.ignored, rest.failed, rest.lost], [1, 1, 1, 3, 0])
    // Another has c meanwhile, as far as SQS is concerned.
    bed.sqs.fault = ({ action }) => (action === 'DeleteMessageBatch' ? { failEntries: () => stale } : undefined)
    consumer.finish(open[0] as ListedObject, 'done')
    await settled('lost', 1)
    assert.ok(bed.message(lost))
    const figures = consumer.source.figures ?? {}
    assert.equal(figures.received, (figures.deleted ?? 0) + (figures.released ?? 0) + (figures.lost ?? 0))
    for (const name of ['received', 'deleted', 'released', 'lost', 'failed'] as const) {
      assert.equal(consumer.metric(`sqs_messages_${name}_total`), figures[name], name)
    }
    bed.sqs.fault = undefined
    await consumer.unfollow()
    await until(() => bed.sqs.waiting === 0)
    await allFed(consumer)
  }),
)

const stale = { status: 400, code: 'ReceiptHandleIsInvalid', message: 'The receipt handle has expired.' }

/** Each of `sqsMetrics` was fed: counters and histograms by what happened, gauges at least once. */
async function allFed(consumer: Consumer): Promise<void> {
  const { bed } = consumer
  // The gauges stand at 0 when all is done.
  bed.tell('waiting')
  await consumer.source.check({ signal: new AbortController().signal })
  const fed = consumer.meter.snapshot().filter(({ value, count }) => value > 0 || count > 0)
  const missing = Object.keys(sqsMetrics).filter((name) => !fed.some((series) => series.name === name))
  assert.deepEqual(missing, ['sqs_messages_in_flight'])
  bed.arrive('last')
  consumer.follow(() => 'open')
  await until(() => (consumer.metric('sqs_messages_in_flight') ?? 0) > 0)
}

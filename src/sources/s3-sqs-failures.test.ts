import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event } from '../../test/servers/s3-events.ts'
import { type Consumer, type SqsBed, until, within } from '../../test/servers/s3-sqs-bed.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import { sqsErrors } from '../../test/servers/sqs-wire.ts'
import type { ListedObject } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'

const limits = { timeout: 30_000 }
const poison = ['not JSON at all', '{"Records":[]}', '{"some":"thing"}', '{"Records":[{"s3":{"bucket":{}}}]}']

const quarantineOf = ({ ledger }: Consumer) =>
  ledger.quarantine().map(({ kind, object, reason }) => ({ kind, key: object.key, reason }))
/** One run after another until there is nothing in the queue; each failed message is due again by then. */
async function drainAll(bed: SqsBed, consumer: Consumer): Promise<void> {
  for (let run = 0; bed.messages.length > 0; run += 1) {
    assert.ok(run < 20, 'the queue is never empty')
    await consumer.drain()
    bed.sqs.advance(900_000)
  }
}

test('B5.5: poison messages end in quarantine after max_receives, with body and reason, and are deleted', limits, () =>
  within({}, async (bed) => {
    const ids = poison.map((body) => bed.tell(body))
    bed.arrive('good')
    const consumer = await bed.consumer({ max_receives: 3 })
    // One run deals with them: what no time will mend is received again at once.
    assert.deepEqual(await consumer.drain(), ['good'])
    assert.deepEqual(bed.messages, [])
    assert.equal(consumer.source.progress.failed, 4)
    const entries = consumer.ledger.quarantine().toReversed()
    assert.deepEqual(
      entries.map(({ kind, object }) => [kind, object.id]).toSorted(),
      ids.map((id) => ['message', id]).toSorted(),
    )
    for (const { id, object, reason } of entries) {
      const body = poison[ids.indexOf(object.id)]
      assert.equal(consumer.ledger.rejectedRecords(id)?.data.toString(), `${body}\n`)
      assert.match(object.key, /^events#/)
      assert.match(reason, /is no JSON|list of records is empty|is no S3 event|names no bucket or no key/)
    }
    assert.equal(consumer.metric('sqs_messages_failed_total'), 12)
    assert.equal(consumer.figure('failed'), 12)
  }),
)

test(
  'B5.5: with a RedrivePolicy poison messages are left to SQS, which moves them to the dead-letter queue',
  limits,
  () =>
    within({ maxReceiveCount: 3 }, async (bed) => {
      for (const body of poison) bed.tell(body)
      bed.arrive('good')
      const consumer = await bed.consumer({ max_receives: 1 })
      await consumer.drain()
      assert.deepEqual(bed.messages, [])
      assert.deepEqual(
        bed.sqs
          .messages('dead')
          .map(({ body }) => body)
          .toSorted(),
        poison.toSorted(),
      )
      assert.deepEqual(consumer.ledger.quarantine(), [])
      assert.equal(consumer.source.progress.failed, 4)
    }),
)

test(
  'an object that fails each time ends in the dead-letter queue, or in quarantine with its message deleted',
  limits,
  async () => {
    for (const maxReceiveCount of [3, undefined]) {
      await within(maxReceiveCount === undefined ? {} : { maxReceiveCount }, async (bed) => {
        for (const key of ['a', 'bad']) bed.s3.put(key, key)
        bed.tell(s3Event(['a', 'bad'].map((key) => bed.eventOf(key))))
        bed.s3.faults.onGet = (key) => (key === 'bad' ? s3Errors.accessDenied : undefined)
        const consumer = await bed.consumer({ max_receives: 3 })
        await drainAll(bed, consumer)
        assert.deepEqual(consumer.given, ['a', 'bad', 'bad', 'bad'])
        if (maxReceiveCount) {
          assert.equal(bed.sqs.messages('dead').length, 1)
          assert.deepEqual(consumer.states, { a: 'done', bad: 'failed' })
        } else {
          const [entry] = quarantineOf(consumer)
          assert.deepEqual([entry?.kind, entry?.key], ['object', 'bad'])
          assert.match(entry?.reason ?? '', /^because \(given up after 3 receives of its message\)$/)
          assert.deepEqual(consumer.states, { a: 'done', bad: 'quarantined' })
        }
      })
    }
  },
)

test('as a daemon, what failed comes again after a while, later each time', limits, () =>
  within({}, async (bed) => {
    const id = bed.arrive('a')
    bed.tell('poison')
    const consumer = await bed.consumer({ wait_time: '20s' })
    consumer.follow(() => 'failed')
    const waits: number[] = []
    for (let receives = 1; receives <= 3; receives += 1) {
      await until(() => consumer.given.length === receives && consumer.figure('held') === 0)
      const message = bed.message(id)
      assert.ok(message)
      waits.push((message.untilMs - bed.sqs.nowMs()) / 1000)
      bed.sqs.advance(message.untilMs - bed.sqs.nowMs())
    }
    assert.deepEqual(waits, [30, 60, 120])
    await consumer.unfollow()
  }),
)

test('a run that ends by itself leaves a failed object to the visibility timeout and ends', limits, () =>
  within({}, async (bed) => {
    const id = bed.arrive('a')
    const consumer = await bed.consumer({ visibility_timeout: '45s' })
    assert.deepEqual(await consumer.drain(() => 'failed'), ['a'])
    assert.equal((bed.message(id)?.untilMs ?? 0) - bed.sqs.nowMs(), 45_000)
    assert.deepEqual(consumer.source.progress, { found: 1, complete: true, failed: 1 })
  }),
)

test('B5.6: what is wrong in one part of a message keeps the message, not its other objects', limits, () =>
  within({}, async (bed) => {
    const event = JSON.parse(s3Event(bed.eventOf('a'))) as { Records: unknown[] }
    bed.s3.put('a', 'content')
    const body = JSON.stringify({ Records: [...(JSON.parse(s3Event(bed.eventOf('a'))) as typeof event).Records, 7] })
    bed.tell(body)
    const consumer = await bed.consumer({ max_receives: 2 })
    await consumer.drain()
    assert.deepEqual(consumer.read, [['a', 'content']])
    assert.deepEqual(
      quarantineOf(consumer).map(({ kind, reason }) => [kind, reason]),
      [['message', 'one of its Records is no object']],
    )
    assert.deepEqual(bed.messages, [])
  }),
)

test('an object given up by one message while another brought it again is the other one’s', limits, () =>
  within({}, async (bed) => {
    for (const key of ['x', 'y']) bed.s3.put(key, key)
    bed.tell(s3Event(['x', 'y'].map((key) => bed.eventOf(key))))
    const consumer = await bed.consumer({ max_receives: 1, wait_time: '20s' })
    const open: ListedObject[] = []
    consumer.follow((object) => {
      open.push(object)
      return 'open'
    })
    await until(() => open.length === 2)
    const [x, y] = open as [ListedObject, ListedObject]
    consumer.finish(x, 'failed')
    bed.tell(s3Event(bed.eventOf('x')))
    await until(() => open.length === 3)
    // The engine has begun it; giving it up now would take it from under its feet.
    consumer.ledger.begin(open[2] as ListedObject)
    consumer.finish(y, 'done')
    assert.deepEqual(consumer.states, { x: 'active', y: 'done' })
    consumer.finish(open[2] as ListedObject, 'done')
    await until(() => bed.messages.length === 0)
    assert.deepEqual(consumer.states, { x: 'done', y: 'done' })
    assert.deepEqual(consumer.ledger.quarantine(), [])
  }),
)

test('once, a queue that refuses ends the run with what to do; as a daemon it goes on when it is mended', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a')
    const consumer = await bed.consumer()
    bed.sqs.deny()
    await assert.rejects(consumer.drain(), (error) => {
      assert.ok(error instanceof StreamError && error.code === 'source.access')
      assert.match(error.message, /^cannot receive from http:.*\(the credentials need sqs:ReceiveMessage, .*\)$/)
      return true
    })
    consumer.follow()
    await until(() => consumer.lines.some((line) => line.startsWith('error cannot receive; trying again')))
    bed.sqs.allow()
    await until(() => bed.messages.length === 0)
    assert.deepEqual(consumer.given, ['a'])
  }),
)

test('check warns of a queue that refuses large notifications, and tells what becomes of poison', limits, async () => {
  const live = { signal: new AbortController().signal }
  await within({ attributes: { MaximumMessageSize: '1024' } }, async (bed) => {
    const { source, lines } = await bed.consumer()
    await source.check(live)
    assert.match(lines.join('\n'), /^warn the queue refuses large notifications .*"maximumMessageSize":1024/m)
    assert.match(lines.join('\n'), /^info the queue has no dead-letter queue: .*"max_receives":5/m)
  })
  await within({ maxReceiveCount: 5 }, async (bed) => {
    const { source, lines } = await bed.consumer()
    await source.check(live)
    assert.deepEqual(
      lines.filter((line) => line.includes('queue ')),
      [],
    )
    bed.sqs.fault = () => sqsErrors.queueDoesNotExist
    await assert.rejects(source.check(live), /\(check queue_url, its region and account\)$/)
  })
})

test('a message at its last receive is kept while one of its objects was stopped, though another failed', limits, () =>
  within({}, async (bed) => {
    for (const key of ['x', 'y']) bed.s3.put(key, key)
    bed.tell(s3Event(['x', 'y'].map((key) => bed.eventOf(key))))
    const consumer = await bed.consumer({ max_receives: 1, wait_time: '20s' })
    const open: ListedObject[] = []
    consumer.follow((object) => {
      open.push(object)
      return 'open'
    })
    await until(() => open.length === 2)
    const [x, y] = open as [ListedObject, ListedObject]
    consumer.finish(x, 'failed')
    const ended = consumer.unfollow()
    consumer.finish(y, 'stopped')
    await ended
    await consumer.start({ max_receives: 1 })
    await drainAll(bed, consumer)
    assert.deepEqual(consumer.read.map(([key]) => key).toSorted(), ['x', 'y'])
  }),
)

test(
  'an object that was overwritten while it was read is read as it is now, also when that ends in a stop',
  limits,
  () =>
    within({}, async (bed) => {
      bed.arrive('a', 'old')
      bed.s3.put('a', 'new')
      const consumer = await bed.consumer({ wait_time: '20s' })
      const open: ListedObject[] = []
      consumer.follow((object) => {
        open.push(object)
        return 'open'
      })
      await until(() => open.length === 1)
      const ended = consumer.unfollow()
      const [object] = open as [ListedObject]
      consumer.finish(object, await consumer.outcomeOf(object))
      await ended
      await consumer.start({ wait_time: '0s' })
      await drainAll(bed, consumer)
      assert.deepEqual(consumer.read, [['a', 'new']])
    }),
)

test('an object that was overwritten, and then written as it was, is read', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a', 'A')
    bed.s3.put('a', 'B')
    const consumer = await bed.consumer()
    bed.s3.faults.onHead = () => {
      bed.s3.put('a', 'A')
      bed.tell(s3Event(bed.eventOf('a')))
      return { delayMs: 200 }
    }
    await drainAll(bed, consumer)
    assert.deepEqual(consumer.read, [['a', 'A']])
  }),
)

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event, testEvent } from '../../test/servers/s3-events.ts'
import { type Consumer, until, within } from '../../test/servers/s3-sqs-bed.ts'
import type { ListedObject } from '../core/component.ts'
import { sqsMetrics } from './s3-sqs-messages.ts'

const limits = { timeout: 30_000 }

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

const never = new AbortController().signal
const stale = { status: 400, code: 'ReceiptHandleIsInvalid', message: 'The receipt handle has expired.' }

/** Each of `sqsMetrics` was fed: counters and histograms by what happened, gauges at least once. */
async function allFed(consumer: Consumer): Promise<void> {
  const { bed, source } = consumer
  const fed = new Set<string>()
  const look = () => {
    for (const { name, value, count } of consumer.meter.snapshot()) if (value > 0 || count > 0) fed.add(name)
  }
  // The gauges stand at 0 when all is done.
  bed.tell('waiting')
  bed.tell('delayed', { delayMs: 60_000 })
  await source.check({ signal: new AbortController().signal })
  look()
  bed.arrive('last')
  consumer.follow(() => 'open')
  await until(() => (consumer.metric('sqs_messages_held') ?? 0) > 0)
  await source.check({ signal: new AbortController().signal })
  bed.sqs.fault = ({ action }) =>
    action === 'ReceiveMessage' ? { status: 403, code: 'AccessDenied', message: 'no' } : undefined
  // It ends the poll that waits.
  bed.tell('poison')
  await until(() => (consumer.metric('sqs_requests_failed_total') ?? 0) > 0)
  look()
  assert.deepEqual(
    Object.keys(sqsMetrics).filter((name) => !fed.has(name)),
    [],
  )
}

test('the state of queue and bucket is that of their last use, and a probe asks them', limits, () =>
  within({}, async (bed) => {
    const consumer = await bed.consumer()
    const [sqs, s3] = consumer.source.dependencies
    assert.ok(sqs && s3)
    assert.deepEqual([sqs.name, sqs.state, s3.name, s3.state], ['sqs', 'unused', 's3', 'unused'])
    const live = { signal: new AbortController().signal }
    // No bucket is known before the first message.
    await Promise.all([sqs.probe(live), s3.probe(live)])
    assert.deepEqual([sqs.state, s3.state], ['unused', 'unused'])
    bed.arrive('a')
    consumer.follow()
    await until(() => consumer.read.length === 1)
    assert.deepEqual([sqs.state, s3.state], ['up', 'up'])
    await Promise.all([sqs.probe(live), s3.probe(live)])
    bed.sqs.deny()
    await until(() => sqs.state === 'failing')
    assert.match(sqs.error ?? '', /cannot use http.*AccessDenied.*\(the credentials need sqs:ReceiveMessage/)
    await assert.rejects(sqs.probe(live), /AccessDenied/)
    await bed.s3.close()
    await assert.rejects(s3.probe(live), /cannot reach s3:\/\/b: .*ECONNREFUSED/)
    assert.equal(s3.state, 'up')
    bed.sqs.allow()
  }),
)

test('the oldest object that waits for a worker is known', limits, () =>
  within({}, async (bed) => {
    const consumer = await bed.consumer({ workers: 3 })
    const firstMs = bed.sqs.nowMs()
    for (const key of ['a', 'b', 'c']) bed.s3.put(key, key)
    bed.tell(s3Event(['a', 'b', 'c'].map((key) => bed.eventOf(key))))
    const objects = consumer.source.objects({ soft: never, hard: never, once: false })[Symbol.asyncIterator]()
    assert.equal(consumer.source.oldestWaitingMs, undefined)
    await objects.next()
    await until(() => consumer.source.oldestWaitingMs === firstMs)
    await objects.next()
    await objects.next()
    assert.equal(consumer.source.oldestWaitingMs, undefined)
    await objects.return?.()
  }),
)

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

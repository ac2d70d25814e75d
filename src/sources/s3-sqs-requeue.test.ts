import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3Event } from '../../test/servers/s3-events.ts'
import { until, within } from '../../test/servers/s3-sqs-bed.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import type { ListedObject } from '../core/component.ts'

const limits = { timeout: 30_000 }

test('quarantine requeue: an object is read again, and its entry goes when it is done', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a')
    const consumer = await bed.consumer()
    await consumer.drain(() => 'quarantined')
    assert.deepEqual(bed.messages, [])
    assert.deepEqual(
      consumer.ledger.quarantine().map(({ object }) => object.key),
      ['a'],
    )
    assert.deepEqual(await consumer.drain(), [])
    consumer.ledger.requeue('all')
    // An event of it meanwhile is a duplicate.
    bed.tell(s3Event(bed.eventOf('a')))
    assert.deepEqual(await consumer.drain(), ['a'])
    assert.deepEqual(consumer.ledger.quarantine(), [])
    assert.deepEqual(consumer.states, { a: 'done' })
    assert.deepEqual(bed.messages, [])
  }),
)

test('quarantine requeue: what fails again is tried later, not at once, and nothing is forgotten', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a')
    const consumer = await bed.consumer()
    await consumer.drain(() => 'quarantined')
    consumer.ledger.requeue('all')
    assert.deepEqual(await consumer.drain(() => 'failed'), ['a'])
    assert.deepEqual(await consumer.drain(), [])
    assert.equal(consumer.ledger.requeued().length, 1)
    bed.sqs.advance(900_000)
    assert.deepEqual(await consumer.drain(() => 'stopped'), ['a'])
    assert.deepEqual(await consumer.drain(), ['a'])
    assert.deepEqual(consumer.ledger.quarantine(), [])
  }),
)

test('quarantine requeue: a message is understood when a mapping was added meanwhile', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('k 1', 'one')
    bed.s3.put('k2', 'two')
    bed.tell('{"files":[{"where":"b","path":"k 1"},{"where":"b","path":"k2"},{"where":"b","path":"left.out"}]}')
    const consumer = await bed.consumer({ max_receives: 1 })
    await consumer.drain()
    const [entry] = consumer.ledger.quarantine()
    assert.match(entry?.reason ?? '', /is no S3 event/)
    // Without a mapping it is as it was, and the mark is off. A run that ends by itself has failed then.
    await consumer.start()
    consumer.ledger.requeue('all')
    assert.deepEqual(await consumer.drain(), [])
    assert.equal(consumer.source.progress.failed, 1)
    assert.deepEqual(consumer.ledger.requeued(), [])
    assert.equal(consumer.ledger.quarantine().length, 1)
    const mapping = { records_path: 'files', bucket_path: 'where', key_path: 'path' }
    await consumer.start({ max_receives: 1, exclude: '*.out', ...mapping })
    consumer.ledger.requeue('all')
    assert.deepEqual(await consumer.drain(({ key }) => (key === 'k2' ? 'failed' : undefined)), ['k 1', 'k2'])
    // One of its objects is missing still.
    assert.equal(consumer.ledger.requeued().length, 1)
    bed.sqs.advance(900_000)
    assert.deepEqual(await consumer.drain(), ['k2'])
    assert.deepEqual(consumer.ledger.quarantine(), [])
  }),
)

test('quarantine requeue: a message waits while S3 does not answer', limits, () =>
  within({}, async (bed) => {
    bed.tell('{"where":"b","path":"k"}')
    const consumer = await bed.consumer({ max_receives: 1 })
    await consumer.drain()
    bed.s3.put('k', 'content')
    bed.s3.faults.onHead = () => s3Errors.accessDenied
    await consumer.start({ bucket_path: 'where', key_path: 'path' })
    consumer.ledger.requeue('all')
    assert.deepEqual(await consumer.drain(), [])
    assert.equal(consumer.ledger.requeued().length, 1)
    bed.s3.faults.onHead = undefined
    bed.sqs.advance(60_000)
    assert.deepEqual(await consumer.drain(), ['k'])
    assert.deepEqual(consumer.ledger.quarantine(), [])
  }),
)

test('quarantine requeue: a message is not forgotten while one of its objects failed and another is read', limits, () =>
  within({}, async (bed) => {
    for (const key of ['one', 'two']) bed.s3.put(key, key)
    bed.tell('{"files":[{"where":"b","path":"one"},{"where":"b","path":"two"}]}')
    const consumer = await bed.consumer({ max_receives: 1 })
    await consumer.drain()
    await consumer.start({ records_path: 'files', bucket_path: 'where', key_path: 'path', wait_time: '20s' })
    consumer.ledger.requeue('all')
    const open: ListedObject[] = []
    consumer.follow((object) => {
      open.push(object)
      return object.key === 'one' && open.length < 3 ? 'failed' : 'open'
    })
    await until(() => open.length === 2)
    // The failed one is due by now, and the other still open.
    bed.sqs.advance(900_000)
    consumer.finish(open[1] as ListedObject, 'done')
    assert.equal(consumer.ledger.requeued().length, 1)
    await until(() => open.length === 3)
    assert.equal(open[2]?.key, 'one')
    consumer.finish(open[2] as ListedObject, 'done')
    assert.deepEqual(consumer.ledger.quarantine(), [])
  }),
)

test('an object that was found under the other form of its key is found there again', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('a+b', 'as it was sent')
    // A sender that encodes nothing, and does not say so.
    bed.tell(s3Event(bed.eventOf('a+b'), { sender: 'ceph' }).replaceAll('ceph:s3', 'aws:s3'))
    const consumer = await bed.consumer()
    await consumer.drain(() => 'quarantined')
    assert.deepEqual(consumer.states, { 'a b': 'quarantined' })
    consumer.ledger.requeue('all')
    await consumer.drain()
    assert.deepEqual(consumer.read, [['a b', 'as it was sent']])
    assert.deepEqual(consumer.ledger.quarantine(), [])
  }),
)

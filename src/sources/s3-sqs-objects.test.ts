import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf } from '../../test/conformance/source-harness.ts'
import { eventBridge, s3Event } from '../../test/servers/s3-events.ts'
import { until, within } from '../../test/servers/s3-sqs-bed.ts'
import { permanentRedirect, s3Errors } from '../../test/servers/s3-wire.ts'
import type { ListedObject } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { s3SqsConfig } from './s3-sqs-config.ts'
import { NotifiedObjects } from './s3-sqs-objects.ts'

const limits = { timeout: 30_000 }
const live = { signal: new AbortController().signal }

const oddKeys = [
  'red flower.log',
  'a+b.log',
  '100%.log',
  '%2F%41.log',
  'ünïcödé/日本/🦊.log',
  'a/../../etc/passwd',
  '../x.log',
  './y//z.log',
  'folder.gz/plain',
  'q?x=1&y=#z',
  "it's (new)!*~",
]

test(
  'B5.7, B5.8, B5.9: keys with spaces, +, %, unicode, `../` and without .gz are read, whoever sends the event',
  limits,
  () =>
    within({}, async (bed) => {
      const consumer = await bed.consumer()
      const sends = [
        (key: string) => s3Event(bed.eventOf(key)),
        (key: string) => s3Event(bed.eventOf(key), { sender: 'minio' }),
        (key: string) => eventBridge(bed.eventOf(key)),
        (key: string) => s3Event(bed.eventOf(key), { sender: 'ceph' }),
      ]
      for (const [round, send] of sends.entries()) {
        for (const key of oddKeys) {
          bed.s3.put(key, `${round} of ${key}`)
          bed.tell(send(key))
        }
        const from = consumer.read.length
        await consumer.drain()
        const contents = consumer.read.slice(from).map(([, content]) => content)
        assert.deepEqual(contents.toSorted(), oddKeys.map((key) => `${round} of ${key}`).toSorted())
        assert.deepEqual(bed.messages, [])
      }
    }),
)

test('the other form of a key is tried once, when there is no object with the first', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('a+b', 'encoded')
    // A server that says it is S3 and does not encode.
    bed.tell(s3Event(bed.eventOf('a+b'), { sender: 'ceph' }).replaceAll('ceph:s3', 'aws:s3'))
    bed.tell(s3Event({ bucket: 'b', key: 'no where', etag: 'e', size: 1 }))
    const consumer = await bed.consumer()
    await consumer.drain()
    assert.deepEqual(
      consumer.read.map(([, content]) => content),
      ['encoded'],
    )
    assert.deepEqual(bed.gets.toSorted(), ['a b', 'a+b', 'no where', 'no+where'])
    assert.deepEqual(bed.messages, [])
  }),
)

test('an object that vanishes while it is read is not continued with that of the other key', limits, () =>
  within({}, async (bed) => {
    const body = Buffer.alloc(2 ** 20, 'x')
    bed.s3.put('a b', body)
    bed.s3.put('a+b', body)
    const config = { type: 's3_sqs', queue_url: bed.sqs.queueUrl('events'), endpoint: bed.s3.endpoint }
    using objects = new NotifiedObjects(s3SqsConfig.parse(config), { timeFromKey: () => undefined, nowMs: Date.now })
    const { etag, size } = bed.eventOf('a b')
    const event = { bucket: 'b', key: 'a b', otherKey: 'a+b', etag, size, region: undefined, eventMs: 0 }
    const object = await objects.resolve(event, 0)
    bed.s3.faults.onGet = (key, n) => {
      if (key === 'a b' && n > 1) bed.s3.remove(key)
      return key === 'a b' && n === 1 ? { cutAfter: 300_000 } : undefined
    }
    await assert.rejects(bytesOf(objects.open(object, 0, live)), (error) => {
      return error instanceof StreamError && error.code === 'source.vanished'
    })
    assert.deepEqual(new Set(bed.gets), new Set(['a b']))
  }),
)

test('B5.5: an object that was deleted is written down as vanished, and its message is deleted', limits, () =>
  within({}, async (bed) => {
    for (const key of ['with etag', 'without']) bed.arrive(key)
    bed.s3.remove('with etag')
    bed.s3.remove('without')
    bed.tell('{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"never+was"}}}]}')
    const consumer = await bed.consumer()
    assert.deepEqual(await consumer.drain(), ['never was', 'with etag', 'without'])
    assert.deepEqual(
      consumer.ledger.objects().map(({ state }) => state),
      ['vanished', 'vanished', 'vanished'],
    )
    assert.deepEqual(bed.messages, [])
    assert.equal(consumer.source.progress.failed, 0)
  }),
)

test(
  'an object that was replaced: the version that is there now is read, once, though its own event is missing',
  limits,
  () =>
    within({}, async (bed) => {
      const first = bed.arrive('a', 'old')
      bed.s3.put('a', 'new')
      const second = bed.arrive('b', 'old')
      bed.arrive('b', 'new')
      const consumer = await bed.consumer()
      await consumer.drain()
      assert.deepEqual(consumer.read.toSorted(), [
        ['a', 'new'],
        ['b', 'new'],
      ])
      assert.deepEqual([bed.message(first), bed.message(second), bed.messages.length], [undefined, undefined, 0])
    }),
)

test('a message of a replaced object waits for the version that is there now', limits, () =>
  within({}, async (bed) => {
    const id = bed.arrive('a', 'old')
    bed.s3.put('a', 'new')
    const consumer = await bed.consumer()
    const open: ListedObject[] = []
    consumer.follow((object) => {
      if (open.push(object) === 1) return undefined
      return 'open'
    })
    await until(() => open.length === 2)
    bed.arrive('c')
    await until(() => open.length === 3)
    consumer.finish(open[2] as ListedObject, 'done')
    await until(() => bed.messages.length === 1)
    assert.equal(bed.message(id)?.state, 'in flight')
    consumer.finish(open[1] as ListedObject, 'done')
    await until(() => bed.messages.length === 0)
  }),
)

test('a replaced object whose newer version cannot be found now is tried again', limits, () =>
  within({}, async (bed) => {
    bed.arrive('a', 'old')
    bed.s3.put('a', 'new')
    const consumer = await bed.consumer()
    bed.s3.faults.onHead = () => s3Errors.accessDenied
    await consumer.drain()
    assert.deepEqual([bed.messages.length, consumer.source.progress.failed], [1, 1])
    bed.s3.faults.onHead = undefined
    bed.sqs.advance(60_000)
    await consumer.drain()
    assert.deepEqual(consumer.read, [['a', 'new']])
    assert.deepEqual(bed.messages, [])
  }),
)

test('an event without ETag: S3 is asked, so that the object is known again by any other event', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('a b', 'x')
    bed.tell('{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"a+b"}}}]}')
    const consumer = await bed.consumer({ bucket_path: 'where', key_path: 'what' })
    assert.deepEqual(await consumer.drain(), ['a b'])
    bed.tell(s3Event(bed.eventOf('a b')))
    bed.tell('{"where":"b","what":"a b"}')
    bed.tell('{"where":"b","what":"a%20b"}')
    assert.deepEqual(await consumer.drain(), [])
    assert.equal(bed.s3.counters.get, 1)
    assert.equal(consumer.metric('sqs_events_duplicate_total'), 3)
  }),
)

test('a size of 0 in an event is not believed: some senders do not know it', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('a', 'content')
    bed.tell(s3Event({ ...bed.eventOf('a'), size: 0 }))
    bed.arrive('empty', '')
    const consumer = await bed.consumer()
    await consumer.drain()
    assert.deepEqual(consumer.read.toSorted(), [
      ['a', 'content'],
      ['empty', ''],
    ])
  }),
)

test('include and exclude choose by key; what they leave out is ignored, counted and deleted', limits, () =>
  within({}, async (bed) => {
    for (const key of ['web/a.log', 'web/b.gz', 'web/tmp/c.log', 'd.log']) bed.s3.put(key, key)
    for (const key of ['web/a.log', 'web/b.gz', 'web/tmp/c.log']) bed.tell(s3Event(bed.eventOf(key)))
    bed.tell(s3Event(['d.log', 'web/b.gz'].map((key) => bed.eventOf(key))))
    const consumer = await bed.consumer({ include: '*.log', exclude: ['tmp/*', 'never/*'] })
    assert.deepEqual(await consumer.drain(), ['d.log', 'web/a.log'])
    assert.deepEqual(bed.messages, [])
    assert.equal(consumer.metric('sqs_events_ignored_total'), 3)
    assert.equal(consumer.figure('ignored'), 3)
  }),
)

test('several buckets and regions on one queue; an endpoint of its own has them all', limits, () =>
  within({}, async (bed) => {
    for (const key of ['a', 'b', 'c']) bed.s3.put(key, key)
    bed.tell(s3Event({ ...bed.eventOf('a', 'one'), region: 'eu-west-1' }))
    bed.tell(eventBridge({ ...bed.eventOf('b', 'two'), region: 'us-west-2' }))
    bed.tell(s3Event([bed.eventOf('c', 'one'), bed.eventOf('c', 'two')]))
    const consumer = await bed.consumer()
    assert.deepEqual(await consumer.drain(), ['a', 'b', 'c', 'c'])
    const ids = consumer.ledger.objects().map(({ id }) => id.slice(0, id.indexOf('@')))
    assert.deepEqual(ids.toSorted(), ['one/a', 'one/c', 'two/b', 'two/c'])
  }),
)

test(
  'a bucket that is not there or in another region fails, and the other objects of its message are read',
  limits,
  () =>
    within({}, async (bed) => {
      for (const key of ['a', 'b']) bed.s3.put(key, key)
      bed.s3.buckets = new Set(['b'])
      const none = { bucket: 'none', key: 'x' }
      const event = JSON.parse(s3Event([none, bed.eventOf('a')])) as {
        Records: [{ s3: { object: { eTag?: string } } }]
      }
      // Without ETag S3 is asked when the message is taken, with one when the object is read.
      delete event.Records[0].s3.object.eTag
      bed.tell(JSON.stringify(event))
      bed.tell(s3Event([{ ...none, etag: 'e', size: 1 }, bed.eventOf('b')]))
      const consumer = await bed.consumer()
      await consumer.drain()
      assert.deepEqual(consumer.read.map(([key]) => key).toSorted(), ['a', 'b'])
      assert.deepEqual([bed.messages.length, consumer.source.progress.failed], [2, 2])
      bed.s3.buckets = undefined
      bed.s3.faults.onGet = () => permanentRedirect('eu-west-1', '127.0.0.1:9')
      bed.arrive('c')
      await consumer.drain()
      assert.equal(consumer.source.progress.failed, 3)
    }),
)

test('an object is found for `explain` when its bucket is named', limits, () =>
  within({}, async (bed) => {
    bed.s3.put('a', 'x')
    const { source } = await bed.consumer()
    assert.equal((await source.find('a', { ...live, bucket: 'b' })).size, 1)
    await assert.rejects(source.find('a', live), /cannot find a: .*\(name the object as s3:\/\/bucket\/key\)$/)
  }),
)

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  eventBridge,
  objectRemoved,
  type S3EventObject,
  s3Event,
  snsRaw,
  snsWrapped,
  testEvent,
} from '../../test/servers/s3-events.ts'
import { StreamError } from '../core/errors.ts'
import { type Mapping, parseNotification } from './s3-notification.ts'

const object: S3EventObject = {
  bucket: 'logs',
  key: 'web/a b+c.gz',
  size: 12,
  etag: 'abc',
  region: 'eu-west-1',
  eventTime: '2026-10-12T12:00:00.000Z',
}
const found = {
  bucket: 'logs',
  key: 'web/a b+c.gz',
  etag: 'abc',
  size: 12,
  region: 'eu-west-1',
  eventMs: Date.UTC(2026, 9, 12, 12),
}
/** Without the other form of the key. */
const facts = (body: string, mapping?: Mapping) =>
  parseNotification(body, mapping).objects.map(({ otherKey: _, ...rest }) => rest)
const keys = (body: string, mapping?: Mapping) =>
  parseNotification(body, mapping).objects.map(({ key, otherKey }) => [key, otherKey])
const refuses = (body: string, part: RegExp, mapping?: Mapping) =>
  assert.throws(
    () => parseNotification(body, mapping),
    (error) => {
      assert.ok(error instanceof StreamError && error.code === 'source.message', String(error))
      assert.match(error.message, part)
      return true
    },
  )

test('the same object is found in every envelope', () => {
  const direct = s3Event(object)
  const envelopes = {
    direct,
    'SNS, raw': snsRaw(direct),
    SNS: snsWrapped(direct),
    'SNS in SNS': snsWrapped(snsWrapped(direct)),
    EventBridge: eventBridge(object),
    'EventBridge through SNS': snsWrapped(eventBridge(object)),
    MinIO: s3Event(object, { sender: 'minio' }),
    'a list of events': `[${direct}]`,
    'an event of SQS as a function gets it': JSON.stringify({ Records: [{ eventSource: 'aws:sqs', body: direct }] }),
    'an event of SNS as a function gets it': JSON.stringify({ Records: [{ Sns: { Message: direct } }] }),
    'version 2.0': s3Event(object, { eventVersion: '2.0' }),
    'version 2.6': s3Event(object, { eventVersion: '2.6' }),
  }
  for (const [name, body] of Object.entries(envelopes)) assert.deepEqual(facts(body), [found], name)
})

test('B5.6: all Records of a message are found, in their order; unknown fields are left alone', () => {
  const objects = Array.from({ length: 30 }, (_, i) => ({ ...object, key: `k${i}` }))
  const event = JSON.parse(s3Event(objects)) as { Records: Array<Record<string, unknown>> }
  for (const record of event.Records) record.glacierEventData = { restoreEventData: { deep: [1, { a: null }] } }
  const body = JSON.stringify({ ...event, somethingNew: true })
  assert.deepEqual(
    parseNotification(body).objects.map(({ key }) => key),
    objects.map(({ key }) => key),
  )
  const two = `[${snsWrapped(s3Event(object))},${eventBridge({ ...object, key: 'x' })}]`
  assert.deepEqual(
    parseNotification(two).objects.map(({ key }) => key),
    [object.key, 'x'],
  )
})

const oddKeys = [
  'red flower.jpg',
  'a+b.gz',
  '100%.log',
  '%2F%41.log',
  'ünïcödé/日本/🦊.gz',
  'a/../../etc/passwd',
  './..//x',
  'line\nbreak\r\n\ttab.log',
  'q?x=1&y=#z',
  '"quoted" \\ back',
  'year=2026/month=10/*[1]{2}~!(3).gz',
]

test('B5.7: keys come out as they are, whoever encodes them: AWS and MinIO do, EventBridge does not', () => {
  for (const key of oddKeys) {
    for (const body of [
      s3Event({ ...object, key }),
      s3Event({ ...object, key }, { sender: 'minio' }),
      eventBridge({ ...object, key }),
    ]) {
      assert.equal(parseNotification(body).objects[0]?.key, key, body)
    }
  }
})

test('B5.7: the other form of a key is known, if there is one: for Ceph, which encodes nothing, it is the right one', () => {
  for (const key of oddKeys) {
    const [object0] = parseNotification(s3Event({ ...object, key }, { sender: 'ceph' })).objects
    assert.ok(object0?.key === key || object0?.otherKey === key, key)
  }
  assert.deepEqual(keys(s3Event({ ...object, key: 'a b' })), [['a b', 'a+b']])
  assert.deepEqual(keys(eventBridge({ ...object, key: 'a+b' })), [['a+b', 'a b']])
  assert.deepEqual(keys(eventBridge({ ...object, key: 'a' })), [['a', undefined]])
  assert.deepEqual(keys(s3Event({ ...object, key: 'a/b.gz' })), [['a/b.gz', undefined]])
})

test('a key whose escapes are no escapes is taken as it is', () => {
  for (const raw of ['100%', '%zz', '%E0%A4%A', '%ED%A0%80', 'a%']) {
    const body = s3Event(object).replace(/"key":"[^"]*"/, () => `"key":${JSON.stringify(raw)}`)
    assert.deepEqual(keys(body), [[raw, undefined]])
    assert.deepEqual(keys(eventBridge({ ...object, key: raw })), [[raw, undefined]])
  }
})

test('B5.5: the test event of S3 is known in every envelope, and holds nothing to read', () => {
  for (const body of [testEvent('logs'), snsWrapped(testEvent('logs')), `[${testEvent('logs')}]`]) {
    const { objects, ignored, isTest, problems } = parseNotification(body)
    assert.deepEqual([objects, ignored, isTest, problems], [[], 0, true, []])
  }
})

test('B5.5: events of no new object are ignored and counted', () => {
  const names = [
    'ObjectRemoved:Delete',
    'ObjectRemoved:DeleteMarkerCreated',
    'ObjectRestore:Completed',
    'ObjectTagging:Put',
  ]
  for (const eventName of names) {
    for (const sender of ['aws', 'minio', 'ceph'] as const) {
      const { objects, ignored, problems } = parseNotification(s3Event({ ...object, eventName }, { sender }))
      assert.deepEqual([objects, ignored, problems], [[], 1, []], `${sender} ${eventName}`)
    }
  }
  assert.equal(parseNotification(snsWrapped(objectRemoved(object))).ignored, 1)
  assert.equal(parseNotification(eventBridge({ ...object, eventName: 'ObjectRemoved:Delete' })).ignored, 1)
  const tags = eventBridge(object).replace('Object Created', 'Object Tags Added')
  assert.equal(parseNotification(tags).ignored, 1)
  for (const eventName of ['Put', 'Post', 'Copy', 'CompleteMultipartUpload']) {
    assert.equal(parseNotification(s3Event({ ...object, eventName: `ObjectCreated:${eventName}` })).objects.length, 1)
  }
  const mixed = parseNotification(s3Event([object, { ...object, eventName: 'ObjectRemoved:Delete' }, object]))
  assert.deepEqual([mixed.objects.length, mixed.ignored], [2, 1])
})

test('what an event lacks is undefined, what is odd in it too', () => {
  const bare = '{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}}}]}'
  const nothing = { etag: undefined, size: undefined, region: undefined, eventMs: undefined }
  assert.deepEqual(facts(bare), [{ bucket: 'b', key: 'k', ...nothing }])
  const odd = bare.replace('"key":"k"', '"key":"k","eTag":"","size":-1').replace('{"s3"', '{"eventTime":"soon","s3"')
  assert.deepEqual(facts(odd), [{ bucket: 'b', key: 'k', ...nothing }])
  const text = bare.replace('"key":"k"', '"key":"k","eTag":"\\"q\\"","size":"7"')
  assert.deepEqual(facts(text), [{ bucket: 'b', key: 'k', ...nothing, etag: 'q', size: 7 }])
})

test('a mapping finds bucket and key in messages of another shape', () => {
  const message = JSON.stringify({
    'data.files': [
      { where: { bucket: 's3://b' }, path: 'k 1' },
      { where: { bucket: 'arn:aws:s3:::c' }, path: 'x%20y' },
    ],
  })
  const mapping = { records: 'data.files', bucket: 'where.bucket', key: 'path' }
  const nested = JSON.stringify({ data: { files: [{ where: { bucket: 'b' }, path: 'k' }] } })
  assert.deepEqual(
    parseNotification(message, mapping).objects.map(({ bucket, key, otherKey }) => [bucket, key, otherKey]),
    [
      ['b', 'k 1', undefined],
      ['c', 'x%20y', 'x y'],
    ],
  )
  assert.deepEqual(keys(nested, mapping), [['k', undefined]])
  assert.deepEqual(keys(snsWrapped(nested), mapping), [['k', undefined]])
  assert.deepEqual(keys('{"bucket":"b","key":"k"}', { records: undefined, bucket: 'bucket', key: 'key' }), [
    ['k', undefined],
  ])
  const own = '{"Records":[{"b":"b","k":"k"}]}'
  assert.deepEqual(keys(own, { records: 'Records', bucket: 'b', key: 'k' }), [['k', undefined]])
  const bus = '{"detail-type":"Uploaded","detail":{"b":"b","k":"k"}}'
  assert.deepEqual(keys(bus, { records: undefined, bucket: 'detail.b', key: 'detail.k' }), [['k', undefined]])
  // S3's own events are still known.
  assert.deepEqual(facts(s3Event(object), mapping), [found])
  refuses('{"data":{}}', /has no list at records_path data\.files/, mapping)
  refuses('{"data":{"files":[{"path":"k"}]}}', /has no text at bucket_path where\.bucket/, mapping)
  refuses('{"data":{"files":[{"where":{"bucket":"s3://"},"path":"k"}]}}', /has no text at bucket_path/, mapping)
  refuses('{"data":{"files":[{"where":{"bucket":"b"},"path":7}]}}', /has no text at key_path path/, mapping)
})

test('B5.5: junk is refused with what is wrong with it', () => {
  for (const body of ['', 'hello', '{"Records":', '\u0000', s3Event(object).slice(0, -1)]) refuses(body, /is no JSON/)
  for (const body of ['null', '7', '"text"', 'true']) refuses(body, /is JSON, but no object/)
  for (const body of ['{"Records":[]}', '[]', snsWrapped('{"Records":[]}')]) refuses(body, /list of records is empty/)
  refuses('{"a":1,"b":2}', /is no S3 event, SNS or EventBridge notification \(it has a, b\); bucket_path and key_path/)
  refuses('{}', /it has no keys/)
  refuses('{"Records":[1]}', /one of its Records is no object/)
  refuses('{"Records":[{}]}', /one of its Records has no `s3`/)
  refuses('{"Records":[{"s3":{}}]}', /names no bucket or no key/)
  refuses('{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":""}}}]}', /names no bucket or no key/)
  refuses(snsWrapped('hello'), /the Message of the SNS notification is no JSON/)
  refuses('{"Records":[{"Sns":{"Message":"hello"}}]}', /a message within its Records is no JSON/)
  refuses('{"detail-type":"EC2 Instance State-change","detail":{}}', /EventBridge event of another kind: EC2 Instance/)
  refuses('{"detail-type":"Object Created","source":"aws.s3","detail":{}}', /its detail names no bucket or no key/)
  let sns = s3Event(object)
  for (let i = 0; i < 4; i += 1) sns = snsWrapped(sns)
  refuses(sns, /has too many envelopes/)
})

test('B5.5: what nests deeply or is wrong in very many places is refused in few words', () => {
  refuses('['.repeat(200_000), /is no JSON/)
  refuses('['.repeat(200_000) + ']'.repeat(200_000), /has too many envelopes/)
  refuses(`${'{"a":'.repeat(200_000)}1${'}'.repeat(200_000)}`, /it has a\)/)
  const wrong = JSON.stringify({ Records: Array.from({ length: 100_000 }, (_, i) => (i % 2 ? i : { i })) })
  assert.throws(
    () => parseNotification(wrong),
    (error) => error instanceof StreamError && error.message.length < 500,
  )
  refuses(JSON.stringify({ ['k'.repeat(100_000)]: 1 }), /^.{0,400}$/)
})

test('B5.6: garbage beside good Records is told of, and the good ones are found', () => {
  const event = JSON.parse(s3Event([object, { ...object, key: 'second' }])) as { Records: unknown[] }
  const [first, second] = event.Records
  const body = JSON.stringify({ Records: [null, first, { s3: 'no' }, 7, second, { s3: { bucket: {} } }] })
  const { objects, problems } = parseNotification(body)
  assert.deepEqual(
    objects.map(({ key }) => key),
    [object.key, 'second'],
  )
  assert.deepEqual(problems, [
    'one of its Records is no object',
    'one of its Records has no `s3`',
    'one of its Records names no bucket or no key',
  ])
})

test('whatever the text, it gives a notification or source.message', () => {
  const piece = fc.constantFrom(
    'Records',
    's3',
    'bucket',
    'object',
    'key',
    'name',
    'Message',
    'Type',
    'TopicArn',
    'detail',
    'detail-type',
    'Event',
    'Sns',
    'eventName',
    '__proto__',
    'constructor',
    'body',
  )
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 6, withCrossShrink: true },
      fc.constantFrom(
        null,
        true,
        0,
        -1,
        1e308,
        '',
        'Notification',
        's3:TestEvent',
        'Object Created',
        'ObjectCreated:Put',
        '%zz',
      ),
      fc.string(),
      fc.array(tie('any'), { maxLength: 4 }),
      fc.dictionary(piece, tie('any'), { maxKeys: 6 }),
      fc.dictionary(piece, tie('any'), { maxKeys: 4 }).map((inner) => JSON.stringify(inner)),
    ),
  })).any
  const mappings = fc.constantFrom<Mapping | undefined>(
    undefined,
    { records: undefined, bucket: 'bucket', key: 'key' },
    { records: 'Records', bucket: 's3.bucket', key: '__proto__.key' },
    { records: 'detail.body', bucket: 'constructor.name', key: '..' },
  )
  const body = fc.oneof(
    value.map((any) => JSON.stringify(any)),
    fc.string(),
    fc.json(),
  )
  fc.assert(
    fc.property(body, mappings, (text, mapping) => {
      try {
        const { objects, ignored, isTest, problems } = parseNotification(text, mapping)
        assert.ok(objects.length + ignored > 0 || isTest)
        for (const { bucket, key, otherKey } of objects) assert.ok(bucket !== '' && key !== '' && key !== otherKey)
        assert.ok(problems.length <= 5)
      } catch (error) {
        assert.ok(error instanceof StreamError && error.code === 'source.message', String(error))
        assert.notEqual(error.message, '')
      }
    }),
    { numRuns: 3000 },
  )
})

test('any key of any sender survives the way through any envelope', () => {
  const someKey = fc.oneof(fc.string({ minLength: 1 }), fc.string({ unit: 'grapheme', minLength: 1 }))
  fc.assert(
    fc.property(
      someKey.filter((key) => key.isWellFormed()),
      (key) => {
        for (const body of [
          s3Event({ ...object, key }),
          s3Event({ ...object, key }, { sender: 'minio' }),
          eventBridge({ ...object, key }),
        ]) {
          assert.equal(parseNotification(snsWrapped(body)).objects[0]?.key, key)
        }
        const [raw] = parseNotification(s3Event({ ...object, key }, { sender: 'ceph' })).objects
        assert.ok(raw?.key === key || raw?.otherKey === key)
      },
    ),
  )
})

test('a key of Ceph RGW is taken as it is written, so that the object has its one name', () => {
  for (const key of ['a+b.log', '100%25.log', 'plain.log']) {
    const { objects } = parseNotification(s3Event({ bucket: 'b', key, etag: 'e' }, { sender: 'ceph' }))
    assert.equal(objects[0]?.key, key)
  }
})

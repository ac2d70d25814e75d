import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { eventBridge, objectRemoved, s3Event, snsRaw, snsWrapped, testEvent } from './s3-events.ts'

/** Of the first record. */
function keyIn(body: string): string {
  return JSON.parse(body).Records[0].s3.object.key
}

test('S3 encodes a key with + for a space and keeps its slashes', () => {
  const key = 'dt=2026-01-01/red flower+100%/ü(1)~.log'
  const body = s3Event({ bucket: 'logs', key, size: 7, etag: 'abc', versionId: 'v1', sequencer: '00A1' })
  const { Records } = JSON.parse(body)
  assert.deepEqual(Records[0].s3.object, {
    key: 'dt%3D2026-01-01/red+flower%2B100%25/%C3%BC%281%29%7E.log',
    size: 7,
    eTag: 'abc',
    versionId: 'v1',
    sequencer: '00A1',
  })
  assert.equal(Records[0].s3.bucket.name, 'logs')
  assert.deepEqual(
    [Records[0].eventVersion, Records[0].eventSource, Records[0].eventName],
    ['2.1', 'aws:s3', 'ObjectCreated:Put'],
  )
  assert.equal(snsRaw(body), body)
})

test('MinIO encodes the slashes too and Ceph nothing', () => {
  const object = { bucket: 'logs', key: 'a b/c+d~(1).log' }
  const minio = s3Event(object, { sender: 'minio' })
  assert.equal(keyIn(minio), 'a+b%2Fc%2Bd~%281%29.log')
  assert.equal(JSON.parse(minio).EventName, 's3:ObjectCreated:Put')
  assert.equal(JSON.parse(minio).Key, 'logs/a b/c+d~(1).log')
  const ceph = s3Event(object, { sender: 'ceph' })
  assert.equal(keyIn(ceph), object.key)
  assert.equal(JSON.parse(ceph).Records[0].s3.object.versionId, '')
})

test('Every encoded key decodes to what it was', () => {
  void fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.constantFrom('aws' as const, 'minio' as const), (key, sender) => {
      const encoded = keyIn(s3Event({ bucket: 'b', key }, { sender }))
      assert.equal(decodeURIComponent(encoded.replaceAll('+', ' ')), key)
    }),
  )
})

test('One message holds a record for each object, and sequencers rise', () => {
  const { Records } = JSON.parse(s3Event([1, 2, 3].map((n) => ({ bucket: 'logs', key: `${n}.log` }))))
  assert.deepEqual(
    Records.map((one: { s3: { object: { key: string } } }) => one.s3.object.key),
    ['1.log', '2.log', '3.log'],
  )
  const sequencers: string[] = Records.map((one: { s3: { object: { sequencer: string } } }) => one.s3.object.sequencer)
  assert.deepEqual(sequencers, [...new Set(sequencers)].sort())
})

test('A removed object has neither size nor ETag', () => {
  const { Records } = JSON.parse(objectRemoved({ bucket: 'logs', key: 'a.log', sequencer: '1' }))
  assert.equal(Records[0].eventName, 'ObjectRemoved:Delete')
  assert.deepEqual(Records[0].s3.object, { key: 'a.log', sequencer: '1' })
})

test('EventBridge leaves the key as it is', () => {
  const event = JSON.parse(eventBridge({ bucket: 'logs', key: 'a b/c+d%20.log', size: 3, etag: 'e', sequencer: '1' }))
  assert.deepEqual([event.source, event['detail-type'], event.detail.reason], ['aws.s3', 'Object Created', 'PutObject'])
  assert.deepEqual(event.detail.object, { key: 'a b/c+d%20.log', size: 3, etag: 'e', sequencer: '1' })
  assert.equal(event.detail.bucket.name, 'logs')
  const marker = { bucket: 'logs', key: 'a', eventName: 'ObjectRemoved:DeleteMarkerCreated', versionId: 'v' }
  const deleted = JSON.parse(eventBridge(marker))
  assert.deepEqual(
    [deleted['detail-type'], deleted.detail.reason, deleted.detail['deletion-type'], deleted.detail.object.size],
    ['Object Deleted', 'DeleteObject', 'Delete Marker Created', undefined],
  )
})

test('SNS wraps the body as a string, and the test event has no records', () => {
  const body = testEvent('logs')
  const wrapped = JSON.parse(snsWrapped(body))
  assert.equal(wrapped.Type, 'Notification')
  assert.equal(wrapped.Message, body)
  const { Event, Bucket, Records } = JSON.parse(body)
  assert.deepEqual([Event, Bucket, Records], ['s3:TestEvent', 'logs', undefined])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { StreamError } from '../core/errors.ts'
import { s3Sink } from './s3.ts'
import { s3Config } from './s3-config.ts'

const uploads = {
  find: () => undefined,
  begin: () => undefined,
  addPart: () => undefined,
  remove: () => undefined,
  list: () => [],
}

const records = s3Config.parse({ type: 's3', mode: 'records', bucket: 'lake', region: 'eu-central-1' })
const objects = s3Config.parse({ type: 's3', bucket: 'landing', key: 'in/{path}', region: 'eu-central-1' })

test('every example is right, and says where it writes', () => {
  const places = s3Sink.examples.map(({ config }) => s3Sink.place(s3Config.parse(config)))
  assert.deepEqual(places, [
    's3://landing/vendor/{date}/{path}',
    's3://archive/{bucket}/{key}',
    's3://backup/{path}',
    's3://lake/web/dt={date}/hour={HH}/{id}{ext}',
  ])
})

test('each mode has a sink of its own', async () => {
  assert.equal(s3Sink.objects?.wanted(objects), true)
  assert.equal(s3Sink.objects?.wanted(records), false)
  await using written = await s3Sink.create(records, testContext())
  assert.deepEqual(written.limits, { records: 100_000, bytes: 8 * 2 ** 20, lingerMs: 60_000 })
  await using copied = await s3Sink.objects?.create(objects, { ...testContext(), uploads })
  const object = { id: 'b/a@1', bucket: 'b', key: 'a', size: 1, timeMs: 0, lastModifiedMs: 0 }
  assert.equal(copied?.placeOf(object), 's3://landing/in/a')
})

test('records are not written by a sink for objects', async () => {
  await assert.rejects(
    async () => s3Sink.create(objects, testContext()),
    (error) => error instanceof StreamError && error.kind === 'config' && /set `mode: records`/.test(error.message),
  )
})

test('the notes name every verb that a key may hold', () => {
  for (const verb of [
    'path',
    'dir',
    'name',
    'stem',
    'ext',
    'key',
    'bucket',
    'id',
    'pipeline',
    'date',
    'yyyy',
    'MM',
    'dd',
    'HH',
    'mm',
    'ss',
  ])
    assert.ok(s3Sink.notes.includes(`\`{${verb}}\``), verb)
})

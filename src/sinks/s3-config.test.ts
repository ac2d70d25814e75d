import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as z from 'zod'
import { objectsOf, recordsOf, s3Config } from './s3-config.ts'

const parse = (settings: object) => s3Config.parse({ type: 's3', bucket: 'b', ...settings })

function problemsOf(settings: object): string[] {
  const { error } = s3Config.safeParse({ type: 's3', bucket: 'b', ...settings })
  return (error?.issues ?? []).map(({ path, message }) => `${path.join('.')} ${message}`)
}

test('whole objects are copied under their path, if nothing else is said', () => {
  const config = objectsOf(parse({}))
  assert.equal(config.mode, 'objects')
  assert.equal(config.key, '{path}')
  assert.equal(config.part_size, 8 * 2 ** 20)
  assert.equal(config.read_concurrency, 6)
  assert.equal(config.upload_concurrency, 10)
  assert.equal(config.verify, 'checksum')
  assert.equal(config.if_exists, 'overwrite')
  assert.equal(config.timeout, 60_000)
  assert.deepEqual(config.retry, { min: 200, max: 30_000, max_attempts: 10 })
})

test('what holds is in the parsed configuration, so that it can be shown; nothing of the other mode is', () => {
  const objects = parse({})
  assert.equal(objects.part_size, 8 * 2 ** 20)
  assert.equal(objects.batch, undefined)
  const records = parse({ mode: 'records' })
  assert.equal(records.compression, 'gzip')
  assert.equal(records.part_size, undefined)
  assert.equal(records.retry.max_attempts, undefined)
})

test('records go into gzip objects by hour, if nothing else is said', () => {
  const config = recordsOf(parse({ mode: 'records' }))
  assert.equal(config.key, '{pipeline}/{yyyy}/{MM}/{dd}/{HH}/{id}{ext}')
  assert.deepEqual(config.batch, { records: 100_000, bytes: 8 * 2 ** 20, linger: 60_000 })
  assert.equal(config.max_in_flight, 4)
})

test('a key of the other mode is an error, also with its usual value', () => {
  assert.deepEqual(problemsOf({ mode: 'records', part_size: '8MiB', verify: 'size' }), [
    'part_size needs `mode: objects`, and the mode is records',
    'verify needs `mode: objects`, and the mode is records',
  ])
  assert.deepEqual(problemsOf({ compression: 'gzip', batch: {} }), [
    'compression needs `mode: records`, and the mode is objects',
    'batch needs `mode: records`, and the mode is objects',
  ])
  assert.match(problemsOf({ mode: 'records', retry: { max_attempts: 3 } })[0] ?? '', /^retry\.max_attempts needs/)
  assert.match(problemsOf({ mode: 'records', key: '{path}' })[0] ?? '', /^key \{path\} is for `mode: objects`/)
  assert.match(problemsOf({ metadata: { batch: '{id}' } })[0] ?? '', /^metadata\.batch \{id\} is for `mode: records`/)
})

test('a bucket is named without scheme and path, a key without its first slash', () => {
  assert.equal(parse({ bucket: 's3://logs/' }).bucket, 'logs')
  assert.equal(parse({ key: '/in/{path}' }).key, 'in/{path}')
  assert.equal(
    parse({ bucket: 'arn:aws:s3:eu-central-1:1:accesspoint/x' }).bucket,
    'arn:aws:s3:eu-central-1:1:accesspoint/x',
  )
  assert.deepEqual(problemsOf({ bucket: 'logs/web' }), ['bucket holds a path: put that into `key`'])
  assert.deepEqual(problemsOf({ bucket: 's3://' }), ['bucket must name a bucket'])
})

test('what S3 would refuse is refused before', () => {
  const cases: Array<[settings: object, problem: RegExp]> = [
    [{ part_size: '1MiB' }, /part_size "1MiB" is out of range: 5MiB to 5GiB/],
    [{ read_concurrency: 0 }, /^read_concurrency/],
    [{ tags: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`t${i}`, ''])) }, /tags has 11 tags/],
    [{ tags: { 'aws:x': 'y' } }, /belong to AWS/],
    [{ tags: { x: 'a&b' } }, /only letters, digits, spaces/],
    [{ tags: { '': 'a' } }, /too long or empty/],
    [{ metadata: { Änderung: 'x' } }, /must be of a-z/],
    [{ metadata: { mtime: '1' } }, /mtime is written by the sink itself/],
    [{ metadata: { x: 'y'.repeat(2000) } }, /has 2001 bytes/],
    [{ sse: { type: 'AES256', kms_key_id: 'x' } }, /sse\.kms_key_id needs `type: aws:kms`/],
    [{ sse: { type: 'aws:kms:dsse', bucket_key: true } }, /sse\.bucket_key needs/],
    [{ storage_class: 'COLD & DARK' }, /is no storage class/],
    [{ content_type: 'text/plain\r\nx: y' }, /must be a media type/],
    [
      { verify: 'read_back', storage_class: 'DEEP_ARCHIVE' },
      /verify what is stored as DEEP_ARCHIVE cannot be read back/,
    ],
    [{ retry: { min: '1m', max: '1s' } }, /retry\.min must not be more/],
    [{ mode: 'records', compression_level: 12 }, /12 is too large for gzip/],
    [{ mode: 'records', compression: 'none', compression_level: 1 }, /needs a `compression`/],
    [{ mode: 'records', batch: { bytes: '17MiB' } }, /out of range/],
  ]
  for (const [settings, problem] of cases)
    assert.match(problemsOf(settings).join('\n'), problem, JSON.stringify(settings))
  const fine = {
    tags: { 'Kostenstelle Ä': 'a/b:c@d' },
    metadata: { origin: '{bucket}/{path}' },
    sse: { type: 'aws:kms', kms_key_id: 'alias/x' },
  }
  assert.deepEqual(problemsOf(fine), [])
  assert.deepEqual(problemsOf({ mode: 'records', compression: 'zstd', compression_level: 19 }), [])
})

test('it is one of several sinks, told apart by type', () => {
  const union = z.discriminatedUnion('type', [s3Config, z.strictObject({ type: z.literal('other') })])
  assert.equal(objectsOf(union.parse({ type: 's3', bucket: 'b' }) as z.output<typeof s3Config>).key, '{path}')
  assert.ok(s3Config instanceof z.ZodObject)
})

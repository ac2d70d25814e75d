import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { listed, store } from '../../test/conformance/object-sink.ts'
import { onUploadBed } from '../../test/servers/s3-upload-bed.ts'
import { objectsOf, s3Config } from './s3-config.ts'
import { contentTypeOf, isCopyOf, keptHeaders } from './s3-upload-headers.ts'

const configured = (o: object = {}) => objectsOf(s3Config.parse({ type: 's3', bucket: 'data', ...o }))
const headersOf = (name: string, o: object = {}, modifiedMs = 1_700_000_000_123) =>
  keptHeaders(listed(name, 5, { modifiedMs }), configured(o), 'drop')

test('mtime is in Unix seconds, as exact as it is known and no more', () => {
  const mtime = (ms: number) => headersOf('a', {}, ms).Metadata?.mtime
  assert.equal(mtime(1_700_000_000_123), '1700000000.123')
  assert.equal(mtime(1_700_000_000_000), '1700000000')
  assert.equal(mtime(1_700_000_000_000.25), '1700000000.00025')
  assert.equal(mtime(0), '0')
})

test('source is where the object is from, URL-encoded where it is not ASCII', () => {
  assert.equal(headersOf('a b.csv').Metadata?.source, 'sftp://acme@sftp.example.com/upload/a b.csv')
  const source = headersOf('ü\n.csv').Metadata?.source as string
  assert.match(source, /^[\x20-\x7e]+$/)
  assert.equal(decodeURIComponent(source), 'sftp://acme@sftp.example.com/upload/ü\n.csv')
  const fromS3 = keptHeaders({ ...listed('a', 5), bucket: 'logs', key: 'x/a' }, configured(), 'drop')
  assert.equal(fromS3.Metadata?.source, 's3://logs/x/a')
})

test('a name too long for metadata is replaced by its hash, so that its object can be stored and known again', () => {
  const long = headersOf(`${'日'.repeat(300)}.csv`).Metadata
  assert.match(String(long?.source), /^sha256:[0-9a-f]{64}$/)
  assert.notEqual(long?.source, headersOf(`${'日'.repeat(300)}.txt`).Metadata?.source)
})

test('configured metadata has its verbs filled in', () => {
  const { Metadata } = headersOf('in/a.csv', { metadata: { vendor: 'acme', file: '{stem}-{pipeline}' } })
  const { mtime, source, ...others } = Metadata ?? {}
  assert.ok(mtime && source)
  assert.deepEqual(others, { vendor: 'acme', file: 'a-drop' })
})

test('the content type is the one configured, or goes by the name', () => {
  assert.equal(
    headersOf('a.csv', { content_type: 'text/plain; charset=utf-8' }).ContentType,
    'text/plain; charset=utf-8',
  )
  for (const [key, type] of [
    ['x/a.CSV', 'text/csv'],
    ['a.tar.gz', 'application/gzip'],
    ['a.constructor', 'application/octet-stream'],
    ['noext', 'application/octet-stream'],
    ['v1.2/noext', 'application/octet-stream'],
    ['', 'application/octet-stream'],
  ] as const)
    assert.equal(contentTypeOf(key), type, key)
})

test('an object is the copy of one version of one source only', () => {
  const headers = headersOf('a')
  const found = { etag: undefined, versionId: undefined, crc: undefined, size: 5, metadata: headers.Metadata ?? {} }
  assert.ok(isCopyOf(found, headers, 5))
  assert.ok(!isCopyOf({ ...found, size: 6 }, headers, 5))
  assert.ok(!isCopyOf({ ...found, metadata: {} }, headers, 5))
  assert.ok(!isCopyOf(found, headersOf('b'), 5))
  assert.ok(!isCopyOf(found, headersOf('a', {}, 1_700_000_000_124), 5))
})

for (const [how, size] of [
  ['one request', 700],
  ['parts', 2500],
] as const)
  onUploadBed(`what is configured reaches the server (${how})`, async (bed) => {
    const o = configured({
      storage_class: 'STANDARD_IA',
      sse: { type: 'aws:kms', kms_key_id: 'alias/landing', bucket_key: true },
      tags: { origin: 'sftp drop', 'a+b': 'c=d' },
      metadata: { file: '{name}' },
    })
    const { storage_class, sse, tags, metadata } = o
    await using sink = await bed.create({ storage_class, sse, tags, metadata })
    await store(sink, listed('ü/a b.csv', size), randomBytes(size))
    const stored = bed.server.stat('in/ü/a b.csv')
    assert.equal(stored?.storageClass, 'STANDARD_IA')
    assert.deepEqual(Object.fromEntries(stored.tags ?? []), tags)
    const headers = stored.headers ?? {}
    assert.equal(headers['content-type'], 'text/csv')
    assert.equal(headers['x-amz-meta-file'], 'a b.csv')
    assert.equal(
      decodeURIComponent(headers['x-amz-meta-source'] ?? ''),
      'sftp://acme@sftp.example.com/upload/ü/a b.csv',
    )
    assert.equal(headers['x-amz-server-side-encryption'], 'aws:kms')
    assert.equal(headers['x-amz-server-side-encryption-aws-kms-key-id'], 'alias/landing')
  })

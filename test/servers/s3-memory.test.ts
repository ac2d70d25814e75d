import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import * as fc from 'fast-check'
import { request } from 'undici'
import { cloudTrail, countLines, gzipped, plainLineSegments, SegmentedBody } from './s3-bodies.ts'
import { accessDenied, internalError, noSuchKey, permanentRedirect, slowDown } from './s3-faults.ts'
import { compareKeys, startMemoryS3 } from './s3-memory.ts'

const s3 = await startMemoryS3({ trace: true })
const client = new S3Client({
  endpoint: s3.endpoint,
  forcePathStyle: true,
  region: 'us-east-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  maxAttempts: 1,
})
after(async () => {
  client.destroy()
  await s3.close()
})
const Bucket = s3.bucket

async function keysOf(input: { Prefix?: string; Delimiter?: string; StartAfter?: string; MaxKeys?: number }) {
  const keys: string[] = []
  const folders: string[] = []
  let pages = 0
  let token: string | undefined
  do {
    const page = await client.send(
      new ListObjectsV2Command({ Bucket, ...input, ...(token === undefined ? {} : { ContinuationToken: token }) }),
    )
    pages += 1
    for (const { Key } of page.Contents ?? []) keys.push(Key as string)
    for (const { Prefix } of page.CommonPrefixes ?? []) folders.push(Prefix as string)
    token = page.NextContinuationToken
    assert.equal(page.IsTruncated, token !== undefined)
  } while (token !== undefined)
  return { keys, folders, pages }
}

async function get(key: string, input: { Range?: string; IfMatch?: string } = {}) {
  const response = await client.send(new GetObjectCommand({ Bucket, Key: key, ...input }))
  return { response, body: Buffer.from((await response.Body?.transformToByteArray()) ?? []) }
}

const named = (name: string) => (error: unknown) => error instanceof Error && error.name === name

test('an object put over HTTP or in process comes back by GET, by Range and pinned by If-Match', async () => {
  await client.send(new PutObjectCommand({ Bucket, Key: 'a b/x+é.txt', Body: 'hello world' }))
  const { response, body } = await get('a b/x+é.txt')
  assert.equal(body.toString(), 'hello world')
  assert.equal(response.ETag, '"5eb63bbbe01eeed093cb22bb8f5acdc3"')
  assert.equal((await get('a b/x+é.txt', { Range: 'bytes=6-' })).body.toString(), 'world')
  assert.equal((await get('a b/x+é.txt', { Range: 'bytes=0-4' })).response.ContentRange, 'bytes 0-4/11')
  assert.equal((await get('a b/x+é.txt', { Range: 'bytes=-3' })).body.toString(), 'rld')
  await assert.rejects(get('a b/x+é.txt', { Range: 'bytes=11-' }), named('InvalidRange'))
  await assert.rejects(get('a b/x+é.txt', { IfMatch: '"other"' }), named('PreconditionFailed'))
  await assert.rejects(get('missing'), named('NoSuchKey'))
  s3.put('timed', 'x', { lastModified: new Date(86_400_000), storageClass: 'STANDARD_IA' })
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'timed' }))
  assert.equal(head.LastModified?.getTime(), 86_400_000)
  s3.remove('timed')
  s3.remove('a b/x+é.txt')
})

test('an aws-chunked PUT is stored without its framing', async () => {
  const url = `${s3.endpoint}/${Bucket}/chunked`
  const headers = { 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'content-encoding': 'aws-chunked' }
  const body = '5\r\nhello\r\n6;chunk-signature=00\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n'
  const { statusCode } = await request(url, { method: 'PUT', headers, body })
  assert.equal(statusCode, 200)
  assert.equal((await get('chunked')).body.toString(), 'hello world')
  s3.remove('chunked')
})

test('a PUT with If-None-Match: * does not overwrite', async () => {
  await client.send(new PutObjectCommand({ Bucket, Key: 'once', Body: '1', IfNoneMatch: '*' }))
  const second = client.send(new PutObjectCommand({ Bucket, Key: 'once', Body: '2', IfNoneMatch: '*' }))
  await assert.rejects(second, named('PreconditionFailed'))
  s3.remove('once')
})

test('listings are in UTF-8 byte order and survive odd keys with EncodingType=url', async () => {
  const odd = ['o/a b', 'o/a+b', 'o/a%20b', 'o/é', 'o/\u{1f600}', 'o/\uffee', 'o/tab\tkey', 'o/<&>"\'', 'o//x', 'o/..']
  for (const key of odd) s3.put(key, 'x')
  const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'o/', EncodingType: 'url' }))
  const decoded = (page.Contents ?? []).map(({ Key }) => decodeURIComponent((Key as string).replaceAll('+', ' ')))
  assert.deepEqual(
    decoded,
    odd.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
  )
  for (const key of odd) assert.equal((await get(key)).body.toString(), 'x')
  for (const key of odd) s3.remove(key)
})

test('pages of any size give the keys and folders that a plain filter gives', async () => {
  const local = await startMemoryS3()
  const keyPart = fc.string({ unit: fc.constantFrom('a', 'b', '/', '_', 'B', '\u{1f600}', '\uff5e'), maxLength: 5 })
  const at = new S3Client({
    endpoint: local.endpoint,
    forcePathStyle: true,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  })
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          keyPart.filter((key) => key !== ''),
          { maxLength: 12 },
        ),
        fc.constantFrom('', 'a', 'a/'),
        fc.constantFrom('', '/'),
        fc.constantFrom('', 'a', 'a/b'),
        fc.integer({ min: 1, max: 4 }),
        async (all, Prefix, Delimiter, StartAfter, MaxKeys) => {
          for (const key of all) local.put(key, 'x')
          const found: string[] = []
          let token: string | undefined
          do {
            const page = await at.send(
              new ListObjectsV2Command({
                Bucket: local.bucket,
                Prefix,
                MaxKeys,
                ...(Delimiter === '' ? {} : { Delimiter }),
                ...(StartAfter === '' ? {} : { StartAfter }),
                ...(token === undefined ? {} : { ContinuationToken: token }),
              }),
            )
            for (const { Key } of page.Contents ?? []) found.push(Key as string)
            for (const folder of page.CommonPrefixes ?? []) found.push(`${folder.Prefix}…`)
            token = page.NextContinuationToken
          } while (token !== undefined)
          const expected = all
            .filter((key) => key.startsWith(Prefix) && compareKeys(key, StartAfter) > 0)
            .map((key) => {
              const slash = Delimiter === '' ? -1 : key.indexOf('/', Prefix.length)
              return slash < 0 ? key : `${key.slice(0, slash + 1)}…`
            })
          assert.deepEqual(found.toSorted(), [...new Set(expected)].toSorted())
          for (const key of all) local.remove(key)
        },
      ),
      { numRuns: 60 },
    )
  } finally {
    at.destroy()
    await local.close()
  }
})

test('virtual objects are listed in order between the others and made when read', async () => {
  const local = await startMemoryS3()
  const at = new S3Client({
    endpoint: local.endpoint,
    forcePathStyle: true,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  })
  const key = (i: number) => `day=1/${String(i).padStart(7, '0')}`
  local.addVirtual({
    count: 1_000_000,
    key,
    size: (i) => key(i).length,
    body: (i) => Buffer.from(key(i)),
    lastModified: (i) => new Date(i * 1000),
  })
  local.put('day=1/0999999b', 'last')
  try {
    const first = await at.send(new ListObjectsV2Command({ Bucket: local.bucket, Prefix: 'day=1/' }))
    assert.equal(first.Contents?.length, 1000)
    assert.equal(first.Contents?.[999]?.Key, key(999))
    const next = new ListObjectsV2Command({ Bucket: local.bucket, ContinuationToken: first.NextContinuationToken })
    assert.equal((await at.send(next)).Contents?.[0]?.Key, key(1000))
    const tail = await at.send(new ListObjectsV2Command({ Bucket: local.bucket, StartAfter: key(999_998) }))
    assert.deepEqual(
      tail.Contents?.map(({ Key }) => Key),
      [key(999_999), 'day=1/0999999b'],
    )
    assert.equal(tail.Contents?.[0]?.LastModified?.getTime(), 999_999_000)
    const got = await at.send(new GetObjectCommand({ Bucket: local.bucket, Key: key(123_456) }))
    assert.equal(await got.Body?.transformToString(), key(123_456))
    const folders = await at.send(new ListObjectsV2Command({ Bucket: local.bucket, Delimiter: '/' }))
    assert.deepEqual(
      folders.CommonPrefixes?.map(({ Prefix }) => Prefix),
      ['day=1/'],
    )
  } finally {
    at.destroy()
    await local.close()
  }
})

test('a body of repeated blocks reads the same from any offset, plain and as one gzip member', () => {
  const { segments, records } = cloudTrail(3_000_000)
  const body = new SegmentedBody(segments)
  const whole = Buffer.concat([...body.slices()])
  assert.equal(whole.length, body.size)
  assert.equal((JSON.parse(whole.toString()) as { Records: unknown[] }).Records.length, records)
  for (const [start, end] of [
    [0, 1],
    [14, 700_001],
    [body.size - 3, body.size],
    [1_050_000, 2_200_000],
  ] as const) {
    assert.ok(Buffer.concat([...body.slices(start, end)]).equals(whole.subarray(start, end)), `${start}-${end}`)
  }
  const zipped = Buffer.concat([...gzipped(segments).slices()])
  assert.ok(gunzipSync(zipped).equals(whole))
  const lines = plainLineSegments(500_000)
  const text = Buffer.concat([...new SegmentedBody(lines).slices()]).toString()
  assert.equal(text.split('\n').length - 1, countLines(lines))
})

test('archived objects are listed with their class and cannot be read', async () => {
  s3.put('cold', 'x', { storageClass: 'GLACIER' })
  const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'cold' }))
  assert.equal(page.Contents?.[0]?.StorageClass, 'GLACIER')
  await assert.rejects(get('cold'), named('InvalidObjectState'))
  s3.remove('cold')
})

test('faults: error answers come with their status, code and headers, as often as the rule says', async () => {
  s3.put('k', 'body')
  s3.setFaults([
    { on: 'get', key: 'k', times: 1, fault: slowDown(7) },
    { on: 'get', key: 'k', after: 1, times: 1, fault: internalError() },
    { on: 'get', key: /^denied/, fault: accessDenied() },
    { on: 'get', key: 'gone', fault: noSuchKey() },
    { on: 'list', fault: permanentRedirect('eu-west-1') },
  ])
  const slow = await request(`${s3.endpoint}/${Bucket}/k`)
  assert.equal(slow.statusCode, 503)
  assert.equal(slow.headers['retry-after'], '7')
  assert.match(await slow.body.text(), /<Code>SlowDown<\/Code>/)
  // The second rule met the second request only after it passed one.
  assert.equal((await get('k')).body.toString(), 'body')
  await assert.rejects(get('k'), named('InternalError'))
  assert.equal((await get('k')).body.toString(), 'body')
  await assert.rejects(get('denied/x'), named('AccessDenied'))
  await assert.rejects(get('gone'), named('NoSuchKey'))
  const moved = await request(`${s3.endpoint}/${Bucket}/?list-type=2`)
  assert.equal(moved.statusCode, 301)
  assert.equal(moved.headers['x-amz-bucket-region'], 'eu-west-1')
  await moved.body.dump()
  assert.equal(s3.faulted, 5)
  s3.setFaults([])
  s3.remove('k')
})

test('faults: bodies break off by reset or by an early end, at the byte asked for', async () => {
  const body = Buffer.alloc(300_000, 'x')
  s3.put('big', body)
  const read = async (): Promise<{ got: number; error: string | undefined }> => {
    const response = await request(`${s3.endpoint}/${Bucket}/big`)
    let got = 0
    try {
      for await (const chunk of response.body) got += (chunk as Buffer).length
      return { got, error: undefined }
    } catch (error) {
      return { got, error: (error as Error & { code?: string }).code }
    }
  }
  s3.setFaults([{ on: 'get', fault: { kind: 'reset', afterBytes: 100_000 } }])
  const reset = await read()
  assert.ok(reset.got <= 100_000 && reset.error !== undefined, JSON.stringify(reset))
  s3.setFaults([{ on: 'get', fault: { kind: 'truncate', afterBytes: 100_000, declared: 'whole' } }])
  assert.deepEqual(await read(), { got: 100_000, error: 'UND_ERR_SOCKET' })
  s3.setFaults([{ on: 'get', fault: { kind: 'truncate', afterBytes: 100_000, declared: 'cut' } }])
  assert.deepEqual(await read(), { got: 100_000, error: undefined })
  s3.setFaults([{ on: 'get', fault: { kind: 'drip', bytes: 100_000, everyMs: 5 } }])
  assert.deepEqual(await read(), { got: 300_000, error: undefined })
  s3.setFaults([{ on: 'get', fault: { kind: 'reset', afterBytes: 300_001 } }])
  assert.deepEqual(await read(), { got: 300_000, error: undefined })
  s3.setFaults([{ on: 'get', times: 1, fault: { kind: 'reset', afterBytes: -1 } }])
  await assert.rejects(request(`${s3.endpoint}/${Bucket}/big`))
  s3.setFaults([])
  s3.remove('big')
})

test('faults: Range ignored, elements left out, an object replaced between list and get, no answer at all', async () => {
  s3.put('r', 'old body')
  s3.setFaults([{ on: 'get', fault: { kind: 'ignore_range' } }])
  const ignored = await get('r', { Range: 'bytes=4-' })
  assert.equal(ignored.response.$metadata.httpStatusCode, 200)
  assert.equal(ignored.body.toString(), 'old body')
  s3.setFaults([{ on: 'list', fault: { kind: 'omit', element: 'Size' } }])
  const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'r' }))
  assert.equal(page.Contents?.[0]?.Key, 'r')
  assert.equal(page.Contents?.[0]?.Size, undefined)
  const etag = page.Contents?.[0]?.ETag as string
  s3.setFaults([{ on: 'get', times: 1, fault: { kind: 'call', call: () => s3.put('r', 'new body') } }])
  await assert.rejects(get('r', { IfMatch: etag }), named('PreconditionFailed'))
  assert.equal((await get('r')).body.toString(), 'new body')
  s3.setFaults([{ on: 'get', fault: { kind: 'hang' } }])
  await assert.rejects(request(`${s3.endpoint}/${Bucket}/r`, { signal: AbortSignal.timeout(50) }))
  s3.setFaults([])
  s3.remove('r')
})

test('requests are counted by operation and traced with what they asked', async () => {
  const before = s3.requests.list
  await keysOf({ Prefix: 'none/', StartAfter: 'none/1' })
  assert.equal(s3.requests.list, before + 1)
  const trace = s3.traces.at(-1)
  assert.equal(trace?.query.get('start-after'), 'none/1')
  s3.put('t', '12345')
  await get('t', { Range: 'bytes=2-' })
  const last = s3.traces.at(-1)
  assert.deepEqual([last?.operation, last?.key, last?.range, last?.status], ['get', 't', 'bytes=2-', 206])
  s3.remove('t')
})

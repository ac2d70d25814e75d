import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandInput,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import * as fc from 'fast-check'
import { startFauxqs } from 'fauxqs'
import { request } from 'undici'
import { startS3 } from './s3.ts'
import { compareKeys } from './s3-store.ts'
import { permanentRedirect, s3Errors } from './s3-wire.ts'

const s3 = await startS3()
const client = clientOf(s3.endpoint)
const Bucket = 'logs'
after(async () => {
  client.destroy()
  await s3.close()
})

function clientOf(endpoint: string): S3Client {
  return new S3Client({
    endpoint,
    forcePathStyle: true,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    maxAttempts: 1,
  })
}

async function get(key: string, input: { Range?: string; IfMatch?: string; IfNoneMatch?: string } = {}) {
  const response = await client.send(new GetObjectCommand({ Bucket, Key: key, ...input }))
  return { response, body: Buffer.from((await response.Body?.transformToByteArray()) ?? []) }
}

/** Keys, and folders with a `…`, in the order of pages. */
async function listAll(input: Partial<ListObjectsV2CommandInput>, at = client): Promise<string[]> {
  const found: string[] = []
  let token: string | undefined
  do {
    const asked = { Bucket, ...input, ...(token === undefined ? {} : { ContinuationToken: token }) }
    const page = await at.send(new ListObjectsV2Command(asked))
    for (const { Key } of page.Contents ?? []) found.push(Key as string)
    for (const { Prefix } of page.CommonPrefixes ?? []) found.push(`${Prefix}…`)
    assert.equal(page.KeyCount, (page.Contents?.length ?? 0) + (page.CommonPrefixes?.length ?? 0))
    token = page.NextContinuationToken
    assert.equal(page.IsTruncated, token !== undefined)
  } while (token !== undefined)
  return found
}

const named = (name: string) => (error: unknown) => error instanceof Error && error.name === name

/** What a client that keeps count sees of a body. */
async function read(key: string): Promise<{ got: number; error: string | undefined }> {
  const response = await request(`${s3.endpoint}/${Bucket}/${key}`)
  let got = 0
  try {
    for await (const chunk of response.body) got += (chunk as Buffer).length
    return { got, error: undefined }
  } catch (error) {
    return { got, error: (error as Error & { code?: string }).code }
  }
}

test('an object put over HTTP comes back by GET, by Range and pinned by If-Match', async () => {
  await client.send(new PutObjectCommand({ Bucket, Key: 'a b/x+é.txt', Body: 'hello world' }))
  const { response, body } = await get('a b/x+é.txt')
  assert.equal(body.toString(), 'hello world')
  assert.equal(response.ETag, '"5eb63bbbe01eeed093cb22bb8f5acdc3"')
  const ranges = { 'bytes=6-': 'world', 'bytes=0-4': 'hello', 'bytes=-3': 'rld', 'bytes=6-100': 'world' }
  for (const [Range, text] of Object.entries(ranges)) {
    const part = await get('a b/x+é.txt', { Range })
    assert.equal(part.body.toString(), text)
    assert.equal(part.response.$metadata.httpStatusCode, 206)
  }
  assert.equal((await get('a b/x+é.txt', { Range: 'bytes=6-' })).response.ContentRange, 'bytes 6-10/11')
  assert.equal((await get('a b/x+é.txt', { IfMatch: '"5eb63bbbe01eeed093cb22bb8f5acdc3"' })).body.length, 11)
  await assert.rejects(get('a b/x+é.txt', { Range: 'bytes=11-' }), named('InvalidRange'))
  await assert.rejects(get('a b/x+é.txt', { IfMatch: '"other"' }), named('PreconditionFailed'))
  await assert.rejects(get('missing'), named('NoSuchKey'))
  await client.send(new DeleteObjectCommand({ Bucket, Key: 'a b/x+é.txt' }))
  await assert.rejects(get('a b/x+é.txt'), named('NoSuchKey'))
})

test('an object put in process has the time, class and ETag given; an archived one cannot be read', async () => {
  s3.put('timed', 'x', { lastModified: new Date(86_400_000), storageClass: 'STANDARD_IA', etag: 'abc-2' })
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'timed' }))
  assert.deepEqual([head.LastModified?.getTime(), head.ETag, head.ContentLength], [86_400_000, '"abc-2"', 1])
  assert.equal(head.StorageClass, 'STANDARD_IA')
  s3.put('cold', 'x', { storageClass: 'GLACIER' })
  const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'cold' }))
  assert.equal(page.Contents?.[0]?.StorageClass, 'GLACIER')
  await assert.rejects(get('cold'), named('InvalidObjectState'))
  s3.remove('cold')
  s3.remove('timed')
})

test('an aws-chunked PUT is stored without its framing; a wrong Content-MD5 and a second If-None-Match: * are refused', async () => {
  const url = `${s3.endpoint}/${Bucket}/chunked`
  const headers = { 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'content-encoding': 'aws-chunked' }
  const body = '5\r\nhello\r\n6;chunk-signature=00\r\n world\r\n0\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n'
  assert.equal((await request(url, { method: 'PUT', headers, body })).statusCode, 200)
  assert.equal(s3.read('chunked')?.toString(), 'hello world')
  const bad = client.send(
    new PutObjectCommand({ Bucket, Key: 'bad', Body: '1', ContentMD5: 'AAAAAAAAAAAAAAAAAAAAAA==' }),
  )
  await assert.rejects(bad, named('BadDigest'))
  const again = client.send(new PutObjectCommand({ Bucket, Key: 'chunked', Body: '2', IfNoneMatch: '*' }))
  await assert.rejects(again, named('PreconditionFailed'))
  s3.remove('chunked')
})

test('any bucket exists until buckets are named', async () => {
  await client.send(new HeadBucketCommand({ Bucket: 'whatever' }))
  s3.buckets = new Set(['logs'])
  await client.send(new HeadBucketCommand({ Bucket }))
  await assert.rejects(client.send(new HeadBucketCommand({ Bucket: 'whatever' })), named('NotFound'))
  await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'whatever' })), named('NoSuchBucket'))
  s3.buckets = undefined
})

test('listings are in UTF-8 byte order and hold odd keys, with EncodingType=url and without', async () => {
  const odd = [
    'a b',
    'a+b',
    'a%20b',
    'é',
    '\u{1f600}',
    '\uffee',
    'tab\tkey',
    '<&>"\'',
    '/x',
    '..',
    '~(!)*',
    'year=1/m=2',
  ]
  const keys = odd.map((name) => `o/${name}`)
  for (const key of keys) s3.put(key, 'x')
  const ordered = keys.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  const page = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'o/', EncodingType: 'url' }))
  assert.equal(page.EncodingType, 'url')
  const decoded = (page.Contents ?? []).map(({ Key }) => decodeURIComponent((Key as string).replaceAll('+', ' ')))
  assert.deepEqual(decoded, ordered)
  assert.deepEqual(await listAll({ Prefix: 'o/' }), ordered)
  for (const key of keys) {
    assert.equal((await get(key)).body.toString(), 'x')
    s3.remove(key)
  }
})

test('pages of any size give the keys and folders that a plain filter gives', async () => {
  const keyPart = fc.string({
    unit: fc.constantFrom('a', 'b', '/', '_', 'B', '\u{1f600}', '\uff5e'),
    minLength: 1,
    maxLength: 5,
  })
  const ours = await startS3()
  const at = clientOf(ours.endpoint)
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(keyPart, { maxLength: 12 }),
        fc.constantFrom('', 'a', 'a/'),
        fc.constantFrom('', '/'),
        fc.constantFrom('', 'a', 'a/b'),
        fc.integer({ min: 1, max: 4 }),
        async (all, Prefix, Delimiter, StartAfter, MaxKeys) => {
          for (const key of all) ours.put(key, 'x')
          const input = {
            Prefix,
            MaxKeys,
            ...(Delimiter === '' ? {} : { Delimiter }),
            ...(StartAfter === '' ? {} : { StartAfter }),
          }
          const found = await listAll(input, at)
          const expected = all
            .filter((key) => key.startsWith(Prefix) && compareKeys(key, StartAfter) > 0)
            .map((key) => {
              const slash = Delimiter === '' ? -1 : key.indexOf('/', Prefix.length)
              return slash < 0 ? key : `${key.slice(0, slash + 1)}…`
            })
            .filter((name) => !name.endsWith('…') || compareKeys(name.slice(0, -1), StartAfter) > 0)
          assert.deepEqual(found.toSorted(), [...new Set(expected)].toSorted())
          for (const key of all) ours.remove(key)
        },
      ),
      { numRuns: 60 },
    )
  } finally {
    at.destroy()
    await ours.close()
  }
})

test('fauxqs, another S3 server, answers the same', async () => {
  const fauxqs = await startFauxqs({ port: 0, host: '127.0.0.1', logger: false })
  fauxqs.createBucket('same')
  const clients = [clientOf(`http://127.0.0.1:${fauxqs.port}`), clientOf(s3.endpoint)]
  try {
    const answers: unknown[] = []
    for (const at of clients) answers.push(await conversation(at))
    assert.deepEqual(answers[1], answers[0])
  } finally {
    for (const at of clients) at.destroy()
    await fauxqs.stop()
    for (const day of [1, 2, 3]) s3.remove(`p/day=${day}/x y`)
    s3.remove('p/z')
  }
})

/**
 * What a client learns from one server, without times and request ids. Only small letters and no EncodingType: fauxqs
 * 2.4.1 sorts by locale (so its pages lose keys) and does not encode.
 */
async function conversation(at: S3Client): Promise<unknown[]> {
  const told: unknown[] = []
  const ask = async (what: Promise<object>) => {
    try {
      told.push(await what)
    } catch (error) {
      told.push((error as Error).name)
    }
  }
  const list = async (input: Partial<ListObjectsV2CommandInput>) => {
    const { Contents, CommonPrefixes, IsTruncated, KeyCount, MaxKeys, Delimiter, StartAfter, Prefix } = await at.send(
      new ListObjectsV2Command({ Bucket: 'same', ...input }),
    )
    const contents = Contents?.map(({ Key, Size, ETag, StorageClass }) => ({ Key, Size, ETag, StorageClass }))
    return { contents, CommonPrefixes, IsTruncated, KeyCount, MaxKeys, Delimiter, StartAfter, Prefix }
  }
  const read = async (input: { Range?: string; IfMatch?: string; Key?: string }) => {
    const got = await at.send(new GetObjectCommand({ Bucket: 'same', Key: 'p/day=1/x y', ...input }))
    const { ETag, ContentLength, ContentRange, $metadata } = got
    const text = await got.Body?.transformToString()
    return { ETag, ContentLength, ContentRange, status: $metadata.httpStatusCode, text }
  }
  for (const key of ['p/day=1/x y', 'p/day=2/x y', 'p/day=3/x y', 'p/z']) {
    await at.send(new PutObjectCommand({ Bucket: 'same', Key: key, Body: `body of ${key}` }))
  }
  await ask(list({ Prefix: 'p/' }))
  await ask(list({ Prefix: 'p/', Delimiter: '/' }))
  await ask(list({ Prefix: 'p/', Delimiter: '/', MaxKeys: 2 }))
  await ask(list({ Prefix: 'p/', StartAfter: 'p/day=2/x y' }))
  await ask(list({ Prefix: 'p/', Delimiter: '/', StartAfter: 'p/day=2/a' }))
  await ask(list({ Prefix: 'none/' }))
  await ask(read({}))
  await ask(read({ Range: 'bytes=3-' }))
  await ask(read({ Range: 'bytes=2-4' }))
  await ask(read({ Range: 'bytes=99-' }))
  await ask(read({ IfMatch: '"x"' }))
  await ask(read({ Key: 'missing' }))
  return told
}

test('a million virtual keys are listed in order between the others and made when read', async () => {
  const key = (i: number) => `day=1/${String(i).padStart(7, '0')}`
  s3.addVirtualListing(1_000_000, key, {
    sizeOf: (i) => key(i).length,
    lastModifiedOf: (i) => new Date(i * 1000),
    bodyOf: (i) => Buffer.from(key(i)),
  })
  s3.put('day=1/0999999b', 'last')
  const first = await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'day=1/' }))
  assert.equal(first.Contents?.length, 1000)
  assert.equal(first.Contents?.[999]?.Key, key(999))
  const next = new ListObjectsV2Command({ Bucket, ContinuationToken: first.NextContinuationToken })
  assert.equal((await client.send(next)).Contents?.[0]?.Key, key(1000))
  assert.deepEqual(await listAll({ StartAfter: key(999_998), Prefix: 'day=1/' }), [key(999_999), 'day=1/0999999b'])
  assert.equal((await get(key(123_456))).body.toString(), key(123_456))
  assert.deepEqual(await listAll({ Delimiter: '/', Prefix: 'day' }), ['day=1/…'])
})

test('a virtual object is made as it is read, from any offset', async () => {
  const size = 50_000_000
  s3.addVirtual({
    key: 'huge',
    size,
    body: async function* (from, to) {
      for (let at = from; at < to; at += 65_536) yield Buffer.alloc(Math.min(65_536, to - at), 'x')
    },
  })
  assert.deepEqual(await read('huge'), { got: size, error: undefined })
  const part = await get('huge', { Range: `bytes=${size - 70_000}-` })
  assert.equal(part.body.length, 70_000)
  s3.faults.onGet = () => ({ cutAfter: 100_000 })
  assert.deepEqual(await read('huge'), { got: 100_000, error: 'UND_ERR_SOCKET' })
  delete s3.faults.onGet
  s3.remove('huge')
})

test('hooks see the key and the number of the request, and answer with errors', async () => {
  s3.put('k', 'body')
  const seen: Array<readonly [string, number]> = []
  s3.faults.onGet = (key, n) => {
    seen.push([key, n])
    if (n === 1) return { ...s3Errors.slowDown, headers: { 'retry-after': '7' } }
    return n === 2 ? s3Errors.accessDenied : undefined
  }
  const slow = await request(`${s3.endpoint}/${Bucket}/k`)
  assert.deepEqual([slow.statusCode, slow.headers['retry-after']], [503, '7'])
  assert.match(await slow.body.text(), /<Code>SlowDown<\/Code>/)
  await assert.rejects(get('k'), named('AccessDenied'))
  assert.equal((await get('k')).body.toString(), 'body')
  assert.deepEqual(seen, [
    ['k', 1],
    ['k', 2],
    ['k', 3],
  ])
  s3.faults.onList = (prefix) => (prefix === 'far/' ? permanentRedirect('eu-west-1') : undefined)
  const moved = await request(`${s3.endpoint}/${Bucket}?list-type=2&prefix=far/`)
  assert.deepEqual([moved.statusCode, moved.headers['x-amz-bucket-region']], [301, 'eu-west-1'])
  assert.match(await moved.body.text(), /<Code>PermanentRedirect<\/Code>/)
  assert.deepEqual(await listAll({ Prefix: 'k' }), ['k'])
  delete s3.faults.onGet
  delete s3.faults.onList
  s3.remove('k')
})

test('bodies break off at the byte asked for, stall, or are shorter than listed', async () => {
  s3.put('big', Buffer.alloc(300_000, 'x'))
  s3.faults.onGet = () => ({ cutAfter: 100_000 })
  assert.deepEqual(await read('big'), { got: 100_000, error: 'UND_ERR_SOCKET' })
  s3.faults.onGet = () => ({ cutAfter: 0 })
  assert.deepEqual(await read('big'), { got: 0, error: 'UND_ERR_SOCKET' })
  s3.faults.onGet = () => ({ cutAfter: -1 })
  await assert.rejects(read('big'))
  s3.faults.onGet = () => ({ shortAfter: 100_000 })
  assert.deepEqual(await read('big'), { got: 100_000, error: undefined })
  s3.faults.onGet = () => ({ cutAfter: 300_001 })
  assert.deepEqual(await read('big'), { got: 300_000, error: undefined })
  s3.faults.onGet = () => ({ delayMs: 5, next: s3Errors.internalError })
  await assert.rejects(get('big'), named('InternalError'))
  s3.faults.onGet = () => ({ stallAfter: 100_000 })
  const stop = new AbortController()
  const stalled = await request(`${s3.endpoint}/${Bucket}/big`, { signal: stop.signal })
  let got = 0
  await assert.rejects(async () => {
    for await (const chunk of stalled.body) {
      got += (chunk as Buffer).length
      if (got === 100_000) setTimeout(() => stop.abort(), 20)
    }
  })
  assert.equal(got, 100_000)
  delete s3.faults.onGet
  s3.remove('big')
})

test('a Range may be ignored, sizes left out of lists, an object replaced under the request', async () => {
  s3.put('r', 'old body')
  s3.faults.onGet = () => ({ ignoreRange: true })
  const ignored = await get('r', { Range: 'bytes=4-' })
  assert.equal(ignored.response.$metadata.httpStatusCode, 200)
  assert.equal(ignored.body.toString(), 'old body')
  s3.listWithoutSize = true
  const [listed] = (await client.send(new ListObjectsV2Command({ Bucket, Prefix: 'r' }))).Contents ?? []
  assert.deepEqual([listed?.Key, listed?.Size], ['r', undefined])
  s3.listWithoutSize = false
  s3.faults.onGet = (_key, n) => {
    if (n === 1) s3.put('r', 'new body')
    return undefined
  }
  await assert.rejects(get('r', { IfMatch: listed?.ETag as string }), named('PreconditionFailed'))
  assert.equal((await get('r')).body.toString(), 'new body')
  delete s3.faults.onGet
  s3.remove('r')
})

test('requests are recorded in order and counted', async () => {
  s3.requests.length = 0
  const before = { ...s3.counters }
  s3.put('t', '12345')
  await listAll({ Prefix: 't', StartAfter: 's' })
  await get('t', { Range: 'bytes=2-' })
  assert.deepEqual(
    s3.requests.map(({ method, key, range }) => [method, key, range]),
    [
      ['GET', '', undefined],
      ['GET', 't', 'bytes=2-'],
    ],
  )
  assert.equal(s3.requests[0]?.query.get('start-after'), 's')
  assert.equal(s3.counters.list, before.list + 1)
  assert.equal(s3.counters.get, before.get + 1)
  assert.equal(s3.counters.bytesSent, before.bytesSent + 3)
  s3.remove('t')
})

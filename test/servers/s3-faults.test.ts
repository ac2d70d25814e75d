import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { after, afterEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { request } from 'undici'
import { startS3 } from './s3.ts'
import type { S3Fault } from './s3-answer.ts'
import { digestOf } from './s3-checksum.ts'
import type { S3Faults } from './s3-state.ts'
import { s3Errors } from './s3-wire.ts'

const s3 = await startS3()
s3.minPartBytes = 1
const Bucket = 'b'
const config = {
  endpoint: s3.endpoint,
  forcePathStyle: true,
  region: 'us-east-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  maxAttempts: 1,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
} as const
const client = new S3Client(config)
after(async () => {
  client.destroy()
  await s3.close()
})
afterEach(() => {
  for (const name of Object.keys(s3.faults) as Array<keyof S3Faults>) delete s3.faults[name]
})

const named = (name: string) => (error: unknown) => {
  assert.ok(error instanceof Error)
  assert.equal(error.name, name, error.message)
  return true
}
/** The connection broke: no answer of S3. */
const broken = (error: unknown) => {
  assert.ok(error instanceof Error)
  assert.match(
    (error as Error & { code?: string }).code ?? error.message,
    /ECONNRESET|EPIPE|ECONNABORTED|socket hang up/,
  )
  return true
}

const crc = async (text: string) => (await digestOf('CRC64NVME', [Buffer.from(text)])).toString('base64')
const put = (Key: string, Body: string | Buffer) => client.send(new PutObjectCommand({ Bucket, Key, Body }))

async function begin(Key: string): Promise<string> {
  const { UploadId } = await client.send(
    new CreateMultipartUploadCommand({ Bucket, Key, ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'FULL_OBJECT' }),
  )
  return UploadId as string
}

async function part(Key: string, UploadId: string, PartNumber: number, Body: string): Promise<CompletedPart> {
  const ChecksumCRC64NVME = await crc(Body)
  const answer = await client.send(
    new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ChecksumCRC64NVME }),
  )
  assert.equal(answer.ChecksumCRC64NVME, ChecksumCRC64NVME)
  return { PartNumber, ETag: answer.ETag }
}

const complete = (Key: string, UploadId: string, Parts: CompletedPart[], sum?: string) =>
  client.send(
    new CompleteMultipartUploadCommand({
      Bucket,
      Key,
      UploadId,
      MultipartUpload: { Parts },
      ...(sum === undefined ? {} : { ChecksumCRC64NVME: sum }),
    }),
  )

const storedSum = async (Key: string) =>
  (await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))).ChecksumCRC64NVME

/** Cleans up after an upload that a test left open. */
const abort = (Key: string, UploadId: string) => client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))

test('every operation asks its hook, with the name and the number of the request, and fails as the hook says', async () => {
  s3.put('k', 'x')
  const seen: string[] = []
  const hook = (name: string, n: number) => {
    seen.push(`${name} ${n}`)
    return s3Errors.slowDown
  }
  const id = await begin('k')
  const upload = { Bucket, Key: 'k', UploadId: id }
  const MultipartUpload = { Parts: [{ PartNumber: 1, ETag: 'x' }] }
  // HEAD has no body: the SDK knows the status only.
  const operations: ReadonlyArray<readonly [keyof S3Faults, string, () => Promise<unknown>, string?]> = [
    ['onHeadBucket', Bucket, () => client.send(new HeadBucketCommand({ Bucket })), '503'],
    ['onHead', 'k', () => client.send(new HeadObjectCommand({ Bucket, Key: 'k' })), '503'],
    ['onGet', 'k', () => client.send(new GetObjectCommand({ Bucket, Key: 'k' }))],
    ['onPut', 'k', () => put('k', 'new')],
    ['onDelete', 'k', () => client.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))],
    ['onTagging', 'k', () => client.send(new GetObjectTaggingCommand({ Bucket, Key: 'k' }))],
    ['onCreateUpload', 'k', () => begin('k')],
    ['onUploadPart', 'k#3', () => part('k', id, 3, 'x')],
    ['onListParts', 'k', () => client.send(new ListPartsCommand(upload))],
    ['onListUploads', 'p/', () => client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'p/' }))],
    ['onComplete', 'k', () => client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload }))],
    ['onAbort', 'k', () => abort('k', id)],
  ]
  for (const [name, told, ask, status] of operations) {
    s3.faults[name] = hook
    await assert.rejects(ask(), (error: Error & { $metadata?: { httpStatusCode?: number } }) => {
      assert.equal(error.$metadata?.httpStatusCode, 503, name)
      return status !== undefined || error.name === 'SlowDown'
    })
    delete s3.faults[name]
    assert.ok(seen.at(-1)?.startsWith(`${told} `), `${name}: ${seen.at(-1)}`)
  }
  assert.equal(seen.length, operations.length)
  assert.equal(s3.read('k')?.toString(), 'x')
  assert.deepEqual(
    s3.uploads().map(({ parts }) => parts),
    [[]],
  )
  await abort('k', id)
})

test('a request may be cut before, at any byte of its body, at its end, and nothing is stored', async () => {
  const body = Buffer.alloc(3_000_000, 'x')
  const faults: S3Fault[] = [{ cutRequestAt: 0 }, { cutRequestAt: 1_000_000 }, { cutRequestAt: 9e9 }, { cutAfter: -1 }]
  for (const fault of faults) {
    const before = s3.counters.bytesReceived
    s3.faults.onPut = () => fault
    await assert.rejects(put('cut', body), broken)
    assert.equal(s3.stat('cut'), undefined)
    const taken = s3.counters.bytesReceived - before
    if ('cutRequestAt' in fault && fault.cutRequestAt < body.length) {
      assert.ok(taken >= fault.cutRequestAt && taken < fault.cutRequestAt + 2 ** 20, `${taken}`)
    }
  }
})

test('the work may be done though the client is told that it failed, or is told nothing', async () => {
  const faults: ReadonlyArray<readonly [S3Fault, (error: unknown) => boolean]> = [
    [{ after: s3Errors.internalError }, named('InternalError')],
    [{ after: { okWithError: s3Errors.internalError } }, named('InternalError')],
    [{ after: { cutAfter: -1 } }, broken],
  ]
  for (const [at, [fault, wanted]] of faults.entries()) {
    const Key = `done/${at}`
    s3.faults.onPut = s3.faults.onUploadPart = s3.faults.onComplete = s3.faults.onCreateUpload = undefined
    const id = await begin(Key)
    const only = await part(Key, id, 1, 'body')
    if (!('okWithError' in (fault as { after: S3Fault }).after)) {
      s3.faults.onUploadPart = () => fault
      await assert.rejects(part(Key, id, 2, 'second'), wanted)
      assert.deepEqual(
        s3
          .uploads()
          .find(({ key }) => key === Key)
          ?.parts.map(({ number }) => number),
        [1, 2],
      )
    }
    s3.faults.onComplete = () => fault
    await assert.rejects(complete(Key, id, [only]), wanted)
    assert.equal(s3.read(Key)?.toString(), 'body')
    // Whoever repeats it now is told that there is no such upload.
    s3.faults.onComplete = undefined
    await assert.rejects(complete(Key, id, [only]), named('NoSuchUpload'))
  }
  assert.deepEqual(s3.uploads(), [])
})

test('an upload is begun though its answer is lost, and one is aborted though the answer is lost', async () => {
  s3.faults.onCreateUpload = () => ({ after: { cutAfter: -1 } })
  await assert.rejects(begin('lost'), broken)
  const [lost] = s3.uploads()
  assert.equal(lost?.key, 'lost')
  s3.faults.onAbort = () => ({ after: s3Errors.internalError })
  await assert.rejects(abort('lost', lost?.uploadId as string), named('InternalError'))
  assert.deepEqual(s3.uploads(), [])
})

test('Complete may answer 200 with an error in its body, having done nothing', async () => {
  const id = await begin('ok')
  const only = await part('ok', id, 1, 'body')
  s3.faults.onComplete = (_key, n) => (n === 1 ? { okWithError: s3Errors.internalError } : undefined)
  await assert.rejects(complete('ok', id, [only]), (error: Error & { $metadata?: { httpStatusCode?: number } }) => {
    assert.equal(error.name, 'InternalError')
    return true
  })
  assert.equal(s3.stat('ok'), undefined)
  await complete('ok', id, [only])
  assert.equal(s3.read('ok')?.toString(), 'body')
})

test('a server that lies stores other bytes, sums or sizes than it was sent', async () => {
  const body = 'the body'
  const sum = await crc(body)
  s3.faults.onPut = (key) => ({ corrupt: key.split('/')[1] as 'bytes' | 'bytes_and_sums' | 'size' })
  for (const kind of ['bytes', 'bytes_and_sums', 'size'] as const) {
    const Key = `lie/${kind}`
    assert.equal((await put(Key, body)).ChecksumCRC64NVME, sum, 'the answer tells nothing')
    const read = s3.read(Key)
    assert.ok(read && !read.equals(Buffer.from(body)))
    assert.equal((await storedSum(Key)) === sum, kind === 'bytes')
    assert.equal(read.length, kind === 'size' ? body.length - 1 : body.length)
  }
})

test('a part stored wrong is found by the sum of the whole, unless the server lies about sums too', async () => {
  const sum = await crc('aaaabbbb')
  for (const corrupt of ['bytes', 'bytes_and_sums', 'size'] as const) {
    const Key = `part/${corrupt}`
    const id = await begin(Key)
    s3.faults.onUploadPart = (name) => (name.endsWith('#2') ? { corrupt } : undefined)
    const parts = [await part(Key, id, 1, 'aaaa'), await part(Key, id, 2, 'bbbb')]
    if (corrupt === 'bytes') {
      await complete(Key, id, parts, sum)
      assert.equal(await storedSum(Key), sum)
      assert.notEqual(s3.read(Key)?.toString(), 'aaaabbbb')
      continue
    }
    await assert.rejects(complete(Key, id, parts, sum), named('BadDigest'))
    assert.equal(s3.stat(Key), undefined)
    await abort(Key, id)
  }
})

test('an object may come wrong out of Complete itself', async () => {
  const sum = await crc('aaaabbbb')
  for (const corrupt of ['bytes', 'bytes_and_sums', 'size'] as const) {
    const Key = `whole/${corrupt}`
    const id = await begin(Key)
    const parts = [await part(Key, id, 1, 'aaaa'), await part(Key, id, 2, 'bbbb')]
    s3.faults.onComplete = () => ({ corrupt })
    const done = await complete(Key, id, parts, sum)
    assert.equal(done.ChecksumCRC64NVME === sum, corrupt === 'bytes')
    assert.equal(await storedSum(Key), done.ChecksumCRC64NVME)
    const read = s3.read(Key)
    assert.equal(read?.length, corrupt === 'size' ? 7 : 8)
    assert.notEqual(read?.toString(), 'aaaabbbb')
    const actual = await digestOf('CRC64NVME', [read ?? Buffer.alloc(0)])
    assert.equal(done.ChecksumCRC64NVME === actual.toString('base64'), corrupt !== 'bytes')
  }
})

test('an answer that comes after the time-out of the client finds the work done', async () => {
  const hasty = new S3Client({ ...config, requestHandler: { requestTimeout: 500, throwOnRequestTimeout: true } })
  const until = Promise.withResolvers<void>()
  s3.faults.onPut = async (key) => {
    if (key === 'hook waits') await until.promise
    return { after: { delayMs: 60_000 } }
  }
  await assert.rejects(hasty.send(new PutObjectCommand({ Bucket, Key: 'late', Body: 'x' })), named('TimeoutError'))
  while (s3.stat('late') === undefined) await sleep(5)
  // A hook that is a promise holds the work back until the test lets it go.
  await assert.rejects(
    hasty.send(new PutObjectCommand({ Bucket, Key: 'hook waits', Body: 'x' })),
    named('TimeoutError'),
  )
  assert.equal(s3.stat('hook waits'), undefined)
  until.resolve()
  hasty.destroy()
})

test('a server may stop reading in the middle of a body, or answer before it', async () => {
  s3.faults.onPut = (key) => (key === 'early' ? { beforeBody: s3Errors.slowDown } : { stallRequestAt: 1000 })
  const stop = new AbortController()
  const before = s3.counters.bytesReceived
  const stalled = request(`${s3.endpoint}/${Bucket}/stalled`, {
    method: 'PUT',
    body: Buffer.alloc(50_000_000),
    signal: stop.signal,
  })
  const ended = assert.rejects(stalled)
  while (s3.counters.bytesReceived === before) await sleep(5)
  stop.abort()
  await ended
  assert.equal(s3.stat('stalled'), undefined)
  // The SDK asks before it sends a body of this size, so it hears the answer.
  await assert.rejects(put('early', Buffer.alloc(5_000_000)), named('SlowDown'))
  s3.faults.onPut = undefined
  await put('early', Buffer.alloc(5_000_000))
  assert.equal(s3.stat('early')?.size, 5_000_000)
})

test('a fault may break the answer of a write or of a list after the work, and misread what is stored', async () => {
  s3.faults.onCreateUpload = () => ({ cutAfter: 20 })
  await assert.rejects(begin('half'))
  const [half] = s3.uploads()
  assert.equal(half?.key, 'half')
  s3.faults.onListParts = () => ({ cutAfter: 20 })
  await assert.rejects(client.send(new ListPartsCommand({ Bucket, Key: 'half', UploadId: half?.uploadId })))
  await abort('half', half?.uploadId as string)
  s3.put('misread', 'abc')
  s3.faults.onGet = () => ({ corrupt: 'bytes' })
  const got = await client.send(new GetObjectCommand({ Bucket, Key: 'misread', Range: 'bytes=0-1' }))
  const bytes = Buffer.from((await got.Body?.transformToByteArray()) ?? [])
  assert.deepEqual([...bytes], [0x61, 0x62 ^ 0xff])
  assert.equal(s3.read('misread')?.toString(), 'abc')
})

test('a fault on the body of a request without one cuts or holds the request', async () => {
  s3.put('bodyless', 'x')
  s3.faults.onHead = () => ({ cutRequestAt: 0 })
  await assert.rejects(client.send(new HeadObjectCommand({ Bucket, Key: 'bodyless' })), broken)
  s3.faults.onDelete = () => ({ stallRequestAt: 0 })
  const stop = new AbortController()
  const before = s3.counters.delete
  const ended = assert.rejects(request(`${s3.endpoint}/${Bucket}/bodyless`, { method: 'DELETE', signal: stop.signal }))
  while (s3.counters.delete === before) await sleep(5)
  stop.abort()
  await ended
  assert.equal(s3.read('bodyless')?.toString(), 'x')
})

test('a body of unknown length is refused, as by AWS', async () => {
  async function* pieces() {
    yield Buffer.from('x')
  }
  const response = await request(`${s3.endpoint}/${Bucket}/unknown`, { method: 'PUT', body: Readable.from(pieces()) })
  assert.equal(response.statusCode, 501)
  assert.match(await response.body.text(), /<Header>Transfer-Encoding</)
  assert.equal(s3.stat('unknown'), undefined)
})

test('a server that closes ends the requests that faults hold', async () => {
  const ours = await startS3()
  ours.faults.onPut = () => ({ delayMs: 3_600_000 })
  ours.faults.onGet = () => ({ stallAfter: -1 })
  const held = ['PUT', 'GET'].map((method) => request(`${ours.endpoint}/b/k`, { method }))
  const ended = Promise.allSettled(held)
  while (ours.counters.put + ours.counters.get < 2) await sleep(5)
  await ours.close()
  assert.deepEqual(
    (await ended).map(({ status }) => status),
    ['rejected', 'rejected'],
  )
})

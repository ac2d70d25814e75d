import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, afterEach, test } from 'node:test'
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  type CompleteMultipartUploadCommandInput,
  CreateMultipartUploadCommand,
  type CreateMultipartUploadCommandInput,
  DeleteObjectCommand,
  GetObjectCommand,
  GetObjectTaggingCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListPartsCommand,
  PutObjectCommand,
  type PutObjectCommandInput,
  S3Client,
  UploadPartCommand,
  type UploadPartCommandInput,
} from '@aws-sdk/client-s3'
import { request } from 'undici'
import { startS3 } from './s3.ts'
import { digestOf } from './s3-checksum.ts'

const s3 = await startS3()
const client = new S3Client({
  endpoint: s3.endpoint,
  forcePathStyle: true,
  region: 'us-east-1',
  credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  maxAttempts: 1,
  requestChecksumCalculation: 'WHEN_REQUIRED',
  responseChecksumValidation: 'WHEN_REQUIRED',
})
const Bucket = 'b'
s3.minPartBytes = 4
after(async () => {
  client.destroy()
  await s3.close()
})
afterEach(() => {
  Object.assign(s3, { checksums: true, conditionalWrites: true, listPartsChecksums: true, versioned: false })
  Object.assign(s3, { keepBodies: true, minPartBytes: 4, nowMs: Date.now })
})

/** Of an S3 error: SDK clients see its code as the name. */
const named = (name: string, status?: number) => (error: unknown) => {
  assert.ok(error instanceof Error)
  assert.equal(error.name, name, error.message)
  const { $metadata } = error as Error & { $metadata?: { httpStatusCode?: number } }
  if (status !== undefined) assert.equal($metadata?.httpStatusCode, status)
  return true
}

const crc = async (...texts: string[]) => {
  const digest = await digestOf(
    'CRC64NVME',
    texts.map((text) => Buffer.from(text)),
  )
  return digest.toString('base64')
}
const md5 = (bytes: string | Buffer) => createHash('md5').update(bytes).digest()

const crc64: Partial<CreateMultipartUploadCommandInput> = {
  ChecksumAlgorithm: 'CRC64NVME',
  ChecksumType: 'FULL_OBJECT',
}

async function begin(Key: string, input: Partial<CreateMultipartUploadCommandInput> = crc64): Promise<string> {
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...input }))
  assert.ok(UploadId)
  return UploadId
}

async function part(
  Key: string,
  UploadId: string,
  PartNumber: number,
  Body: string,
  input: Partial<UploadPartCommandInput> = {},
): Promise<CompletedPart> {
  const answer = await client.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body, ...input }))
  return { PartNumber, ETag: answer.ETag, ChecksumCRC64NVME: answer.ChecksumCRC64NVME }
}

function complete(
  Key: string,
  UploadId: string,
  Parts: CompletedPart[],
  input: Partial<CompleteMultipartUploadCommandInput> = {},
) {
  return client.send(
    new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts }, ...input }),
  )
}

const put = (Key: string, Body: string, input: Partial<PutObjectCommandInput> = {}) =>
  client.send(new PutObjectCommand({ Bucket, Key, Body, ...input }))

test('parts in any order become one object with its CRC64NVME and the ETag of a multipart upload', async () => {
  const Key = 'multi/ä b+c.bin'
  const created = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...crc64 }))
  assert.deepEqual([created.ChecksumAlgorithm, created.ChecksumType], ['CRC64NVME', 'FULL_OBJECT'])
  const id = created.UploadId as string
  const third = await part(Key, id, 3, 'c')
  const first = await part(Key, id, 1, 'aaaa', { ChecksumCRC64NVME: await crc('aaaa') })
  const second = await part(Key, id, 2, 'bbbb')
  assert.equal(first.ChecksumCRC64NVME, await crc('aaaa'))
  assert.equal(first.ETag, `"${md5('aaaa').toString('hex')}"`)
  assert.deepEqual(
    s3.uploads().map(({ key, parts }) => [key, parts.map(({ number, size }) => [number, size])]),
    [
      [
        Key,
        [
          [1, 4],
          [2, 4],
          [3, 1],
        ],
      ],
    ],
  )
  const whole = await crc('aaaabbbbc')
  const done = await complete(Key, id, [first, second, third], {
    ChecksumCRC64NVME: whole,
    ChecksumType: 'FULL_OBJECT',
  })
  const etag = createHash('md5')
    .update(Buffer.concat([md5('aaaa'), md5('bbbb'), md5('c')]))
    .digest('hex')
  assert.deepEqual([done.ETag, done.ChecksumCRC64NVME, done.ChecksumType], [`"${etag}-3"`, whole, 'FULL_OBJECT'])
  assert.equal(s3.read(Key)?.toString(), 'aaaabbbbc')
  assert.deepEqual(s3.uploads(), [])
  await assert.rejects(complete(Key, id, [first, second, third]), named('NoSuchUpload', 404))
  const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
  assert.deepEqual([head.ChecksumCRC64NVME, head.ChecksumType, head.ContentLength], [whole, 'FULL_OBJECT', 9])
  const plain = await client.send(new HeadObjectCommand({ Bucket, Key }))
  assert.equal(plain.ChecksumCRC64NVME, undefined)
  const range = new GetObjectCommand({ Bucket, Key, Range: 'bytes=3-7', ChecksumMode: 'ENABLED' })
  const got = await client.send(range)
  assert.equal(await got.Body?.transformToString(), 'abbbb')
  assert.equal(got.ChecksumCRC64NVME, undefined)
})

test('a part sent again replaces the one before, and parts may be left out of the object', async () => {
  const id = await begin('again')
  await part('again', id, 1, 'old!')
  const first = await part('again', id, 1, 'new!')
  await part('again', id, 2, 'unused')
  const last = await part('again', id, 7, 'end')
  await complete('again', id, [first, last])
  assert.equal(s3.read('again')?.toString(), 'new!end')
})

test('what a client gives with an object comes back with it, put whole or in parts', async () => {
  const given = {
    ContentType: 'text/csv',
    CacheControl: 'no-store',
    Metadata: { mtime: '1700000000.5', source: 'sftp://a/b' },
    Tagging: 'team=a%20b&x=',
    StorageClass: 'STANDARD_IA',
    ServerSideEncryption: 'aws:kms',
    SSEKMSKeyId: 'arn:aws:kms:us-east-1:1:key/k',
    BucketKeyEnabled: true,
  } as const
  const whole = await put('kept/whole', 'x', given)
  assert.equal(whole.ServerSideEncryption, 'aws:kms')
  const id = await begin('kept/parts', { ...crc64, ...given })
  const done = await complete('kept/parts', id, [await part('kept/parts', id, 1, 'x')])
  assert.deepEqual([done.ServerSideEncryption, done.SSEKMSKeyId], ['aws:kms', given.SSEKMSKeyId])
  for (const Key of ['kept/whole', 'kept/parts']) {
    const head = await client.send(new HeadObjectCommand({ Bucket, Key }))
    assert.deepEqual(head.Metadata, given.Metadata)
    assert.deepEqual(
      [head.ContentType, head.CacheControl, head.StorageClass, head.ServerSideEncryption, head.BucketKeyEnabled],
      ['text/csv', 'no-store', 'STANDARD_IA', 'aws:kms', true],
    )
    const { TagSet } = await client.send(new GetObjectTaggingCommand({ Bucket, Key }))
    assert.deepEqual(TagSet, [
      { Key: 'team', Value: 'a b' },
      { Key: 'x', Value: '' },
    ])
  }
  const long = { Metadata: { k: 'x'.repeat(2048) } }
  await assert.rejects(put('long', 'x', long), named('MetadataTooLarge', 400))
  await assert.rejects(put('k'.repeat(1025), 'x'), named('KeyTooLongError', 400))
  await assert.rejects(begin('k'.repeat(1025)), named('KeyTooLongError', 400))
})

test('sums that do not fit the bytes are refused, and nothing is stored', async () => {
  const wrong = await crc('other')
  const wrongMd5 = md5('other').toString('base64')
  const id = await begin('sums')
  await assert.rejects(part('sums', id, 1, 'body', { ChecksumCRC64NVME: wrong }), named('BadDigest', 400))
  await assert.rejects(part('sums', id, 1, 'body', { ContentMD5: wrongMd5 }), named('BadDigest', 400))
  await assert.rejects(part('sums', id, 1, 'body', { ContentMD5: 'AAAA' }), named('InvalidDigest', 400))
  await assert.rejects(part('sums', id, 1, 'body', { ChecksumCRC64NVME: 'AAAA' }), named('InvalidRequest', 400))
  await assert.rejects(part('sums', id, 1, 'body', { ChecksumSHA256: sha256('body') }), named('InvalidRequest', 400))
  await assert.rejects(put('sums', 'body', { ChecksumCRC64NVME: wrong }), named('BadDigest', 400))
  await assert.rejects(put('sums', 'body', { ChecksumSHA256: sha256('other') }), named('BadDigest', 400))
  const url = `${s3.endpoint}/${Bucket}/sums`
  const signed = { 'x-amz-content-sha256': createHash('sha256').update('other').digest('hex') }
  const response = await request(url, { method: 'PUT', headers: signed, body: 'body' })
  assert.match(await response.body.text(), /<Code>XAmzContentSHA256Mismatch<\/Code>/)
  assert.equal(s3.stat('sums'), undefined)
  assert.deepEqual(s3.uploads()[0]?.parts, [])
  await client.send(new AbortMultipartUploadCommand({ Bucket, Key: 'sums', UploadId: id }))
})

const sha256 = (text: string) => createHash('sha256').update(text).digest('base64')

test('a put object echoes its checksum: the one that was sent, else the CRC64NVME that S3 computes', async () => {
  assert.equal((await put('echo', 'abc')).ChecksumCRC64NVME, await crc('abc'))
  const own = await put('echo', 'abc', { ChecksumSHA256: sha256('abc') })
  assert.deepEqual([own.ChecksumSHA256, own.ChecksumCRC64NVME], [sha256('abc'), undefined])
  // Computed and sent by the SDK itself, in a trailer or a header as it likes.
  const bySdk = await put('echo', 'abc', { ChecksumAlgorithm: 'CRC32C' })
  assert.ok(bySdk.ChecksumCRC32C)
  s3.put('in process', 'abc')
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: 'in process', ChecksumMode: 'ENABLED' }))
  assert.equal(head.ChecksumCRC64NVME, await crc('abc'))
})

test('a checksum in the trailer of an aws-chunked body is compared too', async () => {
  const url = `${s3.endpoint}/${Bucket}/trailer`
  const send = (sum: string, length = 5) =>
    request(url, {
      method: 'PUT',
      headers: {
        'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
        'x-amz-trailer': 'x-amz-checksum-crc64nvme',
        'x-amz-decoded-content-length': String(length),
        'content-encoding': 'aws-chunked',
      },
      body: `5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:${sum}\r\n\r\n`,
    })
  const good = await send(await crc('hello'))
  assert.equal(good.statusCode, 200)
  assert.equal(good.headers['x-amz-checksum-crc64nvme'], await crc('hello'))
  assert.match(await (await send(await crc('x'))).body.text(), /<Code>BadDigest</)
  assert.match(await (await send(await crc('hello'), 6)).body.text(), /<Code>IncompleteBody</)
  assert.equal(s3.stat('trailer')?.headers?.['content-encoding'], undefined)
  await good.body.dump()
})

test('parts are listed in pages with sizes and checksums, which a server may keep to itself', async () => {
  const id = await begin('listed')
  for (const number of [2, 4, 9, 10_000]) await part('listed', id, number, `part${number}`)
  const ask = { Bucket, Key: 'listed', UploadId: id }
  const one = await client.send(new ListPartsCommand({ ...ask, MaxParts: 3 }))
  assert.deepEqual([one.IsTruncated, one.NextPartNumberMarker, one.ChecksumAlgorithm], [true, '9', 'CRC64NVME'])
  assert.deepEqual(
    one.Parts?.map(({ PartNumber, Size }) => [PartNumber, Size]),
    [
      [2, 5],
      [4, 5],
      [9, 5],
    ],
  )
  assert.equal(one.Parts?.[0]?.ChecksumCRC64NVME, await crc('part2'))
  assert.equal(one.Parts?.[0]?.ETag, `"${md5('part2').toString('hex')}"`)
  const two = await client.send(new ListPartsCommand({ ...ask, PartNumberMarker: one.NextPartNumberMarker }))
  assert.deepEqual([two.IsTruncated, two.Parts?.map(({ PartNumber }) => PartNumber)], [false, [10_000]])
  s3.listPartsChecksums = false
  const without = await client.send(new ListPartsCommand(ask))
  assert.deepEqual(
    without.Parts?.map(({ ChecksumCRC64NVME }) => ChecksumCRC64NVME),
    Array(4).fill(undefined),
  )
  await client.send(new AbortMultipartUploadCommand(ask))
  await assert.rejects(client.send(new ListPartsCommand(ask)), named('NoSuchUpload', 404))
  await assert.rejects(client.send(new AbortMultipartUploadCommand(ask)), named('NoSuchUpload', 404))
  await assert.rejects(part('listed', id, 1, 'late'), named('NoSuchUpload', 404))
})

test('an upload belongs to its key', async () => {
  const id = await begin('mine')
  await assert.rejects(part('other', id, 1, 'x'), named('NoSuchUpload'))
  const done = part('mine', id, 1, 'x')
  await assert.rejects(complete('other', id, [await done]), named('NoSuchUpload'))
  await assert.rejects(part('mine', id, 0, 'x'), named('InvalidArgument', 400))
  await assert.rejects(part('mine', id, 10_001, 'x'), named('InvalidArgument', 400))
  await client.send(new AbortMultipartUploadCommand({ Bucket, Key: 'mine', UploadId: id }))
})

test('unfinished uploads are listed by prefix, in pages, with the time they were begun', async () => {
  s3.nowMs = () => 1_000_000
  const begun: Array<readonly [string, string]> = []
  for (const key of ['u/b é', 'u/a', 'v/x', 'u/a']) {
    begun.push([key, await begin(key)])
    s3.nowMs = () => 2_000_000
  }
  const seen: Array<readonly [string | undefined, string | undefined]> = []
  let marker: { KeyMarker?: string | undefined; UploadIdMarker?: string | undefined } = {}
  for (let more = true; more; ) {
    const page = await client.send(new ListMultipartUploadsCommand({ Bucket, Prefix: 'u/', MaxUploads: 1, ...marker }))
    for (const { Key, UploadId } of page.Uploads ?? []) seen.push([Key, UploadId])
    more = page.IsTruncated === true
    marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker }
  }
  assert.deepEqual(seen, [begun[1], begun[3], begun[0]])
  const all = await client.send(new ListMultipartUploadsCommand({ Bucket }))
  assert.deepEqual(
    all.Uploads?.map(({ Initiated }) => Initiated?.getTime()),
    [2e6, 2e6, 1e6, 2e6],
  )
  for (const [Key, UploadId] of begun) await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId }))
  assert.equal((await client.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads, undefined)
})

test('Complete refuses wrong orders, wrong ETags, small parts, no parts and wrong sums; the upload stays', async () => {
  const Key = 'strict'
  const id = await begin(Key)
  const parts = [await part(Key, id, 1, 'aaaa'), await part(Key, id, 2, 'bbb'), await part(Key, id, 3, 'c')] as const
  const [a, b, c] = parts
  await assert.rejects(complete(Key, id, [c, a]), named('InvalidPartOrder', 400))
  await assert.rejects(complete(Key, id, [a, a]), named('InvalidPartOrder', 400))
  await assert.rejects(complete(Key, id, [a, { ...c, ETag: a.ETag }]), named('InvalidPart', 400))
  await assert.rejects(complete(Key, id, [a, { ...c, PartNumber: 4 }]), named('InvalidPart', 400))
  await assert.rejects(complete(Key, id, [a, { ...c, ChecksumCRC64NVME: await crc('x') }]), named('InvalidPart', 400))
  await assert.rejects(complete(Key, id, [a, b, c]), named('EntityTooSmall', 400))
  await assert.rejects(complete(Key, id, []), named('MalformedXML', 400))
  const sum = await crc('aaaabbbc')
  await assert.rejects(complete(Key, id, [a, b], { ChecksumCRC64NVME: sum }), named('BadDigest', 400))
  await assert.rejects(complete(Key, id, [a, b], { ChecksumType: 'COMPOSITE' }), named('InvalidRequest', 400))
  await assert.rejects(complete(Key, id, [a, b], { MpuObjectSize: 8 }), named('InvalidRequest', 400))
  assert.equal(s3.stat(Key), undefined)
  s3.minPartBytes = 3
  await complete(Key, id, [a, b, c], { ChecksumCRC64NVME: sum, MpuObjectSize: 8 })
  assert.equal(s3.read(Key)?.toString(), 'aaaabbbc')
})

test('without another word a part but the last has 5 MiB at least', async () => {
  const server = await startS3()
  assert.equal(server.minPartBytes, 5 * 2 ** 20)
  await server.close()
})

test('writes keep If-None-Match and If-Match, unless the server is one that takes no notice', async () => {
  const Key = 'once'
  const first = await put(Key, 'first', { IfNoneMatch: '*' })
  await assert.rejects(put(Key, 'second', { IfNoneMatch: '*' }), named('PreconditionFailed', 412))
  await assert.rejects(put(Key, 'second', { IfMatch: '"other"' }), named('PreconditionFailed', 412))
  await assert.rejects(put('nowhere', 'second', { IfMatch: first.ETag }), named('NoSuchKey', 404))
  await assert.rejects(put(Key, 'second', { IfNoneMatch: first.ETag }), named('NotImplemented', 501))
  const id = await begin(Key)
  const only = await part(Key, id, 1, 'parts')
  await assert.rejects(complete(Key, id, [only], { IfNoneMatch: '*' }), named('PreconditionFailed', 412))
  await assert.rejects(complete(Key, id, [only], { IfMatch: '"x"' }), named('PreconditionFailed', 412))
  assert.equal(s3.read(Key)?.toString(), 'first')
  assert.equal(s3.uploads().length, 1)
  await complete(Key, id, [only], { IfMatch: first.ETag })
  assert.equal(s3.read(Key)?.toString(), 'parts')
  s3.conditionalWrites = false
  await put(Key, 'third', { IfNoneMatch: '*' })
  assert.equal(s3.read(Key)?.toString(), 'third')
})

test('a server that knows no checksums takes no notice of them and gives none', async () => {
  s3.checksums = false
  const Key = 'plain'
  const wrong = await crc('other')
  assert.equal((await put(Key, 'abc', { ChecksumCRC64NVME: wrong })).ChecksumCRC64NVME, undefined)
  const created = await client.send(new CreateMultipartUploadCommand({ Bucket, Key, ...crc64 }))
  assert.equal(created.ChecksumAlgorithm, undefined)
  const id = created.UploadId as string
  const only = await part(Key, id, 1, 'abcd', { ChecksumCRC64NVME: wrong })
  assert.equal(only.ChecksumCRC64NVME, undefined)
  const listed = await client.send(new ListPartsCommand({ Bucket, Key, UploadId: id }))
  assert.deepEqual([listed.ChecksumAlgorithm, listed.Parts?.[0]?.ChecksumCRC64NVME], [undefined, undefined])
  const done = await complete(Key, id, [{ ...only, ChecksumCRC64NVME: wrong }], { ChecksumCRC64NVME: wrong })
  assert.deepEqual([done.ChecksumCRC64NVME, done.ChecksumType], [undefined, undefined])
  const head = await client.send(new HeadObjectCommand({ Bucket, Key, ChecksumMode: 'ENABLED' }))
  assert.equal(head.ChecksumCRC64NVME, undefined)
  await assert.rejects(put(Key, 'x', { ContentMD5: md5('y').toString('base64') }), named('BadDigest'))
})

test('composite checksums need the checksum of each part, and CRC64NVME has no composite form', async () => {
  const Key = 'composite'
  await assert.rejects(
    begin(Key, { ChecksumAlgorithm: 'CRC64NVME', ChecksumType: 'COMPOSITE' }),
    named('InvalidRequest'),
  )
  await assert.rejects(
    begin(Key, { ChecksumAlgorithm: 'SHA256', ChecksumType: 'FULL_OBJECT' }),
    named('InvalidRequest'),
  )
  const id = await begin(Key, { ChecksumAlgorithm: 'SHA256' })
  await assert.rejects(part(Key, id, 1, 'abcd'), named('InvalidRequest'))
  const only = await part(Key, id, 1, 'abcd', { ChecksumSHA256: sha256('abcd') })
  await assert.rejects(complete(Key, id, [only]), named('InvalidRequest'))
  const done = await complete(Key, id, [{ ...only, ChecksumSHA256: sha256('abcd') }])
  const whole = createHash('sha256')
    .update(Buffer.from(sha256('abcd'), 'base64'))
    .digest('base64')
  assert.deepEqual([done.ChecksumSHA256, done.ChecksumType], [`${whole}-1`, 'COMPOSITE'])
})

test('an empty object and an empty only part are objects like others', async () => {
  assert.equal((await put('empty', '')).ChecksumCRC64NVME, 'AAAAAAAAAAA=')
  const id = await begin('empty parts')
  const done = await complete('empty parts', id, [await part('empty parts', id, 1, '')], {
    ChecksumCRC64NVME: 'AAAAAAAAAAA=',
  })
  assert.equal(done.ChecksumCRC64NVME, 'AAAAAAAAAAA=')
  for (const key of ['empty', 'empty parts']) assert.equal(s3.read(key)?.length, 0)
})

test('bodies that are not kept leave sizes, ETags and checksums, and say so when read', async () => {
  s3.keepBodies = false
  const Key = 'thrown away'
  const id = await begin(Key)
  const parts = [await part(Key, id, 1, 'aaaa'), await part(Key, id, 2, 'bb')]
  const done = await complete(Key, id, parts, { ChecksumCRC64NVME: await crc('aaaabb') })
  assert.equal(done.ChecksumCRC64NVME, await crc('aaaabb'))
  assert.equal(s3.stat(Key)?.size, 6)
  assert.throws(() => s3.read(Key), /not kept/)
  const got = await request(`${s3.endpoint}/${Bucket}/${encodeURIComponent(Key)}`)
  assert.equal(got.statusCode, 500)
  assert.match(await got.body.text(), /not kept/)
})

test('a version deleted by its id brings back the one before', async () => {
  s3.versioned = true
  const Key = 'versions'
  const old = await put(Key, 'old')
  const id = await begin(Key)
  const done = await complete(Key, id, [await part(Key, id, 1, 'new')])
  assert.ok(old.VersionId && done.VersionId && old.VersionId !== done.VersionId)
  const read = async (VersionId?: string) => {
    const got = await client.send(new GetObjectCommand({ Bucket, Key, ...(VersionId ? { VersionId } : {}) }))
    return [await got.Body?.transformToString(), got.VersionId]
  }
  assert.deepEqual(await read(), ['new', done.VersionId])
  assert.deepEqual(await read(old.VersionId), ['old', old.VersionId])
  await client.send(new DeleteObjectCommand({ Bucket, Key, VersionId: done.VersionId }))
  assert.deepEqual(await read(), ['old', old.VersionId])
  await client.send(new DeleteObjectCommand({ Bucket, Key }))
  await assert.rejects(read(), named('NoSuchKey'))
  assert.deepEqual(await read(old.VersionId), ['old', old.VersionId])
  await assert.rejects(read(done.VersionId), named('NoSuchVersion', 404))
})

test('each operation is counted, and a request on an unknown part of an object is not taken for one on the object', async () => {
  const before = { ...s3.counters }
  const id = await begin('counted')
  const only = await part('counted', id, 1, 'abcd')
  await client.send(new ListPartsCommand({ Bucket, Key: 'counted', UploadId: id }))
  await client.send(new ListMultipartUploadsCommand({ Bucket }))
  await complete('counted', id, [only])
  const again = await begin('counted')
  await client.send(new AbortMultipartUploadCommand({ Bucket, Key: 'counted', UploadId: again }))
  const names = ['createUpload', 'uploadPart', 'listParts', 'listUploads', 'complete', 'abort', 'put', 'get'] as const
  assert.deepEqual(
    names.map((name) => s3.counters[name] - before[name]),
    [2, 1, 1, 1, 1, 1, 0, 0],
  )
  const acl = await request(`${s3.endpoint}/${Bucket}/counted?acl`)
  assert.equal(acl.statusCode, 501)
  await acl.body.dump()
})

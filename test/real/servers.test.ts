import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { request } from 'undici'
import { LineCounter, ZscalerData } from '../servers/zscaler-data.ts'
import { startNginx } from './nginx.ts'
import { startVersitygw } from './versitygw.ts'

const [s3, nginx] = await Promise.all([startVersitygw(), startNginx()])
const { endpoint, region, accessKeyId, secretAccessKey } = s3
const client = new S3Client({
  endpoint,
  region,
  forcePathStyle: true,
  credentials: { accessKeyId, secretAccessKey },
  maxAttempts: 1,
})
after(async () => {
  client.destroy()
  await Promise.all([s3.stop(), nginx.stop()])
})
const Bucket = 'real'
await s3.createBucket(Bucket)

const named = (name: string) => (error: unknown) => error instanceof Error && error.name === name
const post = async (url: string, body: Buffer | string) => {
  const answer = await request(url, { method: 'POST', body, headers: { 'content-type': 'application/x-ndjson' } })
  await answer.body.dump()
  return answer
}

test('versitygw gives back what was put, by Range and pinned by If-Match', async () => {
  const data = new ZscalerData({ objects: 1, linesPerObject: 500, prefix: 'Threat Team - Web/' })
  const { gz, key } = await data.object(0)
  const { ETag } = await client.send(new PutObjectCommand({ Bucket, Key: key, Body: gz }))
  const get = async (input: { Range?: string; IfMatch?: string | undefined }) => {
    const { Range, IfMatch } = input
    const command = new GetObjectCommand({
      Bucket,
      Key: key,
      ...(Range === undefined ? {} : { Range }),
      ...(IfMatch === undefined ? {} : { IfMatch }),
    })
    const response = await client.send(command)
    return { body: Buffer.from((await response.Body?.transformToByteArray()) ?? []), range: response.ContentRange }
  }
  assert.ok((await get({ IfMatch: ETag })).body.equals(gz))
  const part = await get({ Range: 'bytes=1000-', IfMatch: ETag })
  assert.ok(part.body.equals(gz.subarray(1000)))
  assert.equal(part.range, `bytes 1000-${gz.length - 1}/${gz.length}`)
  await assert.rejects(get({ IfMatch: '"0123456789abcdef0123456789abcdef"' }), named('PreconditionFailed'))
  await assert.rejects(client.send(new GetObjectCommand({ Bucket, Key: 'missing' })), named('NoSuchKey'))
  const head = await client.send(new HeadObjectCommand({ Bucket, Key: key }))
  assert.equal(head.ContentLength, gz.length)
  assert.equal(head.ETag, ETag)
})

test('versitygw lists by prefix, delimiter and StartAfter, page by page', async () => {
  const keys = ['l/day=1/a', 'l/day=1/b', 'l/day=10/a', 'l/day=2/a', 'l/z']
  for (const Key of keys) await client.send(new PutObjectCommand({ Bucket, Key, Body: Key }))
  const list = (input: { Prefix: string; Delimiter?: string; StartAfter?: string; MaxKeys?: number }) =>
    client.send(new ListObjectsV2Command({ Bucket, EncodingType: 'url', ...input }))
  const folders = await list({ Prefix: 'l/', Delimiter: '/' })
  assert.deepEqual(
    folders.CommonPrefixes?.map(({ Prefix }) => decodeURIComponent(Prefix as string)),
    ['l/day=1/', 'l/day=10/', 'l/day=2/'],
  )
  assert.deepEqual(
    folders.Contents?.map(({ Key }) => Key),
    ['l/z'],
  )
  const rest = await list({ Prefix: 'l/', StartAfter: 'l/day=10/a' })
  assert.deepEqual(
    rest.Contents?.map(({ Key }) => decodeURIComponent(Key as string)),
    ['l/day=2/a', 'l/z'],
  )
  const first = await list({ Prefix: 'l/', MaxKeys: 2 })
  assert.equal(first.IsTruncated, true)
  const next = new ListObjectsV2Command({ Bucket, Prefix: 'l/', ContinuationToken: first.NextContinuationToken })
  assert.equal((await client.send(next)).Contents?.length, 3)
})

test('versitygw refuses a wrong secret and a missing bucket', async () => {
  const credentials = { accessKeyId, secretAccessKey: 'wrong' }
  const wrong = new S3Client({ endpoint, region, forcePathStyle: true, credentials, maxAttempts: 1 })
  await assert.rejects(wrong.send(new ListObjectsV2Command({ Bucket })), named('SignatureDoesNotMatch'))
  wrong.destroy()
  await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'nowhere' })), named('NoSuchBucket'))
})

test('nginx keeps every accepted body, byte for byte, and none that it refused', async () => {
  const data = new ZscalerData({ objects: 3, linesPerObject: 1300 })
  const counter = new LineCounter(data)
  for (const [index, url] of [nginx.url, nginx.flakyUrl].entries()) {
    const text = data.text(index)
    let start = 0
    let posts = 0
    while (start < text.length) {
      const end = index === 0 ? text.length : text.indexOf(10, start + 20_000) + 1 || text.length
      const { statusCode, headers } = await post(url, text.subarray(start, end))
      posts += 1
      assert.ok(posts < 2000, 'nothing is accepted any more')
      if (statusCode === 200) start = end
      else assert.deepEqual([index, headers['retry-after'], [503, 429].includes(statusCode)], [1, '1', true])
    }
  }
  const tooLarge = await post(nginx.smallUrl, data.text(2))
  assert.equal(tooLarge.statusCode, 413)
  const odd = 'a "quoted" \\ line\twith é and \u0001\n'
  assert.equal((await post(nginx.smallUrl, odd)).statusCode, 200)
  const received = await nginx.received()
  assert.ok(received.includes(odd))
  counter.add(received)
  assert.deepEqual(
    { lost: counter.lost, duplicated: counter.duplicated, strange: counter.strange },
    { lost: 1300, duplicated: 0, strange: 1 },
  )
  const statuses = await nginx.statuses()
  assert.equal(statuses.get(413), 1)
  assert.ok((statuses.get(200) ?? 0) > 50)
})

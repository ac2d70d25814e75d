import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3'
import { startS3 } from '../../test/servers/s3.ts'
import { permanentRedirect, type S3ErrorAnswer, s3Errors } from '../../test/servers/s3-wire.ts'
import { createS3Client } from '../aws/connection.ts'
import { StreamError } from '../core/errors.ts'
import { s3Error, s3ListError } from './s3-errors.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

/** What we make of a real answer, through the real SDK. */
async function errorFor(answer: S3ErrorAnswer): Promise<StreamError> {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint }, 4)
  server.put('k', 'x')
  server.faults.onGet = () => answer
  try {
    await client.send(new GetObjectCommand({ Bucket: 'b', Key: 'k' }))
  } catch (error) {
    return s3Error(error, 'read s3://b/k')
  } finally {
    client.destroy()
    await server.close()
  }
  return assert.fail('it was accepted')
}

test('A16.19: each answer of S3 is known for what it is, and says what to do', async () => {
  const cases: Array<[S3ErrorAnswer, string, RegExp]> = [
    [s3Errors.noSuchKey, 'source.vanished', /404 NoSuchKey.*it is not there any more/],
    [s3Errors.preconditionFailed, 'source.replaced', /412 PreconditionFailed.*overwritten/],
    [s3Errors.noSuchBucket, 'source.access', /NoSuchBucket.*check the bucket name and the endpoint/],
    [s3Errors.accessDenied, 'source.access', /403 AccessDenied.*need s3:ListBucket.*s3:GetObject/],
    [s3Errors.invalidAccessKeyId, 'source.access', /InvalidAccessKeyId.*check AWS_ACCESS_KEY_ID/],
    [{ status: 403, code: 'SignatureDoesNotMatch' }, 'source.access', /check AWS_SECRET_ACCESS_KEY/],
    [{ status: 403, code: 'RequestTimeTooSkewed' }, 'source.access', /set the clock of this machine/],
    [{ status: 400, code: 'ExpiredToken' }, 'source.access', /renew the session credentials/],
    [
      { status: 403, code: 'InvalidObjectState' },
      'source.archived',
      /restore it, then `s3-streamer quarantine requeue`/,
    ],
    [{ status: 403, code: 'SomethingNew' }, 'source.access', /SomethingNew.*need s3:ListBucket/],
    [{ status: 400, code: 'InvalidRequest' }, 'source.access', /400 InvalidRequest/],
    [{ status: 418, code: 'Teapot' }, 'source.access', /418 Teapot/],
  ]
  for (const [answer, code, message] of cases) {
    const error = await errorFor(answer)
    assert.equal(error.code, code, answer.code)
    assert.match(error.message, /^cannot read s3:\/\/b\/k: /)
    assert.match(error.message, message)
  }
})

test('what may pass is transient, and Retry-After is passed on', async () => {
  const answers: S3ErrorAnswer[] = [
    { ...s3Errors.slowDown, headers: { 'retry-after': '1' } },
    s3Errors.internalError,
    { status: 429, code: 'TooManyRequests' },
    { status: 408, code: 'RequestTimeout' },
    { status: 502, code: 'BadGateway' },
  ]
  const errors = await Promise.all(answers.map(errorFor))
  for (const [i, error] of errors.entries()) {
    assert.equal(error.code, 'source.unavailable', answers[i]?.code)
    assert.equal(error.kind, 'transient')
  }
  assert.equal(errors[0]?.retryAfterMs, 1000)
})

test('a bucket in another region is explained', async () => {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint, region: 'us-east-1' }, 4)
  server.faults.onList = () => permanentRedirect('eu-west-1')
  try {
    await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'b' })), (error) => {
      const known = s3ListError(error, 'b', 'p/')
      assert.equal(known.code, 'source.access')
      assert.match(known.message, /301 PermanentRedirect.*another region: set `region`/)
      return true
    })
  } finally {
    client.destroy()
    await server.close()
  }
})

test('a bucket in another region is followed once the server tells which', async () => {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint, region: 'us-east-1' }, 4)
  server.put('k', 'x')
  server.faults.onList = (_, n) => (n === 1 ? permanentRedirect('eu-west-1') : undefined)
  try {
    const page = await client.send(new ListObjectsV2Command({ Bucket: 'b' }))
    assert.equal(page.Contents?.[0]?.Key, 'k')
  } finally {
    client.destroy()
    await server.close()
  }
})

test('a list that is answered 404 is a wrong place, not a vanished object', async () => {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint }, 4)
  server.faults.onList = () => ({ status: 404, code: 'NotFound' })
  try {
    await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'b' })), (error) => {
      const known = s3ListError(error, 'b', 'p/')
      assert.equal(known.code, 'source.access')
      assert.match(known.message, /cannot list s3:\/\/b\/p\/: the server answers 404 \(check the bucket name/)
      return true
    })
  } finally {
    client.destroy()
    await server.close()
  }
})

test('no server at all is transient, no credentials are for the operator', async () => {
  const server = await startS3()
  await server.close()
  const client = createS3Client({ endpoint: server.endpoint }, 4)
  await assert.rejects(client.send(new ListObjectsV2Command({ Bucket: 'b' })), (error) => {
    const known = s3ListError(error, 'b', '')
    assert.equal(known.code, 'source.unavailable')
    assert.match(known.message, /ECONNREFUSED/)
    return true
  })
  client.destroy()
  const bare = new S3Client({
    region: 'us-east-1',
    credentials: () => Promise.reject(Object.assign(new Error('none found'), { name: 'CredentialsProviderError' })),
  })
  await assert.rejects(bare.send(new ListObjectsV2Command({ Bucket: 'b' })), (error) => {
    const known = s3ListError(error, 'b', '')
    assert.equal(known.code, 'source.access')
    assert.match(known.message, /none found.*AWS_ACCESS_KEY_ID/)
    return true
  })
  bare.destroy()
})

test('an error of ours is passed through', () => {
  const ours = new StreamError('source.short_body', 'short')
  assert.equal(s3Error(ours, 'read it'), ours)
  assert.equal(s3ListError(ours, 'b', ''), ours)
})

test('the path style is used where an endpoint is given, and can be chosen', async () => {
  const styles = [
    createS3Client({ endpoint: 'http://127.0.0.1:1' }, 4),
    createS3Client({ endpoint: 'http://127.0.0.1:1', force_path_style: false }, 4),
    createS3Client({ region: 'eu-west-1' }, 4),
    createS3Client({ region: 'eu-west-1', force_path_style: true }, 4),
  ].map(({ config }) => config.forcePathStyle)
  assert.deepEqual(styles, [true, false, false, true])
})

test('a web page in the place of S3, and a refusal without words, are told as what they are', () => {
  const page = new Error('@aws-sdk XML parse error: unexpected content. Deserialization error: to see the raw response')
  assert.match(
    s3Error(page, 'list s3://b/').message,
    /^cannot list s3:\/\/b\/: what answers is no S3 server \(check `endpoint`/,
  )
  assert.match(s3Error(new Error('Region is missing'), 'list s3://b/').message, /\(set `region` or AWS_REGION\)$/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { S3ServiceException } from '@aws-sdk/client-s3'
import { StreamError } from '../core/errors.ts'
import { s3SinkError } from './s3-sink-errors.ts'

function answered(name: string, status: number, headers: Record<string, string> = {}) {
  return Object.assign(
    new S3ServiceException({
      name,
      message: 'words of the server',
      $fault: status < 500 ? 'client' : 'server',
      $metadata: { httpStatusCode: status },
    }),
    { $response: { statusCode: status, headers } },
  )
}

const cases: ReadonlyArray<[name: string, status: number, code: string, advice: RegExp]> = [
  ['AccessDenied', 403, 'sink.access', /s3:PutObject/],
  ['Forbidden', 403, 'sink.access', /s3:PutObject/],
  ['NoSuchBucket', 404, 'sink.access', /check `bucket`/],
  ['NotFound', 404, 'sink.access', /check `bucket`/],
  ['PermanentRedirect', 301, 'sink.access', /region/],
  ['RequestTimeTooSkewed', 403, 'sink.access', /clock/],
  ['SignatureDoesNotMatch', 403, 'sink.access', /AWS_SECRET_ACCESS_KEY/],
  ['KMS.NotFoundException', 400, 'sink.access', /kms_key_id/],
  ['InvalidArgument', 400, 'sink.access', /words of the server$/],
  ['NotImplemented', 501, 'sink.access', /when_required/],
  ['KeyTooLongError', 400, 'sink.rejected', /1024 bytes/],
  ['EntityTooLarge', 400, 'sink.rejected', /larger/],
  ['PreconditionFailed', 412, 'sink.rejected', /if_exists/],
  ['SlowDown', 503, 'sink.throttled', /words of the server$/],
  ['UnknownError', 429, 'sink.throttled', /words of the server$/],
  ['InternalError', 500, 'sink.unavailable', /words of the server$/],
  ['RequestTimeout', 400, 'sink.unavailable', /words of the server$/],
  ['BadDigest', 400, 'sink.unavailable', /damaged/],
  ['ConditionalRequestConflict', 409, 'sink.unavailable', /same key/],
]

for (const [name, status, code, advice] of cases) {
  test(`${status} ${name} is ${code}, with the words of the server`, () => {
    const error = s3SinkError(answered(name, status), 'write s3://data/a.csv')
    assert.equal(error.code, code)
    assert.ok(error.message.startsWith(`cannot write s3://data/a.csv: ${status} ${name}: words of the server`))
    assert.match(error.message, advice)
    assert.deepEqual(error.data, { status, name })
  })
}

test('trouble of the connection is named by its code', () => {
  const refused = Object.assign(new Error('connect ECONNREFUSED 127.0.0.1:9'), { code: 'ECONNREFUSED' })
  assert.equal(s3SinkError(refused, 'write x').code, 'sink.unavailable')
  assert.match(s3SinkError(refused, 'write x').message, /check `endpoint`/)
  const selfSigned = Object.assign(new Error('self-signed certificate'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' })
  assert.equal(s3SinkError(selfSigned, 'write x').code, 'sink.access')
  const reset = Object.assign(new Error('socket hang up'), { code: 'ECONNRESET' })
  assert.equal(s3SinkError(reset, 'write x').message, 'cannot write x: ECONNRESET: socket hang up')
})

test('the wish of the server for the next attempt is kept', () => {
  assert.equal(s3SinkError(answered('SlowDown', 503, { 'retry-after': '7' }), 'write x').retryAfterMs, 7000)
})

test('missing credentials and a missing region say what to set', () => {
  const noKeys = Object.assign(new Error('Could not load credentials'), { name: 'CredentialsProviderError' })
  assert.match(s3SinkError(noKeys, 'write x').message, /AWS_ACCESS_KEY_ID/)
  assert.equal(s3SinkError(new Error('Region is missing'), 'write x').code, 'sink.access')
})

test('what is a StreamError already stays what it is', () => {
  const known = new StreamError('sink.rejected', 'no')
  assert.equal(s3SinkError(known, 'write x'), known)
})

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { Sha256 } from '@aws-crypto/sha256-js'
import { SignatureV4 } from '@smithy/signature-v4'
import { escapeUri, SigV4, type UnsignedRequest } from './sigv4.ts'

const sha = (text: string) => createHash('sha256').update(text).digest('hex')
const empty = sha('')
const exampleKeys = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY' }
const exampleMs = Date.UTC(2013, 4, 24)
const signatureOf = (headers: Readonly<Record<string, string>>) =>
  /Signature=([0-9a-f]{64})$/.exec(headers.authorization ?? '')?.[1]

// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
test('the examples of AWS have the signatures that AWS gives', () => {
  const signer = new SigV4({ region: 'us-east-1', service: 's3' })
  const host = 'examplebucket.s3.amazonaws.com'
  const got = signer.sign(
    {
      method: 'GET',
      path: '/test.txt',
      query: '',
      headers: { host, range: 'bytes=0-9', 'x-amz-content-sha256': empty },
      payload: empty,
    },
    exampleKeys,
    exampleMs,
  )
  assert.equal(
    got.authorization,
    'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41',
  )
  const payload = sha('Welcome to Amazon S3.')
  const put = signer.sign(
    {
      method: 'PUT',
      path: `/${escapeUri('test$file.text')}`,
      query: '',
      headers: {
        date: 'Fri, 24 May 2013 00:00:00 GMT',
        host,
        'x-amz-content-sha256': payload,
        'x-amz-storage-class': 'REDUCED_REDUNDANCY',
      },
      payload,
    },
    exampleKeys,
    exampleMs,
  )
  assert.equal(signatureOf(put), '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd')
  const listed = signer.sign(
    {
      method: 'GET',
      path: '/',
      query: 'max-keys=2&prefix=J',
      headers: { host, 'x-amz-content-sha256': empty },
      payload: empty,
    },
    exampleKeys,
    exampleMs,
  )
  assert.equal(signatureOf(listed), '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7')
})

async function bySdk(request: UnsignedRequest, keys: typeof exampleKeys, ms: number, key: string, query: object) {
  const signer = new SignatureV4({
    ...{ service: 's3', region: 'eu-west-1', credentials: keys, sha256: Sha256 },
    uriEscapePath: false,
    applyChecksum: false,
  })
  const path = `/${key.split('/').map(escapeUri).join('/')}`
  const { headers } = await signer.sign(
    {
      ...{ method: request.method, protocol: 'https:', hostname: 'data.s3.example.com', path },
      query: { ...query },
      headers: { ...request.headers },
    },
    { signingDate: new Date(ms) },
  )
  return headers
}

test('odd keys, queries and header values are signed as the SDK signs them', async () => {
  const signer = new SigV4({ region: 'eu-west-1', service: 's3' })
  const names = ["a b+c~!*'()&=?#%25/ü/日本/\n\t/.x", '//two//slashes/', 'x'.repeat(900), '😀', '']
  for (const [i, key] of names.entries()) {
    const keys = i % 2 === 0 ? exampleKeys : { ...exampleKeys, sessionToken: 'a+b/c==' }
    const payload = i % 2 === 0 ? 'UNSIGNED-PAYLOAD' : empty
    const ms = exampleMs + i * 86_400_000 + 61_999
    const uploadId = 'a/b+c==~ü'
    const request = {
      method: 'PUT',
      path: `/${key.split('/').map(escapeUri).join('/')}`,
      query: `partNumber=7&uploadId=${escapeUri(uploadId)}`,
      headers: {
        host: 'data.s3.example.com',
        'content-type': 'text/plain;  charset=utf-8',
        'x-amz-content-sha256': payload,
        'x-amz-meta-source': `  two  spaces ${i} and\ttab `,
        'x-amz-meta-a_b': '',
        'x-amz-tagging': 'a%2Bb=c%3Dd',
      },
      payload,
    }
    const expected = await bySdk(request, keys, ms, key, { partNumber: '7', uploadId })
    const signed = signer.sign(request, keys, ms)
    assert.equal(signed.authorization, expected.authorization, JSON.stringify(key))
    assert.equal(signed['x-amz-date'], expected['x-amz-date'])
    assert.equal(signed['x-amz-security-token'], expected['x-amz-security-token'])
  }
})

test('the key goes with the day and with the secret', async () => {
  const signer = new SigV4({ region: 'eu-west-1', service: 's3' })
  const request = {
    ...{ method: 'PUT', path: '/k', query: '', payload: empty },
    headers: { host: 'data.s3.example.com', 'x-amz-content-sha256': empty },
  }
  const other = { accessKeyId: 'AKIDOTHER', secretAccessKey: 'another' }
  const midnightMs = Date.UTC(2026, 0, 1)
  for (const [keys, ms] of [
    [exampleKeys, midnightMs - 1],
    [exampleKeys, midnightMs],
    [other, midnightMs],
    [exampleKeys, midnightMs - 1],
  ] as const) {
    const expected = await bySdk(request, keys, ms, 'k', {})
    assert.equal(signer.sign(request, keys, ms).authorization, expected.authorization)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { S3Client, type S3ClientConfig, S3ServiceException } from '@aws-sdk/client-s3'
import { learnTarget } from './s3-target.ts'

const credentials = { accessKeyId: 'A', secretAccessKey: 's' }

/** A client that would fail if it sent anything. */
function clientOf(o: S3ClientConfig = {}): S3Client {
  const handle = () => Promise.reject(new Error('sent'))
  return new S3Client({ region: 'us-east-1', credentials, requestHandler: { handle }, maxAttempts: 1, ...o })
}

for (const [title, bucket, o, expected] of [
  ['a virtual host', 'data', {}, 'https://data.s3.us-east-1.amazonaws.com / us-east-1'],
  ['a name with dots', 'my.data', {}, 'https://s3.us-east-1.amazonaws.com /my.data/ us-east-1'],
  ['path style', 'data', { forcePathStyle: true }, 'https://s3.us-east-1.amazonaws.com /data/ us-east-1'],
  [
    'dual-stack',
    'data',
    { region: 'eu-west-1', useDualstackEndpoint: true },
    'https://data.s3.dualstack.eu-west-1.amazonaws.com / eu-west-1',
  ],
  ['FIPS', 'data', { useFipsEndpoint: true }, 'https://data.s3-fips.us-east-1.amazonaws.com / us-east-1'],
  ['China', 'data', { region: 'cn-north-1' }, 'https://data.s3.cn-north-1.amazonaws.com.cn / cn-north-1'],
  ['acceleration', 'data', { useAccelerateEndpoint: true }, 'https://data.s3-accelerate.amazonaws.com / us-east-1'],
  [
    'an endpoint with a port and a path',
    'data',
    { endpoint: 'http://127.0.0.1:9000/base/x/', forcePathStyle: true },
    'http://127.0.0.1:9000 /base/x/data/ us-east-1',
  ],
  [
    'an endpoint with the bucket in its name',
    'data',
    { endpoint: 'https://s3.example.com', region: 'auto' },
    'https://data.s3.example.com / auto',
  ],
  [
    'an IPv6 endpoint',
    'data',
    { endpoint: 'http://[::1]:9000', forcePathStyle: true },
    'http://[::1]:9000 /data/ us-east-1',
  ],
  [
    'an access point in another region',
    'arn:aws:s3:us-west-2:123456789012:accesspoint/drop',
    { useArnRegion: true },
    'https://drop-123456789012.s3-accesspoint.us-west-2.amazonaws.com / us-west-2',
  ],
] as const)
  test(`requests go where the SDK would send them: ${title}`, async () => {
    const client = clientOf(o)
    const target = await learnTarget(client, bucket)
    assert.ok(target)
    assert.equal(`${target.origin} ${target.path} ${target.signer.region}`, expected)
    assert.equal(target.signer.service, 's3')
    assert.equal(`${new URL(target.origin).protocol}//${target.host}`, target.origin)
    assert.match(target.userAgent, /^aws-sdk-js\//)
    client.destroy()
  })

test('after an answer that names another region requests go there', async () => {
  const client = clientOf({ followRegionRedirects: true })
  const redirect = new S3ServiceException({
    ...{ name: 'PermanentRedirect', message: 'elsewhere', $fault: 'client' },
    $metadata: { httpStatusCode: 301 },
  })
  const $response = { statusCode: 301, headers: { 'x-amz-bucket-region': 'eu-central-1' } }
  const target = await learnTarget(client, 'data', Object.assign(redirect, { $response }))
  assert.equal(target?.origin, 'https://data.s3.eu-central-1.amazonaws.com')
  assert.equal(target?.signer.region, 'eu-central-1')
  client.destroy()
})

test('a directory bucket, whose sessions only the SDK knows, is left to it', async () => {
  const session =
    '<CreateSessionResult><Credentials><AccessKeyId>S</AccessKeyId><SecretAccessKey>x</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></CreateSessionResult>'
  const asked: string[] = []
  const handle = async ({ query, path }: { query: object; path: string }) => {
    asked.push(`${path}?${Object.keys(query).join('&')}`)
    const { HttpResponse } = await import('@smithy/core/protocols')
    return { response: new HttpResponse({ statusCode: 200, headers: {}, body: Buffer.from(session) }) }
  }
  const client = clientOf({ requestHandler: { handle } })
  assert.equal(await learnTarget(client, 'drop--use1-az4--x-s3'), undefined)
  assert.deepEqual(asked, ['/?session'])
  client.destroy()
})

test('without credentials the SDK says so, and nothing is kept of it', async () => {
  const none = Object.assign(new Error('none found'), { name: 'CredentialsProviderError' })
  const client = clientOf({ credentials: () => Promise.reject(none) })
  await assert.rejects(learnTarget(client, 'data'), /none found/)
  client.destroy()
})

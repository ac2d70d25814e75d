import assert from 'node:assert/strict'
import { createHash, createHmac } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { batchOf, testContext } from '../../test/conformance/sink.ts'
import { type BulkRequest, startElasticsearch } from '../../test/servers/elasticsearch.ts'
import { blockOf } from '../core/block.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { elasticsearchSink } from './elasticsearch.ts'
import { elasticsearchConfig } from './elasticsearch-config.ts'
import { createSigner } from './sigv4.ts'

const live = { signal: new AbortController().signal }
const names = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'AWS_PROFILE',
  'AWS_EC2_METADATA_DISABLED',
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
  'AWS_ENDPOINT_URL_STS',
]
let before: Record<string, string | undefined>

beforeEach(() => {
  before = Object.fromEntries(names.map((name) => [name, process.env[name]]))
  for (const name of names) delete process.env[name]
  process.env.AWS_EC2_METADATA_DISABLED = 'true'
  process.env.AWS_CONFIG_FILE = '/nowhere/config'
  process.env.AWS_SHARED_CREDENTIALS_FILE = '/nowhere/credentials'
})
afterEach(() => {
  for (const name of names) {
    if (before[name] === undefined) delete process.env[name]
    else process.env[name] = before[name]
  }
})

const hex = (data: string | Buffer) => createHash('sha256').update(data).digest('hex')
const hmac = (key: string | Buffer, data: string) => createHmac('sha256', key).update(data).digest()
/** RFC 3986: all but unreserved characters. */
const escaped = (text: string) =>
  encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)

/** What AWS does with a request: makes the signature anew from what arrived. Throws if it is not that of the request. */
function verify(request: BulkRequest, secret: string, region: string, service: string): Record<string, string> {
  const { headers } = request
  const found = /^AWS4-HMAC-SHA256 Credential=([^,]+), SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
    headers.authorization ?? '',
  )
  const [, credential = '', signedHeaders = '', signature = ''] = found ?? []
  const date = String(headers['x-amz-date'])
  const scope = `${date.slice(0, 8)}/${region}/${service}/aws4_request`
  assert.equal(credential.slice(credential.indexOf('/') + 1), scope)
  const payload = hex(request.body)
  assert.equal(headers['x-amz-content-sha256'], payload)
  const url = new URL(request.url, `http://${headers.host}`)
  const query = [...url.searchParams].map(([key, value]) => `${escaped(key)}=${escaped(value)}`).toSorted()
  const path = url.pathname.split('/').map(escaped).join('/')
  const lines = signedHeaders.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`)
  const canonical = [request.method, path, query.join('&'), lines.join(''), signedHeaders, payload].join('\n')
  const text = ['AWS4-HMAC-SHA256', date, scope, hex(canonical)].join('\n')
  const key = [date.slice(0, 8), region, service, 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${secret}`)
  assert.equal(signature, hmac(key, text).toString('hex'))
  return { accessKeyId: credential.split('/')[0] as string, signedHeaders }
}

function sinkOf(endpoint: string, settings: object) {
  const config = elasticsearchConfig.parse({ type: 'elasticsearch', endpoints: [endpoint], ...settings })
  return elasticsearchSink.create(config, testContext())
}

test('requests carry a signature over the body as it is sent, that AWS would find right', async () => {
  process.env.AWS_ACCESS_KEY_ID = 'AKIDEXAMPLE'
  process.env.AWS_SECRET_ACCESS_KEY = 'secret/key'
  process.env.AWS_SESSION_TOKEN = 'token=='
  const node = await startElasticsearch({ pipelines: ['a b*'] })
  try {
    for (const compression of ['none', 'gzip']) {
      await using sink = sinkOf(node.url, {
        index: `logs+${compression}`,
        pipeline: 'a b*',
        compression,
        auth: { type: 'sigv4', service: 'aoss', region: 'eu-west-1' },
      })
      await sink.write(batchOf(blockOf([`{"a":"${compression}"}`])), live)
    }
    const [plain, compressed] = node.bulks
    assert.ok(plain && compressed)
    for (const request of [plain, compressed]) {
      const { accessKeyId, signedHeaders } = verify(request, 'secret/key', 'eu-west-1', 'aoss')
      assert.equal(accessKeyId, 'AKIDEXAMPLE')
      assert.equal(request.headers['x-amz-security-token'], 'token==')
      // OpenSearch Serverless refuses a signed Content-Length.
      assert.doesNotMatch(signedHeaders as string, /content-length/)
    }
    assert.equal(compressed.headers['content-encoding'], 'gzip')
    assert.match(gunzipSync(compressed.body).toString(), /"gzip"/)
    assert.equal(node.documents.length, 2)
  } finally {
    await node.close()
  }
})

test('the region comes from the settings, the host, or the environment; without one the start fails', async () => {
  process.env.AWS_ACCESS_KEY_ID = 'A'
  process.env.AWS_SECRET_ACCESS_KEY = 's'
  const regionOf = async (host: string, region?: string) => {
    const auth = { type: 'sigv4', service: 'es', ...(region === undefined ? {} : { region }) } as const
    const url = new URL(`https://${host}/_bulk`)
    const headers = await createSigner(auth, [`https://${host}`])({ method: 'POST', url, headers: {}, body: undefined })
    return /Credential=A\/\d+\/([^/]+)\/es\//.exec(headers.authorization ?? '')?.[1]
  }
  assert.equal(await regionOf('search-x-abc.eu-central-1.es.amazonaws.com'), 'eu-central-1')
  assert.equal(await regionOf('abc.us-gov-west-1.aoss.amazonaws.com'), 'us-gov-west-1')
  assert.equal(await regionOf('x.cn-north-1.es.amazonaws.com.cn'), 'cn-north-1')
  assert.equal(await regionOf('x.us-east-2.es.on.aws'), 'us-east-2')
  assert.equal(await regionOf('search-x-abc.eu-central-1.es.amazonaws.com', 'us-west-2'), 'us-west-2')
  await assert.rejects(regionOf('logs.example.com'), /no region \(set `auth.region`\)/)
  process.env.AWS_REGION = 'ap-south-1'
  assert.equal(await regionOf('logs.example.com'), 'ap-south-1')
})

test('without credentials a write fails in passing and says what to do', async () => {
  const node = await startElasticsearch()
  try {
    await using sink = sinkOf(node.url, { index: 'logs', auth: { type: 'sigv4', region: 'us-east-1' } })
    const error = await sink.write(batchOf(blockOf(['a'])), live).catch((error: unknown) => error)
    assert.ok(error instanceof StreamError)
    assert.equal(error.code, 'sink.access')
    assert.match(explainError(error), /cannot get AWS credentials \(set AWS_ACCESS_KEY_ID/)
    assert.equal(node.bulks.length, 0)
  } finally {
    await node.close()
  }
})

test('a role is assumed once for many requests, and again before its keys end', async () => {
  process.env.AWS_ACCESS_KEY_ID = 'BASE'
  process.env.AWS_SECRET_ACCESS_KEY = 'base'
  const asked: string[] = []
  let lifeMs = 60_000
  const sts = createServer((request, response) => {
    request.setEncoding('utf8').on('data', (text: string) => asked.push(text))
    request.on('end', () => {
      const expiration = new Date(Date.now() + lifeMs).toISOString()
      response
        .writeHead(200, { 'content-type': 'text/xml' })
        .end(
          `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials><AccessKeyId>ROLE${asked.length}</AccessKeyId><SecretAccessKey>role</SecretAccessKey><SessionToken>t</SessionToken><Expiration>${expiration}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
        )
    })
  })
  await new Promise<void>((resolve) => sts.listen(0, '127.0.0.1', resolve))
  process.env.AWS_ENDPOINT_URL_STS = `http://127.0.0.1:${(sts.address() as AddressInfo).port}`
  const node = await startElasticsearch()
  try {
    const auth = { type: 'sigv4', region: 'us-east-1', role_arn: 'arn:aws:iam::123456789012:role/w', external_id: 'x1' }
    await using sink = sinkOf(node.url, { index: 'logs', auth, max_in_flight: 8 })
    const write = async (id: number) => {
      const object = { id: `o${id}`, bucket: 'b', key: 'k', timeMs: 0 }
      const { parts, ...rest } = batchOf(blockOf(['a']))
      await sink.write({ ...rest, parts: parts.map((part) => ({ ...part, object })) }, live)
    }
    await Promise.all([0, 1, 2, 3].map(write))
    assert.equal(asked.length, 1)
    assert.match(asked[0] as string, /RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fw/)
    assert.match(asked[0] as string, /ExternalId=x1/)
    // Those keys end within minutes: they are renewed, and the new ones are kept.
    lifeMs = 3_600_000
    await write(4)
    await write(5)
    assert.equal(asked.length, 2)
    const keys = node.bulks.map((request) => verify(request, 'role', 'us-east-1', 'es').accessKeyId)
    assert.deepEqual(keys, ['ROLE1', 'ROLE1', 'ROLE1', 'ROLE1', 'ROLE2', 'ROLE2'])
  } finally {
    await node.close()
    sts.closeAllConnections()
    await new Promise<void>((resolve) => sts.close(() => resolve()))
  }
})

test('a service of credentials that does not answer holds neither a time-out nor a stop up', {
  timeout: 30_000,
}, async () => {
  process.env.AWS_ACCESS_KEY_ID = 'BASE'
  process.env.AWS_SECRET_ACCESS_KEY = 'base'
  const sts = createServer(() => undefined)
  await new Promise<void>((resolve) => sts.listen(0, '127.0.0.1', resolve))
  process.env.AWS_ENDPOINT_URL_STS = `http://127.0.0.1:${(sts.address() as AddressInfo).port}`
  const node = await startElasticsearch()
  try {
    const auth = { type: 'sigv4', region: 'us-east-1', role_arn: 'arn:aws:iam::123456789012:role/w' }
    await using hasty = sinkOf(node.url, { index: 'logs', timeout: '300ms', auth })
    await assert.rejects(hasty.write(batchOf(blockOf(['a'])), live), { code: 'sink.unavailable', message: /timeout/ })
    await using patient = sinkOf(node.url, { index: 'logs', timeout: '1h', auth })
    const stop = new AbortController()
    setTimeout(() => stop.abort(new Error('stop')), 100)
    await assert.rejects(patient.write(batchOf(blockOf(['a'])), { signal: stop.signal }), { code: 'run.aborted' })
  } finally {
    await node.close()
    sts.closeAllConnections()
    await new Promise<void>((resolve) => sts.close(() => resolve()))
  }
})

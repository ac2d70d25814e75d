/** What goes over the wire without the SDK must be what would go with it. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { Sha256 } from '@aws-crypto/sha256-js'
import { PutObjectCommand, type S3Client, S3ServiceException, UploadPartCommand } from '@aws-sdk/client-s3'
import { SignatureV4 } from '@smithy/signature-v4'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import type { RecordedRequest } from '../../test/servers/s3-state.ts'
import { faultTimes } from '../../test/servers/s3-upload-bed.ts'
import { permanentRedirect, s3Errors } from '../../test/servers/s3-wire.ts'
import { createS3Client, retryAfterMs } from '../aws/connection.ts'
import { type DataFields, DataRequests } from './s3-data-requests.ts'
import { s3SinkError } from './s3-sink-errors.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const live = { signal: new AbortController().signal }
const withSha = { ...live, withoutSha: false }
const keys = { accessKeyId: 'test', secretAccessKey: 'test' }

interface Bed {
  readonly server: S3Server
  readonly client: S3Client
  readonly requests: DataRequests
}

function onBed(title: string, body: (bed: Bed) => Promise<void>, idleMs = 30_000): void {
  test(title, async () => {
    const server = await startS3()
    server.minPartBytes = 1
    const client = createS3Client({ endpoint: server.endpoint, region: 'us-east-1' }, 8, { idleMs, maxAttempts: 1 })
    const requests = new DataRequests(client, 'data', idleMs)
    try {
      await body({ server, client, requests })
    } finally {
      await requests.close()
      client.destroy()
      await server.close()
    }
  })
}

async function failureOf(act: Promise<unknown>): Promise<Error> {
  const thrown = await act.then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(thrown instanceof Error, `${thrown}`)
  return thrown
}

const text = (value: string | string[] | undefined) => String(value)
const credentialOf = ({ headers }: RecordedRequest) => /Credential=([^,]+),/.exec(text(headers.authorization))?.[1]

/** Throws if the signature is not the one that the SDK's own signer makes of what arrived. */
async function expectSigned({ headers, query }: RecordedRequest, path: string): Promise<void> {
  const authorization = text(headers.authorization)
  const names = /SignedHeaders=([^,]+),/.exec(authorization)?.[1]?.split(';') ?? []
  const signed = Object.fromEntries(names.map((name) => [name, Buffer.from(text(headers[name]), 'latin1').toString()]))
  const date = text(headers['x-amz-date']).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z')
  const settings = { service: 's3', region: 'us-east-1', credentials: keys, sha256: Sha256 }
  const signer = new SignatureV4({ ...settings, uriEscapePath: false, applyChecksum: false })
  const expected = await signer.sign(
    { method: 'PUT', protocol: 'http:', hostname: 'h', path, query: Object.fromEntries(query), headers: signed },
    { signingDate: new Date(date) },
  )
  assert.equal(authorization, expected.headers.authorization)
}

/** What a server acts on; the SDK sends more, for itself. */
function meant({ headers }: RecordedRequest): Record<string, string> {
  const ours = /^(content-|if-|x-amz-(?!date$|user-agent$|content-sha256$))/
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (ours.test(name) ? [[name, text(value)]] : [])),
  )
}

const everything: DataFields = {
  BucketKeyEnabled: true,
  ChecksumCRC64NVME: 'rosUhgp5mIg=',
  ContentMD5: 'JfnnlDI7RTiF9RgfG2JNCw==',
  ContentType: 'text/plain; charset=utf-8',
  IfNoneMatch: '*',
  Metadata: { mtime: '1700000000.123', Source: 'sftp://a@b/c  d', empty: '' },
  ServerSideEncryption: 'aws:kms',
  SSEKMSKeyId: 'alias/landing',
  StorageClass: 'STANDARD_IA',
  Tagging: 'origin=sftp%20drop&a%2Bb=c%3Dd',
}

onBed('an object goes with the headers that the SDK would send', async ({ server, client, requests }) => {
  const bytes = Buffer.from('123456789')
  for (const fields of [everything, {}]) {
    server.requests.length = 0
    await requests.put('a', bytes, fields, withSha)
    await client.send(new PutObjectCommand({ ...fields, Bucket: 'data', Key: 'b', Body: bytes }))
    const [ours, theirs] = server.requests
    assert.ok(ours && theirs)
    assert.deepEqual(meant(ours), meant(theirs))
    assert.equal(ours.headers['x-amz-content-sha256'], theirs.headers['x-amz-content-sha256'])
    assert.equal(ours.headers['user-agent'], theirs.headers['user-agent'])
    await expectSigned(ours, '/data/a')
  }
})

onBed('a part goes with the headers that the SDK would send', async ({ server, client, requests }) => {
  const bytes = Buffer.from('123456789')
  const { ChecksumCRC64NVME, ContentMD5 } = everything
  const fields = { ChecksumCRC64NVME, ContentMD5 }
  const uploadId = 'a/b+c==~'
  server.faults.onUploadPart = () => s3Errors.noSuchUpload
  const ours = await failureOf(requests.part({ key: 'a', uploadId, number: 12 }, bytes, fields, withSha))
  const place = { Bucket: 'data', Key: 'a', UploadId: uploadId, PartNumber: 12 }
  const theirs = await failureOf(client.send(new UploadPartCommand({ ...fields, ...place, Body: bytes })))
  const [sent, expected] = server.requests
  assert.ok(sent && expected)
  assert.deepEqual(meant(sent), meant(expected))
  expected.query.delete('x-id')
  assert.deepEqual([...sent.query].toSorted(), [...expected.query].toSorted())
  await expectSigned(sent, '/data/a')
  assert.ok(ours instanceof S3ServiceException && theirs instanceof S3ServiceException)
  assert.deepEqual([ours.name, ours.message, ours.$fault], [theirs.name, theirs.message, theirs.$fault])
  assert.equal(ours.$metadata.httpStatusCode, 404)
})

onBed('objects with odd keys are stored under just these keys', async ({ server, requests }) => {
  const names = ["a b+c~!*'()&=?#%25/ü/日本/\n\t/.x", 'two//slashes/', '😀', '%2F', 'x'.repeat(1000)]
  for (const key of names) {
    server.requests.length = 0
    const bytes = randomBytes(100)
    const stored = await requests.put(key, bytes, {}, { ...live, withoutSha: true })
    assert.deepEqual(server.read(key), bytes, JSON.stringify(key))
    assert.equal(stored.ETag, server.stat(key)?.etag)
    const [request] = server.requests
    assert.ok(request)
    assert.equal(request.headers['x-amz-content-sha256'], 'UNSIGNED-PAYLOAD')
    const escaped = (part: string) =>
      encodeURIComponent(part).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    await expectSigned(request, `/data/${key.split('/').map(escaped).join('/')}`)
  }
  await requests.put('empty', Buffer.alloc(0), {}, withSha)
  assert.equal(server.read('empty')?.length, 0)
})

onBed('a bucket in another region is found once, and asked there from then on', async ({ server, requests }) => {
  server.faults.onPut = faultTimes(permanentRedirect('eu-west-1'))
  await requests.put('a', Buffer.from('x'), {}, withSha)
  await requests.put('b', Buffer.from('y'), {}, withSha)
  assert.deepEqual(
    server.requests.map((one) => credentialOf(one)?.split('/')[2]),
    ['us-east-1', 'eu-west-1', 'eu-west-1'],
  )
  assert.deepEqual(server.keys(), ['a', 'b'])
})

onBed('a server that sends us from region to region, or to nowhere, is told of', async ({ server, requests }) => {
  server.faults.onPut = () => permanentRedirect('eu-west-1')
  assert.equal((await failureOf(requests.put('a', Buffer.from('x'), {}, withSha))).name, 'PermanentRedirect')
  assert.equal(server.requests.length, 2)
  server.faults.onPut = () => ({ ...permanentRedirect('eu-west-1'), headers: {} })
  assert.equal((await failureOf(requests.put('a', Buffer.from('x'), {}, withSha))).name, 'PermanentRedirect')
})

onBed('a temporary redirect is followed for that request, with a signature for the other host', async (bed) => {
  const { server, requests } = bed
  const other = await startS3()
  try {
    const location = `${other.endpoint}/data/a%20b?x-id=PutObject`
    server.faults.onPut = faultTimes({ status: 307, code: 'TemporaryRedirect', headers: { location } })
    await requests.put('a b', Buffer.from('x'), {}, withSha)
    assert.deepEqual(other.keys(), ['a b'])
    const [followed] = other.requests
    assert.ok(followed)
    assert.equal(text(followed.headers.host), new URL(other.endpoint).host)
    await expectSigned(followed, '/data/a%20b')
    await requests.put('c', Buffer.from('y'), {}, withSha)
    assert.deepEqual(server.keys(), ['c'])
  } finally {
    await other.close()
  }
})

onBed(
  'a clock that is wrong is set right by that of the server, for the SDK too',
  async ({ server, client, requests }) => {
    const date = new Date(Date.now() + 3 * 3_600_000).toUTCString()
    server.faults.onPut = (_, n) =>
      n === 1 ? { status: 403, code: 'RequestTimeTooSkewed', headers: { date } } : undefined
    await requests.put('a', Buffer.from('x'), {}, withSha)
    const [, second] = server.requests
    const sentAt = text(second?.headers['x-amz-date']).replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z')
    assert.ok(Math.abs(Date.parse(sentAt) - Date.parse(date)) < 60_000, sentAt)
    assert.ok(client.config.systemClockOffset > 2 * 3_600_000)
  },
)

test('credentials are renewed when they end', async () => {
  const server = await startS3()
  let given = 0
  const client = createS3Client({ endpoint: server.endpoint, region: 'us-east-1' }, 8)
  client.config.credentials = async () => {
    given += 1
    // Soon is late enough for the SDK.
    const expiration = new Date(Date.now() + 60_000)
    return { ...keys, accessKeyId: `K${given}`, sessionToken: `t${given}`, expiration }
  }
  const requests = new DataRequests(client, 'data', 30_000)
  try {
    await requests.put('a', Buffer.from('x'), {}, withSha)
    await requests.put('b', Buffer.from('x'), {}, withSha)
    const [first, second] = server.requests
    assert.ok(first && second)
    assert.notEqual(credentialOf(first), credentialOf(second))
    assert.equal(text(second.headers['x-amz-security-token']), `t${given}`)
    assert.match(text(second.headers.authorization), /x-amz-security-token/)
  } finally {
    await requests.close()
    client.destroy()
    await server.close()
  }
})

onBed('an error says what the server said, and when to come again', async ({ server, requests }) => {
  server.faults.onPut = () => ({
    ...{ status: 503, code: 'SlowDown', message: 'a <b> & "c" \u00e9', headers: { 'retry-after': '7' } },
    elements: { RequestId: 'R1' },
  })
  const error = await failureOf(requests.put('a', Buffer.from('x'), {}, withSha))
  assert.ok(error instanceof S3ServiceException)
  assert.deepEqual([error.name, error.message, error.$fault], ['SlowDown', 'a <b> & "c" \u00e9', 'server'])
  assert.equal(error.$metadata.httpStatusCode, 503)
  assert.ok(error.$metadata.requestId)
  assert.equal(retryAfterMs(error), 7000)
})

onBed('a server that answers before it has all bytes is heard, and the next request is whole', async (bed) => {
  const { server, requests } = bed
  server.faults.onPut = faultTimes({ beforeBody: s3Errors.accessDenied })
  const bytes = randomBytes(32 * 1024 * 1024)
  const error = await failureOf(requests.put('a', bytes, {}, { ...live, withoutSha: true }))
  assert.match(`${error.name} ${'code' in error ? error.code : ''}`, /AccessDenied|EPIPE|ECONNRESET|UND_ERR_SOCKET/)
  await requests.put('b', bytes, {}, { ...live, withoutSha: true })
  assert.ok(server.read('b')?.equals(bytes))
})

onBed(
  'a request in which nothing moves ends with a time-out',
  async ({ server, requests }) => {
    server.faults.onPut = () => ({ stallAfter: -1 })
    const error = await failureOf(requests.put('a', Buffer.from('x'), {}, withSha))
    assert.equal(error.name, 'TimeoutError')
    assert.match(error.message, /nothing moved for 0\.2 s/)
    server.faults.onPut = undefined
    await requests.put('a', Buffer.from('x'), {}, withSha)
  },
  200,
)

/** A server that reads no more than the system does by itself. */
async function deafServer(): Promise<{ server: ReturnType<typeof createTcpServer>; connected: Promise<Socket> }> {
  const { promise: connected, resolve } = Promise.withResolvers<Socket>()
  const server = createTcpServer({ pauseOnConnect: true }, resolve)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { server, connected }
}

test('an abort ends a request at once, and none of its bytes is read after that', async () => {
  const { server, connected } = await deafServer()
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = createS3Client({ endpoint, region: 'us-east-1' }, 8)
  const requests = new DataRequests(client, 'data', 30_000)
  try {
    const stop = new AbortController()
    const bytes = Buffer.alloc(64 * 1024 * 1024, 'a')
    const failing = failureOf(requests.put('a', bytes, {}, { signal: stop.signal, withoutSha: true }))
    const socket = await connected
    stop.abort(new Error('stopped'))
    assert.equal((await failing).message, 'stopped')
    // Its owner has other plans with the memory.
    bytes.fill('b')
    const received: Buffer[] = []
    socket.on('data', (piece: Buffer) => received.push(piece))
    socket.on('error', () => undefined)
    const closed = once(socket, 'close')
    socket.resume()
    await closed
    const body = Buffer.concat(received).toString('latin1')
    assert.ok(body.length < bytes.length)
    assert.doesNotMatch(body.slice(body.indexOf('\r\n\r\n')), /b/)
  } finally {
    await requests.close()
    client.destroy()
    server.close()
  }
})

test('a request that waits for its connection ends with the abort, and is never sent', async () => {
  const http: Server = createServer((_, response) => response.end())
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  let asked = 0
  http.on('request', () => {
    asked += 1
  })
  const client = createS3Client({ endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}` }, 8)
  const requests = new DataRequests(client, 'data', 30_000)
  try {
    const stop = new AbortController()
    // Learns where to go first, so that the next one has nothing to do but to connect.
    await requests.put('a', Buffer.from('x'), {}, withSha)
    const busy = requests.put('b', Buffer.from('x'), {}, withSha)
    const failing = failureOf(requests.put('c', Buffer.from('x'), {}, { signal: stop.signal, withoutSha: true }))
    setImmediate(() => stop.abort(new Error('stopped')))
    const error = await failing
    await busy
    assert.equal(error.message, 'stopped')
    await requests.put('d', Buffer.from('x'), {}, withSha)
    assert.ok(asked <= 4)
  } finally {
    await requests.close()
    client.destroy()
    http.close()
  }
})

test('over TLS the certificate must be trusted, and is when its authority is', async () => {
  const pem = (name: string) => readFileSync(new URL(`../../test/servers/tls/${name}`, import.meta.url))
  const https = createTlsServer({ key: pem('server.key.pem'), cert: pem('server.pem') }, (request, response) => {
    request.resume().on('end', () => response.setHeader('etag', '"e"').end())
  })
  https.listen(0, '127.0.0.1')
  await once(https, 'listening')
  const endpoint = `https://localhost:${(https.address() as AddressInfo).port}`
  const client = createS3Client({ endpoint, region: 'us-east-1' }, 8)
  const requests = new DataRequests(client, 'data', 30_000)
  const before = getCACertificates('default')
  try {
    const error = await failureOf(requests.put('a', Buffer.from('x'), {}, withSha))
    assert.match(s3SinkError(error, 'write it').message, /the certificate of `endpoint` is not trusted/)
    setDefaultCACertificates([...before, pem('ca.pem').toString()])
    assert.equal((await requests.put('a', randomBytes(300_000), {}, withSha)).ETag, '"e"')
  } finally {
    setDefaultCACertificates(before)
    await requests.close()
    client.destroy()
    https.close()
  }
})

test('where nothing listens the error says so', async () => {
  const server = await startS3()
  await server.close()
  const client = createS3Client({ endpoint: server.endpoint, region: 'us-east-1' }, 8)
  const requests = new DataRequests(client, 'data', 30_000)
  const error = s3SinkError(await failureOf(requests.put('a', Buffer.from('x'), {}, withSha)), 'write it')
  assert.equal(error.code, 'sink.unavailable')
  assert.match(error.message, /ECONNREFUSED.*nothing listens there: check `endpoint`/)
  await requests.close()
  client.destroy()
})

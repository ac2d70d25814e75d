import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { ask, ConsoleBed, openBed, secret, sendRaw, serverConfig, token } from '../../test/fakes/console-bed.ts'
import { pipelineSnapshot } from '../../test/fakes/operations.ts'
import type { Dependency } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { processMetrics } from '../telemetry/process-metrics.ts'

const well: Dependency = { name: 's3', state: 'unused', sinceMs: 0, error: undefined, probe: async () => undefined }
const ill: Dependency = {
  ...well,
  name: 'http http://localhost:8080/',
  probe: async () => {
    throw new StreamError('sink.unavailable', 'cannot reach http://localhost:8080/: ECONNREFUSED')
  },
}

test('A9: an outage of a sink makes /ready and /health fail, never /live', async () => {
  await using bed = await openBed()
  bed.operations.pipelines = [pipelineSnapshot('web')]
  bed.targets = [well, ill].map((dependency) => ({ pipeline: 'web', dependency }))
  for (const path of ['/ready', '/health']) {
    const { status, text, headers } = await bed.ask(path)
    assert.equal(status, 503)
    assert.match(String(headers['content-type']), /^application\/json/)
    const { timestamp, ...report } = JSON.parse(text)
    assert.match(timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    assert.deepEqual(report, {
      status: 'unhealthy',
      checks: {
        s3: 'OK',
        'http http://localhost:8080/': 'ERROR: cannot reach http://localhost:8080/: ECONNREFUSED',
        pipeline: 'OK',
        state: 'OK',
      },
      message: 'One or more health checks failed',
    })
  }
  const live = await bed.ask('/live')
  assert.equal(live.status, 200)
  assert.equal(JSON.parse(live.text).status, 'alive')
  bed.targets = [{ pipeline: 'web', dependency: well }]
  assert.equal((await bed.ask('/ready')).status, 200)
})

test('while it starts or stops it is not ready, and health still tells of the dependencies', async () => {
  await using bed = await openBed({ health: { path: '/healthz' } })
  for (const state of ['starting', 'stopping'] as const) {
    bed.operations.state = state
    const ready = await bed.ask('/ready')
    assert.deepEqual([ready.status, JSON.parse(ready.text).message], [503, `The streamer is ${state}`])
    assert.equal((await bed.ask('/healthz')).status, 200)
  }
  assert.equal((await bed.ask('/health')).status, 404)
})

test('metrics are text for Prometheus, compressed for those who take that', async () => {
  await using bed = await openBed()
  bed.operations.meter.bind(processMetrics, {}).process_resident_memory_bytes.set(12_345)
  const plain = await bed.ask('/metrics')
  assert.equal(plain.headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8')
  assert.match(plain.text, /^process_resident_memory_bytes 12345$/m)
  const small = await bed.ask('/metrics', { headers: { 'accept-encoding': 'deflate, gzip;q=0.5' } })
  assert.equal(small.headers['content-encoding'], 'gzip')
  assert.equal(gunzipSync(small.bytes).toString(), plain.text)
  const refused = await bed.ask('/metrics', { headers: { 'accept-encoding': 'gzip;q=0' } })
  assert.equal(refused.text, plain.text)
})

test('HEAD is answered as GET is, without a body; other methods are told what is allowed', async () => {
  await using bed = await openBed()
  for (const path of ['/live', '/ready', '/health', '/metrics', '/', '/api/status']) {
    const { status, bytes } = await bed.ask(path, { method: 'HEAD' })
    assert.deepEqual([path, status, bytes.length], [path, 200, 0])
    const post = await bed.ask(path, { method: 'PUT' })
    assert.deepEqual([path, post.status, post.headers.allow], [path, 405, 'GET, HEAD'])
  }
})

test('the page comes with a policy that lets nothing else in, and is asked for again each time', async () => {
  await using bed = await openBed()
  const { status, headers, text } = await bed.ask('/')
  assert.equal(status, 200)
  assert.match(text, /<title>page/)
  assert.equal(
    headers['content-security-policy'],
    "default-src 'none'; script-src 'self' 'sha256-abc='; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  )
  assert.equal(headers['x-content-type-options'], 'nosniff')
  assert.equal(headers['x-frame-options'], 'DENY')
  assert.equal(headers['referrer-policy'], 'no-referrer')
  assert.equal(headers['cache-control'], 'no-cache')
  const again = await bed.ask('/', { headers: { 'if-none-match': String(headers.etag) } })
  assert.deepEqual([again.status, again.text], [304, ''])
  assert.equal((await bed.ask('/api/status')).headers['cache-control'], 'no-store')
})

test('without the console there are health checks, metrics, and what `status` asks for', async () => {
  await using bed = await openBed({ console: { enabled: false } })
  const statuses = []
  for (const path of ['/', '/api/runs', '/api/status', '/metrics', '/live']) statuses.push((await bed.ask(path)).status)
  assert.deepEqual(statuses, [404, 404, 200, 200, 200])
})

test('A9: a port that was asked for and is taken ends the start, and who has it is told', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  try {
    await assert.rejects(openBed({ health: { address: `127.0.0.1:${port}` } }), (error: unknown) => {
      assert.ok(error instanceof StreamError)
      assert.equal(error.code, 'console.bind')
      assert.match(
        error.message,
        new RegExp(`cannot listen on 127.0.0.1:${port} .*: the port is taken by .+, process ${process.pid} \\(`),
      )
      return true
    })
  } finally {
    other.close()
  }
})

test('an address of another machine is refused with words', async () => {
  const refused =
    /cannot listen on 192\.0\.2\.1:0 .*: 192\.0\.2\.1 is no address of this machine \(choose another health\.address/
  await assert.rejects(openBed({ health: { address: '192.0.2.1:0' } }), refused)
})

test('the default port gives way to another program, and the log says where the console is', async () => {
  await using first = await openBed({ health: { address: undefined } })
  await using second = await openBed({ health: { address: undefined } })
  assert.notEqual(first.port, second.port)
  assert.equal((await second.ask('/live')).status, 200)
  assert.ok(second.entries.some(({ level, message }) => level === 'info' && message.endsWith(second.server.address)))
})

test('localhost is reached by both of its addresses, where the machine has both', async () => {
  await using bed = await openBed({ health: { address: 'localhost:0' } })
  assert.match(bed.server.address, /^http:\/\/localhost:\d+$/)
  const hasIpv6 = Object.values(networkInterfaces()).some((list) => list?.some(({ address }) => address === '::1'))
  for (const host of hasIpv6 ? ['127.0.0.1', '::1'] : ['127.0.0.1'])
    assert.equal((await ask(bed.port, '/live', { host })).status, 200)
})

test('an address without a host is of every interface', async () => {
  await using bed = await openBed({ health: { address: ':0' } })
  assert.match(bed.server.address, /^http:\/\/localhost:\d+$/)
  for (const list of Object.values(networkInterfaces())) {
    for (const { address, scopeid } of list ?? []) {
      if (scopeid) continue
      assert.equal((await ask(bed.port, '/live', { host: address })).status, 200)
      const isHere = address === '127.0.0.1' || address === '::1'
      const headers = { host: `${address.includes(':') ? `[${address}]` : address}:${bed.port}` }
      assert.equal((await ask(bed.port, '/api/status', { host: address, headers })).status, isHere ? 200 : 401)
    }
  }
})

test('another configuration moves it, and one that cannot be listened on changes nothing', async () => {
  await using bed = await openBed()
  const before = bed.port
  const blocked = await openBed()
  try {
    const taken = serverConfig({ health: { address: `127.0.0.1:${blocked.port}`, path: '/other' } })
    await assert.rejects(bed.server.reconfigure(taken), { code: 'console.bind' })
    assert.equal((await bed.ask('/health')).status, 200)
    assert.equal(bed.port, before)
  } finally {
    await blocked[Symbol.asyncDispose]()
  }
  await bed.server.reconfigure(serverConfig({ health: { address: 'localhost:0', path: '/other' } }))
  assert.notEqual(bed.port, before)
  assert.equal((await bed.ask('/other')).status, 200)
  await assert.rejects(ask(before, '/live'), { code: 'ECONNREFUSED' })
})

test('it can move to more interfaces with the port that it has', async () => {
  await using bed = await openBed()
  const { port } = bed
  await bed.server.reconfigure(serverConfig({ health: { address: `0.0.0.0:${port}` } }))
  assert.equal(bed.port, port)
  assert.equal((await bed.ask('/live')).status, 200)
  await assert.rejects(bed.server.reconfigure(serverConfig({ health: { address: `192.0.2.1:${port}` } })), {
    code: 'console.bind',
  })
  assert.equal((await bed.ask('/live')).status, 200)
})

test('what is no HTTP is answered and let go, and the server lives on', async () => {
  await using bed = await openBed()
  assert.match(await sendRaw(bed.port, 'hello\r\n\r\n'), /^HTTP\/1.1 400 Bad Request\r\n/)
  const long = 'x'.repeat(20_000)
  assert.match(await sendRaw(bed.port, `GET / HTTP/1.1\r\nHost: a\r\nX: ${long}\r\n\r\n`), /^HTTP\/1.1 431 /)
  const close = 'Host: localhost\r\nConnection: close\r\n\r\n'
  assert.match(await sendRaw(bed.port, `GET //evil.example/live HTTP/1.1\r\n${close}`), /^HTTP\/1.1 404 /)
  assert.match(await sendRaw(bed.port, `GET http://localhost/live HTTP/1.1\r\n${close}`), /^HTTP\/1.1 200 /)
  assert.match(await sendRaw(bed.port, `GET /../../etc/passwd HTTP/1.1\r\n${close}`), /^HTTP\/1.1 404 /)
  assert.match(await sendRaw(bed.port, `GET /%2e%2e/%ff HTTP/1.1\r\n${close}`), /^HTTP\/1.1 400 /)
  assert.match(await sendRaw(bed.port, `OPTIONS * HTTP/1.1\r\n${close}`), /^HTTP\/1.1 400 /)
  assert.equal((await bed.ask('/live')).status, 200)
})

test('slow readers of metrics are many only up to a number, and health is told beside them', async () => {
  await using bed = await openBed()
  // More than the system takes for a reader that does not read.
  const help = 'x'.repeat(8_000_000)
  bed.operations.meter.bind({ large: { kind: 'gauge', unit: '1', help } }, {}).large.set(1)
  const sockets = Array.from({ length: 16 }, () => connect(bed.port, '127.0.0.1'))
  for (const socket of sockets) {
    socket.on('error', () => socket.destroy())
    socket.write('GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n')
  }
  await Promise.all(sockets.map((socket) => once(socket, 'readable')))
  let { status } = await bed.ask('/metrics', { method: 'HEAD' })
  assert.equal(status, 503)
  assert.equal((await bed.ask('/health')).status, 200)
  for (const socket of sockets) socket.destroy()
  while (status !== 200) status = (await bed.ask('/metrics', { method: 'HEAD' })).status
  assert.equal(status, 200)
})

test('connections are limited: those beyond are let go, the others served', async () => {
  await using bed = await openBed()
  const sockets = Array.from({ length: 300 }, () => connect(bed.port, '127.0.0.1'))
  for (const socket of sockets) socket.on('error', () => socket.destroy())
  const closed = Promise.withResolvers<void>()
  let count = 0
  for (const socket of sockets) {
    socket.once('close', () => {
      count += 1
      if (count === 300 - 256) closed.resolve()
    })
    socket.resume()
  }
  await closed.promise
  for (const socket of sockets) socket.destroy()
  let status = 0
  while (status !== 200)
    status = await bed.ask('/live').then(
      (reply) => reply.status,
      () => 0,
    )
  assert.equal(count >= 44, true)
})

test('closing waits for nobody who keeps a connection open', async () => {
  const bed = await openBed()
  const idle = connect(bed.port, '127.0.0.1')
  const busy = connect(bed.port, '127.0.0.1')
  const closed = [idle, busy].map((socket) => new Promise((resolve) => socket.once('close', resolve)))
  for (const socket of [idle, busy]) socket.on('error', () => socket.destroy())
  busy.write(
    `POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\nAuthorization: Bearer ${token}\r\n\r\n{`,
  )
  await once(busy, 'connect')
  await bed[Symbol.asyncDispose]()
  idle.resume()
  busy.resume()
  await Promise.all(closed)
  await bed[Symbol.asyncDispose]()
})

test('what components said is told without the secrets of the configuration', async () => {
  await using bed = await openBed()
  const error = `answered 401: you sent ${secret}`
  const probe = () => Promise.reject(new StreamError('sink.access', error))
  bed.operations.pipelines = [pipelineSnapshot('web', { error, dependencies: [{ ...well, of: 'sink', error }] })]
  bed.targets = [{ pipeline: 'web', dependency: { ...well, probe } }]
  for (const path of ['/health', '/ready', '/api/status', `/api/runs?pipeline=${secret}`]) {
    const { text } = await bed.ask(path)
    assert.doesNotMatch(text, new RegExp(secret), path)
    assert.match(text, /\[redacted\]/, path)
    assert.doesNotThrow(() => JSON.parse(text))
  }
})

test('an answer that cannot be made is told without its reason, which the log has', async () => {
  const bed = new ConsoleBed()
  await using _ = await bed.open(serverConfig())
  bed.operations.onSnapshot = () => {
    throw new TypeError('secret inside')
  }
  const { status, text } = await bed.ask('/api/status')
  assert.equal(status, 500)
  assert.doesNotMatch(text, /secret inside/)
  assert.ok(bed.entries.some(({ level, facts }) => level === 'error' && facts.error === 'secret inside'))
})

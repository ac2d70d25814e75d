import assert from 'node:assert/strict'
import type { IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { type ConsoleBed, openBed, sendRaw, serverConfig, token } from '../../test/fakes/console-bed.ts'
import { Secret } from '../config/fields.ts'
import { Access } from './access.ts'
import { Refusal } from './answer.ts'

const bearer = { authorization: `Bearer ${token}` }
const requeue = { pipeline: 'web', ids: [1] }

async function statusOf(bed: ConsoleBed, path: string, headers: Record<string, string> = {}): Promise<number> {
  return (await bed.ask(path, { headers })).status
}

test('reading is free on this machine; acting needs the token there, too', async () => {
  await using bed = await openBed()
  assert.equal(await statusOf(bed, '/api/status'), 200)
  assert.equal((await bed.post('/api/quarantine/requeue', requeue)).status, 401)
  assert.equal((await bed.post('/api/quarantine/requeue', requeue, bearer)).status, 200)
  assert.deepEqual(bed.operations.acts, [['requeue', 'web', [1]]])
})

test('without a configured token nothing can be changed, and the answer says what to set', async () => {
  await using bed = await openBed({ console: { token: undefined } })
  const { status, headers, text } = await bed.post('/api/reload', {})
  assert.equal(status, 403)
  assert.match(String(headers['content-type']), /^application\/problem\+json/)
  assert.match(JSON.parse(text).detail, /set console\.token/)
  assert.equal((await bed.post('/api/session', { token: '' })).status, 403)
  const session = await bed.ask('/api/session')
  assert.deepEqual(JSON.parse(session.text), { authenticated: true, canAct: false, tokenConfigured: false })
})

test('DNS rebinding: a request by another name than localhost is not from here', async () => {
  await using open = await openBed({ console: { token: undefined } })
  await using locked = await openBed()
  for (const host of [
    'evil.example',
    'evil.example:8090',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '10.0.0.1',
  ]) {
    for (const path of ['/', '/api/status', '/api/session', '/api/events'])
      assert.equal(await statusOf(open, path, { host }), 403, `${host} ${path}`)
    assert.equal(await statusOf(locked, '/api/status', { host }), 401)
    assert.equal(await statusOf(locked, '/api/events', { host }), 401)
    assert.equal(await statusOf(locked, '/', { host }), 200)
    assert.equal(await statusOf(locked, '/api/status', { host, ...bearer }), 200)
  }
  for (const host of ['localhost', 'LOCALHOST:1', '127.0.0.1:8090', '127.9.9.9', '[::1]:8090'])
    assert.equal(await statusOf(open, '/api/status', { host }), 200, host)
})

test('a request for another host is not for this machine, whatever its header says', async () => {
  await using bed = await openBed()
  const end = 'Host: localhost\r\nConnection: close\r\n\r\n'
  const other = `GET http://evil.example/api/status HTTP/1.1\r\n${end}`
  assert.match(await sendRaw(bed.port, other), /^HTTP\/1.1 401 /)
  assert.match(await sendRaw(bed.port, `GET http://LOCALHOST:1/api/status HTTP/1.1\r\n${end}`), /^HTTP\/1.1 200 /)
})

test('what a proxy on this machine asks for someone else is not from here', async () => {
  await using bed = await openBed()
  for (const name of [
    ...['x-forwarded-for', 'forwarded', 'via', 'x-real-ip', 'x-forwarded-host', 'x-forwarded-proto'],
    ...['x-client-ip', 'true-client-ip', 'cf-connecting-ip', 'x-envoy-external-address'],
  ])
    assert.equal(await statusOf(bed, '/api/status', { [name]: '203.0.113.7' }), 401, name)
  const asNginx = 'GET /api/status HTTP/1.0\r\nHost: localhost:8090\r\nConnection: close\r\n\r\n'
  assert.match(await sendRaw(bed.port, asNginx), /^HTTP\/1.1 401 /)
})

test('the health checks and metrics need no token, whoever asks', async () => {
  await using bed = await openBed()
  for (const path of ['/live', '/ready', '/health', '/metrics'])
    assert.equal(await statusOf(bed, path, { host: 'streamer.example' }), 200)
})

test('a browser logs in with the token, acts with its cookie, and logs out', async () => {
  await using bed = await openBed()
  const host = `streamer.example:${bed.port}`
  const own = { host, origin: `http://${host}` }
  const before = await bed.ask('/api/session', { headers: { host } })
  assert.deepEqual(JSON.parse(before.text), { authenticated: false, canAct: false, tokenConfigured: true })
  const login = await bed.post('/api/session', { token }, own)
  assert.equal(login.status, 200)
  const set = String(login.headers['set-cookie'])
  assert.match(set, /^s3-streamer-\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/; Max-Age=43200$/)
  const cookie = `other=1; ${set.split(';')[0]}`
  const { key } = JSON.parse(login.text) as { readonly key: string }
  const shown = { 'x-s3-streamer-key': key }
  const during = await bed.ask('/api/session', { headers: { host, cookie, ...shown } })
  assert.deepEqual(JSON.parse(during.text), { authenticated: true, canAct: true, tokenConfigured: true })
  assert.equal(await statusOf(bed, '/api/status', { host, cookie }), 200)
  assert.equal((await bed.post('/api/quarantine/requeue', requeue, { ...own, cookie, ...shown })).status, 200)
  const out = await bed.ask('/api/session', { method: 'DELETE', headers: { ...own, cookie } })
  assert.match(String(out.headers['set-cookie']), /Max-Age=0/)
  assert.deepEqual(JSON.parse(out.text), { authenticated: false, canAct: false, tokenConfigured: true })
  assert.equal(await statusOf(bed, '/api/status', { host, cookie }), 401)
})

test('behind a proxy that speaks TLS the cookie is for TLS only', async () => {
  await using bed = await openBed()
  const { headers } = await bed.post('/api/session', { token }, { 'x-forwarded-proto': 'https' })
  assert.match(String(headers['set-cookie']), /; Secure$/)
})

test('a cookie acts only for our own page, and only with JSON', async () => {
  await using bed = await openBed()
  const { origin, ...session } = await bed.login()
  assert.ok(origin)
  const act = async (headers: Record<string, string>) =>
    (await bed.post('/api/quarantine/requeue', requeue, { ...session, ...headers })).status
  assert.equal(await act({ origin }), 200)
  assert.equal(await act({ 'sec-fetch-site': 'same-origin', origin: 'https://as.the.proxy.calls.it' }), 200)
  for (const headers of [
    {},
    { origin: 'null' },
    { origin: 'http://evil.example' },
    { origin: 'http://127.0.0.1:1' },
    { origin, 'sec-fetch-site': 'cross-site' },
    { origin, 'sec-fetch-site': 'same-site' },
    { 'sec-fetch-site': 'none' },
  ])
    assert.equal(await act(headers as Record<string, string>), 403, JSON.stringify(headers))
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', ''])
    assert.equal(await act({ origin, 'content-type': type }), 415)
  assert.equal(bed.operations.acts.length, 2)
})

test('pages of other sites may not listen, for the places are few', async () => {
  await using bed = await openBed()
  assert.equal(await statusOf(bed, '/api/events', { 'sec-fetch-site': 'cross-site' }), 403)
  assert.equal(await statusOf(bed, '/api/events', { 'sec-fetch-site': 'same-site' }), 403)
  assert.equal(await statusOf(bed, '/', { 'sec-fetch-site': 'cross-site' }), 200)
})

test('a cookie that another port has set beside ours changes nothing', async () => {
  await using bed = await openBed()
  const { cookie = '', ...own } = await bed.login()
  const planted = { ...own, cookie: `${cookie.split('=')[0]}=planted; ${cookie}` }
  assert.equal((await bed.post('/api/quarantine/requeue', requeue, planted)).status, 200)
  await bed.ask('/api/session', { method: 'DELETE', headers: planted })
  assert.equal((await bed.post('/api/quarantine/requeue', requeue, { ...own, cookie })).status, 401)
})

test('whoever got the cookie, which browsers send to every port of a host, cannot act with it', async () => {
  await using bed = await openBed()
  const { 'x-s3-streamer-key': key = '', ...stolen } = await bed.login()
  const other = (await bed.login())['x-s3-streamer-key'] ?? ''
  const act = async (headers: Record<string, string>) =>
    (await bed.post('/api/quarantine/requeue', requeue, { ...stolen, ...headers })).status
  assert.deepEqual([await act({}), await act({ 'x-s3-streamer-key': other })], [401, 401])
  const session = await bed.ask('/api/session', { headers: stolen })
  assert.deepEqual(JSON.parse(session.text), { authenticated: true, canAct: false, tokenConfigured: true })
  assert.equal(await act({ 'x-s3-streamer-key': key }), 200)
})

test('nobody is logged in from the page of another site', async () => {
  await using bed = await openBed()
  assert.equal((await bed.post('/api/session', { token }, { origin: 'http://evil.example' })).status, 403)
})

test('wrong tokens are told, and after ten in a minute none is looked at', async () => {
  await using bed = await openBed()
  for (let i = 0; i < 5; i += 1) {
    assert.equal((await bed.post('/api/session', { token: `wrong-${i}` })).status, 401)
    assert.equal(await statusOf(bed, '/api/status', { authorization: `Bearer ${token}x` }), 401)
  }
  const login = await bed.post('/api/session', { token })
  assert.equal(login.status, 429)
  assert.match(String(login.headers['retry-after']), /^\d+$/)
  assert.equal((await bed.post('/api/reload', {}, bearer)).status, 429)
  assert.equal(await statusOf(bed, '/api/status'), 200)
  assert.deepEqual(bed.operations.acts, [])
  const warnings = bed.entries.filter(({ level }) => level === 'warn')
  assert.equal(warnings.length, 10)
  assert.deepEqual(warnings[0]?.facts, { from: '127.0.0.1' })
})

test('another token ends the sessions of the one before, and the same one keeps them', async () => {
  await using bed = await openBed()
  const session = await bed.login()
  const act = async () => (await bed.post('/api/reload', {}, session)).status
  await bed.server.reconfigure(serverConfig())
  assert.equal(await act(), 200)
  await bed.server.reconfigure(serverConfig({ console: { token: 'another-token-of-enough-length' } }))
  assert.equal(await act(), 401)
  await bed.server.reconfigure(serverConfig())
  assert.equal(await act(), 401)
})

test('neither the token nor a session is ever in the log or in an answer', async () => {
  await using bed = await openBed()
  const { cookie = '', ...own } = await bed.login()
  const key = own['x-s3-streamer-key'] ?? ''
  const replies = [
    await bed.post('/api/session', { token: `${token}-wrong` }),
    await bed.post('/api/reload', {}, { ...own, cookie }),
    await bed.ask(`/api/status?token=${token}`),
    await bed.ask(`/nothing?token=${token}`),
  ]
  const session = cookie.split('=')[1] as string
  for (const shown of [JSON.stringify(bed.entries), ...replies.map(({ text }) => text)])
    assert.ok(!shown.includes(token) && !shown.includes(session) && !shown.includes(key))
  assert.ok(bed.entries.length > 3)
})

test('an address of the network is never this machine, whatever name it calls us by', () => {
  const access = new Access(new Secret(token), { warn: () => undefined })
  const from = (remoteAddress: string, host = 'localhost:8090') =>
    ({ socket: { remoteAddress, localPort: 8090 }, headers: { host } }) as unknown as IncomingMessage
  for (const remote of ['10.0.0.7', '::ffff:10.0.0.7', 'fe80::1', '', '::'])
    assert.throws(() => access.read(from(remote)), Refusal, remote)
  for (const remote of ['127.0.0.1', '127.0.1.1', '::1', '::ffff:127.0.0.1']) access.read(from(remote))
})

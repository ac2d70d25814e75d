import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type ConsoleBed, openBed, token } from '../../test/fakes/console-bed.ts'
import { startedMs } from '../../test/fakes/operations.ts'
import { StreamError } from '../core/errors.ts'

const auth = { authorization: `Bearer ${token}` }

async function get(bed: ConsoleBed, path: string): Promise<unknown> {
  const { status, text } = await bed.ask(path)
  assert.equal(status, 200, `${path}: ${text}`)
  return JSON.parse(text)
}

async function refused(bed: ConsoleBed, path: string, value?: unknown): Promise<readonly [number, string]> {
  const reply = value === undefined ? await bed.ask(path) : await bed.post(path, value, auth)
  assert.match(String(reply.headers['content-type']), /^application\/problem\+json/)
  const { status, detail } = JSON.parse(reply.text)
  assert.equal(status, reply.status)
  return [status, detail]
}

test('what is looked at is answered as it is', async () => {
  await using bed = await openBed()
  const status = (await get(bed, '/api/status')) as { pipelines: Array<{ name: string }> }
  assert.deepEqual(
    status.pipelines.map(({ name }) => name),
    ['web', 'dns'],
  )
  assert.deepEqual(await get(bed, '/api/series'), { stepMs: 10_000, untilMs: startedMs, pipelines: [] })
  assert.deepEqual(await get(bed, '/api/runs?pipeline=dns&limit=1000'), { runs: [] })
  assert.deepEqual(await get(bed, '/api/objects?state=failed'), { objects: [] })
  const { entries } = (await get(bed, '/api/quarantine?limit=2')) as { entries: Array<{ id: number }> }
  assert.deepEqual(
    entries.map(({ id }) => id),
    [3, 2],
  )
  assert.equal(((await get(bed, '/api/quarantine/web/2')) as { preview: string }).preview, '<b>record</b>')
  const config = await bed.ask('/api/config')
  assert.equal(config.headers['content-type'], 'text/yaml; charset=utf-8')
  assert.match(config.text, /\[redacted\]/)
})

test('what is done is done once, told in the log, and answered with what came of it', async () => {
  await using bed = await openBed()
  const range = { pipeline: 'web', fromMs: 1, toMs: 2, bytesPerSecond: 2000 }
  const planned = { objects: 2, bytes: 100 }
  const done: unknown[] = []
  for (const [path, value] of [
    ['quarantine/requeue', { pipeline: 'web', ids: 'all' }],
    ['quarantine/drop', { pipeline: 'web', ids: [1, 2] }],
    ['replays/plan', { ...range, prefix: 'a/' }],
    ['replays', { ...range, prefix: 'a/', planned }],
    ['replays/cancel', { pipeline: 'web', id: 5 }],
    ['reload', {}],
  ] as const) {
    const reply = await bed.post(`/api/${path}`, value, auth)
    assert.equal(reply.status, 200, `${path}: ${reply.text}`)
    done.push(JSON.parse(reply.text))
  }
  assert.deepEqual(done.slice(0, 5), [{ requeued: 3 }, { dropped: 2 }, planned, { id: 5 }, { cancelled: true }])
  assert.equal((done[5] as { ok: boolean }).ok, false)
  assert.deepEqual(bed.operations.acts, [
    ['requeue', 'web', 'all'],
    ['drop', 'web', [1, 2]],
    ['replay', { ...range, prefix: 'a/', planned }],
    ['cancel', 'web', 5],
    ['reload'],
  ])
  const told = bed.entries.filter(({ level, facts }) => level !== 'debug' && facts.from !== undefined)
  assert.deepEqual(
    told.map(({ level }) => level),
    ['info', 'warn', 'info', 'info', 'info'],
  )
})

test('a reload may be asked for without a body', async () => {
  await using bed = await openBed()
  const { status } = await bed.ask('/api/reload', { method: 'POST', headers: auth })
  assert.equal(status, 200)
})

test('what is not there is 404, and says what', async () => {
  await using bed = await openBed()
  for (const path of ['/api/', '/api/nothing', '/api/quarantine/web', '/api/status/', '/api/constructor'])
    assert.deepEqual((await refused(bed, path))[0], 404, path)
  const [status, detail] = await refused(bed, '/api/runs?pipeline=cdn')
  assert.deepEqual([status, detail], [404, 'cannot look at pipeline "cdn": there is none of that name'])
  assert.equal((await refused(bed, '/api/quarantine/web/4'))[0], 404)
  assert.equal((await refused(bed, '/api/quarantine/cdn/1'))[0], 404)
  assert.equal((await refused(bed, '/api/quarantine/drop', { pipeline: 'cdn', ids: [1] }))[0], 404)
})

test('what is malformed is 400, and says where', async () => {
  await using bed = await openBed()
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'limit=1.5', 'pipeline='])
    assert.equal((await refused(bed, `/api/runs?${query}`))[0], 400, query)
  for (const id of ['x', '0', '-1', '1e3', '99999999999999999999', '%3Cb%3E'])
    assert.equal((await refused(bed, `/api/quarantine/web/${id}`))[0], 400, id)
  for (const body of [
    {},
    { pipeline: 'web' },
    { pipeline: 'web', ids: [] },
    { pipeline: 'web', ids: ['1'] },
    { pipeline: 'web', ids: [1.5] },
    { pipeline: 'web', ids: [-1] },
    { pipeline: 'web', ids: 'all' },
    { pipeline: 'web', ids: [1], force: true },
    [],
    null,
    'text',
  ])
    assert.equal((await refused(bed, '/api/quarantine/drop', body))[0], 400, JSON.stringify(body))
  const backwards = { pipeline: 'web', fromMs: 2, toMs: 2, bytesPerSecond: 1024 }
  assert.match((await refused(bed, '/api/replays/plan', backwards))[1], /toMs: must be after fromMs/)
  assert.deepEqual(bed.operations.acts, [])
})

test('a body that is too large, no JSON, or says that it is something else, is refused', async () => {
  await using bed = await openBed()
  const send = async (body: string, type = 'application/json') =>
    (await bed.ask('/api/reload', { method: 'POST', headers: { ...auth, 'content-type': type }, body })).status
  assert.equal(await send('{"a": "'), 400)
  assert.equal(await send('{}', 'text/plain'), 415)
  assert.equal(await send('{}', 'application/json; charset=utf-8'), 200)
  assert.equal(await send(`{"a": "${'x'.repeat(70_000)}"}`), 413)
  assert.equal(await send('x'.repeat(900_000)), 413)
})

test('what the streamer cannot do now, or not as it is configured, is told in its words', async () => {
  await using bed = await openBed()
  const plan = { pipeline: 'web', fromMs: 1, toMs: 2, bytesPerSecond: 1024 }
  bed.operations.onPlan = async () => {
    throw new StreamError('source.unavailable', 'cannot list s3://logs/: 503')
  }
  assert.deepEqual(await refused(bed, '/api/replays/plan', plan), [503, 'cannot list s3://logs/: 503'])
  bed.operations.onPlan = async () => {
    throw new StreamError('source.access', 'cannot list s3://logs/: 403')
  }
  assert.deepEqual(await refused(bed, '/api/replays/plan', plan), [409, 'cannot list s3://logs/: 403'])
})

test('a plan that nobody waits for any more is given up, and only four are made at once', async () => {
  await using bed = await openBed()
  let begun = 0
  const four = Promise.withResolvers<void>()
  const given = Promise.withResolvers<void>()
  bed.operations.onPlan = ({ signal }) => {
    begun += 1
    if (begun === 4) four.resolve()
    return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
  }
  const body = JSON.stringify({ pipeline: 'web', fromMs: 1, toMs: 2, bytesPerSecond: 1024 })
  const gone = new AbortController()
  const asked = Array.from({ length: 4 }, () =>
    fetch(`${bed.server.address}/api/replays/plan`, {
      method: 'POST',
      headers: { ...auth, 'content-type': 'application/json' },
      body,
      signal: gone.signal,
    }).catch(() => given.resolve()),
  )
  await four.promise
  assert.equal((await refused(bed, '/api/replays/plan', JSON.parse(body)))[0], 429)
  gone.abort()
  await Promise.all([given.promise, ...asked])
  bed.operations.onPlan = async () => ({ objects: 0, bytes: 0, seconds: undefined })
  // The server hears of it a moment later.
  let status = 429
  while (status === 429)
    status = (
      await bed.ask('/api/replays/plan', {
        method: 'POST',
        headers: { ...auth, 'content-type': 'application/json' },
        body,
      })
    ).status
  assert.equal(status, 200)
})

test('whatever is asked is answered with a status of the client, and nothing is done by it', async () => {
  await using bed = await openBed()
  const path = fc.oneof(
    fc.webPath(),
    fc.stringMatching(/^\/api\/[ -~]{0,30}$/),
    fc.constantFrom(
      '/api/session',
      '/api/replays',
      '/api/quarantine/web/1',
      '/api/quarantine/drop',
      '/api/events/',
      '//',
      '/%00',
    ),
  )
  const query = fc.webQueryParameters()
  const body = fc.oneof(
    fc.string(),
    fc.json(),
    fc.jsonValue().map((value) => JSON.stringify({ pipeline: 'web', ids: value })),
  )
  const method = fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS')
  const header = fc.constantFrom(
    {},
    { 'content-type': 'application/json' },
    { cookie: '=;;=' },
    { host: 'x' },
    { authorization: 'Bearer' },
  )
  const encoded = path.map((one) => one.replaceAll(/[^!-~]|[\\^`{}|"<>#]/g, '%20'))
  await fc.assert(
    fc.asyncProperty(encoded, query, body, method, header, async (path, query, body, method, headers) => {
      const { status } = await bed.ask(`${path}?${query}`, {
        method,
        headers,
        body: method === 'GET' || method === 'HEAD' ? '' : body,
      })
      return status >= 200 && status < 500
    }),
    { numRuns: 300 },
  )
  assert.deepEqual(bed.operations.acts, [])
  assert.ok(bed.entries.every(({ level }) => level !== 'error'))
})

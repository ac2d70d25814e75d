import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { openBed, serverConfig } from '../../test/fakes/console-bed.ts'
import { FakeOperations, startedMs } from '../../test/fakes/operations.ts'
import { problem, Refusal, send } from './answer.ts'
import { SnapshotEvents } from './events.ts'

class Bench implements AsyncDisposable {
  readonly operations = new FakeOperations()
  readonly errors: object[] = []
  readonly events
  readonly responses: ServerResponse[] = []
  port = 0
  mayListen = true
  readonly #server

  constructor() {
    const silent = () => undefined
    const log = { debug: silent, info: silent, warn: silent, error: (facts: object) => void this.errors.push(facts) }
    this.events = new SnapshotEvents({ snapshot: () => this.operations.snapshot(), hide: String, log, everyMs: 10 })
    this.#server = createServer((request, response) => {
      this.responses.push(response)
      try {
        this.events.add(response, () => this.mayListen)
      } catch (error) {
        assert.ok(error instanceof Refusal)
        void send(request, response, problem(error.status, error.message, error.headers))
      }
    })
  }

  async open(): Promise<this> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    this.port = (this.#server.address() as AddressInfo).port
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.events[Symbol.dispose]()
    this.#server.close()
    this.#server.closeAllConnections()
  }
}

/** Someone who looks on; `next` gives one snapshot after the other by its time since `startedMs`, undefined at the end. */
async function look(port: number, headers: Record<string, string> = {}) {
  const request = httpRequest({ host: '127.0.0.1', port, path: '/api/events', agent: false, headers })
  request.on('error', () => request.destroy())
  request.end()
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.on('error', () => response.destroy())
  response.setEncoding('utf8')
  const pieces = response[Symbol.asyncIterator]()
  let text = ''
  const next = async (): Promise<number | undefined> => {
    for (;;) {
      const found = /event: snapshot\ndata: (.*)\n\n/.exec(text)
      if (found) {
        text = text.slice(found.index + found[0].length)
        return (JSON.parse(found[1] as string) as { atMs: number }).atMs - startedMs
      }
      const { value, done } = await pieces.next()
      if (done) return undefined
      text += value
    }
  }
  return { response, next, close: () => request.destroy() }
}

async function closedAll(bench: Bench): Promise<void> {
  await Promise.all(bench.responses.map((one) => (one.closed ? undefined : once(one, 'close'))))
}

test('everyone who looks on gets a snapshot at once, and then the same ones', async () => {
  await using bench = await new Bench().open()
  const [a, b] = [await look(bench.port), await look(bench.port)]
  assert.equal(a.response.headers['content-type'], 'text/event-stream; charset=utf-8')
  assert.equal(a.response.headers['cache-control'], 'no-store')
  const seenByA = new Set<number | undefined>()
  for (let i = 0; i < 20; i += 1) seenByA.add(await a.next())
  let shared = 0
  for (let i = 0; i < 20; i += 1) if (seenByA.has(await b.next())) shared += 1
  // Were they made for each, none of them would be the same.
  assert.ok(shared > 5, `${shared} shared`)
  a.close()
  b.close()
})

test('while nobody looks on nothing is made', async () => {
  await using bench = await new Bench().open()
  const one = await look(bench.port)
  assert.equal(await one.next(), 1)
  one.close()
  await closedAll(bench)
  assert.equal(bench.events.listeners, 0)
  const made = bench.operations.snapshots
  const two = await look(bench.port)
  assert.equal(await two.next(), made + 1)
  two.close()
})

test('not more than 32 may look on', async () => {
  await using bench = await new Bench().open()
  const all = await Promise.all(Array.from({ length: 32 }, () => look(bench.port)))
  const more = await look(bench.port)
  assert.deepEqual([more.response.statusCode, more.response.headers['retry-after']], [503, '10'])
  for (const one of all) one.close()
  await closedAll(bench)
  assert.equal((await look(bench.port)).response.statusCode, 200)
})

test('whoever does not read misses snapshots: never more than one waits, and others get theirs', async () => {
  await using bench = await new Bench().open()
  const large = bench.operations.pipelines.slice(0, 1).map((one) => ({ ...one, source: 'x'.repeat(500_000) }))
  bench.operations.pipelines = large
  const deaf = connect(bench.port, '127.0.0.1')
  deaf.on('error', () => deaf.destroy())
  deaf.pause()
  deaf.write('GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n')
  const quick = await look(bench.port)
  const [first] = bench.responses as [ServerResponse]
  // What the system itself takes is some megabytes.
  while (first.writableLength === 0) assert.ok((await quick.next()) !== undefined)
  for (let i = 0; i < 10; i += 1) {
    assert.ok((await quick.next()) !== undefined)
    assert.ok(first.writableLength < 600_000)
  }
  quick.close()
  // After a minute of that it is cut off.
  await once(first, 'close')
  deaf.destroy()
})

test('who may not look on any more is cut off at the next snapshot', async () => {
  await using bed = await openBed()
  const { cookie = '' } = await bed.login()
  const remote = await look(bed.port, { cookie, host: 'streamer.example' })
  assert.ok(await remote.next())
  await bed.server.reconfigure(serverConfig({ console: { token: 'another-token-of-enough-length' } }))
  while ((await remote.next()) !== undefined);
  assert.equal(remote.response.complete, true)
})

test('a snapshot that cannot be made is told in the log; the connection stays and the next one comes', async () => {
  await using bench = await new Bench().open()
  bench.operations.onSnapshot = () => {
    if (bench.operations.snapshots === 1) throw new Error('not now')
  }
  const one = await look(bench.port)
  assert.equal(await one.next(), 2)
  assert.deepEqual(bench.errors, [{ error: 'not now' }])
  one.close()
})

test('the end of the server is the end of the events', async () => {
  const bed = await openBed()
  const one = await look(bed.port)
  assert.equal(await one.next(), 1)
  await bed[Symbol.asyncDispose]()
  while ((await one.next()) !== undefined);
  assert.equal(one.response.complete, true)
})

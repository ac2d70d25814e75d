import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type * as z from 'zod'
import { batchOf, batchOfParts, sinkConformance, testContext, untilAccepted } from '../../test/conformance/sink.ts'
import { type HttpInput, type InputOptions, startHttpInput } from '../../test/servers/http-input.ts'
import { blockOf } from '../core/block.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { httpConfig, httpSink } from './http.ts'

type Settings = Omit<z.input<typeof httpConfig>, 'type'>
const live = { signal: new AbortController().signal }

function sinkOf(settings: Settings, lines: string[] = []) {
  return httpSink.create(httpConfig.parse({ type: 'http', ...settings }), testContext(lines))
}

/** Runs the body with started inputs and closes everything after. */
async function withInputs(options: InputOptions[], body: (...inputs: HttpInput[]) => Promise<void>): Promise<void> {
  const inputs = await Promise.all(options.map(startHttpInput))
  try {
    await body(...inputs)
  } finally {
    await Promise.all(inputs.map((input) => input.close()))
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof StreamError ? error : Promise.reject(error)),
  )

sinkConformance('http', async () => {
  const lines: string[] = []
  let isFailing = false
  let isRefusing = false
  const o: InputOptions = {
    take: (body) =>
      void lines.push(
        ...body
          .toString()
          .split('\n')
          .filter((line) => line !== ''),
      ),
    fault: () => (isFailing ? { status: 503 } : isRefusing ? { status: 400, body: 'no such field' } : undefined),
  }
  let input = await startHttpInput(o)
  return {
    sink: sinkOf({ endpoints: [input.url] }),
    stored: () => lines,
    failing: (on) => {
      isFailing = on
    },
    refusing: (on) => {
      isRefusing = on
    },
    restart: async () => {
      const { port } = input
      await input.close()
      input = await startHttpInput({ ...o, port })
    },
    close: () => input.close(),
  }
})

test('A16.18: the content type of the batch is on the wire, unless the config has one; headers and token too', async () => {
  await withInputs([{}], async (input) => {
    const headers = { 'x-tenant': 'acme' }
    await using plain = sinkOf({
      endpoints: [`${input.url}in?tag=a`],
      headers,
      auth: { type: 'bearer', token: 'secret' },
    })
    await plain.write(batchOfParts(batchOf(blockOf(['a'])).parts, 'text/plain'), live)
    await using fixed = sinkOf({
      endpoints: [input.url],
      content_type: 'application/json',
      auth: { type: 'basic', username: 'u', password: 'p' },
    })
    await fixed.write(batchOf(blockOf(['a'])), live)
    const [first, second] = input.accepted
    assert.equal(first?.headers['content-type'], 'text/plain')
    assert.equal(first?.headers['x-tenant'], 'acme')
    assert.equal(first?.headers.authorization, 'Bearer secret')
    assert.equal(first?.url, '/in?tag=a')
    assert.equal(second?.headers['content-type'], 'application/json')
    assert.equal(second?.headers.authorization, `Basic ${Buffer.from('u:p').toString('base64')}`)
  })
})

test('A16.10: one dead endpoint of two costs no record, and is not asked each time', async () => {
  await withInputs([{}, {}], async (alive, dead) => {
    await dead.close()
    const lines: string[] = []
    await using sink = sinkOf({ endpoints: [dead.url, alive.url] }, lines)
    for (let i = 0; i < 300; i += 1) await sink.write(batchOf(blockOf([`r${i}`])), live)
    assert.equal(alive.lines.length, 300)
    const told = lines.filter((line) => line.includes('endpoint fails'))
    assert.equal(told.length, 1)
  })
})

test('an endpoint that accepts and never answers is given up after its time-out, and the others take over', async () => {
  await withInputs([{ fault: () => 'hang' }, {}], async (hanging, alive) => {
    await using sink = sinkOf({ endpoints: [hanging.url, alive.url], timeout: '100ms' })
    await Promise.all(Array.from({ length: 20 }, (_, i) => sink.write(batchOf(blockOf([`r${i}`])), live)))
    for (let i = 0; i < 50; i += 1) await sink.write(batchOf(blockOf([`s${i}`])), live)
    assert.equal(alive.lines.length, 70)
    assert.ok(hanging.requests <= 15, `${hanging.requests} requests to the hanging endpoint`)
  })
})

test('when all endpoints were dead and one comes back, batches go on', async () => {
  const [a, b] = await Promise.all([startHttpInput(), startHttpInput()])
  await a.close()
  await b.close()
  await using sink = sinkOf({ endpoints: [a.url, b.url] })
  for (let i = 0; i < 8; i += 1)
    assert.equal((await codeOf(sink.write(batchOf(blockOf(['x'])), live)))?.code, 'sink.unavailable')
  const back = await startHttpInput({ port: b.port })
  await untilAccepted(sink, batchOf(blockOf(['x'])))
  assert.deepEqual(back.lines, ['x'])
  await back.close()
})

test('Retry-After, in seconds or as a date, holds up the batch, and the endpoint when it says so twice', async () => {
  for (const header of ['7', new Date(Date.now() + 8000).toUTCString()]) {
    await withInputs([{ fault: () => ({ status: 429, headers: { 'retry-after': header } }) }], async (input) => {
      await using sink = sinkOf({ endpoints: [input.url] })
      const error = await codeOf(sink.write(batchOf(blockOf(['a'])), live))
      assert.equal(error?.code, 'sink.throttled')
      assert.ok((error?.retryAfterMs ?? 0) > 5000 && (error?.retryAfterMs ?? 0) <= 8000)
      for (let i = 0; i < 3; i += 1) await codeOf(sink.write(batchOf(blockOf(['a'])), live))
      assert.equal(input.requests, 2)
    })
  }
})

test('413 asks for a split; 400 and 415 refuse for good; A16.22: kinds come from the status, never from words', async () => {
  const cases = [
    [413, 'sink.too_large'],
    [400, 'sink.rejected'],
    [415, 'sink.rejected'],
    [422, 'sink.rejected'],
    [429, 'sink.throttled'],
    [408, 'sink.unavailable'],
    [500, 'sink.unavailable'],
    [401, 'sink.access'],
    [404, 'sink.access'],
    [302, 'sink.access'],
  ] as const
  for (const [status, code] of cases) {
    await withInputs([{ fault: () => ({ status, body: 'timeout: HTTP 5, connection refused' }) }], async (input) => {
      await using sink = sinkOf({ endpoints: [input.url] })
      assert.equal((await codeOf(sink.write(batchOf(blockOf(['a'])), live)))?.code, code, String(status))
    })
  }
})

test('401 pauses the endpoint and raises one alert, while the other endpoint goes on', async () => {
  await withInputs([{ fault: () => ({ status: 401, body: 'who are you' }) }, {}], async (closed, alive) => {
    const lines: string[] = []
    await using sink = sinkOf({ endpoints: [closed.url, alive.url] }, lines)
    for (let i = 0; i < 20; i += 1) await sink.write(batchOf(blockOf([`r${i}`])), live)
    assert.equal(alive.lines.length, 20)
    assert.equal(closed.requests, 1)
    const alerts = lines.filter((line) => line.startsWith('error'))
    assert.equal(alerts.length, 1)
    assert.match(alerts[0] as string, /refuses us.*401: who are you/)
  })
})

test('a kept connection that the server closed meanwhile is not a failure', async () => {
  await withInputs([{}], async (input) => {
    await using sink = sinkOf({ endpoints: [input.url], max_in_flight: 1 })
    for (let i = 0; i < 5; i += 1) {
      await sink.write(batchOf(blockOf([`r${i}`])), live)
      input.breakConnections()
      await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal(input.lines.length, 5)
  })
})

test('a long answer is not read to its end, and its words are cleaned', async () => {
  const body = `bad\n\u0007thing ${'x'.repeat(5_000_000)}`
  await withInputs([{ fault: () => ({ status: 400, body }) }], async (input) => {
    await using sink = sinkOf({ endpoints: [input.url] })
    const error = await codeOf(sink.write(batchOf(blockOf(['a'])), live))
    assert.match(error?.message ?? '', /answered 400: bad thing xxx/)
    assert.ok((error?.message.length ?? 0) < 1200)
  })
})

test('single sends one request a record; after a failure only the rest is sent again; refused ones are named', async () => {
  const fault: InputOptions['fault'] = (n) => (n === 2 ? { status: 503 } : n === 4 ? { status: 400 } : undefined)
  await withInputs([{ fault }], async (input) => {
    await using sink = sinkOf({ endpoints: [input.url], body_mode: 'single' })
    const batch = batchOf(blockOf(['a', 'b', 'c', 'd', 'e']))
    assert.equal((await codeOf(sink.write(batch, live)))?.code, 'sink.unavailable')
    const refused = await sink.write(batch, live)
    assert.deepEqual([...(refused?.keys() ?? [])], [3])
    assert.deepEqual(
      input.accepted.map(({ body }) => body.toString()),
      ['a', 'b', 'c', 'e'],
    )
  })
})

test('array sends one JSON array: JSON as it is, other records as strings', async () => {
  await withInputs([{}], async (input) => {
    await using sink = sinkOf({ endpoints: [input.url], body_mode: 'array' })
    await sink.write(batchOf(blockOf(['{"a":1.0}', 'plain "text"']), blockOf(['3'])), live)
    const [request] = input.accepted
    assert.equal(request?.body.toString(), '[{"a":1.0},"plain \\"text\\"",3]')
    assert.equal(request?.headers['content-type'], 'application/json')
  })
})

test('records of several lines become one JSON line; gzip bodies are announced', async () => {
  await withInputs([{}], async (input) => {
    await using sink = sinkOf({ endpoints: [input.url], compression: 'gzip' })
    await sink.write(batchOf(blockOf(['a\nb "c"', 'plain'], 0, true), blockOf(['d'])), live)
    assert.deepEqual(input.lines, ['{"message":"a\\nb \\"c\\""}', 'plain', 'd'])
    assert.equal(input.accepted[0]?.headers['content-encoding'], 'gzip')
  })
})

test('check says which endpoint does not answer, and a missing certificate file is a config error', async () => {
  await withInputs([{}, {}], async (alive, dead) => {
    await dead.close()
    await using sink = sinkOf({ endpoints: [alive.url, dead.url] })
    assert.match((await codeOf(sink.check(live)))?.message ?? '', new RegExp(`cannot reach ${dead.url}`))
    assert.throws(
      () => sinkOf({ endpoints: [alive.url], tls: { ca_file: '/nowhere/ca.pem' } }),
      /cannot read tls.ca_file \/nowhere\/ca.pem/,
    )
  })
})

test('TLS: the authority, the client certificate and the refusal of an unknown server', async () => {
  const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
  const pem = (name: string) => readFileSync(path(name))
  const tls = { ca: pem('ca.pem'), cert: pem('server.pem'), key: pem('server.key.pem'), requestCert: true }
  await withInputs(
    [{ tls: { ...tls, rejectUnauthorized: true } }, { tls: { ...tls, requestCert: false } }],
    async (strict, plain) => {
      const client = { ca_file: path('ca.pem'), cert_file: path('client.pem'), key_file: path('client.key.pem') }
      await using known = sinkOf({ endpoints: [strict.url], tls: client })
      await known.write(batchOf(blockOf(['a'])), live)
      assert.deepEqual(strict.lines, ['a'])
      await using nameless = sinkOf({ endpoints: [strict.url], tls: { ca_file: client.ca_file } })
      assert.equal((await codeOf(nameless.write(batchOf(blockOf(['b'])), live)))?.code, 'sink.unavailable')
      await using distrustful = sinkOf({ endpoints: [plain.url] })
      const error = await codeOf(distrustful.write(batchOf(blockOf(['c'])), live))
      assert.match(explainError(error), /certificate/)
      await using careless = sinkOf({ endpoints: [plain.url], tls: { insecure_skip_verify: true } })
      await careless.write(batchOf(blockOf(['d'])), live)
      assert.deepEqual(plain.lines, ['d'])
      assert.throws(
        () =>
          sinkOf({
            endpoints: [plain.url],
            tls: { ca_file: path('README.md'), cert_file: path('client.pem'), key_file: path('server.key.pem') },
          }),
        /no usable certificate and key/,
      )
    },
  )
})

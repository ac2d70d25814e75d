import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type * as z from 'zod'
import { batchOf, batchOfParts, sinkConformance, testContext, untilAccepted } from '../../test/conformance/sink.ts'
import { type GelfOptions, type GelfReceiver, startGelf } from '../../test/servers/gelf.ts'
import { blockOf } from '../core/block.ts'
import type { Context, Sink } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { gelfConfig, gelfSink } from './gelf.ts'

type Settings = Omit<z.input<typeof gelfConfig>, 'type'>
const live = { signal: new AbortController().signal }
const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
const serverTls = { cert: readFileSync(path('server.pem')), key: readFileSync(path('server.key.pem')) }

function sinkOf(settings: Settings, context: Context = testContext()): Sink {
  return gelfSink.create(gelfConfig.parse({ type: 'gelf', ...settings }), context)
}

async function failureOf(promise: Promise<unknown>): Promise<StreamError> {
  const error = await promise.then(
    () => assert.fail('it was accepted'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof StreamError, String(error))
  return error
}

function countsOf({ meter }: Context): Record<string, number> {
  assert.ok(meter instanceof MemoryMeter)
  return Object.fromEntries(meter.snapshot().map(({ name, value }) => [name, value]))
}

for (const kind of ['udp', 'tcp', 'tls', 'http'] as const) {
  sinkConformance(
    `gelf over ${kind}`,
    async () => {
      const earlier: string[] = []
      let status: number | undefined
      const o: GelfOptions = {
        kind,
        tls: serverTls,
        httpFault: () => (status === undefined ? undefined : { status, body: 'no such field' }),
      }
      let there = await startGelf(o)
      let down: Promise<unknown> = Promise.resolve()
      const stop = () => {
        earlier.push(...there.records.splice(0))
        assert.deepEqual(there.violations, [])
        down = there.close()
        return down
      }
      const start = async () => {
        await down
        there = await startGelf({ ...o, port: there.port })
      }
      // One request at a time: what is written in parallel has no order.
      const sink = sinkOf({ endpoints: [there.url], tls: { ca_file: path('ca.pem') }, max_in_flight: 1 })
      let expected = 0
      return {
        // The kernel has the bytes; the receiver reads them a moment later.
        sink: {
          ...memberOf(sink),
          write: async (batch, signal) => {
            const refused = await sink.write(batch, signal)
            expected += batch.count - (refused?.size ?? 0)
            await there.until(expected - earlier.length)
            return refused
          },
        },
        stored: () => [...earlier, ...there.records],
        failing: (on) => {
          if (kind === 'http') status = on ? 503 : undefined
          else down = on ? stop() : start()
        },
        refusing: (on) => {
          status = on ? 400 : undefined
        },
        restart: async () => {
          await stop()
          await start()
        },
        close: async () => {
          await down
          assert.deepEqual(there.violations, [])
          await there.close()
        },
      }
    },
    kind === 'http' ? 'answers' : 'mute',
    kind === 'udp' ? 'unseen' : 'seen',
  )
}

function memberOf(sink: Sink): Omit<Sink, 'write'> {
  return {
    maxInFlight: sink.maxInFlight,
    limits: sink.limits,
    retry: sink.retry,
    dependencies: sink.dependencies,
    check: (o) => sink.check(o),
    examine: (o) => sink.examine(o),
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  }
}

test('a message says who it is from, where its record came from and when', async () => {
  await using there = await startGelf({ kind: 'tcp' })
  await using named = sinkOf({ endpoints: [there.url], host: 'edge-7', level: 'warning' })
  await using plain = sinkOf({ endpoints: [there.url] })
  const block = blockOf(['a', 'b', 'c'], 40)
  const object = { id: 'b/k "1".gz@e', bucket: 'b', key: 'k "1".gz', timeMs: 1_700_000_000_123 }
  await named.write(batchOfParts([{ block, from: 1, to: 3, object }]), live)
  await plain.write(batchOfParts([{ block, from: 0, to: 1, object }]), live)
  await there.until(3)
  const expected = {
    version: '1.1',
    host: 'edge-7',
    _bucket: 'b',
    _key: 'k "1".gz',
    _record_id: 'b/k "1".gz@e#41',
    _record: 41,
    timestamp: 1_700_000_000.123,
    level: 4,
    short_message: 'b',
  }
  const find = (text: string) => there.messages.find(({ short_message }) => short_message === text)
  assert.deepEqual(find('b'), expected)
  assert.deepEqual(find('c'), { ...expected, _record_id: 'b/k "1".gz@e#42', _record: 42, short_message: 'c' })
  assert.deepEqual([find('a')?.host, find('a')?.level], [hostname(), 6])
  assert.deepEqual(there.violations, [])
})

test('UDP: large messages go compressed, in chunks that fit; the receiver puts them together', async () => {
  for (const compression of ['none', 'gzip', 'zlib'] as const) {
    await using there = await startGelf({ kind: 'udp' })
    await using sink = sinkOf({ endpoints: [there.url], compression, chunk_size: 1420 })
    const noise = randomBytes(30_000).toString('base64')
    const records = ['small', noise, 'x'.repeat(150_000), 'after']
    await sink.write(batchOf(blockOf(records)), live)
    await there.until(4)
    assert.deepEqual(there.records, records)
    assert.deepEqual(there.violations, [])
    const expected = { none: [130, 170], gzip: [20, 40], zlib: [20, 40] }[compression]
    assert.ok(there.datagrams > (expected[0] ?? 0) && there.datagrams < (expected[1] ?? 0), String(there.datagrams))
  }
})

test('UDP: what does not fit into 128 chunks is cut until it does, and counted; the others are whole', async () => {
  await using there = await startGelf({ kind: 'udp' })
  const context = testContext()
  await using sink = sinkOf({ endpoints: [there.url], chunk_size: 512 }, context)
  const noise = randomBytes(300_000).toString('base64')
  const lines = `first line\n${noise}`
  const batch = batchOf(blockOf(['before', noise, lines, 'after'], 0, true))
  assert.equal(await sink.write(batch, live), undefined)
  await there.until(4)
  const [before, cut, multi, after] = there.messages
  assert.deepEqual([before?.short_message, after?.short_message], ['before', 'after'])
  const text = String(cut?.short_message)
  assert.ok(noise.startsWith(text) && text.length > 60_000 && text.length < noise.length)
  assert.equal(multi?.short_message, 'first line')
  const full = String(multi?.full_message)
  assert.ok(lines.startsWith(full) && full.length > 60_000)
  assert.deepEqual(there.violations, [])
  const counts = countsOf(context)
  assert.equal(counts.gelf_truncated_total, 2)
  assert.equal(counts.gelf_messages_sent_total, 4)
})

test('a record whose fields alone are too large is refused by itself', async () => {
  await using there = await startGelf({ kind: 'udp' })
  await using sink = sinkOf({ endpoints: [there.url], chunk_size: 100 })
  const fields = Array.from({ length: 20 }, () => [randomBytes(4).toString('hex'), randomBytes(2000).toString('hex')])
  const large = JSON.stringify({ message: 'm', ...Object.fromEntries(fields) })
  const refused = await sink.write(batchOf(blockOf(['a', large, 'b'])), live)
  assert.deepEqual(
    [...(refused ?? [])].map(([n, error]) => [n, error.code]),
    [[1, 'sink.rejected']],
  )
  await there.until(2)
  assert.deepEqual(there.records, ['a', 'b'])
})

test('UDP: a port where nobody listens is a failure that names it, and the next endpoint takes over', async () => {
  await using there = await startGelf({ kind: 'udp' })
  await using dead = await startGelf({ kind: 'udp' })
  await dead.close()
  const context = testContext()
  await using alone = sinkOf({ endpoints: [dead.url] }, context)
  const error = await failureOf(alone.write(batchOf(blockOf(['a'])), live))
  assert.equal(error.code, 'sink.unavailable')
  assert.match(
    error.message,
    new RegExp(`cannot send to gelf receiver ${dead.url}: .*ECONNREFUSED \\(is the receiver running`),
  )
  assert.equal(countsOf(context).gelf_errors_total, 1)
  await using both = sinkOf({ endpoints: [dead.url, there.url] })
  await untilAccepted(both, batchOf(blockOf(['b'])))
  await there.until(1)
})

test('UDP: a receiver that went away fails every batch until it is back, and is warned of once', async () => {
  await using there = await startGelf({ kind: 'udp' })
  const lines: string[] = []
  await using sink = sinkOf({ endpoints: [there.url] }, testContext(lines))
  await sink.write(batchOf(blockOf(['a'])), live)
  await there.until(1)
  await there.close()
  assert.equal((await failureOf(sink.write(batchOf(blockOf(['b'])), live))).code, 'sink.unavailable')
  assert.equal((await failureOf(sink.write(batchOf(blockOf(['c'])), live))).code, 'sink.unavailable')
  await using back = await startGelf({ kind: 'udp', port: there.port })
  await untilAccepted(sink, batchOf(blockOf(['d'])))
  assert.deepEqual(back.records.at(-1), 'd')
  assert.equal(lines.filter((line) => line.startsWith('warn')).length, 1)
  assert.equal(lines.filter((line) => line.includes('works again')).length, 1)
})

test('UDP: hundreds of messages of one batch all arrive', async () => {
  await using there = await startGelf({ kind: 'udp' })
  await using sink = sinkOf({ endpoints: [there.url] })
  // What the receive buffer of a socket holds even if nobody reads.
  const records = Array.from({ length: 250 }, (_, i) => `record ${i} ${'x'.repeat(i)}`)
  await sink.write(batchOf(blockOf(records)), live)
  await there.until(250)
  assert.deepEqual(there.records, records)
})

test('TCP: a batch that meets a reset, a half-close or a stall is sent again as a whole, and nothing is missing', async () => {
  for (const fault of ['reset', 'half_close', 'stall'] as const) {
    await using there = await startGelf({ kind: 'tcp', streamFault: (n) => (n === 0 ? fault : undefined) })
    const context = testContext()
    await using sink = sinkOf({ endpoints: [there.url], timeout: '1500ms' }, context)
    // More than the socket buffers of both sides hold, so that the fault comes while it is being written.
    const records = Array.from({ length: 500 }, (_, i) => `${i} ${'x'.repeat(32_000)}`)
    await untilAccepted(sink, batchOf(blockOf(records)))
    await there.until(500)
    assert.deepEqual(there.records, records, fault)
    assert.equal(there.connections, 2)
    assert.equal(countsOf(context).gelf_errors_total, 1)
    assert.deepEqual(there.violations, [])
  }
})

test('TCP: a receiver that was restarted while nothing was sent costs nothing', async () => {
  const first = await startGelf({ kind: 'tcp' })
  await using sink = sinkOf({ endpoints: [first.url] })
  await sink.write(batchOf(blockOf(['a'])), live)
  await first.until(1)
  await first.close()
  await using second = await startGelf({ kind: 'tcp', port: first.port })
  await sink.write(batchOf(blockOf(['b'])), live)
  await second.until(1)
})

test('TCP: NUL and control characters stand inside messages without breaking them', async () => {
  await using there = await startGelf({ kind: 'tcp' })
  await using sink = sinkOf({ endpoints: [there.url] })
  const records = ['a\0b', '\u0001\u001f\u007f\t"\\', 'ü€😀\u2028', '{"message":"a\\u0000b"}']
  await sink.write(batchOf(blockOf(records)), live)
  await there.until(4)
  assert.deepEqual(there.records, [...records.slice(0, 3), 'a\0b'])
  assert.deepEqual(there.violations, [])
})

test('TLS: a server with an unknown certificate is not written to, and the message says what to set', async () => {
  await using there = await startGelf({ kind: 'tls', tls: serverTls })
  await using sink = sinkOf({ endpoints: [there.url] })
  const error = await failureOf(sink.check(live))
  assert.match(error.message, new RegExp(`${there.url}: .*set tls.ca_file`))
  assert.equal((await failureOf(sink.write(batchOf(blockOf(['a'])), live))).kind, 'transient')
  assert.deepEqual(there.messages, [])
})

test('HTTP: one request a message over few connections, gzip, headers and authentication', async () => {
  await using there = await startGelf({ kind: 'http' })
  await using sink = sinkOf({
    endpoints: [there.url],
    compression: 'gzip',
    auth: { type: 'basic', username: 'u', password: 'p' },
    headers: { 'x-tenant': 'acme' },
    max_in_flight: 4,
  })
  const records = Array.from({ length: 50 }, (_, i) => `r${i}`)
  await sink.write(batchOf(blockOf(records)), live)
  assert.deepEqual(there.records.toSorted(), records.toSorted())
  assert.equal(there.requests, 50)
  assert.equal(there.headers['content-encoding'], 'gzip')
  assert.equal(there.headers['x-tenant'], 'acme')
  assert.equal(there.headers.authorization, `Basic ${Buffer.from('u:p').toString('base64')}`)
  assert.ok(there.connections <= 4)
  assert.deepEqual(there.violations, [])
})

test('HTTP: after a failure only the rest is sent again, and what is refused for good is named', async () => {
  let isDown = false
  const httpFault: GelfOptions['httpFault'] = (n, body) => {
    if (n === 10) isDown = true
    if (body.includes('"bad"')) return { status: 400, body: 'no such field' }
    return isDown ? { status: 503 } : undefined
  }
  await using there = await startGelf({ kind: 'http', httpFault })
  await using sink = sinkOf({ endpoints: [there.url], max_in_flight: 1 })
  const records = Array.from({ length: 30 }, (_, i) => (i === 4 || i === 20 ? 'bad' : `r${i}`))
  const batch = batchOf(blockOf(records))
  assert.equal((await failureOf(sink.write(batch, live))).code, 'sink.unavailable')
  isDown = false
  const refused = await sink.write(batch, live)
  assert.deepEqual([...(refused?.keys() ?? [])], [4, 20])
  assert.match(refused?.get(4)?.message ?? '', /400: no such field/)
  assert.deepEqual(
    there.records,
    records.filter((record) => record !== 'bad'),
  )
})

test('HTTP: a message that is too large for the input is refused by itself', async () => {
  const httpFault: GelfOptions['httpFault'] = (_n, body) => (body.length > 65_536 ? { status: 413 } : undefined)
  await using there = await startGelf({ kind: 'http', httpFault })
  await using sink = sinkOf({ endpoints: [there.url] })
  const refused = await sink.write(batchOf(blockOf(['a', 'x'.repeat(70_000), 'b'])), live)
  assert.deepEqual(
    [...(refused ?? [])].map(([n, error]) => [n, error.code]),
    [[1, 'sink.too_large']],
  )
  assert.deepEqual(there.records.toSorted(), ['a', 'b'])
})

test('HTTP: bulk sends a batch as lines of one request; 413 asks for a split', async () => {
  const httpFault: GelfOptions['httpFault'] = (n) => (n === 1 ? { status: 413 } : undefined)
  await using there = await startGelf({ kind: 'http', bulk: true, httpFault })
  await using sink = sinkOf({ endpoints: [there.url], bulk: true })
  const records = ['a', 'b\nc', '{"x":1}']
  const batch = batchOf(blockOf(records, 0, true))
  await sink.write(batch, live)
  assert.deepEqual(there.records, records)
  assert.equal(there.requests, 1)
  assert.equal((await failureOf(sink.write(batch, live))).code, 'sink.too_large')
})

test('HTTP: a wrong path is told of', async () => {
  await using there = await startGelf({ kind: 'http' })
  await using sink = sinkOf({ endpoints: [there.url.replace('/gelf', '/')] })
  assert.equal((await failureOf(sink.write(batchOf(blockOf(['a'])), live))).code, 'sink.access')
})

test('check: proves that each endpoint can be reached, names the one that cannot, and sends nothing', async () => {
  for (const kind of ['udp', 'tcp', 'tls', 'http'] as const) {
    await using there: GelfReceiver = await startGelf({ kind, tls: serverTls })
    const tls = { ca_file: path('ca.pem') }
    await using sink = sinkOf({ endpoints: [there.url], tls })
    await sink.check(live)
    assert.deepEqual([there.messages.length, there.datagrams], [0, 0])
    await using nowhere = sinkOf({ endpoints: [there.url.replace('127.0.0.1', 'no-such-host.invalid')], tls })
    const error = await failureOf(nowhere.check(live))
    assert.equal(error.code, 'sink.unavailable')
    assert.match(error.message, /no-such-host\.invalid/)
  }
})

test('bytes and messages are counted as they were sent', async () => {
  await using there = await startGelf({ kind: 'http' })
  const context = testContext()
  await using sink = sinkOf({ endpoints: [there.url] }, context)
  await sink.write(batchOf(blockOf(['a', 'b'])), live)
  const counts = countsOf(context)
  assert.equal(counts.gelf_messages_sent_total, 2)
  assert.equal(counts.gelf_bytes_sent_total, there.texts.join('').length)
  assert.equal(counts.gelf_truncated_total, 0)
  assert.equal(counts.http_lines_sent_total, 2)
})

test('mistakes in the configuration are found, each with what to write', () => {
  const problems = (settings: Settings) => {
    const result = gelfConfig.safeParse({ type: 'gelf', ...settings })
    return (result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n')
  }
  assert.equal(problems({ endpoints: ['udp://h', 'udp://[::1]:9'] }), '')
  assert.match(problems({ endpoints: ['h:12201'] }), /endpoints.0: must be a udp:\/\//)
  assert.match(problems({ endpoints: ['ftp://h'] }), /endpoints.0: must be a udp:\/\//)
  assert.match(problems({ endpoints: ['udp://h', 'tcp://h'] }), /endpoints: all endpoints .* same kind/)
  assert.match(problems({ endpoints: ['tcp://h/gelf'] }), /endpoints: must be just host and port/)
  assert.match(problems({ endpoints: ['tcp://u:p@h'] }), /endpoints: must be just host and port/)
  assert.match(problems({ endpoints: ['tcp://h'], compression: 'gzip' }), /compression: GELF over TCP cannot/)
  assert.match(problems({ endpoints: ['http://h/gelf'], compression: 'zlib' }), /compression: use gzip/)
  assert.match(problems({ endpoints: ['udp://h'], bulk: true }), /bulk: is for http/)
  assert.match(problems({ endpoints: ['udp://h'], headers: { a: 'b' } }), /headers: is for http/)
  assert.match(problems({ endpoints: ['udp://h'], auth: { type: 'bearer', token: 't' } }), /auth: is for http/)
  assert.match(problems({ endpoints: ['udp://h'], chunk_size: '64KiB' }), /chunk_size: .*out of range/)
  assert.match(problems({ endpoints: ['udp://h'], host: ' ' }), /host: must not be blank/)
  assert.match(problems({ endpoints: ['udp://h'], level: 8 }), /level: /)
  for (const { config } of gelfSink.examples) assert.ok(gelfConfig.safeParse(config).success)
})

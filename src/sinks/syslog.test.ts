import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type * as z from 'zod'
import { batchOf, sinkConformance, testContext, untilAccepted } from '../../test/conformance/sink.ts'
import { type ReceiverOptions, type SyslogReceiver, startSyslogReceiver } from '../../test/servers/syslog.ts'
import { blockOf } from '../core/block.ts'
import type { Context, Sink } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { syslogSink } from './syslog.ts'
import { syslogConfig } from './syslog-config.ts'

type Settings = Omit<z.input<typeof syslogConfig>, 'type'>
const live = { signal: new AbortController().signal }
const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
const serverTls = {
  ca: readFileSync(path('ca.pem')),
  cert: readFileSync(path('server.pem')),
  key: readFileSync(path('server.key.pem')),
}

function sinkOf(settings: Settings, context: Context = testContext()): Sink {
  return syslogSink.create(syslogConfig.parse({ type: 'syslog', ...settings }), context)
}

async function withReceivers(
  options: ReceiverOptions[],
  body: (...receivers: SyslogReceiver[]) => Promise<void>,
): Promise<void> {
  const receivers = await Promise.all(options.map(startSyslogReceiver))
  try {
    await body(...receivers)
  } finally {
    await Promise.all(receivers.map((receiver) => receiver.close()))
  }
}

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => assert.fail('resolved'),
    (error: unknown) => (error instanceof StreamError ? error : Promise.reject(error)),
  )

const metricsOf = (meter: MemoryMeter) =>
  Object.fromEntries(meter.snapshot().map(({ name, value }) => [name.replace(/^syslog_|_total$/g, ''), value]))

/** Syslog does not answer, so each write waits until the receiver has what was handed over. */
function awaited(sink: Sink, reached: (total: number) => Promise<void>): Sink {
  let total = 0
  const { maxInFlight, limits, retry, dependencies } = sink
  return {
    ...{ maxInFlight, limits, retry, dependencies },
    check: (o) => sink.check(o),
    examine: (o) => sink.examine(o),
    write: async (batch, o) => {
      const refused = await sink.write(batch, o)
      total += batch.count
      await reached(total)
      return refused
    },
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  }
}

const variants: Array<[string, ReceiverOptions, Omit<Settings, 'endpoints'>]> = [
  ['syslog on UDP', { transport: 'udp' }, {}],
  ['syslog on UDP, RFC 3164', { transport: 'udp', format: 'rfc3164' }, { format: 'rfc3164' }],
  ['syslog on TCP', { transport: 'tcp' }, {}],
  ['syslog on TCP, lines', { transport: 'tcp', framing: 'lf' }, { framing: 'lf' }],
  ['syslog on TLS', { transport: 'tls', tls: serverTls }, { tls: { ca_file: path('ca.pem') } }],
]
for (const [name, options, settings] of variants) {
  sinkConformance(
    name,
    async () => {
      let receiver = await startSyslogReceiver(options)
      const earlier: string[] = []
      const start = async () => {
        const { port } = receiver
        await receiver.close()
        earlier.push(...receiver.contents)
        receiver = await startSyslogReceiver({ ...options, port })
      }
      let starting = Promise.resolve()
      const sink = sinkOf({ endpoints: [receiver.url], ...settings })
      return {
        sink: awaited(sink, (total) => receiver.received(total - earlier.length)),
        stored: () => {
          assert.deepEqual(receiver.violations, [])
          return [...earlier, ...receiver.contents]
        },
        failing: (on) => {
          if (options.transport !== 'udp') receiver.fault = on ? 'reset' : undefined
          else if (on) void receiver.close()
          else starting = start()
        },
        restart: start,
        close: async () => {
          await starting
          await receiver.close()
        },
      }
    },
    'mute',
    options.transport === 'udp' ? 'unseen' : 'seen',
  )
}

test('a big batch arrives whole and in order on every stream', async () => {
  const records = Array.from({ length: 5000 }, (_, i) => `${i} ${'x'.repeat(i % 700)}`)
  for (const [, options, settings] of variants.slice(2)) {
    await withReceivers([options], async (receiver) => {
      await using sink = sinkOf({ endpoints: [receiver.url], ...settings })
      await sink.write(batchOf(blockOf(records)), live)
      await receiver.received(records.length)
      assert.deepEqual(receiver.contents, records)
      assert.equal(receiver.connections, 1)
    })
  }
})

test('messages, bytes, cuts and failures are counted, and cuts are told of once', async () => {
  await withReceivers([{ transport: 'tcp' }], async (receiver) => {
    const meter = new MemoryMeter()
    const lines: string[] = []
    await using sink = sinkOf({ endpoints: [receiver.url], max_message_bytes: 480 }, { ...testContext(lines), meter })
    const batch = batchOf(blockOf(['short', 'x'.repeat(1000)]))
    await sink.write(batch, live)
    await sink.write(batch, live)
    await receiver.received(4)
    const bytes = receiver.messages.reduce(
      (sum, one) => sum + one.bytes.length + String(one.bytes.length).length + 1,
      0,
    )
    assert.deepEqual(metricsOf(meter), { messages_sent: 4, bytes_sent: bytes, truncated: 2, errors: 0 })
    assert.equal(lines.filter((line) => line.startsWith('warn') && /are cut/.test(line)).length, 1)
    receiver.fault = 'reset'
    receiver.breakConnections()
    await errorOf(sink.write(batch, live))
    assert.deepEqual(metricsOf(meter), { messages_sent: 4, bytes_sent: bytes, truncated: 2, errors: 1 })
  })
})

test('connections broken between batches lose nothing that was not yet handed over', async () => {
  await withReceivers([{ transport: 'tcp' }], async (receiver) => {
    await using sink = sinkOf({ endpoints: [receiver.url] })
    const records = Array.from({ length: 6 }, (_, i) => `r${i}`)
    for (const [i, record] of records.entries()) {
      await untilAccepted(sink, batchOf(blockOf([record])))
      await receiver.received(i + 1)
      if (i % 2 === 0) receiver.breakConnections()
      else await receiver.endConnections()
    }
    assert.deepEqual(receiver.contents, records)
    assert.ok(receiver.connections >= 6)
  })
})

test('a receiver that stops reading is given up after the time-out, by name, and the next one takes over', async () => {
  await withReceivers([{ transport: 'tcp' }, { transport: 'tcp' }], async (stalled, alive) => {
    stalled.fault = 'stall'
    const records = Array.from({ length: 3000 }, (_, i) => `${i} ${'x'.repeat(4000)}`)
    await using sink = sinkOf({ endpoints: [stalled.url, alive.url], timeout: '1s' })
    const error = await errorOf(sink.write(batchOf(blockOf(records)), live))
    assert.equal(error.code, 'sink.unavailable')
    assert.match(error.message, new RegExp(`${stalled.url}.*timeout`))
    await sink.write(batchOf(blockOf(records)), live)
    await alive.received(records.length)
    assert.deepEqual(alive.contents, records)
  })
})

test('an abort ends a write that nobody reads', async () => {
  await withReceivers([{ transport: 'tcp' }], async (receiver) => {
    receiver.fault = 'stall'
    await using sink = sinkOf({ endpoints: [receiver.url] })
    const aborting = new AbortController()
    const records = Array.from({ length: 3000 }, (_, i) => `${i} ${'x'.repeat(4000)}`)
    const writing = errorOf(sink.write(batchOf(blockOf(records)), { signal: aborting.signal }))
    setImmediate(() => aborting.abort(new Error('stop')))
    assert.equal((await writing).code, 'run.aborted')
  })
})

test('a dead receiver costs nothing while another one lives, on TCP and on UDP', async () => {
  for (const transport of ['tcp', 'udp'] as const) {
    await withReceivers([{ transport }, { transport }], async (dead, alive) => {
      await dead.close()
      await using sink = sinkOf({ endpoints: [dead.url, alive.url] })
      for (let i = 0; i < 10; i += 1) await sink.write(batchOf(blockOf([`r${i}`, `s${i}`])), live)
      await alive.received(20)
      assert.equal(alive.contents.length, 20)
      assert.deepEqual(alive.violations, [])
    })
  }
})

test('nobody there: the error is transient, names the endpoint and says what to look for', async () => {
  for (const transport of ['tcp', 'udp'] as const) {
    await withReceivers([{ transport }], async (receiver) => {
      await receiver.close()
      await using sink = sinkOf({ endpoints: [receiver.url] })
      const error = await errorOf(sink.write(batchOf(blockOf(['a', 'b'])), live))
      assert.equal(error.kind, 'transient')
      assert.match(error.message, new RegExp(`${receiver.url}.*ECONNREFUSED.*receiver`))
    })
  }
})

test('UDP: the largest datagram arrives, and a flood of them is handed over with bounded queues', async () => {
  await withReceivers([{ transport: 'udp' }], async (receiver) => {
    await using sink = sinkOf({ endpoints: [receiver.url], max_message_bytes: 65_507 })
    await sink.write(batchOf(blockOf(['x'.repeat(70_000)])), live)
    await receiver.received(1)
    assert.equal(receiver.messages[0]?.bytes.length, 65_507)
    await sink.write(batchOf(blockOf(Array.from({ length: 500 }, (_, i) => `r${i}`))), live)
    // Loopback loses datagrams too when the receiver is slow; this receiver has room for all of them.
    await receiver.received(501)
    assert.deepEqual(receiver.violations, [])
  })
})

test('UDP by name: localhost is found on IPv4, a name that nobody has is told of', async () => {
  await withReceivers([{ transport: 'udp' }], async (receiver) => {
    await using named = sinkOf({ endpoints: [`udp://localhost:${receiver.port}`] })
    await named.check(live)
    assert.deepEqual(receiver.messages, [])
    await named.write(batchOf(blockOf(['a'])), live)
    await receiver.received(1)
    await using nameless = sinkOf({ endpoints: ['udp://no-such-host.invalid'], connect_timeout: '5s' })
    const error = await errorOf(nameless.check(live))
    assert.equal(error.code, 'sink.unavailable')
    assert.match(error.message, /cannot reach udp:\/\/no-such-host.invalid:514: .*check the name/)
  })
})

test('check connects to every receiver, and says which one is not there', async () => {
  await withReceivers([{ transport: 'tcp' }, { transport: 'tcp' }], async (alive, dead) => {
    await using good = sinkOf({ endpoints: [alive.url] })
    await good.check(live)
    assert.equal(alive.connections, 1)
    await dead.close()
    await using sink = sinkOf({ endpoints: [alive.url, dead.url] })
    assert.match((await errorOf(sink.check(live))).message, new RegExp(dead.url))
    assert.deepEqual(alive.messages, [])
  })
})

test('TLS: the authority, the client certificate, and a receiver without TLS', async () => {
  const strict = { ...serverTls, requestCert: true, rejectUnauthorized: true }
  await withReceivers([{ transport: 'tls', tls: strict }, { transport: 'tcp' }], async (receiver, plain) => {
    const client = { ca_file: path('ca.pem'), cert_file: path('client.pem'), key_file: path('client.key.pem') }
    const batch = batchOf(blockOf(['a']))
    await using known = sinkOf({ endpoints: [receiver.url], tls: client })
    await known.write(batch, live)
    await receiver.received(1)
    await using nameless = sinkOf({ endpoints: [receiver.url], tls: { ca_file: client.ca_file } })
    assert.equal((await errorOf(nameless.write(batch, live))).code, 'sink.unavailable')
    await using distrustful = sinkOf({ endpoints: [receiver.url] })
    assert.match(explainError(await errorOf(distrustful.check(live))), /certificate/)
    await using mistaken = sinkOf({
      endpoints: [plain.url.replace('tcp', 'tls')],
      tls: client,
      connect_timeout: '1s',
    })
    assert.equal((await errorOf(mistaken.write(batch, live))).code, 'sink.unavailable')
    assert.equal(receiver.messages.length, 1)
    assert.throws(
      () => sinkOf({ endpoints: ['tls://h'], tls: { ca_file: '/nowhere/ca.pem' } }),
      /cannot read tls.ca_file/,
    )
  })
})

test('disposing in the middle of a write ends it', async () => {
  for (const transport of ['tcp', 'udp'] as const) {
    await withReceivers([{ transport }], async (receiver) => {
      receiver.fault = 'stall'
      const sink = sinkOf({ endpoints: [receiver.url] })
      const records = Array.from({ length: 3000 }, (_, i) => `${i} ${'x'.repeat(4000)}`)
      const writing = errorOf(sink.write(batchOf(blockOf(records)), live))
      await sink[Symbol.asyncDispose]()
      assert.equal((await writing).kind, 'transient')
    })
  }
})

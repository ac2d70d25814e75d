import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type * as z from 'zod'
import {
  batchOf,
  batchOfParts,
  sinkConformance,
  someObject,
  testContext,
  untilAccepted,
} from '../../test/conformance/sink.ts'
import { type KafkaOptions, type KafkaServer, startKafka } from '../../test/servers/kafka.ts'
import { codes, KafkaLog } from '../../test/servers/kafka-log.ts'
import { blockOf } from '../core/block.ts'
import type { Batch, Context, Sink } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { kafkaConfig, kafkaSink } from './kafka.ts'
import { Producer } from './kafka-delivery.ts'
import { murmur2 } from './kafka-keys.ts'

type Settings = Omit<z.input<typeof kafkaConfig>, 'type' | 'brokers' | 'topic'> & { brokers?: string[]; topic?: string }
const live = { signal: new AbortController().signal }

function sinkOf(server: KafkaServer, settings: Settings = {}, context: Context = testContext()): Sink {
  const retry = { min: '1ms', max: '20ms' }
  return kafkaSink.create(
    kafkaConfig.parse({ type: 'kafka', brokers: [server.address], topic: 'logs', retry, ...settings }),
    context,
  )
}

/** Runs the body with a started broker and its sink, and closes both after. */
async function withKafka(
  o: KafkaOptions,
  settings: Settings,
  body: (server: KafkaServer, sink: Sink) => Promise<void>,
): Promise<void> {
  const server = await startKafka(o)
  try {
    await using sink = sinkOf(server, settings)
    await body(server, sink)
  } finally {
    await server.close()
  }
}

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof StreamError ? error : Promise.reject(error)),
  )

const names = (count: number, prefix = 'r') => Array.from({ length: count }, (_, i) => `${prefix}${i}`)
const stored = ({ log }: KafkaServer) => log.values('logs').toSorted()
const repeated = ({ log }: KafkaServer) =>
  log.partitions('logs').reduce((sum, partition) => sum + partition.repeated, 0)

sinkConformance('kafka', async () => {
  const server = await startKafka({ topics: { logs: 1 } })
  return {
    sink: sinkOf(server),
    stored: () => server.log.values('logs'),
    failing: (on) => {
      server.fault = () => (on ? { code: codes.notEnoughReplicas } : undefined)
    },
    refusing: (on) => {
      server.refuse = () => (on ? 'no such field' : undefined)
    },
    restart: () => server.restart(),
    close: () => server.close(),
  }
})

test('a message has the record as value, the time of the object, its record id and its origin', async () => {
  await withKafka({ topics: { logs: 1 } }, { key: 'object' }, async ({ log }, sink) => {
    const block = blockOf(['{"a":1}', 'two\nlines'], 41, true)
    const other = { ...someObject, id: 'b/ö@2', key: 'ö', timeMs: 5 }
    await sink.write(
      batchOfParts([
        { block, from: 0, to: 2, object: someObject },
        { block: blockOf(['x']), from: 0, to: 1, object: other },
      ]),
      live,
    )
    const read = log
      .partitions('logs')[0]
      ?.records.map(({ key, value, headers, timestamp }) => [
        String(key),
        String(value),
        headers['x-record-id'],
        headers['x-origin'],
        timestamp,
      ])
    assert.deepEqual(read, [
      ['k', '{"a":1}', 'b/k@1#41', 's3://b/k', someObject.timeMs],
      ['k', 'two\nlines', 'b/k@1#42', 's3://b/k', someObject.timeMs],
      ['ö', 'x', 'b/ö@2#0', 's3://b/ö', 5],
    ])
  })
})

test('headers: false sends none', async () => {
  await withKafka({ topics: { logs: 1 } }, { headers: false }, async ({ log }, sink) => {
    await sink.write(batchOf(blockOf(['a'])), live)
    const [record] = log.partitions('logs')[0]?.records ?? []
    assert.deepEqual([record?.key, record?.headers], [null, {}])
  })
})

test('every compression is read back by the broker, by old and new versions of the protocol', async () => {
  const versions: KafkaOptions[] = [
    {},
    { newest: { 0: 7, 3: 7, 22: 1, 18: 2 } },
    { newest: { 0: 8, 3: 8, 22: 2 } },
    { newest: { 0: 9, 3: 10 } },
  ]
  for (const o of versions) {
    for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
      await withKafka(o, { compression, key: { field: 'k' } }, async (server, sink) => {
        const records = names(300).map((k) => JSON.stringify({ k, text: 'again and again' }))
        await sink.check(live)
        await sink.write(batchOf(blockOf(records)), live)
        assert.deepEqual(stored(server), records.toSorted())
        for (const partition of server.log.partitions('logs')) {
          const codec = ['none', 'gzip', 'snappy', 'lz4', 'zstd'].indexOf(compression)
          assert.ok(partition.batches.length > 0 && partition.batches.every((batch) => batch.codec === codec))
        }
        assert.ok(server.asked.has(`0v${o.newest?.[0] ?? 11}`), [...server.asked].join())
      })
    }
  }
})

test('a broker that is too old is named, with what is needed', async () => {
  await withKafka({ newest: { 0: 6 } }, {}, async (_, sink) => {
    const error = await errorOf(sink.write(batchOf(blockOf(['a'])), live))
    assert.equal(error?.code, 'sink.access')
    assert.match(error?.message ?? '', /Kafka 2\.1 or later/)
  })
})

test('keyed records go where the Java client puts them; records without a key go together, to the partitions in turn', async () => {
  await withKafka({ topics: { logs: 5 } }, { key: { field: 'k' } }, async ({ log }, sink) => {
    const keyed = names(200).map((k) => JSON.stringify({ k }))
    await sink.write(batchOf(blockOf([...keyed, 'plain 1', 'plain 2'])), live)
    for (const [index, { records }] of log.partitions('logs').entries()) {
      for (const { key } of records.filter(({ key }) => key !== null)) {
        assert.equal((murmur2(key as Buffer, 0, (key as Buffer).length) & 0x7fffffff) % 5, index)
      }
      const inOrder = records.flatMap(({ headers }) => Number(headers['x-record-id']?.split('#')[1]))
      const keyedOnly = inOrder.filter((number) => number < 200)
      assert.deepEqual(
        keyedOnly,
        keyedOnly.toSorted((a, b) => a - b),
      )
    }
    const plain = log.partitions('logs').map(({ records }) => records.filter(({ key }) => key === null).length)
    assert.deepEqual(plain.toSorted(), [0, 0, 0, 0, 2])
  })
  await withKafka({ topics: { logs: 4 } }, {}, async ({ log }, sink) => {
    for (let i = 0; i < 8; i += 1) await sink.write(batchOf(blockOf(names(10))), live)
    assert.deepEqual(
      log.partitions('logs').map(({ batches, count }) => [batches.length, count]),
      Array.from({ length: 4 }, () => [2, 20]),
    )
  })
})

for (const [fault, title] of [
  ['close', 'broke before it was stored'],
  ['closeAfter', 'broke after it was stored'],
  ['hang', 'never answered although it was stored'],
  [{ storedCode: 20 }, 'was answered NOT_ENOUGH_REPLICAS_AFTER_APPEND'],
  [{ storedCode: 7 }, 'was answered REQUEST_TIMED_OUT'],
  [{ code: codes.corruptMessage }, 'was answered CORRUPT_MESSAGE'],
  [{ code: -1 }, 'was answered UNKNOWN_SERVER_ERROR'],
  [{ code: 4711 }, 'was answered a code that nobody knows'],
] as const)
  test(`a request that ${title} is sent again and stored once`, async () => {
    await withKafka({}, { timeout: '300ms' }, async (server, sink) => {
      server.fault = (n) => (n === 1 ? fault : undefined)
      await sink.write(batchOf(blockOf(['before'])), live)
      const batch = batchOf(blockOf(names(20)))
      const error = await errorOf(sink.write(batch, live))
      assert.equal(error?.code, 'sink.unavailable', error?.message)
      assert.match(explainError(error), /^cannot write .*topic logs/)
      await untilAccepted(sink, batch)
      assert.deepEqual(stored(server), ['before', ...names(20)].toSorted())
      const isStoredBefore =
        fault === 'closeAfter' || fault === 'hang' || (typeof fault === 'object' && 'storedCode' in fault)
      assert.equal(repeated(server), isStoredBefore ? 1 : 0)
    })
  })

test('only the partitions that did not acknowledge are sent again', async () => {
  await withKafka({}, { key: { field: 'k' } }, async (server, sink) => {
    const asked: number[][] = []
    server.fault = (n, partitions) => {
      asked.push([...partitions].toSorted())
      return n === 0 ? { code: codes.notEnoughReplicas, partitions: [1] } : undefined
    }
    const records = names(60).map((k) => JSON.stringify({ k }))
    const batch = batchOf(blockOf(records))
    const error = await errorOf(sink.write(batch, live))
    assert.match(error?.message ?? '', /partition 1: NOT_ENOUGH_REPLICAS.*min\.insync\.replicas/)
    assert.equal(await sink.write(batch, live), undefined)
    assert.deepEqual(asked, [[0, 1, 2], [1]])
    assert.deepEqual(stored(server), records.toSorted())
    assert.equal(repeated(server), 0)
  })
})

/** Many writers at once, as the engine does it: each writes its batches one after the other, again until they are accepted. */
async function writeAll(sink: Sink, writers: number, batches: number, records: number): Promise<string[]> {
  const all: string[] = []
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      for (let i = 0; i < batches; i += 1) {
        const part = names(records, `w${writer}b${i}r`).map((k) => JSON.stringify({ k }))
        all.push(...part)
        await untilAccepted(sink, batchOf(blockOf(part)))
      }
    }),
  )
  return all.toSorted()
}

test('platformatic/kafka#326: concurrent idempotent writes are all stored, none twice', async () => {
  await withKafka({}, { max_in_flight: 20, key: { field: 'k' } }, async (server, sink) => {
    assert.deepEqual(stored(server), [])
    const all = await writeAll(sink, 20, 15, 30)
    assert.deepEqual(stored(server), all)
    assert.equal(repeated(server), 0)
  })
})

test('connections that break at any point, and a restart, lose nothing and store nothing twice', async () => {
  await withKafka({}, { key: { field: 'k' } }, async (server, sink) => {
    server.fault = (n) => (n % 7 === 3 ? 'close' : n % 5 === 4 ? 'closeAfter' : undefined)
    let restarts = 0
    const writing = writeAll(sink, 5, 20, 40)
    const restarting = (async () => {
      for (; restarts < 3; restarts += 1) {
        const { requests } = server
        while (server.requests < requests + 10) await new Promise((resolve) => setImmediate(resolve))
        await server.restart()
      }
    })()
    const [all] = await Promise.all([writing, restarting])
    assert.equal(restarts, 3)
    assert.deepEqual(stored(server), all)
    assert.ok(repeated(server) > 0)
  })
})

for (const [title, forget] of [
  ['platformatic/kafka#309: a broker that has forgotten the producer', (log: KafkaLog) => log.forgetProducers()],
  ['a broker that has fenced the producer', (log: KafkaLog) => log.fenceProducers()],
] as const)
  test(`${title} gets a new one within the same write`, async () => {
    const lines: string[] = []
    const server = await startKafka({})
    await using sink = sinkOf(server, { key: { field: 'k' } }, testContext(lines))
    const batch = (prefix: string) => batchOf(blockOf(names(50, prefix).map((k) => JSON.stringify({ k }))))
    await sink.write(batch('a'), live)
    forget(server.log)
    await sink.write(batch('b'), live)
    await sink.write(batch('c'), live)
    const [partition] = server.log.partitions('logs')
    const [first, second, third] = partition?.batches ?? []
    assert.equal(server.log.values('logs').length, 150)
    assert.notEqual(first?.producerId, second?.producerId)
    assert.deepEqual([second?.baseSequence, third?.baseSequence], [0, second?.records.length])
    assert.equal(second?.producerId, third?.producerId)
    assert.ok(lines.some((line) => /^warn .*does not know our producer/.test(line)))
    await server.close()
  })

test('brokers that forget their producers again and again lose nothing', async () => {
  await withKafka({}, { key: { field: 'k' } }, async (server, sink) => {
    server.fault = (n) => {
      if (n % 9 === 5) server.log.forgetProducers()
      if (n % 11 === 7) server.log.fenceProducers()
      return n % 13 === 8 ? 'closeAfter' : undefined
    }
    const all = await writeAll(sink, 5, 20, 20)
    // A repetition whose first answer was lost and whose producer was forgotten is stored twice: at least once.
    assert.deepEqual([...new Set(stored(server))], all)
  })
})

test('OUT_OF_ORDER_SEQUENCE_NUMBER that never ends is not tried for ever within one write', async () => {
  await withKafka({}, {}, async (server, sink) => {
    server.fault = () => ({ code: codes.outOfOrderSequence })
    const batch = batchOf(blockOf(['a']))
    assert.equal((await errorOf(sink.write(batch, live)))?.code, 'sink.unavailable')
    assert.equal(server.requests, 2)
    server.fault = () => undefined
    await sink.write(batch, live)
    assert.deepEqual(stored(server), ['a'])
  })
})

test('a batch that is given up does not hold up the others', async () => {
  await withKafka({ topics: { logs: 1 } }, {}, async (server, sink) => {
    server.fault = (n) => (n === 0 ? 'closeAfter' : undefined)
    const aborting = new AbortController()
    await errorOf(sink.write(batchOf(blockOf(['given up'])), aborting))
    for (const name of names(10)) await untilAccepted(sink, batchOf(blockOf([name])))
    assert.deepEqual(stored(server), ['given up', ...names(10)])
  })
})

test('a message that the broker finds too large is refused alone, the others are stored once and in order', async () => {
  await withKafka({ topics: { logs: 1 }, maxMessageBytes: 3000 }, {}, async (server, sink) => {
    const records = names(100).map((name, i) => (i === 30 || i === 99 ? name.padEnd(4000, 'x') : name.padEnd(50, 'x')))
    const refused = await sink.write(batchOf(blockOf(records)), live)
    assert.deepEqual([...(refused?.keys() ?? [])].toSorted(), [30, 99])
    assert.equal(refused?.get(30)?.code, 'sink.too_large')
    assert.match(
      refused?.get(30)?.message ?? '',
      /cannot write 1 record to topic logs, partition 0: MESSAGE_TOO_LARGE.*raise max\.message\.bytes/,
    )
    assert.deepEqual(
      server.log.values('logs'),
      records.filter((_, i) => i !== 30 && i !== 99),
    )
  })
})

test('a message beyond max_message_bytes is refused without asking; compressed it may fit', async () => {
  const batch = batchOf(blockOf(['a', 'x'.repeat(5000), 'b']))
  await withKafka({}, { max_message_bytes: '2KiB' }, async (server, sink) => {
    const refused = await sink.write(batch, live)
    assert.deepEqual([...(refused?.keys() ?? [])], [1])
    assert.match(refused?.get(1)?.message ?? '', /record of 5000 bytes .* larger than max_message_bytes/)
    assert.deepEqual(stored(server), ['a', 'b'])
  })
  await withKafka({}, { max_message_bytes: '2KiB', compression: 'gzip' }, async (server, sink) => {
    assert.equal(await sink.write(batch, live), undefined)
    assert.equal(stored(server).length, 3)
  })
})

for (const [newest, how] of [
  [11, 'that are named'],
  [7, 'that an old broker does not name'],
] as const)
  test(`invalid records ${how} are refused alone, with the words of the broker`, async () => {
    await withKafka({ topics: { logs: 1 }, newest: { 0: newest } }, {}, async (server, sink) => {
      server.refuse = ({ value }) => (String(value).startsWith('bad') ? `no key for ${value}` : undefined)
      const records = ['a', 'bad 1', 'b', 'c', 'bad 2', 'd', 'e']
      const refused = await sink.write(batchOf(blockOf(records.slice(0, 3)), blockOf(records.slice(3))), live)
      assert.deepEqual([...(refused?.keys() ?? [])].toSorted(), [1, 4])
      assert.equal(refused?.get(4)?.code, 'sink.rejected')
      assert.match(
        refused?.get(4)?.message ?? '',
        newest === 11 ? /INVALID_RECORD: no key for bad 2/ : /INVALID_RECORD/,
      )
      assert.deepEqual(server.log.values('logs'), ['a', 'b', 'c', 'd', 'e'])
    })
  })

test('a partition that moves to another broker is found within the same write, on several brokers', async () => {
  const log = new KafkaLog({ logs: 4 })
  const one = await startKafka({ log, node: 1 })
  const two = await startKafka({ log, node: 2 })
  await using sink = sinkOf(one, { key: { field: 'k' } })
  const batch = (prefix: string) => batchOf(blockOf(names(50, prefix).map((k) => JSON.stringify({ k }))))
  await sink.write(batch('a'), live)
  for (const [i, partition] of log.partitions('logs').entries()) partition.leader = 1 + (i % 2)
  await sink.write(batch('b'), live)
  assert.equal(two.requests, 1)
  // The first broker dies: the second is known from the metadata alone.
  for (const partition of log.partitions('logs')) partition.leader = 2
  await one.close()
  log.brokers.delete(1)
  await untilAccepted(sink, batch('c'))
  assert.equal(log.values('logs').length, 150)
  await two.close()
})

test('without a leader keyed records wait, others go to another partition', async () => {
  await withKafka({ topics: { logs: 2 } }, {}, async ({ log }, sink) => {
    const [first] = log.partitions('logs')
    assert.ok(first)
    first.leader = -1
    for (let i = 0; i < 4; i += 1) await sink.write(batchOf(blockOf(['a'])), live)
    assert.deepEqual(
      log.partitions('logs').map(({ count }) => count),
      [0, 4],
    )
    assert.match((await errorOf(sink.check(live)))?.message ?? '', /no leader for partition 0/)
  })
  await withKafka({ topics: { logs: 1 } }, { key: 'object' }, async (server, sink) => {
    const [only] = server.log.partitions('logs')
    assert.ok(only)
    only.leader = -1
    const batch = batchOf(blockOf(['a']))
    const error = await errorOf(sink.write(batch, live))
    assert.match(error?.message ?? '', /partition 0: LEADER_NOT_AVAILABLE/)
    only.leader = 1
    await sink.write(batch, live)
    assert.deepEqual(stored(server), ['a'])
  })
})

test('a broker that asks for silence gets it', async () => {
  await withKafka({ topics: { logs: 1 } }, {}, async (server, sink) => {
    server.fault = (n) => (n === 0 ? { throttleMs: 400 } : undefined)
    await sink.write(batchOf(blockOf(['a'])), live)
    const startMs = performance.now()
    const writing = sink.write(batchOf(blockOf(['b'])), live)
    const aborting = new AbortController()
    const stopped = sink.write(batchOf(blockOf(['c'])), aborting)
    aborting.abort()
    await assert.rejects(stopped)
    assert.ok(performance.now() - startMs < 350)
    await writing
    assert.ok(performance.now() - startMs > 200)
    assert.deepEqual(stored(server), ['a', 'b'])
  })
})

test('SASL: each mechanism lets us in, a wrong password or mechanism says what to do', async () => {
  const user = { username: 'us,er=1', password: 'pass wörd' }
  for (const mechanism of ['plain', 'scram-sha-256', 'scram-sha-512'] as const) {
    await withKafka({ user }, { auth: { mechanism, ...user } }, async (server, sink) => {
      await sink.check(live)
      await sink.write(batchOf(blockOf(['a'])), live)
      assert.deepEqual(stored(server), ['a'])
      await using wrong = sinkOf(server, { auth: { mechanism, ...user, password: 'sesame' } })
      for (const outcome of [wrong.check(live), wrong.write(batchOf(blockOf(['b'])), live)]) {
        const error = await errorOf(outcome)
        assert.equal(error?.code, 'sink.access')
        assert.match(error?.message ?? '', /SASL_AUTHENTICATION_FAILED.*check auth\.username/)
        assert.doesNotMatch(explainError(error), /sesame/)
      }
    })
  }
  await withKafka(
    { user, mechanisms: ['PLAIN'] },
    { auth: { mechanism: 'scram-sha-256', ...user } },
    async (_, sink) => {
      const error = await errorOf(sink.check(live))
      assert.equal(error?.code, 'sink.access')
      assert.match(error?.message ?? '', /UNSUPPORTED_SASL_MECHANISM.*auth\.mechanism/)
    },
  )
})

test('a listener that wants a login says so to who has none', async () => {
  await withKafka({ user: { username: 'u', password: 'p' } }, {}, async (_, sink) => {
    const error = await errorOf(sink.write(batchOf(blockOf(['a'])), live))
    assert.equal(error?.code, 'sink.unavailable')
    assert.match(error?.message ?? '', /want a login\? then set auth/)
  })
})

test('a login that ends is renewed while records are written', async () => {
  const user = { username: 'u', password: 'p' }
  const auth = { mechanism: 'scram-sha-256', ...user } as const
  await withKafka({ user, sessionMs: 50 }, { auth }, async (server, sink) => {
    const written: string[] = []
    while (server.logins < 5) {
      written.push(`r${written.length}`)
      assert.equal(await sink.write(batchOf(blockOf(written.slice(-1))), live), undefined)
    }
    assert.equal(server.connections, 1)
    assert.deepEqual(stored(server), written.toSorted())
  })
})

test('TLS: the authority, an unknown server, and a side that does not speak it', async () => {
  const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
  const tls = { cert: readFileSync(path('server.pem')), key: readFileSync(path('server.key.pem')) }
  await withKafka({ tls }, { tls: { ca_file: path('ca.pem') } }, async (server, sink) => {
    await sink.check(live)
    await sink.write(batchOf(blockOf(['a'])), live)
    assert.deepEqual(stored(server), ['a'])
    await using distrustful = sinkOf(server, { tls: {} })
    const distrust = await errorOf(distrustful.check(live))
    assert.equal(distrust?.code, 'sink.unavailable')
    assert.match(explainError(distrust), /certificate/)
    await using plain = sinkOf(server)
    const refused = await errorOf(plain.check(live))
    assert.equal(refused?.code, 'sink.unavailable')
    assert.match(refused?.message ?? '', /listener want TLS\? then give the sink a `tls` block/)
  })
  await withKafka({}, { tls: { ca_file: path('ca.pem') } }, async (_, sink) => {
    const error = await errorOf(sink.check(live))
    assert.equal(error?.code, 'sink.unavailable')
    assert.match(error?.message ?? '', /no TLS handshake \(the sink needs a `tls` block if/)
  })
  const mutual = { ...tls, ca: readFileSync(path('ca.pem')), requestCert: true, rejectUnauthorized: true }
  await withKafka({ tls: mutual }, { tls: { ca_file: path('ca.pem') } }, async (server, sink) => {
    assert.match((await errorOf(sink.check(live)))?.message ?? '', /does it want a client certificate\?/)
    const client = { ca_file: path('ca.pem'), cert_file: path('client.pem'), key_file: path('client.key.pem') }
    await using known = sinkOf(server, { tls: client })
    await known.check(live)
  })
})

test('a topic that is missing or that we may not write to says what to do, in check and in write', async () => {
  await withKafka({ topics: { logs: 1 } }, { topic: 'lgos' }, async ({ log }, sink) => {
    for (const outcome of [sink.check(live), sink.write(batchOf(blockOf(['a'])), live)]) {
      const error = await errorOf(outcome)
      assert.equal(error?.code, 'sink.access')
      assert.match(error?.message ?? '', /cannot find topic lgos: UNKNOWN_TOPIC_OR_PARTITION.*create the topic/)
    }
    assert.equal(log.topics.size, 1)
  })
  await withKafka({}, {}, async (server, sink) => {
    server.log.readOnly.add('logs')
    for (const outcome of [sink.check(live), sink.write(batchOf(blockOf(['a'])), live)]) {
      const error = await errorOf(outcome)
      assert.equal(error?.code, 'sink.access')
      assert.match(error?.message ?? '', /TOPIC_AUTHORIZATION_FAILED.*grant the principal WRITE/)
    }
  })
})

test('one dead broker of two is no matter; when all are dead each is named', async () => {
  const dead = await startKafka({})
  await dead.close()
  await withKafka({}, {}, async (server) => {
    await using sink = sinkOf(server, { brokers: [dead.address, server.address] })
    await sink.check(live)
    await sink.write(batchOf(blockOf(['a'])), live)
    assert.deepEqual(stored(server), ['a'])
    await using hopeless = sinkOf(server, { brokers: [dead.address, dead.address.replace('127.0.0.1', 'localhost')] })
    const error = await errorOf(hopeless.check(live))
    assert.equal(error?.code, 'sink.unavailable')
    assert.match(explainError(error), new RegExp(`2 brokers failed.*${dead.address}.*localhost:`))
  })
})

test('disposing ends a write that hangs', async () => {
  await withKafka({}, {}, async (server, sink) => {
    server.fault = () => 'hang'
    const writing = sink.write(batchOf(blockOf(['a'])), live)
    while (server.requests === 0) await new Promise((resolve) => setImmediate(resolve))
    await sink[Symbol.asyncDispose]()
    await assert.rejects(writing)
    await assert.rejects(sink.write(batchOf(blockOf(['b'])), live))
  })
})

test('an abort ends a write that hangs; what it sent is not sent as something else', async () => {
  await withKafka({ topics: { logs: 1 } }, {}, async (server, sink) => {
    server.fault = (n) => (n === 0 ? 'hang' : undefined)
    const aborting = new AbortController()
    const batch: Batch = batchOf(blockOf(['a']))
    const writing = sink.write(batch, aborting)
    while (server.requests === 0) await new Promise((resolve) => setImmediate(resolve))
    aborting.abort(new Error('stop'))
    assert.equal((await errorOf(writing))?.code, 'run.aborted')
    await untilAccepted(sink, batch)
    assert.deepEqual([stored(server), repeated(server)], [['a'], 1])
  })
})

test('metrics count what was acknowledged, each request, and each error', async () => {
  const meter = new MemoryMeter()
  const server = await startKafka({ topics: { logs: 1 } })
  await using sink = sinkOf(server, {}, { ...testContext(), meter })
  server.fault = (n) => (n === 0 ? 'close' : n === 1 ? { code: codes.notEnoughReplicas } : undefined)
  await untilAccepted(sink, batchOf(blockOf(['abc', 'defg'])))
  const value = (name: string) => meter.snapshot().find((series) => series.name === name)
  assert.equal(value('kafka_records_sent_total')?.value, 2)
  assert.equal(value('kafka_bytes_sent_total')?.value, 7)
  assert.equal(value('kafka_requests_total')?.value, 3)
  assert.equal(value('kafka_errors_total')?.value, 2)
  assert.equal(value('kafka_request_duration_seconds')?.count, 3)
  await server.close()
})

test('sequence numbers go round after 2^31 - 1', () => {
  const producer = new Producer({ producerId: 1n, producerEpoch: 0 })
  producer.advance(3, 0x7ffffffe)
  producer.advance(3, 1)
  assert.equal(producer.sequence(3), 0x7fffffff)
  producer.advance(3, 10)
  assert.deepEqual([producer.sequence(3), producer.sequence(4)], [9, 0])
})

test('typical mistakes in the configuration are found when it is read', () => {
  const problem = (settings: object) =>
    kafkaConfig.safeParse({ type: 'kafka', brokers: ['k:9092'], topic: 'logs', ...settings }).error?.issues[0]
      ?.message ?? ''
  assert.match(problem({ brokers: ['kafka-1'] }), /host:port/)
  assert.match(problem({ brokers: ['kafka://kafka-1:9092'] }), /host:port/)
  assert.match(problem({ brokers: ['kafka-1:99999'] }), /65535/)
  assert.match(problem({ brokers: [] }), /1/)
  assert.match(problem({ topic: 'a b' }), /topic name/)
  assert.match(problem({ key: 'field' }), /./)
  assert.match(problem({ auth: { mechanism: 'PLAIN', username: 'u', password: 'p' } }), /plain/)
  assert.equal(problem({ brokers: ['[::1]:9092', '10.0.0.1:9092'] }), '')
  for (const { config } of kafkaSink.examples) assert.ok(kafkaConfig.safeParse(config).success)
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { batchOf, untilAccepted } from '../../test/conformance/sink.ts'
import { startKafka } from '../../test/servers/kafka.ts'
import { errorOf, live, names, sinkOf, stored, withKafka } from '../../test/servers/kafka-bed.ts'
import { codes, KafkaLog } from '../../test/servers/kafka-log.ts'
import { blockOf } from '../core/block.ts'
import { explainError } from '../core/errors.ts'

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
    server.fault = (n) => (n === 0 ? { throttleMs: 1000 } : undefined)
    await sink.write(batchOf(blockOf(['a'])), live)
    const startMs = performance.now()
    const writing = sink.write(batchOf(blockOf(['b'])), live)
    const aborting = new AbortController()
    const stopped = sink.write(batchOf(blockOf(['c'])), aborting)
    aborting.abort()
    await assert.rejects(stopped)
    await writing
    assert.ok(performance.now() - startMs > 800)
    assert.equal(server.requests, 2)
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
    assert.match(explainError(distrust), /certificate is not trusted \(set tls\.ca_file/)
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

test('a broker whose address the cluster gives and that is not there is named so', async () => {
  const log = new KafkaLog({ logs: 1 })
  const dead = await startKafka({ log, node: 2 })
  await dead.close()
  await withKafka({ log, node: 1 }, {}, async (_, sink) => {
    const [only] = log.partitions('logs')
    assert.ok(only)
    only.leader = 2
    const error = await errorOf(sink.check(live))
    assert.equal(error?.code, 'sink.unavailable')
    assert.match(error?.message ?? '', new RegExp(`${dead.address}, which the cluster gives.*advertised\\.listeners`))
  })
})

test('a topic without partitions takes nothing, and that is said', async () => {
  await withKafka({ log: new KafkaLog({ logs: 0 }) }, { key: { field: 'k' } }, async (_server, sink) => {
    const error = await errorOf(sink.write(batchOf(blockOf(['{"k":1}', '{"k":2}'])), live))
    assert.equal(error?.code, 'sink.unavailable')
  })
})

test('a broker that answers from old knowledge is not the only one that is asked', async () => {
  const [old, now] = [new KafkaLog({ logs: 1 }), new KafkaLog({ logs: 1 })]
  const [one, two] = [await startKafka({ log: old, node: 1 }), await startKafka({ log: now, node: 2 })]
  const portOf = (address: string) => Number(address.split(':')[1])
  old.brokers.set(2, { host: '127.0.0.1', port: portOf(two.address) })
  now.brokers.set(1, { host: '127.0.0.1', port: portOf(one.address) })
  one.fault = () => ({ code: codes.notLeader })
  for (const partition of now.partitions('logs')) partition.leader = 2
  {
    await using sink = sinkOf(one)
    await untilAccepted(sink, batchOf(blockOf(['a'])))
    assert.deepEqual(now.values('logs'), ['a'])
  }
  await Promise.all([one.close(), two.close()])
})

test('the timer of a login goes with its connection, also if the broker closed that', async () => {
  const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const user = { username: 'u', password: 'p' }
  const server = await startKafka({ user, sessionMs: 3_600_000 })
  const before = timers()
  {
    await using sink = sinkOf(server, { auth: { mechanism: 'plain', ...user } })
    await sink.write(batchOf(blockOf(['a'])), live)
    await server.restart()
    // The close is seen before the next write.
    await new Promise((resolve) => setTimeout(resolve, 100))
    await untilAccepted(sink, batchOf(blockOf(['b'])))
  }
  await server.close()
  for (let waits = 0; timers() > before && waits < 50; waits += 1)
    await new Promise((resolve) => setTimeout(resolve, 20))
  assert.ok(timers() <= before, process.getActiveResourcesInfo().join())
})

test('a connection that failed does not take the one that replaced it along', async () => {
  await withKafka({ topics: { logs: 1 } }, {}, async (server, sink) => {
    server.fault = (n) => (n === 0 ? { throttleMs: 500 } : undefined)
    await sink.write(batchOf(blockOf(['a'])), live)
    const held = untilAccepted(sink, batchOf(blockOf(['b'])))
    server.breakConnections()
    await new Promise((resolve) => setTimeout(resolve, 100))
    await untilAccepted(sink, batchOf(blockOf(['c'])))
    await held
    await untilAccepted(sink, batchOf(blockOf(['d'])))
    assert.deepEqual(stored(server), ['a', 'b', 'c', 'd'])
    assert.equal(server.connections, 2)
  })
})

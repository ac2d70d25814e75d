import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOf, testContext, untilAccepted } from '../../test/conformance/sink.ts'
import { startKafka } from '../../test/servers/kafka.ts'
import { errorOf, live, names, repeated, sinkOf, stored, withKafka } from '../../test/servers/kafka-bed.ts'
import { codes, type KafkaLog } from '../../test/servers/kafka-log.ts'
import { blockOf } from '../core/block.ts'
import type { Batch, Sink } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { Producer } from './kafka-delivery.ts'

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

test('sequence numbers go round after 2^31 - 1', () => {
  const producer = new Producer({ producerId: 1n, producerEpoch: 0 })
  producer.advance(3, 0x7ffffffe)
  producer.advance(3, 1)
  assert.equal(producer.sequence(3), 0x7fffffff)
  producer.advance(3, 10)
  assert.deepEqual([producer.sequence(3), producer.sequence(4)], [9, 0])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  batchOf,
  batchOfParts,
  sinkConformance,
  someObject,
  testContext,
  untilAccepted,
} from '../../test/conformance/sink.ts'
import { type KafkaOptions, startKafka } from '../../test/servers/kafka.ts'
import { errorOf, live, names, sinkOf, stored, withKafka } from '../../test/servers/kafka-bed.ts'
import { codes } from '../../test/servers/kafka-log.ts'
import { blockOf } from '../core/block.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { kafkaConfig, kafkaSink } from './kafka.ts'
import { murmur2 } from './kafka-keys.ts'

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

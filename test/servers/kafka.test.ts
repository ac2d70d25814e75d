/** The broker of the tests must be right by the word of a client that nobody here wrote. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ProduceAcks, Producer, stringSerializers } from '@platformatic/kafka'
import { startKafka } from './kafka.ts'
import { KafkaLog } from './kafka-log.ts'

test('the producer of the library writes to it: all codecs, headers, keys, several brokers, login', async () => {
  const log = new KafkaLog({ logs: 4 })
  const user = { username: 'u', password: 'p' }
  const one = await startKafka({ log, node: 1, user })
  const two = await startKafka({ log, node: 2, user })
  for (const [i, partition] of log.partitions('logs').entries()) partition.leader = 1 + (i % 2)
  const producer = new Producer({
    clientId: 'test',
    bootstrapBrokers: [one.address],
    idempotent: true,
    acks: ProduceAcks.ALL,
    serializers: stringSerializers,
    sasl: { mechanism: 'SCRAM-SHA-256', ...user },
  })
  try {
    const names: string[] = []
    for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const) {
      const messages = Array.from({ length: 20 }, (_, i) => {
        const value = `${compression}${i}`
        names.push(value)
        return { topic: 'logs', partition: i % 4, key: `k${i}`, value, headers: { h: 'ü' } }
      })
      await producer.send({ messages, compression, acks: ProduceAcks.ALL })
    }
    assert.deepEqual(log.values('logs').toSorted(), names.toSorted())
    const [first] = log.partitions('logs')[0]?.records ?? []
    assert.deepEqual([first?.key?.toString(), first?.headers], ['k0', { h: 'ü' }])
    assert.ok(one.requests > 0 && two.requests > 0)
  } finally {
    await producer.close()
    await one.close()
    await two.close()
  }
})

import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { type KafkaMessage, startKafka } from './kafka.ts'
import { startNotifiedBucket, until } from './notified-bucket.ts'
import { RecordCounter } from './numbered-records.ts'

const source = await startNotifiedBucket({ objects: 200, recordsPerObject: 500 })
const kafka = await startKafka()
after(() => Promise.all([source[Symbol.asyncDispose](), kafka.stop()]))
const { records } = source

/** A queue and a topic of the same name, and the streamer from one to the other. */
async function flow(name: string, more = '') {
  await Promise.all([source.fillQueue(name), kafka.createTopic(name, { partitions: 3 })])
  return source.installation(
    name,
    `{ type: kafka, brokers: ["${kafka.address}"], topic: ${name}, retry: { max: 2s }${more} }`,
  )
}

function counted(messages: readonly KafkaMessage[]): RecordCounter {
  const counter = new RecordCounter(records)
  for (const { value, recordId } of messages) counter.add(value.toString(), recordId ?? '')
  return counter
}

/** All is there, whole, each record under one id; what is there twice is counted. */
async function arrived(t: TestContext, topic: string): Promise<{ readonly duplicated: number }> {
  const counter = counted(await kafka.messages(topic))
  const { lost, strange, renamed, shared, duplicated } = counter
  t.diagnostic(`${records} records, ${duplicated} stored twice`)
  assert.deepEqual({ lost, strange, renamed, shared }, { lost: 0, strange: 0, renamed: 0, shared: 0 })
  return { duplicated }
}

test('100,000 records arrive whole and once, with their ids and origins, spread over the partitions', async (t) => {
  const { start } = await flow('once', ', compression: zstd')
  const { code, stdout, stderr } = await start('run', '--once').ended
  assert.equal(code, 0, stderr + stdout.slice(-3000))
  assert.equal((await arrived(t, 'once')).duplicated, 0)
  const messages = await kafka.messages('once')
  const origins = new Set(messages.map(({ origin }) => origin))
  assert.equal(origins.size, 200)
  assert.ok(origins.has('s3://weblogs/logs/day=12/Threat Team + Web/0199 é.gz'))
  assert.equal(new Set(messages.map(({ partition }) => partition)).size, 3)
  assert.deepEqual(await source.depth('once'), { waiting: 0, held: 0 })
})

test('a broker that is killed and started again in the middle loses nothing', async (t) => {
  const { start } = await flow('broker-killed', ', batch: { records: 200 }, max_in_flight: 2')
  const streamer = start('run', '--once')
  await until(async () => (await kafka.count('broker-killed')) > records / 10, streamer, { what: 'the first records' })
  await kafka.kill()
  await streamer.until(
    () => /sink\.unavailable|cannot (write|connect|find)/.test(streamer.stdout),
    'a write that fails',
  )
  assert.equal(streamer.hasEnded, false)
  await kafka.restart()
  const before = await kafka.count('broker-killed')
  assert.ok(before < records, 'it was killed in the middle')
  const { code, stdout, stderr } = await streamer.ended
  assert.equal(code, 0, stderr + stdout.slice(-3000))
  await arrived(t, 'broker-killed')
  assert.deepEqual(await source.depth('broker-killed'), { waiting: 0, held: 0 })
})

test('kill -9 of the streamer in the middle and a new start: nothing is lost, what comes twice has the same id', async (t) => {
  const { start } = await flow('streamer-killed', ', batch: { records: 200 }, max_in_flight: 2')
  const first = start('run')
  await until(async () => (await kafka.count('streamer-killed')) > records / 10, first, { what: 'the first records' })
  await first.kill('SIGKILL')
  assert.ok((await kafka.count('streamer-killed')) < records, 'it was killed in the middle')
  const second = start('run')
  await until(() => source.isEmpty('streamer-killed'), second, { what: 'the queue to be empty', everyMs: 100 })
  const { code } = await second.kill('SIGTERM')
  assert.equal(code, 0, second.output.slice(-3000))
  await arrived(t, 'streamer-killed')
})

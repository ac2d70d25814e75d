import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import { s3Event } from '../servers/s3-events.ts'
import { type KafkaMessage, startKafka } from './kafka.ts'
import { startNotifiedBucket, until } from './notified-bucket.ts'
import { RecordCounter, recordText } from './numbered-records.ts'

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

function counted(messages: readonly KafkaMessage[], expected = records): RecordCounter {
  const counter = new RecordCounter(expected)
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

const login = (mechanism: string, { username, password } = kafka.user) =>
  `brokers: ["${kafka.saslAddress}"], auth: { mechanism: ${mechanism}, username: ${username}, password: ${password} }`

test('records arrive with each login and TLS, with each compression, and with the keys they should have', async () => {
  const ways = {
    gzip: login('plain'),
    snappy: login('scram-sha-256'),
    lz4: login('scram-sha-512'),
    zstd: `brokers: ["${kafka.tlsAddress}"], tls: { ca_file: "${kafka.caFile}" }`,
  }
  await Promise.all(
    Object.entries(ways).map(async ([compression, keys]) => {
      await Promise.all([source.fillQueue(compression, { objects: 4 }), kafka.createTopic(compression)])
      const sink = `{ type: kafka, topic: ${compression}, compression: ${compression}, key: { field: client.ip }, ${keys} }`
      const { start } = await source.installation(compression, sink)
      const { code, stdout, stderr } = await start('run', '--once').ended
      assert.equal(code, 0, stderr + stdout.slice(-3000))
      const messages = await kafka.messages(compression)
      const { lost, strange, duplicated } = counted(messages, 2000)
      assert.deepEqual({ lost, strange, duplicated }, { lost: 0, strange: 0, duplicated: 0 }, compression)
      for (const { key, value } of messages) {
        assert.equal(key, (JSON.parse(value.toString()) as { readonly client: { readonly ip: string } }).client.ip)
      }
    }),
  )
})

test('a message that the topic finds too large goes to quarantine, the others of its batch arrive', async () => {
  const config = { 'max.message.bytes': '20000' }
  await Promise.all([source.fillQueue('small', { objects: 4 }), kafka.createTopic('small', { config })])
  const large = `{"large":"${'x'.repeat(30_000)}"}`
  const object = await source.put('large.json', Buffer.from(`${recordText(2000)}\n${large}\n${recordText(2001)}\n`))
  await source.send('small', [s3Event(object)])
  const { start } = await source.installation('small', `{ type: kafka, topic: small, brokers: ["${kafka.address}"] }`)
  const { code, stdout, stderr } = await start('run', '--once').ended
  assert.equal(code, 0, stderr + stdout.slice(-3000))
  const { lost, strange, duplicated } = counted(await kafka.messages('small'), 2002)
  assert.deepEqual({ lost, strange, duplicated }, { lost: 0, strange: 0, duplicated: 0 })
  const list = await start('quarantine', 'list', '--json').ended
  const entry = JSON.parse(list.stdout) as { readonly firstRecord: number; readonly records: number; reason: string }
  assert.deepEqual([entry.firstRecord, entry.records], [1, 1])
  assert.match(entry.reason, /max\.message\.bytes/)
})

test('check tells of wrong passwords, missing topics and the wrong kind of listener, and what to do', async () => {
  const { username } = kafka.user
  const wrong = { username, password: 'not-this' }
  const mistakes: ReadonlyArray<readonly [string, RegExp]> = [
    [login('scram-sha-256', wrong), /SASL_AUTHENTICATION_FAILED.*\n +→ check auth\.username and auth\.password/],
    [login('plain', wrong), /SASL_AUTHENTICATION_FAILED.*\n +→ check auth\.username and auth\.password/],
    [`brokers: ["${kafka.address}"]`, /cannot find topic mistaken: UNKNOWN_TOPIC_OR_PARTITION/],
    [`brokers: ["${kafka.address}"], tls: {}`, /cannot connect to broker .*tls/i],
    [`brokers: ["${kafka.tlsAddress}"], tls: {}`, /cannot connect to broker .*\n +→ set tls\.ca_file to the authority/],
    [`brokers: ["${kafka.tlsAddress}"]`, /does the listener want TLS\? then give the sink a `tls` block/],
    [`brokers: ["${kafka.saslAddress}"]`, /does the listener want a login\? then set auth/],
  ]
  await source.createQueue('mistaken')
  for (const [keys, words] of mistakes) {
    const { start } = await source.installation('mistaken', `{ type: kafka, topic: mistaken, ${keys} }`)
    const { code, stdout } = await start('check').ended
    const failed = stdout.split('\n').filter((line) => /^(FAILED| +→)/.test(line))
    assert.equal(code, 3, stdout)
    assert.match(failed.join('\n'), words)
    assert.ok(!stdout.includes(wrong.password))
  }
})

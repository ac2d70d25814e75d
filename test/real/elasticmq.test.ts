import assert from 'node:assert/strict'
import { after, type TestContext, test } from 'node:test'
import type { Command } from '../e2e/command.ts'
import {
  eventBridge,
  objectRemoved,
  type S3EventObject,
  s3Event,
  snsRaw,
  snsWrapped,
  testEvent,
} from '../servers/s3-events.ts'
import { startNginx } from './nginx.ts'
import { startNotifiedBucket, until } from './notified-bucket.ts'
import { RecordCounter } from './numbered-records.ts'

const [source, nginx] = await Promise.all([startNotifiedBucket({ objects: 200, recordsPerObject: 500 }), startNginx()])
after(() => Promise.all([source[Symbol.asyncDispose](), nginx.stop()]))
const { records, objects } = source

/** What nginx took before belongs to earlier tests. */
let taken = 0
async function posted(): Promise<Buffer> {
  return (await nginx.received()).subarray(taken)
}

const sink = `{ type: http, endpoints: ["${nginx.url}"], batch: { records: 200 } }`

/** Everything is there, whole; what is there twice is told. */
async function arrived(t: TestContext): Promise<RecordCounter> {
  const counter = new RecordCounter(records)
  const lines = (await posted()).toString().split('\n')
  taken = (await nginx.received()).length
  for (const line of lines) if (line !== '') counter.add(line, line)
  const { lost, strange, duplicated } = counter
  t.diagnostic(`${records} records, ${duplicated} came twice`)
  assert.deepEqual({ lost, strange }, { lost: 0, strange: 0 })
  return counter
}

const halfWay = (command: Command) =>
  until(async () => (await posted()).length > 5_000_000, command, { what: 'the first records' })
const drained = (queue: string, command: Command) =>
  until(() => source.isEmpty(queue), command, { what: 'the queue to be empty', everyMs: 100 })

test('the queue is killed and started again in the middle: nothing is lost', async (t) => {
  await source.fillQueue('killed')
  const { start } = await source.installation('killed', sink)
  const streamer = start('run')
  await halfWay(streamer)
  await source.sqs.kill()
  try {
    await streamer.until(() => /trying again/.test(streamer.stdout), 'a request that fails')
  } finally {
    await source.sqs.restart()
  }
  // It answers before it has read its queues and their messages: there is none then, or it is empty.
  await until(async () => !(await source.isEmpty('killed').catch(() => true)), streamer, {
    what: 'the messages to be there',
    everyMs: 20,
  })
  await drained('killed', streamer)
  const { code } = await streamer.kill('SIGTERM')
  assert.equal(code, 0, streamer.output.slice(-3000))
  await arrived(t)
})

test('two streamers share a queue, one is killed: the other brings the rest', async (t) => {
  await source.createQueue('shared')
  const one = await source.installation('shared', sink)
  const other = await source.installation('shared', sink)
  const [first, second] = [one.start('run'), other.start('run')]
  for (const command of [first, second]) {
    await command.until(() => command.stdout.includes('has no dead-letter queue'), 'the queue to be found')
  }
  await source.fillQueue('shared')
  for (const command of [first, second]) {
    await command.until(() => command.stdout.includes('object done'), 'an object to be done')
  }
  await first.kill('SIGKILL')
  assert.ok((await posted()).length < 20_000_000, 'it was killed in the middle')
  await drained('shared', second)
  const { code } = await second.kill('SIGTERM')
  assert.equal(code, 0, second.output.slice(-3000))
  await arrived(t)
})

/** What is no notification. */
const junk = ['{', 'null', '[]', '"text"', '{"Records":[{"s3":{}}]}', '<xml/>', '\u20ac', '{"Records":"none"}'] as const

/** One of ten kinds of messages by turns, six of which tell of the object. */
function messageOf(object: S3EventObject, number: number, turn: number): string {
  // The key that Ceph sends may be read as that of another object: what it told of, the others do not tell of here.
  const isCeph = objects.indexOf(object) % 20 === 3
  const kinds = [
    () => s3Event(object),
    () => s3Event(object, { sender: 'minio' }),
    () => snsWrapped(s3Event(object)),
    () => snsRaw(s3Event(object)),
    () => eventBridge(object),
    () => snsWrapped(eventBridge(object)),
    () => objectRemoved(object),
    () => testEvent(object.bucket),
    () => s3Event({ ...object, key: `gone/../${number}%2B +` }),
    () => junk[number % junk.length] ?? assert.fail(),
  ]
  const kind = (number + turn) % kinds.length
  return isCeph && kind < 6 ? s3Event(object, { sender: 'ceph' }) : (kinds[kind] ?? assert.fail())()
}

test('5,000 messages of all kinds: each object once, junk in the dead-letter queue, nothing left', async (t) => {
  await source.createQueue('mixed', { maxReceiveCount: 3 })
  const bodies = Array.from({ length: 5000 }, (_, i) => {
    const object = objects[i % objects.length] ?? assert.fail()
    return messageOf(object, i, Math.floor(i / objects.length))
  })
  await source.send('mixed', bodies)
  const { start } = await source.installation('mixed', sink)
  const { code, stdout, stderr } = await start('run', '--once').ended
  // Junk was received: a run that ends by itself says so.
  assert.equal(code, 1, stderr + stdout.slice(-3000))
  assert.equal((await arrived(t)).duplicated, 0)
  assert.deepEqual(await source.depth('mixed'), { waiting: 0, held: 0 })
  assert.deepEqual(await source.depth('mixed-dead'), { waiting: 500, held: 0 })
  const list = await start('quarantine', 'list', '--json').ended
  assert.deepEqual({ code: list.code, stdout: list.stdout }, { code: 0, stdout: '' })
})

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import {
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
} from '@aws-sdk/client-sqs'
import { consumerVariable, Deliveries, type Pipeline, until } from './deliveries.ts'

const bed = await Deliveries.start()
const { s3, sqs } = bed.moto
after(() => bed[Symbol.asyncDispose]())

const oddKeys = [
  'plain.log',
  'with space/a b.log',
  'plus+and+plus.log',
  'per%cent %20 %2B %zz.log',
  'ümläut/日本語/🚚.log',
  "marks !'()*&$@=;:,?#~^`|<>{}[].log",
  'up/../down//twice.log',
  'quote " and \\ and back.log',
]
const toFile = (folder: string) => `{ type: file, path: "${join(folder, `${consumerVariable}.log`)}", sync: false }`
const linesOf = (name: string, count = 50) => Array.from({ length: count }, (_, i) => `${name}#${i}`)

/** How often each line is in the files. */
async function arrived({ folder }: Pipeline): Promise<Map<string, number>> {
  const times = new Map<string, number>()
  for (const name of ['one.log', 'two.log']) {
    const text = await readFile(join(folder, name), 'utf8').catch(() => '')
    for (const line of text.split('\n').slice(0, -1)) times.set(line, (times.get(line) ?? 0) + 1)
  }
  return times
}

function compare(times: ReadonlyMap<string, number>, expected: readonly string[]) {
  const known = new Set(expected)
  return {
    lost: expected.filter((line) => !times.has(line)),
    strange: [...times.keys()].filter((line) => !known.has(line)),
    twice: [...times].filter(([, count]) => count > 1).map(([line]) => line),
  }
}
const exact = { lost: [], strange: [], twice: [] }

/** The last of the figures that the source logs of its queue. */
function figures(stdout: string): Record<string, number> {
  const line = stdout.split('\n').findLast((one) => one.includes('"msg":"queue '))
  return JSON.parse(line ?? '{}') as Record<string, number>
}

async function putInParts({ bucket: Bucket }: Pipeline, Key: string, text: string): Promise<void> {
  const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }))
  // A part but the last has 5 MiB or more.
  const parts = [text.slice(0, 6 * 2 ** 20), text.slice(6 * 2 ** 20)]
  const Parts: Array<{ ETag?: string; PartNumber: number }> = []
  for (const [index, Body] of parts.entries()) {
    const PartNumber = index + 1
    const { ETag } = await s3.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber, Body }))
    Parts.push({ ...(ETag === undefined ? {} : { ETag }), PartNumber })
  }
  await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }))
}

test('notifications as moto sends them: odd keys, copies, parts, overwritten and deleted objects; every line once, the queue empty', async (t) => {
  const pipeline = await bed.pipeline(toFile)
  const { bucket: Bucket, put, run, once, queueIsEmpty } = pipeline
  const expected: string[] = []
  for (const [index, key] of oddKeys.entries()) {
    await put(key, gzipSync(`${linesOf(`odd ${index}`).join('\n')}\n`))
    expected.push(...linesOf(`odd ${index}`))
  }
  await put('copied.log', 'copy#0\n')
  await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy of it.log', CopySource: `${Bucket}/copied.log` }))
  const long = linesOf('part', 600_000)
  await putInParts(pipeline, 'in parts.log', `${long.join('\n')}\n`)
  await put('overwritten.log', 'old\n')
  await put('overwritten.log', 'new\n')
  expected.push('new')
  for (const key of ['gone 1.log', 'gone 2.log', 'gone 3.log']) await put(key, 'gone\n')
  await s3.send(new DeleteObjectCommand({ Bucket, Key: 'gone 1.log' }))
  await s3.send(
    new DeleteObjectsCommand({ Bucket, Delete: { Objects: [{ Key: 'gone 2.log' }, { Key: 'gone 3.log' }] } }),
  )
  const stdout = await once()
  t.diagnostic(JSON.stringify(figures(stdout)))
  const times = await arrived(pipeline)
  assert.equal(times.get('copy#0'), 2)
  times.delete('copy#0')
  assert.deepEqual(compare(times, expected.concat(long)), exact)
  assert.ok(await queueIsEmpty())
  const { tests, ignored, failed } = figures(stdout)
  assert.deepEqual({ tests, ignored, failed }, { tests: 1, ignored: 4, failed: 0 })
  const objects = (await run('history', '--objects', '--json', '--limit', '100').ended).stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly key: string; readonly outcome: string })
  const vanished = objects.filter(({ outcome }) => outcome === 'vanished').map(({ key }) => key)
  assert.deepEqual(vanished.toSorted(), ['gone 1.log', 'gone 2.log', 'gone 3.log'])
  assert.equal(objects.filter(({ outcome }) => outcome === 'done').length, oddKeys.length + 4)
})

test('two daemons share the queue while objects come, and one is killed: nothing is lost', async () => {
  const pipeline = await bed.pipeline(toFile)
  const { put, runAs, queueIsEmpty } = pipeline
  const [first, second] = [runAs('one', 'run'), runAs('two', 'run')]
  const expected: string[] = []
  for (let object = 0; object < 200; object += 1) {
    await put(`${object % 7}/o ${object}.log`, `${linesOf(`o${object}`).join('\n')}\n`)
    expected.push(...linesOf(`o${object}`))
    if (object === 100)
      for (const one of [first, second]) await one.until(() => one.output.includes('object done'), 'the first objects')
    if (object === 150) await first.kill('SIGKILL')
  }
  await until(queueIsEmpty, 'an empty queue', second)
  const { code, stdout } = await second.kill('SIGTERM')
  assert.equal(code, 0, stdout.slice(-3000))
  const { lost, strange } = compare(await arrived(pipeline), expected)
  assert.deepEqual({ lost, strange }, { lost: [], strange: [] })
})

test('a message that is no notification goes to the dead-letter queue of moto, and the objects beside it are read', async () => {
  const pipeline = await bed.pipeline(toFile)
  const { put, run, queueUrl: QueueUrl, bucket } = pipeline
  const { QueueUrl: dead } = await sqs.send(new CreateQueueCommand({ QueueName: `${bucket}-dead` }))
  const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl: dead, AttributeNames: ['QueueArn'] }))
  const RedrivePolicy = JSON.stringify({ deadLetterTargetArn: Attributes?.QueueArn, maxReceiveCount: 2 })
  await sqs.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: { RedrivePolicy } }))
  await sqs.send(new SendMessageCommand({ QueueUrl, MessageBody: 'no notification' }))
  await put('good.log', `${linesOf('good').join('\n')}\n`)
  const { code, stdout } = await run('run', '--once').ended
  assert.equal(code, 1, stdout.slice(-3000))
  assert.deepEqual(compare(await arrived(pipeline), linesOf('good')), exact)
  const { Messages } = await sqs.send(new ReceiveMessageCommand({ QueueUrl: dead }))
  assert.deepEqual(
    Messages?.map(({ Body }) => Body),
    ['no notification'],
  )
})

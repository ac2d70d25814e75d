/**
 * What stands before the sinks in the tests of real ones: a bucket of numbered records in versitygw, queues in ElasticMQ
 * with the notifications that tell of them, and the streamer, run as an operator runs it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { CreateQueueCommand, GetQueueAttributesCommand, SendMessageBatchCommand, SQSClient } from '@aws-sdk/client-sqs'
import { Command } from '../e2e/command.ts'
import { type S3EventObject, s3Event, snsWrapped } from '../servers/s3-events.ts'
import { type Elasticmq, startElasticmq } from './elasticmq.ts'
import { recordText } from './numbered-records.ts'
import { startVersitygw } from './versitygw.ts'

/** Names with what notifications encode. */
const keyOf = (object: number) => `logs/day=12/Threat Team + Web/${String(object).padStart(4, '0')} é.gz`
/** Messages that SQS takes in one request. */
const sendLimit = 10

export interface QueueDepth {
  /** Messages that can be received now. */
  readonly waiting: number
  /** Messages that someone holds. */
  readonly held: number
}

export interface NotifiedBucket extends AsyncDisposable {
  readonly sqs: Elasticmq
  /** Records in all objects. */
  readonly records: number
  readonly objects: readonly S3EventObject[]
  /** A queue; with `maxReceiveCount` it has a dead-letter queue `<name>-dead`, and a message gets there after so many receives. */
  createQueue(name: string, o?: { readonly maxReceiveCount?: number }): Promise<void>
  /** A queue with messages that tell of the first so many objects, else of all. */
  fillQueue(name: string, o?: { readonly objects?: number }): Promise<void>
  /** One more object; nothing tells of it. */
  put(key: string, body: Buffer): Promise<S3EventObject>
  send(queue: string, bodies: readonly string[]): Promise<void>
  depth(queue: string): Promise<QueueDepth>
  /** True if nothing waits in it and nobody holds anything. */
  isEmpty(queue: string): Promise<boolean>
  /** A configuration and a state of its own, from the queue to the sink (a block of YAML in one line). */
  installation(queue: string, sink: string): Promise<QueueInstallation>
}

export interface QueueInstallation {
  start(...args: readonly string[]): Command
}

export async function startNotifiedBucket(o: {
  readonly objects: number
  readonly recordsPerObject: number
}): Promise<NotifiedBucket> {
  await using stack = new AsyncDisposableStack()
  const [s3, sqs] = await Promise.all([startVersitygw(), startElasticmq()])
  stack.use(sqs)
  stack.defer(() => s3.stop())
  const { accessKeyId, secretAccessKey, region } = s3
  const credentials = { accessKeyId, secretAccessKey }
  const folder = await mkdtemp(join(tmpdir(), 's3-streamer-real-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const client = new SQSClient({ endpoint: sqs.endpoint, region, credentials })
  stack.defer(() => client.destroy())
  const bucket = 'weblogs'
  await s3.createBucket(bucket)
  const s3Client = new S3Client({ endpoint: s3.endpoint, region, forcePathStyle: true, credentials })
  stack.defer(() => s3Client.destroy())
  const put = async (key: string, Body: Buffer): Promise<S3EventObject> => {
    const { ETag = '' } = await s3Client.send(new PutObjectCommand({ Bucket: bucket, Key: key, Body }))
    return { bucket, key, size: Body.length, etag: ETag.replaceAll('"', '') }
  }
  const objects: S3EventObject[] = []
  for (let object = 0; object < o.objects; object += 1) {
    const first = object * o.recordsPerObject
    const lines = Array.from({ length: o.recordsPerObject }, (_, i) => `${recordText(first + i)}\n`)
    objects.push(await put(keyOf(object), gzipSync(lines.join(''))))
  }
  const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region }
  const running: Command[] = []
  stack.defer(async () => void (await Promise.all(running.map((command) => command.kill('SIGKILL')))))
  const all = stack.move()

  const send = async (queue: string, bodies: readonly string[]) => {
    for (let i = 0; i < bodies.length; i += sendLimit) {
      const Entries = bodies.slice(i, i + sendLimit).map((MessageBody, Id) => ({ Id: String(Id), MessageBody }))
      const { Failed } = await client.send(new SendMessageBatchCommand({ QueueUrl: sqs.queueUrl(queue), Entries }))
      if (Failed?.length) throw new Error(`cannot send to ${queue}: ${Failed[0]?.Message}`)
    }
  }
  const createQueue = async (QueueName: string, { maxReceiveCount }: { readonly maxReceiveCount?: number } = {}) => {
    const Attributes: Record<string, string> = {}
    if (maxReceiveCount !== undefined) {
      await createQueue(`${QueueName}-dead`)
      const deadLetterTargetArn = `arn:aws:sqs:${region}:000000000000:${QueueName}-dead`
      Attributes.RedrivePolicy = JSON.stringify({ deadLetterTargetArn, maxReceiveCount })
    }
    await client.send(new CreateQueueCommand({ QueueName, Attributes }))
  }
  const depth = async (queue: string): Promise<QueueDepth> => {
    const AttributeNames = ['ApproximateNumberOfMessages' as const, 'ApproximateNumberOfMessagesNotVisible' as const]
    const command = new GetQueueAttributesCommand({ QueueUrl: sqs.queueUrl(queue), AttributeNames })
    const { Attributes = {} } = await client.send(command)
    const [waiting, held] = AttributeNames.map((name) => Number(Attributes[name]))
    return { waiting: waiting as number, held: held as number }
  }
  let installations = 0
  return {
    sqs,
    objects,
    records: o.objects * o.recordsPerObject,
    send,
    createQueue,
    put,
    fillQueue: async (name, { objects: count = objects.length } = {}) => {
      await createQueue(name)
      await send(name, messagesOf(objects.slice(0, count)))
    },
    depth,
    isEmpty: async (queue) => {
      const { waiting, held } = await depth(queue)
      return waiting + held === 0
    },
    installation: async (queue, sink) => {
      installations += 1
      const config = join(folder, `${installations}.yaml`)
      await writeFile(
        config,
        `pipelines:
  - name: ${queue}
    source: { type: s3_sqs, queue_url: "${sqs.queueUrl(queue)}", endpoint: "${s3.endpoint}", region: ${region}, visibility_timeout: 5s }
    sink: ${sink}
    state: { file_path: "${join(folder, `${installations}.json`)}", save_interval: 200ms }
logging: { level: debug }
`,
      )
      return {
        start: (...args) => {
          const command = new Command([...args, '--config', config], { env })
          running.push(command)
          return command
        },
      }
    },
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}

/** One to three objects a message, every other through SNS. */
function messagesOf(objects: readonly S3EventObject[]): string[] {
  const bodies: string[] = []
  for (let at = 0; at < objects.length; ) {
    const count = 1 + (bodies.length % 3)
    const body = s3Event(objects.slice(at, at + count))
    bodies.push(bodies.length % 2 === 0 ? body : snsWrapped(body))
    at += count
  }
  return bodies
}

/** Asks again and again until it is so; fails with the command's own words if it ends before, or after `withinMs`. */
export async function until(
  isSo: () => Promise<boolean>,
  command: Command,
  o: { readonly what: string; readonly everyMs?: number; readonly withinMs?: number },
): Promise<void> {
  for (const end = Date.now() + (o.withinMs ?? 120_000); !(await isSo()); await sleep(o.everyMs ?? 20)) {
    if (command.hasEnded) throw new Error(`it ended before ${o.what}:\n${command.output.slice(-3000)}`)
    if (Date.now() > end) throw new Error(`waiting for ${o.what} in vain:\n${command.output.slice(-3000)}`)
  }
}

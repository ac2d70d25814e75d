/** moto (https://docs.getmoto.org): S3 and SQS at one address, and buckets that tell a queue of their objects. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  CreateBucketCommand,
  type Event,
  PutBucketNotificationConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3'
import { CreateQueueCommand, GetQueueAttributesCommand, SQSClient } from '@aws-sdk/client-sqs'
import { freePort, startProcess, stopProcess } from './process.ts'
import { cached } from './receiver.ts'

const version = '5.2.1'
const events: Event[] = ['s3:ObjectCreated:*', 's3:ObjectRemoved:*']

export interface Moto extends AsyncDisposable {
  /** `http://127.0.0.1:<port>`, of S3 and of SQS. */
  readonly endpoint: string
  readonly region: string
  readonly pid: number
  readonly s3: S3Client
  readonly sqs: SQSClient
  /** Makes a bucket and a queue that is told of it, s3:TestEvent first; gives the URL of the queue. */
  bucketWithQueue(bucket: string): Promise<string>
  /** Messages that can be received, or are in someone's hands. */
  queueSize(url: string): Promise<{ readonly waiting: number; readonly inFlight: number }>
  /** Ends the server; it has nothing on disk. */
  stop(): Promise<void>
}

/** Throws if test/real/setup was not run. */
export async function startMoto(): Promise<Moto> {
  const python = cached(`moto-${version}`, 'bin', 'python')
  // An empty home: no settings of AWS from the one who runs the tests.
  const home = await mkdtemp(join(tmpdir(), 's3-streamer-moto-'))
  const port = await freePort()
  const endpoint = `http://127.0.0.1:${port}`
  const region = 'us-east-1'
  const remove = () => rm(home, { recursive: true, force: true })
  const args = ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)]
  const child = await startProcess(python, args, `${endpoint}/moto-api/`, { HOME: home }).catch(
    async (error: unknown) => {
      await remove()
      throw error
    },
  )
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' }
  const s3 = new S3Client({ endpoint, region, forcePathStyle: true, credentials })
  const sqs = new SQSClient({ endpoint, region, credentials })
  const stop = async () => {
    s3.destroy()
    sqs.destroy()
    await stopProcess(child, 'SIGTERM')
    await remove()
  }
  return {
    endpoint,
    region,
    pid: child.pid as number,
    s3,
    sqs,
    bucketWithQueue: async (bucket) => {
      await s3.send(new CreateBucketCommand({ Bucket: bucket }))
      const { QueueUrl } = await sqs.send(new CreateQueueCommand({ QueueName: `${bucket}-events` }))
      const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['QueueArn'] }))
      await s3.send(
        new PutBucketNotificationConfigurationCommand({
          Bucket: bucket,
          NotificationConfiguration: {
            QueueConfigurations: [{ QueueArn: Attributes?.QueueArn, Events: events }],
          },
        }),
      )
      return QueueUrl as string
    },
    queueSize: async (QueueUrl) => {
      const { Attributes } = await sqs.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] }))
      return {
        waiting: Number(Attributes?.ApproximateNumberOfMessages),
        inFlight: Number(Attributes?.ApproximateNumberOfMessagesNotVisible),
      }
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

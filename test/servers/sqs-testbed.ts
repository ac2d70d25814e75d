/** For tests against the SQS server of this folder: a server whose clock stands still, a queue and a client. */
import assert from 'node:assert/strict'
import { after } from 'node:test'
import {
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  type ReceiveMessageCommandInput,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { type SqsOptions, type SqsServer, startSqs } from './sqs.ts'

export interface SqsTestbed {
  readonly sqs: SqsServer
  readonly client: SQSClient
  readonly QueueUrl: string
  /** Asks for up to 10. */
  receive(o?: Partial<ReceiveMessageCommandInput>, signal?: AbortSignal): Promise<Message[]>
  attribute(name: string): Promise<string | undefined>
}

export interface SqsTestbedOptions extends SqsOptions {
  /** Of the queue; "events" if left out. */
  readonly name?: string
  readonly attributes?: Record<string, string>
}

/** Where the clock stands. */
const startMs = 1_800_000_000_000

const opened: { sqs: SqsServer; client: SQSClient }[] = []
after(async () => {
  for (const { sqs, client } of opened) {
    client.destroy()
    await sqs.close()
  }
})

/** Closed after the last test of the file. */
export async function startSqsTestbed(o: SqsTestbedOptions = {}): Promise<SqsTestbed> {
  const { name = 'events', attributes, ...options } = o
  const sqs = await startSqs({ nowMs: () => startMs, ...options })
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' }
  const client = new SQSClient({ endpoint: sqs.endpoint, region: 'us-east-1', credentials, maxAttempts: 1 })
  opened.push({ sqs, client })
  const QueueUrl = sqs.createQueue(name, attributes)
  return {
    sqs,
    client,
    QueueUrl,
    async receive(input = {}, signal) {
      const command = new ReceiveMessageCommand({ QueueUrl, MaxNumberOfMessages: 10, ...input })
      return (await client.send(command, signal ? { abortSignal: signal } : {})).Messages ?? []
    },
    async attribute(attribute) {
      const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] })
      const all: Record<string, string> = (await client.send(command)).Attributes ?? {}
      return all[attribute]
    },
  }
}

/** For assert.rejects: the name AWS SDKs give the error, and a part of its message. */
export function namedError(name: string, part = ''): (error: unknown) => boolean {
  return (error) => error instanceof Error && error.name === name && error.message.includes(part)
}

export function bodiesOf(messages: readonly Message[]): (string | undefined)[] {
  return messages.map(({ Body }) => Body)
}

export function handleOf(message: Message | undefined): string {
  return message?.ReceiptHandle ?? assert.fail('no receipt handle')
}

/** Resolves when as many long polls wait. */
export async function waiting(sqs: SqsServer, count: number): Promise<void> {
  while (sqs.waiting !== count) await new Promise((resolve) => setTimeout(resolve, 1))
}

/** What the test SQS server does for each action of the API. */
import type { SqsMessage, SqsQueue } from './sqs-queue.ts'
import {
  attributesMd5,
  entriesOf,
  type Fields,
  failedEntry,
  fieldsOf,
  invalidParameter,
  mapOf,
  md5,
  named,
  numberOf,
  ofSqs,
  optionalText,
  type SqsErrorAnswer,
  SqsRefusal,
  sizeOf,
  sqsErrors,
  textOf,
  textsOf,
} from './sqs-wire.ts'

/** The queues, by name. */
export interface SqsQueues {
  readonly byName: Map<string, SqsQueue>
  create(name: string, attributes: ReadonlyMap<string, string>): SqsQueue
  queueUrl(name: string): string
}

export interface SqsCall {
  readonly body: Fields
  /** Ends when the client leaves. */
  readonly signal: AbortSignal
  /** Why an entry of a batch is to fail without having been looked at. */
  readonly failure: (entry: Fields, index: number) => SqsErrorAnswer | undefined
}

/** Answers, or throws SqsRefusal. */
type Action = (queues: SqsQueues, call: SqsCall) => Fields | undefined | Promise<Fields>

export const sqsActions: Readonly<Partial<Record<string, Action>>> = {
  CreateQueue: (queues, { body }) => {
    const name = textOf(body, 'QueueName')
    const attributes = mapOf(body, 'Attributes')
    const existing = queues.byName.get(name)
    if (existing && !existing.hasAttributes(attributes)) {
      const message = `A queue already exists with the same name and a different value for an attribute`
      throw new SqsRefusal({ ...named('QueueNameExists', message), code: 'QueueAlreadyExists' })
    }
    if (!existing) queues.create(name, attributes)
    return { QueueUrl: queues.queueUrl(name) }
  },
  DeleteQueue: (queues, { body }) => {
    queues.byName.delete(queueOf(queues, body).name)
    return undefined
  },
  GetQueueUrl: (queues, { body }) => {
    const name = textOf(body, 'QueueName')
    if (!queues.byName.has(name)) throw new SqsRefusal(sqsErrors.queueDoesNotExist)
    return { QueueUrl: queues.queueUrl(name) }
  },
  ListQueues: (queues, { body }) => {
    const prefix = optionalText(body, 'QueueNamePrefix') ?? ''
    const names = [...queues.byName.keys()].filter((name) => name.startsWith(prefix))
    return names.length === 0 ? {} : { QueueUrls: names.map((name) => queues.queueUrl(name)) }
  },
  GetQueueAttributes: (queues, { body }) => {
    const attributes = queueOf(queues, body).attributes(textsOf(body, 'AttributeNames'))
    return Object.keys(attributes).length === 0 ? {} : { Attributes: attributes }
  },
  SetQueueAttributes: (queues, { body }) => {
    queueOf(queues, body).setAttributes(mapOf(body, 'Attributes'))
    return undefined
  },
  PurgeQueue: (queues, { body }) => {
    queueOf(queues, body).purge()
    return undefined
  },
  SendMessage: (queues, { body }) => send(queueOf(queues, body), body),
  SendMessageBatch: (queues, call) => {
    const queue = queueOf(queues, call.body)
    const entries = entriesOf(call.body)
    const bytes = entries.reduce(
      (sum, entry) => sum + sizeOf(textOf(entry, 'MessageBody'), fieldsOf(entry, 'MessageAttributes')),
      0,
    )
    if (bytes > longestBatchBytes) {
      const message = `Batch requests cannot be longer than ${longestBatchBytes} bytes. You have sent ${bytes} bytes.`
      throw new SqsRefusal(ofSqs('BatchRequestTooLong', message))
    }
    return batch(call, (entry) => send(queue, entry))
  },
  ReceiveMessage: (queues, call) => receive(queueOf(queues, call.body), call),
  DeleteMessage: (queues, { body }) => remove(queueOf(queues, body), body),
  DeleteMessageBatch: (queues, call) => {
    const queue = queueOf(queues, call.body)
    return batch(call, (entry) => remove(queue, entry))
  },
  ChangeMessageVisibility: (queues, { body }) => changeVisibility(queueOf(queues, body), body),
  ChangeMessageVisibilityBatch: (queues, call) => {
    const queue = queueOf(queues, call.body)
    return batch(call, (entry) => changeVisibility(queue, entry))
  },
}

/** https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html */
const longestBatchBytes = 1_048_576

/** `QueueUrl` is `<anything>/<account>/<name>`. */
function queueOf(queues: SqsQueues, body: Fields): SqsQueue {
  const url = textOf(body, 'QueueUrl')
  const name = url.slice(url.lastIndexOf('/') + 1)
  const queue = queues.byName.get(name)
  if (!queue || new URL(queues.queueUrl(name)).pathname !== pathOf(url)) {
    throw new SqsRefusal(sqsErrors.queueDoesNotExist)
  }
  return queue
}

function pathOf(url: string): string {
  return URL.parse(url)?.pathname ?? url
}

/** A batch answers 200 whatever becomes of its entries. Lists without an entry are left out. */
function batch({ body, failure }: SqsCall, act: (entry: Fields) => Fields | undefined): Fields {
  const successful: Fields[] = []
  const failed: Fields[] = []
  for (const [index, entry] of entriesOf(body).entries()) {
    const { Id } = entry
    try {
      const wrong = failure(entry, index)
      if (wrong) throw new SqsRefusal(wrong)
      successful.push({ Id, ...act(entry) })
    } catch (error) {
      if (!(error instanceof SqsRefusal)) throw error
      failed.push(failedEntry(Id, error.answer))
    }
  }
  return {
    ...(successful.length === 0 ? {} : { Successful: successful }),
    ...(failed.length === 0 ? {} : { Failed: failed }),
  }
}

function send(queue: SqsQueue, fields: Fields): Fields {
  const body = textOf(fields, 'MessageBody')
  const attributes = fieldsOf(fields, 'MessageAttributes')
  const delay = numberOf(fields, 'DelaySeconds', 0, 900)
  if (queue.fifo && delay) {
    const reason = 'Reason: The request include parameter that is not valid for this queue type'
    throw new SqsRefusal(invalidParameter(`Value ${delay} for parameter DelaySeconds is invalid. ${reason}`))
  }
  const { id, sequenceNumber } = queue.send(body, {
    groupId: optionalText(fields, 'MessageGroupId'),
    dedupId: optionalText(fields, 'MessageDeduplicationId'),
    delayMs: delay === undefined ? undefined : delay * 1000,
    attributes,
  })
  return {
    MessageId: id,
    MD5OfMessageBody: md5(body),
    ...(attributes === undefined ? {} : { MD5OfMessageAttributes: attributesMd5(attributes) }),
    ...(sequenceNumber === undefined ? {} : { SequenceNumber: sequenceNumber }),
  }
}

function remove(queue: SqsQueue, fields: Fields): undefined {
  queue.delete(textOf(fields, 'ReceiptHandle'))
}

function changeVisibility(queue: SqsQueue, fields: Fields): undefined {
  const seconds = numberOf(fields, 'VisibilityTimeout', 0, 43_200)
  if (seconds === undefined) throw new SqsRefusal(invalidParameter('VisibilityTimeout is required.'))
  queue.changeVisibility(textOf(fields, 'ReceiptHandle'), seconds)
}

async function receive(queue: SqsQueue, { body, signal }: SqsCall): Promise<Fields> {
  const wait = numberOf(body, 'WaitTimeSeconds', 0, 20)
  const waitMs = wait === undefined ? queue.ms('ReceiveMessageWaitTimeSeconds') : wait * 1000
  const visibility = numberOf(body, 'VisibilityTimeout', 0, 43_200)
  const asked = {
    max: numberOf(body, 'MaxNumberOfMessages', 1, 10) ?? 1,
    visibilityMs: visibility === undefined ? queue.ms('VisibilityTimeout') : visibility * 1000,
  }
  // A long poll gets no error, but nothing: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-queues.html
  if (waitMs === 0 && !queue.fifo && queue.full) throw new SqsRefusal(sqsErrors.overLimit)
  const messages = waitMs === 0 ? queue.take(asked) : await queue.poll(asked, waitMs, signal)
  const systemNames = [...textsOf(body, 'AttributeNames'), ...textsOf(body, 'MessageSystemAttributeNames')]
  const names = textsOf(body, 'MessageAttributeNames')
  return messages.length === 0 ? {} : { Messages: messages.map((one) => received(queue, one, systemNames, names)) }
}

function received(
  queue: SqsQueue,
  message: SqsMessage,
  systemNames: readonly string[],
  attributeNames: readonly string[],
): Fields {
  const all = systemNames.includes('All')
  const system = Object.entries({
    ApproximateReceiveCount: message.receives,
    ApproximateFirstReceiveTimestamp: message.firstReceivedMs,
    SentTimestamp: message.sentMs,
    SenderId: 'AIDATESTTESTTESTTEST',
    MessageGroupId: message.groupId,
    MessageDeduplicationId: message.dedupId,
    SequenceNumber: message.sequenceNumber,
    DeadLetterQueueSourceArn: message.sourceArn,
  }).flatMap(([name, value]) =>
    value !== undefined && (all || systemNames.includes(name)) ? [[name, String(value)]] : [],
  )
  const sent = Object.entries(message.attributes ?? {}).filter(([name]) => isNamed(name, attributeNames))
  const attributes = Object.fromEntries(sent)
  return {
    MessageId: message.id,
    ReceiptHandle: queue.handleOf(message),
    MD5OfBody: message.md5,
    Body: message.body,
    ...(system.length === 0 ? {} : { Attributes: Object.fromEntries(system) }),
    ...(sent.length === 0 ? {} : { MessageAttributes: attributes, MD5OfMessageAttributes: attributesMd5(attributes) }),
  }
}

/** `All`, `.*`, `prefix.*` or a whole name. */
function isNamed(name: string, names: readonly string[]): boolean {
  return names.some((one) => one === 'All' || one === name || (one.endsWith('.*') && name.startsWith(one.slice(0, -2))))
}

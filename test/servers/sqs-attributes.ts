/** Attributes of queues: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html */
import { type Fields, invalidParameter, named, SqsRefusal } from './sqs-wire.ts'

/** Range and default of those that are numbers. */
const numbers: Readonly<Record<string, readonly [min: number, max: number, initial: number]>> = {
  VisibilityTimeout: [0, 43_200, 30],
  DelaySeconds: [0, 900, 0],
  MaximumMessageSize: [1024, 1_048_576, 1_048_576],
  MessageRetentionPeriod: [60, 1_209_600, 345_600],
  ReceiveMessageWaitTimeSeconds: [0, 20, 0],
}
const fifoDefaults = {
  FifoQueue: 'true',
  ContentBasedDeduplication: 'false',
  DeduplicationScope: 'queue',
  FifoThroughputLimit: 'perQueue',
}
const others = ['Policy', 'RedrivePolicy', 'RedriveAllowPolicy', 'KmsMasterKeyId', 'KmsDataKeyReusePeriodSeconds']
const settable = new Set([...Object.keys(numbers), ...Object.keys(fifoDefaults), ...others, 'SqsManagedSseEnabled'])
const readable = new Set([
  ...settable,
  'All',
  'QueueArn',
  'CreatedTimestamp',
  'LastModifiedTimestamp',
  'ApproximateNumberOfMessages',
  'ApproximateNumberOfMessagesNotVisible',
  'ApproximateNumberOfMessagesDelayed',
])

/** From the attribute RedrivePolicy. */
export interface Redrive {
  readonly targetArn: string
  readonly maxReceives: number
}

export function defaultAttributes(fifo: boolean): Map<string, string> {
  return new Map([
    ...Object.entries(numbers).map(([name, [, , initial]]): [string, string] => [name, String(initial)]),
    ['SqsManagedSseEnabled', 'true'],
    ...(fifo ? Object.entries(fifoDefaults) : []),
  ])
}

/** Throws SqsRefusal at the first attribute AWS would not take. */
export function checkAttributes(given: ReadonlyMap<string, string>): void {
  for (const [name, value] of given) {
    if (!settable.has(name)) throw unknownAttribute(name)
    const range = numbers[name]
    if (range && !(/^\d+$/.test(value) && Number(value) >= range[0] && Number(value) <= range[1])) {
      throw new SqsRefusal(named('InvalidAttributeValue', `Invalid value for the parameter ${name}.`))
    }
  }
  redriveOf(given.get('RedrivePolicy'))
}

function unknownAttribute(name: string): SqsRefusal {
  return new SqsRefusal(named('InvalidAttributeName', `Unknown Attribute ${name}.`))
}

/** Those asked for, of all there are. */
export function selectAttributes(all: ReadonlyMap<string, string>, names: readonly string[]): Fields {
  for (const name of names) if (!readable.has(name)) throw unknownAttribute(name)
  const wanted = names.includes('All') ? all.keys() : names
  return Object.fromEntries([...wanted].flatMap((name) => [[name, all.get(name)]]).filter(([, value]) => value))
}

export function redriveOf(policy: string | undefined): Redrive | undefined {
  if (policy === undefined || policy === '') return undefined
  const wrong = new SqsRefusal(invalidParameter(`Value ${policy} for parameter RedrivePolicy is invalid.`))
  let parsed: { deadLetterTargetArn?: unknown; maxReceiveCount?: unknown } | null
  try {
    parsed = JSON.parse(policy)
  } catch {
    throw wrong
  }
  const { deadLetterTargetArn, maxReceiveCount } = parsed ?? {}
  const maxReceives = Number(maxReceiveCount)
  if (typeof deadLetterTargetArn !== 'string' || !(maxReceives >= 1 && maxReceives <= 1000)) throw wrong
  return { targetArn: deadLetterTargetArn, maxReceives }
}

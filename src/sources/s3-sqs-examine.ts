/** What `doctor` tells of a queue of notifications. No message is received: that would count as one of its receives. */
import { type FoundCredentials, findCredentials } from '../aws/credentials-finding.ts'
import type { Finding, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { clockFinding, problemOf, type ServerClock, someOf, timed } from '../core/findings.ts'
import { counted, roughly } from '../telemetry/figures.ts'
import type { QueueAttributes } from './sqs-queue.ts'

const notificationBytes = 65_536
const dayMs = 86_400_000
/** Buckets of the policy that are asked for. */
const mostBuckets = 5

export interface ExaminedQueue {
  readonly url: string
  readonly maxReceives: number
  readonly credentials: () => Promise<FoundCredentials>
  readonly attributes: (o: Signal) => Promise<QueueAttributes>
  readonly clock: () => ServerClock | undefined
  /** Attributes of another queue. */
  readonly attributesOf: (url: string, o: Signal) => Promise<QueueAttributes>
  /** The status with which S3 answers when it is asked for a bucket. */
  readonly statusOf: (bucket: string, o: Signal) => Promise<number>
}

export async function* examineQueue(at: ExaminedQueue, o: Signal): AsyncGenerator<Finding> {
  const credentials = await findCredentials(at.credentials, o)
  yield credentials
  if (credentials.level === 'problem') return
  let attributes: QueueAttributes
  try {
    const { value, ms } = await timed((within) => at.attributes(within), o)
    attributes = value
    yield { level: 'ok', text: `${at.url} is there (${ms} ms)` }
  } catch (error) {
    yield problemOf(error, o)
    return
  }
  const clock = clockFinding('SQS', at.clock(), { isSigned: true })
  if (clock) yield clock
  yield messages(attributes)
  yield* settings(at, attributes)
  yield* deadLetters(at, attributes, o)
  const senders = sendersOf(attributes.all.Policy)
  yield* policy(senders, attributes)
  for (const bucket of senders.buckets.slice(0, mostBuckets)) yield await bucketFinding(at, bucket, o)
}

function messages({ waiting, inFlight, delayed }: QueueAttributes): Finding {
  const text = `about ${counted(waiting, 'message')} waiting, ${inFlight} hidden, ${delayed} delayed`
  if (waiting + inFlight + delayed > 0) return { level: 'ok', text }
  const advice =
    'if objects arrive, see whether the bucket has an event notification (or EventBridge rule) for this queue and this prefix'
  return { level: 'note', text: 'the queue is empty, and nothing in it is hidden or delayed', advice }
}

function* settings({ url }: ExaminedQueue, { all, maximumMessageSize }: QueueAttributes): Generator<Finding> {
  if (maximumMessageSize !== undefined && maximumMessageSize < notificationBytes) {
    const text = `the queue refuses messages of more than ${maximumMessageSize} bytes, and with them large notifications, without a word`
    yield { level: 'problem', text, advice: 'set its MaximumMessageSize to 65536 or more' }
  } else if (maximumMessageSize !== undefined)
    yield { level: 'ok', text: `it takes messages of up to ${maximumMessageSize} bytes` }
  const retentionMs = Number(all.MessageRetentionPeriod ?? Number.NaN) * 1000
  const kept = `messages are kept for ${roughly(retentionMs)}`
  if (retentionMs < dayMs) {
    yield {
      level: 'warning',
      text: kept,
      advice: 'an outage longer than that loses them: set MessageRetentionPeriod to days',
    }
  } else if (Number.isFinite(retentionMs)) yield { level: 'ok', text: kept }
  if (all.FifoQueue === 'true' || url.endsWith('.fifo')) {
    const advice = 'S3 itself cannot send to a FIFO queue: a FIFO topic or EventBridge must be between'
    yield { level: 'note', text: 'it is a FIFO queue', advice }
  }
  if (/(^|\/)aws\/sqs$/.test(all.KmsMasterKeyId ?? '')) {
    const text = 'the queue is encrypted with the key alias/aws/sqs, which S3 and SNS cannot use'
    yield { level: 'problem', text, advice: 'use SSE-SQS, or a key of your own that lets the sender use it' }
  }
}

async function* deadLetters(
  at: ExaminedQueue,
  { all, maxReceiveCount }: QueueAttributes,
  o: Signal,
): AsyncGenerator<Finding> {
  const arn = redriveTarget(all.RedrivePolicy)
  if (maxReceiveCount === undefined || arn === undefined) {
    const text = `there is no dead-letter queue: what cannot be dealt with goes to quarantine after ${at.maxReceives} receives`
    yield { level: 'note', text }
    return
  }
  const name = arn.split(':').at(-1) ?? ''
  const what = `after ${maxReceiveCount} receives SQS moves a message to ${name}`
  try {
    const { waiting } = await at.attributesOf(at.url.replace(/[^/]+\/*$/, name), o)
    if (waiting > 0) {
      const advice = 'look at them, mend what they tell of, and redrive them'
      yield {
        level: 'warning',
        text: `${what}, where ${counted(waiting, 'message')} ${waiting === 1 ? 'is' : 'are'} waiting`,
        advice,
      }
    } else yield { level: 'ok', text: `${what}, which is empty` }
  } catch (error) {
    o.signal.throwIfAborted()
    const isGone = error instanceof StreamError && /NonExistentQueue|QueueDoesNotExist/.test(String(error.data.name))
    if (!isGone) yield { level: 'note', text: `${what}; how many are there cannot be asked` }
    else
      yield {
        level: 'problem',
        text: `${what}, and there is no such queue`,
        advice: 'make it, or correct RedrivePolicy',
      }
  }
  if (maxReceiveCount < 3) {
    const advice = 'a stop or a short outage counts as a receive: 5 or more leaves room for that'
    yield { level: 'warning', text: `maxReceiveCount is ${maxReceiveCount}`, advice }
  }
}

interface Senders {
  readonly services: readonly string[]
  readonly buckets: readonly string[]
  /** Statements that let someone send, who is no service. */
  readonly others: number
  readonly isReadable: boolean
}

function* policy({ services, others, isReadable, buckets }: Senders, { all }: QueueAttributes): Generator<Finding> {
  if (all.QueueArn === undefined && all.Policy === undefined) return
  if (!isReadable) {
    yield {
      level: 'warning',
      text: 'the policy of the queue cannot be understood',
      advice: 'look at it in the console',
    }
  } else if (services.length > 0) {
    const from = buckets.length > 0 ? ` for ${someOf(buckets)}` : ''
    yield { level: 'ok', text: `its policy lets ${services.join(' and ')} send${from}` }
  } else if (others > 0) yield { level: 'ok', text: 'its policy lets others send' }
  else {
    const advice = 'add a statement that allows sqs:SendMessage for s3.amazonaws.com with aws:SourceArn of the bucket'
    yield { level: 'warning', text: 'no statement of its policy lets S3, SNS or EventBridge send', advice }
  }
}

async function bucketFinding({ statusOf }: ExaminedQueue, bucket: string, o: Signal): Promise<Finding> {
  const place = `s3://${bucket}`
  try {
    const status = await statusOf(bucket, o)
    if (status < 400) return { level: 'ok', text: `${place}, which may send, is there` }
    if (status === 404) {
      return {
        level: 'warning',
        text: `${place}, which may send, is not there`,
        advice: 'check the policy of the queue',
      }
    }
    const text = `${place}, which may send, answers ${status}: whether its objects can be read the first one will show`
    return { level: 'note', text }
  } catch (error) {
    return problemOf(error, o)
  }
}

function redriveTarget(policy: string | undefined): string | undefined {
  const { deadLetterTargetArn } = objectOf(policy) ?? {}
  return typeof deadLetterTargetArn === 'string' ? deadLetterTargetArn : undefined
}

/** Who may send, by the policy of a queue. https://docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html */
export function sendersOf(text: string | undefined): Senders {
  const services = new Set<string>()
  const buckets = new Set<string>()
  let others = 0
  const parsed = text === undefined || text === '' ? {} : objectOf(text)
  for (const statement of listOf(parsed?.Statement)) {
    if (!isRecord(statement) || statement.Effect !== 'Allow') continue
    if (!listOf(statement.Action).some((action) => /^(\*|sqs:(\*|send\*?|sendmessage\*?))$/i.test(String(action))))
      continue
    const principal = isRecord(statement.Principal) ? statement.Principal : {}
    const named = listOf(principal.Service).map((service) => nameOfService(String(service)))
    for (const name of named) services.add(name)
    if (named.length === 0) others += 1
    for (const arn of JSON.stringify(statement.Condition ?? {}).matchAll(
      /"arn:[^:"]+:s3:[^:"]*:[^:"]*:([a-z0-9.-]+)"/g,
    ))
      if (arn[1] !== undefined) buckets.add(arn[1])
  }
  return { services: [...services], buckets: [...buckets], others, isReadable: parsed !== undefined }
}

function nameOfService(service: string): string {
  if (service.startsWith('s3.')) return 'S3'
  if (service.startsWith('sns.')) return 'SNS'
  return service.startsWith('events.') ? 'EventBridge' : service
}

function listOf(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  return value === undefined ? [] : [value]
}

function objectOf(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}')
    return isRecord(parsed) ? parsed : undefined
  } catch {
    return undefined
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

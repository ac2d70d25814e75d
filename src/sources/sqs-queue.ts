/** One SQS queue: its client, its requests, and what its errors mean. */
import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  SQSClient,
  SQSServiceException,
} from '@aws-sdk/client-sqs'
import { type AwsConfig, assumedRole } from '../aws/connection.ts'
import type { FoundCredentials } from '../aws/credentials-finding.ts'
import { missingAdvice } from '../aws/credentials-finding.ts'
import { RequestWatch } from '../aws/request-watch.ts'
import type { Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { ServerClock } from '../core/findings.ts'

/** A message as it was received this time. */
export interface SqsMessage {
  readonly id: string
  /** Changes with every receive. */
  readonly handle: string
  readonly body: string
  /** How often it was received, this time included. */
  readonly receives: number
  readonly sentMs: number | undefined
}

/** One message in a batch request. */
export interface HandleEntry {
  readonly handle: string
  /** For a change of visibility: seconds from now on. */
  readonly visibilitySeconds?: number
}

/** What became of an entry: `expired` is a handle that is no longer good, so the message is someone else's or will be. */
export type EntryOutcome = 'done' | 'expired' | 'failed'

export interface QueueAttributes {
  /** Messages that can be received now; the next ones are approximate, as SQS says. */
  readonly waiting: number
  readonly inFlight: number
  readonly delayed: number
  /** Receives after which SQS moves a message to the dead-letter queue; undefined if the queue has none. */
  readonly maxReceiveCount: number | undefined
  /** Largest message it takes, in bytes. */
  readonly maximumMessageSize: number | undefined
  /** Everything that SQS tells, by its names. */
  readonly all: Readonly<Record<string, string>>
}

/** Largest batch of any request. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html */
export const batchLimit = 10

export class SqsQueue implements Disposable {
  readonly #url: string
  readonly #client: SQSClient
  readonly #watch: RequestWatch

  /** `used` is told what comes of each request: what it threw, or nothing. */
  constructor(
    url: string,
    config: AwsConfig,
    connections: number,
    used: (error?: StreamError) => void = () => undefined,
  ) {
    this.#url = url
    const region = regionOf(url) ?? config.region ?? process.env.AWS_REGION
    // A server that is not AWS needs no region, but the signature does.
    const isAws = /\.amazonaws\.com(\.cn)?$/.test(new URL(url).hostname)
    this.#client = new SQSClient({
      ...(region === undefined && isAws ? {} : { region: region ?? 'us-east-1' }),
      // The URL of the queue says where it is, whatever the endpoint of the region is.
      useQueueUrlAsEndpoint: true,
      ...(isAws ? {} : { endpoint: new URL(url).origin }),
      ...assumedRole(config),
      maxAttempts: 3,
      requestHandler: {
        connectionTimeout: 10_000,
        // A long poll takes 20 s by itself.
        requestTimeout: 40_000,
        throwOnRequestTimeout: true,
        httpAgent: { keepAlive: true, maxSockets: connections },
        httpsAgent: { keepAlive: true, maxSockets: connections },
      },
    })
    this.#watch = new RequestWatch(this.#client, (error) => {
      if (error === undefined) used()
      else if (!(error instanceof Error) || error.name !== 'AbortError') used(sqsError(error, `use ${url}`))
    })
  }

  credentials(): Promise<FoundCredentials> {
    return this.#client.config.credentials()
  }

  /** What was seen last of the server's clock. */
  get clock(): ServerClock | undefined {
    return this.#watch.clock
  }

  /** The last part of the URL: what people call it. */
  get name(): string {
    return queueName(this.#url)
  }

  get #what(): string {
    return this.#url
  }

  /** Throws a StreamError; source.access if only the operator can mend it. */
  async receive(
    o: Signal & { readonly max: number; readonly waitSeconds: number; readonly visibilitySeconds: number },
  ): Promise<SqsMessage[]> {
    try {
      const { Messages } = await this.#client.send(
        new ReceiveMessageCommand({
          QueueUrl: this.#url,
          MaxNumberOfMessages: o.max,
          WaitTimeSeconds: o.waitSeconds,
          VisibilityTimeout: o.visibilitySeconds,
          MessageSystemAttributeNames: ['ApproximateReceiveCount', 'SentTimestamp'],
        }),
        { abortSignal: o.signal },
      )
      return (Messages ?? []).flatMap(messageOf)
    } catch (error) {
      throw sqsError(error, `receive from ${this.#what}`)
    }
  }

  /** Outcomes in the order of `entries`, which are at most `batchLimit`. Throws a StreamError if the request as a whole fails. */
  async delete(entries: readonly HandleEntry[], o: Signal): Promise<EntryOutcome[]> {
    try {
      const { Failed } = await this.#client.send(
        new DeleteMessageBatchCommand({
          QueueUrl: this.#url,
          Entries: entries.map(({ handle }, i) => ({ Id: String(i), ReceiptHandle: handle })),
        }),
        { abortSignal: o.signal },
      )
      return outcomes(entries.length, Failed)
    } catch (error) {
      throw sqsError(error, `delete from ${this.#what}`)
    }
  }

  /** As `delete`; 0 seconds make a message visible at once. */
  async changeVisibility(entries: readonly HandleEntry[], o: Signal): Promise<EntryOutcome[]> {
    try {
      const { Failed } = await this.#client.send(
        new ChangeMessageVisibilityBatchCommand({
          QueueUrl: this.#url,
          Entries: entries.map(({ handle, visibilitySeconds }, i) => ({
            Id: String(i),
            ReceiptHandle: handle,
            VisibilityTimeout: visibilitySeconds ?? 0,
          })),
        }),
        { abortSignal: o.signal },
      )
      return outcomes(entries.length, Failed)
    } catch (error) {
      throw sqsError(error, `change the visibility of messages of ${this.#what}`)
    }
  }

  async attributes(o: Signal): Promise<QueueAttributes> {
    try {
      const command = new GetQueueAttributesCommand({ QueueUrl: this.#url, AttributeNames: ['All'] })
      // Whoever may not ask may read all the same: no use of the queue depends on it.
      const { Attributes = {} } = await this.#client.send(this.#watch.aside(command), { abortSignal: o.signal })
      return {
        all: Attributes as Readonly<Record<string, string>>,
        waiting: Number(Attributes.ApproximateNumberOfMessages ?? 0),
        inFlight: Number(Attributes.ApproximateNumberOfMessagesNotVisible ?? 0),
        delayed: Number(Attributes.ApproximateNumberOfMessagesDelayed ?? 0),
        maxReceiveCount: redriveOf(Attributes.RedrivePolicy),
        maximumMessageSize:
          Attributes.MaximumMessageSize === undefined ? undefined : Number(Attributes.MaximumMessageSize),
      }
    } catch (error) {
      throw sqsError(error, `ask for the attributes of ${this.#what}`)
    }
  }

  [Symbol.dispose](): void {
    this.#client.destroy()
  }
}

export function queueName(url: string): string {
  return new URL(url).pathname.replace(/\/+$/, '').split('/').at(-1) || url
}

/** `sqs.eu-west-1.amazonaws.com`, or the old `eu-west-1.queue.amazonaws.com`. */
export function regionOf(url: string): string | undefined {
  const { hostname } = new URL(url)
  return (
    /^(?:sqs(?:-fips)?\.)([a-z0-9-]+)\.amazonaws\.com/.exec(hostname)?.[1] ??
    /^([a-z0-9-]+)\.queue\.amazonaws\.com/.exec(hostname)?.[1]
  )
}

function messageOf({ MessageId, ReceiptHandle, Body, Attributes = {} }: Message): SqsMessage[] {
  if (MessageId === undefined || ReceiptHandle === undefined) return []
  const sent = Number(Attributes.SentTimestamp ?? Number.NaN)
  return [
    {
      id: MessageId,
      handle: ReceiptHandle,
      body: Body ?? '',
      receives: Number(Attributes.ApproximateReceiveCount ?? 1) || 1,
      sentMs: Number.isFinite(sent) ? sent : undefined,
    },
  ]
}

/** The batch answers 200 whatever became of its entries. */
function outcomes(
  count: number,
  failed:
    | ReadonlyArray<{
        readonly Id?: string | undefined
        readonly Code?: string | undefined
        readonly SenderFault?: boolean | undefined
      }>
    | undefined,
): EntryOutcome[] {
  const result = new Array<EntryOutcome>(count).fill('done')
  for (const { Id, Code = '', SenderFault } of failed ?? []) {
    const isExpired = /ReceiptHandleIsInvalid|MessageNotInflight|InvalidParameterValue|InvalidIdFormat/.test(Code)
    result[Number(Id)] = isExpired || (SenderFault === true && !/Throttl/.test(Code)) ? 'expired' : 'failed'
  }
  return result
}

function redriveOf(policy: string | undefined): number | undefined {
  if (policy === undefined || policy === '') return undefined
  try {
    const { maxReceiveCount, deadLetterTargetArn } = JSON.parse(policy) as Record<string, unknown>
    const count = Number(maxReceiveCount)
    return deadLetterTargetArn !== undefined && count > 0 ? count : undefined
  } catch {
    return undefined
  }
}

const hints: ReadonlyArray<readonly [RegExp, string]> = [
  [/NonExistentQueue|QueueDoesNotExist/, 'check queue_url, its region and account'],
  [/KMS|Kms/, 'the credentials need kms:Decrypt on the key of the queue'],
  [
    /AccessDenied|Forbidden/,
    'the credentials need sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility and sqs:GetQueueAttributes on the queue',
  ],
  [/InvalidClientTokenId|UnrecognizedClient|InvalidAccessKeyId/, 'check AWS_ACCESS_KEY_ID'],
  [/SignatureDoesNotMatch|InvalidSignature/, 'check AWS_SECRET_ACCESS_KEY and the region'],
  [/ExpiredToken/, 'renew the session credentials'],
  [
    /InvalidAddress|InvalidParameterValue|MissingParameter|InvalidSecurity|OptInRequired|RequestExpired|RequestTimeTooSkewed/,
    'check queue_url, and the clock of this machine',
  ],
]

/** What an error of the SDK means. https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html */
export function sqsError(error: unknown, what: string): StreamError {
  if (error instanceof StreamError) return error
  const name = error instanceof Error ? error.name : 'Error'
  const status = error instanceof SQSServiceException ? error.$metadata.httpStatusCode : undefined
  const text = explainError(error)
  const because = text.includes(name) || name === 'Error' ? text : `${name}: ${text}`
  const hint = /CredentialsProviderError|TokenProviderError/.test(name)
    ? missingAdvice(text)
    : hints.find(([pattern]) => pattern.test(name) || (status !== undefined && pattern.test(text)))?.[1]
  const data = { name, status }
  const isThrottled = /Throttl|OverLimit|TooManyRequests|RequestLimitExceeded/.test(name)
  const isRegion = error instanceof Error && /region is missing/i.test(error.message)
  const isRefused = status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429
  if (!isThrottled && (hint !== undefined || isRegion || isRefused)) {
    const help = hint ?? (isRegion ? 'set `region`' : undefined)
    return new StreamError('source.access', `cannot ${what}: ${because}${help === undefined ? '' : ` (${help})`}`, {
      cause: error,
      data,
    })
  }
  return new StreamError('source.unavailable', `cannot ${what}: ${because}`, { cause: error, data })
}

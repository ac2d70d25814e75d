/**
 * Requests and answers of SQS as a server sees them: AWS JSON 1.0, errors that name both the JSON shape and, in a header, the
 * code of the older query protocol. Facts: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/
 */
import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'

/** The members of a request, of one of its entries, or of an answer. */
export type Fields = Readonly<Record<string, unknown>>

/** An error answer. */
export interface SqsErrorAnswer {
  readonly status: number
  /** As in `x-amzn-query-error`: what SDKs that understand the header take as the name of the error. */
  readonly code: string
  /** `__type`; the code if left out. */
  readonly shape?: string
  readonly message: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A request, or one entry of a batch, that is refused. */
export class SqsRefusal extends Error {
  readonly answer: SqsErrorAnswer

  constructor(answer: SqsErrorAnswer) {
    super(answer.message)
    this.name = 'SqsRefusal'
    this.answer = answer
  }
}

/** Errors a test may want as a fault. */
export const sqsErrors = {
  queueDoesNotExist: ofSqs('QueueDoesNotExist', 'The specified queue does not exist.', 'NonExistentQueue'),
  accessDenied: {
    status: 403,
    code: 'AccessDenied',
    shape: 'com.amazon.coral.service#AccessDeniedException',
    message: 'User: arn:aws:iam::000000000000:user/test is not authorized to perform this action on this resource',
  },
  invalidClientTokenId: {
    status: 403,
    code: 'InvalidClientTokenId',
    shape: 'com.amazon.coral.service#UnrecognizedClientException',
    message: 'The security token included in the request is invalid.',
  },
  overLimit: {
    status: 400,
    code: 'OverLimit',
    shape: 'com.amazonaws.sqs#OverLimit',
    message: 'The maximum number of in flight messages is reached.',
  },
  requestThrottled: {
    status: 400,
    code: 'RequestThrottled',
    shape: 'com.amazonaws.sqs#RequestThrottled',
    message: 'Request is throttled.',
  },
  messageNotInflight: ofSqs('MessageNotInflight', "The specified message isn't in flight."),
  internalFailure: {
    status: 500,
    code: 'InternalFailure',
    message: 'We encountered an internal error. Please try again.',
  },
  serviceUnavailable: {
    status: 503,
    code: 'ServiceUnavailable',
    message: 'The request has failed due to a temporary failure of the server.',
  },
} as const satisfies Record<string, SqsErrorAnswer>

/** An error of the service model whose query code has the prefix `AWS.SimpleQueueService.`. */
export function ofSqs(name: string, message: string, queryName = name): SqsErrorAnswer {
  const shape = `com.amazonaws.sqs#${name}`
  return { status: 400, code: `AWS.SimpleQueueService.${queryName}`, shape, message }
}

/** An error of the service model whose query code is its name. */
export function named(name: string, message: string): SqsErrorAnswer {
  return { status: 400, code: name, shape: `com.amazonaws.sqs#${name}`, message }
}

export function invalidParameter(message: string): SqsErrorAnswer {
  const shape = 'com.amazon.coral.service#InvalidParameterValueException'
  return { status: 400, code: 'InvalidParameterValue', shape, message }
}

export function missingParameter(name: string): SqsErrorAnswer {
  const shape = 'com.amazon.coral.service#MissingRequiredParameterException'
  return { status: 400, code: 'MissingParameter', shape, message: `The request must contain the parameter ${name}.` }
}

/** `Failed` of a batch: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_BatchResultErrorEntry.html */
export function failedEntry(id: string, { status, code, message }: SqsErrorAnswer): Fields {
  return { Id: id, Code: code, Message: message, SenderFault: status < 500 }
}

/** Throws SqsRefusal if the request is not one of the JSON protocol. */
export async function readRequest(incoming: IncomingMessage): Promise<{ action: string; body: Fields }> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk as Buffer)
  const target = incoming.headers['x-amz-target']?.toString() ?? ''
  const [, action] = /^AmazonSQS\.(\w+)$/.exec(target) ?? []
  if (incoming.method !== 'POST' || action === undefined) {
    const message = 'This server knows POST with X-Amz-Target: AmazonSQS.<action> only.'
    throw new SqsRefusal({ status: 400, code: 'InvalidAction', message })
  }
  const body = parsed(Buffer.concat(chunks).toString())
  if (!isFields(body)) {
    const shape = 'com.amazon.coral.service#SerializationException'
    throw new SqsRefusal({ status: 400, code: 'MalformedInput', shape, message: 'The body is not a JSON object.' })
  }
  return { action, body }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Actions without a result answer with an empty body. */
export function answer(response: ServerResponse, result: Fields | undefined): void {
  const body = result === undefined ? '' : JSON.stringify(result)
  response.writeHead(200, { ...common, 'content-length': Buffer.byteLength(body) }).end(body)
}

export function refuse(response: ServerResponse, { status, code, shape, message, headers }: SqsErrorAnswer): void {
  const body = JSON.stringify({ __type: shape ?? code, message })
  response
    .writeHead(status, {
      ...common,
      'content-length': Buffer.byteLength(body),
      'x-amzn-query-error': `${code};${status < 500 ? 'Sender' : 'Receiver'}`,
      ...headers,
    })
    .end(body)
}

const common = { 'content-type': 'application/x-amz-json-1.0', 'x-amzn-requestid': 'TEST' }

export function textOf(fields: Fields, name: string): string {
  const value = optionalText(fields, name)
  if (value === undefined || value === '') throw new SqsRefusal(missingParameter(name))
  return value
}

export function optionalText(fields: Fields, name: string): string | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw new SqsRefusal(invalidParameter(`${name} must be a string.`))
  return value
}

/** A whole number within a range. */
export function numberOf(fields: Fields, name: string, min: number, max: number): number | undefined {
  const value = fields[name]
  if (value === undefined || value === null) return undefined
  if (Number.isInteger(value) && Number(value) >= min && Number(value) <= max) return Number(value)
  const reason = `Reason: Must be between ${min} and ${max}, if provided.`
  throw new SqsRefusal(invalidParameter(`Value ${value} for parameter ${name} is invalid. ${reason}`))
}

export function textsOf(fields: Fields, name: string): readonly string[] {
  const value = fields[name] ?? []
  return Array.isArray(value) ? value.map(String) : []
}

/** A map of strings, as attributes of queues are. */
export function mapOf(fields: Fields, name: string): ReadonlyMap<string, string> {
  const value = fields[name]
  return new Map(isFields(value) ? Object.entries(value).map(([key, text]) => [key, String(text)]) : [])
}

export function fieldsOf(fields: Fields, name: string): Fields | undefined {
  const value = fields[name]
  return isFields(value) ? value : undefined
}

/** The entries of a batch. Throws what AWS answers to a batch that is wrong as a whole. */
export function entriesOf(fields: Fields): readonly (Fields & { readonly Id: string })[] {
  const given: readonly unknown[] = Array.isArray(fields.Entries) ? fields.Entries : []
  const entries = given.filter(isFields).map((entry) => ({ ...entry, Id: textOf(entry, 'Id') }))
  const wrong = (name: string, message: string) => new SqsRefusal(ofSqs(name, message))
  if (entries.length === 0) {
    throw wrong('EmptyBatchRequest', 'There should be at least one entry in the request.')
  }
  if (entries.length > 10) {
    const message = `Maximum number of entries per request are 10. You have sent ${entries.length}.`
    throw wrong('TooManyEntriesInBatchRequest', message)
  }
  const seen = new Set<string>()
  for (const { Id } of entries) {
    if (!/^[\w-]{1,80}$/.test(Id)) {
      const message = 'A batch entry id can only contain alphanumeric characters, hyphens and underscores (80 at most).'
      throw wrong('InvalidBatchEntryId', message)
    }
    if (seen.has(Id)) throw wrong('BatchEntryIdsNotDistinct', `Id ${Id} repeated.`)
    seen.add(Id)
  }
  return entries
}

export function md5(text: string): string {
  return createHash('md5').update(text).digest('hex')
}

/**
 * MD5OfMessageAttributes:
 * https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html#sqs-attributes-md5-message-digest-calculation
 */
export function attributesMd5(attributes: Fields): string {
  const hash = createHash('md5')
  const add = (bytes: Buffer) => {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    hash.update(length).update(bytes)
  }
  for (const name of Object.keys(attributes).sort()) {
    const value = fieldsOf(attributes, name) ?? {}
    const binary = optionalText(value, 'BinaryValue')
    add(Buffer.from(name))
    add(Buffer.from(textOf(value, 'DataType')))
    hash.update(Buffer.from([binary === undefined ? 1 : 2]))
    add(binary === undefined ? Buffer.from(textOf(value, 'StringValue')) : Buffer.from(binary, 'base64'))
  }
  return hash.digest('hex')
}

/** Bytes of a message as its queue counts them: its body, and name, type and value of each attribute. */
export function sizeOf(body: string, attributes: Fields | undefined): number {
  let bytes = Buffer.byteLength(body)
  for (const name of Object.keys(attributes ?? {})) {
    const value = fieldsOf(attributes ?? {}, name) ?? {}
    const binary = optionalText(value, 'BinaryValue')
    bytes += Buffer.byteLength(name) + Buffer.byteLength(optionalText(value, 'DataType') ?? '')
    bytes +=
      binary === undefined
        ? Buffer.byteLength(optionalText(value, 'StringValue') ?? '')
        : Buffer.byteLength(binary, 'base64')
  }
  return bytes
}

/**
 * One queue of the test SQS server: what a message goes through between its sending and its deletion.
 *
 *   delayed ──(clock)──> visible ──take──> in flight ──delete──> gone
 *                           ^                  │
 *                           └─(clock, 0 s)─────┘      a visible one received maxReceiveCount times: to the dead-letter queue
 *
 * 1. Each take gives a message a new receipt handle; only the newest one is good.
 * 2. In a FIFO queue, nothing of a message group is given out while a message of it is in flight; order within it is kept.
 * 3. A message cannot be in flight for more than 12 h after a take, however often it is extended.
 *
 * Retention periods are not modeled.
 */
import { createHash, randomUUID } from 'node:crypto'
import { checkAttributes, defaultAttributes, type Redrive, redriveOf, selectAttributes } from './sqs-attributes.ts'
import {
  type Fields,
  invalidParameter,
  md5,
  missingParameter,
  named,
  SqsRefusal,
  sizeOf,
  sqsErrors,
} from './sqs-wire.ts'

const longestInFlightMs = 43_200_000
const dedupWindowMs = 300_000

export interface SqsMessage {
  readonly id: string
  readonly body: string
  readonly md5: string
  /** MessageAttributes as they were sent. */
  readonly attributes: Fields | undefined
  readonly groupId: string | undefined
  readonly dedupId: string | undefined
  /** FIFO queues only. */
  readonly sequenceNumber: string | undefined
  readonly sentMs: number
  receives: number
  firstReceivedMs: number | undefined
  receivedMs: number
  state: 'delayed' | 'visible' | 'in flight'
  /** When the state ends by itself, by the clock of the server. Of no meaning while visible. */
  untilMs: number
  /** ARN of the queue a dead letter comes from. */
  sourceArn: string | undefined
}

export interface SendOptions {
  readonly groupId?: string | undefined
  readonly dedupId?: string | undefined
  readonly delayMs?: number | undefined
  readonly attributes?: Fields | undefined
}

export interface TakeOptions {
  readonly max: number
  readonly visibilityMs: number
}

/** What queues share. */
export interface SqsWorld {
  nowMs(): number
  queueOfArn(arn: string): SqsQueue | undefined
  readonly inFlightLimit: number
  readonly staleHandles: 'refuse' | 'ignore'
}

export class SqsQueue {
  readonly name: string
  readonly arn: string
  readonly fifo: boolean
  readonly #world: SqsWorld
  readonly #attributes: Map<string, string>
  #redrive: Redrive | undefined
  /** All, in the order in which they were sent. */
  readonly #messages = new Map<string, SqsMessage>()
  /** The visible ones, in the order in which they became so. */
  readonly #visible = new Set<SqsMessage>()
  /** The delayed ones and those in flight. */
  readonly #asleep = new Set<SqsMessage>()
  #inFlight = 0
  /** No state ends by itself before this time. */
  #nextChangeMs = Number.POSITIVE_INFINITY
  readonly #groups = new Map<string, Set<SqsMessage>>()
  readonly #sentOnce = new Map<string, SqsMessage>()
  #sequence = 0
  /** Long polls that wait: each tries again when called. */
  readonly #polls = new Set<() => void>()

  constructor(name: string, arn: string, attributes: ReadonlyMap<string, string>, world: SqsWorld) {
    this.name = name
    this.arn = arn
    this.fifo = name.endsWith('.fifo')
    this.#world = world
    this.#attributes = defaultAttributes(this.fifo)
    const now = String(Math.floor(world.nowMs() / 1000))
    this.#attributes.set('QueueArn', arn).set('CreatedTimestamp', now)
    this.setAttributes(attributes)
  }

  setAttributes(given: ReadonlyMap<string, string>): void {
    checkAttributes(given)
    const redrive = given.has('RedrivePolicy') ? redriveOf(given.get('RedrivePolicy')) : this.#redrive
    if (redrive && !this.#world.queueOfArn(redrive.targetArn)) {
      const message = `Value ${given.get('RedrivePolicy')} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.`
      throw new SqsRefusal(invalidParameter(message))
    }
    this.#redrive = redrive
    for (const [name, value] of given) this.#attributes.set(name, value)
    this.#attributes.set('LastModifiedTimestamp', String(Math.floor(this.#world.nowMs() / 1000)))
  }

  attributes(names: readonly string[]): Fields {
    this.#settle()
    const counts: [string, number][] = [
      ['ApproximateNumberOfMessages', this.#visible.size],
      ['ApproximateNumberOfMessagesNotVisible', this.#inFlight],
      ['ApproximateNumberOfMessagesDelayed', this.#asleep.size - this.#inFlight],
    ]
    const texts = counts.map(([name, count]): [string, string] => [name, String(count)])
    return selectAttributes(new Map([...this.#attributes, ...texts]), names)
  }

  /** Whether a queue with these attributes would be the same one. */
  hasAttributes(given: ReadonlyMap<string, string>): boolean {
    return [...given].every(([name, value]) => this.#attributes.get(name) === value)
  }

  /** An attribute that is a number of seconds, in ms. */
  ms(name: 'VisibilityTimeout' | 'ReceiveMessageWaitTimeSeconds'): number {
    return Number(this.#attributes.get(name)) * 1000
  }

  messages(): readonly SqsMessage[] {
    this.#settle()
    return [...this.#messages.values()]
  }

  send(body: string, o: SendOptions = {}): SqsMessage {
    const limitBytes = Number(this.#attributes.get('MaximumMessageSize'))
    if (sizeOf(body, o.attributes) > limitBytes) {
      const reason = `Message must be shorter than ${limitBytes} bytes.`
      throw new SqsRefusal(invalidParameter(`One or more parameters are invalid. Reason: ${reason}`))
    }
    if (invalidCharacter.test(body)) {
      const message = 'Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | …'
      throw new SqsRefusal(named('InvalidMessageContents', message))
    }
    const dedupId = this.fifo ? this.#dedupId(body, o) : undefined
    const now = this.#world.nowMs()
    const before = dedupId === undefined ? undefined : this.#sentOnce.get(dedupId)
    if (before && now - before.sentMs < dedupWindowMs) return before
    const delayMs = o.delayMs ?? Number(this.#attributes.get('DelaySeconds')) * 1000
    this.#sequence += 1
    const message: SqsMessage = {
      id: randomUUID(),
      body,
      md5: md5(body),
      attributes: o.attributes,
      groupId: o.groupId,
      dedupId,
      sequenceNumber: this.fifo ? String(this.#sequence).padStart(20, '0') : undefined,
      sentMs: now,
      receives: 0,
      firstReceivedMs: undefined,
      receivedMs: 0,
      state: delayMs > 0 ? 'delayed' : 'visible',
      untilMs: now + delayMs,
      sourceArn: undefined,
    }
    if (dedupId !== undefined) this.#sentOnce.set(dedupId, message)
    this.#adopt(message)
    return message
  }

  #dedupId(body: string, o: SendOptions): string {
    if (o.groupId === undefined) throw new SqsRefusal(missingParameter('MessageGroupId'))
    if (o.dedupId !== undefined) return o.dedupId
    if (this.#attributes.get('ContentBasedDeduplication') === 'true') {
      return createHash('sha256').update(body).digest('hex')
    }
    const message =
      'The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly'
    throw new SqsRefusal(invalidParameter(message))
  }

  #adopt(message: SqsMessage): void {
    this.#messages.set(message.id, message)
    if (this.fifo) {
      const group = this.#groups.get(message.groupId ?? '') ?? new Set()
      this.#groups.set(message.groupId ?? '', group.add(message))
    }
    this.#place(message)
    this.#wakePolls()
  }

  /** At most `max` messages, now in flight. */
  take({ max, visibilityMs }: TakeOptions): readonly SqsMessage[] {
    this.#settle()
    const limit = Math.min(max, this.#world.inFlightLimit - this.#inFlight)
    const taken: SqsMessage[] = []
    const dead: SqsMessage[] = []
    const { targetArn = '', maxReceives = 0 } = this.#redrive ?? {}
    const target = this.#world.queueOfArn(targetArn)
    for (const message of this.fifo ? this.#inGroupOrder() : this.#visible) {
      if (taken.length >= limit) break
      if (target && message.receives >= maxReceives) dead.push(message)
      else taken.push(message)
    }
    for (const message of dead) {
      this.#remove(message)
      message.sourceArn = this.arn
      if (target) target.#adopt(message)
    }
    const now = this.#world.nowMs()
    for (const message of taken) {
      message.receives += 1
      message.firstReceivedMs ??= now
      message.receivedMs = now
      this.#become(message, visibilityMs > 0 ? 'in flight' : 'visible', now + visibilityMs)
    }
    return taken
  }

  get full(): boolean {
    this.#settle()
    return this.#inFlight >= this.#world.inFlightLimit
  }

  *#inGroupOrder(): Generator<SqsMessage> {
    const held = new Set<string | undefined>()
    for (const { state, groupId } of this.#asleep) if (state === 'in flight') held.add(groupId)
    for (const [groupId, group] of this.#groups) {
      if (held.has(groupId)) continue
      for (const message of group) {
        // What follows a delayed message waits for it.
        if (message.state !== 'visible') break
        yield message
      }
    }
  }

  /** As `take`, waiting up to `waitMs`, of the clock or really, for a message. An abort ends it with nothing taken. */
  poll(o: TakeOptions, waitMs: number, signal: AbortSignal): Promise<readonly SqsMessage[]> {
    const { promise, resolve } = Promise.withResolvers<readonly SqsMessage[]>()
    const endMs = this.#world.nowMs() + waitMs
    const reallyEndMs = performance.now() + waitMs
    let timer: NodeJS.Timeout | undefined
    const finish = (messages: readonly SqsMessage[]) => {
      clearTimeout(timer)
      this.#polls.delete(attempt)
      signal.removeEventListener('abort', leave)
      resolve(messages)
    }
    const leave = () => finish([])
    const attempt = () => {
      const messages = this.take(o)
      if (messages.length > 0) return finish(messages)
      const leftMs = Math.min(endMs - this.#world.nowMs(), reallyEndMs - performance.now())
      if (leftMs <= 0) return finish([])
      clearTimeout(timer)
      const changeMs = this.#nextChangeMs - this.#world.nowMs()
      timer = setTimeout(attempt, Math.ceil(Math.min(leftMs, Math.max(changeMs, 1))))
    }
    if (signal.aborted) return Promise.resolve([])
    signal.addEventListener('abort', leave)
    this.#polls.add(attempt)
    attempt()
    return promise
  }

  handleOf({ id, receives }: SqsMessage): string {
    return Buffer.from(JSON.stringify([this.arn, id, receives])).toString('base64')
  }

  /** The message of a handle, if it is not gone, and whether the handle is its newest. */
  #find(handle: string): { message: SqsMessage | undefined; newest: boolean } {
    let parts: unknown
    try {
      parts = JSON.parse(Buffer.from(handle, 'base64').toString())
    } catch {
      throw invalidHandle(handle)
    }
    if (!Array.isArray(parts) || parts[0] !== this.arn) throw invalidHandle(handle)
    this.#settle()
    const message = this.#messages.get(String(parts[1]))
    return { message, newest: message?.receives === parts[2] }
  }

  /**
   * Deleting what is gone succeeds, and so does, in a standard queue, deleting what became visible again but was not received
   * since. https://repost.aws/knowledge-center/sqs-receipt-handle-error
   */
  delete(handle: string): void {
    const { message, newest } = this.#find(handle)
    if (!message) return
    if (this.fifo && (!newest || message.state !== 'in flight')) {
      const reason = 'Reason: The receipt handle has expired.'
      throw new SqsRefusal(invalidParameter(`Value ${handle} for parameter ReceiptHandle is invalid. ${reason}`))
    }
    if (newest) this.#remove(message)
    else if (this.#world.staleHandles === 'refuse') throw invalidHandle(handle)
    this.#wakePolls()
  }

  changeVisibility(handle: string, seconds: number): void {
    const { message, newest } = this.#find(handle)
    const wrong = (parameter: string, value: string, reason: string) =>
      new SqsRefusal(invalidParameter(`Value ${value} for parameter ${parameter} is invalid. Reason: ${reason}`))
    const lenient = this.#world.staleHandles === 'ignore'
    if (!message || !newest) {
      if (message && lenient) return
      const reason = 'Message does not exist or is not available for visibility timeout change.'
      throw wrong('ReceiptHandle', handle, reason)
    }
    if (message.state !== 'in flight') {
      if (lenient) return
      throw new SqsRefusal(sqsErrors.messageNotInflight)
    }
    const now = this.#world.nowMs()
    if (now + seconds * 1000 > message.receivedMs + longestInFlightMs) {
      const reason = 'Total VisibilityTimeout for the message is beyond the limit [43200 seconds]'
      throw wrong('VisibilityTimeout', String(seconds), reason)
    }
    this.#become(message, seconds > 0 ? 'in flight' : 'visible', now + seconds * 1000)
    this.#wakePolls()
  }

  purge(): void {
    for (const message of this.#messages.values()) this.#remove(message)
  }

  /** To be called when the clock was moved. */
  clockMoved(): void {
    for (const attempt of [...this.#polls]) attempt()
  }

  #wakePolls(): void {
    for (const attempt of [...this.#polls]) {
      if (this.#visible.size === 0) return
      attempt()
    }
  }

  /** Brings the states up to the clock. */
  #settle(): void {
    const now = this.#world.nowMs()
    if (now < this.#nextChangeMs) return
    this.#nextChangeMs = Number.POSITIVE_INFINITY
    for (const message of this.#asleep) {
      if (message.untilMs <= now) this.#become(message, 'visible', 0)
      else this.#nextChangeMs = Math.min(this.#nextChangeMs, message.untilMs)
    }
  }

  #become(message: SqsMessage, state: SqsMessage['state'], untilMs: number): void {
    this.#unplace(message)
    message.state = state
    message.untilMs = untilMs
    this.#place(message)
  }

  #place(message: SqsMessage): void {
    if (message.state === 'visible') {
      this.#visible.add(message)
      return
    }
    this.#asleep.add(message)
    this.#nextChangeMs = Math.min(this.#nextChangeMs, message.untilMs)
    if (message.state === 'in flight') this.#inFlight += 1
  }

  #unplace(message: SqsMessage): void {
    this.#visible.delete(message)
    if (this.#asleep.delete(message) && message.state === 'in flight') this.#inFlight -= 1
  }

  #remove(message: SqsMessage): void {
    this.#unplace(message)
    this.#messages.delete(message.id)
    const group = this.#groups.get(message.groupId ?? '')
    group?.delete(message)
    if (group?.size === 0) this.#groups.delete(message.groupId ?? '')
  }
}

/** https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html: the characters of XML 1.0. */
const invalidCharacter = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u

function invalidHandle(handle: string): SqsRefusal {
  const message = `The input receipt handle "${handle}" is not a valid receipt handle.`
  return new SqsRefusal(named('ReceiptHandleIsInvalid', message))
}

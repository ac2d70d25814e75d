/**
 * Which messages wait for which objects, and what becomes of a message when all it tells of is settled.
 *
 *   take ─▶ parse ─▶ is it new? (ledger) ─▶ buffer          settle ─▶ the last one of a message ─▶ delete, give back, quarantine
 */
import type { Bound, MetricSpec, Outcome, SourceContext } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { compileGlob } from '../formats/glob.ts'
import type { ObjectState, QuarantineEntry } from '../ledger/ledger.ts'
import { older } from './in-turn.ts'
import { type Mapping, type NotifiedObject, parseNotification } from './s3-notification.ts'
import type { S3SqsConfig } from './s3-sqs-config.ts'
import type { NotifiedObjects, NotifiedS3Object } from './s3-sqs-objects.ts'
import { doubled, Requeue, retrySeconds } from './s3-sqs-requeue.ts'
import { type Lease, type Leases, leaseMetrics } from './sqs-leases.ts'
import { queueName, type SqsMessage } from './sqs-queue.ts'

export const sqsMetrics = {
  ...leaseMetrics,
  sqs_messages_received_total: { kind: 'counter', unit: '{message}', help: 'Messages received, repeated ones too.' },
  sqs_events_duplicate_total: {
    kind: 'counter',
    unit: '{event}',
    help: 'Events of objects that were read or are being read.',
  },
  sqs_events_ignored_total: {
    kind: 'counter',
    unit: '{event}',
    help: 'Events of no new object: removed, restored, test events, excluded keys.',
  },
  sqs_messages_failed_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Receives of messages that could not be dealt with.',
  },
  sqs_messages_waiting: {
    kind: 'gauge',
    unit: '{message}',
    help: 'Messages in the queue that can be received, as SQS estimates.',
  },
  sqs_messages_hidden: {
    kind: 'gauge',
    unit: '{message}',
    help: 'Messages that this process or another one has received and not deleted, as SQS estimates.',
  },
  sqs_messages_delayed: {
    kind: 'gauge',
    unit: '{message}',
    help: 'Messages in the queue that cannot be received yet, as SQS estimates.',
  },
  sqs_requests_failed_total: {
    kind: 'counter',
    unit: '{request}',
    help: 'Requests to SQS that failed, after the attempts of the SDK.',
  },
  sqs_event_lag_seconds: { kind: 'histogram', unit: 's', help: 'From the event to the last answer for its object.' },
} as const satisfies Record<string, MetricSpec>

/** A message and what of it is still to be settled. */
interface Pending {
  readonly message: SqsMessage
  readonly lease: Lease
  left: number
  isStopped: boolean
  /** Why it cannot be dealt with as a whole; `isPassing` if another time may be better. */
  problem: { readonly reason: string; readonly isPassing: boolean } | undefined
  readonly failed: NotifiedS3Object[]
}

/** What an event of a settled object repeats. One that had vanished or was replaced may be there again. */
const settledStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined', 'requeued'])
const poisonSeconds = { min: 1, max: 60 }
/** So many failed messages are told apart; after that it makes no difference. */
const failedLimit = 10_000

export class Messages {
  readonly #config: S3SqsConfig
  readonly #context: SourceContext
  readonly #objects: NotifiedObjects
  readonly #leases: Leases
  readonly #metrics: Bound<typeof sqsMetrics>
  readonly #hasDeadLetters: () => boolean
  readonly #changed: () => void
  readonly #mapping: Mapping | undefined
  readonly #isWanted: (key: string) => boolean
  #buffer: NotifiedS3Object[] = []
  /** Objects in the buffer or under way -> messages that wait for them. */
  readonly #waiting = new Map<string, Pending[]>()
  readonly #requeue: Requeue
  readonly #failedIds = new Set<string>()
  readonly tally = { received: 0, duplicates: 0, ignored: 0, tests: 0, failed: 0 }
  #once = false
  #soft: AbortSignal | undefined
  #isStopped = false
  /** To be given back as soon as nothing is received any more. */
  readonly #stopped: Lease[] = []

  /** `changed` is called when there is something new to give out, or less to wait for. */
  constructor(o: {
    readonly config: S3SqsConfig
    readonly context: SourceContext
    readonly objects: NotifiedObjects
    readonly leases: Leases
    readonly metrics: Bound<typeof sqsMetrics>
    readonly hasDeadLetters: () => boolean
    readonly changed: () => void
  }) {
    const { config } = o
    this.#config = config
    this.#context = o.context
    this.#objects = o.objects
    this.#leases = o.leases
    this.#metrics = o.metrics
    this.#hasDeadLetters = o.hasDeadLetters
    this.#changed = o.changed
    const { records_path: records, bucket_path: bucket, key_path: key } = config
    this.#mapping = bucket === undefined || key === undefined ? undefined : { records, bucket, key }
    const [included, excluded] = [config.include.map(compileGlob), config.exclude.map(compileGlob)]
    this.#requeue = new Requeue({
      context: o.context,
      queue: queueName(config.queue_url),
      understand: (body) => this.#understand(body),
      resolve: (notified, sentMs) => this.#resolve(notified, sentMs),
      isUnderWay: (id) => this.#waiting.has(id),
      isSettled: (id) => this.#isSettled(id),
      isStopping: () => this.isStopping,
      failed: (messageId) => this.#fail(messageId),
      read: (object) => this.#read(object),
      changed: o.changed,
    })
    this.#isWanted = (key) =>
      (included.length === 0 || included.some((matches) => matches(key))) && !excluded.some((matches) => matches(key))
  }

  /** Messages that could not be dealt with, each counted once. */
  get failed(): number {
    return this.#failedIds.size
  }

  /** Objects that wait to be given out. */
  get buffered(): number {
    return this.#buffer.length
  }

  /** Time of the oldest of them. */
  get oldestMs(): number | undefined {
    return this.#buffer.reduce<number | undefined>((oldestMs, { timeMs }) => older(oldestMs, timeMs), undefined)
  }

  /** True if no object is in the buffer or under way. */
  get idle(): boolean {
    return this.#waiting.size === 0 && this.#requeue.idle
  }

  /** True from a stop on: what comes now is given back. */
  get isStopping(): boolean {
    return this.#isStopped || this.#soft?.aborted === true
  }

  /** False for keys that `include` and `exclude` leave out. */
  isWanted(key: string): boolean {
    return this.#isWanted(key)
  }

  next(): NotifiedS3Object | undefined {
    return this.#buffer.shift()
  }

  /** `once` in a run that ends when the queue is empty; `soft` ends requests about objects. */
  start(o: { readonly once: boolean; readonly soft: AbortSignal }): void {
    this.#once = o.once
    this.#soft = o.soft
    this.#isStopped = false
  }

  /** To be called when nothing is received any more: gives back what was not given out, and what was stopped. */
  stop(): void {
    this.#isStopped = true
    for (const object of this.#buffer.splice(0)) {
      this.#requeue.answered(object, 'stopped')
      this.#settle(object, 'stopped')
    }
    this.#leases.release(this.#stopped.splice(0))
  }

  /** Entries of the quarantine that an operator asked for again. */
  again(entries: readonly QuarantineEntry[]): void {
    this.#requeue.take(entries)
  }

  #read(object: NotifiedS3Object): void {
    if (this.#waiting.has(object.id)) return
    this.#waiting.set(object.id, [])
    this.#buffer.push(object)
    this.#changed()
  }

  /** What a message says; one that says nothing has that as its problem. */
  #understand(body: string) {
    try {
      const { objects, ignored, isTest, problems } = parseNotification(body, this.#mapping)
      const wanted = objects.filter(({ key }) => this.#isWanted(key))
      return { wanted, ignored: ignored + objects.length - wanted.length, isTest, problems }
    } catch (error) {
      return { wanted: [], ignored: 0, isTest: false, problems: [explainError(error)] }
    }
  }

  #resolve(notified: NotifiedObject, sentMs: number): Promise<NotifiedS3Object> {
    return this.#objects.resolve(notified, sentMs, this.#soft)
  }

  #isSettled(id: string): boolean {
    const state = this.#context.ledger.states([id]).get(id)
    return state !== undefined && settledStates.has(state)
  }

  /** Takes a received message. Never throws. */
  async take(message: SqsMessage, receivedMs: number): Promise<void> {
    this.tally.received += 1
    this.#metrics.sqs_messages_received_total.add(1)
    const { lease, isNew } = this.#leases.hold(message, receivedMs)
    // The first receive of it is being dealt with, and goes on under the new handle.
    if (!isNew) return
    const pending: Pending = { message, lease, left: 1, isStopped: false, problem: undefined, failed: [] }
    const { wanted, ignored, isTest, problems } = this.#understand(message.body)
    if (problems.length > 0) pending.problem = { reason: problems.join('; '), isPassing: false }
    this.tally.tests += isTest ? 1 : 0
    this.tally.ignored += ignored + (isTest ? 1 : 0)
    this.#metrics.sqs_events_ignored_total.add(ignored + (isTest ? 1 : 0))
    for (const notified of wanted) {
      try {
        this.#add(await this.#resolve(notified, message.sentMs ?? receivedMs), pending)
      } catch (error) {
        // The other objects of the message are read all the same.
        if (this.isStopping) pending.isStopped = true
        else pending.problem ??= { reason: explainError(error), isPassing: true }
      }
    }
    this.#left(pending)
  }

  #add(object: NotifiedS3Object, pending: Pending): void {
    const waiting = this.#waiting.get(object.id)
    if (waiting || this.#isSettled(object.id)) {
      this.tally.duplicates += 1
      this.#metrics.sqs_events_duplicate_total.add(1)
      if (!waiting || waiting.includes(pending)) return
      pending.left += 1
      waiting.push(pending)
      return
    }
    pending.left += 1
    this.#waiting.set(object.id, [pending])
    if (this.isStopping) this.#settle(object, 'stopped')
    else this.#buffer.push(object)
    this.#changed()
  }

  /** What became of an object that was given out. */
  finished(object: NotifiedS3Object, outcome: Outcome): void {
    const { nowMs, dryRun } = this.#context
    if (outcome === 'done' && object.eventMs !== undefined) {
      this.#metrics.sqs_event_lag_seconds.record(Math.max(0, nowMs() - object.eventMs) / 1000)
    }
    this.#requeue.answered(object, outcome)
    if (outcome !== 'replaced' || dryRun) this.#settle(object, outcome)
    else if (this.isStopping) this.#settle(object, 'stopped')
    else void this.#follow(object)
  }

  /** The object was overwritten: events in one second may be told as one, so the version that is there now is read too. */
  async #follow(object: NotifiedS3Object): Promise<void> {
    let outcome: Outcome = 'replaced'
    try {
      const newer = await this.#objects.current(object, this.#soft)
      // Written anew as it was before: it is to be read after all.
      if (newer.id === object.id) outcome = 'failed'
      else for (const pending of this.#waiting.get(object.id) ?? []) this.#add(newer, pending)
    } catch (error) {
      const isGone = error instanceof StreamError && error.code === 'source.vanished'
      if (!isGone) outcome = this.isStopping ? 'stopped' : 'failed'
      const facts = { key: object.key, error: explainError(error) }
      this.#context.log.debug(facts, isGone ? 'the newer version is gone too' : 'the newer version cannot be found now')
    }
    this.#settle(object, outcome)
  }

  #settle(object: NotifiedS3Object, outcome: Outcome): void {
    const waiting = this.#waiting.get(object.id) ?? []
    this.#waiting.delete(object.id)
    for (const pending of waiting) {
      if (outcome === 'failed') pending.failed.push(object)
      if (outcome === 'stopped') pending.isStopped = true
      this.#left(pending)
    }
    this.#changed()
  }

  /** One thing less to wait for; after the last one the fate of the message is decided. */
  #left(pending: Pending): void {
    pending.left -= 1
    if (pending.left > 0) return
    const { lease, message, problem, failed } = pending
    const { log, dryRun } = this.#context
    if (dryRun) {
      if (problem) log.warn({ messageId: message.id, reason: problem.reason }, 'a message that cannot be dealt with')
      return
    }
    if (!problem && failed.length === 0) {
      if (pending.isStopped) this.#giveBack(lease)
      else this.#leases.done(lease)
      return
    }
    try {
      this.#failed(pending)
    } catch (error) {
      log.error({ messageId: message.id, error: explainError(error) }, 'cannot write down what failed; it comes again')
      this.#leases.letGo(lease)
    }
  }

  #giveBack(lease: Lease): void {
    if (this.#isStopped) this.#leases.release([lease])
    else this.#stopped.push(lease)
  }

  #fail(messageId: string): void {
    if (this.#failedIds.size < failedLimit) this.#failedIds.add(messageId)
  }

  #failed({ lease, message, problem, failed, isStopped }: Pending): void {
    const { ledger, log } = this.#context
    const { id: messageId, receives, body } = message
    this.tally.failed += 1
    this.#metrics.sqs_messages_failed_total.add(1)
    this.#fail(messageId)
    const reason = problem?.reason
    // What was stopped was not read: only its message knows of it. And what is under way again, in a replay, is not to be settled here.
    const states = ledger.states(failed.map(({ id }) => id))
    const isOpen = isStopped || failed.some(({ id }) => states.get(id) === 'active' && !this.#waiting.has(id))
    if (isOpen || this.#hasDeadLetters() || lease.receives < this.#config.max_receives) {
      if (problem)
        log.warn({ messageId, receives, reason }, 'a message that cannot be dealt with; it is received again')
      if (problem && !problem.isPassing) {
        this.#leases.release([lease], this.#once ? 0 : doubled(poisonSeconds, lease.receives))
      } else if (this.#once) this.#leases.letGo(lease)
      else this.#leases.release([lease], doubled(retrySeconds, lease.receives))
      return
    }
    if (reason !== undefined) {
      ledger.rejectMessage({ id: messageId, queue: queueName(this.#config.queue_url), body, reason })
      log.error({ messageId, receives, reason }, 'a message that cannot be dealt with: kept in quarantine and deleted')
    }
    for (const object of failed) {
      // Another message may have brought it again: then it is that one's, or done.
      if (this.#waiting.has(object.id) || this.#isSettled(object.id)) continue
      const why = ledger.find(object.id)?.error ?? 'it failed'
      const { position, counts } = ledger.begin(object)
      const reason = `${why} (given up after ${lease.receives} receives of its message)`
      ledger.settle(object.id, 'quarantined', { position, counts, timeMs: object.timeMs, reason })
      log.error({ key: object.key, reason }, 'object in quarantine: it failed again and again')
    }
    this.#leases.done(lease)
  }
}

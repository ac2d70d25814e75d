/**
 * Which messages wait for which objects, and what becomes of a message when all it tells of is settled.
 *
 *   take ─▶ parse ─▶ is it new? (ledger) ─▶ buffer          settle ─▶ the last one of a message ─▶ delete, give back, quarantine
 */
import type { Bound, MetricSpec, Outcome, SourceContext } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { compileGlob } from '../formats/glob.ts'
import type { ObjectState, QuarantineEntry } from '../ledger/ledger.ts'
import { type Mapping, type Notification, type NotifiedObject, parseNotification } from './s3-notification.ts'
import { etagOf } from './s3-object.ts'
import type { S3SqsConfig } from './s3-sqs-config.ts'
import type { NotifiedObjects, NotifiedS3Object } from './s3-sqs-objects.ts'
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
/** Waits before what failed is tried again, in seconds: doubled with every receive, or attempt. */
const retrySeconds = { min: 30, max: 900 }
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
  /** To be read again because an operator asked -> quarantine entries. */
  readonly #requeued = new Map<string, Set<number>>()
  /** Messages of the quarantine that are being looked at. */
  readonly #rereading = new Set<number>()
  /** Entries that an operator asked for again and that failed once more -> when they are tried next, ms. */
  readonly #retryAtMs = new Map<number, number>()
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

  /** True if no object is in the buffer or under way. */
  get idle(): boolean {
    return this.#waiting.size === 0 && this.#rereading.size === 0
  }

  /** True from a stop on: what comes now is given back. */
  get isStopping(): boolean {
    return this.#isStopped || this.#soft?.aborted === true
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
      this.#requeued.delete(object.id)
      this.#settle(object, 'stopped')
    }
    this.#leases.release(this.#stopped.splice(0))
  }

  /** Entries of the quarantine that an operator asked for again. */
  again(entries: readonly QuarantineEntry[]): void {
    const { ledger, nowMs } = this.#context
    for (const { id: entryId, kind, object, createdMs } of entries) {
      if (this.#isRead(entryId) || (this.#retryAtMs.get(entryId) ?? 0) > nowMs()) continue
      this.#retryAtMs.delete(entryId)
      if (kind === 'message') void this.#reread(entryId)
      if (kind !== 'object' || this.#waiting.has(object.id)) continue
      const { id, bucket, key } = object
      const known = ledger.find(id)
      const times = { timeMs: known?.timeMs ?? createdMs, lastModifiedMs: known?.lastModifiedMs ?? createdMs }
      const unknown = { otherKey: undefined, region: undefined, eventMs: undefined }
      this.#require({ id, bucket, key, ...times, size: known?.size, etag: etagOf(id), ...unknown }, entryId)
    }
  }

  #require(object: NotifiedS3Object, entryId: number): void {
    this.#requeued.set(object.id, (this.#requeued.get(object.id) ?? new Set()).add(entryId))
    if (this.#waiting.has(object.id)) return
    this.#waiting.set(object.id, [])
    this.#buffer.push(object)
    this.#changed()
  }

  /** A message from the quarantine, read once more: a mapping may understand it now. Never throws. */
  async #reread(entryId: number): Promise<void> {
    if (this.#rereading.has(entryId)) return
    const { ledger, log, nowMs } = this.#context
    this.#rereading.add(entryId)
    try {
      const records = ledger.rejectedRecords(entryId)
      if (!records) return
      const body = records.data.subarray(0, -1).toString()
      const { objects, problems } = understood(body, this.#mapping)
      for (const notified of objects) {
        if (!this.#isWanted(notified.key)) continue
        const object = await this.#resolve(notified, nowMs())
        if (this.isStopping) return
        if (!settledStates.has(this.#state(object.id) ?? 'active')) this.#require(object, entryId)
      }
      if (problems.length > 0) {
        const reason = problems.join('; ')
        // Takes the mark off: the entry stays until an operator asks again.
        ledger.rejectMessage({ id: records.object.id, queue: queueName(this.#config.queue_url), body, reason })
        log.error({ entry: entryId, reason }, 'a message of the quarantine still cannot be dealt with')
      } else if (!this.#isOpen(entryId)) ledger.release(entryId)
    } catch (error) {
      if (this.isStopping) return
      this.#retryAtMs.set(entryId, nowMs() + retrySeconds.min * 1000)
      log.warn(
        { entry: entryId, error: explainError(error) },
        'cannot find the objects of a message of the quarantine; trying again later',
      )
    } finally {
      this.#rereading.delete(entryId)
      this.#changed()
    }
  }

  /** True while objects of it are in the buffer or under way. */
  #isRead(entryId: number): boolean {
    return [...this.#requeued.values()].some((entries) => entries.has(entryId))
  }

  /** True while objects of it are read, or are to be tried again later. */
  #isOpen(entryId: number): boolean {
    return this.#retryAtMs.has(entryId) || this.#isRead(entryId)
  }

  #resolve(notified: NotifiedObject, sentMs: number): Promise<NotifiedS3Object> {
    return this.#objects.resolve(notified, sentMs, this.#soft)
  }

  #state(id: string): ObjectState | undefined {
    return this.#context.ledger.states([id]).get(id)
  }

  /** Takes a received message. Never throws. */
  async take(message: SqsMessage, receivedMs: number): Promise<void> {
    this.tally.received += 1
    this.#metrics.sqs_messages_received_total.add(1)
    const { lease, isNew } = this.#leases.hold(message, receivedMs)
    // The first receive of it is being dealt with, and goes on under the new handle.
    if (!isNew) return
    const pending: Pending = { message, lease, left: 1, isStopped: false, problem: undefined, failed: [] }
    const { objects, ignored, isTest, problems } = understood(message.body, this.#mapping)
    if (problems.length > 0) pending.problem = { reason: problems.join('; '), isPassing: false }
    this.tally.tests += isTest ? 1 : 0
    this.#ignored(ignored + (isTest ? 1 : 0))
    const wanted = objects.filter(({ key }) => this.#isWanted(key))
    this.#ignored(objects.length - wanted.length)
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

  #ignored(events: number): void {
    this.tally.ignored += events
    this.#metrics.sqs_events_ignored_total.add(events)
  }

  #add(object: NotifiedS3Object, pending: Pending): void {
    const waiting = this.#waiting.get(object.id)
    const state = this.#state(object.id)
    if (waiting || (state !== undefined && settledStates.has(state))) {
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
    this.#answered(object, outcome)
    if (outcome === 'replaced' && !this.isStopping && !dryRun) void this.#follow(object)
    else this.#settle(object, outcome)
  }

  /** What an operator asked for is dealt with, or is tried again later. */
  #answered(object: NotifiedS3Object, outcome: Outcome): void {
    const { ledger, nowMs } = this.#context
    const entries = this.#requeued.get(object.id)
    if (!entries) return
    this.#requeued.delete(object.id)
    if (outcome === 'stopped') return
    const isFailed = outcome === 'failed'
    const waitMs = isFailed ? doubled(retrySeconds, ledger.find(object.id)?.attempts ?? 1) * 1000 : 0
    for (const entry of entries) {
      if (isFailed) this.#retryAtMs.set(entry, nowMs() + waitMs)
      // A message may tell of more objects; and if this one ended in quarantine again, the mark is off and the entry stays.
      if (!this.#isOpen(entry) && ledger.quarantined(entry)?.requeued) ledger.release(entry)
    }
  }

  /** The object was overwritten: events in one second may be told as one, so the version that is there now is read too. */
  async #follow(object: NotifiedS3Object): Promise<void> {
    let outcome: Outcome = 'replaced'
    try {
      const newer = await this.#objects.current(object, this.#soft)
      if (newer.id !== object.id) for (const pending of this.#waiting.get(object.id) ?? []) this.#add(newer, pending)
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

  #failed({ lease, message, problem, failed }: Pending): void {
    const { ledger, log } = this.#context
    const { id: messageId, receives, body } = message
    this.tally.failed += 1
    this.#metrics.sqs_messages_failed_total.add(1)
    if (this.#failedIds.size < failedLimit) this.#failedIds.add(messageId)
    const reason = problem?.reason
    if (this.#hasDeadLetters() || lease.receives < this.#config.max_receives) {
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
      if (this.#waiting.has(object.id) || settledStates.has(this.#state(object.id) ?? 'active')) continue
      const why = ledger.find(object.id)?.error ?? 'it failed'
      const { position, counts } = ledger.begin(object)
      const reason = `${why} (given up after ${lease.receives} receives of its message)`
      ledger.settle(object.id, 'quarantined', { position, counts, timeMs: object.timeMs, reason })
      log.error({ key: object.key, reason }, 'object in quarantine: it failed again and again')
    }
    this.#leases.done(lease)
  }
}

/** What a message says; one that says nothing has that as its problem. */
function understood(body: string, mapping: Mapping | undefined): Notification {
  try {
    return parseNotification(body, mapping)
  } catch (error) {
    return { objects: [], ignored: 0, isTest: false, problems: [explainError(error)] }
  }
}

function doubled({ min, max }: { readonly min: number; readonly max: number }, receives: number): number {
  return Math.min(max, min * 2 ** Math.min(receives - 1, 20))
}

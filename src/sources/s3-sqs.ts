/**
 * `s3_sqs`: reads the objects that a queue tells of.
 *
 *   receive ─▶ parse ─▶ is it new? (ledger) ─▶ buffer ─▶ objects() … finished() ─▶ all of the message settled ─▶ delete
 *
 * 1. A message is deleted only after every object it tells of is settled in the ledger. A kill at any point costs a second
 *    receive, and the ledger knows by then what was done.
 * 2. Two messages may tell of one object, and one message may come twice: the object is read once, both wait for it.
 * 3. What cannot be dealt with is given back. SQS moves it to the dead-letter queue if there is one; else it is put in
 *    quarantine after `max_receives`, and deleted then.
 */
import type {
  Bound,
  Dependency,
  Finding,
  Outcome,
  ReplayRange,
  Signal,
  Source,
  SourceContext,
  SourceDefinition,
} from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { bucketAndPrefix } from './s3-replay.ts'
import { type S3SqsConfig, s3SqsConfig } from './s3-sqs-config.ts'
import { Messages, sqsMetrics } from './s3-sqs-messages.ts'
import { NotifiedObjects, type NotifiedS3Object } from './s3-sqs-objects.ts'
import { Leases } from './sqs-leases.ts'
import { type QueueAttributes, SqsQueue } from './sqs-queue.ts'
import { SqsReceiver } from './sqs-receiver.ts'

const tickIntervalMs = 2000
const attributesIntervalMs = 30_000
const pruneIntervalMs = 600_000
/** Most messages that a dry run looks at: each is hidden from others meanwhile. */
const peekLimit = 1000
/** Most messages that are held: those that wait for an object under way take no worker. */
export const heldLimit = 10_000
const closeLimitMs = 5000
/** Notifications are at most so large; a queue that takes less refuses them without a word. */
const notificationBytes = 65_536

class S3Sqs implements Source<NotifiedS3Object> {
  readonly workers: number
  readonly #config: S3SqsConfig
  readonly #context: SourceContext
  readonly #queue: SqsQueue
  readonly #sqs: DependencyState
  readonly #leases: Leases
  readonly #objects: NotifiedObjects
  readonly #messages: Messages
  readonly #metrics: Bound<typeof sqsMetrics>
  #attributes: QueueAttributes | undefined
  #receiver: SqsReceiver | undefined
  #wake: () => void = () => undefined
  #found = 0
  #prunedMs = 0
  #told = ''

  constructor(config: S3SqsConfig, context: SourceContext) {
    const { log, nowMs } = context
    this.#config = config
    this.#context = context
    this.workers = config.workers
    this.#metrics = context.meter.bind(sqsMetrics, {})
    const metrics = this.#metrics
    this.#objects = new NotifiedObjects(config, context)
    this.#sqs = new DependencyState({ name: 'sqs', nowMs, probe: async (o) => void (await this.#queue.attributes(o)) })
    this.#queue = new SqsQueue(config.queue_url, config, 24, (error) => {
      this.#sqs.used(error)
      if (error) metrics.sqs_requests_failed_total.add(1)
    })
    this.#leases = new Leases(this.#queue, { visibilityMs: config.visibility_timeout, log, nowMs, metrics })
    this.#messages = new Messages({
      config,
      context,
      metrics,
      objects: this.#objects,
      leases: this.#leases,
      hasDeadLetters: () => this.#attributes?.maxReceiveCount !== undefined,
      changed: () => this.#wake(),
    })
  }

  get progress() {
    return { found: this.#found, complete: this.#receiver?.isDrained ?? false, failed: this.#messages.failed }
  }

  get dependencies(): readonly Dependency[] {
    return [this.#sqs, this.#objects.state]
  }

  get oldestWaitingMs(): number | undefined {
    return this.#messages.oldestMs
  }

  get figures(): Readonly<Record<string, number>> {
    const attributes = this.#attributes
    return {
      ...this.#messages.tally,
      ...this.#leases.tally,
      held: this.#leases.size,
      ...(attributes ? { waiting: attributes.waiting, inFlight: attributes.inFlight } : {}),
    }
  }

  async *examine(o: Signal): AsyncGenerator<Finding> {
    const queue = this.#queue
    const attributesOf = async (url: string, signal: Signal) => {
      using other = new SqsQueue(url, this.#config, 2)
      return await other.attributes(signal)
    }
    const { examineQueue } = await import('./s3-sqs-examine.ts')
    yield* examineQueue(
      {
        ...{ url: this.#config.queue_url, maxReceives: this.#config.max_receives, attributesOf },
        credentials: () => queue.credentials(),
        attributes: (signal) => queue.attributes(signal),
        clock: () => queue.clock,
        statusOf: (bucket, signal) => this.#objects.statusOf(bucket, signal),
      },
      o,
    )
  }

  async check(o: Signal): Promise<void> {
    const { log } = this.#context
    const { maximumMessageSize, maxReceiveCount } = await this.#ask(o)
    if (maximumMessageSize !== undefined && maximumMessageSize < notificationBytes) {
      const text = 'the queue refuses large notifications without a word: let it take messages of 64 KiB'
      log.warn({ maximumMessageSize }, text)
    }
    if (maxReceiveCount === undefined) {
      const text = 'the queue has no dead-letter queue: what cannot be dealt with goes to quarantine after max_receives'
      log.info({ max_receives: this.#config.max_receives }, text)
    }
  }

  async #ask(o: Signal): Promise<QueueAttributes> {
    this.#attributes = await this.#queue.attributes(o)
    const { waiting, inFlight, delayed } = this.#attributes
    this.#metrics.sqs_messages_waiting.set(waiting)
    this.#metrics.sqs_messages_hidden.set(inFlight)
    this.#metrics.sqs_messages_delayed.set(delayed)
    return this.#attributes
  }

  /** As far as they are known: a policy may forbid to ask. */
  async #askAgain(o: Signal): Promise<void> {
    const { log } = this.#context
    await this.#ask(o).catch((error: unknown) => log.debug({ error: explainError(error) }, 'attributes not known'))
    this.#tell()
  }

  async *objects(o: {
    readonly soft: AbortSignal
    readonly hard: AbortSignal
    readonly once: boolean
  }): AsyncGenerator<NotifiedS3Object, void, undefined> {
    const { dryRun } = this.#context
    const messages = this.#messages
    const over = new AbortController()
    const soft = AbortSignal.any([o.soft, over.signal])
    messages.start({ once: o.once, soft })
    const receiver = this.#receiverFor({ once: o.once, soft })
    this.#receiver = receiver
    const wake = () => this.#wake()
    o.soft.addEventListener('abort', wake)
    const ticking = setInterval(() => this.#tick(), tickIntervalMs)
    const asking = setInterval(() => void this.#askAgain({ signal: soft }), attributesIntervalMs)
    try {
      await this.#askAgain({ signal: soft })
      this.#tick()
      while (!o.soft.aborted) {
        receiver.pump()
        const object = messages.next()
        if (object) {
          this.#found += 1
          yield object
          continue
        }
        if (receiver.failure) throw receiver.failure
        const isSeen = receiver.isDrained || (dryRun && this.#leases.size >= peekLimit && receiver.isQuiet)
        if (isSeen && messages.idle) break
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
      // The figures of a run that ends by itself say what is left.
      if (!o.soft.aborted) {
        await this.#ask({ signal: soft }).catch(() => undefined)
        if (o.once && !dryRun) this.#tellHidden()
      }
    } finally {
      clearInterval(ticking)
      clearInterval(asking)
      o.soft.removeEventListener('abort', wake)
      over.abort()
      await receiver.stop()
      // Not before: a poll that still waits would get what is given back.
      messages.stop()
      this.#tell()
    }
  }

  #tellHidden(): void {
    const hidden = (this.#attributes?.inFlight ?? 0) - this.#leases.size
    if (hidden <= 0) return
    const text = 'the queue is empty but for messages that are hidden: another process works on them, or was killed'
    this.#context.log.warn({ hidden }, text)
  }

  #receiverFor(o: { readonly soft: AbortSignal; readonly once: boolean }): SqsReceiver {
    const { log, nowMs, dryRun } = this.#context
    const { wait_time: waitMs, visibility_timeout: visibilityMs, interval: intervalMs } = this.#config
    const messages = this.#messages
    return new SqsReceiver({
      ...{ queue: this.#queue, log, nowMs, waitMs, visibilityMs, intervalMs, once: o.once, signal: o.soft },
      room: () => Math.min(this.workers - messages.buffered, (dryRun ? peekLimit : heldLimit) - this.#leases.size),
      idle: () => messages.idle && (dryRun || this.#leases.size === 0),
      take: (message, receivedMs) => messages.take(message, receivedMs),
      changed: () => this.#wake(),
    })
  }

  #tick(): void {
    const { ledger, nowMs, dryRun } = this.#context
    if (dryRun || this.#messages.isStopping) return
    this.#messages.again(ledger.requeued())
    this.#wake()
    if (nowMs() - this.#prunedMs < pruneIntervalMs) return
    this.#prunedMs = nowMs()
    ledger.save()
    // As far as `retention` lets it.
    ledger.prune(nowMs())
  }

  async *replayed(range: ReplayRange, o: Signal): AsyncGenerator<NotifiedS3Object, void, undefined> {
    const { ledger } = this.#context
    const named = bucketAndPrefix(range.prefix)
    const buckets = named ? [named.bucket] : ledger.buckets()
    if (buckets.length === 0) {
      const text = 'cannot replay: no bucket is known yet (say which one, as in --prefix s3://bucket/folder/)'
      throw new StreamError('config.invalid', text)
    }
    const { prefix } = named ?? range
    for (const bucket of buckets)
      for await (const object of this.#objects.replayed(bucket, { ...range, prefix }, o))
        if (this.#messages.isWanted(object.key)) yield object
  }

  find(key: string, o: Signal & { readonly bucket?: string | undefined }): Promise<NotifiedS3Object> {
    return this.#objects.find(key, o)
  }

  open(object: NotifiedS3Object, offset: number, o: Signal): AsyncIterable<Buffer> {
    return this.#objects.open(object, offset, o)
  }

  confirm(object: NotifiedS3Object, o: Signal): Promise<number> {
    return this.#objects.confirm(object, o)
  }

  fill(object: NotifiedS3Object, offset: number, into: Buffer, o: Signal): Promise<void> {
    return this.#objects.fill(object, offset, into, o)
  }

  finished(object: NotifiedS3Object, outcome: Outcome): void {
    this.#messages.finished(object, outcome)
  }

  /** The figures as a line of the log, if they changed. */
  #tell(): void {
    const { figures } = this
    const text = JSON.stringify(figures)
    if (text !== this.#told && figures.received) this.#context.log.info(figures, `queue ${this.#queue.name}`)
    this.#told = text
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#messages.stop()
    await this.#leases.close(closeLimitMs)
    await this.#leases[Symbol.asyncDispose]()
    this.#queue[Symbol.dispose]()
    this.#objects[Symbol.dispose]()
  }
}

export const s3SqsSource: SourceDefinition<typeof s3SqsConfig, NotifiedS3Object> = {
  type: 's3_sqs',
  summary: 'Reads the objects that S3 notifications in an SQS queue tell of.',
  notes: `Messages are taken as S3 sends them, through SNS (raw delivery or not) or through EventBridge; which one is found by itself, also mixed in one queue.
\`records_path\`, \`bucket_path\` and \`key_path\` describe any other shape. All records of a message are read; one that tells of a removed object, and the test event
that S3 sends at first, are deleted and counted. If there is no object with the key, its other form (URL-encoded or decoded) is tried once.

**A message is deleted** only when every object it tells of is settled. Until then its visibility timeout is extended; a stop gives it back at once, a kill after \`visibility_timeout\`.
Several processes share a queue without knowing of each other: on one machine also with the same configuration and state, on others each with a state of its own. SQS lets a message be held for 12 hours: an object that takes longer comes again, and is known then.

**Again and again**: an event that comes twice, or of an object that was read within \`state.retention\`, is known by bucket, key and ETag. An object that was overwritten meanwhile is read as it is now.

**What cannot be dealt with** (no notification, an object that fails each time) is received again, later each time. If the queue has a dead-letter queue, SQS moves it there after its \`maxReceiveCount\`. If not, it goes to
quarantine after \`max_receives\` and is deleted; \`quarantine requeue\` tries it again. \`run --once\` ends when the queue is empty, with exit code 1 if anything failed. \`run --dry-run\` receives each message once (SQS counts
that), hides it from others meanwhile and gives all back at its end: at most 1,000 of them.

**FIFO queues**: SQS holds a group back while a message of it is under way; objects of one group are read in order only with \`workers: 1\`.

**Permissions**: \`sqs:ReceiveMessage\`, \`sqs:DeleteMessage\`, \`sqs:ChangeMessageVisibility\`, \`sqs:GetQueueAttributes\` on the queue; \`s3:GetObject\` on the objects (with \`s3:ListBucket\` a missing object is told apart from a forbidden one);
\`kms:Decrypt\` if either is encrypted with KMS.

**Guarantee**: at least once.`,
  config: s3SqsConfig,
  place: ({ queue_url }) => queue_url,
  isShared: true,
  examples: [
    {
      title: 'Notifications of one or more buckets',
      config: {
        type: 's3_sqs',
        queue_url: 'https://sqs.eu-west-1.amazonaws.com/123456789012/logs',
        include: '**/*.gz',
      },
    },
    {
      title: 'Messages of another shape, as in {"files":[{"where":{"bucket":"b"},"path":"k"}]}',
      config: {
        type: 's3_sqs',
        queue_url: 'https://sqs.eu-west-1.amazonaws.com/123456789012/files',
        records_path: 'files',
        bucket_path: 'where.bucket',
        key_path: 'path',
      },
    },
  ],
  create: (config, context) => new S3Sqs(config, context),
}

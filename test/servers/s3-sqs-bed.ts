/** For tests of `s3_sqs`: the servers of a bucket and its queue, whose clock stands until it is moved, and what reads from them. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ListedObject, Outcome, Source } from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import type { ObjectState } from '../../src/ledger/ledger.ts'
import { openLedger, type SqliteLedger } from '../../src/ledger/sqlite.ts'
import { s3SqsSource } from '../../src/sources/s3-sqs.ts'
import { s3SqsConfig } from '../../src/sources/s3-sqs-config.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { testContext } from '../conformance/sink.ts'
import { bytesOf, finish } from '../conformance/source-harness.ts'
import { type S3Server, startS3 } from './s3.ts'
import { type S3EventObject, s3Event } from './s3-events.ts'
import { type SqsOptions, type SqsServer, startSqs } from './sqs.ts'
import type { SendOptions, SqsMessage } from './sqs-queue.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const never = new AbortController().signal
const startMs = Date.UTC(2026, 9, 12, 12)

export interface BedOptions extends SqsOptions {
  /** Of the queue; one that ends in `.fifo` is FIFO. */
  readonly queue?: string
  readonly attributes?: Readonly<Record<string, string>>
  /** The queue has a dead-letter queue `dead`, after so many receives. */
  readonly maxReceiveCount?: number
}

export class SqsBed {
  readonly s3: S3Server
  readonly sqs: SqsServer
  readonly queue: string
  readonly folder = mkdtempSync(join(tmpdir(), 's3-sqs-'))
  readonly consumers: Consumer[] = []

  constructor(s3: S3Server, sqs: SqsServer, queue: string) {
    this.s3 = s3
    this.sqs = sqs
    this.queue = queue
  }

  /** An event of the object as S3 would send it now. */
  eventOf(key: string, bucket = 'b'): S3EventObject {
    const body = this.s3.read(key) ?? Buffer.from('gone')
    const eventTime = new Date(this.sqs.nowMs()).toISOString()
    return { bucket, key, eventTime, size: body.length, etag: createHash('md5').update(body).digest('hex') }
  }

  /** An object arrives, and its event. Gives the id of the message. */
  arrive(key: string, body: string | Buffer = `content of ${key}`): string {
    this.s3.put(key, body)
    return this.tell(s3Event(this.eventOf(key)))
  }

  tell(body: string, o?: SendOptions): string {
    return this.sqs.send(this.queue, body, o)
  }

  get messages(): readonly Readonly<SqsMessage>[] {
    return this.sqs.messages(this.queue)
  }

  message(id: string): Readonly<SqsMessage> | undefined {
    return this.messages.find((message) => message.id === id)
  }

  get visible(): number {
    return this.messages.filter(({ state }) => state === 'visible').length
  }

  /** Requests for objects' bytes so far, by key. */
  get gets(): string[] {
    return this.s3.requests.filter(({ method, key }) => method === 'GET' && key !== '').map(({ key }) => key)
  }

  async consumer(config: object = {}, o: ConsumerOptions = {}): Promise<Consumer> {
    const consumer = new Consumer(this, this.consumers.length, config, o)
    this.consumers.push(consumer)
    return await consumer.start()
  }

  async close(): Promise<void> {
    for (const consumer of this.consumers) await consumer.stop()
    await Promise.all([this.s3.close(), this.sqs.close()])
    rmSync(this.folder, { recursive: true })
  }
}

export interface ConsumerOptions {
  readonly dryRun?: boolean
}

/** One process: the source, its ledger, and what becomes of objects as the engine would have it. */
export class Consumer {
  readonly bed: SqsBed
  readonly lines: string[] = []
  readonly meter = new MemoryMeter()
  /** Keys of objects that were given out, in order. */
  readonly given: string[] = []
  /** Contents of those that were read to their end, by key, in order. */
  readonly read: Array<readonly [key: string, content: string]> = []
  source!: Source
  ledger!: SqliteLedger
  readonly #statePath: string
  readonly #o: ConsumerOptions
  #config: object
  #follower: { readonly soft: AbortController; readonly ended: Promise<void> } | undefined

  constructor(bed: SqsBed, number: number, config: object, o: ConsumerOptions) {
    this.bed = bed
    this.#config = config
    this.#o = o
    this.#statePath = join(bed.folder, String(number), 'state.json')
  }

  /** The next start, as another process on the same state; without `config` it is that of the last one. */
  async start(config = this.#config): Promise<this> {
    await this.stop()
    this.#config = config
    const { sqs, s3, queue } = this.bed
    const parsed = s3SqsConfig.parse({
      type: 's3_sqs',
      queue_url: sqs.queueUrl(queue),
      endpoint: s3.endpoint,
      wait_time: '0s',
      ...config,
    })
    const nowMs = () => sqs.nowMs()
    const context = { ...testContext(this.lines), meter: this.meter, nowMs }
    this.ledger = openLedger({
      ...{ statePath: this.#statePath, mode: 'exclusive', log: context.log, nowMs },
      ...{ startMs: 0, retentionMs: 14 * 86_400_000, lookbackMs: 0 },
    })
    const dryRun = this.#o.dryRun ?? false
    this.source = s3SqsSource.create(parsed, { ...context, ledger: this.ledger, dryRun, timeFromKey: () => undefined })
    return this
  }

  async stop(): Promise<void> {
    await this.unfollow().catch(() => undefined)
    this.#assertBalance()
    await this.source?.[Symbol.asyncDispose]()
    await this.ledger?.[Symbol.asyncDispose]()
  }

  /** Whatever was done to it: no message has two ends. One that is left to its visibility timeout has none. */
  #assertBalance(): void {
    const { received = 0, deleted = 0, released = 0, lost = 0, held = 0 } = this.source?.figures ?? {}
    assert.ok(received >= deleted + released + lost + held, 'a message is counted twice')
  }

  /** As a killed process: nothing it says reaches the queue any more, and nothing is saved. */
  async kill(): Promise<void> {
    const { sqs } = this.bed
    const before = sqs.fault
    sqs.fault = ({ action }) => (/Batch$/.test(action) ? { failEntries: () => deadHandle } : undefined)
    await this.unfollow().catch(() => undefined)
    await this.source[Symbol.asyncDispose]()
    this.ledger.abandon()
    sqs.fault = before
  }

  /** Reads what is given out as the engine does, until the queue is empty; `outcome` may say otherwise. Gives the keys. */
  async drain(outcome?: (object: ListedObject) => Outcome | undefined): Promise<string[]> {
    const from = this.given.length
    await this.#take({ soft: never, once: true }, outcome)
    return this.given.slice(from).toSorted()
  }

  /** As a daemon, until `unfollow`. An object for which `outcome` gives 'open' is kept open. */
  follow(outcome?: (object: ListedObject) => Outcome | 'open' | undefined): this {
    const soft = new AbortController()
    this.#follower = { soft, ended: this.#take({ soft: soft.signal, once: false }, outcome) }
    // Looked at by `unfollow`; without this a failure before that would end the test process.
    this.#follower.ended.catch(() => undefined)
    return this
  }

  async unfollow(): Promise<void> {
    this.#follower?.soft.abort(new Error('stop'))
    await this.#follower?.ended
    this.#follower = undefined
  }

  async #take(
    o: { readonly soft: AbortSignal; readonly once: boolean },
    outcome: (object: ListedObject) => Outcome | 'open' | undefined = () => undefined,
  ): Promise<void> {
    for await (const object of this.source.objects({ ...o, hard: never })) {
      this.given.push(object.key)
      const told = outcome(object)
      if (told !== 'open') this.finish(object, told ?? (await this.outcomeOf(object)))
    }
  }

  /** What reading the object to its end comes to, by the rules of the engine. */
  async outcomeOf(object: ListedObject): Promise<Outcome> {
    try {
      const bytes = await bytesOf(this.source.open(object, 0, { signal: never }))
      this.read.push([object.key, bytes.toString()])
      return 'done'
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      if (error.code === 'source.replaced') return 'replaced'
      if (error.code === 'source.vanished') return 'vanished'
      return error.kind === 'permanent' ? 'quarantined' : 'failed'
    }
  }

  finish(object: ListedObject, outcome: Outcome): void {
    if (this.#o.dryRun)
      this.source.finished(object, outcome, { read: 0, delivered: 0, filtered: 0, quarantined: 0, bytes: 0 })
    else finish(this, object, outcome)
  }

  /** What the ledger knows of objects, by key. */
  get states(): Readonly<Record<string, ObjectState>> {
    return Object.fromEntries(this.ledger.objects().map(({ key, state }) => [key, state]))
  }

  figure(name: string): number | undefined {
    return this.source.figures?.[name]
  }

  metric(name: string): number | undefined {
    return this.meter.snapshot().find((series) => series.name === name)?.value
  }
}

const deadHandle = { status: 400, code: 'ReceiptHandleIsInvalid', message: 'The process is gone.' }

/** Resolves when it is so; throws if it does not become so. */
export async function until(isSo: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000
  while (!isSo()) {
    if (performance.now() > endMs) throw new Error(`it does not become so: ${isSo}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

export async function openBed({
  queue = 'events',
  attributes,
  maxReceiveCount,
  ...o
}: BedOptions = {}): Promise<SqsBed> {
  const [s3, sqs] = await Promise.all([startS3(), startSqs({ nowMs: () => startMs, ...o })])
  let redrive = {}
  if (maxReceiveCount !== undefined) {
    const dead = queue.endsWith('.fifo') ? 'dead.fifo' : 'dead'
    sqs.createQueue(dead)
    redrive = { RedrivePolicy: JSON.stringify({ deadLetterTargetArn: sqs.queueArn(dead), maxReceiveCount }) }
  }
  sqs.createQueue(queue, { ...attributes, ...redrive })
  return new SqsBed(s3, sqs, queue)
}

/** Servers for as long as `act` takes. */
export async function within(o: BedOptions, act: (bed: SqsBed) => Promise<void>): Promise<void> {
  const bed = await openBed(o)
  try {
    await act(bed)
  } finally {
    await bed.close()
  }
}

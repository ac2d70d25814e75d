/**
 * `s3_scan`: lists a bucket again and again and gives out each object once.
 *
 * An object is given out when the ledger does not know it as finished and it is not too old:
 *   - older than the checkpoint less `lookback`, both by its time and by LastModified against the last sweep: passed over;
 *   - left alone on purpose (`start_at`, an operator moved the timestamp): passed over;
 *   - its name says it is younger than `delay_window`: left for a later scan, its writer may not be done.
 * The checkpoint moves when a scan listed everything: to the start of the scan less `delay_window`, but never past the newest
 * object seen, nor past one that is still under way. Failed objects do not hold it: the ledger gives them again.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { S3Client } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import { backoffMs } from '../core/backoff.ts'
import type {
  Dependency,
  Finding,
  Outcome,
  ReplayRange,
  Signal,
  Source,
  SourceContext,
  SourceDefinition,
} from '../core/component.ts'
import type { Counts } from '../core/delivery.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { ObjectState } from '../ledger/ledger.ts'
import { InTurn, older } from './in-turn.ts'
import { templateLevels } from './partition.ts'
import { type S3Dependency, s3Dependency } from './s3-dependency.ts'
import { s3ListError } from './s3-errors.ts'
import { LeftObjects } from './s3-left-objects.ts'
import { S3Listing } from './s3-listing.ts'
import { confirmObject, fillFromObject, headObject, readObject, type S3Object } from './s3-object.ts'
import { pathBelow, type ReplayedBucket, replayedObjects } from './s3-replay.ts'
import { checkBucket } from './s3-scan-check.ts'
import { type S3ScanConfig, s3ScanConfig, startAtMs } from './s3-scan-config.ts'
import { ScanFigures, type ScanTally } from './s3-scan-figures.ts'

/** An object that had vanished or was replaced, and is listed again as it was, is there to be read. */
const settledStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined', 'requeued', 'failed'])
/** A folder in which something arrived is listed for so long, whatever its date says. */
const liveMs = 86_400_000
/** LastModified is by the server's clock, in whole seconds, and so much may lie between it and ours. */
const clockSlackMs = 300_000
/** A list that fails is tried again within the scan so many times when there is no later scan. */
const onceListAttempts = 8

class S3Scan implements Source<S3Object> {
  readonly workers: number
  readonly #config: S3ScanConfig
  readonly #context: SourceContext
  readonly #client: S3Client
  readonly #listing: S3Listing
  readonly #partition: ReplayedBucket['partition']
  readonly #s3: S3Dependency
  readonly #figures: ScanFigures
  readonly #turn = new InTurn<S3Object>()
  /** Pages that wait -> time of their oldest object that is to be read. */
  readonly #oldestOf = new WeakMap<readonly S3Object[], number | undefined>()
  /** Given out and not finished -> time. */
  readonly #underWay = new Map<string, number>()
  readonly #left: LeftObjects
  #saidOutside = false
  /** Folders that gave objects lately -> LastModified of the latest. */
  #folders: Map<string, number> | undefined
  #sweptMs = 0
  #complete = false

  constructor(config: S3ScanConfig, context: SourceContext) {
    this.#config = config
    this.#context = context
    this.workers = config.workers
    this.#client = createS3Client(config, config.workers + 16)
    this.#s3 = s3Dependency(this.#client, { ...config, nowMs: context.nowMs })
    this.#figures = new ScanFigures(context.meter)
    this.#left = new LeftObjects(context)
    const { partition } = config
    this.#partition = partition === 'auto' || partition === 'none' ? partition : templateLevels(partition)
    this.#listing = new S3Listing(this.#client, {
      bucket: config.bucket,
      prefix: config.prefix,
      partition: this.#partition,
      timeFromKey: context.timeFromKey,
      queue: config.queue,
      outside: (folder) => {
        if (!this.#saidOutside) context.log.warn({ folder, partition }, 'folders outside the template are passed over')
        this.#saidOutside = true
      },
    })
  }

  get progress(): { readonly found: number; readonly complete: boolean } {
    return { found: this.#figures.found, complete: this.#complete }
  }

  get dependencies(): readonly Dependency[] {
    return [this.#s3.state]
  }

  get oldestWaitingMs(): number | undefined {
    return older(this.#turn.oldestMs, this.#oldestListed())
  }

  /** Pages that were listed and wait are mostly known objects: each is compared with the ledger once, if anyone asks. */
  #oldestListed(): number | undefined {
    let oldestMs: number | undefined
    for (const page of this.#listing.waiting) {
      if (!this.#oldestOf.has(page)) {
        const { nowMs } = this.#context
        const eligible = page.filter((object) => this.#isWanted(object, nowMs(), this.#figures.begin()))
        this.#oldestOf.set(page, oldestTime(this.#fresh(eligible)))
      }
      oldestMs = older(oldestMs, this.#oldestOf.get(page))
    }
    return oldestMs
  }

  async *examine(o: Signal): AsyncGenerator<Finding> {
    const { timeFromKey, nowMs } = this.#context
    const { watch } = this.#s3
    const at = { client: this.#client, watch, listing: this.#listing, config: this.#config, timeFromKey }
    const { examineScan } = await import('./s3-examine.ts')
    yield* examineScan({ ...at, nowMs: nowMs() }, o)
  }

  async check(o: Signal): Promise<void> {
    await checkBucket(this.#client, this.#config, { ...o, log: this.#context.log })
  }

  async *objects(o: {
    readonly soft: AbortSignal
    readonly hard: AbortSignal
    readonly once: boolean
  }): AsyncGenerator<S3Object, void, undefined> {
    const { nowMs, log } = this.#context
    for (let failures = 0; !o.soft.aborted; ) {
      const startMs = nowMs()
      try {
        for (const object of this.#again(o.once)) {
          yield this.#give(object)
          if (o.soft.aborted) return
        }
        yield* this.#scan(startMs, o)
        failures = 0
        if (o.once) return
      } catch (error) {
        if (o.soft.aborted) return
        failures += 1
        const known = s3ListError(error, this.#config.bucket, this.#config.prefix)
        if (known.kind === 'bug') throw known
        this.#figures.failed()
        this.#s3.state.used(known)
        if (o.once && (known.kind === 'config' || failures >= onceListAttempts)) throw known
        const facts = { error: explainError(known), failures }
        if (known.kind === 'config') log.error(facts, 'cannot list; trying again at the next scan')
        else log.warn(facts, 'listing interrupted; trying again at the next scan')
      }
      const interval =
        failures === 0 || !o.once ? this.#config.scan_interval : backoffMs({ minMs: 200, maxMs: 15_000 }, failures)
      // A clock that was set back must not make this a long sleep.
      const waitMs = failures === 0 ? Math.min(startMs + interval - nowMs(), interval) : interval
      await sleep(Math.max(waitMs, 0), undefined, { signal: o.soft }).catch(() => undefined)
    }
  }

  /**
   * What does not come from listing. All at once: what is under way now may be finished by the time the next one is asked
   * for, and must not be given again then.
   */
  #again(once: boolean): S3Object[] {
    const due = this.#left.due(once)
    for (const id of this.#underWay.keys()) due.delete(id)
    return [...due.values()]
  }

  async *#scan(
    startMs: number,
    o: { readonly soft: AbortSignal; readonly once: boolean },
  ): AsyncGenerator<S3Object, void, undefined> {
    const { ledger } = this.#context
    const { lookback } = this.#config
    this.#obeyClock(startMs)
    const { checkpointMs, floor } = ledger.horizon
    const windowMs = Math.max(checkpointMs, floor.timeMs) - lookback
    const sweep = o.once || this.#sweptMs === 0 || Math.abs(startMs - this.#sweptMs) >= Math.max(lookback, 300_000)
    ledger.setHorizon({ ...ledger.horizon, listed: false })
    const tally = this.#figures.begin()
    const live = this.#liveFolders(startMs)
    let newestMs = checkpointMs
    for await (const page of this.#listing.pages({ windowMs, live, sweep, signal: o.soft })) {
      this.#figures.list(tally, page.length)
      for (const { timeMs } of page) newestMs = Math.max(newestMs, timeMs)
      const eligible = page.filter((object) => this.#isWanted(object, startMs, tally))
      // Now, for the whole page: what is under way may be finished before its turn, and is not new then.
      const fresh = this.#fresh(eligible)
      tally.known += eligible.length - fresh.length
      for (const object of this.#turn.of(fresh)) {
        tally.given += 1
        yield this.#give(object)
        if (o.soft.aborted) return
      }
    }
    this.#completed(startMs, newestMs, sweep, tally)
  }

  #fresh(eligible: readonly S3Object[]): S3Object[] {
    const states = this.#context.ledger.states(eligible.map(({ id }) => id))
    return eligible.filter(({ id }) => {
      const state = states.get(id)
      return !this.#underWay.has(id) && (state === undefined || !settledStates.has(state))
    })
  }

  /** A clock that was ahead and is right again has left times in the future: nothing new would ever pass them. */
  #obeyClock(startMs: number): void {
    const { ledger, log } = this.#context
    const { horizon } = ledger
    if (horizon.checkpointMs <= startMs && horizon.sweepMs <= startMs) return
    const checkpointMs = Math.min(horizon.checkpointMs, startMs - this.#config.delay_window)
    ledger.setHorizon({ ...horizon, checkpointMs, sweepMs: Math.min(horizon.sweepMs, startMs) })
    if (horizon.sweepMs - startMs > 60_000) {
      const aheadMs = horizon.sweepMs - startMs
      log.warn({ aheadMs }, 'the clock was set back: some objects may be read again')
    }
  }

  #isWanted(object: S3Object, startMs: number, tally: ScanTally): boolean {
    const { checkpointMs, sweepMs, floor } = this.#context.ledger.horizon
    const { lookback, delay_window } = this.#config
    const { timeMs, lastModifiedMs } = object
    const isOld =
      (timeMs < floor.timeMs && lastModifiedMs < floor.setAtMs) ||
      (timeMs < checkpointMs - lookback && lastModifiedMs < sweepMs - Math.max(lookback, clockSlackMs))
    if (isOld) tally.old += 1
    // Where the name says no time, timeMs is LastModified: the object is complete, S3 shows no others.
    const isYoung = timeMs !== lastModifiedMs && Math.min(timeMs, lastModifiedMs) > startMs - delay_window
    if (!isOld && isYoung) tally.waiting += 1
    return !isOld && !isYoung
  }

  /** Folders in which something arrived within the last day, and the folders above them. */
  #liveFolders(startMs: number): ReadonlySet<string> {
    const sinceMs = startMs - liveMs
    this.#folders ??= new Map(this.#context.ledger.folders(sinceMs).map((folder) => [folder, startMs]))
    const live = new Set<string>()
    for (const [folder, lastModifiedMs] of this.#folders) {
      if (lastModifiedMs < sinceMs) this.#folders.delete(folder)
      else
        for (let end = folder.indexOf('/'); end >= 0; end = folder.indexOf('/', end + 1))
          live.add(folder.slice(0, end + 1))
    }
    return live
  }

  #give(object: S3Object): S3Object {
    this.#underWay.set(object.id, object.timeMs)
    const folder = object.key.slice(0, object.key.lastIndexOf('/') + 1)
    this.#folders?.set(folder, Math.max(this.#folders.get(folder) ?? 0, object.lastModifiedMs))
    this.#figures.give()
    const { prefix } = this.#config
    return { ...object, path: pathBelow(prefix, object.key) }
  }

  #completed(startMs: number, newestMs: number, sweep: boolean, tally: ScanTally): void {
    const { ledger, log, nowMs } = this.#context
    this.#complete = true
    const { horizon } = ledger
    // Time goes on while a writer rests: the checkpoint stays with what was seen, so what comes late after a rest is in reach.
    let checkpointMs = Math.min(startMs - this.#config.delay_window, newestMs)
    for (const timeMs of this.#underWay.values()) checkpointMs = Math.min(checkpointMs, timeMs)
    if (sweep) this.#sweptMs = startMs
    ledger.setHorizon({
      ...horizon,
      checkpointMs: Math.max(horizon.checkpointMs, checkpointMs),
      sweepMs: sweep ? startMs : horizon.sweepMs,
      listed: true,
    })
    if (sweep) {
      // Rows in reach of the window are what keeps objects from being read twice: also of the window a killed process goes back to.
      ledger.save()
      const { checkpointMs, sweepMs } = ledger.horizon
      ledger.prune(Math.min(checkpointMs, sweepMs) - 2 * this.#config.lookback - 86_400_000)
    }
    const finished = this.#figures.completed(tally, { startMs, nowMs: nowMs() })
    log.info(
      { ...tally, underWay: this.#underWay.size, finished, ms: nowMs() - startMs },
      tally.given > 0
        ? `scan: ${tally.given} new of ${tally.listed} objects`
        : `scan: nothing new in ${tally.listed} objects`,
    )
  }

  replayed(range: ReplayRange, o: Signal): AsyncIterable<S3Object> {
    const { bucket, prefix } = this.#config
    const { timeFromKey } = this.#context
    return replayedObjects(this.#client, { bucket, prefix, partition: this.#partition, timeFromKey }, range, o)
  }

  async find(key: string, o: Signal): Promise<S3Object> {
    const { bucket } = this.#config
    const { timeFromKey } = this.#context
    return await headObject(this.#client, { bucket, key }, { ...o, timeFromKey }).catch((error: unknown) => {
      if (!(error instanceof StreamError) || error.code !== 'source.vanished') throw error
      throw new StreamError('source.vanished', `there is no object s3://${bucket}/${key} (and no local file ${key})`)
    })
  }

  open(object: S3Object, offset: number, o: Signal): AsyncIterable<Buffer> {
    return readObject(this.#client, object, offset, o)
  }

  confirm(object: S3Object, o: Signal): Promise<number> {
    return confirmObject(this.#client, object, o)
  }

  fill(object: S3Object, offset: number, into: Buffer, o: Signal): Promise<void> {
    return fillFromObject(this.#client, object, offset, into, o)
  }

  finished(object: S3Object, outcome: Outcome, counts: Counts): void {
    this.#underWay.delete(object.id)
    if (outcome === 'stopped') return
    this.#figures.finished(outcome, counts)
    if (outcome === 'failed') return
    this.#left.settled(object.id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
  }
}

function oldestTime(objects: readonly S3Object[]): number | undefined {
  return objects.reduce<number | undefined>((oldestMs, { timeMs }) => older(oldestMs, timeMs), undefined)
}

export const s3ScanSource: SourceDefinition<typeof s3ScanConfig, S3Object> = {
  type: 's3_scan',
  summary: 'Lists a bucket at an interval and reads each new object once.',
  notes: `Every scan lists what may hold new objects: date folders are recognised (\`partition\`), and the last \`lookback\` is listed
again each time, so objects that arrive late or in the same second are found. Which objects are finished is in the ledger,
by bucket, key and ETag: an overwritten object is a new one.

**Time of an object**: by the format's regex on the base name, else on the whole key, else on the first records, else
LastModified. \`delay_window\` applies to names only: S3 shows an object when it is complete.

**Late objects**: found if their name or their LastModified is within \`lookback\` of the checkpoint, in folders that the
window reaches; a sweep at the start, in \`run --once\` and every \`lookback\` goes one day further back.

**Permissions**: \`s3:ListBucket\` on the bucket, \`s3:GetObject\` on the objects, \`kms:Decrypt\` if they are encrypted with KMS.

**Guarantee**: at least once. Objects in Glacier go to quarantine with the reason; zero-byte objects and folder markers count as done.`,
  config: s3ScanConfig,
  place: ({ bucket, prefix }) => `s3://${bucket}/${prefix}`,
  start: ({ start_at, delay_window, lookback }, nowMs) => ({
    startMs: startAtMs(start_at, nowMs - delay_window) ?? 0,
    lookbackMs: lookback,
  }),
  examples: [
    {
      title: 'Hive-style date folders below a prefix',
      config: { type: 's3_scan', bucket: 'weblogs', prefix: '_weblog/feedname=Web/', region: 'us-east-1' },
    },
    {
      title: 'An S3-compatible server, one flat prefix, only what arrives from now on',
      config: {
        type: 's3_scan',
        bucket: 'logs',
        endpoint: 'http://127.0.0.1:9000',
        partition: 'none',
        start_at: 'now',
      },
    },
  ],
  create: (config, context) => new S3Scan(config, context),
}

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
import { HeadObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { createS3Client } from '../aws/connection.ts'
import { backoffMs } from '../core/backoff.ts'
import type { Outcome, Signal, Source, SourceContext, SourceDefinition } from '../core/component.ts'
import type { Counts } from '../core/delivery.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { ObjectEntry, ObjectState } from '../ledger/ledger.ts'
import { templateLevels } from './partition.ts'
import { s3Error, s3ListError } from './s3-errors.ts'
import { S3Listing } from './s3-listing.ts'
import { confirmObject, etagOf, fillFromObject, headObject, readObject, type S3Object } from './s3-object.ts'
import { type S3ScanConfig, s3ScanConfig, startAtMs } from './s3-scan-config.ts'

/** An object that had vanished or was replaced, and is listed again as it was, is there to be read. */
const settledStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined', 'requeued', 'failed'])
/** A folder in which something arrived is listed for so long, whatever its date says. */
const liveMs = 86_400_000
/** A failed object is tried by every scan at first, later less often, at last every so many ms. */
const failedWaits = { minMs: 15_000, maxMs: 900_000 }
/** LastModified is by the server's clock, in whole seconds, and so much may lie between it and ours. */
const clockSlackMs = 300_000
/** A list that fails is tried again within the scan so many times when there is no later scan. */
const onceListAttempts = 8

interface ScanTally {
  listed: number
  given: number
  known: number
  old: number
  waiting: number
}

class S3Scan implements Source<S3Object> {
  readonly workers: number
  readonly #config: S3ScanConfig
  readonly #context: SourceContext
  readonly #client: S3Client
  readonly #listing: S3Listing
  /** Given out and not finished -> time. */
  readonly #underWay = new Map<string, number>()
  /** To be read again because an operator asked -> quarantine entries. */
  readonly #requeued = new Map<string, Set<number>>()
  #saidOutside = false
  /** Folders that gave objects lately -> LastModified of the latest. */
  #folders: Map<string, number> | undefined
  #sweptMs = 0
  #found = 0
  #complete = false
  #finished = { objects: 0, failed: 0, quarantined: 0, records: 0, bytes: 0 }

  constructor(config: S3ScanConfig, context: SourceContext) {
    this.#config = config
    this.#context = context
    this.workers = config.workers
    this.#client = createS3Client(config, config.workers + 16)
    const { partition } = config
    this.#listing = new S3Listing(this.#client, {
      bucket: config.bucket,
      prefix: config.prefix,
      partition: partition === 'auto' || partition === 'none' ? partition : templateLevels(partition),
      timeFromKey: context.timeFromKey,
      queue: config.queue,
      outside: (folder) => {
        if (!this.#saidOutside) context.log.warn({ folder, partition }, 'folders outside the template are passed over')
        this.#saidOutside = true
      },
    })
  }

  get progress(): { readonly found: number; readonly complete: boolean } {
    return { found: this.#found, complete: this.#complete }
  }

  async check(o: Signal): Promise<void> {
    const { bucket, prefix } = this.#config
    const { log } = this.#context
    let key: string | undefined
    try {
      const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 })
      const page = await this.#client.send(command, { abortSignal: o.signal })
      key = page.Contents?.[0]?.Key
    } catch (error) {
      throw s3ListError(error, bucket, prefix)
    }
    if (key === undefined) {
      log.warn({ bucket, prefix }, 'no object under this prefix yet: check `prefix` if there should be')
      return
    }
    try {
      await this.#client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: o.signal })
    } catch (error) {
      o.signal.throwIfAborted()
      // It is one object, and perhaps the only one that is denied: no reason to refuse the start.
      const known = s3Error(error, `read s3://${bucket}/${key}`)
      if (known.code === 'source.access') log.warn({ error: explainError(known) }, 'the first object cannot be read')
    }
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
   * Objects that do not come from listing: left over by a stop, failed, or asked for again by an operator. All at once:
   * what is under way now may be finished by the time the next one is asked for, and must not be given again then.
   */
  #again(once: boolean): S3Object[] {
    const { ledger, nowMs } = this.#context
    const due = new Map<string, S3Object>()
    const waiting = new Set<string>()
    for (const entry of ledger.objects({ states: ['active', 'failed'] })) {
      const waitMs = backoffMs(failedWaits, entry.attempts, () => 1)
      if (entry.state === 'failed' && !once && entry.updatedMs + waitMs > nowMs()) waiting.add(entry.id)
      else due.set(entry.id, fromEntry(entry))
    }
    for (const { id: quarantineId, kind, object, createdMs } of ledger.requeued()) {
      if (kind !== 'object') continue
      const { id } = object
      // Kept over failures and restarts: the mark stays until the object was read.
      this.#requeued.set(id, (this.#requeued.get(id) ?? new Set()).add(quarantineId))
      if (due.has(id) || waiting.has(id)) continue
      const entry = ledger.find(id)
      const times = { timeMs: createdMs, lastModifiedMs: createdMs }
      due.set(id, entry ? fromEntry(entry) : { ...object, etag: etagOf(id), size: undefined, ...times })
    }
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
    const tally: ScanTally = { listed: 0, given: 0, known: 0, old: 0, waiting: 0 }
    const live = this.#liveFolders(startMs)
    let newestMs = checkpointMs
    for await (const page of this.#listing.pages({ windowMs, live, sweep, signal: o.soft })) {
      tally.listed += page.length
      for (const { timeMs } of page) newestMs = Math.max(newestMs, timeMs)
      const eligible = page.filter((object) => this.#isWanted(object, startMs, tally))
      // Now, for the whole page: what is under way may be finished before its turn, and is not new then.
      const states = ledger.states(eligible.map(({ id }) => id))
      const fresh = eligible.filter(({ id }) => {
        const state = states.get(id)
        return !this.#underWay.has(id) && (state === undefined || !settledStates.has(state))
      })
      tally.known += eligible.length - fresh.length
      for (const object of fresh) {
        tally.given += 1
        yield this.#give(object)
        if (o.soft.aborted) return
      }
    }
    this.#completed(startMs, newestMs, sweep, tally)
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
    this.#found += 1
    const { prefix } = this.#config
    return { ...object, path: object.key.slice(object.key.startsWith(prefix) ? prefix.lastIndexOf('/') + 1 : 0) }
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
    const finished = this.#finished
    this.#finished = { objects: 0, failed: 0, quarantined: 0, records: 0, bytes: 0 }
    log.info(
      { ...tally, underWay: this.#underWay.size, finished, ms: nowMs() - startMs },
      tally.given > 0
        ? `scan: ${tally.given} new of ${tally.listed} objects`
        : `scan: nothing new in ${tally.listed} objects`,
    )
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
    this.#finished.objects += 1
    this.#finished.records += counts.delivered
    this.#finished.bytes += counts.bytes
    if (outcome === 'failed') this.#finished.failed += 1
    if (outcome === 'quarantined') this.#finished.quarantined += 1
    if (outcome === 'failed') return
    const { ledger } = this.#context
    for (const entry of this.#requeued.get(object.id) ?? []) {
      // If it ended in quarantine again, the mark is off and the entry stays.
      if (ledger.quarantined(entry)?.requeued) ledger.release(entry)
    }
    this.#requeued.delete(object.id)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy()
  }
}

function fromEntry({ id, bucket, key, size, timeMs, lastModifiedMs }: ObjectEntry): S3Object {
  return { id, bucket, key, size, timeMs, lastModifiedMs, etag: etagOf(id) }
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

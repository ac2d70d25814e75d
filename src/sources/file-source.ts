/**
 * Files of a store as objects: polls go through the tree and give out what is new and finished.
 *
 *   poll ─▶ walk ▶ rules ▶ ledger ─▶ objects() … confirm ▶ fill … finished() ─▶ delete or move
 *
 * 1. A file is known by path, size and time of its last change. One that was written again is a new object.
 * 2. Of one path only one version is under way at a time.
 * 3. A file that the ledger knows as done is not given again; if it should have been deleted or moved, that is done then.
 * 4. What cannot be read (a folder, a name) is told and counted, and the rest goes on. The ledger forgets files that are gone, but
 *    nothing after a poll that did not see everything.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Dependency, Finding, Outcome, ReplayRange, Signal, Source, SourceContext } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { untilAborted } from '../core/until-aborted.ts'
import type { ObjectState } from '../ledger/ledger.ts'
import { AfterActions } from './file-after.ts'
import { checkFiles } from './file-check.ts'
import type { FileConfig } from './file-config.ts'
import { LeftFiles } from './file-left.ts'
import { absolutePath, type FileObject, fileId } from './file-object.ts'
import { type FileOutside, folderOutside } from './file-outside.ts'
import { type FilePlace, findFile, locate } from './file-place.ts'
import { FileReader } from './file-reader.ts'
import { replayedFiles } from './file-replay.ts'
import { Finish } from './file-rules.ts'
import type { FileStore } from './file-store.ts'
import { FileTally } from './file-tally.ts'
import { type FoundFile, type FoundFiles, Walk } from './file-walk.ts'
import { InTurn } from './in-turn.ts'

/** A file that had vanished or was replaced, and is there again as it was, is there to be read. */
const settledStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined', 'requeued'])
/** A poll that fails is tried again so many times when there is no later one. */
const oncePollAttempts = 8
const onceWaits = { minMs: 200, maxMs: 15_000 }
/** Files that changed while they were read are looked for again so many times by a run that ends by itself. */
const onceRounds = 5
/** The ledger is told this often what is still there. */
const censusMs = 6 * 3_600_000
const closeLimitMs = 5000
/** Listing waits while so many files wait to be removed. */
const mostPending = 1000
/** Paths of which it was told that they cannot be read. */
const toldPaths = 10_000

/** What one call of `objects` knows. */
interface Run {
  readonly soft: AbortSignal
  readonly once: boolean
  readonly finish: Finish
  /** Paths of which another version than the one read is there, or was: to be looked for again. */
  readonly again: Set<string>
  /** Those that the poll under way looks for. */
  readonly looking: Set<string>
  /** Ids that failed in this run. */
  readonly failed: Set<string>
}

export class FileSource implements Source<FileObject> {
  readonly workers: number
  readonly #config: FileConfig
  readonly #context: SourceContext
  readonly #store: FileStore
  readonly #reader: FileReader
  readonly #tally: FileTally
  readonly #after: AfterActions | undefined
  /** Paths without the first slash -> ids. */
  readonly #underWay = new Map<string, string>()
  readonly #left: LeftFiles
  readonly #turn = new InTurn<FileObject>()
  readonly #outside: FileOutside
  /** What the last poll could not read. */
  #unreadable = new Map<string, string>()
  readonly #told = new Set<string>()
  #place: FilePlace | undefined
  #run: Run | undefined
  #complete = false
  #lost = 0
  #changed = Promise.withResolvers<void>()

  constructor(
    config: FileConfig,
    context: SourceContext,
    store: FileStore,
    outside: FileOutside = folderOutside(config, context, store),
  ) {
    this.#config = config
    this.#context = context
    this.#store = store
    this.workers = config.workers
    this.#reader = new FileReader(store)
    this.#tally = new FileTally(context.meter)
    this.#left = new LeftFiles(context, store.place)
    this.#outside = outside
    if (config.after === 'none' || context.dryRun) return
    this.#after = new AfterActions({
      ...{ store, log: context.log },
      action: config.after === 'delete' ? { kind: 'delete' } : { kind: 'move', to: () => this.#place?.moveTo },
      markerOf: (path) => (this.#known.rules.hasOwnMarkers ? this.#known.rules.markerOf(path) : undefined),
      did: () => this.#tally.acted('done'),
      failed: () => this.#tally.acted('failed'),
      changed: () => this.#wake(),
    })
  }

  get progress(): { readonly found: number; readonly complete: boolean; readonly failed: number } {
    const failed = this.#unreadable.size + this.#lost + (this.#after?.stuck ?? 0)
    return { found: this.#tally.given, complete: this.#complete, failed }
  }

  get dependencies(): readonly Dependency[] {
    return [this.#outside.state]
  }

  get oldestWaitingMs(): number | undefined {
    return this.#turn.oldestMs
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#outside.examine(o)
  }

  get figures(): Readonly<Record<string, number>> {
    const unreadable = this.#unreadable.size
    return { ...this.#tally.figures, ...(unreadable > 0 ? { unreadable } : {}) }
  }

  /** Where it was found last; every file that is given out was found somewhere. */
  get #known(): FilePlace {
    if (!this.#place) throw new StreamError('core.unbalanced', 'a file before its folder was found')
    return this.#place
  }

  async check(o: Signal): Promise<void> {
    await checkFiles(this.#store, this.#config, { ...o, log: this.#context.log })
  }

  async *objects(o: {
    readonly soft: AbortSignal
    readonly once: boolean
  }): AsyncGenerator<FileObject, void, undefined> {
    const { log, nowMs } = this.#context
    const { min_age, finished, poll_interval } = this.#config
    const skewed = (file: { readonly path: string }, aheadMs: number) =>
      log.warn({ path: file.path, aheadMs }, 'a file is from the future: the clocks differ, and min_age goes by ours')
    const finish = new Finish({ config: { min_age, finished }, once: o.once, skewed })
    const run: Run = { soft: o.soft, once: o.once, finish, again: new Set(), looking: new Set(), failed: new Set() }
    this.#run = run
    this.#complete = false
    this.#lost = 0
    let failures = 0
    let rounds = 0
    for (let polls = 1; !o.soft.aborted; polls += 1) {
      const startMs = nowMs()
      try {
        for (const path of run.again) run.looking.add(path)
        run.again.clear()
        yield* this.#poll(run)
        if (o.soft.aborted) return
        failures = 0
        this.#complete = !o.once || polls >= finished.stable
      } catch (error) {
        if (o.soft.aborted) return
        failures += 1
        this.#cannotPoll(error, o.once, failures)
        polls -= 1
      }
      if (failures === 0 && o.once && polls >= finished.stable) {
        if (await this.#isOver(run, rounds)) return
        rounds += 1
      }
      const interval =
        o.once && (failures > 0 || finished.stable === 1) ? backoffMs(onceWaits, failures + rounds) : poll_interval
      // A clock that was set back must not make this a long sleep.
      const waitMs = o.once ? interval : Math.min(startMs + interval - nowMs(), interval)
      await sleep(Math.max(waitMs, 0), undefined, { signal: o.soft }).catch(() => undefined)
    }
  }

  /** A run that ends by itself waits for what it gave out; true if there is nothing to look for again. */
  async #isOver(run: Run, rounds: number): Promise<boolean> {
    const { log, dryRun } = this.#context
    // There nothing is changed, and so nothing need be waited for.
    if (dryRun) return true
    await this.#until(() => this.#underWay.size === 0 && this.#pending === 0, run)
    if (run.soft.aborted) return true
    const waiting = this.#tally.waiting('young', 'changing', 'unmarked')
    if (run.again.size === 0 || rounds >= onceRounds) {
      this.#lost = run.again.size
      for (const path of run.again) log.error({ path }, 'the file changed each time it was read: it was left')
      if (waiting > 0) log.warn({ files: waiting }, 'files that are not finished yet were left for a later run')
      return true
    }
    log.info({ files: run.again.size }, 'files changed while they were read: looking again')
    this.#complete = false
    return false
  }

  /** Waits until it is so, or the run is stopped. */
  async #until(isSo: () => boolean, { soft }: Run): Promise<void> {
    while (!soft.aborted && !isSo()) await untilAborted(this.#changed.promise, soft).catch(() => undefined)
  }

  get #pending(): number {
    return this.#after?.pending ?? 0
  }

  /** Throws what ends the run. */
  #cannotPoll(error: unknown, once: boolean, failures: number): void {
    const { log } = this.#context
    if (!(error instanceof StreamError) || error.kind === 'bug') throw error
    this.#tally.failed()
    this.#outside.state.used(error)
    if (once && (error.kind !== 'transient' || failures >= oncePollAttempts)) throw error
    const facts = { error: explainError(error), failures }
    if (error.kind === 'transient') log.warn(facts, 'poll interrupted; trying again')
    else log.error(facts, 'cannot list; trying again at the next poll')
  }

  async *#poll(run: Run): AsyncGenerator<FileObject, void, undefined> {
    const { ledger, log, nowMs, dryRun } = this.#context
    const { follow_links } = this.#config
    const { soft: signal } = run
    const startMs = nowMs()
    const place = await locate(this.#store, this.#config, { signal })
    this.#place = place
    const { rules, only } = place
    const tally = this.#tally
    const unreadable = new Map<string, string>()
    const isCensus = !dryRun && Math.abs(startMs - ledger.horizon.sweepMs) >= censusMs
    tally.begin()
    for (const object of this.#left.due(rules, run)) {
      if (this.#underWay.has(object.key)) continue
      yield this.#give(object)
      if (signal.aborted) return
    }
    const walk = new Walk({
      ...{ store: this.#store, root: rules.root, followLinks: follow_links, signal },
      names: only === undefined ? undefined : [only, rules.markerOf(only) ?? []].flat(),
      hasMarkers: this.#config.finished.marker !== undefined,
      enters: (path) => rules.enters(path),
      isMarker: (path) => rules.isMarker(path),
      wants: (path) => {
        tally.list()
        const unwanted = rules.unwanted(path)
        if (unwanted !== undefined) tally.skip(unwanted)
        return unwanted === undefined
      },
      problem: (path, reason) => {
        unreadable.set(path, reason)
        this.#tell(path, reason)
      },
      passedOver: (_, kind) => tally.skip(kind === 'link' ? 'link' : 'special'),
    })
    for await (const found of walk.files()) {
      for (const object of this.#turn.of(this.#fresh(found, run, isCensus))) {
        yield this.#give(object)
        if (signal.aborted) return
      }
      // Removing may be slower than listing, and what waits for it takes memory.
      await this.#until(() => this.#pending < mostPending, run)
    }
    run.finish.polled()
    run.looking.clear()
    this.#unreadable = unreadable
    const facts = tally.end(unreadable.size, { startMs, nowMs: nowMs() })
    this.#outside.state.used()
    for (const path of this.#told) if (!unreadable.has(path)) this.#told.delete(path)
    // An empty folder may be a disk that is not there; and what is in a folder that cannot be listed is not gone.
    if (isCensus && walk.isWhole && tally.listed > 0) this.#forgetGone(startMs)
    const text = facts.given ? `${facts.given} new of ${facts.listed} files` : `nothing new in ${facts.listed} files`
    const more = unreadable.size > 0 ? { unreadable: unreadable.size } : {}
    log.info({ ...facts, ...more, underWay: this.#underWay.size, ms: nowMs() - startMs }, `poll: ${text}`)
  }

  /** Each is told once until it can be read. */
  #tell(path: string, reason: string): void {
    if (this.#told.has(path)) return
    if (this.#told.size < toldPaths) this.#told.add(path)
    const { log } = this.#context
    log.error(
      { path: `${this.#store.place}${absolutePath(this.#known.rules.root, path)}`, reason },
      'cannot be read: passed over',
    )
  }

  /** The ledger was told of all that is still there, and forgets the rest as soon as it may. */
  #forgetGone(startMs: number): void {
    const { ledger } = this.#context
    ledger.setHorizon({ ...ledger.horizon, sweepMs: startMs })
    ledger.save()
    ledger.prune(startMs)
  }

  /** The files of a page that are to be given out now. All at once: what is under way may be finished before its turn, and is not new then. */
  #fresh({ files, hasMarker }: FoundFiles, run: Run, isCensus: boolean): FileObject[] {
    const { ledger, nowMs, dryRun } = this.#context
    const { rules } = this.#known
    const objects = files.map((file) => this.#objectOf(file))
    const states = ledger.states(objects.map(({ id }) => id))
    if (isCensus) ledger.listed([...states.keys()])
    const fresh: FileObject[] = []
    for (const object of objects) {
      const { id, key, path, size, lastModifiedMs } = object
      const state = states.get(id)
      const underWay = this.#underWay.get(key)
      if (underWay !== undefined || (state !== undefined && settledStates.has(state))) {
        this.#tally.skip('known')
        if (underWay !== undefined && underWay !== id) run.again.add(path)
        if (underWay === undefined && state === 'done' && !dryRun) this.#after?.add(object)
        continue
      }
      const marker = rules.markerOf(path)
      const candidate = { path, size, modifiedMs: lastModifiedMs }
      const unfinished = run.finish.unfinished(candidate, marker !== undefined && hasMarker(marker), nowMs())
      if (unfinished === 'changing' && run.looking.has(path)) run.again.add(path)
      if (unfinished !== undefined) this.#tally.skip(unfinished)
      else if (state === 'failed' && this.#left.mustWait(id, run)) this.#tally.skip('retry')
      else fresh.push(object)
    }
    return fresh
  }

  #objectOf({ path, size, modifiedMs }: FoundFile): FileObject {
    const { root } = this.#known.rules
    const key = absolutePath(root, path).slice(1)
    const { place: bucket } = this.#store
    const id = fileId(bucket, key, { size, modifiedMs })
    const timeMs = this.#context.timeFromKey(key) ?? modifiedMs
    return { id, bucket, key, path, size, lastModifiedMs: modifiedMs, timeMs }
  }

  #give(object: FileObject): FileObject {
    this.#underWay.set(object.key, object.id)
    this.#tally.give()
    return object
  }

  async *replayed(range: ReplayRange, o: Signal): AsyncGenerator<FileObject, void, undefined> {
    const place = await locate(this.#store, this.#config, o)
    this.#place = place
    const objectOf = (file: FoundFile) => this.#objectOf(file)
    const { nowMs } = this.#context
    yield* replayedFiles({ store: this.#store, config: this.#config, place, objectOf, nowMs }, range, o)
  }

  async find(key: string, o: Signal): Promise<FileObject> {
    const found = await locate(this.#store, this.#config, o)
    this.#place = found
    return this.#objectOf(await findFile(this.#store, found.rules.root, key, o))
  }

  open(object: FileObject, offset: number, o: Signal): AsyncIterable<Buffer> {
    return this.#reader.read(object, offset, o)
  }

  confirm(object: FileObject, o: Signal): Promise<number> {
    return this.#reader.confirm(object, o)
  }

  fill(object: FileObject, offset: number, into: Buffer, o: Signal): Promise<void> {
    return this.#reader.fill(object, offset, into, o)
  }

  finished(object: FileObject, outcome: Outcome): void {
    void this.#reader.close(object)
    // Of a replayed file another version may be under way.
    if (this.#underWay.get(object.key) === object.id) this.#underWay.delete(object.key)
    this.#run?.finish.forget(object.path)
    if (outcome === 'done') this.#after?.add(object)
    if (outcome === 'replaced') this.#run?.again.add(object.path)
    if (outcome === 'failed' && this.#run?.once) this.#run.failed.add(object.id)
    this.#left.answered(object, outcome)
    this.#wake()
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#after?.close(closeLimitMs)
    await this.#reader[Symbol.asyncDispose]()
    await this.#store[Symbol.asyncDispose]()
  }
}

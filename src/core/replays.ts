/**
 * The replays of a pipeline: found in the ledger, where any process may write one down or cancel it, and done one after the
 * other, oldest first. After a cancellation nothing more is given out; what is under way is delivered.
 */
import type { Ledger, ObjectState, ReplayEntry } from '../ledger/ledger.ts'
import { BytePace } from './byte-pace.ts'
import type { ListedObject, Log, Meter, Outcome, Source } from './component.ts'
import { type Counts, nothingCounted } from './delivery.ts'
import { explainError } from './errors.ts'
import { Replay, type ReplayEnd } from './replay.ts'
import { ReplayHistory } from './replay-history.ts'
import { type ReplayMeter, replayMeter } from './replay-metrics.ts'

export interface ReplaysOptions<O extends ListedObject> {
  readonly source: Source<O>
  readonly ledger: Ledger
  readonly log: Log
  readonly meter: Meter
  readonly nowMs: () => number
  /** Waits between rounds of a replay; seconds if left out. */
  readonly waits?: { readonly minMs: number; readonly maxMs: number }
  readonly isLive: (id: string) => boolean
  /** There may be an object to take, or none to come. */
  readonly changed: () => void
}

/** What is under way of a cancelled replay is to end, however slow it was wanted. */
const cancelledBytesPerSecond = 10 * 2 ** 20

/** How many objects of replays are under way at most. */
export function replaySlots(workers: number): number {
  return Math.max(1, Math.floor(workers / 4))
}

/** The next attempt at these goes on where the last one was. */
const openStates: ReadonlySet<ObjectState> = new Set(['active', 'failed', 'requeued', 'vanished', 'replaced'])

interface Current<O extends ListedObject> {
  readonly replay: Replay<O>
  readonly history: ReplayHistory
  readonly cancel: AbortController
  /** Resolves when it is written down how it ended. */
  readonly ended: Promise<void>
}

interface Given<O extends ListedObject> {
  readonly replay: Replay<O>
  readonly history: ReplayHistory
  /** What was settled of it before. */
  readonly before: Counts
}

export class Replays<O extends ListedObject> {
  /** Ids of the objects that were given out and are not finished. */
  readonly underWay = new Set<string>()
  readonly #o: ReplaysOptions<O>
  readonly #meter: ReplayMeter
  readonly #given = new Map<string, Given<O>>()
  #current: Current<O> | undefined
  /** Those that this run has done with, whatever the ledger says: they broke, or are for the next run. */
  readonly #left = new Set<number>()
  /** What is to be written down as soon as the ledger lets it. */
  #unwritten: Array<() => void> = []
  /** The ledger did not answer: nothing more is given out before it does. */
  #hasFailed = false
  /** Objects given out. */
  found = 0
  /** Replays that did not come to a good end. */
  failed = 0

  constructor(o: ReplaysOptions<O>) {
    this.#o = o
    this.#meter = replayMeter(o.meter)
  }

  /** True while there is one to do. */
  get isBusy(): boolean {
    return this.#current !== undefined
  }

  /** True if an object waits to be taken, and may be. */
  get hasOffer(): boolean {
    const hasRoom = this.underWay.size < replaySlots(this.#o.source.workers)
    return hasRoom && !this.#hasFailed && (this.#current?.replay.hasOffer ?? false)
  }

  /** An object to be given out now; undefined if there is none. */
  take(): O | undefined {
    const current = this.#current
    if (!current || !this.hasOffer) return undefined
    let object: O | undefined
    this.#try(() => {
      object = current.replay.take((offered) => this.#begin(offered.id, current))
    })
    if (object) this.found += 1
    return object
  }

  #begin(id: string, { replay, history }: Current<O>): void {
    const { ledger } = this.#o
    const known = ledger.find(id)
    const isOpen = known !== undefined && openStates.has(known.state)
    const isOld = isOpen && known.startedMs <= replay.entry.createdMs
    // What was delivered of it before is wanted again; an attempt of this replay is gone on with where it was.
    if (isOld) ledger.replays.restart(id)
    const before = isOpen && !isOld ? known.counts : nothingCounted
    this.#given.set(id, { replay, history, before })
    this.underWay.add(id)
  }

  /** How fast an object may be read; undefined if it is none of a replay. */
  paceOf(id: string): BytePace | undefined {
    return this.#given.get(id)?.replay.pace
  }

  /** What became of an object, of a replay or not; true if it is of one. */
  finished(id: string, outcome: Outcome, counts: Counts): boolean {
    const given = this.#given.get(id)
    this.#given.delete(id)
    this.underWay.delete(id)
    this.#current?.replay.finished(id, outcome)
    if (!given) return false
    this.#meter.objects[outcome].replay_objects_total.add(1)
    given.history.add(outcome, counts, given.before)
    // Of one that was cancelled, or stopped, this is the rest.
    if (given.replay !== this.#current?.replay) this.#writeDown(() => given.history.writeRest())
    return true
  }

  /** Asks the ledger what there is to do, and writes down what was done. */
  look(run: { readonly soft: AbortSignal; readonly once: boolean }): void {
    const hadFailed = this.#hasFailed
    this.#try(() => {
      this.#writeRest()
      const open = this.#o.ledger.replays.open()
      const current = this.#current
      if (current && open.every(({ id }) => id !== current.replay.entry.id)) {
        current.replay.pace.quicken(cancelledBytesPerSecond)
        current.cancel.abort(new Error('the replay was cancelled'))
      } else if (current) this.#write(current)
      const next = open.find(({ id }) => !this.#left.has(id))
      if (!this.#current && next && !run.soft.aborted) this.#start(next, run)
    })
    if (hadFailed && !this.#hasFailed) this.#o.changed()
  }

  /** Gives nothing out any more. */
  async stop(): Promise<void> {
    this.#current?.cancel.abort(new Error('the run ends'))
    await this.#current?.ended
  }

  /** The ledger may be busy, or its disk full: then later. */
  #try(act: () => void): void {
    try {
      act()
      this.#hasFailed = false
    } catch (error) {
      if (!this.#hasFailed)
        this.#o.log.warn({ error: explainError(error) }, 'cannot read or write the replays of the ledger; trying again')
      this.#hasFailed = true
    }
  }

  /** Now, or at a later look. */
  #writeDown(act: () => void): void {
    this.#unwritten.push(act)
    this.#try(() => this.#writeRest())
  }

  #writeRest(): void {
    for (let act = this.#unwritten[0]; act; act = this.#unwritten[0]) {
      act()
      this.#unwritten.shift()
    }
  }

  #write({ replay, history }: Current<O>): void {
    const { entry, done, error } = replay
    this.#o.ledger.replays.put(entry.id, { done, error })
    history.write('running', error)
    this.#meter.replay.replay_remaining_objects.set(Math.max(0, entry.planned.objects - done.objects))
  }

  #start(entry: ReplayEntry, run: { readonly soft: AbortSignal; readonly once: boolean }): void {
    const { source, ledger, log, nowMs, waits, isLive, changed } = this.#o
    const cancel = new AbortController()
    const signal = AbortSignal.any([run.soft, cancel.signal])
    ledger.replays.put(entry.id, { state: 'running' })
    const history = new ReplayHistory({ ledger, nowMs, replay: entry.id })
    const replay = new Replay<O>({
      ...{ entry, source, ledger, log, changed, once: run.once, ...(waits ? { waits } : {}) },
      pace: new BytePace(entry.bytesPerSecond, run.soft),
      isUnderWay: (id) => isLive(id) || this.underWay.has(id),
    })
    this.#meter.replay.replay_active.set(1)
    this.#meter.replay.replay_remaining_objects.set(Math.max(0, entry.planned.objects - entry.done.objects))
    log.info(factsOf(entry), `replay ${entry.id} begins`)
    const ended = replay
      .run(signal)
      .catch((error: unknown): ReplayEnd => {
        if (signal.aborted) return { state: 'open', error: undefined }
        // A fault of ours, or of the ledger's disk: live objects are none the worse for it.
        return { state: 'open', error: explainError(error) }
      })
      .then((end) => this.#end(replay, history, end))
    this.#current = { replay, history, cancel, ended }
  }

  #end({ entry, done }: Replay<O>, history: ReplayHistory, { state, error }: ReplayEnd): void {
    const { ledger, log, changed } = this.#o
    this.#current = undefined
    this.#left.add(entry.id)
    this.#meter.replay.replay_active.set(0)
    this.#meter.replay.replay_remaining_objects.set(0)
    const isBad = state !== 'done' && error !== undefined
    if (isBad) this.failed += 1
    this.#writeDown(() => {
      ledger.replays.put(entry.id, { state: state === 'open' ? 'waiting' : state, done, error })
      history.write(state === 'open' ? 'stopped' : state, error)
    })
    const facts = { ...done, ...(error === undefined ? {} : { error }) }
    const outcome = {
      done: 'done',
      failed: 'failed',
      open: isBad ? 'is to be gone on with at the next start' : 'stopped',
    }
    if (isBad) log.error(facts, `replay ${entry.id} ${outcome[state]}`)
    else log.info(facts, `replay ${entry.id} ${outcome[state]}`)
    changed()
  }
}

function factsOf({ fromMs, toMs, prefix, bytesPerSecond, planned }: ReplayEntry): object {
  const [from, to] = [new Date(fromMs).toISOString(), new Date(toMs).toISOString()]
  return { from, to, prefix, bytesPerSecond, objects: planned.objects, bytes: planned.bytes }
}

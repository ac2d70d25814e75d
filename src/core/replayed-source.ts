/**
 * A source around a source: gives out what that one gives, and besides, a few at a time, the objects of replays.
 *
 *   source.objects ─live─▶ ┬─▶ objects ─▶ pipeline ─▶ finished ─┬─▶ source.finished
 *   replays ───────────────┘                                    └─▶ replays: counted
 *
 * 1. No object is under way twice. One that is under way live counts for the replay when it is settled; one that is given live
 *    while a replay has it is held back, and told as finished with what became of it there.
 * 2. Replays come after live objects, but for one in so many: a pipeline that is never at rest does them, too.
 * 3. Of what it does not give, the source it stands around is told `finished` all the same, so that it can let go of what it opened.
 * 4. A stop gives out nothing more. What is not settled then is given by the next start.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { Dependency, Finding, ListedObject, Outcome, ReplayRange, Signal, Source } from './component.ts'
import { type Counts, nothingCounted } from './delivery.ts'
import { Replays, type ReplaysOptions } from './replays.ts'

export interface ReplayedSourceOptions<O extends ListedObject> extends Omit<ReplaysOptions<O>, 'isLive' | 'changed'> {
  /** How often the ledger is asked; two seconds if left out. */
  readonly lookMs?: number
}

const usualLookMs = 2000
/** After so many live objects in a row one of a replay is given, if one waits. */
const liveInRow = 15
/** Objects that replays finished lately: a list that was made before may still have them as new. */
const rememberedObjects = 10_000

export class ReplayedSource<O extends ListedObject> implements Source<O> {
  readonly workers: number
  readonly #source: Source<O>
  readonly #ledger: ReplaysOptions<O>['ledger']
  readonly #lookMs: number
  readonly #replays: Replays<O>
  /** Given out live and not finished; those that are held back included. */
  readonly #live = new Set<string>()
  /** Given live while a replay has them. */
  readonly #held = new Map<string, O>()
  readonly #finishedLately = new Map<string, Counts>()
  /** Live, found, and not given out: a replay had them. */
  #keptBack = 0
  /** Live, asked for ahead, not given out yet. */
  #inHand: O | undefined
  #wake: () => void = () => undefined

  constructor(o: ReplayedSourceOptions<O>) {
    this.#source = o.source
    this.#ledger = o.ledger
    this.#lookMs = o.lookMs ?? usualLookMs
    this.workers = o.source.workers
    this.#replays = new Replays({ ...o, isLive: (id) => this.#live.has(id), changed: () => this.#wake() })
  }

  /** But for those that are new, too: they are as late as they are. */
  get replaying(): ReadonlySet<string> {
    const { underWay } = this.#replays
    return this.#held.size === 0 ? underWay : new Set([...underWay].filter((id) => !this.#held.has(id)))
  }

  get progress(): Source['progress'] {
    const { found, complete, failed = 0 } = this.#source.progress
    const replays = this.#replays
    const given = found - this.#keptBack + replays.found
    return { found: given, complete: complete && !replays.isBusy, failed: failed + replays.failed }
  }

  get figures(): Readonly<Record<string, number>> {
    return this.#source.figures ?? {}
  }

  get oldestWaitingMs(): number | undefined {
    const waitingMs = this.#source.oldestWaitingMs
    const inHandMs = this.#inHand?.timeMs
    return waitingMs === undefined || inHandMs === undefined ? (waitingMs ?? inHandMs) : Math.min(waitingMs, inHandMs)
  }

  get dependencies(): readonly Dependency[] {
    return this.#source.dependencies
  }

  sample(): void {
    this.#source.sample?.()
  }

  check(o: Signal): Promise<void> {
    return this.#source.check(o)
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#source.examine(o)
  }

  replayed(range: ReplayRange, o: Signal): AsyncIterable<O> {
    return this.#source.replayed(range, o)
  }

  find(key: string, o: Signal & { readonly bucket?: string | undefined }): Promise<O> {
    return this.#source.find(key, o)
  }

  async *open(object: O, offset: number, o: Signal): AsyncGenerator<Buffer, void, undefined> {
    for await (const piece of this.#source.open(object, offset, o)) {
      await this.paced(object, piece.length, o)
      yield piece
    }
  }

  /** One that is new, too, waits for nothing. */
  async paced({ id }: O, bytes: number, o: Signal): Promise<void> {
    if (!this.#held.has(id)) await this.#replays.paceOf(id)?.take(bytes, o)
  }

  confirm(object: O, o: Signal): Promise<number> {
    return this.#source.confirm(object, o)
  }

  fill(object: O, offset: number, into: Buffer, o: Signal): Promise<void> {
    return this.#source.fill(object, offset, into, o)
  }

  async *objects(o: Parameters<Source<O>['objects']>[0]): AsyncGenerator<O, void, undefined> {
    const { soft } = o
    const replays = this.#replays
    // What breaks here must not wait until the source has a next object.
    const over = new AbortController()
    const inner = { ...o, soft: AbortSignal.any([soft, over.signal]) }
    const live = new Ahead(this.#source.objects(inner)[Symbol.asyncIterator](), (inHand) => {
      this.#inHand = inHand
      this.#wake()
    })
    let inRow = 0
    const look = () => replays.look(o)
    const wake = () => this.#wake()
    soft.addEventListener('abort', wake)
    const looking = setInterval(look, this.#lookMs)
    try {
      look()
      while (!(soft.aborted && live.isOver)) {
        live.ask()
        // What is at hand there comes first: it takes a turn to arrive.
        if (!live.has && replays.hasOffer) await turn()
        const isTurn = !live.has || inRow >= liveInRow
        const replayed = isTurn && !soft.aborted ? replays.take() : undefined
        if (replayed) {
          inRow = 0
          yield replayed
          continue
        }
        if (live.has) {
          const object = live.take()
          this.#inHand = undefined
          if (!this.#isToBeGiven(object)) {
            this.#keptBack += 1
            continue
          }
          inRow += 1
          yield object
          continue
        }
        if (live.isOver && !replays.isBusy) {
          look()
          if (!replays.isBusy) return
        }
        const { promise, resolve } = Promise.withResolvers<void>()
        this.#wake = resolve
        const isDue = live.has || (replays.hasOffer && !soft.aborted) || (live.isOver && !replays.isBusy)
        if (!isDue && !(soft.aborted && live.isOver)) await promise
      }
    } finally {
      clearInterval(looking)
      soft.removeEventListener('abort', wake)
      over.abort(new Error('the run ends'))
      this.#giveBackInHand()
      await replays.stop()
      await live.close()
      this.#giveBackInHand()
    }
  }

  /** It may be of a message that others wait for. */
  #giveBackInHand(): void {
    if (this.#inHand) this.#source.finished(this.#inHand, 'stopped', nothingCounted)
    this.#inHand = undefined
  }

  /** False if a replay has it, or has just had it: the source is told what becomes of it, or became. */
  #isToBeGiven(object: O): boolean {
    const { id } = object
    const settled = this.#finishedLately.get(id)
    if (settled && this.#ledger.states([id]).get(id) === 'done') {
      this.#source.finished(object, 'done', settled)
      return false
    }
    this.#live.add(id)
    if (!this.#replays.underWay.has(id)) return true
    this.#held.set(id, object)
    return false
  }

  finished(object: O, outcome: Outcome, counts: Counts): void {
    const { id } = object
    const held = this.#held.get(id)
    this.#held.delete(id)
    this.#live.delete(id)
    const isReplayed = this.#replays.finished(id, outcome, counts)
    if (isReplayed && outcome === 'done') this.#remember(id, counts)
    this.#source.finished(held ?? object, outcome, counts)
    this.#wake()
  }

  #remember(id: string, counts: Counts): void {
    this.#finishedLately.set(id, counts)
    const { value: oldest, done } = this.#finishedLately.keys().next()
    if (this.#finishedLately.size > rememberedObjects && !done) this.#finishedLately.delete(oldest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#source[Symbol.asyncDispose]()
  }
}

/** An iterator of which one element is asked for ahead, so that waiting for it need not be all that is waited for. */
class Ahead<O> {
  readonly #iterator: AsyncIterator<O>
  readonly #arrived: (element: O | undefined) => void
  #element: { readonly value: O } | undefined
  #error: { readonly error: unknown } | undefined
  #isAsked = false
  #isOver = false

  /** `arrived` is called with each element, and when there are no more. */
  constructor(iterator: AsyncIterator<O>, arrived: (element: O | undefined) => void) {
    this.#iterator = iterator
    this.#arrived = arrived
  }

  /** Asks for the next element, unless that was done or there is none. */
  ask(): void {
    if (this.#isAsked || this.has || this.#isOver) return
    this.#isAsked = true
    this.#iterator.next().then(
      ({ done, value }) => {
        this.#isAsked = false
        if (done) this.#isOver = true
        else this.#element = { value }
        this.#arrived(done ? undefined : value)
      },
      (error: unknown) => {
        this.#error = { error }
        this.#arrived(undefined)
      },
    )
  }

  /** True if `take` gives something, or throws what the iterator threw. */
  get has(): boolean {
    return this.#element !== undefined || this.#error !== undefined
  }

  get isOver(): boolean {
    return this.#isOver
  }

  take(): O {
    const element = this.#element
    if (!element) throw this.#error?.error
    this.#element = undefined
    return element.value
  }

  async close(): Promise<void> {
    await this.#iterator.return?.()
  }
}

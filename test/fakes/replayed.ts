/** A source whose objects can be read again, in a ledger of its own, for tests of replays. */
import type { ListedObject, Outcome, ReplayRange, Signal } from '../../src/core/component.ts'
import { type Counts, nothingCounted, startOfObject } from '../../src/core/delivery.ts'
import { ReplayedSource } from '../../src/core/replayed-source.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import type { SqliteLedger } from '../../src/ledger/sqlite.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { type FakeObject, FakeSource, ledgerIn, never, newFolder, objectOf, silent } from './pipeline.ts'

export class RangeSource extends FakeSource {
  /** What there is, in the order in which it is listed. */
  readonly range: FakeObject[]
  /** Called before each object of a range is given. */
  listing: (object: FakeObject) => Promise<void> | void = () => undefined
  readonly outcomes: Array<readonly [key: string, outcome: Outcome]> = []

  constructor(objects: readonly FakeObject[], ledger: SqliteLedger, o: { workers?: number; chunk?: number } = {}) {
    super(objects, ledger, o)
    this.range = [...objects]
  }

  override async *replayed({ fromMs, toMs, prefix }: ReplayRange, o: Signal): AsyncGenerator<FakeObject> {
    for (const object of this.range) {
      o.signal.throwIfAborted()
      await this.listing(object)
      const { timeMs, key } = object
      if (timeMs >= fromMs && timeMs < toMs && key.startsWith(prefix)) yield object
    }
  }

  override finished(object: FakeObject, outcome: Outcome, counts: Counts): void {
    super.finished(object, outcome, counts)
    this.outcomes.push([object.key, outcome])
  }
}

export const fast = { lookMs: 5, waits: { minMs: 1, maxMs: 3 } }

export class ReplayBed implements AsyncDisposable {
  readonly folder = newFolder()
  readonly meter = new MemoryMeter()
  readonly objects: readonly FakeObject[]
  readonly #workers: number
  ledger: SqliteLedger
  inner: RangeSource
  source: ReplayedSource<FakeObject>

  constructor(objects: number, { workers = 4 } = {}) {
    this.objects = Array.from({ length: objects }, (_, n) => objectOf(n, [`record ${n}`, `more ${n}`]))
    this.#workers = workers
    this.ledger = ledgerIn(this.folder)
    this.inner = new RangeSource(this.objects, this.ledger, { workers })
    this.source = this.#wrapped()
  }

  #wrapped(): ReplayedSource<FakeObject> {
    const { inner, ledger, meter } = this
    return new ReplayedSource({ source: inner, ledger, log: silent, meter, nowMs: Date.now, ...fast })
  }

  /** The next start. */
  async restart(how: 'stopped' | 'killed' = 'stopped'): Promise<void> {
    if (how === 'killed') this.ledger.abandon()
    await this.ledger[Symbol.asyncDispose]()
    this.ledger = ledgerIn(this.folder)
    const { range } = this.inner
    this.inner = new RangeSource(this.objects, this.ledger, { workers: this.#workers })
    this.inner.range.splice(0, this.inner.range.length, ...range)
    this.source = this.#wrapped()
  }

  /** All of them were delivered before. */
  settleAll(objects: readonly ListedObject[] = this.objects): void {
    for (const object of objects) settle(this.ledger, object)
  }

  ask(o: { fromMs?: number; toMs?: number; prefix?: string; bytesPerSecond?: number } = {}): number {
    const planned = { objects: this.objects.length, bytes: 1 }
    nextMs()
    const id = this.ledger.replays.add({ fromMs: 0, toMs: 1e6, prefix: '', bytesPerSecond: 1e9, planned, ...o })
    nextMs()
    return id
  }

  run(once = true, soft = never): AsyncGenerator<FakeObject, void, undefined> {
    return this.source.objects({ soft, hard: never, once })
  }

  /** Settles it as the engine does. */
  finish(object: FakeObject, outcome: Outcome = 'done'): void {
    settle(this.ledger, object, outcome)
    this.source.finished(object, outcome, nothingCounted)
  }

  value(name: string, labels: Record<string, string> = {}): number | undefined {
    const isIt = (own: Readonly<Record<string, string>>) =>
      Object.entries(labels).every(([label, value]) => own[label] === value)
    return this.meter.snapshot().find((series) => series.name === name && isIt(series.labels))?.value
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.ledger[Symbol.asyncDispose]()
  }
}

/** What is begun in the millisecond in which a replay is asked for counts for nothing. */
function nextMs(): void {
  for (const nowMs = Date.now(); Date.now() === nowMs; );
}

function settle(ledger: Ledger, object: ListedObject, outcome: Outcome = 'done'): void {
  ledger.begin(object)
  const where = { position: startOfObject, counts: nothingCounted, timeMs: object.timeMs, reason: 'because' }
  if (outcome === 'stopped') ledger.suspend(object.id)
  else ledger.settle(object.id, outcome, where)
}

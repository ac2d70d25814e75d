/** The objects under way: in memory, so that moving on costs nothing, and in the table of objects whenever that is saved. */
import type { ListedObject } from '../core/component.ts'
import { type Counts, nothingCounted, type Position, startOfObject } from '../core/delivery.ts'
import type { Ledger, ObjectEntry, ObjectState, Recovered } from './ledger.ts'
import { type ObjectTable, withRecovered } from './object-table.ts'

const finalStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined', 'vanished', 'replaced', 'requeued'])
/** Nobody goes on with these: who begins one wants all of it again. A `requeued` one goes on behind what was delivered. */
const wholeStates: ReadonlySet<ObjectState> = new Set(['done', 'quarantined'])

interface Active {
  entry: ObjectEntry
  /** Its row is older than this. */
  isBehind: boolean
  /** Bytes that the totals have of it, if it was final before. */
  readonly countedBytes: number | undefined
  /** What became of quarantined records since it was begun: its counts began before that. */
  recovered: Recovered
}

export class ActiveObjects {
  readonly #table: ObjectTable
  readonly #nowMs: () => number
  readonly #active = new Map<string, Active>()

  constructor(table: ObjectTable, nowMs: () => number) {
    this.#table = table
    this.#nowMs = nowMs
  }

  find(id: string): ObjectEntry | undefined {
    return this.#active.get(id)?.entry
  }

  list(): ObjectEntry[] {
    return [...this.#active.values()].map(({ entry }) => entry)
  }

  ids(): string[] {
    return [...this.#active.keys()]
  }

  /** Those under way and those in the table, newest change first. */
  withStored(o: NonNullable<Parameters<Ledger['objects']>[0]>): ObjectEntry[] {
    const states = o.states ?? ['active', 'failed', 'done', 'quarantined', 'vanished', 'replaced', 'requeued']
    const { sinceMs = 0, untilMs = Number.MAX_SAFE_INTEGER, limit = -1 } = o
    const stored = this.#table.list(states, { sinceMs, untilMs, limit }).filter(({ id }) => !this.#active.has(id))
    const active = this.list().filter(
      ({ state, updatedMs }) => states.includes(state) && updatedMs >= sinceMs && updatedMs <= untilMs,
    )
    const all = [...active, ...stored].toSorted((a, b) => b.updatedMs - a.updatedMs)
    return o.limit === undefined ? all : all.slice(0, o.limit)
  }

  /** Of those under way and those in the table, but for those that are read again: they were delivered before. */
  oldestUnfinishedMs(except: ReadonlySet<string>): number | undefined {
    // A row of one under way may say that it failed, before.
    let oldest = this.#table.oldestUnfinishedMs([...this.#active.keys(), ...except])
    for (const [id, { entry, countedBytes }] of this.#active) {
      if (countedBytes !== undefined || except.has(id)) continue
      if (oldest === undefined || entry.timeMs < oldest) oldest = entry.timeMs
    }
    return oldest
  }

  /** `known` is what the ledger knows of it. */
  begin(object: ListedObject, known: ObjectEntry | undefined): ObjectEntry {
    const { id, bucket, key, size, timeMs, lastModifiedMs } = object
    const first = { id, bucket, key, size, timeMs, lastModifiedMs, position: startOfObject, counts: nothingCounted }
    const entry: ObjectEntry = {
      ...(known ?? first),
      ...(known && wholeStates.has(known.state) ? { position: startOfObject, counts: nothingCounted } : {}),
      state: 'active',
      attempts: (known?.attempts ?? 0) + 1,
      error: undefined,
      startedMs: this.#nowMs(),
      updatedMs: this.#nowMs(),
    }
    const isFinal = known !== undefined && finalStates.has(known.state)
    const countedBytes = isFinal ? known.counts.bytes : known && this.#table.countedBytes(id)
    this.#active.set(id, { entry, isBehind: true, countedBytes, recovered: { delivered: 0, filtered: 0 } })
    return entry
  }

  advance(id: string, position: Position, counts: Counts): void {
    const active = this.#active.get(id)
    if (!active) return
    active.entry = { ...active.entry, position, counts, updatedMs: this.#nowMs() }
    active.isBehind = true
  }

  recovered(id: string, { delivered, filtered }: Recovered): void {
    const active = this.#active.get(id)
    if (!active) return
    const before = active.recovered
    active.recovered = { delivered: before.delivered + delivered, filtered: before.filtered + filtered }
  }

  /** Writes its row; gives the bytes that the totals have of it already. Throws nothing of its own; undefined if it is not active. */
  put(
    id: string,
    change: Partial<ObjectEntry> = {},
  ): { readonly entry: ObjectEntry; readonly countedBytes: number | undefined } | undefined {
    const active = this.#active.get(id)
    if (!active) return undefined
    const entry = { ...active.entry, ...change }
    const row = { ...entry, counts: withRecovered(entry.counts, active.recovered) }
    this.#table.put(row)
    if (active.countedBytes !== undefined) this.#table.setCountedBytes(id, active.countedBytes)
    return { entry: row, countedBytes: active.countedBytes }
  }

  /** Writes the rows that are behind; `saved` says that this is on disk. */
  save(): void {
    for (const [id, { isBehind }] of this.#active) if (isBehind) this.put(id)
  }

  saved(): void {
    for (const active of this.#active.values()) active.isBehind = false
  }

  /** It is not under way any more. */
  remove(id: string): void {
    this.#active.delete(id)
  }

  clear(): void {
    this.#active.clear()
  }
}

/**
 * The delivery of one object: which of its records are on their way, and how far everything is settled.
 *
 *   decoder ──hold──▶ [ part ][ part ][ part ] ──release (any order)──▶ the mark moves over the settled front
 *
 * 1. Parts are held in record order and released in any order, each exactly once.
 * 2. `position` is behind the first part that is not released: going on from it skips nothing and repeats only what
 *    was under way.
 * 3. Counts stop where the position does: what was settled beyond it is read again after a kill, and counted then, once.
 * 4. A part speaks for every record from the one behind the part before it to its own last one, those that a filter left
 *    out included: they settle with it.
 * 5. read = delivered + filtered + quarantined as soon as nothing is held.
 */
import { type Block, nextNumber, recordNumber, recordStart } from './block.ts'
import type { ListedObject, Part } from './component.ts'
import { StreamError } from './errors.ts'
import type { ObjectSpan } from './tracing.ts'

/** Everything before this is settled. `records` is exact; record `offsetRecords` starts at `offset` of the decoded stream. */
export interface Position {
  readonly records: number
  readonly offset: number
  readonly offsetRecords: number
}

/** Records of one object, by what became of them, up to its position. `read` may be ahead; it is the sum of the others once all is settled. */
export interface Counts {
  readonly read: number
  readonly delivered: number
  readonly filtered: number
  readonly quarantined: number
  /** Uncompressed bytes of the settled records, as they were read. */
  readonly bytes: number
}

export const startOfObject: Position = { records: 0, offset: 0, offsetRecords: 0 }
export const nothingCounted: Counts = { read: 0, delivered: 0, filtered: 0, quarantined: 0, bytes: 0 }

/** A part whose fate is tracked. */
export class HeldPart implements Part {
  readonly block: Block
  readonly from: number
  readonly to: number
  readonly object: ListedObject
  readonly delivery: Delivery
  readonly bytes: number
  /** Numbers of the records it speaks for: from the first to behind the last. */
  readonly first: number
  readonly next: number
  released = false
  quarantined = 0

  /** Itself: views of a part name the part they belong to in the same way. */
  get held(): HeldPart {
    return this
  }

  constructor(delivery: Delivery, block: Block, from: number, to: number) {
    this.delivery = delivery
    this.object = delivery.object
    this.block = block
    this.from = from
    this.to = to
    this.bytes = to === from ? 0 : (block.ends[to - 1] as number) - recordStart(block, from)
    this.first = from === 0 ? block.first : recordNumber(block, from - 1) + 1
    this.next = to === block.ends.length ? nextNumber(block) : recordNumber(block, to - 1) + 1
  }
}

export class Delivery {
  readonly object: ListedObject
  /** Its trace, if it has one. */
  readonly span: ObjectSpan | undefined
  readonly #moved: (delivery: Delivery) => void
  readonly #freed: (bytes: number) => void
  #held: HeldPart[] = []
  /** Index in #held of the first part that is not released. */
  #front = 0
  #next: number
  #position: Position
  #counts: Counts
  #sealed = false
  #resolve: () => void = () => undefined
  #read: number
  /** Resolves when the object is sealed and nothing is held any more, or when it was abandoned. */
  readonly settled: Promise<void>

  /** `moved` is called after the position moved, `freed` with the bytes of each released part. */
  constructor(
    object: ListedObject,
    from: { readonly position: Position; readonly counts: Counts },
    o: {
      readonly moved: (delivery: Delivery) => void
      readonly freed: (bytes: number) => void
      readonly span?: ObjectSpan | undefined
    },
  ) {
    this.object = object
    this.span = o.span
    this.#position = from.position
    // What was read but not settled in an earlier run is read again, so it counts again.
    const { delivered, filtered, quarantined } = from.counts
    this.#read = delivered + filtered + quarantined
    this.#counts = from.counts
    this.#next = from.position.records
    this.#moved = o.moved
    this.#freed = o.freed
    this.settled = new Promise((resolve) => {
      this.#resolve = resolve
    })
  }

  get position(): Position {
    return this.#position
  }

  /** Number of the next record to hold: where a new attempt to read the object goes on. */
  get nextRecord(): number {
    return this.#next
  }

  get counts(): Counts {
    return { ...this.#counts, read: this.#read }
  }

  /** Records `from <= i < to` of the block are on their way. In record order; no record only of a block that has none left. */
  hold(block: Block, from: number, to: number): HeldPart {
    const part = new HeldPart(this, block, from, to)
    if (this.#sealed || part.first !== this.#next || (to <= from && block.ends.length > 0)) {
      throw new StreamError('core.unbalanced', `${this.object.id}: record ${part.first} held, ${this.#next} expected`)
    }
    this.#held.push(part)
    this.#next = part.next
    this.#read += part.next - part.first
    return part
  }

  /** The part is settled; `quarantined` of its records were refused and kept, the rest was delivered. */
  release(part: HeldPart, quarantined = 0): void {
    if (part.released || part.delivery !== this) {
      throw new StreamError('core.unbalanced', `${this.object.id}: a part was released twice`)
    }
    part.released = true
    part.quarantined = quarantined
    this.#freed(part.bytes)
    this.#advance()
  }

  #advance(): void {
    const before = this.#front
    let { records, offset, offsetRecords } = this.#position
    let { delivered, filtered, quarantined, bytes } = this.#counts
    for (let part = this.#held[this.#front]; part?.released; part = this.#held[this.#front]) {
      records = part.next
      if (part.to === part.block.ends.length && part.block.resumeAt >= 0) {
        offset = part.block.resumeAt
        offsetRecords = records
      }
      const taken = part.to - part.from
      const kept = keptOut(part)
      delivered += taken - part.quarantined
      quarantined += part.quarantined + kept
      filtered += part.next - part.first - taken - kept
      bytes += readBytes(part)
      this.#front += 1
    }
    if (this.#front === before) return
    if (this.#front === this.#held.length || this.#front > 256) {
      this.#held = this.#held.slice(this.#front)
      this.#front = 0
    }
    this.#position = { records, offset, offsetRecords }
    this.#counts = { ...this.#counts, delivered, filtered, quarantined, bytes }
    this.#moved(this)
    this.#finish()
  }

  /** No more records will be held. */
  seal(): void {
    this.#sealed = true
    this.#finish()
  }

  /** A hard stop: nobody waits for this any more, the ledger keeps what it knows. */
  abandon(): void {
    this.#resolve()
  }

  #finish(): void {
    if (!this.#sealed || this.#held.length > 0) return
    const { read, delivered, filtered, quarantined } = this.counts
    if (read !== delivered + filtered + quarantined) {
      throw new StreamError('core.unbalanced', `${this.object.id}: counts do not balance`, {
        data: { ...this.counts },
      })
    }
    this.#resolve()
  }
}

/** Records the part speaks for that the filter put in quarantine. */
function keptOut({ block: { kept }, first, next }: HeldPart): number {
  if (kept === undefined || kept.refused.length === 0) return 0
  return kept.refused.filter((number) => number >= first && number < next).length
}

/** The part's share of what was read, by records; all shares of a block are the whole. */
function readBytes({ block, bytes, first, next }: HeldPart): number {
  if (block.readBytes === undefined) return bytes
  const records = nextNumber(block) - block.first
  const upTo = (number: number) => Math.floor((block.readBytes ?? 0) * ((number - block.first) / records))
  return upTo(next) - upTo(first)
}

/**
 * Quarantined records that an operator asked for again.
 *
 *   ledger.requeued ─▶ records ─▶ shape (where the filter erred on them) ─▶ budget ─▶ batcher … delivery ─▶ ledger.release
 *
 * What is refused again is an entry of its own by then; if that is the very same records, the entry stays and loses its mark.
 */
import type { Shape } from '../filters/shape.ts'
import type { Formats } from '../formats/format.ts'
import type { Ledger, QuarantineEntry } from '../ledger/ledger.ts'
import type { Batcher } from './batcher.ts'
import type { Block } from './block.ts'
import type { Log } from './component.ts'
import { Delivery, nothingCounted } from './delivery.ts'
import { shapedBlock } from './shaped-block.ts'
import { Slots } from './slots.ts'

/** Entries taken up at once: each is in memory as a whole before the byte budget knows of it. */
const takenAtOnce = 4

export interface ResenderOptions {
  readonly ledger: Ledger
  readonly formats: Formats
  readonly shape?: Shape | undefined
  readonly log: Log
  readonly batcher: Batcher
  readonly soft: AbortSignal
  readonly hard: AbortSignal
  /** Takes bytes of the budget; waits for them. */
  readonly room: (bytes: number) => Promise<void>
  readonly freed: (bytes: number) => void
  /** Seals the delivery and waits for it; false after a hard stop. */
  readonly settled: (delivery: Delivery) => Promise<boolean>
  readonly recovered: (records: number) => void
  /** Runs a task beside the others of the pipeline. */
  readonly start: (task: Promise<void>) => void
}

export class Resender {
  readonly #o: ResenderOptions
  readonly #slots = new Slots(takenAtOnce)
  readonly #underWay = new Set<number>()
  #isSweeping = false

  constructor(o: ResenderOptions) {
    this.#o = o
  }

  /** Takes up all entries that are marked now, one after the other. */
  async sweep(): Promise<void> {
    const { ledger, soft, hard, start } = this.#o
    if (this.#isSweeping || soft.aborted) return
    this.#isSweeping = true
    try {
      for (const entry of ledger.requeued()) {
        if (entry.kind !== 'records' || this.#underWay.has(entry.id)) continue
        await this.#slots.acquire({ signal: hard })
        // Still marked, so the next start takes it.
        if (soft.aborted) return this.#slots.release()
        start(this.#resend(entry))
      }
    } finally {
      this.#isSweeping = false
    }
  }

  async #resend(entry: QuarantineEntry): Promise<void> {
    this.#underWay.add(entry.id)
    try {
      const delivery = await this.#send(entry).finally(() => this.#slots.release())
      if (!delivery || !(await this.#o.settled(delivery))) return
      this.#settle(entry, delivery)
    } finally {
      this.#underWay.delete(entry.id)
    }
  }

  /** Resolves when its records are in the byte budget and on their way. */
  async #send(entry: QuarantineEntry): Promise<Delivery | undefined> {
    const { ledger, formats, shape, log, batcher, room, freed } = this.#o
    const records = ledger.rejectedRecords(entry.id)
    if (!records) return undefined
    const { data, ends, firstRecord, numbers, multiline, object, head } = records
    const timeMs = ledger.find(object.id)?.timeMs ?? entry.createdMs
    const listed = { ...object, size: undefined, timeMs, lastModifiedMs: timeMs }
    const position = { records: firstRecord, offset: 0, offsetRecords: 0 }
    const delivery = new Delivery(listed, { position, counts: nothingCounted }, { moved: () => undefined, freed })
    const kept = numbers && { numbers, next: (numbers.at(-1) as number) + 1, refused: [] }
    let block: Block = { data, ends, first: firstRecord, multiline, resumeAt: -1, kept }
    let { contentType } = records
    if (head && shape) {
      const { format } = formats.select(object.key, head)
      const steps = shape({ object: listed, format, sample: head })
      block = shapedBlock(steps, block, { object, contentType, sample: head, ledger, log })
      contentType = steps.contentType
    }
    await room(block.data.length)
    if (block.ends.length > 0) batcher.add(delivery, block, contentType)
    else delivery.release(delivery.hold(block, 0, 0))
    return delivery
  }

  #settle(entry: QuarantineEntry, { counts: { delivered, quarantined } }: Delivery): void {
    const { ledger, log, recovered } = this.#o
    const filtered = entry.records - delivered - quarantined
    if (ledger.quarantined(entry.id)?.requeued) ledger.release(entry.id, { delivered, filtered })
    recovered(delivered)
    log.info({ key: entry.object.key, delivered, filtered, quarantined }, 'quarantined records sent again')
  }
}

/**
 * Between decoder and batcher: which records go on, and what they look like when they do.
 *
 *   Block ─▶ match, exclude (raw bytes) ─▶ filter (CEL over fields) ─▶ replace ─▶ redact ─▶ envelope ─▶ Block
 *
 * 1. Every record that comes in goes on, is filtered, or is refused; the Block that comes out says which by its `kept`.
 * 2. A Block of which all records go on unchanged is passed on as it is, without a copy.
 * 3. A record on which a step errs follows `on_error`, and is counted. With `keep` it goes on as it was before that step;
 *    only where that would show what `redact` must hide, it is refused instead.
 */
import { type Block, nextNumber, recordAt, recordNumber, recordStart } from '../core/block.ts'
import type { Bound, Context, MetricSpec, Origin } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { reclaim } from '../core/reclaim.ts'
import type { Format } from '../formats/format.ts'
import { type CelFilter, compileFilter, type RecordFilter } from './cel.ts'
import { type Enveloper, enveloper } from './envelope.ts'
import { type FieldReader, fieldReader } from './fields.ts'
import { compilePattern, compileReplacement, type Pattern, type Replacement } from './pattern.ts'
import { redactor } from './redact.ts'
import type { ShapeConfig } from './schema.ts'

export const shapeMetrics = {
  filter_errors_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records on which filter, redact or envelope erred; on_error says what became of them.',
  },
} as const satisfies Record<string, MetricSpec>

/** A record that goes to quarantine, as it came in. */
export interface RefusedRecord {
  /** Index in the Block that came in. */
  readonly index: number
  readonly reason: string
}

export interface Shaped {
  /** What goes on; without records if nothing does. */
  readonly block: Block
  readonly refused: readonly RefusedRecord[]
}

/** The steps for the records of one object. */
export interface ObjectShape {
  /** Content type of what comes out. */
  readonly contentType: string
  apply(block: Block): Shaped
}

export interface ShapedObject {
  readonly object: Origin
  readonly format: Format
  /** Decoded bytes from the start of the object. */
  readonly sample: Buffer
}

/** Gives the steps for each object. */
export type Shape = (o: ShapedObject) => ObjectShape

/** Compiles the configuration; undefined if it names no step. */
export function createShape(
  config: ShapeConfig,
  o: { readonly context: Context; readonly host: string },
): Shape | undefined {
  const { match, exclude, filter, replace, redact, envelope, on_error: onError } = config
  const steps: Steps = {
    match: match.map(compilePattern),
    exclude: exclude.map(compilePattern),
    filter: filter === undefined ? undefined : compileFilter(filter),
    replace: replace.map((one) => ({
      pattern: compilePattern(one.pattern),
      replacement: compileReplacement(one.pattern, one.with),
    })),
    redact,
    isEnveloped: envelope === 'json',
    makesLines: replace.some((one) => one.with.includes('\n')),
    onError,
    host: o.host,
    metrics: o.context.meter.bind(shapeMetrics, {}),
  }
  const rewrites = steps.replace.length > 0 || redact.length > 0 || steps.isEnveloped
  if (!rewrites && steps.match.length === 0 && steps.exclude.length === 0 && !steps.filter) return undefined
  return (object) => new RecordShape(steps, object)
}

interface Steps {
  readonly match: readonly Pattern[]
  readonly exclude: readonly Pattern[]
  readonly filter: CelFilter | undefined
  readonly replace: ReadonlyArray<{ readonly pattern: Pattern; readonly replacement: Replacement }>
  readonly redact: readonly string[]
  readonly isEnveloped: boolean
  /** True if a replacement may put a line end into a record. */
  readonly makesLines: boolean
  readonly onError: ShapeConfig['on_error']
  readonly host: string
  readonly metrics: Bound<typeof shapeMetrics>
}

/** Fate of a record within a Block. */
const drop = 0
const keep = 1

class RecordShape implements ObjectShape {
  readonly contentType: string
  readonly #steps: Steps
  readonly #object: ShapedObject
  readonly #reader: FieldReader
  readonly #filter: RecordFilter | undefined
  readonly #redact: ((record: Buffer) => Buffer) | undefined
  readonly #enveloper: Enveloper | undefined

  constructor(steps: Steps, object: ShapedObject) {
    this.#steps = steps
    this.#object = object
    const { format } = object
    this.#reader = fieldReader(object)
    const timeOf = (record: Buffer) => this.#timeOf(record)
    this.#filter = steps.filter?.forObject({
      object: object.object,
      format: format.name,
      reader: this.#reader,
      timeOf,
    })
    this.#redact = steps.redact.length > 0 ? redactor(steps.redact, this.#reader) : undefined
    this.#enveloper = steps.isEnveloped
      ? enveloper({
          object: object.object,
          format: format.name,
          host: steps.host,
          reader: this.#reader,
          timeOf,
        })
      : undefined
    this.contentType = steps.isEnveloped ? 'application/x-ndjson' : format.contentType
  }

  #timeOf(record: Buffer): number {
    const { format, object } = this.#object
    return format.timeFromContent(record, object.timeMs) ?? object.timeMs
  }

  apply(block: Block): Shaped {
    const refused: RefusedRecord[] = []
    const fates = this.#pass(block, refused)
    if (this.#redact || this.#enveloper) return this.#rewrite(block, fates, refused, undefined)
    const { replace } = this.#steps
    if (replace.length > 0) {
      // Most blocks hold nothing to replace, and then nothing is copied.
      const touched = new Uint8Array(block.ends.length)
      for (const { pattern } of replace) pattern.mark(block, touched)
      // What the first replacement makes may be what the next one looks for.
      if (touched.includes(1)) return this.#rewrite(block, fates, refused, replace.length > 1 ? undefined : touched)
    }
    return { block: selected(block, fates, refused), refused }
  }

  /** Which records pass match, exclude and filter. */
  #pass(block: Block, refused: RefusedRecord[]): Uint8Array {
    const { match, exclude } = this.#steps
    const count = block.ends.length
    const fates = new Uint8Array(count)
    if (match.length === 0) fates.fill(keep)
    else for (const pattern of match) pattern.mark(block, fates)
    if (exclude.length > 0) {
      const hits = new Uint8Array(count)
      for (const pattern of exclude) pattern.mark(block, hits)
      for (let i = 0; i < count; i += 1) if (hits[i] === 1) fates[i] = drop
    }
    if (this.#filter) this.#test(this.#filter, block, fates, refused)
    return fates
  }

  #test(filter: RecordFilter, block: Block, fates: Uint8Array, refused: RefusedRecord[]): void {
    for (let i = 0; i < fates.length; i += 1) {
      if (fates[i] === drop) continue
      try {
        if (!filter.test(recordAt(block, i))) fates[i] = drop
      } catch (error) {
        fates[i] = this.#failed(error, i, refused)
      }
    }
  }

  /** What `on_error` makes of a record. */
  #failed(error: unknown, index: number, refused: RefusedRecord[]): number {
    if (!(error instanceof StreamError) || error.kind !== 'permanent') throw error
    this.#steps.metrics.filter_errors_total.add(1)
    if (this.#steps.onError === 'keep') return keep
    if (this.#steps.onError === 'quarantine') refused.push({ index, reason: explainError(error) })
    return drop
  }

  /** A Block of new bytes. `touched` says which records `replace` finds something in; undefined: it is not known. */
  #rewrite(block: Block, fates: Uint8Array, refused: RefusedRecord[], touched: Uint8Array | undefined): Shaped {
    const out = new RecordBuffer(block)
    for (let i = 0; i < fates.length; i += 1) {
      if (fates[i] === drop) continue
      let record = recordAt(block, i)
      if (touched === undefined || touched[i] === 1) {
        for (const { replacement } of this.#steps.replace) record = replacement.apply(record)
      }
      if (this.#redact) {
        try {
          record = this.#redact(record)
        } catch (error) {
          if (this.#failed(error, i, refused) === keep) refused.push({ index: i, reason: explainError(error) })
          continue
        }
      }
      if (this.#enveloper && record.length > 0) record = this.#enveloper.wrap(record, recordNumber(block, i))
      // Nothing is left of it: there is no empty record.
      if (record.length > 0) out.add(record, i)
    }
    refused.sort((a, b) => a.index - b.index)
    return {
      block: out.block(block, refused, !this.#enveloper && (block.multiline || this.#steps.makesLines)),
      refused,
    }
  }
}

function keptOf(block: Block, indexes: Uint32Array, refused: readonly RefusedRecord[]): Block['kept'] {
  if (indexes.length === block.ends.length) return block.kept
  return {
    numbers: indexes.map((index) => recordNumber(block, index)),
    next: nextNumber(block),
    refused: refused.map(({ index }) => recordNumber(block, index)),
  }
}

/** The records of the block that go on; the block itself if all do. */
function selected(block: Block, fates: Uint8Array, refused: readonly RefusedRecord[]): Block {
  let count = 0
  let bytes = 0
  for (let i = 0; i < fates.length; i += 1) {
    if (fates[i] !== keep) continue
    count += 1
    bytes += (block.ends[i] as number) - recordStart(block, i)
  }
  if (count === fates.length) return block
  const data = Buffer.allocUnsafe(bytes)
  reclaim(bytes)
  const ends = new Uint32Array(count)
  const indexes = new Uint32Array(count)
  let at = 0
  let n = 0
  for (let i = 0; i < fates.length; ) {
    if (fates[i] !== keep) {
      i += 1
      continue
    }
    // Neighbours in one copy.
    const from = recordStart(block, i)
    const shift = at - from
    for (; i < fates.length && fates[i] === keep; i += 1, n += 1) {
      ends[n] = (block.ends[i] as number) + shift
      indexes[n] = i
    }
    at += block.data.copy(data, at, from, block.ends[i - 1])
  }
  return { ...block, data, ends, kept: keptOf(block, indexes, refused), readBytes: block.data.length }
}

/** Records being gathered into a Block; grows as they come. */
class RecordBuffer {
  #data: Buffer
  #length = 0
  readonly #ends: Uint32Array
  readonly #indexes: Uint32Array
  #count = 0

  constructor(block: Block) {
    this.#data = Buffer.allocUnsafe(Math.ceil(block.data.length * 1.25) + 256)
    reclaim(this.#data.length)
    this.#ends = new Uint32Array(block.ends.length)
    this.#indexes = new Uint32Array(block.ends.length)
  }

  add(record: Buffer, index: number): void {
    const needed = this.#length + record.length + 1
    if (needed > this.#data.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, this.#data.length * 2))
      this.#data.copy(larger, 0, 0, this.#length)
      this.#data = larger
    }
    record.copy(this.#data, this.#length)
    this.#data[needed - 1] = 10
    this.#length = needed
    this.#ends[this.#count] = needed
    this.#indexes[this.#count] = index
    this.#count += 1
  }

  block(from: Block, refused: readonly RefusedRecord[], multiline: boolean): Block {
    const written = this.#data.subarray(0, this.#length)
    // The budget counts what goes on: little of it must not hold on to much memory.
    const data = written.length * 2 < this.#data.length ? Buffer.from(written) : written
    const ends = this.#ends.slice(0, this.#count)
    const kept = keptOf(from, this.#indexes.slice(0, this.#count), refused)
    return { data, ends, first: from.first, multiline, resumeAt: from.resumeAt, kept, readBytes: from.data.length }
  }
}

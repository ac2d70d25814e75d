/**
 * The decoders' side of the path: bytes of one object in, Blocks of records out.
 *
 *   open(from) ─▶ decompress (by magic bytes, in depth) ─▶ sample ─▶ Formats.select ─▶ decoder ─▶ Blocks
 */

import type { Block } from '../core/block.ts'
import type { Signal } from '../core/component.ts'
import type { Slots } from '../core/slots.ts'
import type { Format, Formats } from '../formats/format.ts'

/** What to do with a record longer than `lineBytes`. */
export type LinePolicy = 'truncate' | 'split' | 'quarantine'

export interface DecodeLimits {
  /** Decoded bytes per stored byte beyond which an object is taken for a bomb; counts past `ratioFreeBytes` decoded bytes. */
  readonly ratio: number
  readonly ratioFreeBytes: number
  /** Most decoded bytes of one object; 0 for no limit. */
  readonly totalBytes: number
  /** Longest record in bytes, the LF not counted. */
  readonly lineBytes: number
  readonly linePolicy: LinePolicy
}

/** A place to go on from: `records` are settled, and record number `offsetRecords` starts at `offset` of the decoded stream. */
export interface Resume {
  readonly records: number
  readonly offset: number
  readonly offsetRecords: number
}

export interface DecodeOptions extends Signal {
  readonly key: string
  readonly formats: Formats
  readonly limits: DecodeLimits
  readonly resume: Resume | undefined
  /** Held while bytes are inflated, not while the consumer is waited for. */
  readonly slots: Slots
}

/** The stored bytes from `offset` on. Opened once, or a second time at the offset to resume a plain object in the middle. */
export type OpenBytes = (offset: number) => AsyncIterable<Buffer>

/** Counters of what happened to one object; live while its blocks are read. */
export interface DecodeTally {
  /** Decoded bytes so far (from the start of the object, skipped ones included). */
  bytes: number
  /** Records cut or split because they were longer than `lineBytes`. */
  oversize: number
}

export interface Decoding {
  /** Layers found, outermost first: `[]`, `['gzip']`, `['gzip', 'gzip']`, `['zstd']`. */
  readonly layers: readonly string[]
  readonly format: Format
  readonly selectedBy: 'fixed' | 'name' | 'content' | 'fallback'
  /** Decoded bytes from the start of the object, at most 64 KiB. Empty if the object is empty. */
  readonly sample: Buffer
  readonly tally: DecodeTally
  /**
   * The records from number `resume.records` on. To be read once. Throws a StreamError with kind `permanent` when the
   * rest cannot be decoded, after it gave every complete record before that point; its `data.offset` is the place in
   * the stored bytes (as near as known), `data.records` the number of good records. Errors of the source pass through.
   */
  readonly blocks: AsyncIterable<Block>
}

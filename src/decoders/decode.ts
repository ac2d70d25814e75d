/** One object: bytes in, Blocks out. Ties the layers, the choice of the format and the decoders together. */
import type { Block } from '../core/block.ts'
import { recordStart } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import { reclaim } from '../core/reclaim.ts'
import type { Format } from '../formats/format.ts'
import type { DecodeLimits, DecodeOptions, DecodeTally, Decoding, OpenBytes, Resume } from './decoding.ts'
import { decompress, headBytes } from './decompress.ts'
import { isJsonArray, splitJson } from './json.ts'
import { splitLines } from './lines.ts'
import { joinLines } from './multiline.ts'
import { RecordWriter } from './records.ts'

const byteOrderMark = Buffer.from([0xef, 0xbb, 0xbf])

/**
 * Opens the object and decides how to read it. Throws a StreamError if its first bytes cannot be decoded; errors of the source pass through.
 */
export async function decode(open: OpenBytes, o: DecodeOptions): Promise<Decoding> {
  const stored = { bytes: 0 }
  const tally: DecodeTally = { bytes: 0, oversize: 0 }
  const { layers, head, bytes } = await decompress(counted(open(0), stored), o)
  const mark = head.subarray(0, 3).equals(byteOrderMark) ? 3 : 0
  const sample = Buffer.from(head.subarray(mark, headBytes))
  const { format, by } = o.formats.select(o.key, sample)
  const decoder = decoderOf(format, sample)
  const { resume } = o
  // Records that the policy kept out are told at the end: going on behind them would forget them.
  const keepsOut = o.limits.linePolicy === 'quarantine'
  const canSeek = layers.length === 0 && decoder === 'lines' && format.multilineStart === undefined && !keepsOut
  const content = { sample, mark, stored, tally, decoder, format }
  if (resume && resume.records > 0 && canSeek && resume.offset > head.length) {
    await close(bytes)
    return { layers, format, selectedBy: by, sample, tally, blocks: resumed(open, content, resume, o) }
  }
  const all = recordsOf(limited(bytes, content, o.limits), content, 0, 0, o.limits)
  const blocks = resume && resume.records > 0 ? dropped(all, resume.records) : all
  return { layers, format, selectedBy: by, sample, tally, blocks }
}

interface Content {
  readonly sample: Buffer
  /** Length of the byte order mark. */
  readonly mark: number
  readonly stored: { bytes: number }
  readonly tally: DecodeTally
  readonly decoder: 'lines' | 'json' | 'csv' | 'w3c'
  readonly format: Format
}

function decoderOf({ decoder }: Format, sample: Buffer): Content['decoder'] {
  if (decoder !== 'auto') return decoder
  return isJsonArray(sample) ? 'json' : 'lines'
}

/** A plain object of lines, opened in the middle. */
async function* resumed(open: OpenBytes, content: Content, resume: Resume, o: DecodeOptions): AsyncGenerator<Block> {
  content.tally.bytes = resume.offset
  content.stored.bytes = resume.offset
  const bytes = limited(open(resume.offset), content, o.limits)
  const blocks = recordsOf(bytes, content, resume.offset, resume.offsetRecords, o.limits)
  yield* dropped(blocks, resume.records)
}

function recordsOf(
  bytes: AsyncIterable<Buffer>,
  { format, decoder, mark, tally, sample }: Content,
  offset: number,
  first: number,
  limits: DecodeLimits,
): AsyncGenerator<Block, void, undefined> {
  const { lineBytes, linePolicy: policy } = limits
  const writer = new RecordWriter({ first, lineBytes, policy, tally })
  const content = offset === 0 && mark > 0 ? withoutStart(bytes, mark) : bytes
  const headerLines = offset === 0 ? format.skipHeaderLines : 0
  if (decoder === 'json') return splitJson(content, { writer, recordsPath: format.recordsPath })
  if (format.multilineStart !== undefined) {
    return joinLines(content, { writer, start: format.multilineStart, headerLines })
  }
  const separator = decoder === 'csv' ? (format.fieldSeparator ?? guessedSeparator(sample)).charCodeAt(0) : undefined
  return splitLines(content, {
    writer,
    offset: offset === 0 ? mark : offset,
    headerLines,
    comments: decoder === 'w3c',
    separator,
  })
}

/** The separator that the first line has most of. */
export function guessedSeparator(sample: Buffer): string {
  const line = sample.toString('latin1', 0, Math.min(4096, sample.length)).split('\n', 1)[0] ?? ''
  const counts = [',', '\t', ';', '|'].map((separator) => line.split(separator).length)
  return [',', '\t', ';', '|'][counts.indexOf(Math.max(...counts))] as string
}

async function* withoutStart(bytes: AsyncIterable<Buffer>, length: number): AsyncGenerator<Buffer> {
  let left = length
  for await (const chunk of bytes) {
    const n = Math.min(left, chunk.length)
    left -= n
    if (n < chunk.length) yield chunk.subarray(n)
  }
}

async function* counted(bytes: AsyncIterable<Buffer>, count: { bytes: number }): AsyncGenerator<Buffer> {
  for await (const piece of bytes) {
    count.bytes += piece.length
    yield piece
  }
}

/** Counts decoded bytes and stops where a limit is reached; what came before goes through. */
async function* limited(
  bytes: AsyncIterable<Buffer>,
  { tally, stored }: Content,
  { ratio, ratioFreeBytes, totalBytes }: DecodeLimits,
): AsyncGenerator<Buffer> {
  for await (const chunk of bytes) {
    tally.bytes += chunk.length
    reclaim(chunk.length)
    const data = { decodedBytes: tally.bytes, offset: stored.bytes }
    if (totalBytes > 0 && tally.bytes > totalBytes) {
      yield chunk.subarray(0, chunk.length - (tally.bytes - totalBytes))
      throw new StreamError('decode.size_limit', `more than ${totalBytes} decoded bytes (size_limit)`, { data })
    }
    yield chunk
    if (ratio > 0 && tally.bytes > ratioFreeBytes && tally.bytes > ratio * stored.bytes) {
      const found = Math.round(tally.bytes / Math.max(stored.bytes, 1))
      throw new StreamError(
        'decode.ratio_limit',
        `${found} decoded bytes for each stored one after ${tally.bytes} bytes (ratio_limit ${ratio})`,
        { data },
      )
    }
  }
}

/** The blocks without the first `records` records; the block in between is cut, not copied. */
async function* dropped(blocks: AsyncIterable<Block>, records: number): AsyncGenerator<Block> {
  for await (const block of blocks) {
    const known = records - block.first
    if (known >= block.ends.length) continue
    if (known <= 0) {
      yield block
      continue
    }
    const start = recordStart(block, known)
    yield {
      ...block,
      data: block.data.subarray(start),
      ends: block.ends.slice(known).map((end) => end - start),
      first: records,
    }
  }
}

async function close(bytes: AsyncIterable<Buffer>): Promise<void> {
  await bytes[Symbol.asyncIterator]().return?.()
}

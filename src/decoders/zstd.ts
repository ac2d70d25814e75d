/**
 * zstd, frame by frame (RFC 8878). Node's decoder stops after the first frame without a word (nodejs/node#64741), so the
 * loop over frames is ours, and zlib's zstd decodes each. To be removed when Node reads all frames.
 */
import { createZstdDecompress, zstdDecompressSync } from 'node:zlib'
import { StreamError } from '../core/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { type Gate, outputChunk, pump } from './inflate.ts'

const frameMagic = 0xfd2fb528
/** 0x184D2A50 to 0x184D2A5F: skippable frames, RFC 8878 3.1.2. */
const isSkippable = (magic: number) => magic >>> 4 === 0x184d2a5
/** A frame that lies whole in the bytes at hand, up to this size, is decoded in one go. */
const smallFrame = 64 * 1024
const gatherBytes = 256 * 1024

export function isZstd(head: Buffer): boolean {
  if (head.length < 4) return false
  const magic = head.readUInt32LE(0)
  return magic === frameMagic || isSkippable(magic)
}

function truncated(reader: ByteReader): StreamError {
  const offset = reader.offset + reader.chunk.length
  return new StreamError('decode.truncated', `zstd data ends in the middle of a frame, at byte ${offset}`, {
    data: { offset },
  })
}

/** Throws decode.truncated, decode.corrupt or decode.trailing_bytes after everything good was yielded. */
export async function* unzstd(input: AsyncIterable<Buffer>, gate: Gate): AsyncGenerator<Buffer, void, undefined> {
  const reader = new ByteReader(input)
  let gathered: Buffer[] = []
  let gatheredBytes = 0
  const take = (): Buffer => {
    const all = Buffer.concat(gathered, gatheredBytes)
    gathered = []
    gatheredBytes = 0
    return all
  }
  try {
    while (await reader.has(1)) {
      const { offset } = reader
      const magic = (await reader.has(4)) ? reader.chunk.readUInt32LE(0) : 0
      if (isSkippable(magic)) {
        if (!(await reader.has(8))) throw truncated(reader)
        await skip(reader, 8 + reader.chunk.readUInt32LE(4))
        continue
      }
      if (magic !== frameMagic) {
        throw new StreamError(
          'decode.trailing_bytes',
          `bytes that are no zstd follow the zstd data at byte ${offset}`,
          {
            data: { offset },
          },
        )
      }
      const walk = new FrameWalk()
      const small = walk.advance(reader.chunk)
      if (small >= 0 && small <= smallFrame) {
        gathered.push(decodeSmall(reader, small))
        gatheredBytes += (gathered.at(-1) as Buffer).length
        if (gatheredBytes >= gatherBytes) yield take()
        continue
      }
      if (gatheredBytes > 0) yield take()
      yield* decodeFrame(reader, gate)
    }
    if (gatheredBytes > 0) yield take()
  } catch (error) {
    if (gatheredBytes > 0) yield take()
    throw error
  } finally {
    await reader.close()
  }
}

async function skip(reader: ByteReader, bytes: number): Promise<void> {
  let left = bytes
  while (left > 0) {
    if (!(await reader.has(1))) throw truncated(reader)
    const n = Math.min(left, reader.chunk.length)
    reader.skip(n)
    left -= n
  }
}

function corrupt(offset: number, error: unknown): StreamError {
  const why = error instanceof Error ? error.message : String(error)
  return new StreamError('decode.corrupt', `zstd data is corrupt near byte ${offset}: ${why}`, {
    cause: error,
    data: { offset },
  })
}

function decodeSmall(reader: ByteReader, length: number): Buffer {
  try {
    const buffer = zstdDecompressSync(reader.chunk.subarray(0, length), { maxOutputLength: 64 * 2 ** 20 })
    reader.skip(length)
    return buffer
  } catch (error) {
    throw corrupt(reader.offset, error)
  }
}

async function* decodeFrame(reader: ByteReader, gate: Gate): AsyncGenerator<Buffer, void, undefined> {
  const start = reader.offset
  const walk = new FrameWalk()
  const decoder = createZstdDecompress({ chunkSize: outputChunk(reader.chunk.length, reader.ended) })
  try {
    for (let ended = false; !ended; ) {
      if (!(await reader.has(1))) throw truncated(reader)
      const end = walk.advance(reader.chunk)
      const piece = end < 0 ? reader.chunk : reader.chunk.subarray(0, end)
      ended = end >= 0
      await gate.slots?.acquire(gate)
      try {
        yield* pump(decoder, piece)
      } finally {
        gate.slots?.release()
      }
      reader.skip(piece.length)
    }
  } catch (error) {
    throw error instanceof StreamError ? error : corrupt(start, error)
  } finally {
    decoder.destroy()
  }
}

/**
 * Finds the end of a frame without decoding it: frame header, then blocks of 3 bytes header (last flag, type, size) and their
 * content, then 4 bytes of checksum if flagged. RFC 8878 3.1.1.
 */
class FrameWalk {
  readonly #header: number[] = []
  #headerLength = 5
  #state: 'frame' | 'block' | 'content' | 'end' = 'frame'
  #left = 0
  #last = false
  #checksum = false

  /** Feeds the next bytes; gives how many of them belong to the frame if it ends in them, else -1. */
  advance(bytes: Buffer): number {
    let at = 0
    while (at < bytes.length) {
      if (this.#state === 'content') {
        const n = Math.min(this.#left, bytes.length - at)
        at += n
        this.#left -= n
        if (this.#left > 0) return -1
        this.#afterContent()
      } else {
        this.#header.push(bytes[at] as number)
        at += 1
        if (this.#header.length === this.#headerLength) this.#readHeader()
      }
      if (this.#state === 'end') return at
    }
    return -1
  }

  #afterContent(): void {
    this.#header.length = 0
    if (!this.#last) {
      this.#state = 'block'
      this.#headerLength = 3
    } else if (this.#checksum) {
      this.#checksum = false
      this.#state = 'content'
      this.#left = 4
    } else this.#state = 'end'
  }

  #readHeader(): void {
    if (this.#state === 'frame') {
      const descriptor = this.#header[4] as number
      const isSingleSegment = (descriptor & 0x20) !== 0
      const sizeFlag = descriptor >>> 6
      const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 2 ** sizeFlag
      const dictionaryBytes = [0, 1, 2, 4][descriptor & 3] as number
      this.#checksum = (descriptor & 4) !== 0
      this.#state = 'content'
      this.#left = (isSingleSegment ? 0 : 1) + dictionaryBytes + sizeBytes
      this.#header.length = 0
      if (this.#left === 0) this.#afterContent()
      return
    }
    const [a, b, c] = this.#header as [number, number, number]
    const header = a | (b << 8) | (c << 16)
    this.#last = (header & 1) === 1
    // An RLE block (type 1) has one byte of content, whatever its size says.
    this.#left = ((header >>> 1) & 3) === 1 ? 1 : header >>> 3
    this.#header.length = 0
    this.#state = 'content'
    if (this.#left === 0) this.#afterContent()
  }
}

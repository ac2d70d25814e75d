/**
 * Record batches of Kafka (magic 2), written straight from Blocks into one Buffer: the hot path of the sink.
 * Layout: https://kafka.apache.org/documentation/#recordbatch and #record.
 *
 *   0 baseOffset  8 length  12 leaderEpoch  16 magic  17 crc32c(21…)  21 attributes  23 lastOffsetDelta  27 baseTimestamp
 *   35 maxTimestamp  43 producerId  51 producerEpoch  53 baseSequence  57 count  61 records, compressed as one
 *
 * The producer's fields (43…57) and the checksum are left open here and stamped just before sending, so that a batch
 * can be sent again under another producer id without being encoded again.
 */
import { promisify } from 'node:util'
import { gzip, constants as zlib, zstdCompress } from 'node:zlib'
import { compressionsAlgorithms, crc32c } from '@platformatic/kafka'
import { recordNumber, recordStart } from '../core/block.ts'
import type { Batch, Origin, Part } from '../core/component.ts'
import { reclaim } from '../core/reclaim.ts'
import type { RecordKeys } from './kafka-keys.ts'

export type KafkaCompression = 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'

/** Bytes before the first record of a record batch. */
export const batchHeadBytes = 61
/** The length field counts what follows it. */
const lengthFrom = 12

/** Records of one engine batch that travel as one record batch. */
export interface EncodedRecords {
  /** Indexes in the engine's batch, ascending. */
  readonly indexes: Uint32Array
  readonly bytes: Buffer
  /** Bytes of the values, without keys, headers and framing. */
  readonly valueBytes: number
}

/** Bits 0 to 2 of the attributes. */
const codecs: Record<KafkaCompression, number> = { none: 0, gzip: 1, snappy: 2, lz4: 3, zstd: 4 }
const gzipped = promisify(gzip)
const zstandard = promisify(zstdCompress)

/** Record batches under way at once are as many as writes. */
const keptSpares = 8

export class RecordEncoder {
  readonly #compression: KafkaCompression
  readonly #limitBytes: number
  readonly #headers: boolean
  #scratch: Buffer = Buffer.allocUnsafe(64 * 1024)
  /** Memory of record batches that were acknowledged. */
  readonly #spares: Buffer[] = []
  /** Headers of the object whose records were encoded last; records of an object come in long runs. */
  #object: Origin | undefined
  #before: Buffer = Buffer.alloc(0)
  #idPrefix: Buffer = Buffer.alloc(0)

  /** `limitBytes`: longest record batch before compression; only a single longer record exceeds it. */
  constructor(o: { readonly compression: KafkaCompression; readonly limitBytes: number; readonly headers: boolean }) {
    this.#compression = o.compression
    this.#limitBytes = o.limitBytes
    this.#headers = o.headers
  }

  /** All the given records of the batch, in as few record batches as the limit allows. */
  async encode(batch: Batch, indexes: Uint32Array, keys: RecordKeys | undefined): Promise<EncodedRecords[]> {
    const encoded: EncodedRecords[] = []
    for (let from = 0; from < indexes.length; ) {
      const one = this.#encodeRun(batch, indexes, from, keys)
      from += one.indexes.length
      encoded.push(this.#compression === 'none' ? one : await this.#compressed(one))
    }
    return encoded
  }

  /** As many records from `indexes[from]` on as fit, at least one; not compressed, in a Buffer of their own. */
  #encodeRun(batch: Batch, indexes: Uint32Array, from: number, keys: RecordKeys | undefined): EncodedRecords {
    const { parts } = batch
    let nextPart = 0
    let part = parts[0] as Part
    /** Index in the batch of the first record behind `part`. */
    let partEnd = 0
    let at = batchHeadBytes
    let baseTimestamp = 0
    let maxTimestamp = 0
    let valueBytes = 0
    let i = from
    for (; i < indexes.length; i += 1) {
      const index = indexes[i] as number
      while (index >= partEnd) {
        part = parts[nextPart] as Part
        nextPart += 1
        partEnd += part.to - part.from
      }
      const { block, object } = part
      const timestamp = Math.max(0, Math.trunc(object.timeMs))
      if (i === from) {
        baseTimestamp = timestamp
        maxTimestamp = timestamp
      }
      if (object !== this.#object) this.#meet(object)

      const row = part.to - (partEnd - index)
      const start = recordStart(block, row)
      const end = (block.ends[row] as number) - 1
      const keyStart = keys ? (keys.starts[index] as number) : -1
      const keyLength = keyStart < 0 ? -1 : (keys?.ends[index] as number) - keyStart
      const delta = timestamp - baseTimestamp
      const number = recordNumber(block, row)
      const digits = digitsOf(number)
      const idLength = this.#idPrefix.length + digits
      let length =
        1 +
        varlongBytes(delta) +
        varintBytes(i - from) +
        varintBytes(keyLength) +
        Math.max(0, keyLength) +
        varintBytes(end - start) +
        (end - start) +
        1
      if (this.#headers) length += this.#before.length - 1 + varintBytes(idLength) + idLength
      const needed = at + varintBytes(length) + length
      if (needed > this.#limitBytes && i > from) break
      if (needed > this.#scratch.length) this.#grow(needed, at)

      const out = this.#scratch
      at = writeVarint(out, at, length)
      out[at] = 0
      at = writeVarlong(out, at + 1, delta)
      at = writeVarint(out, at, i - from)
      at = writeVarint(out, at, keyLength)
      if (keys && keyLength > 0) at += keys.bytes.copy(out, at, keyStart, keyStart + keyLength)
      at = writeVarint(out, at, end - start)
      at += block.data.copy(out, at, start, end)
      if (this.#headers) {
        at += this.#before.copy(out, at)
        at = writeVarint(out, at, idLength)
        at += this.#idPrefix.copy(out, at)
        for (let left = number, to = at + digits - 1; to >= at; to -= 1, left = Math.floor(left / 10))
          out[to] = 48 + (left % 10)
        at += digits
      } else {
        out[at] = 0
        at += 1
      }
      if (timestamp > maxTimestamp) maxTimestamp = timestamp
      valueBytes += end - start
    }
    const bytes = this.#take(at)
    writeHead(bytes, { count: i - from, baseTimestamp, maxTimestamp })
    return { indexes: indexes.subarray(from, i), bytes, valueBytes }
  }

  /** What was encoded. A large batch keeps the memory it was written in; for a small one that would be a waste. */
  #take(length: number): Buffer {
    const memory = this.#scratch
    // The library makes a copy of its own for the request.
    reclaim(length)
    if (length < memory.length / 2) {
      reclaim(length)
      // One huge record must not hold its memory for ever.
      if (memory.length > 2 * this.#limitBytes) this.#scratch = Buffer.allocUnsafe(64 * 1024)
      return Buffer.from(memory.subarray(0, length))
    }
    this.#scratch = this.#spares.pop() ?? Buffer.allocUnsafe(Math.min(memory.length, this.#limitBytes))
    return memory.subarray(0, length)
  }

  /** Takes back the memory of a record batch that nobody needs any more: megabytes of garbage less for each request. */
  recycle({ buffer, byteOffset, length }: Buffer): void {
    // What fills less than half of its memory may be a piece of the pool that Node shares among small Buffers.
    const isAlone = byteOffset === 0 && length >= buffer.byteLength / 2
    const isRightSize = buffer.byteLength > this.#limitBytes / 2 && buffer.byteLength <= 2 * this.#limitBytes
    if (isAlone && isRightSize && this.#spares.length < keptSpares) this.#spares.push(Buffer.from(buffer))
  }

  async #compressed(plain: EncodedRecords): Promise<EncodedRecords> {
    const records = plain.bytes.subarray(batchHeadBytes)
    const packed = await compress(this.#compression, records)
    const bytes = Buffer.allocUnsafe(batchHeadBytes + packed.length)
    plain.bytes.copy(bytes, 0, 0, batchHeadBytes)
    packed.copy(bytes, batchHeadBytes)
    bytes.writeInt32BE(bytes.length - lengthFrom, 8)
    bytes.writeInt16BE(codecs[this.#compression], 21)
    this.recycle(plain.bytes)
    return { ...plain, bytes }
  }

  #meet(object: Origin): void {
    this.#object = object
    if (!this.#headers) return
    const origin = Buffer.from(`s3://${object.bucket}/${object.key}`)
    const pieces = [Buffer.from('x-origin'), origin, Buffer.from('x-record-id')]
    const before = Buffer.allocUnsafe(1 + pieces.reduce((sum, piece) => sum + 5 + piece.length, 0))
    let at = writeVarint(before, 0, 2)
    for (const piece of pieces) {
      at = writeVarint(before, at, piece.length)
      at += piece.copy(before, at)
    }
    this.#before = before.subarray(0, at)
    this.#idPrefix = Buffer.from(`${object.id}#`)
  }

  #grow(needed: number, used: number): void {
    const larger = Buffer.allocUnsafe(Math.max(needed, Math.min(2 * this.#scratch.length, this.#limitBytes)))
    this.#scratch.copy(larger, 0, 0, used)
    this.#scratch = larger
  }
}

/** Who sends the record batch, and which of its batches for the partition it is. */
export interface BatchStamp {
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
}

/** Writes the producer's fields into an encoded record batch, and the checksum over it. */
export function stampBatch(bytes: Buffer, stamp: BatchStamp): void {
  bytes.writeBigInt64BE(stamp.producerId, 43)
  bytes.writeInt16BE(stamp.producerEpoch, 51)
  bytes.writeInt32BE(stamp.baseSequence, 53)
  bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17)
}

function writeHead(bytes: Buffer, o: { count: number; baseTimestamp: number; maxTimestamp: number }): void {
  bytes.fill(0, 0, batchHeadBytes)
  bytes.writeInt32BE(bytes.length - lengthFrom, 8)
  bytes.writeInt32BE(-1, 12)
  bytes[16] = 2
  bytes.writeInt32BE(o.count - 1, 23)
  bytes.writeBigInt64BE(BigInt(o.baseTimestamp), 27)
  bytes.writeBigInt64BE(BigInt(o.maxTimestamp), 35)
  bytes.writeInt32BE(o.count, 57)
}

/** gzip and zstd on Node's threads at a fast level; Node has no Snappy and LZ4: those are the library's WebAssembly. */
async function compress(compression: KafkaCompression, data: Buffer): Promise<Buffer> {
  switch (compression) {
    case 'gzip':
      return await gzipped(data, { level: 1 })
    case 'zstd':
      return await zstandard(data, { params: { [zlib.ZSTD_c_compressionLevel]: 1 } })
    case 'snappy':
    case 'lz4':
      return compressionsAlgorithms[compression].compressSync(data)
    case 'none':
      return data
  }
}

function digitsOf(number: number): number {
  let digits = 1
  for (let left = number; left >= 10; left /= 10) digits += 1
  return digits
}

/** Zigzag varints, as in Protocol Buffers; for -2^31 <= value < 2^31. */
function varintBytes(value: number): number {
  let bytes = 1
  for (let left = ((value << 1) ^ (value >> 31)) >>> 7; left !== 0; left >>>= 7) bytes += 1
  return bytes
}

function writeVarint(out: Buffer, start: number, value: number): number {
  let at = start
  let left = ((value << 1) ^ (value >> 31)) >>> 0
  for (; left > 127; left >>>= 7) {
    out[at] = (left & 127) | 128
    at += 1
  }
  out[at] = left
  return at + 1
}

/** Zigzag varints of safe integers: the space between two times may exceed 32 bits. */
function varlongBytes(value: number): number {
  if (value >= -0x40000000 && value < 0x40000000) return varintBytes(value)
  let bytes = 1
  for (let left = Math.floor(zigzag(value) / 128); left > 0; left = Math.floor(left / 128)) bytes += 1
  return bytes
}

function writeVarlong(out: Buffer, start: number, value: number): number {
  if (value >= -0x40000000 && value < 0x40000000) return writeVarint(out, start, value)
  let at = start
  let left = zigzag(value)
  for (; left > 127; left = Math.floor(left / 128)) {
    out[at] = (left % 128) | 128
    at += 1
  }
  out[at] = left
  return at + 1
}

function zigzag(value: number): number {
  return value >= 0 ? value * 2 : -value * 2 - 1
}

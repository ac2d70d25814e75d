/** Keys of Kafka messages, and the partition that a key belongs to. */
import { isUtf8 } from 'node:buffer'
import { recordStart } from '../core/block.ts'
import type { Batch } from '../core/component.ts'
import { fieldAt } from '../filters/fields.ts'

/** What the key of a message is: nothing, the key of the S3 object, or a field of a JSON record. */
export type KeyFrom = 'none' | 'object' | { readonly field: string }

/** Keys of a batch's records in one Buffer: record i has bytes[starts[i], ends[i]), or none if starts[i] is -1. */
export interface RecordKeys {
  readonly bytes: Buffer
  readonly starts: Int32Array
  readonly ends: Int32Array
}

/** Keys of all records of the batch; undefined if none has one. */
export function keysOf(batch: Batch, from: KeyFrom): RecordKeys | undefined {
  if (from === 'none') return undefined
  return from === 'object' ? objectKeys(batch) : fieldKeys(batch, from.field)
}

function objectKeys({ parts, count }: Batch): RecordKeys {
  const starts = new Int32Array(count)
  const ends = new Int32Array(count)
  const pieces: Buffer[] = []
  let index = 0
  let length = 0
  for (const part of parts) {
    const key = Buffer.from(part.object.key)
    pieces.push(key)
    starts.fill(length, index, index + part.to - part.from)
    length += key.length
    ends.fill(length, index, index + part.to - part.from)
    index += part.to - part.from
  }
  return { bytes: Buffer.concat(pieces), starts, ends }
}

function fieldKeys({ parts, count, bytes }: Batch, field: string): RecordKeys {
  const starts = new Int32Array(count).fill(-1)
  const ends = new Int32Array(count)
  let out = Buffer.allocUnsafe(Math.min(bytes, 64 * 1024))
  let at = 0
  let index = 0
  for (const { block, from, to } of parts) {
    for (let i = from; i < to; i += 1, index += 1) {
      const key = keyText(block.data, recordStart(block, i), (block.ends[i] as number) - 1, field)
      if (key === undefined) continue
      // Three bytes is the most that one UTF-16 unit takes in UTF-8.
      const needed = at + key.length * 3
      if (needed > out.length) {
        const larger = Buffer.allocUnsafe(Math.max(needed, 2 * out.length))
        out.copy(larger, 0, 0, at)
        out = larger
      }
      starts[index] = at
      at += out.write(key, at)
      ends[index] = at
    }
  }
  return { bytes: out, starts, ends }
}

/** A string as it is, numbers and booleans as JSON writes them; nothing for null, objects, arrays and what is no JSON. */
function keyText(data: Buffer, start: number, end: number, field: string): string | undefined {
  let first = start
  while (first < end && isBlank(data[first] as number)) first += 1
  if (data[first] !== openingBrace) return undefined
  const record = data.subarray(start, end)
  if (!isUtf8(record)) return undefined
  const text = record.toString()
  let value: unknown
  try {
    value = fieldAt(JSON.parse(text), field)
    // Two long numbers must not become one key because a double cannot tell them apart.
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) value = fieldAt(JSON.parse(text, asWritten), field)
  } catch {
    return undefined
  }
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined
}

function asWritten(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  return typeof value === 'number' ? context?.source : value
}

const openingBrace = 123

function isBlank(byte: number): boolean {
  return byte === 32 || byte === 9 || byte === 10 || byte === 13
}

/** The records of a batch by partition: `order[from, to)` are indexes of records, ascending. */
export interface PartitionRun {
  /** -1: records without a key, which may go to any partition. */
  readonly partition: number
  readonly indexes: Uint32Array
}

/** Which records go where. With keys, as the Java client's default partitioner does it. */
export function partitionRuns(count: number, keys: RecordKeys | undefined, partitions: number): PartitionRun[] {
  if (!keys) {
    const indexes = new Uint32Array(count)
    for (let i = 0; i < count; i += 1) indexes[i] = i
    return [{ partition: -1, indexes }]
  }
  // A counting sort: bucket 0 is for records without a key, bucket p + 1 for partition p.
  const buckets = new Int32Array(count)
  const ends = new Uint32Array(partitions + 1)
  for (let i = 0; i < count; i += 1) {
    const start = keys.starts[i] as number
    const bucket = start < 0 ? 0 : 1 + ((murmur2(keys.bytes, start, keys.ends[i] as number) & 0x7fffffff) % partitions)
    buckets[i] = bucket
    ends[bucket] = (ends[bucket] as number) + 1
  }
  for (let bucket = 1; bucket <= partitions; bucket += 1)
    ends[bucket] = (ends[bucket] as number) + (ends[bucket - 1] as number)
  const order = new Uint32Array(count)
  const next = new Uint32Array(partitions + 1)
  next.set(ends.subarray(0, partitions), 1)
  for (let i = 0; i < count; i += 1) {
    const bucket = buckets[i] as number
    order[next[bucket] as number] = i
    next[bucket] = (next[bucket] as number) + 1
  }
  const runs: PartitionRun[] = []
  let from = 0
  for (const [bucket, to] of ends.entries()) {
    if (to > from) runs.push({ partition: bucket - 1, indexes: order.subarray(from, to) })
    from = to
  }
  return runs
}

/**
 * MurmurHash2 as in Java's `org.apache.kafka.common.utils.Utils.murmur2`, of data[start, end); a signed 32-bit number.
 * The library has one too, made of BigInts: too slow for one call a record.
 */
export function murmur2(data: Uint8Array, start: number, end: number): number {
  const m = 0x5bd1e995
  let h = 0x9747b28c ^ (end - start)
  let at = start
  for (; at + 4 <= end; at += 4) {
    let k =
      (data[at] as number) |
      ((data[at + 1] as number) << 8) |
      ((data[at + 2] as number) << 16) |
      ((data[at + 3] as number) << 24)
    k = Math.imul(k, m)
    k = Math.imul(k ^ (k >>> 24), m)
    h = Math.imul(h, m) ^ k
  }
  const rest = end - at
  if (rest > 0) {
    if (rest > 2) h ^= (data[at + 2] as number) << 16
    if (rest > 1) h ^= (data[at + 1] as number) << 8
    h = Math.imul(h ^ (data[at] as number), m)
  }
  h = Math.imul(h ^ (h >>> 13), m)
  return h ^ (h >>> 15)
}

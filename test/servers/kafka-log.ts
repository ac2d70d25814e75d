/** The state of a Kafka cluster: topics, what their partitions hold, and what they know of idempotent producers. */
import { gunzipSync, zstdDecompressSync } from 'node:zlib'
import { compressionsAlgorithms } from '@platformatic/kafka'
import { WireReader } from './kafka-wire.ts'

export const codes = {
  none: 0,
  corruptMessage: 2,
  unknownTopic: 3,
  leaderNotAvailable: 5,
  notLeader: 6,
  messageTooLarge: 10,
  notEnoughReplicas: 19,
  topicAuthorizationFailed: 29,
  unsupportedMechanism: 33,
  illegalSaslState: 34,
  unsupportedVersion: 35,
  outOfOrderSequence: 45,
  invalidProducerEpoch: 47,
  saslAuthenticationFailed: 58,
  unknownProducerId: 59,
  invalidRecord: 87,
} as const

export interface KafkaRecord {
  readonly key: Buffer | null
  readonly value: Buffer
  readonly headers: Readonly<Record<string, string>>
  /** ms since the epoch. */
  readonly timestamp: number
}

export interface RecordBatch {
  readonly codec: number
  readonly producerId: bigint
  readonly producerEpoch: number
  readonly baseSequence: number
  readonly maxTimestamp: number
  readonly records: readonly KafkaRecord[]
}

/** What a partition remembers of a producer: its epoch and its last five batches, as Kafka does. */
interface ProducerState {
  epoch: number
  batches: Array<{ readonly first: number; readonly last: number; readonly offset: number }>
}

export interface AppendResult {
  readonly code: number
  readonly offset: number
  readonly message?: string
  readonly recordErrors?: ReadonlyArray<{ readonly index: number; readonly message: string }>
}

export class Partition {
  /** Node id of its leader; -1: nobody. */
  leader = 1
  readonly batches: RecordBatch[] = []
  readonly records: KafkaRecord[] = []
  /** Records, also those that were only counted. */
  count = 0
  /** Batches that came again and were not stored again. */
  repeated = 0
  readonly #producers = new Map<bigint, ProducerState>()

  forgetProducers(): void {
    this.#producers.clear()
  }

  /** Another producer has taken the id with a higher epoch. */
  fenceProducers(): void {
    for (const state of this.#producers.values()) {
      state.epoch += 1
      state.batches = []
    }
  }

  append(
    bytes: Buffer,
    o: { maxMessageBytes: number; refuse: (record: KafkaRecord) => string | undefined },
  ): AppendResult {
    if (bytes.length > o.maxMessageBytes) return { code: codes.messageTooLarge, offset: -1 }
    let batch: RecordBatch
    try {
      batch = readRecordBatch(bytes)
    } catch (error) {
      return { code: codes.corruptMessage, offset: -1, message: String(error) }
    }
    const { producerId, producerEpoch, baseSequence, records } = batch
    const last = baseSequence + records.length - 1
    const state = this.#producers.get(producerId)
    if (state && producerEpoch < state.epoch) return { code: codes.invalidProducerEpoch, offset: -1 }
    const same = state?.batches.find((it) => it.first === baseSequence && it.last === last)
    if (same) {
      this.repeated += 1
      return { code: codes.none, offset: same.offset }
    }
    const expected = (state?.batches.at(-1)?.last ?? -1) + 1
    // As brokers before 2.5 do; later ones let an unknown producer begin anywhere.
    if (!state && baseSequence !== 0) return { code: codes.unknownProducerId, offset: -1 }
    if (state && baseSequence !== expected) return { code: codes.outOfOrderSequence, offset: -1 }
    const recordErrors = records.flatMap((record, index) => {
      const message = o.refuse(record)
      return message === undefined ? [] : [{ index, message }]
    })
    if (recordErrors.length > 0)
      return { code: codes.invalidRecord, offset: -1, message: 'One or more records have been rejected', recordErrors }
    const offset = this.count
    this.batches.push(batch)
    for (const record of records) this.records.push(record)
    this.count += records.length
    const kept = [...(state?.batches ?? []), { first: baseSequence, last, offset }].slice(-5)
    this.#producers.set(producerId, { epoch: producerEpoch, batches: kept })
    return { code: codes.none, offset }
  }

  /** For benchmarks: looks at nothing but the number of records. */
  countOnly(bytes: Buffer): AppendResult {
    const offset = this.count
    this.count += bytes.readInt32BE(57)
    return { code: codes.none, offset }
  }
}

export class KafkaLog {
  readonly topics = new Map<string, Partition[]>()
  /** node id -> where it listens. */
  readonly brokers = new Map<number, { readonly host: string; readonly port: number }>()
  /** Topics that nobody may write to. */
  readonly readOnly = new Set<string>()
  #nextProducer = 1000n

  constructor(topics: Readonly<Record<string, number>>) {
    for (const [name, partitions] of Object.entries(topics))
      this.topics.set(
        name,
        Array.from({ length: partitions }, () => new Partition()),
      )
  }

  newProducer(): bigint {
    this.#nextProducer += 1n
    return this.#nextProducer
  }

  partitions(topic: string): Partition[] {
    return this.topics.get(topic) ?? []
  }

  /** Values of all records of a topic, partition by partition. */
  values(topic: string): string[] {
    return this.partitions(topic).flatMap(({ records }) => records.map(({ value }) => value.toString()))
  }

  forgetProducers(): void {
    for (const partitions of this.topics.values()) for (const partition of partitions) partition.forgetProducers()
  }

  fenceProducers(): void {
    for (const partitions of this.topics.values()) for (const partition of partitions) partition.fenceProducers()
  }
}

/** Reads a record batch of magic 2 and checks everything that can be checked: https://kafka.apache.org/documentation/#recordbatch */
export function readRecordBatch(bytes: Buffer): RecordBatch {
  const head = new WireReader(bytes)
  head.int64()
  must(head.int32() === bytes.length - 12, 'the length of the record batch is wrong')
  head.int32()
  must(head.int8() === 2, 'magic is not 2')
  must(head.uint32() === crc32c(bytes.subarray(21)), 'the checksum of the record batch is wrong')
  const attributes = head.int16()
  const lastOffsetDelta = head.int32()
  const baseTimestamp = Number(head.int64())
  const maxTimestamp = Number(head.int64())
  const producerId = head.int64()
  const producerEpoch = head.int16()
  const baseSequence = head.int32()
  const count = head.int32()
  must(count > 0 && lastOffsetDelta === count - 1, 'the number of records is wrong')
  must((attributes & ~7) === 0, 'unknown attributes')
  const body = new WireReader(decompress(attributes & 7, bytes.subarray(head.at)))
  const records = Array.from({ length: count }, (_, i) => readRecord(body, i, baseTimestamp))
  must(body.at === body.data.length, 'bytes after the last record')
  must(maxTimestamp === Math.max(...records.map(({ timestamp }) => timestamp)), 'the last timestamp is wrong')
  return { codec: attributes & 7, producerId, producerEpoch, baseSequence, maxTimestamp, records }
}

function readRecord(reader: WireReader, index: number, baseTimestamp: number): KafkaRecord {
  const length = Number(reader.varint())
  const start = reader.at
  must(reader.int8() === 0, 'attributes of a record')
  const timestamp = baseTimestamp + Number(reader.varint())
  must(Number(reader.varint()) === index, 'offset delta of a record')
  const key = nullable(reader)
  const value = nullable(reader)
  const headers: Record<string, string> = {}
  for (let left = Number(reader.varint()); left > 0; left -= 1) {
    const name = nullable(reader)
    const content = nullable(reader)
    must(name !== null && content !== null, 'null in a header')
    headers[String(name)] = String(content)
  }
  must(reader.at - start === length, 'the length of a record is wrong')
  must(value !== null, 'a record without value')
  return { key, value: value ?? Buffer.alloc(0), headers, timestamp }
}

function nullable(reader: WireReader): Buffer | null {
  const length = Number(reader.varint())
  return length < 0 ? null : reader.bytes(length)
}

function decompress(codec: number, data: Buffer): Buffer {
  switch (codec) {
    case 0:
      return data
    case 1:
      return gunzipSync(data)
    case 2:
      return compressionsAlgorithms.snappy.decompressSync(data)
    case 3:
      // Java's reader insists on frames of independent blocks: bit 5 of the flags behind the magic number.
      must(
        data.readUInt32LE(0) === 0x184d2204 && ((data[4] ?? 0) & 0x20) !== 0,
        'not an LZ4 frame of independent blocks',
      )
      return compressionsAlgorithms.lz4.decompressSync(data)
    case 4:
      return zstdDecompressSync(data)
    default:
      throw new RangeError(`unknown codec ${codec}`)
  }
}

function must(holds: boolean, problem: string): void {
  if (!holds) throw new RangeError(problem)
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1
  return value
})

/** CRC-32C (Castagnoli), by its table; on purpose not the function that the sink uses. */
export function crc32c(data: Buffer): number {
  let crc = 0xffffffff
  for (const byte of data) crc = (table[(crc ^ byte) & 255] as number) ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}

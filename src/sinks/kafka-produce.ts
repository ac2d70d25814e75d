/**
 * The Produce request with record batches that are encoded already, and its answer by partition. The library's own
 * request wants one object a message, and its answer is one error for all partitions.
 * Source: https://kafka.apache.org/protocol#The_Messages_Produce
 */
import { type Connection, type Reader, Writer } from '@platformatic/kafka'

export const produceApi = {
  key: 0,
  /** 7 came with Kafka 2.1 and allows zstd; 11 with 3.8; from 13 on topics are named by id. */
  minVersion: 7,
  maxVersion: 11,
} as const

/** From this version on strings and arrays are compact and tagged fields follow. */
const firstFlexible = 9

export interface PartitionBatch {
  readonly partition: number
  /** One record batch, stamped. */
  readonly bytes: Buffer
}

export interface ProduceRequest {
  readonly version: number
  readonly topic: string
  /** How long the leader waits for the other in-sync replicas. */
  readonly timeoutMs: number
  readonly batches: readonly PartitionBatch[]
}

export interface PartitionAnswer {
  readonly partition: number
  readonly errorCode: number
  readonly errorMessage: string | null
  /** Records of the batch that are to blame, by their place in it, and why; empty if the broker does not say. */
  readonly recordErrors: ReadonlyArray<{ readonly index: number; readonly message: string | null }>
}

export interface ProduceAnswer {
  readonly partitions: readonly PartitionAnswer[]
  /** How long the broker wants no request, in ms. */
  readonly throttleMs: number
}

/** Sends the request with acks -1: a partition's answer without an error means that all its in-sync replicas have the batch. */
export function produce(connection: Connection, request: ProduceRequest): Promise<ProduceAnswer> {
  const isFlexible = request.version >= firstFlexible
  return new Promise((resolve, reject) => {
    connection.send<ProduceAnswer>(
      produceApi.key,
      request.version,
      () => writeRequest(request, isFlexible),
      (_id, _key, version, reader) => readAnswer(reader, version),
      isFlexible,
      isFlexible,
      (error, answer) => (answer ? resolve(answer) : reject(error ?? new Error('no answer'))),
    )
  })
}

function writeRequest({ topic, timeoutMs, batches }: ProduceRequest, isFlexible: boolean): Writer {
  const writer = Writer.create()
    .appendString(null, isFlexible)
    .appendInt16(-1)
    .appendInt32(Math.min(timeoutMs, 0x7fffffff))
  appendCount(writer, 1, isFlexible).appendString(topic, isFlexible)
  appendCount(writer, batches.length, isFlexible)
  for (const { partition, bytes } of batches) {
    writer.appendInt32(partition).appendBytes(bytes, isFlexible)
    if (isFlexible) writer.appendTaggedFields()
  }
  return isFlexible ? writer.appendTaggedFields().appendTaggedFields() : writer
}

function appendCount(writer: Writer, count: number, isFlexible: boolean): Writer {
  return isFlexible ? writer.appendUnsignedVarInt(count + 1) : writer.appendInt32(count)
}

function readAnswer(reader: Reader, version: number): ProduceAnswer {
  const isFlexible = version >= firstFlexible
  const partitions = reader.readArray(
    (topic) => {
      topic.readString(isFlexible)
      const answers = topic.readArray((partition) => readPartition(partition, version), isFlexible, false)
      if (isFlexible) topic.readTaggedFields()
      return answers
    },
    isFlexible,
    false,
  )
  return { partitions: partitions.flat(), throttleMs: reader.readInt32() }
}

function readPartition(reader: Reader, version: number): PartitionAnswer {
  const isFlexible = version >= firstFlexible
  const partition = reader.readInt32()
  const errorCode = reader.readInt16()
  // Base offset, log append time and log start offset: three INT64.
  reader.skip(24)
  if (version < 8) return { partition, errorCode, errorMessage: null, recordErrors: [] }
  const recordErrors = reader.readArray(
    (record) => {
      const error = { index: record.readInt32(), message: record.readNullableString(isFlexible) }
      if (isFlexible) record.readTaggedFields()
      return error
    },
    isFlexible,
    false,
  )
  const errorMessage = reader.readNullableString(isFlexible)
  if (isFlexible) reader.readTaggedFields()
  return { partition, errorCode, errorMessage, recordErrors }
}

/**
 * One engine batch on its way to the partitions. It outlives a write that failed: written again, the batch goes on
 * where it was, so nothing that a partition has acknowledged is sent twice.
 *
 * Invariants:
 *   1. A delivery has a producer id of its own while it lasts, and per partition at most one record batch of it is
 *      under way. So sequence numbers are given out in the order in which the broker sees them, without any agreement
 *      between concurrent writes.
 *   2. A record batch whose fate is unknown (no answer, time-out) is sent again with the same producer id and sequence
 *      number until an answer comes: the broker tells the repetition by them. Only when the broker has forgotten the
 *      producer does the record batch get a new number, and may then be stored twice.
 *   3. A sequence number is used up only by an acknowledged record batch.
 */
import type { Batch, Bound, Log, MetricSpec, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { counted } from '../telemetry/figures.ts'
import { type BrokerAddress, nameOf } from './kafka-apis.ts'
import type { KafkaCluster, ProducerIdentity, Topic } from './kafka-cluster.ts'
import { codeName, foreignFailure, protocolFailure, verdictOf } from './kafka-errors.ts'
import { partitionRuns, type RecordKeys } from './kafka-keys.ts'
import type { PartitionAnswer } from './kafka-produce.ts'
import { type EncodedRecords, type RecordEncoder, stampBatch } from './kafka-records.ts'

export const kafkaMetrics = {
  kafka_records_sent_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records acknowledged by all in-sync replicas.',
  },
  kafka_bytes_sent_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Bytes of acknowledged records, before compression and without keys and headers.',
  },
  kafka_requests_total: { kind: 'counter', unit: '{request}', help: 'Produce requests sent.' },
  kafka_errors_total: {
    kind: 'counter',
    unit: '{error}',
    help: 'Produce requests without an answer, and answers of partitions that are errors.',
  },
  kafka_request_duration_seconds: {
    kind: 'histogram',
    unit: 's',
    help: 'From sending a produce request to its answer, failures too.',
  },
} as const satisfies Record<string, MetricSpec>

/** Longest produce request, but for a single record batch; brokers take 100 MiB (`socket.request.max.bytes`). */
const requestBytes = 16 * 1024 * 1024
const leaderNotAvailable = 5
const maxSequence = 0x7fffffff

/** A producer id and its next sequence number in each partition. */
export class Producer {
  readonly identity: ProducerIdentity
  readonly #next = new Map<number, number>()

  constructor(identity: ProducerIdentity) {
    this.identity = identity
  }

  sequence(partition: number): number {
    return this.#next.get(partition) ?? 0
  }

  /** Sequence numbers go round after 2^31 - 1, as `DefaultRecordBatch.incrementSequence` of the Java client does it. */
  advance(partition: number, records: number): void {
    const next = this.sequence(partition) + records
    this.#next.set(partition, next > maxSequence ? next - maxSequence - 1 : next)
  }
}

/** What the deliveries of one sink share. */
export interface DeliveryTools {
  readonly cluster: KafkaCluster
  readonly encoder: RecordEncoder
  readonly metrics: Bound<typeof kafkaMetrics>
  readonly log: Log
  readonly topic: string
  readonly timeoutMs: number
  readonly maxMessageBytes: number
  /** A producer that no other delivery uses; `isNew`: with an id that no broker has seen. */
  takeProducer(o: Signal & { readonly isNew: boolean }): Promise<Producer>
  /** The partition for the next record batch without keys. */
  nextPartition(topic: Topic): number
}

interface Sending extends EncodedRecords {
  /** Set while it may have been stored under this number. */
  stamp: { readonly producer: Producer } | undefined
}

interface Addressed {
  readonly partition: number
  readonly sending: Sending
}

export class KafkaDelivery {
  /** Records refused for good, by index in the batch. */
  readonly refused = new Map<number, StreamError>()
  producer: Producer | undefined
  /** A broker has forgotten our producer: it will have forgotten those of other deliveries too. */
  #wasForgotten = false
  readonly #batch: Batch
  readonly #keys: RecordKeys | undefined
  readonly #tools: DeliveryTools
  /** Per partition, what is still to be acknowledged, in order. Undefined until the first run. */
  #queues: Map<number, Sending[]> | undefined

  constructor(batch: Batch, keys: RecordKeys | undefined, tools: DeliveryTools) {
    this.#batch = batch
    this.#keys = keys
    this.#tools = tools
  }

  /**
   * Sends what is not acknowledged yet. Resolves when every record is acknowledged or refused; throws what stands in
   * the way of the rest, after everything that could be sent was.
   */
  async run(o: Signal): Promise<void> {
    this.#queues ??= await this.#encodeAll(await this.#tools.cluster.topic(o))
    /** Partitions that failed in this run, and those that were given a second try at once. */
    const blocked = new Map<number, StreamError>()
    const hastened = new Set<number>()
    for (;;) {
      const open = [...this.#queues].filter(([partition]) => !blocked.has(partition))
      if (open.length === 0) break
      this.producer ??= await this.#tools.takeProducer({ signal: o.signal, isNew: this.#wasForgotten })
      const topic = await this.#tools.cluster.topic(o)
      const heads = open.map(([partition, [sending]]) => ({ partition, sending: sending as Sending }))
      const fail = (partition: number, error: StreamError, isSoon: boolean) => {
        this.#tools.metrics.kafka_errors_total.add(1)
        if (isSoon && !hastened.has(partition)) hastened.add(partition)
        else blocked.set(partition, error)
      }
      const requests = this.#requestsFor(heads, topic, fail)
      const results = await Promise.allSettled(requests.map((request) => this.#send(request, fail, o)))
      for (const result of results) if (result.status === 'rejected') throw result.reason
    }
    const failure = blocked.values().next().value
    if (failure) throw failure
  }

  async #encodeAll(topic: Topic): Promise<Map<number, Sending[]>> {
    const queues = new Map<number, Sending[]>()
    for (const { partition, indexes } of partitionRuns(this.#batch.count, this.#keys, topic.leaders.length)) {
      for (const sending of await this.#encode(indexes)) {
        const target = partition < 0 ? this.#tools.nextPartition(topic) : partition
        const queue = queues.get(target)
        if (queue) queue.push(sending)
        else queues.set(target, [sending])
      }
    }
    return queues
  }

  /** The records in record batches; one that is too large by itself is refused here, as the Java client does it. */
  async #encode(indexes: Uint32Array): Promise<Sending[]> {
    const { encoder, maxMessageBytes, topic } = this.#tools
    const fitting: Sending[] = []
    for (const encoded of await encoder.encode(this.#batch, indexes, this.#keys)) {
      if (encoded.indexes.length > 1 || encoded.bytes.length <= maxMessageBytes)
        fitting.push({ ...encoded, stamp: undefined })
      else
        this.#refuse(
          encoded.indexes,
          new StreamError(
            'sink.too_large',
            `cannot write a record of ${encoded.valueBytes} bytes to topic ${topic}: its message is larger than max_message_bytes (raise it, and max.message.bytes of the topic)`,
          ),
        )
    }
    return fitting
  }

  /** One request a broker, more only if it would become huge. */
  #requestsFor(
    heads: readonly Addressed[],
    topic: Topic,
    fail: (partition: number, error: StreamError, isSoon: boolean) => void,
  ): Array<{ readonly leader: BrokerAddress; readonly batches: Addressed[] }> {
    const requests: Array<{ leader: BrokerAddress; batches: Addressed[]; bytes: number }> = []
    const open = new Map<string, (typeof requests)[number]>()
    for (const head of heads) {
      const leader = topic.leaders[head.partition]
      if (!leader) {
        this.#tools.cluster.forgetTopic()
        fail(head.partition, protocolFailure(this.#what(head), leaderNotAvailable), false)
        continue
      }
      const name = nameOf(leader)
      let request = open.get(name)
      if (!request || request.bytes + head.sending.bytes.length > requestBytes) {
        request = { leader, batches: [], bytes: 0 }
        open.set(name, request)
        requests.push(request)
      }
      request.batches.push(head)
      request.bytes += head.sending.bytes.length
    }
    return requests
  }

  /** Sends a request and settles its partitions. Throws only what ends the run: the stop, or a bug. */
  async #send(
    { leader, batches }: { readonly leader: BrokerAddress; readonly batches: readonly Addressed[] },
    fail: (partition: number, error: StreamError, isSoon: boolean) => void,
    o: Signal,
  ): Promise<void> {
    const { cluster, metrics, timeoutMs } = this.#tools
    for (const { partition, sending } of batches) this.#stamp(partition, sending)
    const startMs = performance.now()
    let answers: Map<number, PartitionAnswer>
    metrics.kafka_requests_total.add(1)
    try {
      const request = {
        timeoutMs,
        batches: batches.map(({ partition, sending }) => ({ partition, bytes: sending.bytes })),
      }
      const { partitions } = await cluster.produce(leader, request, o)
      answers = new Map(partitions.map((answer) => [answer.partition, answer]))
    } catch (error) {
      const failure = foreignFailure(`cannot write to topic ${this.#tools.topic} on ${nameOf(leader)}`, error)
      if (failure.code === 'run.aborted') throw failure
      cluster.used(leader, failure)
      // Its partitions may have moved to another broker.
      cluster.forgetTopic()
      for (const { partition } of batches) fail(partition, failure, false)
      return
    } finally {
      metrics.kafka_request_duration_seconds.record((performance.now() - startMs) / 1000)
    }
    let unable: StreamError | undefined
    const note = (partition: number, error: StreamError, isSoon: boolean) => {
      // One that sends us to another broker, or to a new producer, is well.
      if (!isSoon) unable ??= error
      fail(partition, error, isSoon)
    }
    for (const head of batches) {
      const answer = answers.get(head.partition)
      if (answer) await this.#settle(head, answer, note)
      else
        note(
          head.partition,
          new StreamError('sink.unavailable', `${this.#what(head)}: the broker did not answer for it`),
          false,
        )
    }
    cluster.used(leader, unable)
  }

  /** Invariants 2 and 3: a number is given once, and the same until the fate of the records is known. */
  #stamp(partition: number, sending: Sending): void {
    if (sending.stamp) return
    const producer = this.producer as Producer
    sending.stamp = { producer }
    stampBatch(sending.bytes, { ...producer.identity, baseSequence: producer.sequence(partition) })
  }

  async #settle(
    head: Addressed,
    answer: PartitionAnswer,
    fail: (partition: number, error: StreamError, isSoon: boolean) => void,
  ): Promise<void> {
    const { partition, sending } = head
    const { cluster, metrics, log, topic } = this.#tools
    const { indexes } = sending
    const verdict = verdictOf(answer.errorCode)
    const failure = protocolFailure(this.#what(head), answer.errorCode, answer.errorMessage)
    switch (verdict) {
      case 'accepted':
        sending.stamp?.producer.advance(partition, indexes.length)
        metrics.kafka_records_sent_total.add(indexes.length)
        metrics.kafka_bytes_sent_total.add(sending.valueBytes)
        this.#tools.encoder.recycle(sending.bytes)
        this.#replaceHead(partition, [])
        return
      case 'forgotten':
        this.#wasForgotten = true
        if (this.producer === sending.stamp?.producer) this.producer = undefined
        sending.stamp = undefined
        log.warn(
          { topic, partition, records: indexes.length, error: codeName(answer.errorCode) },
          'the broker does not know our producer any more: going on with a new one; records sent just before may be there twice',
        )
        fail(partition, failure, true)
        return
      case 'split':
        metrics.kafka_errors_total.add(1)
        await this.#split(head, failure)
        return
      case 'refused':
        metrics.kafka_errors_total.add(1)
        await this.#withoutRefused(head, answer, failure)
        return
      case 'stale':
        cluster.forgetTopic()
        fail(partition, failure, true)
        return
      case 'wait':
      case 'denied':
        fail(partition, failure, false)
        return
    }
  }

  /** Two halves in the place of what was refused as a whole; a single record is refused for good. */
  async #split({ partition, sending: { indexes } }: Addressed, failure: StreamError): Promise<void> {
    const middle = indexes.length >>> 1
    if (middle === 0) {
      this.#refuse(indexes, failure)
      this.#replaceHead(partition, [])
      return
    }
    const halves = [indexes.subarray(0, middle), indexes.subarray(middle)]
    const encoded = await Promise.all(halves.map((half) => this.#encode(half)))
    this.#replaceHead(partition, encoded.flat())
  }

  /** The broker stores none of a record batch if it refuses one record of it: the others are sent again without it. */
  async #withoutRefused(head: Addressed, answer: PartitionAnswer, failure: StreamError): Promise<void> {
    const { indexes } = head.sending
    const reasons = new Map(answer.recordErrors.map(({ index, message }) => [index, message]))
    const isNamed = [...reasons.keys()].some((index) => index >= 0 && index < indexes.length)
    if (!isNamed) return await this.#split(head, failure)
    for (let i = 0; i < indexes.length; i += 1) {
      if (!reasons.has(i)) continue
      const words = reasons.get(i) ?? answer.errorMessage
      this.#refuse(indexes.subarray(i, i + 1), protocolFailure(this.#what(head), answer.errorCode, words))
    }
    const rest = indexes.filter((_, i) => !reasons.has(i))
    this.#replaceHead(head.partition, rest.length > 0 ? await this.#encode(rest) : [])
  }

  #refuse(indexes: Uint32Array, error: StreamError): void {
    for (const index of indexes) this.refused.set(index, error)
  }

  #replaceHead(partition: number, by: readonly Sending[]): void {
    const queue = this.#queues?.get(partition)
    queue?.splice(0, 1, ...by)
    if (queue?.length === 0) this.#queues?.delete(partition)
  }

  #what({ partition, sending }: Addressed): string {
    return `cannot write ${counted(sending.indexes.length, 'record')} to topic ${this.#tools.topic}, partition ${partition}`
  }
}

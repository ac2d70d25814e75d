/** What `kafka` does; its configuration and notes are in kafka.ts. */
import type {
  Batch,
  BatchLimits,
  Context,
  Dependency,
  Finding,
  Refused,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { type KafkaConfig, parseBroker } from './kafka.ts'
import { KafkaCluster, type Topic } from './kafka-cluster.ts'
import { type DeliveryTools, KafkaDelivery, kafkaMetrics, Producer } from './kafka-delivery.ts'
import { protocolFailure } from './kafka-errors.ts'
import { examineKafka } from './kafka-examine.ts'
import { keysOf } from './kafka-keys.ts'
import { RecordEncoder } from './kafka-records.ts'
import { tlsOptions } from './tls.ts'

const mechanisms = { plain: 'PLAIN', 'scram-sha-256': 'SCRAM-SHA-256', 'scram-sha-512': 'SCRAM-SHA-512' } as const

export class KafkaSink implements Sink {
  readonly encodes = true
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #config: KafkaConfig
  readonly #cluster: KafkaCluster
  readonly #tools: DeliveryTools
  /** Batches that failed and will be written again: how far they are, and the producer id that is theirs until then. */
  readonly #deliveries = new WeakMap<Batch, KafkaDelivery>()
  readonly #freeProducers: Producer[] = []
  #turn = 0

  constructor(config: KafkaConfig, context: Context) {
    const { auth, batch, retry, tls, topic, compression, headers } = config
    this.#config = config
    this.maxInFlight = config.max_in_flight
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#cluster = new KafkaCluster({
      brokers: config.brokers.map(parseBroker),
      topic,
      clientId: config.client_id,
      nowMs: context.nowMs,
      connection: {
        connectTimeout: config.connect_timeout,
        requestTimeout: config.timeout,
        maxInflights: config.max_in_flight,
        ...(tls ? { tls: tlsOptions(tls) } : {}),
        ...(auth
          ? {
              sasl: {
                mechanism: mechanisms[auth.mechanism],
                username: auth.username,
                password: auth.password.reveal(),
              },
            }
          : {}),
      },
    })
    this.#tools = {
      cluster: this.#cluster,
      encoder: new RecordEncoder({ compression, headers, limitBytes: config.max_message_bytes }),
      metrics: context.meter.bind(kafkaMetrics, {}),
      log: context.log,
      topic,
      timeoutMs: config.timeout,
      maxMessageBytes: config.max_message_bytes,
      takeProducer: async ({ signal, isNew }) =>
        (isNew ? undefined : this.#freeProducers.pop()) ?? new Producer(await this.#cluster.newProducer({ signal })),
      nextPartition: (known) => this.#nextPartition(known),
    }
  }

  async check(o: Signal): Promise<void> {
    const { topic } = this.#config
    const { leaders, isWritable } = await this.#cluster.topic(o)
    const topicAuthorizationFailed = 29
    if (isWritable === false) throw protocolFailure(`cannot write to topic ${topic}`, topicAuthorizationFailed)
    const leaderless = leaders.flatMap((leader, partition) => (leader ? [] : [partition]))
    if (leaders.length === 0 || leaderless.length > 0)
      throw new StreamError(
        'sink.unavailable',
        `cannot write to topic ${topic}: no leader for partition ${leaderless.join(', ')} (are all brokers up?)`,
      )
    const addresses = new Map(leaders.flatMap((leader) => (leader ? [[`${leader.host} ${leader.port}`, leader]] : [])))
    await Promise.all([...addresses.values()].map((address) => this.#cluster.connect(address, o)))
    // Brokers before 2.8 want a right of its own for this. The id is put to use by the first write.
    this.#freeProducers.push(new Producer(await this.#cluster.newProducer(o)))
  }

  get dependencies(): readonly Dependency[] {
    return this.#cluster.dependencies
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return examineKafka(this.#cluster, this.#config, o)
  }

  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    let delivery = this.#deliveries.get(batch)
    if (!delivery) {
      delivery = new KafkaDelivery(batch, keysOf(batch, this.#config.key), this.#tools)
      this.#deliveries.set(batch, delivery)
    }
    await delivery.run(o)
    this.#deliveries.delete(batch)
    if (delivery.producer) this.#freeProducers.push(delivery.producer)
    return delivery.refused.size > 0 ? delivery.refused : undefined
  }

  /** The partitions in turn, those without a leader left out while others have one. */
  #nextPartition({ leaders }: Topic): number {
    for (let tried = 0; tried < leaders.length; tried += 1) {
      this.#turn = (this.#turn + 1) % leaders.length
      if (leaders[this.#turn]) break
    }
    return this.#turn
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cluster[Symbol.asyncDispose]()
  }
}

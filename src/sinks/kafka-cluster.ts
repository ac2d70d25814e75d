/** The brokers of a Kafka cluster: connections, which versions they speak, and who leads which partition of the topic. */
import { isIP } from 'node:net'
import { Connection, type ConnectionOptions } from '@platformatic/kafka'
import type { Dependency, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { untilAborted as untilAbortedBy } from '../core/until-aborted.ts'
import {
  type BrokerAddress,
  describeConfigsApis,
  initProducerIdApis,
  type Link,
  metadataApis,
  metadataOf,
  nameOf,
  newest,
  tooOld,
  versionsOf,
} from './kafka-apis.ts'
import { KafkaBrokers } from './kafka-brokers.ts'
import { codeName, foreignFailure, protocolFailure } from './kafka-errors.ts'
import { type ProduceAnswer, type ProduceRequest, produce, produceApi } from './kafka-produce.ts'

/** A leader may change without a word to us if we never write to its partition. */
const metadataMaxAgeMs = 300_000
/** Bit of WRITE in authorized operations: `org.apache.kafka.common.acl.AclOperation`. */
const writeOperation = 1 << 4
/** `ConfigResource.Type` of a topic. */
const topicResource = 2 as const
const operationsUnknown = -2147483648

/** What is known of the topic: leaders[p] leads partition p, undefined if nobody does. */
export interface Topic {
  readonly leaders: ReadonlyArray<BrokerAddress | undefined>
  /** False if the broker says that we may not write; undefined if it says nothing. */
  readonly isWritable: boolean | undefined
}

export interface ProducerIdentity {
  readonly producerId: bigint
  readonly producerEpoch: number
}

/** What a cluster says of itself and of the topic. */
export interface ClusterFacts {
  readonly clusterId: string | undefined
  readonly brokers: number
  readonly partitions: ReadonlyArray<{
    readonly leaderId: number
    readonly replicaNodes: readonly number[]
    readonly isrNodes: readonly number[]
  }>
}

export interface ClusterOptions {
  readonly brokers: readonly BrokerAddress[]
  readonly topic: string
  readonly clientId: string
  readonly nowMs: () => number
  readonly connection: ConnectionOptions
}

export class KafkaCluster implements AsyncDisposable {
  readonly #o: ClusterOptions
  readonly #links = new Map<string, Promise<Link>>()
  /** Connections that are open or being opened. */
  readonly #connections = new Set<Connection>()
  #topic: Topic | undefined
  #topicAtMs = 0
  #asking: Promise<Topic> | undefined
  /** Brokers to ask, the configured ones and those they told of; `#nextBroker` counts on when one fails. */
  #brokers: readonly BrokerAddress[]
  #nextBroker = 0
  /** What the use of each broker shows. */
  readonly #states: KafkaBrokers
  /** Aborted when the sink is disposed. */
  readonly #closing = new AbortController()

  constructor(o: ClusterOptions) {
    this.#o = o
    this.#brokers = o.brokers
    this.#states = new KafkaBrokers({ nowMs: o.nowMs, probe: (address, signal) => this.#probe(address, signal) })
    this.#states.keep(o.brokers)
  }

  /** The configured brokers and those that they told of. */
  get dependencies(): readonly Dependency[] {
    return this.#states.dependencies
  }

  /** A request to write was answered, or not. */
  used(address: BrokerAddress, error?: StreamError): void {
    this.#states.used(address, error)
  }

  /** What the cluster says of itself and of the topic. Throws as `topic`. */
  async describe(o: Signal): Promise<ClusterFacts> {
    const { topic } = this.#o
    const what = `cannot find topic ${topic}`
    return await this.#onAnyBroker(what, o, async (link) => {
      const answer = await metadataOf(newest(link, metadataApis, 'Metadata'), link.connection, topic)
      const { partitions } = found(answer, topic)
      return { clusterId: answer.clusterId ?? undefined, brokers: answer.brokers.length, partitions }
    })
  }

  /** Settings of the topic by name. Throws if the cluster does not tell them: Kafka before 2.8, or a right that is missing. */
  async settings(names: readonly string[], o: Signal): Promise<ReadonlyMap<string, string>> {
    const { topic } = this.#o
    const what = `cannot read the settings of topic ${topic}`
    return await this.#onAnyBroker(what, o, async (link) => {
      const api = newest(link, describeConfigsApis, 'DescribeConfigs')
      const asked = [{ resourceType: topicResource, resourceName: topic, configurationKeys: [...names] }]
      const { results } = await api.async(link.connection, asked, false, false)
      const configs = results.flatMap((result) => result.configs)
      return new Map(configs.flatMap(({ name, value }) => (typeof value === 'string' ? [[name, value] as const] : [])))
    })
  }

  /** Whether this broker knows the topic. */
  async #probe(address: BrokerAddress, o: Signal): Promise<void> {
    const { topic } = this.#o
    const ask = async () => {
      const link = await this.#link(address)
      found(await metadataOf(newest(link, metadataApis, 'Metadata'), link.connection, topic), topic)
    }
    try {
      await untilAborted(ask(), o.signal)
    } catch (error) {
      throw foreignFailure(`cannot find topic ${topic} at ${nameOf(address)}`, error)
    }
  }

  /** Who leads the partitions; asked again when it is old or was found wrong. Throws if there is no such topic for us. */
  async topic(o: Signal): Promise<Topic> {
    if (this.#topic && performance.now() - this.#topicAtMs < metadataMaxAgeMs) return this.#topic
    this.#asking ??= this.#askTopic().finally(() => {
      this.#asking = undefined
    })
    return await untilAborted(this.#asking, o.signal)
  }

  /** What is known of the topic was wrong: ask again before the next use, and another broker, as this one may be cut off. */
  forgetTopic(): void {
    if (this.#topic) this.#nextBroker += 1
    this.#topic = undefined
  }

  /** A producer id that nobody has had before: https://kafka.apache.org/protocol#The_Messages_InitProducerId */
  async newProducer(o: Signal): Promise<ProducerIdentity> {
    const what = 'cannot get a producer id'
    return await this.#onAnyBroker(what, o, async (link) => {
      const api = newest(link, initProducerIdApis, 'InitProducerId')
      const { producerId, producerEpoch } = await api.async(link.connection, null, 0)
      return { producerId, producerEpoch }
    })
  }

  /** Connects to the broker, authentication included. */
  async connect(address: BrokerAddress, o: Signal): Promise<void> {
    await untilAborted(this.#link(address), o.signal)
  }

  /** Throws a StreamError if there is no answer; then it is unknown whether the broker has the records. */
  async produce(
    address: BrokerAddress,
    request: Omit<ProduceRequest, 'version' | 'topic'>,
    o: Signal,
  ): Promise<ProduceAnswer> {
    const { topic } = this.#o
    const link = await untilAborted(this.#link(address), o.signal)
    const range = link.versions.get(produceApi.key)
    const version = Math.min(produceApi.maxVersion, range?.max ?? 0)
    if (version < Math.max(produceApi.minVersion, range?.min ?? 0)) throw tooOld(nameOf(address), 'Produce', range)
    await this.#pause(link, o)
    try {
      const answer = await untilAborted(produce(link.connection, { ...request, version, topic }), o.signal)
      if (answer.throttleMs > 0) link.pausedUntilMs = performance.now() + answer.throttleMs
      return answer
    } catch (error) {
      if (!o.signal.aborted) this.#end(link.connection)
      throw foreignFailure(`cannot write to topic ${topic} on ${nameOf(address)}`, error)
    }
  }

  /** KIP-219: a throttled client keeps still by itself; the broker would leave its requests unread. */
  async #pause(link: Link, { signal }: Signal): Promise<void> {
    const waitMs = link.pausedUntilMs - performance.now()
    if (waitMs <= 0) return
    let timer: NodeJS.Timeout | undefined
    const waiting = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, waitMs)
    })
    await untilAborted(untilAborted(waiting, signal), this.#closing.signal).finally(() => clearTimeout(timer))
  }

  async #askTopic(): Promise<Topic> {
    const { topic } = this.#o
    const what = `cannot find topic ${topic}`
    const brokers = new Map<number, BrokerAddress>()
    const { partitions, topicAuthorizedOperations: operations } = await this.#onAnyBroker(
      what,
      undefined,
      async (link) => {
        const answer = await metadataOf(newest(link, metadataApis, 'Metadata'), link.connection, topic)
        for (const { nodeId, host, port } of answer.brokers) brokers.set(nodeId, { host, port })
        return found(answer, topic)
      },
    )
    const configured = new Set(this.#o.brokers.map(nameOf))
    this.#brokers = [...this.#o.brokers, ...[...brokers.values()].filter((it) => !configured.has(nameOf(it)))]
    this.#states.keep(this.#brokers)
    const leaders = new Array<BrokerAddress | undefined>(partitions.length).fill(undefined)
    for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = brokers.get(leaderId)
    const isWritable = operations === operationsUnknown ? undefined : (operations & writeOperation) !== 0
    this.#topic = { leaders, isWritable }
    this.#topicAtMs = performance.now()
    return this.#topic
  }

  /** Asks the brokers in turn until one answers. */
  async #onAnyBroker<T>(what: string, o: Signal | undefined, ask: (link: Link) => Promise<T>): Promise<T> {
    const brokers = this.#brokers
    const failures: StreamError[] = []
    for (let i = 0; i < brokers.length; i += 1) {
      const address = brokers[this.#nextBroker % brokers.length] as BrokerAddress
      let link: Link | undefined
      try {
        const asked = this.#link(address).then(async (it) => {
          link = it
          const answer = await ask(it)
          it.isProven = true
          this.#states.used(address)
          return answer
        })
        return await (o ? untilAborted(asked, o.signal) : asked)
      } catch (error) {
        if (o?.signal.aborted) throw error
        const isLoginMissing = link && !link.isProven && !link.connection.isConnected() && !this.#o.connection.sasl
        const hint = isLoginMissing ? ' (does the listener want a login? then set auth)' : ''
        const failure = foreignFailure(`${what} at ${nameOf(address)}${hint}`, error)
        this.#states.used(address, failure)
        // The others would say the same of a login or a right.
        if (failure.code === 'sink.access') throw failure
        if (link) this.#end(link.connection)
        failures.push(failure)
        this.#nextBroker += 1
      }
    }
    if (failures.length === 1) throw failures[0]
    throw new StreamError('sink.unavailable', `${what}: ${failures.length} brokers failed`, {
      cause: new AggregateError(failures),
    })
  }

  /** The connection to a broker, opened if there is none. */
  async #link(address: BrokerAddress): Promise<Link> {
    const name = nameOf(address)
    const known = this.#links.get(name)
    if (known) {
      const link = await known
      // Nothing else may be sent between the two requests of a login that is renewed (KIP-368).
      if (link.connection.status === 'reauthenticating') await link.connection.ready().catch(() => undefined)
      if (link.connection.isConnected()) return link
      if (this.#links.get(name) === known) this.#links.delete(name)
      return await this.#link(address)
    }
    if (this.#closing.signal.aborted) throw new StreamError('run.aborted', 'the sink is closed')
    const opening = this.#open(address)
    this.#links.set(name, opening)
    opening.catch(() => {
      if (this.#links.get(name) === opening) this.#links.delete(name)
    })
    return await opening
  }

  async #open(address: BrokerAddress): Promise<Link> {
    const { host, port } = address
    const connection = new Connection(this.#o.clientId, {
      ...this.#o.connection,
      // RFC 6066 allows no IP address as server name.
      tlsServerName: isIP(host) === 0,
    })
    this.#connections.add(connection)
    // Closed by the broker it has to be closed by us too: that stops the timer of its login.
    connection.on('close', () => this.#end(connection))
    // The library tells whoever waits for an answer only that the connection was closed.
    let reason: Error | undefined
    connection.on('error', (error) => {
      reason = error
    })
    const isConfigured = this.#o.brokers.some((broker) => nameOf(broker) === nameOf(address))
    const origin = isConfigured
      ? ''
      : ', which the cluster gives as its address (see advertised.listeners of the broker)'
    const what = `cannot connect to broker ${nameOf(address)}${origin}`
    try {
      await connection.connect(host, port)
    } catch (error) {
      this.#end(connection)
      throw foreignFailure(what, error)
    }
    try {
      return { address, connection, versions: await versionsOf(connection), pausedUntilMs: 0, isProven: false }
    } catch (error) {
      this.#end(connection)
      const hint = this.#o.connection.tls
        ? 'does it want a client certificate?'
        : 'does the listener want TLS? then give the sink a `tls` block'
      const text = `${what}: it ended the connection at the first request (${hint})`
      throw new StreamError('sink.unavailable', text, { cause: reason ?? error })
    }
  }

  /** Ends a connection that has failed: what it may still answer belongs to nobody. `#link` opens another. */
  #end(connection: Connection): void {
    this.#connections.delete(connection)
    // Rejects nothing: the library answers open requests when the socket is closed.
    void connection.close()
    connection.socket?.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    for (const connection of [...this.#connections]) this.#end(connection)
    await Promise.allSettled(this.#links.values())
    for (const connection of [...this.#connections]) this.#end(connection)
    this.#links.clear()
  }
}

/** The topic in the answer. Throws what the cluster says, if that is no topic to write to. */
function found(answer: Awaited<ReturnType<typeof metadataOf>>, topic: string) {
  const what = `cannot find topic ${topic}`
  const told = answer.topics.find(({ name }) => name === topic)
  const code = told?.errorCode ?? 3
  if (!told || (code !== 0 && codeName(code) !== 'LEADER_NOT_AVAILABLE')) {
    const failure = protocolFailure(what, code)
    // What a write may wait for, the operator has to mend here: the cluster knows no such topic.
    throw codeName(code) === 'UNKNOWN_TOPIC_OR_PARTITION' ? new StreamError('sink.access', failure.message) : failure
  }
  // Without partitions there is nowhere to put a record; they come when somebody leads them.
  if (told.partitions.length === 0) throw protocolFailure(what, 5)
  return told
}

/** The promise's outcome, or a throw as soon as the signal is aborted; the work itself goes on and is ignored. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await untilAbortedBy(work, signal)
  } catch (error) {
    if (!signal.aborted || error !== signal.reason) throw error
    throw new StreamError('run.aborted', 'write interrupted by the stop', { cause: error })
  }
}

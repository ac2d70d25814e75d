/** What `doctor` tells of a Kafka cluster and its topic: by metadata and settings, nothing is produced. */
import type { Finding, Signal } from '../core/component.ts'
import { problemOf, timed } from '../core/findings.ts'
import { counted } from '../telemetry/figures.ts'
import { certificateFinding } from './certificate-finding.ts'
import type { KafkaConfig } from './kafka.ts'
import { parseBroker } from './kafka.ts'
import type { ClusterFacts, KafkaCluster } from './kafka-cluster.ts'
import { type TlsOptions, tlsOptions } from './tls.ts'

/** What is asked of a cluster. */
export type AskedCluster = Pick<KafkaCluster, 'dependencies' | 'topic' | 'describe' | 'settings'>

export async function* examineKafka(cluster: AskedCluster, config: KafkaConfig, o: Signal): AsyncGenerator<Finding> {
  const { topic, tls } = config
  const options = tls && tlsOptions(tls)
  for (const text of options ? config.brokers : []) {
    const at = { ...parseBroker(text), tls: options as TlsOptions }
    const certificate = await certificateFinding(`kafka ${text}`, at, o)
    if (certificate) yield certificate
  }
  // Those that the brokers tell of come during the first round.
  const asked = new Set<string>()
  let answering = 0
  for (let round = 0; round < 2; round += 1) {
    for (const dependency of cluster.dependencies) {
      if (asked.has(dependency.name)) continue
      asked.add(dependency.name)
      try {
        const { ms } = await timed((signal) => dependency.probe(signal), o)
        const login = config.auth ? `, takes our login by ${config.auth.mechanism}` : ''
        answering += 1
        yield { level: 'ok', text: `${dependency.name}: answers in ${ms} ms${login}, and knows topic ${topic}` }
      } catch (error) {
        yield problemOf(error, { ...o, what: dependency.name })
      }
    }
    if (round === 0) await timed((signal) => cluster.topic(signal), o).catch(() => o.signal.throwIfAborted())
  }
  if (answering === 0) return
  let facts: ClusterFacts
  try {
    yield* rightsOf(topic, (await timed((signal) => cluster.topic(signal), o)).value.isWritable)
    facts = (await timed((signal) => cluster.describe(signal), o)).value
  } catch (error) {
    yield problemOf(error, o)
    return
  }
  let settings: ReadonlyMap<string, string> = new Map()
  try {
    const names = ['min.insync.replicas', 'max.message.bytes', 'retention.ms', 'cleanup.policy']
    settings = (await timed((signal) => cluster.settings(names, signal), o)).value
  } catch {
    o.signal.throwIfAborted()
    yield {
      level: 'note',
      text: `the cluster does not tell the settings of topic ${topic}, so min.insync.replicas and max.message.bytes were not looked at (DESCRIBE_CONFIGS on the topic, Kafka 2.8 or later)`,
    }
  }
  yield* partitionsOf(topic, facts, settings)
  yield* settingsOf(topic, config, settings)
}

function* rightsOf(topic: string, isWritable: boolean | undefined): Generator<Finding> {
  if (isWritable) yield { level: 'ok', text: `we may write to topic ${topic}` }
  if (isWritable === false)
    yield {
      level: 'problem',
      text: `we may not write to topic ${topic}`,
      advice: 'grant the principal WRITE and DESCRIBE on the topic',
    }
}

function* partitionsOf(
  topic: string,
  { brokers, partitions }: ClusterFacts,
  settings: ReadonlyMap<string, string>,
): Generator<Finding> {
  const replicas = Math.min(...partitions.map(({ replicaNodes }) => replicaNodes.length))
  const least = Number(settings.get('min.insync.replicas') ?? 1)
  const insync = settings.has('min.insync.replicas') ? `, min.insync.replicas ${least}` : ''
  yield {
    level: 'ok',
    text: `topic ${topic}: ${counted(partitions.length, 'partition')} with ${counted(replicas, 'replica')} each${insync}, in a cluster of ${counted(brokers, 'broker')}`,
  }
  const leaderless = partitions.filter(({ leaderId }) => leaderId < 0).length
  if (leaderless > 0)
    yield {
      level: 'problem',
      text: `topic ${topic}: ${counted(leaderless, 'partition')} without a leader`,
      advice: 'start the brokers that have replicas of it',
    }
  const thin = partitions.filter(({ isrNodes }) => isrNodes.length < least).length
  if (thin > 0)
    yield {
      level: 'problem',
      text: `topic ${topic}: ${counted(thin, 'partition')} with fewer replicas in sync than min.insync.replicas (${least}): writes to them wait`,
      advice: 'start the brokers that are missing, or lower min.insync.replicas of the topic',
    }
  if (replicas === 1 && brokers > 1)
    yield {
      level: 'warning',
      text: `topic ${topic} has a single replica: what it holds is lost with the disk of one broker`,
      advice: 'raise the replication factor of the topic to 3, and min.insync.replicas to 2',
    }
  else if (replicas > 1 && least === 1 && settings.has('min.insync.replicas'))
    yield {
      level: 'warning',
      text: `topic ${topic} has min.insync.replicas 1: a record counts as written when only its leader has it`,
      advice: `set min.insync.replicas of the topic to ${Math.max(2, replicas - 1)}`,
    }
}

function* settingsOf(topic: string, config: KafkaConfig, settings: ReadonlyMap<string, string>): Generator<Finding> {
  const largest = Number(settings.get('max.message.bytes') ?? Number.NaN)
  if (largest < config.max_message_bytes && config.compression === 'none')
    yield {
      level: 'warning',
      text: `max_message_bytes (${config.max_message_bytes}) is more than max.message.bytes of topic ${topic} (${largest}): each larger record batch is refused once and sent again in halves`,
      advice: `set max_message_bytes to ${largest}, or max.message.bytes of the topic to ${config.max_message_bytes}`,
    }
  else if (largest > 0) yield { level: 'ok', text: `topic ${topic} takes record batches of up to ${largest} bytes` }
  if (settings.get('cleanup.policy')?.includes('compact') && config.key === 'none')
    yield {
      level: 'problem',
      text: `topic ${topic} is compacted and takes no records without keys`,
      advice: 'set `key`, or cleanup.policy of the topic to delete',
    }
  const keptMs = Number(settings.get('retention.ms') ?? Number.NaN)
  if (keptMs >= 0)
    yield {
      level: 'note',
      text: `topic ${topic} drops records ${Math.round(keptMs / 3_600_000)} h after the time of their objects`,
    }
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOf } from '../../test/conformance/sink.ts'
import { startKafka } from '../../test/servers/kafka.ts'
import { sinkOf } from '../../test/servers/kafka-bed.ts'
import { blockOf } from '../core/block.ts'
import { kafkaConfig } from './kafka.ts'
import type { ClusterFacts } from './kafka-cluster.ts'
import { type AskedCluster, examineKafka } from './kafka-examine.ts'

const live = { signal: new AbortController().signal }

async function told(cluster: AskedCluster, settings: object = {}): Promise<string> {
  const config = kafkaConfig.parse({ type: 'kafka', brokers: ['k:9092'], topic: 'logs', ...settings })
  const lines: string[] = []
  for await (const { level, text, advice } of examineKafka(cluster, config, live))
    lines.push(`${level}: ${text}${advice === undefined ? '' : ` → ${advice}`}`)
  return lines.join('\n')
}

/** A cluster of three brokers that says this. */
function clusterOf(
  settings: Readonly<Record<string, string>>,
  partitions: ClusterFacts['partitions'],
  isWritable: boolean | undefined = true,
): AskedCluster {
  return {
    dependencies: [
      { name: 'kafka k:9092', state: 'unused', sinceMs: 0, error: undefined, probe: () => Promise.resolve() },
    ],
    topic: () => Promise.resolve({ leaders: [{ host: 'k', port: 9092 }], isWritable }),
    describe: () => Promise.resolve({ clusterId: 'c', brokers: 3, partitions }),
    settings: () => Promise.resolve(new Map(Object.entries(settings))),
  }
}

const replicated = { leaderId: 1, replicaNodes: [1, 2, 3], isrNodes: [1, 2, 3] }

test('settings of the topic that cost records are told: size, replicas in sync, single replica, compaction', async () => {
  const well = await told(
    clusterOf({ 'min.insync.replicas': '2', 'max.message.bytes': '1048588', 'cleanup.policy': 'delete' }, [replicated]),
  )
  assert.doesNotMatch(well, /^(warning|problem)/m)
  assert.match(
    well,
    /^ok: topic logs: 1 partition with 3 replicas each, min\.insync\.replicas 2, in a cluster of 3 brokers$/m,
  )
  const bad = await told(
    clusterOf({ 'min.insync.replicas': '2', 'max.message.bytes': '1000', 'cleanup.policy': 'compact' }, [
      replicated,
      { leaderId: -1, replicaNodes: [1, 2, 3], isrNodes: [1] },
    ]),
  )
  assert.match(bad, /^warning: max_message_bytes \(1048576\) is more than max\.message\.bytes of topic logs \(1000\)/m)
  assert.match(bad, /^problem: topic logs: 1 partition without a leader/m)
  assert.match(bad, /^problem: topic logs: 1 partition with fewer replicas in sync than min\.insync\.replicas \(2\)/m)
  assert.match(bad, /^problem: topic logs is compacted .* → set `key`/m)
  const thin = await told(clusterOf({ 'min.insync.replicas': '1' }, [replicated]))
  assert.match(thin, /^warning: topic logs has min\.insync\.replicas 1/m)
  const single = await told(clusterOf({}, [{ leaderId: 1, replicaNodes: [1], isrNodes: [1] }], false))
  assert.match(single, /^warning: topic logs has a single replica/m)
  assert.match(single, /^problem: we may not write to topic logs → grant the principal WRITE/m)
})

test('each broker is a dependency of its own: a dead one is failing while the other is up', async () => {
  const alive = await startKafka({ topics: { logs: 1 } })
  const dead = await startKafka({})
  await dead.close()
  try {
    await using sink = sinkOf(alive, { brokers: [dead.address, alive.address] })
    await sink.write(batchOf(blockOf(['a'])), live)
    const states = Object.fromEntries(sink.dependencies.map(({ name, state }) => [name, state]))
    assert.equal(states[`kafka ${alive.address}`], 'up')
    assert.equal(states[`kafka ${dead.address}`], 'failing')
  } finally {
    await alive.close()
  }
})

test('an unknown topic is a problem that says what to do, and the probe says so too', async () => {
  const server = await startKafka({ topics: { logs: 1 } })
  try {
    await using sink = sinkOf(server, { topic: 'nowhere' })
    const lines: string[] = []
    for await (const { level, text, advice } of sink.examine(live)) lines.push(`${level}: ${text} → ${advice}`)
    assert.match(lines.join('\n'), /problem: .*nowhere.*UNKNOWN_TOPIC_OR_PARTITION.* → .*create the topic/)
    for (const dependency of sink.dependencies) await assert.rejects(dependency.probe(live), /nowhere/)
  } finally {
    await server.close()
  }
})

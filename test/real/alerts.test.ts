import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { ObservedStreamer } from './observed-streamer.ts'
import { type Prometheus, promtool, type RuleState, startPrometheus } from './prometheus.ts'

const file = (name: string) => fileURLToPath(new URL(`../../deploy/prometheus/${name}`, import.meta.url))

test('promtool finds nothing wrong with the alerts and with the example of a configuration', async () => {
  assert.match(await promtool(['check', 'rules'], file('alerts.yaml')), /SUCCESS: \d+ rules found/)
  assert.match(await promtool(['check', 'config'], file('prometheus.yaml')), /is valid prometheus config/)
})

test('each alert does not fire too early, fires, and ends', async () => {
  assert.match(await promtool(['test', 'rules'], file('alerts.test.yaml')), /SUCCESS/)
})

/** Rules once each was evaluated and what is asked for is so; as they are after a minute if it is never so. */
async function rulesWhen(prometheus: Prometheus, isSo: (active: readonly string[]) => boolean) {
  for (const end = Date.now() + 60_000; ; await sleep(100)) {
    const rules = await prometheus.rules()
    const active = activeOnes(rules)
    const isDone = rules.every(({ health }) => health !== 'unknown') && isSo(active)
    if (isDone || Date.now() > end) return { rules, active }
  }
}

function activeOnes(rules: readonly RuleState[]): string[] {
  return rules.filter(({ state }) => state !== 'inactive').map(({ name }) => name)
}

/** What the alerts that have begun say. */
async function textsOf(prometheus: Prometheus, isMeant = (_summary: string) => true): Promise<readonly string[]> {
  const all = (await prometheus.rules()).flatMap(({ alerts }) => alerts)
  return all.flatMap(({ annotations: { summary = '', description = '' } }) =>
    isMeant(summary) ? [`${summary}: ${description}`] : [],
  )
}

test('Prometheus evaluates every alert without an error, and misses a streamer that is not there', async () => {
  await using prometheus = await startPrometheus({ jobs: [], ruleFiles: [file('alerts.yaml')] })
  const { rules, active } = await rulesWhen(prometheus, (names) => names.length > 0)
  assert.ok(rules.length > 20)
  assert.deepEqual(
    rules.filter(({ health }) => health !== 'ok'),
    [],
  )
  assert.deepEqual(active, ['S3StreamerAbsent'])
})

test('each fault of a running streamer begins the alerts that tell of it', async () => {
  await using streamer = await ObservedStreamer.start()
  const jobs = [{ name: 's3-streamer', targets: [streamer.address] }]
  await using prometheus = await startPrometheus({ jobs, ruleFiles: [file('alerts.yaml')] })
  const begins = async (...names: readonly string[]) => {
    const { active } = await rulesWhen(prometheus, (now) => names.every((name) => now.includes(name)))
    assert.deepEqual(
      names.filter((name) => !active.includes(name)),
      [],
      `${active}\n${streamer.command.output.slice(-2000)}`,
    )
  }
  // One input refuses a batch for good, soon after the start.
  await begins('S3StreamerErrorsLogged', 'S3StreamerQuarantineNotEmpty')
  const unrelated = ['S3StreamerDown', 'S3StreamerPipelineDown', 'S3StreamerUnreachable', 'S3StreamerReloadRefused']
  const { active } = await rulesWhen(prometheus, (now) => !unrelated.some((name) => now.includes(name)))
  assert.deepEqual(
    unrelated.filter((name) => active.includes(name)),
    [],
  )
  streamer.breakConfig()
  streamer.command.child.kill('SIGHUP')
  await begins('S3StreamerReloadRefused')
  await streamer.lose('inputs')
  await begins('S3StreamerEndpointDown', 'S3StreamerUnreachable')
  const downs = () => textsOf(prometheus, (summary) => summary.startsWith('endpoint http http://127.'))
  for (const end = Date.now() + 30_000; (await downs()).length < 4; await sleep(100))
    assert.ok(Date.now() < end, `both inputs of both pipelines: ${await downs()}`)
  for (const text of await textsOf(prometheus)) assert.doesNotMatch(text, /<error|<no value>|\{\{/)
  await streamer.lose('bucket')
  const sources = 'endpoint_up{component="source",endpoint="s3",pipeline="web"} == 0'
  await begins('S3StreamerUnreachable')
  for (const end = Date.now() + 30_000; (await prometheus.query(sources)).length === 0; await sleep(100))
    assert.ok(Date.now() < end, 'the bucket is not told to be gone')
  await streamer.command.kill('SIGKILL')
  await begins('S3StreamerDown')
  const off = 'records_read_total - records_delivered_total - records_filtered_total - records_quarantined_total'
  const differences = await prometheus.range(off, 120)
  assert.equal(differences.length, 3)
  for (const { metric, values } of differences) assert.deepEqual([...new Set(values)], [0], metric.pipeline)
})

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { request } from 'undici'
import { type Dashboard, dashboards, queriesOf } from '../deploy/grafana.ts'
import { parsePrometheus } from '../servers/prometheus-parse.ts'
import { ObservedStreamer } from './observed-streamer.ts'
import { type Series, startPrometheus } from './prometheus.ts'
import { metricFaults, startPushgateway } from './pushgateway.ts'

const cleanups = new AsyncDisposableStack()
after(() => cleanups.disposeAsync())
const gateway = cleanups.use(await startPushgateway())
const streamer = cleanups.use(await ObservedStreamer.start())
const alerts = fileURLToPath(new URL('../../deploy/prometheus/alerts.yaml', import.meta.url))
const prometheus = cleanups.use(
  await startPrometheus({
    jobs: [
      { name: 's3-streamer', targets: [streamer.address] },
      { name: 'pushgateway', targets: [new URL(gateway.url).host], honorLabels: true },
    ],
    ruleFiles: [alerts],
  }),
)

const metrics = async () => {
  const { statusCode, body } = await request(`http://${streamer.address}/metrics`)
  assert.equal(statusCode, 200)
  return await body.text()
}

const builtIn = { __rate_interval: '10s', __range: '60s' } as const

type Values = Readonly<Record<string, string>>

/** As Grafana does it, for a scrape each second. */
function filledIn(expr: string, values: Values): string {
  return expr.replaceAll(/\$\{?(\w+)\}?/g, (whole, name: string) => values[name] ?? whole)
}

/** Every value that a variable at the top of the dashboard offers, by its name. */
async function offered({ templating }: Dashboard): Promise<Readonly<Record<string, readonly string[]>>> {
  const found: Record<string, readonly string[]> = {}
  for (const { name, definition = '' } of templating.list) {
    const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(definition) ?? []
    if (label === '') continue
    const values = await prometheus.labelValues(label, filledIn(selector, allOf(found)))
    found[name] = values.toSorted()
  }
  return found
}

/** "All" of every variable: a regular expression in a string of PromQL. */
function allOf(found: Readonly<Record<string, readonly string[]>>): Values {
  const escaped = (value: string) => value.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\\\$&')
  return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, `(${values.map(escaped).join('|')})`]))
}

/** Queries of a dashboard that nothing answers, or nothing but NaN. */
async function emptyOnes(dashboard: Dashboard): Promise<string[]> {
  const empty: string[] = []
  const values = { ...builtIn, ...allOf(await offered(dashboard)) }
  for (const { place, expr, instant } of queriesOf(dashboard)) {
    const query = filledIn(expr, values)
    const found = await (instant ? prometheus.query(query) : prometheus.range(query, 60))
    if (!hasNumbers(found)) empty.push(`${place}: ${expr}`)
  }
  return empty
}

function hasNumbers(found: readonly Series[]): boolean {
  return found.some(({ values }) => values.some((value) => !Number.isNaN(value)))
}

/** Asks again until nothing is left out, or a minute is over. */
async function emptyInTheEnd(dashboard: Dashboard): Promise<string[]> {
  let empty = await emptyOnes(dashboard)
  for (const end = Date.now() + 60_000; empty.length > 0 && Date.now() < end; empty = await emptyOnes(dashboard))
    await sleep(1000)
  return empty
}

test('every query of both dashboards is answered by a real Prometheus that scrapes a running streamer', async () => {
  await streamer.command.until(() => /pipeline vendor/.test(streamer.command.stdout), 'the start of all pipelines')
  const copied = await streamer.copy(gateway.url)
  assert.equal(copied.code, 0, copied.stdout + copied.stderr)
  // The file is the same: all pipelines go on.
  streamer.command.child.kill('SIGHUP')
  const replayed = await streamer.run('replay', '--pipeline', 'web', '--from', '1h', '--yes').ended
  assert.equal(replayed.code, 0, replayed.stdout + replayed.stderr)
  const isReplayed = async () => ((await prometheus.query('sum(replay_objects_total)'))[0]?.values[0] ?? 0) > 0
  for (const end = Date.now() + 60_000; !(await isReplayed()); await sleep(200))
    assert.ok(Date.now() < end, `nothing is read again: ${replayed.stdout}`)
  const empty = (await Promise.all(dashboards.map(emptyInTheEnd))).flat()
  assert.deepEqual(empty, [], streamer.command.output.slice(-2000))
})

test('the variables at the top of the dashboards find job, instances and pipelines', async () => {
  const [streamers = {}, transfers = {}] = await Promise.all(dashboards.map(offered))
  const copies = 'async-concurrent-file-transfer'
  assert.deepEqual(streamers.job, [copies, 's3-streamer'])
  assert.ok(streamers.instance?.includes(streamer.address))
  assert.deepEqual(
    streamers.pipeline?.filter((name) => name !== 'copy'),
    ['queue', 'vendor', 'web'],
  )
  assert.deepEqual(transfers.job, [copies, 's3-streamer'])
  assert.deepEqual(transfers.pipeline, ['copy', 'vendor'])
})

test('counts balance at every scrape, and no alert has an error or tells of a streamer that is down', async () => {
  const off = 'records_read_total - records_delivered_total - records_filtered_total - records_quarantined_total'
  const differences = await prometheus.range(off, 60)
  assert.ok(differences.length >= 3)
  for (const { metric, values } of differences) assert.deepEqual([...new Set(values)], [0], metric.pipeline)
  const read = await prometheus.query('sum(records_read_total{job="s3-streamer"})')
  assert.ok((read[0]?.values[0] ?? 0) > 100)
  const rules = await prometheus.rules()
  assert.deepEqual(
    rules.filter(({ health }) => health !== 'ok'),
    [],
  )
  const wrong = new Set(['S3StreamerDown', 'S3StreamerAbsent', 'S3StreamerPipelineDown', 'S3StreamerCountsOffBalance'])
  assert.deepEqual(
    rules.filter(({ name, state }) => wrong.has(name) && state !== 'inactive'),
    [],
  )
})

test('promtool finds no fault in /metrics, but the names of the former streamer', async () => {
  const text = await metrics()
  const faults = (await metricFaults(text)).split('\n').filter((line) => !/^sftp_s3_\w+_mb /.test(line))
  assert.deepEqual(faults, [''])
  assert.ok(parsePrometheus(text).size > 80)
})

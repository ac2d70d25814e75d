/** Metrics are true end to end: what a process shows is what happened to it, by name, for the seed's names and ours. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { metricCatalogue } from '../../src/telemetry/metric-catalogue.ts'
import { type Fault, startHttpInput } from '../servers/http-input.ts'
import { startS3 } from '../servers/s3.ts'
import { s3Errors } from '../servers/s3-wire.ts'
import { runProgram } from '../servers/testbed.ts'
import { Installation } from './command.ts'
import { PushedFigures, Watch } from './figures.ts'

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

/** What no run of this test can bring about, or must not. */
const fedElsewhere = new Set([
  'http_buffer_drops_total', // never: there is no buffer that drops
  'ledger_save_failures_total', // src/ledger/ledger-saves.test.ts
  'metrics_series_dropped_total', // src/telemetry/meter.test.ts
  'otlp_dropped_total', // src/telemetry/otlp.test.ts
])
const groups = ['Pipeline', 'Process', 'Replays', 'Source: s3_scan', 'Sinks: edgedelta, http, elasticsearch']
const names = metricCatalogue
  .filter(({ title }) => groups.some((group) => title.startsWith(group)))
  .flatMap(({ tables }) => tables.flatMap((table) => Object.keys(table)))
  .filter((name) => !fedElsewhere.has(name))

/** Those of the S3-to-Edge-Delta streamer, but for http_buffer_drops_total. */
const seedNames = [
  ...['files_processed_total', 'bytes_processed_total', 'files_errored_total'].map((name) => `s3_${name}`),
  ...['batches', 'lines', 'bytes'].map((what) => `http_${what}_sent_total`),
  ...['', 'network_', 'timeout_', 'server_'].map((kind) => `http_${kind}errors_total`),
  ...['buffer_utilization_ratio', 'active_connections', 'idle_connections'].map((name) => `http_${name}`),
  ...['s3_processing_latency_seconds', 'http_request_duration_seconds', 'processing_lag_seconds'],
]

test('A8: the 17 names of the seed are fed, with every class of error, and so are those of every pipeline, process, scan, replay and HTTP sink', async () => {
  assert.equal(seedNames.length + 1, 17)
  assert.deepEqual(
    seedNames.filter((name) => !names.includes(name)),
    [],
  )
  process.env.AWS_ACCESS_KEY_ID = 'test'
  process.env.AWS_SECRET_ACCESS_KEY = 'test'
  const s3 = await startS3()
  const input = await startHttpInput()
  const dead = await startHttpInput()
  await dead.close()
  const pushed = await PushedFigures.open()
  const installation = new Installation({
    ...{ endpoint: s3.endpoint, inputs: [input.url], prefix: 'web/' },
    http: '  timeout: 500ms\n  retry: { min: 10ms, max: 30ms }',
    more: `decode: { line_limit: 1KiB }
exclude: noise
filter: level > 1
otlp: { enabled: true, endpoint: "127.0.0.1:${dead.port}", export_interval: 1s, timeout: 500ms }
${pushed.config}`,
  })
  cleanups.push(
    () => s3.close(),
    () => input.close(),
    () => pushed[Symbol.asyncDispose](),
    () => installation.remove(),
  )
  let fault: Fault | undefined
  let refusals = 0
  input.fault = (_, { method }) => {
    if (method !== 'POST') return undefined
    if (typeof fault === 'object' && 'status' in fault && fault.status === 400) refusals += 1
    return fault
  }
  const lastModified = new Date(Date.now() - 60_000)
  const put = (name: string, body: string | Buffer) => s3.put(`web/${name}`, body, { lastModified })
  const streamer = installation.start()
  cleanups.push(() => streamer.kill('SIGKILL'))
  const watch = new Watch(streamer)

  fault = 'hang'
  put('a.log.gz', gzipSync('{"a":1}\n{"noise":2}\n'))
  await watch.until(
    (now) =>
      ['http_active_connections', 'http_buffer_utilization_ratio', 'processing_lag_seconds', 'in_flight_bytes'].every(
        (name) => now.sum(name) > 0,
      ),
    'a request under way',
  )
  await watch.until((now) => now.sum('http_timeout_errors_total') > 0, 'a time-out')
  fault = 'reset'
  await watch.until((now) => now.sum('http_network_errors_total') > 0, 'a network error')
  fault = { status: 503 }
  await watch.until((now) => now.sum('http_server_errors_total') > 0, 'a 5xx')
  fault = { status: 400, body: 'no such field' }
  const refused = await watch.until((now) => now.sum('quarantine_entries') === 1, 'the quarantine')
  assert.deepEqual(refused.balance(), { read: 2, delivered: 0, filtered: 1, quarantined: 1 })
  fault = undefined
  put('b.log.gz', gzipSync('{"b":1}\n{"b":2}\n').subarray(0, 30))
  put('c.xyz', `${'c'.repeat(1500)}\n`)
  s3.faults.onGet = (key) => (key.includes('/d') ? s3Errors.accessDenied : undefined)
  put('d.log.gz', gzipSync('{"d":1}\n'))
  // Its name says that it is still being written: it waits for delay_window.
  const soon = Math.floor(Date.now() / 1000) + 2
  s3.put(`web/${soon}_1_1_1.gz`, '{"e":1}\n', { lastModified: new Date(soon * 1000 + 500) })
  const odd = ['unparsed_keys_total', 'ledger_failed_objects', 'scan_waiting_objects']
  await watch.until((now) => odd.every((name) => now.sum(name) > 0), 'the odd objects')
  const command = (...args: string[]) => runProgram([...args, '--config', installation.config])
  assert.equal((await command('quarantine', 'requeue', '--all')).code, 0)
  s3.faults.onList = () => s3Errors.accessDenied
  streamer.child.kill('SIGHUP')
  const operated = ['records_recovered_total', 'scan_failures_total', 'config_reloads_total', 'otlp_exports_total']
  await watch.until((now) => operated.every((name) => now.sum(name) > 0), 'a requeue, a reload, a scan that fails')
  s3.faults.onList = undefined
  s3.faults.onGet = undefined
  fault = 'hang'
  const replay = await command('replay', '--from', '1h', '--to', '30s', '--yes')
  assert.equal(replay.code, 0, replay.err)
  await watch.until((now) => now.sum('replay_active') === 1 && now.sum('replay_remaining_objects') > 0, 'the replay')
  fault = undefined
  await watch.until((now) => now.sum('replay_objects_total') > 0 && now.sum('replay_active') === 0, 'its end')
  assert.equal((await streamer.kill('SIGTERM')).code, 0)
  await watch.ended()
  assert.deepEqual(
    names.filter((name) => !watch.seen.has(name)),
    [],
    'never fed',
  )
  const { last } = pushed
  const { delivered } = last.balance()
  assert.equal(delivered + last.sum('records_recovered_total'), input.lines.length)
  assert.equal(last.sum('http_lines_sent_total'), input.lines.length)
  const classes = ['network', 'timeout', 'server'].map((kind) => last.sum(`http_${kind}_errors_total`))
  assert.equal(
    last.sum('http_errors_total'),
    classes.reduce((sum, n) => sum + n, refusals),
  )
})

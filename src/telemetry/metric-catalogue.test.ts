import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath, pathToFileURL } from 'node:url'
import type { MetricSpec } from '../core/component.ts'
import { metricCatalogue } from './metric-catalogue.ts'

const source = dirname(dirname(fileURLToPath(import.meta.url)))
const all = metricCatalogue.flatMap(({ tables }) => tables.flatMap((table) => Object.entries(table)))

test('every table of metrics in src is in the catalogue', async () => {
  const catalogued = new Set<unknown>(all.map(([, spec]) => spec))
  const missing: string[] = []
  const found = new Set<unknown>()
  for (const file of globSync('**/*.ts', { cwd: source })) {
    const text = readFileSync(join(source, file), 'utf8')
    if (file.endsWith('.test.ts') || !/satisfies Record<string, MetricSpec>/.test(text)) continue
    const exported = (await import(pathToFileURL(join(source, file)).href)) as Record<string, unknown>
    const tables = text.match(/(?<=^\} as const )satisfies Record<string, MetricSpec>/gm)?.length ?? 0
    const names = [...text.matchAll(/^export const (\w+Metrics) = \{$/gm)].map((match) => match[1] as string)
    assert.equal(names.length, tables, `${file}: tables are exported consts whose names end in Metrics`)
    for (const name of names) {
      const specs = Object.values(exported[name] as Record<string, MetricSpec>)
      if (!specs.every((spec) => catalogued.has(spec))) missing.push(`${file}: ${name}`)
      for (const spec of specs) found.add(spec)
    }
  }
  assert.deepEqual(missing, [], 'tables to be added to metric-catalogue.ts')
  assert.equal(catalogued.size, found.size)
})

test('a name has one spec', () => {
  const names = all.map(([name]) => name)
  assert.deepEqual(
    names.filter((name, i) => names.indexOf(name) !== i),
    [],
  )
})

test('names, units and labels are as Prometheus wants them', () => {
  // Of the seed: dashboards ask for them by these names.
  const olderNames = /^sftp_s3_|^nodejs_|^transfer_throughput_bytes_per_second$/
  for (const [name, { kind, unit, help, labels = [] }] of all) {
    assert.match(name, /^[a-z][a-z0-9_]*[a-z0-9]$/)
    assert.equal(name.endsWith('_total'), kind === 'counter', `${name}: counters, and only they, end in _total`)
    assert.doesNotMatch(name, /_(count|sum|bucket|info_total)$/, name)
    assert.doesNotMatch(name, /milliseconds|_ms(_|$)|_minutes|_kb|_percent/, `${name}: base units`)
    if (kind === 'histogram') assert.match(name, /_seconds$/, `${name}: buckets are of seconds`)
    if (unit === 's') assert.match(name, /_seconds(_total)?$/, `${name}: the unit is in the name`)
    if (unit === 'By' && !olderNames.test(name)) assert.match(name, /bytes/, `${name}: the unit is in the name`)
    assert.match(help, /^[A-Z1].*\.$/, `${name}: help is a sentence`)
    for (const label of labels) assert.match(label, /^[a-z][a-z_]*$/, `${name}: ${label}`)
    assert.ok(!labels.includes('pipeline') && !labels.includes('le'), `${name}: labels that the program gives`)
  }
})

test('A8: all 17 names of the S3-to-Edge-Delta streamer are there, with its kinds, units and labels', () => {
  const seed = [
    's3_files_processed_total counter {file}',
    's3_bytes_processed_total counter By',
    's3_files_errored_total counter {error}',
    's3_processing_latency_seconds histogram s',
    'http_batches_sent_total counter {batch}',
    'http_lines_sent_total counter {line}',
    'http_bytes_sent_total counter By',
    'http_errors_total counter {error}',
    'http_network_errors_total counter {error}',
    'http_timeout_errors_total counter {error}',
    'http_server_errors_total counter {error}',
    'http_buffer_drops_total counter {line}',
    'http_buffer_utilization_ratio gauge 1 component',
    'http_active_connections gauge {connection} component',
    'http_idle_connections gauge {connection} component',
    'http_request_duration_seconds histogram s component',
    'processing_lag_seconds gauge s component',
  ]
  const ours = all.map(([name, { kind, unit, labels = [] }]) => [name, kind, unit, ...labels].join(' '))
  assert.deepEqual(
    seed.filter((line) => !ours.includes(line)),
    [],
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { pipelineSnapshot } from '../../test/fakes/operations.ts'
import { entriesOf, healthReport } from './report.ts'

const atMs = Date.UTC(2026, 10, 21, 9, 5, 7, 123)
const entry = (pipeline: string, name: string, error?: string) => ({ pipeline, name, error })

test('the report has the shape that monitoring of the seed reads', () => {
  assert.deepEqual(healthReport([entry('web', 's3'), entry('web', 'http http://a/')], atMs), {
    status: 'healthy',
    checks: { s3: 'OK', 'http http://a/': 'OK' },
    timestamp: '2026-11-21T09:05:07Z',
  })
  assert.deepEqual(healthReport([entry('web', 's3', 'cannot reach it')], atMs), {
    status: 'unhealthy',
    checks: { s3: 'ERROR: cannot reach it' },
    message: 'One or more health checks failed',
    timestamp: '2026-11-21T09:05:07Z',
  })
})

test('with several pipelines each entry says whose it is', () => {
  const { checks } = healthReport([entry('web', 's3'), entry('dns', 's3', 'gone')], atMs)
  assert.deepEqual(checks, { 'web/s3': 'OK', 'dns/s3': 'ERROR: gone' })
})

test('A9: an entry never takes the place of another one', () => {
  const { checks, status } = healthReport([entry('web', 'http', 'gone'), entry('web', 'http')], atMs)
  assert.deepEqual(checks, { http: 'ERROR: gone', 'http 2': 'OK' })
  assert.equal(status, 'unhealthy')
})

test('a streamer that is not ready says why, even if everything is well', () => {
  const { status, message, checks } = healthReport([entry('web', 's3')], atMs, 'The streamer is starting')
  assert.deepEqual([status, message, checks], ['unhealthy', 'The streamer is starting', { s3: 'OK' }])
})

test('pipelines and their states have entries of their own', () => {
  const full = { bytes: 1, savedMs: 1, error: 'disk full', failed: 0, quarantine: 0 }
  const pipelines = [
    pipelineSnapshot('web', { ledger: full }),
    pipelineSnapshot('dns', { state: 'failed', error: 'bad key' }),
    pipelineSnapshot('cdn', { state: 'stopped' }),
  ]
  assert.deepEqual(healthReport(entriesOf({ pipelines }), atMs).checks, {
    'web/pipeline': 'OK',
    'web/state': 'ERROR: disk full',
    'dns/pipeline': 'ERROR: bad key',
    'dns/state': 'OK',
    'cdn/pipeline': 'OK',
    'cdn/state': 'OK',
  })
})

test('logins in URLs do not go out, and long messages are cut', () => {
  const { checks } = healthReport(
    [entry('web', 'a', 'GET https://me:secret@host/x failed'), entry('web', 'b', 'x'.repeat(9999))],
    atMs,
  )
  assert.equal(checks.a, 'ERROR: GET https://host/x failed')
  assert.equal(checks.b?.length, 507)
})

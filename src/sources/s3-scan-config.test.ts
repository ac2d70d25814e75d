import assert from 'node:assert/strict'
import { test } from 'node:test'
import { s3ScanSource } from './s3-scan.ts'
import { type S3ScanConfig, s3ScanConfig, startAtMs } from './s3-scan-config.ts'

const parse = (more: object = {}): S3ScanConfig => s3ScanConfig.parse({ type: 's3_scan', bucket: 'b', ...more })

function issueOf(more: object): string {
  const result = s3ScanConfig.safeParse({ type: 's3_scan', bucket: 'b', ...more })
  assert.equal(result.success, false, JSON.stringify(more))
  return result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ')
}

test('the bucket alone is enough, and defaults are those of the reference', () => {
  assert.deepEqual(parse(), {
    type: 's3_scan',
    bucket: 'b',
    prefix: '',
    partition: 'auto',
    start_at: 'beginning',
    lookback: 3_600_000,
    scan_interval: 15_000,
    delay_window: 60_000,
    workers: 15,
    queue: 1000,
  })
})

test('bucket and prefix are taken as people write them', () => {
  assert.equal(parse({ bucket: 's3://logs/' }).bucket, 'logs')
  assert.equal(parse({ prefix: '/a/b/' }).prefix, 'a/b/')
  assert.equal(parse({ prefix: 'a b=ü+/' }).prefix, 'a b=ü+/')
})

test('A16.8: start_at is the beginning, now, or a time', () => {
  const now = 1_760_000_000_000
  assert.equal(startAtMs('beginning', now), 0)
  assert.equal(startAtMs('now', now), now)
  assert.equal(startAtMs('2025-10-12T21:00:00Z', now), Date.UTC(2025, 9, 12, 21))
  assert.equal(startAtMs('2025-10-12T21:00:00+02:00', now), Date.UTC(2025, 9, 12, 19))
  assert.equal(startAtMs('2025-10-12', now), Date.UTC(2025, 9, 12))
  assert.equal(startAtMs('1760305292', now), 1_760_305_292_000)
  assert.equal(parse({ start_at: 1_760_305_292 }).start_at, '1760305292')
  for (const text of ['', 'yesterday', '12 Oct 2025', '2025-13-01', '-5', '1760305292000', '1h']) {
    assert.equal(startAtMs(text, now), undefined, text)
  }
})

test('a time without a zone is UTC, wherever this machine stands', (t) => {
  const { TZ } = process.env
  t.after(() => {
    if (TZ === undefined) delete process.env.TZ
    else process.env.TZ = TZ
  })
  process.env.TZ = 'America/New_York'
  assert.equal(startAtMs('2025-10-12T21:00:00', 0), Date.UTC(2025, 9, 12, 21))
  assert.equal(startAtMs('2025-10-12 21:00:00', 0), Date.UTC(2025, 9, 12, 21))
})

test('what cannot work is refused, with what may be written', () => {
  assert.match(issueOf({ start_at: 'yesterday' }), /start_at: "yesterday" is no start: write beginning, now, or a time/)
  assert.match(issueOf({ partition: '{yyyy}/{mm}' }), /partition: .*unknown \{mm\}/)
  assert.match(issueOf({ bucket: '' }), /bucket/)
  assert.match(issueOf({ bucket: 's3://' }), /bucket/)
  assert.match(issueOf({ endpoint: 'localhost:9000' }), /endpoint: must be an http:\/\/ or https:\/\/ URL/)
  assert.match(issueOf({ workers: 0 }), /workers/)
  assert.match(issueOf({ queue: 0 }), /queue/)
  assert.match(issueOf({ scan_interval: '0s' }), /scan_interval/)
  assert.match(issueOf({ lookback: '1 hour' }), /lookback: "1 hour" is not a duration/)
  assert.match(issueOf({ looback: '1h' }), /looback/)
})

test('the examples of the reference page are valid', () => {
  assert.ok(s3ScanSource.examples.length > 0)
  for (const { config } of s3ScanSource.examples) assert.equal(s3ScanConfig.parse(config).type, 's3_scan')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import { createS3Client } from '../aws/connection.ts'
import type { Finding } from '../core/component.ts'
import { s3Dependency } from './s3-dependency.ts'
import { examineScan } from './s3-examine.ts'
import { S3Listing } from './s3-listing.ts'
import { s3ScanConfig } from './s3-scan-config.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const hourMs = 3_600_000
const timeFromKey = (key: string) => {
  const seconds = /(\d{10})_/.exec(key)?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1000
}

async function withBucket(act: (server: S3Server, examine: (more?: object) => Promise<Finding[]>) => Promise<void>) {
  const server = await startS3()
  const examine = async (more: object = {}) => {
    const base = { type: 's3_scan', bucket: 'b', prefix: 'web/', region: 'us-east-1', endpoint: server.endpoint }
    const config = s3ScanConfig.parse({ ...base, ...more })
    const client = createS3Client(config, 4, { maxAttempts: 1 })
    const { watch } = s3Dependency(client, { ...config, nowMs: Date.now })
    const listing = new S3Listing(client, { ...config, partition: 'auto', timeFromKey, queue: 10 })
    const findings: Finding[] = []
    const at = { client, watch, listing, config, timeFromKey, nowMs: Date.now() }
    for await (const finding of examineScan(at, { signal: new AbortController().signal })) findings.push(finding)
    client.destroy()
    return findings
  }
  try {
    await act(server, examine)
  } finally {
    await server.close()
  }
}

const name = (atMs: number, i = 0) => `web/${Math.floor(atMs / 1000)}_${i}.log`
const told = (findings: readonly Finding[], pattern: RegExp) => findings.find(({ text }) => pattern.test(text))
const troubles = (findings: readonly Finding[]) =>
  findings.filter(({ level }) => level !== 'ok').map(({ level, text }) => `${level}: ${text}`)

test('a bucket that is right has nothing but good findings, among them where the credentials are from', () =>
  withBucket(async (server, examine) => {
    for (let i = 0; i < 70; i += 1) server.put(name(Date.now() - 60_000, i), 'x')
    const findings = await examine()
    assert.deepEqual(troubles(findings), [])
    assert.ok(told(findings, /^credentials from environment variables/))
    assert.ok(told(findings, /^the bucket is in us-east-1/))
    assert.ok(told(findings, /^the clock of S3 at 127\.0\.0\.1:\d+ and that of this machine agree/))
    assert.equal(findings.find(({ keys }) => keys)?.keys?.length, 50)
    assert.ok(told(findings, /^objects can be read/))
    assert.ok(!JSON.stringify(findings).includes('"test"'))
  }))

test('nothing is written, and no object is read but one byte of one', () =>
  withBucket(async (server, examine) => {
    server.put(name(Date.now()), 'a long body')
    await examine()
    assert.ok(server.requests.every(({ method }) => method === 'GET' || method === 'HEAD'))
    const reads = server.requests.filter(({ method, key }) => method === 'GET' && key !== '')
    assert.deepEqual(
      reads.map(({ range }) => range),
      ['bytes=0-0'],
    )
  }))

test('another region than the configured one is told with the right one', () =>
  withBucket(async (server, examine) => {
    server.put(name(Date.now()), 'x')
    const finding = told(
      await examine({ region: 'eu-west-1' }),
      /is in us-east-1, and the configuration says eu-west-1/,
    )
    assert.deepEqual([finding?.level, finding?.advice], ['note', 'set region: us-east-1, if requests are refused'])
  }))

test('a prefix without objects, and one where nothing came lately, are told', () =>
  withBucket(async (server, examine) => {
    assert.match(troubles(await examine())[0] ?? '', /^warning: there is no object below s3:\/\/b\/web\//)
    server.put(name(Date.now() - 90 * 24 * hourMs), 'x', { lastModified: new Date(Date.now() - 90 * 24 * hourMs) })
    assert.match(troubles(await examine())[0] ?? '', /^note: no object came .* in the last two days/)
  }))

test('a refusal ends in a problem with what to allow', () =>
  withBucket(async (server, examine) => {
    server.put(name(Date.now()), 'x')
    server.faults.onList = () => s3Errors.accessDenied
    const problem = (await examine()).find(({ level }) => level === 'problem')
    assert.match(problem?.text ?? '', /^cannot list s3:\/\/b\/web\/: 403 AccessDenied/)
    assert.match(problem?.advice ?? '', /s3:ListBucket/)
    server.faults.onList = undefined
    server.faults.onGet = () => ({ status: 403, code: 'AccessDenied', message: 'no kms:Decrypt on the ciphertext' })
    const unreadable = (await examine()).find(({ level }) => level === 'problem')
    assert.match(unreadable?.text ?? '', /^cannot read s3:\/\/b\/web\//)
    assert.match(unreadable?.advice ?? '', /kms:Decrypt/)
  }))

test('archived objects are told before they end in quarantine', () =>
  withBucket(async (server, examine) => {
    server.put(name(Date.now(), 1), 'x', { storageClass: 'GLACIER' })
    server.put(name(Date.now(), 2), 'x')
    assert.match(troubles(await examine())[0] ?? '', /^warning: 1 of the first 2 objects are archived: web\//)
  }))

test('objects that come later than lookback, or before their time, are told', () =>
  withBucket(async (server, examine) => {
    server.put(name(Date.now() - 3 * hourMs), 'x')
    assert.match(
      troubles(await examine({ lookback: '1h' }))[0] ?? '',
      /^note: objects come 3 h to 3 h after .* lookback is 60 min/,
    )
    server.put(name(Date.now() - 40 * hourMs), 'x')
    const late = (await examine({ lookback: '1h' })).find(({ level }) => level === 'warning')
    assert.match(late?.advice ?? '', /^set lookback to more than 16 h/)
    server.put(name(Date.now() + 5 * hourMs), 'x')
    assert.ok(told(await examine({ lookback: '2d' }), /names tell times up to 5 h after their objects came/))
  }))

test('a clock that is wrong is told: S3 refuses what it signs', () =>
  withBucket(async (server, examine) => {
    server.put(name(Date.now()), 'x')
    const off = new Date(Date.now() + 7 * 60_000).toUTCString()
    server.faults.onList = () => ({ ...s3Errors.accessDenied, headers: { date: off } })
    const config = { type: 's3_scan', bucket: 'b', endpoint: server.endpoint }
    const client = createS3Client(s3ScanConfig.parse(config), 2, { maxAttempts: 1 })
    const { state, watch } = s3Dependency(client, { bucket: 'b', prefix: '', nowMs: Date.now })
    await assert.rejects(state.probe({ signal: new AbortController().signal }))
    assert.ok(Math.abs((watch.clock?.serverMs ?? 0) - (watch.clock?.oursMs ?? 0) - 7 * 60_000) < 30_000)
    client.destroy()
    server.faults.onList = undefined
    assert.deepEqual(troubles(await examine()), [])
  }))

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { finish } from '../../test/conformance/source-harness.ts'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import type { Source } from '../core/component.ts'
import { openLedger, type SqliteLedger } from '../ledger/sqlite.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import type { S3Object } from './s3-object.ts'
import { s3ScanSource } from './s3-scan.ts'
import { s3ScanConfig } from './s3-scan-config.ts'
import { scanMetrics } from './s3-scan-figures.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

interface Bed {
  readonly server: S3Server
  readonly meter: MemoryMeter
  readonly source: Source<S3Object>
  readonly ledger: SqliteLedger
}

const nowMs = Date.UTC(2026, 9, 12, 12)
const never = new AbortController().signal

async function withBucket(more: object, act: (bed: Bed) => Promise<void>) {
  const server = await startS3()
  const folder = mkdtempSync(join(tmpdir(), 's3-scan-figures-'))
  const meter = new MemoryMeter()
  const context = { ...testContext([]), meter, nowMs: () => nowMs }
  await using ledger = openLedger({
    ...{ statePath: join(folder, 'state.json'), mode: 'exclusive', log: context.log, nowMs: context.nowMs },
    ...{ startMs: 0, retentionMs: 0, lookbackMs: 3_600_000 },
  })
  const config = { type: 's3_scan', bucket: 'b', endpoint: server.endpoint, ...more }
  await using source = s3ScanSource.create(s3ScanConfig.parse(config), {
    ...{ ...context, ledger, dryRun: false },
    timeFromKey: (key) => (key.startsWith('young') ? nowMs - 1000 : undefined),
  })
  await act({ server, meter, source, ledger })
  await server.close()
  rmSync(folder, { recursive: true })
}

// facts/seeds.md A8: metrics that were declared and never fed.
test('every metric of a scan is fed: by what was listed, given, left for later, and by a list that failed', () =>
  withBucket({ delay_window: '60s' }, async ({ server, meter, source, ledger }) => {
    const scan = async () => {
      for await (const object of source.objects({ soft: never, hard: never, once: true }))
        finish({ source, ledger }, object)
    }
    const metric = (name: keyof typeof scanMetrics) => meter.snapshot().find((series) => series.name === name)
    for (const key of ['a', 'b']) server.put(key, 'x', { lastModified: new Date(nowMs - 3_600_000) })
    server.put('young', 'x', { lastModified: new Date(nowMs) })
    assert.equal(metric('scan_last_success_timestamp_seconds')?.value, 0)
    await scan()
    await scan()
    server.faults.onList = () => s3Errors.accessDenied
    await assert.rejects(scan())
    assert.equal(metric('scan_listed_keys_total')?.value, 6)
    assert.equal(metric('scan_given_objects_total')?.value, 2)
    assert.equal(metric('scan_waiting_objects')?.value, 1)
    assert.equal(metric('scan_duration_seconds')?.count, 2)
    assert.equal(metric('scan_last_success_timestamp_seconds')?.value, nowMs / 1000)
    assert.equal(metric('scan_failures_total')?.value, 1)
    assert.equal(Object.keys(scanMetrics).length, 6)
  }))

test('an object that is listed and waits counts for the lag, one that is known does not', () =>
  withBucket({}, async ({ server, source, ledger }) => {
    const olderMs = nowMs - 7_200_000
    for (let i = 0; i < 1000; i += 1) server.put(`a${i}`, 'x', { lastModified: new Date(nowMs - 3_600_000) })
    // On the second page.
    server.put('z', 'x', { lastModified: new Date(olderMs) })
    const first = source.objects({ soft: never, hard: never, once: true })[Symbol.asyncIterator]()
    await first.next()
    while (source.oldestWaitingMs !== olderMs) await new Promise((resolve) => setTimeout(resolve, 2))
    for (let next = await first.next(); !next.done; next = await first.next()) {
      if (next.value.key === 'z') finish({ source, ledger }, next.value)
    }
    assert.equal(source.oldestWaitingMs, undefined)
    server.put('b', 'x', { lastModified: new Date(nowMs - 60_000) })
    const second = source.objects({ soft: never, hard: never, once: true })[Symbol.asyncIterator]()
    await second.next()
    await new Promise((resolve) => setImmediate(resolve))
    assert.notEqual(source.oldestWaitingMs, olderMs)
    await second.return?.()
  }))

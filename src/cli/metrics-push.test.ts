import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bodyOf, FileTree, MemoryBucket, MemoryObjects } from '../../test/fakes/copy.ts'
import { ledgerIn, newFolder, silent } from '../../test/fakes/pipeline.ts'
import { startPushgateway } from '../../test/servers/pushgateway.ts'
import { Copier } from '../core/copier.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { pushgatewayConfig } from '../telemetry/pushgateway-config.ts'
import { MetricsPush } from './metrics-push.ts'
import { Sampler } from './sampler.ts'

const never = new AbortController().signal

test('C3: the figures of a copy and of the process arrive while it runs, and at its end', async () => {
  await using gateway = await startPushgateway()
  await using ledger = ledgerIn(newFolder())
  const meter = new MemoryMeter()
  const source = new FileTree(ledger, { a: bodyOf(1000) })
  const sink = new MemoryObjects(new MemoryBucket())
  const copier = new Copier({ source, sink, ledger, log: silent, meter, nowMs: Date.now, saveIntervalMs: 1000 })
  const config = pushgatewayConfig.parse({ endpoint: gateway.url, interval: '100ms' })
  using sampler = new Sampler(meter)
  sampler.add({ flow: copier })
  await using push = new MetricsPush(config, { meter, sample: () => sampler.sample(), log: silent })
  await gateway.until(() => gateway.value('transfer_parts_total') === 0)
  await copier.run({ once: true, soft: never, hard: never })
  await gateway.until(() => gateway.value('transfer_parts_total') === 10)
  assert.equal(gateway.value('s3_streamer_success'), undefined)
  copier.metrics.end()
  await push.end({ success: true, signal: never })
  assert.equal(gateway.value('s3_streamer_success'), 1)
  assert.equal(gateway.value('sftp_s3_chunks_processed_total'), 10)
  assert.ok((gateway.value('process_resident_memory_bytes') ?? 0) > 1e7)
  assert.ok((gateway.value('sftp_s3_throughput_mbps') ?? 0) > 0)
})

test('without a gateway there is nothing to wait for', async () => {
  await using push = new MetricsPush(undefined, { meter: new MemoryMeter(), sample: () => undefined, log: silent })
  await push.end({ success: true, signal: never })
  assert.ok(push)
})

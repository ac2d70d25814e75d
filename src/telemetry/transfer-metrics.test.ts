import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryMeter } from './meter.ts'
import { TransferMetrics } from './transfer-metrics.ts'

const mib = 2 ** 20
const facts = { rssBytes: 96 * mib, writeBytes: mib / 2 }

function started() {
  const meter = new MemoryMeter()
  const clock = { ms: 1e9 }
  const transfer = new TransferMetrics(meter, () => clock.ms)
  const values = () =>
    Object.fromEntries(
      meter.snapshot().map(({ name, labels, value }) => [[name, ...Object.values(labels)].join(' '), value]),
    )
  return { meter, clock, transfer, values }
}

test('C3: the metrics of the seed have their names and its units, and say the same as ours', () => {
  const { clock, transfer, values } = started()
  transfer.partSent(64 * mib)
  transfer.partSent(64 * mib)
  clock.ms += 4000
  transfer.sample(facts)
  const now = values()
  assert.deepEqual(Object.fromEntries(Object.entries(now).filter(([name]) => name.startsWith('sftp_s3_'))), {
    sftp_s3_memory_usage_mb: 96,
    sftp_s3_bytes_transferred_total: 128 * mib,
    sftp_s3_chunks_processed_total: 2,
    sftp_s3_throughput_mbps: 32,
    sftp_s3_process_write_bytes_mb: 0.5,
  })
  assert.equal(now.transfer_bytes_total, 128 * mib)
  assert.equal(now.transfer_parts_total, 2)
  assert.equal(now.transfer_throughput_bytes_per_second, 32 * mib)
  assert.equal(now.transfer_duration_seconds, 4)
})

test('C3: a last part that is smaller than the others counts as what it is', () => {
  const { clock, transfer, values } = started()
  transfer.partSent(64 * mib)
  transfer.partSent(1)
  clock.ms += 1000
  transfer.sample(facts)
  assert.equal(values().transfer_throughput_bytes_per_second, 64 * mib + 1)
})

test('before anything has happened every series is there, with 0', () => {
  const { transfer, values } = started()
  transfer.sample({ rssBytes: 0, writeBytes: 0 })
  assert.deepEqual([...new Set(Object.values(values()))], [0])
  const names = Object.keys(values())
  for (const outcome of ['done', 'skipped', 'quarantined', 'vanished', 'replaced', 'failed', 'stopped'])
    assert.ok(names.includes(`transfer_files_total ${outcome}`), outcome)
  for (const type of ['read', 'open', 'send', 'complete'])
    assert.ok(names.includes(`transfer_retries_total ${type}`), type)
})

test('files, retries, parts in flight and what was there already are counted each for itself', () => {
  const { transfer, values } = started()
  transfer.fileFinished('done')
  transfer.fileFinished('done')
  transfer.fileFinished('failed')
  transfer.retried('send')
  transfer.inFlight(16)
  transfer.inFlight(3)
  transfer.resumed(5 * mib)
  const now = values()
  assert.equal(now['transfer_files_total done'], 2)
  assert.equal(now['transfer_files_total failed'], 1)
  assert.equal(now['transfer_retries_total send'], 1)
  assert.equal(now['transfer_retries_total read'], 0)
  assert.equal(now.transfer_parts_in_flight, 3)
  assert.equal(now.transfer_resumed_bytes_total, 5 * mib)
  assert.equal(now.transfer_bytes_total, 0)
})

test('after the end duration and throughput stay', () => {
  const { clock, transfer, values } = started()
  transfer.partSent(1000)
  clock.ms += 2000
  transfer.end()
  clock.ms += 60_000
  transfer.end()
  transfer.sample(facts)
  assert.equal(values().transfer_duration_seconds, 2)
  assert.equal(values().transfer_throughput_bytes_per_second, 500)
})

test('where the system does not tell what was written there is no series of it', () => {
  const { transfer, values } = started()
  transfer.sample({ rssBytes: 1, writeBytes: undefined })
  assert.ok(!('sftp_s3_process_write_bytes_mb' in values()))
})

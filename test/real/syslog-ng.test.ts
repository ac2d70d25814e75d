import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import {
  arrivesAsDatagrams,
  arrivesWhole,
  Deliveries,
  losesOnlyWhatLayInBuffers,
  noticesStopBetween,
  survivesKillOfStreamer,
  type Target,
  until,
} from './deliveries.ts'
import type { Arrived } from './log-lines.ts'
import { certificates } from './receiver.ts'
import { type SyslogNgLine, startSyslogNg } from './syslog-ng.ts'

const [bed, receiver] = await Promise.all([Deliveries.start(), startSyslogNg()])
after(async () => {
  await Promise.all([bed[Symbol.asyncDispose](), receiver[Symbol.asyncDispose]()])
})

function read(line: string): Arrived {
  const { sd, msg } = JSON.parse(line) as SyslogNgLine
  const { key, record } = sd?.['origin@32473'] ?? {}
  if (key === undefined || record === undefined) throw new Error('no origin')
  return { key, record: Number(record), text: msg }
}

const { tcp, tls, udp } = receiver.ports
const retry = 'retry: { min: 50ms, max: 500ms }'
const ca = `tls: { ca_file: "${join(certificates, 'ca.pem')}" }`
const to = (endpoint: string, more: string): Target => ({
  receiver,
  read,
  sink: `{ type: syslog, endpoints: ["${endpoint}"], ${more}, ${retry} }`,
})
const overTcp = to(`tcp://127.0.0.1:${tcp}`, 'hostname: streamer')
const overTls = to(`tls://localhost:${tls}`, ca)
const overUdp = to(`udp://127.0.0.1:${udp}`, 'max_message_bytes: 8KiB, batch: { linger: 20ms }')

test('syslog-ng gets 100,000 records over TCP, each whole and once', (t) => arrivesWhole(t, bed, overTcp))
test('syslog-ng gets 100,000 records over TLS, each whole and once', (t) => arrivesWhole(t, bed, overTls))
test('syslog-ng gets 2,000 records over UDP, each whole and once', (t) => arrivesAsDatagrams(t, bed, overUdp))
test('kill -9 of the streamer in the middle loses nothing at syslog-ng', (t) => survivesKillOfStreamer(t, bed, overTls))
test('syslog-ng hangs and is killed: lost is only what lay in socket buffers', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTcp, port: tcp }))
test('syslog-ng hangs and is stopped: lost is only what lay in socket buffers', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTls, port: tls }, 'stop'))
test('syslog-ng stops and starts while nothing is sent: nothing is lost over TCP', (t) =>
  noticesStopBetween(t, bed, overTcp))
test('syslog-ng stops and starts while nothing is sent: nothing is lost over TLS', (t) =>
  noticesStopBetween(t, bed, overTls))
test('syslog-ng stops and starts while nothing is sent: nothing is lost over UDP', (t) =>
  noticesStopBetween(t, bed, overUdp))

test('syslog-ng reads severity, time, names and structured data as they were meant', async () => {
  await receiver.clear()
  const { sink } = to(
    `tcp://127.0.0.1:${tcp}`,
    'facility: local3, severity: notice, severity_field: log.level, hostname: web-1, app_name: shop, structured_data_id: "from@4711.1", bom: true',
  )
  const { put, once, bucket } = await bed.pipeline(sink)
  const key = 'odd "key"] with \\ + % ü=/ü.log'
  const records = [
    'plain text',
    '{"time":"2026-11-20T23:59:59.5+02:00","log":{"level":"ERROR"},"text":"zwölf"}',
    '{"@timestamp":1700000000123,"log":{"level":7}}',
  ]
  await put(key, records.join('\n'))
  await once()
  await until(async () => (await receiver.lines()).length === records.length, 'three messages')
  const messages = (await receiver.lines()).map((line) => JSON.parse(line) as SyslogNgLine)
  assert.deepEqual(
    messages.map(({ msg }) => msg),
    records,
  )
  assert.deepEqual(
    messages.map(({ pri }) => Number(pri) - 19 * 8),
    [5, 3, 7],
  )
  assert.deepEqual(
    messages.slice(1).map(({ time }) => new Date(time).toISOString()),
    ['2026-11-20T21:59:59.500Z', '2023-11-14T22:13:20.123Z'],
  )
  for (const [index, { host, app, sd = {} }] of messages.entries()) {
    const { version, ...origin } = sd['from@4711.1'] ?? {}
    assert.deepEqual({ host, app, ...origin }, { host: 'web-1', app: 'shop', bucket, key, record: String(index) })
    assert.match(version ?? '', /^[0-9a-f]{32}/)
  }
})

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
} from './deliveries.ts'
import type { Arrived } from './log-lines.ts'
import { certificates } from './receiver.ts'
import { type RsyslogLine, startRsyslog } from './rsyslog.ts'

const [bed, receiver] = await Promise.all([Deliveries.start(), startRsyslog()])
after(async () => {
  await Promise.all([bed[Symbol.asyncDispose](), receiver[Symbol.asyncDispose]()])
})

function read(line: string): Arrived {
  const { sd, msg } = JSON.parse(line) as RsyslogLine
  const match = /^\[origin@32473 bucket="[^"]*" key="((?:[^"\\\]]|\\.)*)" version="[^"]*" record="(\d+)"\]$/.exec(sd)
  if (!match) throw new Error('no origin')
  return { key: (match[1] as string).replaceAll(/\\(.)/g, '$1'), record: Number(match[2]), text: msg }
}

const { tcp, tls, udp } = receiver.ports
const ca = `tls: { ca_file: "${join(certificates, 'ca.pem')}" }`
const retry = 'retry: { min: 50ms, max: 500ms }'
const overTcp: Target = { receiver, read, sink: `{ type: syslog, endpoints: ["tcp://127.0.0.1:${tcp}"], ${retry} }` }
const overTls: Target = {
  receiver,
  read,
  sink: `{ type: syslog, endpoints: ["tls://localhost:${tls}"], ${ca}, ${retry} }`,
}
const overUdp: Target = {
  receiver,
  read,
  sink: `{ type: syslog, endpoints: ["udp://127.0.0.1:${udp}"], max_message_bytes: 8KiB, ${retry} }`,
}

test('rsyslog gets 100,000 records over TCP, each whole and once', (t) => arrivesWhole(t, bed, overTcp))
test('rsyslog gets 100,000 records over TLS, each whole and once', (t) => arrivesWhole(t, bed, overTls))
test('rsyslog gets 2,000 records over UDP, each whole and once', (t) => arrivesAsDatagrams(t, bed, overUdp))
test('kill -9 of the streamer in the middle loses nothing at rsyslog', (t) => survivesKillOfStreamer(t, bed, overTcp))
test('rsyslog hangs and is killed: lost is only what lay in socket buffers, over TCP', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTcp, port: tcp }))
test('rsyslog hangs and is killed: lost is only what lay in socket buffers, over TLS', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTls, port: tls }))
test('rsyslog stops and starts while nothing is sent: nothing is lost over TCP', (t) =>
  noticesStopBetween(t, bed, overTcp))
test('rsyslog stops and starts while nothing is sent: nothing is lost over TLS', (t) =>
  noticesStopBetween(t, bed, overTls))
test('rsyslog stops and starts while nothing is sent: nothing is lost over UDP', (t) =>
  noticesStopBetween(t, bed, overUdp))

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

test('rsyslog gets 100,000 records over TCP, each whole and once', (t) => arrivesWhole(t, bed, overTcp))
test('rsyslog gets 100,000 records over TLS, each whole and once', (t) => arrivesWhole(t, bed, overTls))
test('rsyslog gets 2,000 records over UDP, each whole and once', (t) => arrivesAsDatagrams(t, bed, overUdp))
test('kill -9 of the streamer in the middle loses nothing at rsyslog over UDP', (t) =>
  arrivesAsDatagrams(t, bed, overUdp, true))
test('kill -9 of the streamer in the middle loses nothing at rsyslog over TCP', (t) =>
  survivesKillOfStreamer(t, bed, overTcp))
test('rsyslog hangs and is killed: lost is only what lay in socket buffers, over TCP', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTcp, port: tcp }))
test('rsyslog hangs and is stopped: lost is only what lay in socket buffers, over TLS', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTls, port: tls }, 'stop'))
test('rsyslog stops and starts while nothing is sent: nothing is lost over TCP', (t) =>
  noticesStopBetween(t, bed, overTcp))
test('rsyslog stops and starts while nothing is sent: nothing is lost over TLS', (t) =>
  noticesStopBetween(t, bed, overTls))
test('rsyslog stops and starts while nothing is sent: nothing is lost over UDP', (t) =>
  noticesStopBetween(t, bed, overUdp))

test('rsyslog reads the old format and lines, with what would break them escaped', async () => {
  const cases = [
    ['tcp', 'framing: lf, hostname: web-1'],
    ['tcp', 'format: rfc3164, hostname: web-1, app_name: shop, proc_id: "17"'],
    ['udp', 'format: rfc3164, hostname: web-1, app_name: shop, facility: kern, severity: emerg'],
  ] as const
  for (const [transport, more] of cases) {
    await receiver.clear()
    const { put, once } = await bed.pipeline(to(`${transport}://127.0.0.1:${receiver.ports[transport]}`, more).sink)
    await put('a.log', 'one\ntwo \u0001\u001b[31m\ttab \u007f ü\n')
    await once()
    await until(async () => (await receiver.lines()).length === 2, 'two messages')
    const messages = (await receiver.lines()).map((line) => JSON.parse(line) as RsyslogLine)
    assert.deepEqual(
      messages.map(({ msg }) => msg.trimStart()),
      ['one', 'two #001#033[31m\ttab #177 ü'],
      more,
    )
    for (const { host, app, pri } of messages) {
      assert.deepEqual([host, app], ['web-1', more.includes('shop') ? 'shop' : 's3-streamer'])
      assert.equal(Number(pri), more.includes('kern') ? 0 : 16 * 8 + 6)
    }
  }
})

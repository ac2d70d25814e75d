import assert from 'node:assert/strict'
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
import { type GelfLine, type GelfMessage, startGoGelf } from './go-gelf.ts'
import type { Arrived } from './log-lines.ts'

const [bed, receiver] = await Promise.all([Deliveries.start(), startGoGelf()])
after(async () => {
  await Promise.all([bed[Symbol.asyncDispose](), receiver[Symbol.asyncDispose]()])
})

function message(line: string): GelfMessage {
  const read = JSON.parse(line) as GelfLine
  if ('error' in read) throw new Error(read.error)
  assert.equal(read.version, '1.1')
  return read
}

function read(line: string): Arrived {
  const { short_message: text, extra } = message(line)
  const { _key: key, _record: record, _record_id: id } = extra
  assert.equal(String(id).replace(/^.*#/, ''), String(record))
  return { key: String(key), record: Number(record), text }
}

const { tcp, udp } = receiver.ports
const retry = 'retry: { min: 50ms, max: 500ms }'
const to = (endpoint: string, more: string): Target => ({
  receiver,
  read,
  sink: `{ type: gelf, endpoints: ["${endpoint}"], ${more}, ${retry} }`,
})
const overTcp = to(`tcp://127.0.0.1:${tcp}`, 'host: streamer')
// go-gelf reads datagrams of up to 1420 bytes.
const overUdp = to(`udp://127.0.0.1:${udp}`, 'chunk_size: 1420, batch: { linger: 20ms }')

test('go-gelf gets 100,000 records over TCP, each whole and once', (t) => arrivesWhole(t, bed, overTcp))
for (const compression of ['none', 'zlib'])
  test(`go-gelf gets 2,000 records over UDP, some in chunks, with compression ${compression}`, (t) =>
    arrivesAsDatagrams(
      t,
      bed,
      to(`udp://127.0.0.1:${udp}`, `chunk_size: 1420, batch: { linger: 20ms }, compression: ${compression}`),
    ))
test('kill -9 of the streamer in the middle loses nothing at go-gelf over UDP', (t) =>
  arrivesAsDatagrams(t, bed, overUdp, true))
test('kill -9 of the streamer in the middle loses nothing at go-gelf over TCP', (t) =>
  survivesKillOfStreamer(t, bed, overTcp))
test('go-gelf hangs and is killed: lost is only what lay in socket buffers', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTcp, port: tcp }))
test('go-gelf hangs and is stopped: lost is only what lay in socket buffers', (t) =>
  losesOnlyWhatLayInBuffers(t, bed, { ...overTcp, port: tcp }, 'stop'))
test('go-gelf stops and starts while nothing is sent: nothing is lost over TCP', (t) =>
  noticesStopBetween(t, bed, overTcp))
test('go-gelf stops and starts while nothing is sent: nothing is lost over UDP', (t) =>
  noticesStopBetween(t, bed, overUdp))

test('go-gelf reads messages, times, levels and fields as they were meant', async () => {
  for (const [endpoint, more] of [
    [`tcp://127.0.0.1:${tcp}`, 'host: web-1, level: notice'],
    [`udp://127.0.0.1:${udp}`, 'host: web-1, level: notice, chunk_size: 500'],
  ] as const) {
    await receiver.clear()
    const { put, once, bucket } = await bed.pipeline(to(endpoint, more).sink)
    const key = 'odd "key"] with \\ + % ü=/ü.log'
    const long = 'é'.repeat(20_000)
    await put(
      key,
      [
        'plain \u0000 text',
        '{"message":"zwölf","timestamp":"2026-11-20T23:59:59.5+02:00","level":"ERROR","id":7,"user.name":"ann","ok":true,"n":1.5,"none":null,"list":[1,{"a":2}],"a b":"c"}',
        `{"msg":"short","full_message":"a\\nb","time":1700000000123,"level":7,"big":${JSON.stringify(long.slice(0, 8000))}}`,
        `${long}`,
      ].join('\n'),
    )
    await once()
    await until(async () => (await receiver.lines()).length === 4, 'four messages').catch(() => undefined)
    const messages = (await receiver.lines()).map(message)
    assert.deepEqual(
      messages.map(({ host, short_message, full_message, level }) => [host, short_message, full_message, level]),
      [
        ['web-1', 'plain \u0000 text', undefined, 5],
        ['web-1', 'zwölf', undefined, 3],
        ['web-1', 'short', 'a\nb', 7],
        ['web-1', long, undefined, 5],
      ],
    )
    const [, second, third] = messages
    assert.deepEqual(
      [second?.timestamp, third?.timestamp],
      [Date.parse('2026-11-20T21:59:59.5Z') / 1000, 1_700_000_000.123],
    )
    const { _record_id, ...extra } = second?.extra ?? {}
    assert.equal(String(_record_id).startsWith(`${bucket}/${key}@`), true)
    assert.deepEqual(extra, {
      ...{ _bucket: bucket, _key: key, _record: 1 },
      ...{ _id_: 7, '_user.name': 'ann', _ok: 'true', _n: 1.5, _list: '[1,{"a":2}]', _a_b: 'c' },
    })
    assert.equal(third?.extra._big, long.slice(0, 8000))
  }
})

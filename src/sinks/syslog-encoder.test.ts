import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { test } from 'node:test'
import fc from 'fast-check'
import { batchOf, batchOfParts, someObject } from '../../test/conformance/sink.ts'
import { FrameReader, parse3164, parse5424, type SyslogMessage } from '../../test/servers/syslog-wire.ts'
import { type Block, blockOf } from '../core/block.ts'
import type { Batch, Origin } from '../core/component.ts'
import { type MessageFormat, SyslogEncoder } from './syslog-encoder.ts'

const usual: MessageFormat = {
  format: 'rfc5424',
  framing: 'octet_counting',
  facility: 16,
  severity: 6,
  severityField: undefined,
  timestamp: 'record',
  hostname: 'h.example.com',
  appName: 's3-streamer',
  procId: '-',
  msgId: '-',
  structuredDataId: 'origin@32473',
  bom: false,
  maxMessageBytes: 8192,
}

function encode(batch: Batch, o: Partial<MessageFormat> = {}) {
  return new SyslogEncoder({ ...usual, ...o }).encode(batch)
}

/** The messages of a batch as a strict receiver reads them. */
function read(batch: Batch, o: Partial<MessageFormat> = {}): SyslogMessage[] {
  const { data, ends } = encode(batch, o)
  const framing = o.framing ?? usual.framing
  const frames =
    framing === 'datagram'
      ? [...ends].map((end, i) => data.subarray(i === 0 ? 0 : ends[i - 1], end))
      : new FrameReader(framing).take(data)
  assert.equal(frames.length, batch.count)
  return frames.map(o.format === 'rfc3164' ? parse3164 : parse5424)
}

function ofObject(object: Partial<Origin>, block: Block): Batch {
  return batchOfParts([{ block, from: 0, to: block.ends.length, object: { ...someObject, ...object } }])
}

test('an RFC 5424 message, byte for byte', () => {
  const { data } = encode(batchOf(blockOf(['it happened'], 41)))
  const message =
    '<134>1 2026-11-21T08:30:00.000Z h.example.com s3-streamer - - ' +
    '[origin@32473 bucket="b" key="k" version="1" record="41"] it happened'
  assert.equal(data.toString(), `${message.length} ${message}`)
})

test('an RFC 3164 message, byte for byte, in local time with a padded day', () => {
  const timeMs = new Date(2026, 0, 3, 4, 5, 6).getTime()
  const o = { format: 'rfc3164', framing: 'lf', facility: 0, severity: 2, procId: '77' } as const
  const { data } = encode(ofObject({ timeMs }, blockOf(['a', 'b'])), o)
  assert.equal(
    data.toString(),
    '<2>Jan  3 04:05:06 h.example.com s3-streamer[77]: a\n<2>Jan  3 04:05:06 h.example.com s3-streamer[77]: b\n',
  )
})

test('the origin tells every record apart: number, object and version, across parts, filters and large numbers', () => {
  const kept: Block = {
    ...blockOf(['a', 'b']),
    kept: { numbers: Uint32Array.of(3, 4_000_000_000), next: 4_000_000_001, refused: [] },
  }
  const late = blockOf(['c'], 2 ** 40)
  const other = { ...someObject, id: 'sftp:/var/x', key: 'x' }
  const messages = read(
    batchOfParts([
      { block: kept, from: 0, to: 2, object: someObject },
      { block: late, from: 0, to: 1, object: someObject },
      { block: blockOf(['0', '1', '2', '3'], 8), from: 2, to: 4, object: other },
    ]),
  )
  const origin = messages.map(({ structuredData }) => Object.fromEntries(structuredData.get('origin@32473') ?? []))
  assert.deepEqual(origin, [
    { bucket: 'b', key: 'k', version: '1', record: '3' },
    { bucket: 'b', key: 'k', version: '1', record: '4000000000' },
    { bucket: 'b', key: 'k', version: '1', record: String(2 ** 40) },
    { bucket: 'b', key: 'x', object: 'sftp:/var/x', record: '10' },
    { bucket: 'b', key: 'x', object: 'sftp:/var/x', record: '11' },
  ])
  assert.deepEqual(
    messages.map(({ content }) => content.toString()),
    ['a', 'b', 'c', '2', '3'],
  )
})

test('keys with quotes, brackets, backslashes, spaces and other alphabets are escaped and come back', () => {
  const key = 'a "b"\\]c]/../日本 ü=%20+\\'
  const id = `b/${key}@v"1]`
  const [message] = read(ofObject({ id, key }, blockOf(['x'])))
  const origin = message?.structuredData.get('origin@32473')
  assert.equal(origin?.get('key'), key)
  assert.equal(origin?.get('version'), 'v"1]')
})

test('a line feed in a key breaks no line', () => {
  const key = 'a\nb'
  const [message] = read(ofObject({ id: `b/${key}@1`, key }, blockOf(['x'])), { framing: 'lf' })
  assert.equal(message?.structuredData.get('origin@32473')?.get('key'), 'a#012b')
})

test('octet counting and RFC 5424 datagrams keep the bytes; lines and RFC 3164 escape what would break them', () => {
  const bytes = Buffer.from([0x61, 0x0a, 0x0d, 0x00, 0x09, 0x1b, 0x7f, 0xff, 0xc3, 0xbc])
  const batch = batchOf(blockOf([bytes], 0, true))
  for (const framing of ['octet_counting', 'datagram'] as const)
    assert.deepEqual(read(batch, { framing })[0]?.content, bytes)
  const escaped = Buffer.concat([Buffer.from('a#012#015#000\t#033#177'), Buffer.from([0xff, 0xc3, 0xbc])])
  assert.deepEqual(read(batch, { framing: 'lf' })[0]?.content, escaped)
  for (const framing of ['octet_counting', 'datagram', 'lf'] as const)
    assert.deepEqual(read(batch, { framing, format: 'rfc3164' })[0]?.content, escaped)
})

test('severity and time come from the record where it has them, else they are those of the sink and the object', () => {
  const records = [
    '{"level":"error","@timestamp":"2026-11-20T01:02:03.004Z"}',
    '{"level":2,"time":1763600523004}',
    '{"level":"loud","timestamp":"then","time":"2026-11-20T02:02:03.004+01:00"}',
    '{"log":{"level":"warn"}}',
    '{broken',
    '[1]',
    'level=error',
    ' \t\r{"level":"error"}',
    '\u000b{"level":"error"}',
  ]
  const seen = (o: Partial<MessageFormat>) =>
    read(batchOf(blockOf(records)), o).map(({ severity, timestamp }) => `${severity} ${timestamp}`)
  const object = '2026-11-21T08:30:00.000Z'
  assert.deepEqual(seen({ severityField: 'level' }), [
    '3 2026-11-20T01:02:03.004Z',
    '2 2025-11-20T01:02:03.004Z',
    '6 2026-11-20T01:02:03.004Z',
    `6 ${object}`,
    `6 ${object}`,
    `6 ${object}`,
    `6 ${object}`,
    `3 ${object}`,
    `6 ${object}`,
  ])
  assert.equal(seen({ severityField: 'log.level', severity: 0, facility: 0 })[3], `4 ${object}`)
  assert.deepEqual(new Set(seen({ timestamp: 'object' })), new Set([`6 ${object}`]))
  const local = new Date(Date.UTC(2026, 10, 20, 1, 2, 3))
  const [old] = read(batchOf(blockOf(records)), { format: 'rfc3164' })
  assert.equal(old?.timestamp, `Nov ${local.getDate()} ${local.toTimeString().slice(0, 8)}`)
})

test('a field named with a dot wins over the path', () => {
  const [message] = read(batchOf(blockOf(['{"log.level":"alert","log":{"level":"debug"}}'])), {
    severityField: 'log.level',
  })
  assert.equal(message?.severity, 1)
  const [within] = read(batchOf(blockOf(['{"a.b":{"c":"alert"}}'])), { severityField: 'a.b.c' })
  assert.equal(within?.severity, 1)
})

test('a time that no message can carry is held to what it can', () => {
  const times = [Number.NaN, -5, 1e18].map((timeMs) => read(ofObject({ timeMs }, blockOf(['a'])))[0]?.timestamp)
  assert.deepEqual(times, ['1970-01-01T00:00:00.000Z', '1970-01-01T00:00:00.000Z', '9999-12-31T23:59:59.999Z'])
})

test('a byte order mark stands before UTF-8 only', () => {
  const messages = read(batchOf(blockOf(['ü', Buffer.from([0xff])])), { bom: true })
  assert.deepEqual(
    messages.map(({ hasBom, content }) => [hasBom, content.toString('hex')]),
    [
      [true, 'c3bc'],
      [false, 'ff'],
    ],
  )
})

test('a long message is cut to the limit, between characters, and counted', () => {
  const text = 'ü€😀'.repeat(200)
  for (let maxMessageBytes = 480; maxMessageBytes < 492; maxMessageBytes += 1) {
    const batch = batchOf(blockOf(['short', text]))
    assert.equal(encode(batch, { maxMessageBytes }).truncated, 1)
    const [, message] = read(batch, { maxMessageBytes })
    const length = message?.bytes.length ?? 0
    assert.ok(length <= maxMessageBytes && length > maxMessageBytes - 4, `${length} of ${maxMessageBytes}`)
    assert.ok(text.startsWith(message?.content.toString() ?? 'none'))
  }
})

test('a message of exactly the limit is left whole', () => {
  const batch = batchOf(blockOf(['x'.repeat(600)]))
  const [message] = read(batch)
  const maxMessageBytes = message?.bytes.length ?? 0
  assert.equal(encode(batch, { maxMessageBytes }).truncated, 0)
  assert.equal(encode(batch, { maxMessageBytes: maxMessageBytes - 1 }).truncated, 1)
})

test('an origin that would leave too little for the record is left out', () => {
  const key = 'k'.repeat(900)
  const [message] = read(ofObject({ id: `b/${key}@1`, key }, blockOf(['x'.repeat(600)])), { maxMessageBytes: 1024 })
  assert.equal(message?.structuredData.size, 0)
  assert.equal(message?.content.toString(), 'x'.repeat(600))
})

test('any bytes, any limit: every message parses, fits, and is the record or its beginning', () => {
  const record = fc.oneof(fc.uint8Array({ minLength: 1, maxLength: 900 }), fc.string({ minLength: 1, unit: 'binary' }))
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 8 }),
      fc.constantFrom('rfc5424' as const, 'rfc3164' as const),
      fc.constantFrom('octet_counting' as const, 'lf' as const, 'datagram' as const),
      fc.integer({ min: 480, max: 700 }),
      (records, format, framing, maxMessageBytes) => {
        const buffers = records.map((one) => Buffer.from(one))
        const messages = read(batchOf(blockOf(buffers, 0, true)), { format, framing, maxMessageBytes })
        for (const [i, { content, bytes }] of messages.entries()) {
          assert.ok(bytes.length <= maxMessageBytes)
          const whole = buffers[i] as Buffer
          const expected = format === 'rfc3164' || framing === 'lf' ? escapedByRegex(whole) : whole
          assert.deepEqual(content, expected.subarray(0, content.length))
          if (isUtf8(whole)) assert.ok(isUtf8(content))
          if (content.length < expected.length) assert.ok(bytes.length > maxMessageBytes - 4)
        }
      },
    ),
  )
})

/** The same escaping, said in another way. */
function escapedByRegex(bytes: Buffer): Buffer {
  const escaped = [...bytes].map((byte) =>
    (byte < 32 && byte !== 9) || byte === 127 ? `#${byte.toString(8).padStart(3, '0')}` : String.fromCharCode(byte),
  )
  return Buffer.from(escaped.join(''), 'latin1')
}

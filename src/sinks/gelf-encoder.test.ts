import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { batchOf, batchOfParts, someObject } from '../../test/conformance/sink.ts'
import { fieldsInGraylog, type GelfMessage } from '../../test/servers/gelf.ts'
import { blockOf } from '../core/block.ts'
import { GelfEncoder, type MessageFormat } from './gelf-encoder.ts'

const format: MessageFormat = {
  host: 'h',
  level: 6,
  levelField: 'level',
  messageFields: ['message', 'short_message', 'msg'],
  end: 'none',
  maxMessageBytes: 2 ** 21,
}

function encoded(records: (string | Buffer)[], more: Partial<MessageFormat> = {}) {
  const { data, ends, cut, refused } = new GelfEncoder({ ...format, ...more }).encode(
    batchOf(blockOf(records, 0, true)),
  )
  const texts = [...ends].map((end, i) => data.toString('utf8', i === 0 ? 0 : ends[i - 1], end))
  return { texts, truncated: cut.size, refused }
}

/** Messages without what all of them have. */
function messagesOf(records: (string | Buffer)[], more: Partial<MessageFormat> = {}): GelfMessage[] {
  return encoded(records, more).texts.map((text) => {
    const message = JSON.parse(text) as GelfMessage
    // JSON.stringify gives the same text only if no key stands there twice, and nothing was escaped that needs no escape.
    assert.equal(JSON.stringify(message), text)
    const { version, host, _bucket, _key, _record, _record_id, ...rest } = message
    assert.deepEqual([version, host, _bucket, _key], ['1.1', 'h', 'b', 'k'])
    assert.equal(_record_id, `b/k@1#${String(_record)}`)
    return rest
  })
}

const timestamp = someObject.timeMs / 1000

test('text is the short message; of several lines the first one with something in it, and all as the full message', () => {
  assert.deepEqual(
    messagesOf(['one line', 'first\nsecond\n', '\n \n  at last\r\nx', ' \t ', '\n', '[1]', '"json"', '{"broken":']),
    [
      { timestamp, level: 6, short_message: 'one line' },
      { timestamp, level: 6, short_message: 'first', full_message: 'first\nsecond\n' },
      { timestamp, level: 6, short_message: 'at last\r', full_message: '\n \n  at last\r\nx' },
      { timestamp, level: 6, short_message: '-', full_message: ' \t ' },
      { timestamp, level: 6, short_message: '-', full_message: '\n' },
      { timestamp, level: 6, short_message: '[1]' },
      { timestamp, level: 6, short_message: '"json"' },
      { timestamp, level: 6, short_message: '{"broken":' },
    ],
  )
})

test('any record arrives as it was, and every message is canonical JSON', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary', minLength: 1 }), { minLength: 1, maxLength: 5 }), (texts) => {
      const records = texts.map((text) => text.toWellFormed())
      const found = messagesOf(records).map(({ full_message, short_message }) => full_message ?? short_message)
      assert.deepEqual(found, records)
    }),
  )
})

test('bytes that are no UTF-8 become U+FFFD, and harm no other record', () => {
  const found = messagesOf([
    Buffer.from([0x61, 0xff, 0x62]),
    'ü',
    Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xe2, 0x82]), Buffer.from('"}')]),
  ])
  assert.deepEqual(
    found.map(({ short_message }) => short_message),
    ['a\ufffdb', 'ü', '{"a":"\ufffd"}'],
  )
  assert.equal(found[2]?._a, '\ufffd')
})

test('a JSON object: message, time and level from its fields, all others as additional ones', () => {
  const record = {
    '@timestamp': '2026-01-02T03:04:05.678Z',
    level: 'WARN',
    message: 'it is warm',
    celsius: 31.5,
    ok: true,
    nothing: null,
    tags: ['a', { b: 1 }],
    user: { name: 'x' },
    'no good name!': 'ü',
    empty: '',
  }
  assert.deepEqual(messagesOf([JSON.stringify(record)]), [
    {
      timestamp: Date.UTC(2026, 0, 2, 3, 4, 5, 678) / 1000,
      level: 4,
      _celsius: 31.5,
      _ok: 'true',
      _tags: '["a",{"b":1}]',
      _user: '{"name":"x"}',
      _no_good_name_: 'ü',
      _empty: '',
      short_message: 'it is warm',
    },
  ])
})

test('white space before a JSON object is part of the JSON; the text keeps it', () => {
  for (const blanks of [' ', '\t\t', ' \r\n \t'])
    assert.deepEqual(messagesOf([`${blanks}{"message":"m","a":1}`, `${blanks}{"a":1}`.replaceAll('\n', '')]), [
      { timestamp, level: 6, _a: 1, short_message: 'm' },
      { timestamp, level: 6, _a: 1, short_message: `${blanks}{"a":1}`.replaceAll('\n', '') },
    ])
  for (const text of ['\u000b{"message":"m"}', ' x{"message":"m"}', ' [{"message":"m"}]'])
    assert.deepEqual(messagesOf([text]), [{ timestamp, level: 6, short_message: text }])
})

test('times in s and in ms are told apart; what cannot be read as time or level stays a field', () => {
  const records = [
    '{"msg":"a","time":1700000000}',
    '{"msg":"b","time":1700000000123}',
    '{"msg":"c","timestamp":"yesterday","level":30}',
    '{"msg":"d","timestamp":"yesterday","time":1700000000,"level":"3"}',
  ]
  assert.deepEqual(messagesOf(records), [
    { timestamp: 1_700_000_000, level: 6, short_message: 'a' },
    { timestamp: 1_700_000_000.123, level: 6, short_message: 'b' },
    { timestamp, level: 6, _timestamp_: 'yesterday', _level_: 30, short_message: 'c' },
    { timestamp: 1_700_000_000, level: 3, _timestamp_: 'yesterday', short_message: 'd' },
  ])
})

test('without a message of its own the whole record is the message; a full message of its own is kept', () => {
  assert.deepEqual(
    messagesOf([
      '{"a":1,"message":"","msg":null}',
      '{"message":{"x":1}}',
      '{"message":"s\\nt","full_message":"trace"}',
    ]),
    [
      { timestamp, level: 6, _a: 1, _message_: '', short_message: '{"a":1,"message":"","msg":null}' },
      { timestamp, level: 6, short_message: '{"x":1}' },
      { timestamp, level: 6, short_message: 's\nt', full_message: 'trace' },
    ],
  )
  const [own] = messagesOf(['{"text":"t","message":"m","severity":"fatal"}'], {
    messageFields: ['text'],
    levelField: 'severity',
  })
  assert.deepEqual(own, { timestamp, level: 2, _message_: 'm', short_message: 't' })
  const [nested] = messagesOf(['{"log":{"text":"t","level":"error"}}'], {
    messageFields: ['log.text'],
    levelField: 'log.level',
  })
  assert.deepEqual(nested, { timestamp, level: 3, _log: '{"text":"t","level":"error"}', short_message: 't' })
})

test('Graylog drops none of the fields, whatever their names; none hides another', () => {
  const names = [
    'id',
    '_id',
    'host',
    'source',
    'message',
    'short_message',
    'full_message',
    'timestamp',
    'level',
    'version',
    'streams',
  ]
  names.push(
    '_index',
    '_source',
    'gl2_remote_ip',
    'bucket',
    'key',
    'record',
    'record_id',
    '',
    '_',
    '__proto__',
    'constructor',
  )
  names.push('a b', 'a:b', 'a_b', 'a b_', 'id_', 'id__', 'é', '1')
  const record = `{${names.map((name, i) => `${JSON.stringify(name)}:"value ${i}"`).join(',')}}`
  const [text = ''] = encoded([record], { messageFields: ['none'] }).texts
  const found = new Set(Object.values(fieldsInGraylog(JSON.parse(text) as GelfMessage)))
  for (const [i, name] of names.entries())
    assert.ok(found.has(`value ${i}`), `field ${JSON.stringify(name)} is missing`)
  assert.deepEqual(messagesOf([record], { messageFields: ['none'] }).length, 1)
})

test('integers that no double holds keep their digits; numbers that JSON cannot write become text', () => {
  const [found] = messagesOf([
    '{"message":"m","a":12345678901234567890,"b":1e999,"c":9007199254740991,"d":0.1234567890123456789}',
  ])
  assert.deepEqual(found, {
    timestamp,
    level: 6,
    _a: '12345678901234567890',
    _b: 'Infinity',
    _c: 9007199254740991,
    _d: 0.12345678901234568,
    short_message: 'm',
  })
})

test('a value that Graylog could not index is cut at a character, and counted', () => {
  const { texts, truncated } = encoded([`{"message":"m","a":"${'€'.repeat(20_000)}"}`, '{"message":"m","a":"x"}'])
  const value = String((JSON.parse(texts[0] ?? '') as GelfMessage)._a)
  assert.equal(Buffer.byteLength(value), 32_766)
  assert.equal(value, '€'.repeat(10_922))
  assert.equal(truncated, 1)
})

test('a message that is too long loses the end of its texts, and is exactly as long as it may be', () => {
  for (const text of ['x'.repeat(5000), '"'.repeat(5000), '\u0001'.repeat(5000), '€'.repeat(5000), '😀'.repeat(5000)]) {
    for (const maxMessageBytes of [300, 301, 302, 303, 304, 305, 306]) {
      const { texts, truncated, refused } = encoded([text, `line\n${text}`, 'short'], { maxMessageBytes })
      assert.deepEqual([truncated, refused.size, texts.length], [2, 0, 3])
      for (const message of texts) assert.ok(Buffer.byteLength(message) <= maxMessageBytes)
      assert.ok(Buffer.byteLength(texts[0] ?? '') > maxMessageBytes - 6)
      const [one, several, short] = messagesOf([text, `line\n${text}`, 'short'], { maxMessageBytes })
      assert.ok(text.startsWith(String(one?.short_message)))
      assert.equal(several?.short_message, 'line')
      assert.ok(`line\n${text}`.startsWith(String(several?.full_message)))
      assert.equal(short?.short_message, 'short')
    }
  }
})

test('a record whose fields leave no room is refused by itself', () => {
  const { texts, refused } = encoded(['a', `{"message":"m","a":"${'x'.repeat(500)}"}`, 'b'], { maxMessageBytes: 300 })
  assert.deepEqual([...refused.keys()], [1])
  assert.deepEqual(
    texts.map((text) => text === ''),
    [false, true, false],
  )
})

test('one message of a batch is cut to a length, or as short as it can be', () => {
  const encoder = new GelfEncoder(format)
  const blocks = [blockOf(['a', 'b']), blockOf([JSON.stringify({ message: 'm'.repeat(300), a: 'x'.repeat(500) }), 'c'])]
  const batch = batchOf(...blocks)
  const textOf = (bytes: Buffer) => String((JSON.parse(bytes.toString()) as GelfMessage).short_message)
  assert.deepEqual(
    [0, 1, 3].map((n) => textOf(encoder.encodeOne(batch, n, 1000))),
    ['a', 'b', 'c'],
  )
  const least = encoder.encodeOne(batch, 2, 0)
  assert.ok(least.length > 500)
  assert.equal(textOf(least), 'm')
  for (const more of [0, 1, 50]) {
    const longer = encoder.encodeOne(batch, 2, least.length + more)
    assert.deepEqual([longer.length, textOf(longer)], [least.length + more, 'm'.repeat(1 + more)])
  }
  assert.deepEqual(encoder.encodeOne(batch, 2, least.length - 1), least)
})

test('what ends a message follows each one; parts of several objects say their own', () => {
  const block = blockOf(['a', 'b', 'c'], 7)
  const other = { ...someObject, id: 'b/other@1', key: 'other', timeMs: Number.NaN }
  const parts = [
    { block, from: 2, to: 3, object: someObject },
    { block, from: 0, to: 1, object: other },
  ]
  const { data } = new GelfEncoder({ ...format, end: 'nul' }).encode(batchOfParts(parts))
  const [first = '', second = '', rest] = data.toString().split('\0')
  assert.equal(rest, '')
  assert.deepEqual(JSON.parse(first), {
    version: '1.1',
    host: 'h',
    _bucket: 'b',
    _key: 'k',
    _record_id: 'b/k@1#9',
    _record: 9,
    timestamp,
    level: 6,
    short_message: 'c',
  })
  const message = JSON.parse(second) as GelfMessage
  assert.deepEqual([message._record_id, message._key, message.timestamp], ['b/other@1#7', 'other', undefined])
})

test('the short message is never empty, nor what Graylog takes for empty', () => {
  const isBlank = ({ short_message }: GelfMessage) =>
    [...String(short_message)].every((c) => /\s/.test(c) || (c >= '\u001c' && c <= '\u001f'))
  const blanks = ['\u3000', '\u2028\u2003', '\u001c', '\u3000\nx', '{"message":"\\u001f"}']
  assert.deepEqual(messagesOf(blanks).filter(isBlank), [])
  for (let maxMessageBytes = 150; maxMessageBytes < 260; maxMessageBytes += 1) {
    const { texts } = encoded(['€uro', '"quoted', '\u0001x', 'a\n€', '€\nb'], { maxMessageBytes })
    const messages = texts.filter((text) => text !== '').map((text) => JSON.parse(text) as GelfMessage)
    assert.deepEqual(messages.filter(isBlank), [])
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import type * as z from 'zod'
import { StreamError } from '../core/errors.ts'
import { createFormats } from './compile.ts'
import { formatSchema } from './schema.ts'

type Entry = z.input<typeof formatSchema>

function formatsOf(entries: readonly Entry[], defaultFormat?: string) {
  return createFormats(
    entries.map((entry) => formatSchema.parse(entry)),
    { defaultFormat },
  )
}

const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())
const text = (content: string) => Buffer.from(content)
const zscalerKey = '_weblog/feedname=Threat Team - Web/year=2025/month=10/day=12/1760305292_56442_130_1.gz'
const wide: Entry = { name: 'wide', filename_pattern: '*.log.gz', timestamp_regex: '^at (\\d{10})' }

test('A16.1: keys in folders are known by their base name', () => {
  for (const defaultFormat of [undefined, '', 'auto', 'zscaler']) {
    const formats = createFormats([], { defaultFormat })
    assert.equal(iso(formats.timeFromKey(zscalerKey)), '2025-10-12T21:41:32.000Z')
    assert.equal(iso(formats.timeFromKey('1760305292_56442_130_1')), '2025-10-12T21:41:32.000Z')
  }
  const cisco = createFormats([], { defaultFormat: 'cisco_umbrella' })
  assert.equal(iso(cisco.timeFromKey('a/2024-1-5/2024-1-5-9-7-ab12.csv.gz')), '2024-01-05T09:07:00.000Z')
})

test('A16.1: a timestamp spread over folders is found in the whole key', () => {
  const formats = formatsOf([
    {
      name: 'hourly',
      filename_pattern: 'logs/**/*.txt',
      timestamp_regex: 'logs/(\\d{4}/\\d{2}/\\d{2}/\\d{2})/',
      timestamp_format: '2006/01/02/15',
    },
  ])
  assert.equal(iso(formats.timeFromKey('x/logs/2024/01/15/10/part-1.txt')), '2024-01-15T10:00:00.000Z')
})

test('A16.14: of several formats that fit, the first in the configuration is chosen, every time', () => {
  const second: Entry = { ...wide, name: 'second' }
  const sample = text('at 1705312800 hello\n')
  for (const [entries, name] of [
    [[wide, second], 'wide'],
    [[second, wide], 'second'],
  ] as const) {
    for (let i = 0; i < 100; i++) {
      assert.equal(formatsOf(entries).select('a/b.log.gz', sample).format.name, name)
    }
  }
})

test('A16.14: where several globs fit, the content decides, and the order where it cannot', () => {
  const json: Entry = {
    name: 'json',
    filename_pattern: '*.log.gz',
    timestamp_regex: '"t":(\\d{10})',
    content_type: 'application/x-ndjson',
  }
  const formats = formatsOf([wide, json])
  const chosen = (content: string) => {
    const { format, by } = formats.select('b.log.gz', text(content))
    return [format.name, by]
  }
  assert.deepEqual(chosen('{"t":1705312800}\n'), ['json', 'name'])
  assert.deepEqual(chosen('[\n{"t":1705312800}\n]'), ['json', 'name'])
  assert.deepEqual(chosen('\n\nat 1705312800\n'), ['wide', 'name'])
  assert.deepEqual(chosen('no time in it\n'), ['wide', 'name'])
  assert.deepEqual(chosen(''), ['wide', 'name'])
})

test('a configured format of the same name takes the place of a built-in one', () => {
  const formats = formatsOf([
    {
      name: 'zscaler',
      filename_pattern: 'z-*',
      timestamp_regex: 'z-(\\d+)',
      timestamp_format: 'unix_ms',
      content_type: 'text/x-z',
    },
  ])
  assert.equal(formats.list.filter(({ name }) => name === 'zscaler').length, 1)
  assert.equal(formats.list[0]?.contentType, 'text/x-z')
  assert.equal(iso(formats.timeFromKey('a/z-1705312800123')), '2024-01-15T10:00:00.123Z')
  assert.equal(formats.timeFromKey(zscalerKey), undefined)
  assert.equal(formatsOf([], 'zscaler').list.length, formats.list.length)
})

test('the key of a configured format is its own even if the content is of another kind', () => {
  const formats = formatsOf([{ name: 'mine', filename_pattern: '*_*.gz', timestamp_regex: '^(\\d{10})_' }])
  const { format, by } = formats.select(zscalerKey, text('{"a":1}\n'))
  assert.deepEqual([format.name, by], ['mine', 'name'])
})

test('a glob that fits everything does not hide a built-in format that knows key and content', () => {
  const formats = formatsOf([{ name: 'all', filename_pattern: '*.gz', timestamp_regex: '^never (\\d+)$' }])
  assert.equal(iso(formats.timeFromKey(zscalerKey)), '2025-10-12T21:41:32.000Z')
  assert.equal(formats.select(zscalerKey, text('{"a":1}\n')).format.name, 'zscaler')
  assert.deepEqual(formats.select('x.gz', text('{"a":1}\n')).format.name, 'all')
})

test('an object that no glob fits is chosen by content, else falls back to the first format without its line rules', () => {
  const csv: Entry = {
    name: 'csv',
    filename_pattern: '*.dat',
    timestamp_regex: '^(\\d{10});',
    content_type: 'text/csv',
    skip_header_lines: 2,
    decoder: 'csv',
  }
  const formats = formatsOf([csv])
  const byContent = formats.select('x/y', text('h1\nh2\n1705312800;a\n'))
  assert.deepEqual([byContent.format.name, byContent.by, byContent.format.skipHeaderLines], ['csv', 'content', 2])
  const fallback = formats.select('x/y', text('hello\nworld\n'))
  assert.deepEqual(
    [
      fallback.format.name,
      fallback.by,
      fallback.format.contentType,
      fallback.format.skipHeaderLines,
      fallback.format.decoder,
    ],
    ['csv', 'fallback', 'text/csv', 0, 'auto'],
  )
})

test('default_format fixes the format for every key', () => {
  const formats = formatsOf([wide], 'wide')
  const { format, by } = formats.select(zscalerKey, text('{"a":1}\n'))
  assert.deepEqual([format.name, by], ['wide', 'fixed'])
  assert.equal(formats.timeFromKey(zscalerKey), undefined)
  assert.equal(
    iso(formatsOf([{ ...wide, timestamp_regex: '(\\d{10})' }], 'wide').timeFromKey('no/glob-1705312800')),
    '2024-01-15T10:00:00.000Z',
  )
})

test('an unknown default_format is refused with the names there are and the nearest', () => {
  assert.throws(
    () => formatsOf([wide], 'zscalar'),
    (error) =>
      error instanceof StreamError &&
      error.code === 'config.invalid' &&
      /there is no format "zscalar" \(did you mean "zscaler"\?\); use "auto" or one of wide, zscaler, cisco_umbrella, /.test(
        error.message,
      ),
  )
  assert.throws(
    () => formatsOf([], 'something-else-entirely'),
    (error) => error instanceof StreamError && !error.message.includes('did you mean'),
  )
})

test('A16.15: all skip_header_lines are handed to the decoder and are not searched for a time', () => {
  const formats = formatsOf([{ ...wide, timestamp_regex: '(\\d{10})', skip_header_lines: 3 }])
  const sample = text('made at 1000000000\n\ncolumns\nat 1705312800\n')
  const { format } = formats.select('x.log.gz', sample)
  assert.equal(format.skipHeaderLines, 3)
  assert.equal(iso(format.timeFromContent(sample, 0)), '2024-01-15T10:00:00.000Z')
})

test('A16.18: content type and field separator of a configured format are kept', () => {
  const formats = formatsOf(
    [{ ...wide, content_type: 'text/tab-separated-values', field_separator: '\\t', decoder: 'csv' }],
    'wide',
  )
  const { format } = formats.select('x', text(''))
  assert.deepEqual(
    [format.contentType, format.fieldSeparator, format.decoder],
    ['text/tab-separated-values', '\t', 'csv'],
  )
})

test('field names are handed on, and a fallback does not cut records by the first format', () => {
  const formats = formatsOf([{ ...wide, field_separator: ' ', field_names: ['at', 'time'] }])
  const named = formats.select('a.log.gz', text('at 1705312800 x\n')).format
  assert.deepEqual([named.fieldSeparator, named.fieldNames], [' ', ['at', 'time']])
  const { format, by } = formats.select('x/y', text('hello world\n'))
  assert.deepEqual(
    [format.name, by, format.fieldSeparator, format.fieldNames],
    ['wide', 'fallback', undefined, undefined],
  )
})

test('a built-in format names the fields of an object without a header, and leaves one with a header to it', () => {
  const formats = formatsOf([])
  const header =
    'version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status'
  const flow = '2 123456789010 eni-1235b8ca 1.2.3.4 5.6.7.8 1 22 6 20 4249 1705312800 1705312860 ACCEPT OK'
  const without = formats.select('x', text(`${flow}\n`)).format
  assert.deepEqual([without.name, without.skipHeaderLines, without.fieldNames?.join(' ')], ['vpc_flow', 0, header])
  const withHeader = formats.select('x', text(`${header}\n${flow}\n`)).format
  assert.deepEqual([withHeader.name, withHeader.skipHeaderLines, withHeader.fieldNames], ['vpc_flow', 1, undefined])
})

test('multiline makes lines the decoder, records_path is handed on', () => {
  const [lines, json] = formatsOf([
    { ...wide, multiline: { start: '^at ' } },
    { ...wide, name: 'json', records_path: 'Events' },
  ]).list
  assert.deepEqual([lines?.decoder, lines?.multilineStart], ['lines', '^at '])
  assert.deepEqual([json?.decoder, json?.recordsPath], ['auto', 'Events'])
})

test('the first group that matched is the timestamp; without groups it is the whole match', () => {
  const time = (timestamp_regex: string, key: string) =>
    iso(formatsOf([{ name: 'x', filename_pattern: '*', timestamp_regex }], 'x').timeFromKey(key))
  assert.equal(time('a(\\d{10})|b(\\d{10})', 'b1705312800'), '2024-01-15T10:00:00.000Z')
  assert.equal(time('\\d{10}', 'a-1705312800.log'), '2024-01-15T10:00:00.000Z')
  assert.equal(time('(?P<t>\\d{10})', '1705312800'), '2024-01-15T10:00:00.000Z')
})

test('a number that is no sane time gives none, and the search goes on behind it', () => {
  const formats = formatsOf([{ name: 'x', filename_pattern: '*', timestamp_regex: '(\\d{6,})' }], 'x')
  assert.equal(iso(formats.timeFromKey('123456-99999999999999999999-1705312800')), '2024-01-15T10:00:00.000Z')
  assert.equal(formats.timeFromKey('123456-4102444800-315532799'), undefined)
  assert.equal(iso(formats.timeFromKey('315532800')), '1980-01-01T00:00:00.000Z')
})

test('a time without a year is in the year of the object, and gives none to a key', () => {
  const formats = formatsOf([
    {
      name: 'sys',
      filename_pattern: '*',
      timestamp_regex: '([A-Z][a-z]{2} [ \\d]\\d [\\d:]{8})',
      timestamp_format: 'Jan _2 15:04:05',
    },
  ])
  const sample = text('Dec 31 23:59:59 host x\n')
  const { format, by } = formats.select('sys', sample)
  assert.deepEqual([format.name, by], ['sys', 'name'])
  assert.equal(iso(format.timeFromContent(sample, Date.parse('2024-01-01T00:01:00Z'))), '2023-12-31T23:59:59.000Z')
  assert.equal(formats.timeFromKey('Dec 31 23:59:59'), undefined)
})

test('content in any encoding and any cut is no trouble', () => {
  const formats = formatsOf([wide, { ...wide, name: 'json', content_type: 'application/json' }])
  void fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.string({ unit: 'binary' }), (bytes, key) => {
      const sample = Buffer.from(bytes)
      const { format } = formats.select(key, sample)
      format.timeFromContent(sample, 0)
      formats.timeFromKey(key)
      for (const one of formats.list) {
        one.matchesKey(key)
        one.matchesContent(sample)
        one.timeFromKey(key)
      }
    }),
    { numRuns: 300 },
  )
})

test('a byte order mark and CRLF do not hide a time or JSON', () => {
  const formats = formatsOf([wide])
  assert.equal(iso(formats.list[0]?.timeFromContent(text('\ufeffat 1705312800\r\n'), 0)), '2024-01-15T10:00:00.000Z')
  assert.equal(formats.select('x', text('\ufeff{"a":1}\r\n')).format.contentType, 'application/x-ndjson')
})

test('the time of a record that is indented JSON, or in one long line, is found', () => {
  const [format] = formatsOf([{ ...wide, timestamp_regex: '"t": ?(\\d{10})', content_type: 'application/json' }]).list
  const many = Array.from({ length: 50 }, (_, i) => ({ [`field${i}`]: i }))
  for (const content of [
    JSON.stringify([{ many, t: 1705312800 }], null, 2),
    JSON.stringify({ Records: [{ many, t: 1705312800 }] }),
  ]) {
    assert.equal(iso(format?.timeFromContent(text(content), 0)), '2024-01-15T10:00:00.000Z')
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFormats } from './compile.ts'
import { presetExamples } from './preset-examples.ts'
import { presets } from './presets.ts'

const formats = createFormats([])
const nearMs = Date.parse('2024-01-16T00:00:00Z')
const sampleOf = (lines: readonly string[]) => Buffer.from(`${lines.join('\n')}\n`)
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())
const exampleOf = (name: string) => {
  const example = presetExamples.find(({ format }) => format === name)
  assert.ok(example, name)
  return example
}

test('every built-in format has one example and one name', () => {
  assert.deepEqual(presetExamples.map(({ format }) => format).sort(), presets.map(({ name }) => name).sort())
  assert.equal(new Set(presets.map(({ name }) => name)).size, presets.length)
})

for (const example of presetExamples) {
  test(`${example.format} chooses itself for its example and finds the times in it`, () => {
    const sample = sampleOf(example.lines)
    const { format, by } = formats.select(example.key, sample)
    assert.deepEqual({ name: format.name, by }, { name: example.format, by: 'name' })
    assert.equal(iso(formats.timeFromKey(example.key)), example.keyTime)
    assert.equal(iso(format.timeFromContent(sample, nearMs)), example.contentTime)
    const preset = createFormats([], { defaultFormat: example.format })
    assert.deepEqual(preset.select('anything', sample).by, 'fixed')
    assert.equal(iso(preset.timeFromKey(example.key)), example.keyTime)
  })
}

test('content alone is enough for the formats that are unmistakable', () => {
  const ambiguous: Record<string, string> = {
    // These differ by their keys only.
    zscaler: 'app_json_iso',
    apache_combined: 'nginx_access',
    kubernetes: 'app_json_iso',
    lambda: 'app_json_iso',
  }
  for (const { format, lines } of presetExamples) {
    const chosen = formats.select('a/b/c', sampleOf(lines))
    assert.deepEqual({ name: chosen.format.name, by: chosen.by }, { name: ambiguous[format] ?? format, by: 'content' })
  }
})

test('no key of one format gets a time from another, nor does a key without a time', () => {
  for (const { format, key, keyTime } of presetExamples) {
    assert.equal(iso(formats.timeFromKey(key)), keyTime, format)
  }
  for (const key of [
    'a.log.gz',
    'app-2024.log.gz',
    'backup_20240115T100000Z.log.gz',
    '1705312800.log.gz',
    '123456789012_something_us-east-1_20240115T1000Z_x.log.gz',
    'images/2024/01/15/1705312800123.json',
    '',
    '/',
    'folder/',
  ]) {
    assert.equal(formats.timeFromKey(key), undefined, key)
  }
})

test('decoders, wrappers, separators and content types are those of the formats', () => {
  const by = (name: string) => {
    const format = formats.list.find((format) => format.name === name)
    assert.ok(format)
    return format
  }
  assert.equal(by('cloudtrail').decoder, 'json')
  assert.equal(by('cloudtrail').recordsPath, 'Records')
  assert.equal(by('cloudfront').decoder, 'w3c')
  assert.equal(by('cloudfront').fieldSeparator, '\t')
  assert.equal(by('vpc_flow_header').decoder, 'csv')
  assert.equal(by('rds_mysql_slow').multilineStart, '^# Time: ')
  assert.ok(by('rds_postgres').multilineStart)
  for (const name of [
    'zscaler',
    'cloudtrail',
    'guardduty',
    'aws_waf',
    'route53_resolver',
    'lambda',
    'app_json_iso',
    'json_unix',
    'kubernetes',
  ]) {
    assert.equal(by(name).contentType, 'application/x-ndjson', name)
  }
  for (const name of [
    'cisco_umbrella',
    'elb_access',
    'cloudfront',
    'vpc_flow',
    's3_access',
    'generic_csv',
    'text_iso',
  ]) {
    assert.equal(by(name).contentType, 'text/plain', name)
  }
})

test('A16.15: the first line of a Cisco Umbrella file is left out only if it is a header', () => {
  const { key, lines } = exampleOf('cisco_umbrella')
  assert.equal(formats.select(key, sampleOf(lines)).format.skipHeaderLines, 1)
  const older = formats.select(key, sampleOf(lines.slice(1)))
  assert.deepEqual([older.format.name, older.format.skipHeaderLines], ['cisco_umbrella', 0])
  const fixed = createFormats([], { defaultFormat: 'cisco_umbrella' })
  assert.equal(fixed.select('x', sampleOf(lines)).format.skipHeaderLines, 1)
  assert.equal(fixed.select('x', sampleOf(lines.slice(1))).format.skipHeaderLines, 0)
})

test('flow logs and CSV without a header line lose no record', () => {
  for (const name of ['vpc_flow', 'generic_csv']) {
    const { key, lines } = exampleOf(name)
    const chosen = formats.select(key, sampleOf(lines.slice(1)))
    assert.deepEqual([chosen.format.name, chosen.format.skipHeaderLines], [name, 0])
    assert.equal(formats.select(key, sampleOf(lines)).format.skipHeaderLines, 1)
  }
})

test('a Zscaler object is one by its name, whatever is in it', () => {
  const { key } = exampleOf('zscaler')
  for (const sample of [
    '',
    'plain text\n',
    '2025-10-12 21:41:30,user,"a,b"\n',
    '[\n{"a":1},\n{"a":2}\n]',
    '{broken\n',
  ]) {
    const { format, by } = formats.select(key, Buffer.from(sample))
    assert.deepEqual([format.name, by, format.skipHeaderLines, format.decoder], ['zscaler', 'name', 0, 'auto'])
  }
})

test('other JSON is sent as NDJSON and other text line by line', () => {
  const json = formats.select('x/y', Buffer.from('{"a":1}\n{"a":2}\n'))
  assert.deepEqual([json.format.contentType, json.format.decoder, json.by], ['application/x-ndjson', 'auto', 'content'])
  const text = formats.select('x/y', Buffer.from('hello\nworld\n'))
  assert.deepEqual([text.format.decoder, text.format.skipHeaderLines, text.by], ['auto', 0, 'fallback'])
})

test('lines with a decimal comma or commas in the text are no CSV', () => {
  for (const line of ['2024-01-15 10:00:00,123 - root - INFO - a, b', '2024-01-15 10:00:00 INFO a, b, c "d']) {
    const { format } = formats.select('x.log', Buffer.from(`${line}\n${line}\n`))
    assert.equal(format.name, 'text_iso')
    assert.ok(format.timeFromContent(Buffer.from(line), nearMs))
  }
})

test('the MySQL slow log in its older notation is known too', () => {
  const sample = sampleOf([
    '# Time: 240115 10:00:00',
    '# User@Host: user[host] @ [1.2.3.4]',
    '# Query_time: 5.0 Lock_time: 0.0',
    'SELECT 1;',
  ])
  const { format } = formats.select('slowquery/mysql-slowquery.log.3', sample)
  assert.equal(format.name, 'rds_mysql_slow')
  assert.equal(iso(format.timeFromContent(sample, nearMs)), '2024-01-15T10:00:00.000Z')
})

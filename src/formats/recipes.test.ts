/** The recipes of the program this one replaces, as its users have them in their files. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as YAML from 'yaml'
import { createFormats } from './compile.ts'
import type { FormatConfig } from './format.ts'
import { presets } from './presets.ts'
import { formatSchema } from './schema.ts'

const yaml = String.raw`
- { name: "cloudtrail", filename_pattern: "*.json.gz", timestamp_regex: "(\\d{4}\\d{2}\\d{2}T\\d{2}\\d{2}\\d{2}Z)", timestamp_format: "20060102T150405Z", content_type: "application/x-ndjson" }
- { name: "elb_access", filename_pattern: "*.log.gz", timestamp_regex: "(\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{6}Z)", timestamp_format: "2006-01-02T15:04:05.000000Z", content_type: "text/plain", field_separator: " " }
- { name: "cloudfront", filename_pattern: "*.gz", timestamp_regex: "(\\d{4}-\\d{2}-\\d{2}\\t\\d{2}:\\d{2}:\\d{2})", timestamp_format: "2006-01-02\t15:04:05", content_type: "text/plain", field_separator: "\t" }
- { name: "vpc_flow", filename_pattern: "*.log.gz", timestamp_regex: "(\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{6}Z)", timestamp_format: "2006-01-02T15:04:05.000000Z", content_type: "text/plain", field_separator: " " }
- { name: "s3_access", filename_pattern: "*.log.gz", timestamp_regex: "\\[(\\d{2}/[A-Za-z]{3}/\\d{4}:\\d{2}:\\d{2}:\\d{2} [+-]\\d{4})\\]", timestamp_format: "02/Jan/2006:15:04:05 -0700", content_type: "text/plain", field_separator: " " }
- { name: "rds_mysql_slow", filename_pattern: "slowquery/mysql-slowquery.log.*.gz", timestamp_regex: "# Time: (\\d{6}\\s+\\d{1,2}:\\d{2}:\\d{2})", timestamp_format: "060102 15:04:05", content_type: "text/plain" }
- { name: "rds_postgres", filename_pattern: "error/postgresql.log.*.gz", timestamp_regex: "(\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2} [A-Z]{3})", timestamp_format: "2006-01-02 15:04:05 MST", content_type: "text/plain" }
- { name: "lambda", filename_pattern: "*.json.gz", timestamp_regex: "(\\d{4}/\\d{2}/\\d{2}/\\d{2}/\\d{4}-\\d{6})", timestamp_format: "2006/01/02/15/20060102-150405", content_type: "application/x-ndjson" }
- { name: "app_json_iso", filename_pattern: "app-*.json.gz", timestamp_regex: "\"timestamp\":\"([^\"]+)\"", timestamp_format: "2006-01-02T15:04:05.000Z", content_type: "application/x-ndjson" }
- { name: "syslog_rfc3164", filename_pattern: "*.log.gz", timestamp_regex: "([A-Za-z]{3}\\s+\\d{1,2} \\d{2}:\\d{2}:\\d{2})", timestamp_format: "Jan _2 15:04:05", content_type: "text/plain" }
- { name: "apache_combined", filename_pattern: "access.log*.gz", timestamp_regex: "\\[(\\d{2}/[A-Za-z]{3}/\\d{4}:\\d{2}:\\d{2}:\\d{2} [+-]\\d{4})\\]", timestamp_format: "02/Jan/2006:15:04:05 -0700", content_type: "text/plain", field_separator: " " }
- { name: "nginx_access", filename_pattern: "access.log*.gz", timestamp_regex: "\\[(\\d{2}/[A-Za-z]{3}/\\d{4}:\\d{2}:\\d{2}:\\d{2} [+-]\\d{4})\\]", timestamp_format: "02/Jan/2006:15:04:05 -0700", content_type: "text/plain" }
- { name: "json_unix", filename_pattern: "*.json.gz", timestamp_regex: "\"timestamp\":(\\d+)", timestamp_format: "unix", content_type: "application/x-ndjson" }
- { name: "generic_csv", filename_pattern: "*.csv.gz", timestamp_regex: "^(\\d{4}-\\d{2}-\\d{2} \\d{2}:\\d{2}:\\d{2})", timestamp_format: "2006-01-02 15:04:05", content_type: "text/plain", skip_header_lines: 1, field_separator: "," }
- { name: "text_iso", filename_pattern: "*.log.gz", timestamp_regex: "(\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}(\\.\\d{3})?Z?)", timestamp_format: "2006-01-02T15:04:05Z", content_type: "text/plain" }
- { name: "kubernetes", filename_pattern: "*.log.gz", timestamp_regex: "\"timestamp\":\"([^\"]+)\"", timestamp_format: "2006-01-02T15:04:05.000000Z", content_type: "application/x-ndjson" }
`

const tenOClock = '2024-01-15T10:00:00.000Z'

/** What the recipes' own descriptions show: an object's key or its first lines, and the time in it. */
const examples: Record<string, { key?: string; lines?: string; time: string }> = {
  cloudtrail: { key: '123456789012_CloudTrail_us-east-1_20240115T100000Z.json.gz', time: tenOClock },
  elb_access: {
    lines:
      '2024-01-15T10:00:00.123456Z elb-name 1.2.3.4:12345 5.6.7.8:80 0.000 0.001 0.000 200 200 123 456 "GET /path HTTP/1.1"',
    time: '2024-01-15T10:00:00.123Z',
  },
  cloudfront: { lines: '2024-01-15\t10:00:00\t...', time: tenOClock },
  vpc_flow: {
    lines: '2 123456789012 eni-12345 1.2.3.4 5.6.7.8 80 443 6 10 100 1705315200 1705315260 ACCEPT OK',
    time: '2024-01-15T10:40:00.000Z',
  },
  s3_access: {
    lines:
      '123456789012 123456789012 [15/Jan/2024:10:00:00 +0000] 1.2.3.4 - 123456789012 REST.GET.OBJECT bucket/file "GET /bucket/file HTTP/1.1"',
    time: tenOClock,
  },
  rds_mysql_slow: {
    lines:
      '# Time: 240115 10:00:00\n# User@Host: user[host] @ [1.2.3.4]\n# Query_time: 5.000000 Lock_time: 0.000000\nSELECT * FROM table;',
    time: tenOClock,
  },
  rds_postgres: {
    lines: '2024-01-15 10:00:00 UTC:1.2.3.4(54321):user@db:[12345]:LOG: statement: SELECT * FROM table',
    time: tenOClock,
  },
  lambda: { key: '2024/01/15/10/20240115-100000.json.gz', time: tenOClock },
  app_json_iso: {
    lines: '{"timestamp":"2024-01-15T10:00:00.123Z","level":"INFO","message":"Request processed"}',
    time: '2024-01-15T10:00:00.123Z',
  },
  syslog_rfc3164: { lines: 'Jan 15 10:00:00 server program[123]: Message text', time: tenOClock },
  apache_combined: {
    lines: '1.2.3.4 - - [15/Jan/2024:10:00:00 +0000] "GET /path HTTP/1.1" 200 1234 "http://referer" "User-Agent"',
    time: tenOClock,
  },
  nginx_access: {
    lines: '1.2.3.4 - - [15/Jan/2024:10:00:00 +0000] "GET /path HTTP/1.1" 200 1234 "-" "User-Agent"',
    time: tenOClock,
  },
  json_unix: {
    lines: '{"timestamp":1705315200,"level":"INFO","message":"Request processed"}',
    time: '2024-01-15T10:40:00.000Z',
  },
  generic_csv: {
    lines:
      'timestamp,level,message\n2024-01-15 10:00:00,INFO,Request processed\n2024-01-15 10:00:01,WARN,Slow query detected',
    time: tenOClock,
  },
  text_iso: { lines: '2024-01-15T10:00:00Z INFO Request processed', time: tenOClock },
  kubernetes: {
    lines: '{"timestamp":"2024-01-15T10:00:00.123456Z","level":"INFO","message":"Pod started"}',
    time: '2024-01-15T10:00:00.123Z',
  },
}

/** Recipes whose regex cannot match the example that stands beside it. */
const defective = new Set(['vpc_flow', 'lambda'])

const nearMs = Date.parse('2024-02-01T00:00:00Z')
const recipes: FormatConfig[] = (YAML.parse(yaml) as unknown[]).map((entry) => formatSchema.parse(entry))
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())

function timeIn(formats: ReturnType<typeof createFormats>, name: string): string | undefined {
  const { key, lines } = examples[name] as { key?: string; lines?: string }
  const format = formats.list.find((format) => format.name === name)
  assert.ok(format, name)
  return iso(key === undefined ? format.timeFromContent(Buffer.from(lines ?? ''), nearMs) : format.timeFromKey(key))
}

test('all sixteen recipes load as they are, and have an example and a built-in counterpart', () => {
  assert.equal(recipes.length, 16)
  assert.deepEqual(recipes.map(({ name }) => name).sort(), Object.keys(examples).sort())
  const builtIn = new Set(presets.map(({ name }) => name))
  assert.deepEqual(
    recipes.map(({ name }) => name).filter((name) => !builtIn.has(name)),
    [],
  )
})

for (const { name } of recipes) {
  const formats = createFormats(recipes)
  const expected = examples[name]?.time
  if (defective.has(name)) {
    test(`A5: the regex of recipe ${name} does not match its own example, and its built-in counterpart does`, () => {
      assert.equal(timeIn(formats, name), undefined)
      assert.equal(timeIn(createFormats([]), name), expected)
    })
  } else {
    test(`recipe ${name} finds the time in its own example, and so does its built-in counterpart`, () => {
      assert.equal(timeIn(formats, name), expected)
      assert.equal(timeIn(createFormats([]), name), expected)
    })
  }
}

test('A5: recipes that demand an exact notation miss its variants, the built-in ones do not', () => {
  const time = (formats: ReturnType<typeof createFormats>, name: string, line: string) =>
    iso(formats.list.find((format) => format.name === name)?.timeFromContent(Buffer.from(line), nearMs))
  const old = createFormats(recipes)
  const own = createFormats([])
  for (const [name, line, works] of [
    ['app_json_iso', '{"timestamp":"2024-01-15T10:00:00Z"}', false],
    ['kubernetes', '{"timestamp":"2024-01-15T10:00:00.5+00:00"}', false],
    ['elb_access', '2024-01-15T10:00:00Z elb 1.2.3.4:1 5.6.7.8:80 0 0 0 200 200 1 2 "GET / HTTP/1.1"', false],
    ['text_iso', '2024-01-15T10:00:00.250 INFO', false],
    ['text_iso', '2024-01-15T10:00:00.250Z INFO', true],
  ] as const) {
    assert.equal(time(old, name, line) !== undefined, works, `${name}: ${line}`)
    assert.match(time(own, name, line) ?? '', /^2024-01-15T10:00:00/, `${name}: ${line}`)
  }
})

test('A5: a time without a year is no longer before our era', () => {
  const found = createFormats(recipes, { defaultFormat: 'syslog_rfc3164' })
  const sample = Buffer.from('Jan 15 10:00:00 server program[123]: Message text\n')
  assert.equal(iso(found.select('x', sample).format.timeFromContent(sample, nearMs)), tenOClock)
})

test('A5: recipe globs with a folder fit keys at any depth', () => {
  const formats = createFormats(recipes)
  const fits = (name: string, key: string) => formats.list.find((format) => format.name === name)?.matchesKey(key)
  assert.equal(fits('rds_mysql_slow', 'prod/db/slowquery/mysql-slowquery.log.7.gz'), true)
  assert.equal(fits('rds_postgres', 'prod/db/error/postgresql.log.2024-01-15-10.gz'), true)
})

test('A16.14: with all sixteen, objects get the recipe for their content though the globs overlap', () => {
  const formats = createFormats(recipes, { defaultFormat: 'auto' })
  const chosen = (key: string, lines = '{"a":1}\n') => formats.select(key, Buffer.from(lines)).format.name
  assert.equal(chosen('a/b.log.gz', examples.elb_access?.lines), 'elb_access')
  assert.equal(chosen('a/b.log.gz', examples.s3_access?.lines), 's3_access')
  assert.equal(chosen('a/b.log.gz', examples.syslog_rfc3164?.lines), 'syslog_rfc3164')
  assert.equal(chosen('a/b.log.gz', examples.text_iso?.lines), 'text_iso')
  assert.equal(chosen('a/b.log.gz', examples.kubernetes?.lines), 'kubernetes')
  assert.equal(chosen('a/b.gz', examples.cloudfront?.lines), 'cloudfront')
  assert.equal(chosen('a/b.json.gz', examples.json_unix?.lines), 'json_unix')
  assert.equal(chosen('a/b.csv.gz', examples.generic_csv?.lines), 'generic_csv')
  assert.equal(chosen('a/123456789012_CloudTrail_us-east-1_20240115T100000Z.json.gz'), 'cloudtrail')
})

test('A16.1: with all sixteen and auto, Zscaler objects in Hive folders are still Zscaler objects', () => {
  const formats = createFormats(recipes, { defaultFormat: 'auto' })
  const key = '_weblog/feedname=Threat Team - Web/year=2025/month=10/day=12/1760305292_56442_130_1.gz'
  assert.equal(iso(formats.timeFromKey(key)), '2025-10-12T21:41:32.000Z')
  assert.equal(formats.select(key, Buffer.from('{"sourcetype":"zscalernss-web","event":{}}\n')).format.name, 'zscaler')
})

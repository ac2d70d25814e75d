import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import * as z from 'zod'
import { formatSchema } from './schema.ts'

const minimal = { name: 'x', filename_pattern: '*.log', timestamp_regex: '(\\d{10})' }

function problemOf(extra: Record<string, unknown>): string {
  const result = formatSchema.safeParse({ ...minimal, ...extra })
  assert.ok(!result.success, 'accepted')
  return result.error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('\n')
}

test('name, glob and regex are enough; the rest has the defaults of the old program', () => {
  assert.deepEqual(formatSchema.parse(minimal), {
    ...minimal,
    timestamp_format: 'unix',
    content_type: 'text/plain',
    skip_header_lines: 0,
    decoder: 'auto',
  })
})

test('a missing or empty name, glob or regex is refused', () => {
  for (const key of ['name', 'filename_pattern', 'timestamp_regex']) {
    assert.match(problemOf({ [key]: undefined }), new RegExp(`^${key}: `))
    assert.match(problemOf({ [key]: '' }), new RegExp(`^${key}: `))
  }
})

test('an expression that RE2 cannot compile is refused with the reason', () => {
  assert.equal(
    problemOf({ timestamp_regex: '(\\d{4}' }),
    'timestamp_regex: "(\\\\d{4}" is no RE2 expression: missing closing ): `(\\d{4}`',
  )
  assert.match(problemOf({ timestamp_regex: '(?<=a)(\\d+)' }), /no look-around/)
  assert.match(problemOf({ multiline: { start: '[' } }), /^multiline\.start: "\[" is no RE2 expression: /)
})

test('a layout or glob of no use is refused with the reason', () => {
  assert.match(problemOf({ timestamp_format: '%Y-%m-%d' }), /^timestamp_format: .*strftime/)
  assert.match(problemOf({ timestamp_format: 'unixms' }), /^timestamp_format: .*names no date/)
  assert.match(problemOf({ filename_pattern: '*.[gz' }), /^filename_pattern: .*not closed/)
})

test('content type, separator, header lines and decoder are checked', () => {
  assert.match(problemOf({ content_type: 'ndjson' }), /^content_type: /)
  assert.match(problemOf({ content_type: 'text/plain\r\nX: y' }), /^content_type: /)
  assert.match(problemOf({ field_separator: '||' }), /^field_separator: /)
  assert.match(problemOf({ skip_header_lines: -1 }), /^skip_header_lines: /)
  assert.match(problemOf({ decoder: 'xml' }), /^decoder: /)
  for (const field_separator of [',', '\t', ' ', '\\t', '|', 'é']) formatSchema.parse({ ...minimal, field_separator })
  formatSchema.parse({ ...minimal, content_type: 'text/plain; charset=utf-8' })
})

test('keys that would do nothing with the chosen decoder are refused, as are unknown keys', () => {
  assert.match(problemOf({ decoder: 'csv', multiline: { start: '^x' } }), /^multiline: does nothing/)
  assert.match(problemOf({ decoder: 'lines', records_path: 'Records' }), /^records_path: does nothing/)
  assert.match(problemOf({ timestamp_layout: 'x' }), /timestamp_layout/)
})

test('names of fields are unique and not empty, and need something that cuts records into fields', () => {
  const field_names = ['time', 'cs(User-Agent)']
  for (const cut of [{ field_separator: ' ' }, { decoder: 'csv' }, { decoder: 'w3c' }]) {
    assert.deepEqual(formatSchema.parse({ ...minimal, ...cut, field_names }).field_names, field_names)
  }
  assert.match(problemOf({ field_names: ['a', 'b', 'a'], field_separator: ',' }), /^field_names: names "a" twice$/)
  assert.match(problemOf({ field_names: ['a', ''], field_separator: ',' }), /^field_names\.1: /)
  assert.match(problemOf({ field_names: [], field_separator: ',' }), /^field_names: /)
  assert.match(problemOf({ field_names }), /^field_names: does nothing without field_separator/)
  assert.match(problemOf({ field_names, decoder: 'lines' }), /^field_names: does nothing without field_separator/)
  assert.match(problemOf({ field_names, decoder: 'json', field_separator: ',' }), /^field_names: does nothing with/)
})

test('every key has a description in the JSON Schema', () => {
  const schema = z.toJSONSchema(formatSchema, { io: 'input' })
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    assert.ok(typeof value === 'object' && (value.description ?? '').length > 10, key)
  }
})

test('no text makes the schema throw', () => {
  const text = fc.string({ unit: 'binary' })
  void fc.assert(
    fc.property(text, text, text, (filename_pattern, timestamp_regex, timestamp_format) => {
      formatSchema.safeParse({ name: 'x', filename_pattern, timestamp_regex, timestamp_format })
    }),
    { numRuns: 500 },
  )
})

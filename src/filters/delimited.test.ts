import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { type Cut, FieldCursor, fieldIndex, fieldRange, type Quoting, unescaped } from './delimited.ts'

const comma: Cut = { separator: ',', quoting: 'csv', names: [] }
const blank: Cut = { separator: ' ', quoting: 'access', names: [] }
const w3c: Cut = { separator: '\t', quoting: 'none', names: [] }

function valuesOf(cut: Cut, record: Buffer): string[] {
  const cursor = new FieldCursor(cut)
  const values: string[] = []
  cursor.open(record)
  while (cursor.next()) {
    const value = record.subarray(cursor.start, cursor.end)
    values.push(cursor.isEscaped ? unescaped(value, cut.quoting) : value.toString())
  }
  return values
}

const cutText = (cut: Cut, text: string) => valuesOf(cut, Buffer.from(text))

/** Writes fields as a program that keeps the rules of the style does. */
const writers: Record<Quoting, (value: string, separator: string) => string> = {
  csv: (value, separator) =>
    value.includes(separator) || /["\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value,
  access: (value, separator) =>
    value.includes(separator) || /^[["]|["\\]/.test(value) || value === ''
      ? `"${value.replaceAll(/["\\]/g, '\\$&')}"`
      : value,
  none: (value) => value,
}

const text = fc.string({ unit: fc.constantFrom(...'ab,;\t |"\\[]-1é😀xF\n') })

for (const [quoting, separators] of [
  ['csv', [',', ';', '\t', '|', 'é']],
  ['access', [' ', '|']],
  ['none', ['\t', ' ']],
] as const) {
  test(`${quoting}: fields that were joined by the rules of the style are read back as they were`, () => {
    void fc.assert(
      fc.property(
        fc.constantFrom(...separators).chain((separator) =>
          fc.record({
            separator: fc.constant(separator),
            fields: fc.array(quoting === 'none' ? text.map((value) => value.replaceAll(separator, '')) : text, {
              minLength: 1,
              maxLength: 6,
            }),
          }),
        ),
        ({ separator, fields }) => {
          const record = fields.map((value) => writers[quoting](value, separator)).join(separator)
          assert.deepEqual(cutText({ separator, quoting, names: [] }, record), fields)
        },
      ),
      { numRuns: 1000 },
    )
  })
}

test('any bytes are cut: the fields are in order, do not overlap and stay within the record', () => {
  void fc.assert(
    fc.property(
      fc.constantFrom(comma, blank, w3c, { ...comma, separator: 'é' }),
      fc.array(fc.oneof(fc.nat(255), fc.constantFrom(...Buffer.from(',"\\[] \té'))), { maxLength: 60 }),
      (cut, bytes) => {
        const record = Buffer.from(bytes)
        const cursor = new FieldCursor(cut)
        cursor.open(record)
        let before = 0
        let count = 0
        while (cursor.next()) {
          assert.ok(before <= cursor.start && cursor.start <= cursor.end && cursor.end <= record.length)
          assert.deepEqual(fieldRange(cut, record, count), { start: cursor.start, end: cursor.end })
          before = cursor.end
          count += 1
        }
        assert.ok(count >= 1)
        assert.equal(fieldRange(cut, record, count), undefined)
      },
    ),
    { numRuns: 1000 },
  )
})

test('a plain word put in the place of any field leaves all other fields as they were', () => {
  void fc.assert(
    fc.property(
      fc.constantFrom(comma, blank),
      fc.array(text, { minLength: 1, maxLength: 5 }),
      fc.nat(4),
      (cut, fields, nth) => {
        const index = nth % fields.length
        const record = Buffer.from(
          fields.map((value) => writers[cut.quoting](value, cut.separator)).join(cut.separator),
        )
        const range = fieldRange(cut, record, index)
        assert.ok(range)
        const changed = Buffer.concat([record.subarray(0, range.start), Buffer.from('xxx'), record.subarray(range.end)])
        assert.deepEqual(valuesOf(cut, changed), fields.with(index, 'xxx'))
      },
    ),
    { numRuns: 1000 },
  )
})

test('csv: quotes hide separators and line ends, and empty fields count', () => {
  assert.deepEqual(cutText(comma, 'a,"b, ""c""\nd",,"",e,'), ['a', 'b, "c"\nd', '', '', 'e', ''])
  assert.deepEqual(cutText(comma, ''), [''])
  assert.deepEqual(cutText(comma, ' "a", b'), [' "a"', ' b'])
})

test('csv: a field that breaks the rules is taken as it stands, and one that is not closed to the end', () => {
  assert.deepEqual(cutText(comma, '"a"b,c'), ['"a"b', 'c'])
  assert.deepEqual(cutText(comma, 'a"b,c'), ['a"b', 'c'])
  assert.deepEqual(cutText(comma, 'a,"b,c'), ['a', 'b,c'])
  assert.deepEqual(cutText(comma, 'a,"'), ['a', ''])
})

test('access: brackets and quotes hide blanks, escapes are undone', () => {
  assert.deepEqual(cutText(blank, '1.2.3.4 - - [15/Jan/2024:10:00:00 +0000] "GET /a b HTTP/1.1" 200 "-"'), [
    '1.2.3.4',
    '-',
    '-',
    '15/Jan/2024:10:00:00 +0000',
    'GET /a b HTTP/1.1',
    '200',
    '-',
  ])
  assert.deepEqual(cutText(blank, String.raw`"a \"b\" c" "\x22q\x22 \xC3\xA9 \\ \n \xzz" x`), [
    'a "b" c',
    String.raw`"q" é \ \n \xzz`,
    'x',
  ])
})

test('access: what only looks like brackets or quotes is a plain field', () => {
  assert.deepEqual(cutText(blank, '[2001:db8::1]:443 [::1]:80 x'), ['[2001:db8::1]:443', '[::1]:80', 'x'])
  assert.deepEqual(cutText(blank, '[open end'), ['[open', 'end'])
  assert.deepEqual(cutText(blank, '- "h2","http/1.1" 2024'), ['-', '"h2","http/1.1"', '2024'])
})

test('access: a quoted field that was cut off takes the rest, also if its last byte is a backslash', () => {
  assert.deepEqual(cutText(blank, '200 "Mozilla/5.0 (X11; Li'), ['200', 'Mozilla/5.0 (X11; Li'])
  assert.deepEqual(cutText(blank, '200 "Mozilla\\'), ['200', 'Mozilla\\'])
})

test('w3c: quotes and brackets are bytes like any other', () => {
  assert.deepEqual(cutText(w3c, '"a\t[b\t-'), ['"a', '[b', '-'])
})

test('a name is looked up among the names, and by position behind them', () => {
  const cut: Cut = { ...comma, names: ['a', 'sc-status'] }
  assert.deepEqual(
    ['a', 'sc-status', 'field3', 'field10', 'field2', 'field0', 'field', 'field03', 'b'].map((name) =>
      fieldIndex(cut, name),
    ),
    [0, 1, 2, 9, -1, -1, -1, -1, -1],
  )
})

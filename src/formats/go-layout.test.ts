import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { compileGoLayout, layoutProblem, zoneOffsets } from './go-layout.ts'

type Vector = readonly [value: string, ms: number | null, unknownZone?: string]
const file = new URL('../../test/vectors/go-layout.json', import.meta.url)
const golden: { go: string; vectors: [layout: string, values: Vector[]][] } = JSON.parse(readFileSync(file, 'utf8'))

const near = (text: string) => Date.parse(text)
const iso = (ms: number | undefined) => (ms === undefined ? undefined : new Date(ms).toISOString())

/** Hours by which our result differs from Go's on purpose: Go takes a zone name it does not know for UTC. */
function trueHours(zone: string | undefined): number {
  if (zone === undefined) return 0
  if (zone.startsWith('GMT')) return Number(zone.slice(3))
  return /^[+-]/.test(zone) ? Number(zone) : (zoneOffsets[zone] ?? 0)
}

test(`layouts give what time.Parse of ${golden.go} gives, errors included`, () => {
  let checked = 0
  let refused = 0
  let zoned = 0
  const wrong: string[] = []
  for (const [source, values] of golden.vectors) {
    const layout = compileGoLayout(source)
    for (const [value, ms, zone] of values) {
      const expected = ms === null ? undefined : ms - trueHours(zone) * 3_600_000
      const actual = layout.parse(value)
      if (actual !== expected)
        wrong.push(`${JSON.stringify(source)} ${JSON.stringify(value)}: ${actual}, Go ${ms} ${zone ?? ''}`)
      checked++
      if (ms === null) refused++
      if (trueHours(zone) !== 0) zoned++
    }
  }
  assert.deepEqual(wrong, [])
  assert.ok(checked > 3000 && refused > 1000 && zoned > 10, `${checked} vectors, ${refused} refused, ${zoned} zoned`)
})

test('a layout without a year takes the latest year that is not more than a day after the given time', () => {
  const layout = compileGoLayout('Jan _2 15:04:05')
  assert.equal(iso(layout.parse('Jan 15 10:00:00', near('2024-01-15T10:05:00Z'))), '2024-01-15T10:00:00.000Z')
  assert.equal(iso(layout.parse('Dec 31 23:59:59', near('2024-01-01T00:00:10Z'))), '2023-12-31T23:59:59.000Z')
  assert.equal(iso(layout.parse('Jan  1 00:00:05', near('2023-12-31T23:59:00Z'))), '2024-01-01T00:00:05.000Z')
  assert.equal(iso(layout.parse('Jan 20 00:00:00', near('2024-01-15T00:00:00Z'))), '2023-01-20T00:00:00.000Z')
  assert.equal(iso(layout.parse('Feb 29 12:00:00', near('2027-05-01T00:00:00Z'))), '2024-02-29T12:00:00.000Z')
  assert.equal(iso(layout.parse('Feb 29 12:00:00', near('1903-05-01T00:00:00Z'))), '1896-02-29T12:00:00.000Z')
  assert.equal(layout.parse('Feb 30 12:00:00', near('2024-05-01T00:00:00Z')), undefined)
  assert.equal(layout.parse('Jan 15 10:00:00'), Date.parse('0000-01-15T10:00:00Z'))
})

test('a layout with a year ignores the given time', () => {
  assert.equal(
    iso(compileGoLayout('2006-01-02').parse('1999-05-05', near('2024-01-01T00:00:00Z'))),
    '1999-05-05T00:00:00.000Z',
  )
})

test('well-known zone names count with their true offset, ambiguous ones as UTC', () => {
  const layout = compileGoLayout('2006-01-02 15:04:05 MST')
  assert.equal(iso(layout.parse('2024-01-15 10:00:00 PST')), '2024-01-15T18:00:00.000Z')
  assert.equal(iso(layout.parse('2024-07-15 10:00:00 CEST')), '2024-07-15T08:00:00.000Z')
  assert.equal(iso(layout.parse('2024-07-15 10:00:00 BST')), '2024-07-15T10:00:00.000Z')
  assert.equal(iso(layout.parse('2024-07-15 10:00:00 +03')), '2024-07-15T07:00:00.000Z')
})

test('parts of a millisecond are cut off', () => {
  const layout = compileGoLayout('2006-01-02T15:04:05Z07:00')
  assert.equal(layout.parse('1970-01-01T00:00:00.001999Z'), 1)
  assert.equal(layout.parse('1969-12-31T23:59:59.998999Z'), -2)
})

test('a layout that cannot give a time is explained', () => {
  for (const good of [
    '2006-01-02T15:04:05Z',
    'Jan _2 15:04:05',
    '2006-01',
    '2006-002',
    '2006/01/02/15/20060102-150405',
    '060102 15:04:05',
  ]) {
    assert.equal(layoutProblem(good), undefined, good)
  }
  assert.match(layoutProblem('%Y-%m-%d') ?? '', /strftime/)
  assert.match(layoutProblem('YYYY-MM-DD HH:mm:ss') ?? '', /letters for digits/)
  assert.match(layoutProblem('15:04:05') ?? '', /names no date/)
  assert.match(layoutProblem('rfc3339') ?? '', /names no date/)
  assert.match(layoutProblem('') ?? '', /names no date/)
})

test('no layout and no value makes compiling or parsing throw', () => {
  const piece = fc.constantFrom(
    '2006',
    '01',
    '_2',
    '__2',
    '002',
    'Jan',
    'Monday',
    '15',
    '03',
    'PM',
    '.000',
    ',9',
    'MST',
    'Z07:00',
    '-07',
    ' ',
    '/',
    'é',
  )
  const layouts = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join('')),
  )
  const values = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^[0-9A-Za-z +\-:.,/]{0,30}$/))
  void fc.assert(
    fc.property(layouts, values, fc.option(fc.integer(), { nil: undefined }), (layout, value, nearMs) => {
      const ms = compileGoLayout(layout).parse(value, nearMs)
      assert.ok(ms === undefined || Number.isInteger(ms))
      layoutProblem(layout)
    }),
    { numRuns: 2000 },
  )
})

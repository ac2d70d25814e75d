import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type DateParts, folderDate, spanEndMs, templateLevels } from './partition.ts'

/** The date that a path of folders says, as listing finds it. */
function dateOf(path: string): DateParts {
  return path.split('/').reduce<DateParts>((date, name) => folderDate(name, date) ?? date, {})
}

const day = { year: 2025, month: 10, day: 2 }

test('A16.1: date folders are recognised in every layout that is used, padded or not', () => {
  for (const path of [
    'year=2025/month=10/day=2',
    'year=2025/month=10/day=02',
    '_weblog/feedname=Threat Team - Web/year=2025/month=10/day=2',
    '2025/10/02',
    '2025/10/2',
    'AWSLogs/123456789012/CloudTrail/eu-west-1/2025/10/02',
    'dt=2025-10-02',
    'date=20251002',
    '2025-10-02',
    '20251002',
  ]) {
    assert.deepEqual(dateOf(path), day, path)
  }
  for (const path of [
    '2025/10/02/13',
    'year=2025/month=10/day=02/hour=13',
    'dt=2025-10-02/hour=13',
    'dt=2025-10-02-13',
    '2025100213',
  ]) {
    assert.deepEqual(dateOf(path), { ...day, hour: 13 }, path)
  }
  assert.deepEqual(dateOf('2025-10'), { year: 2025, month: 10 })
})

test('folders that are no dates say nothing', () => {
  for (const name of [
    'logs',
    '123456789012',
    '1760305292',
    '99',
    '2025-13-01',
    'day=2',
    'month=10',
    '20251341',
    '31',
    'v2',
  ]) {
    assert.equal(folderDate(name, {}), undefined, name)
  }
  assert.equal(folderDate('31', { year: 2025, month: 2 }), undefined)
  assert.equal(folderDate('24', { ...day }), undefined)
  assert.equal(folderDate('5', { ...day, hour: 3 }), undefined)
})

test('a span ends where the next one begins', () => {
  const end = (date: DateParts) => new Date(spanEndMs(date) as number).toISOString()
  assert.equal(end({ year: 2024 }), '2025-01-01T00:00:00.000Z')
  assert.equal(end({ year: 2024, month: 12 }), '2025-01-01T00:00:00.000Z')
  assert.equal(end({ year: 2024, month: 2, day: 29 }), '2024-03-01T00:00:00.000Z')
  assert.equal(end({ year: 2024, month: 12, day: 31, hour: 23 }), '2025-01-01T00:00:00.000Z')
  assert.equal(spanEndMs({}), undefined)
})

test('a template finds the same dates, one level a folder', () => {
  const dateBy = (template: string, path: string) => {
    const names = path.split('/')
    return templateLevels(template).reduce<DateParts | undefined>(
      (date, level, i) => date && level(names[i] ?? '', date),
      {},
    )
  }
  assert.deepEqual(dateBy('year={yyyy}/month={M}/day={d}/', 'year=2025/month=10/day=2'), day)
  assert.deepEqual(dateBy('{yyyy}/{MM}/{dd}/{HH}', '2025/10/02/07'), { ...day, hour: 7 })
  assert.deepEqual(dateBy('*/{yyyy}{MM}{dd}', 'eu-west-1/20251002'), day)
  assert.equal(dateBy('{yyyy}/{MM}/{dd}', '2025/1/02'), undefined)
  assert.equal(dateBy('a.b={yyyy}', 'axb=2025'), undefined)
})

test('a template that cannot work says why', () => {
  assert.throws(() => templateLevels('{yyyy}/{mm}/'), /unknown \{mm\}, known are \{yyyy\} \{MM\}/)
  assert.throws(() => templateLevels('{MM}/{M}/'), /has the month twice/)
  assert.throws(() => templateLevels('{yyyy}//{MM}'), /empty folder name/)
})

test('every day of every layout is recognised, and no string at all breaks the recogniser', () => {
  const two = (n: number) => String(n).padStart(2, '0')
  fc.assert(
    fc.property(fc.date({ min: new Date('1990-01-01'), max: new Date('2099-12-31'), noInvalidDate: true }), (date) => {
      const [y, m, d] = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate()]
      const expected = { year: y, month: m, day: d }
      for (const path of [
        `${y}/${m}/${d}`,
        `${y}/${two(m)}/${two(d)}`,
        `year=${y}/month=${m}/day=${d}`,
        `dt=${y}-${two(m)}-${two(d)}`,
      ]) {
        assert.deepEqual(dateOf(path), expected)
      }
      assert.ok((spanEndMs(expected) as number) > date.getTime())
    }),
  )
  fc.assert(
    fc.property(fc.string(), (name) => [{}, { year: 2025 }, day].every((parent) => folderDate(name, parent) !== null)),
  )
})

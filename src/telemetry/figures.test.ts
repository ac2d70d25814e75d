import assert from 'node:assert/strict'
import { test } from 'node:test'
import { count, counted, fileSize, roughly, utc } from './figures.ts'

test('sizes are shown in decimal units with three figures at most', () => {
  const shown = [0, 999, 1000, 12_345_678, 123_456_789, 2_880_000_000_000, 5e15].map(fileSize)
  assert.deepEqual(shown, ['0 B', '999 B', '1.0 kB', '12.3 MB', '123 MB', '2.9 TB', '5000 TB'])
})

test('counts have separators, times are UTC to the second', () => {
  assert.equal(count(1_234_567), '1,234,567')
  assert.equal(utc(Date.UTC(2025, 9, 12, 21, 41, 32, 987)), '2025-10-12T21:41:32Z')
})

test('things are counted with their noun, times told in one unit', () => {
  assert.deepEqual(
    [counted(1, 'key'), counted(2000, 'key'), counted(2, 'entry', 'entries')],
    ['1 key', '2,000 keys', '2 entries'],
  )
  assert.deepEqual([3000, 300_000, 10_800_000, 400_000_000].map(roughly), ['3 s', '5 min', '3 h', '5 days'])
})

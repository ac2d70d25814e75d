import assert from 'node:assert/strict'
import { test } from 'node:test'
import { duration, localTime, quoted, rate, shortened, visible } from './text.ts'

test('a key shows its control characters instead of obeying them', () => {
  assert.equal(visible('a\nb\u202Egpj.exe\u200B\u0000\u2028'), 'a‹U+000A›b‹U+202E›gpj.exe‹U+200B›‹U+0000›‹U+2028›')
  assert.equal(visible('<b>été/日本 &amp;</b>'), '<b>été/日本 &amp;</b>')
})

test('a long key keeps its beginning and its end, and no character is cut in two', () => {
  const short = shortened(`begin/${'😀'.repeat(500)}/end.gz`, 50)
  assert.equal([...short].length, 50)
  assert.match(short, /^begin\/.*….*\/end\.gz$/u)
  assert.ok(short.isWellFormed())
  assert.equal(shortened('short', 5), 'short')
})

test('durations have two units at most', () => {
  const seconds = [0, 0.0004, 0.35, 42, 60, 200, 3600, 18_720, 86_400, 273_600]
  assert.deepEqual(seconds.map(duration), [
    '0 s',
    '1 ms',
    '350 ms',
    '42 s',
    '1 min',
    '3 min 20 s',
    '1 h',
    '5 h 12 min',
    '1 d',
    '3 d 4 h',
  ])
})

test('small rates keep a digit', () => {
  assert.deepEqual([0, 0.34, 12.34, 12_345.6].map(rate), ['0/s', '0.3/s', '12.3/s', '12,346/s'])
})

test('a time of another day has its date', () => {
  const noon = new Date(2026, 10, 21, 12, 5, 9).getTime()
  assert.equal(localTime(noon, noon + 3_600_000), '12:05:09')
  assert.equal(localTime(noon, noon + 86_400_000), '2026-11-21 12:05:09')
})

test('commands to copy are safe in a shell', () => {
  assert.deepEqual(['web-logs', "it's; rm -rf /", '', '$(x)'].map(quoted), [
    'web-logs',
    `'it'\\''s; rm -rf /'`,
    "''",
    "'$(x)'",
  ])
})

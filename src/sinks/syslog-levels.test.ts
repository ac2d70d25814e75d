import assert from 'node:assert/strict'
import { test } from 'node:test'
import { facilities, severities, severityOf, timeOf } from './syslog-levels.ts'

test('facilities and severities have the numbers of RFC 5424 6.2.1', () => {
  assert.equal(facilities.length, 24)
  assert.equal(facilities.indexOf('authpriv'), 10)
  assert.equal(facilities.indexOf('local0'), 16)
  assert.equal(facilities.indexOf('local7'), 23)
  assert.deepEqual(severities, ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'])
})

test('a level is a number or a word, in any case; anything else says nothing', () => {
  const cases: Array<[unknown, number | undefined]> = [
    [0, 0],
    [7, 7],
    ['3', 3],
    ['ERROR', 3],
    [' Warn ', 4],
    ['fatal', 2],
    ['critical', 2],
    ['Information', 6],
    ['trace', 7],
    ['panic', 0],
    [8, undefined],
    [30, undefined],
    [-1, undefined],
    [2.5, undefined],
    ['loud', undefined],
    ['constructor', undefined],
    ['', undefined],
    [null, undefined],
    [true, undefined],
    [{}, undefined],
  ]
  for (const [level, severity] of cases) assert.equal(severityOf(level), severity, JSON.stringify(level))
})

test('times are RFC 3339, without a zone UTC, or Unix times of any unit', () => {
  const ms = Date.UTC(2026, 10, 21, 8, 30, 15, 250)
  const seconds = Math.floor(ms / 1000)
  const cases: Array<[unknown, number | undefined]> = [
    ['2026-11-21T08:30:15.250Z', ms],
    ['2026-11-21T08:30:15.250123456Z', ms],
    ['2026-11-21t08:30:15,250z', ms],
    ['2026-11-21 08:30:15.250', ms],
    ['2026-11-21T09:30:15.250+01:00', ms],
    ['2026-11-21T09:30:15.250+0100', ms],
    ['2026-11-21T09:30:15.250+01', ms],
    ['2026-11-21', Date.UTC(2026, 10, 21)],
    [ms, ms],
    [String(ms), ms],
    [seconds, seconds * 1000],
    [seconds + 0.25, ms],
    [`${seconds}.250`, ms],
    [ms * 1000, ms],
    [ms * 1e6, ms],
    [12, undefined],
    ['12', undefined],
    ['2026-13-21T08:30:15Z', undefined],
    ['yesterday', undefined],
    ['2026', undefined],
    [-1, undefined],
    [Number.NaN, undefined],
    [null, undefined],
    [{}, undefined],
  ]
  for (const [value, expected] of cases) assert.equal(timeOf(value), expected, JSON.stringify(value))
})

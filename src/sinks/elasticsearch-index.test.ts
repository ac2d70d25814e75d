import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasPlaceholder, indexAt, indexProblem, nameProblem } from './elasticsearch-index.ts'

test('a template becomes the name for a time in UTC', () => {
  const timeMs = Date.UTC(2026, 0, 2, 3, 59, 59)
  assert.equal(indexAt('logs-{yyyy}.{MM}.{dd}-{HH}', timeMs), 'logs-2026.01.02-03')
  assert.equal(indexAt('logs', timeMs), 'logs')
  assert.equal(hasPlaceholder('logs-{yyyy}'), true)
  assert.equal(hasPlaceholder('logs'), false)
})

test('names that no index can have are told from those that one can', () => {
  for (const name of ['logs', 'logs-{yyyy}.{MM}.{dd}', '.hidden', 'a_b-c+d', 'ünï', '{yyyy}'])
    assert.equal(indexProblem(name), undefined, name)
  const wrong: ReadonlyArray<readonly [string, RegExp]> = [
    ['', /must be a name/],
    ['..', /must be a name/],
    ['Logs', /lower case/],
    ['logs-{YYYY}', /\{YYYY\} is no part of a date/],
    ['logs-{mm}', /\{mm\} is no part of a date/],
    ['logs-{yyyy', /must not contain "\{"/],
    ['a b', /must not contain " "/],
    ['a/b', /must not contain "\/"/],
    ['a,b', /must not contain ","/],
    ['a*', /must not contain "\*"/],
    ['_bulk', /must not start with/],
    ['-a', /must not start with/],
    ['a'.repeat(256), /255 bytes/],
    ['ü'.repeat(128), /255 bytes/],
    [`${'a'.repeat(250)}-{yyyy}{MM}`, /255 bytes/],
  ]
  for (const [name, problem] of wrong) assert.match(indexProblem(name) ?? '', problem, name)
  assert.equal(nameProblem('logs-nginx-default'), undefined)
})

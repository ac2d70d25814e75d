import assert from 'node:assert/strict'
import { test } from 'node:test'
import { address, routeOf } from './route.ts'

test('what an address names is found again, whatever the name of the pipeline', () => {
  for (const pipeline of [undefined, 'web-logs', 'a/b #%', 'ü']) {
    assert.deepEqual(routeOf(address('quarantine', pipeline)), { part: 'quarantine', pipeline })
  }
})

test('an address that means nothing leads to the overview', () => {
  for (const hash of ['', '#', '#nothing', '#%E0', '#__proto__']) assert.equal(routeOf(hash).part, 'overview', hash)
  assert.deepEqual(routeOf('#objects/%E0'), { part: 'objects', pipeline: undefined })
})

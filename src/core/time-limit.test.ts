import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { test } from 'node:test'
import { TimeLimit } from './time-limit.ts'

test('the signal follows the outer one, also one that is aborted already', () => {
  const outer = new AbortController()
  using limit = new TimeLimit(outer.signal, 0)
  assert.equal(limit.signal.aborted, false)
  outer.abort(new Error('stop'))
  assert.match(String(limit.signal.reason), /stop/)
  using late = new TimeLimit(outer.signal, 0)
  assert.ok(late.signal.aborted)
  assert.equal(late.isOver, false)
})

test('when the time is up the signal says so', async () => {
  using limit = new TimeLimit(new AbortController().signal, 5)
  await new Promise((resolve) => limit.signal.addEventListener('abort', resolve))
  assert.ok(limit.isOver)
  assert.match(String(limit.signal.reason), /not done within 0.005 s/)
})

test('after the work nothing is left: no listener, no timer', () => {
  const outer = new AbortController()
  {
    using limit = new TimeLimit(outer.signal, 60_000)
    assert.equal(limit.isOver, false)
    assert.equal(getEventListeners(outer.signal, 'abort').length, 1)
  }
  assert.equal(getEventListeners(outer.signal, 'abort').length, 0)
})

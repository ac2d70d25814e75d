import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BytePace } from './byte-pace.ts'

const live = { signal: new AbortController().signal }

/** True if it resolves before the event loop has turned a few times. */
async function isFree(taken: Promise<void>): Promise<boolean> {
  const turns = (async () => {
    for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve))
    return false
  })()
  return await Promise.race([taken.then(() => true), turns])
}

test('half a second may be made up for, and what is over it waits until it is paid', async () => {
  const over = new AbortController()
  const pace = new BytePace(1000, over.signal)
  assert.ok(await isFree(pace.take(500, live)))
  const next = pace.take(60_000, live)
  assert.equal(await isFree(next), false)
  over.abort(new Error('the run ends'))
  await next
})

test('when it is over nobody waits any more, neither those who wait nor those who come', async () => {
  const over = new AbortController()
  const pace = new BytePace(1, over.signal)
  const waiting = [pace.take(1e9, live), pace.take(Number.MAX_SAFE_INTEGER, live)]
  assert.equal(await isFree(Promise.all(waiting).then(() => undefined)), false)
  over.abort(new Error('the run ends'))
  await Promise.all(waiting)
  assert.ok(await isFree(pace.take(1e9, live)))
})

test('an aborted signal ends the wait with its reason, and nobody else’s', async () => {
  const over = new AbortController()
  const pace = new BytePace(1, over.signal)
  const gone = new AbortController()
  const [first, second] = [pace.take(1e6, gone), pace.take(1e6, live)]
  gone.abort(new Error('the object is given up'))
  await assert.rejects(first, /the object is given up/)
  assert.equal(await isFree(second), false)
  await assert.rejects(pace.take(1, gone), /the object is given up/)
  over.abort(new Error('the run ends'))
  await second
})

test('it becomes quicker, never slower, and what was owed before is forgotten', async () => {
  const pace = new BytePace(1000, live.signal)
  pace.quicken(10)
  assert.ok(await isFree(pace.take(500, live)))
  const slow = pace.take(500, live)
  pace.quicken(1e9)
  assert.ok(await isFree(pace.take(1e6, live)))
  await slow
})

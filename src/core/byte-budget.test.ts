import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ByteBudget } from './byte-budget.ts'

const live = { signal: new AbortController().signal }

test('a taker waits until what others hold leaves room', async () => {
  const budget = new ByteBudget(100)
  assert.ok(budget.tryAcquire(60))
  assert.ok(!budget.tryAcquire(50))
  let granted = false
  const waiting = budget.acquire(50, live).then(() => {
    granted = true
  })
  await Promise.resolve()
  assert.equal(granted, false)
  budget.release(60)
  await waiting
  assert.equal(budget.used, 50)
})

test('one that is larger than the whole budget is let in alone', async () => {
  const budget = new ByteBudget(10)
  await budget.acquire(50, live)
  assert.ok(!budget.tryAcquire(1))
  budget.release(50)
  assert.ok(budget.tryAcquire(1))
})

test('a large taker at the front is not starved by small ones behind it', async () => {
  const budget = new ByteBudget(10)
  await budget.acquire(8, live)
  const order: string[] = []
  const large = budget.acquire(9, live).then(() => order.push('large'))
  const small = budget.acquire(1, live).then(() => order.push('small'))
  budget.release(8)
  await Promise.all([large, small])
  assert.deepEqual(order, ['large', 'small'])
})

test('an aborted waiter takes nothing and lets those behind it go', async () => {
  const budget = new ByteBudget(10)
  await budget.acquire(8, live)
  const aborting = new AbortController()
  const large = budget.acquire(9, { signal: aborting.signal })
  const small = budget.acquire(2, live)
  aborting.abort(new Error('stop'))
  await assert.rejects(large, /stop/)
  await small
  assert.equal(budget.used, 10)
})

test('whatever comes and goes, the limit holds and everyone gets in', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 60 }), async (sizes) => {
      const budget = new ByteBudget(20)
      await Promise.all(
        sizes.map(async (bytes) => {
          if (!budget.tryAcquire(bytes)) await budget.acquire(bytes, live)
          assert.ok(budget.used <= Math.max(20, bytes))
          await new Promise((resolve) => setImmediate(resolve))
          budget.release(bytes)
        }),
      )
      assert.equal(budget.used, 0)
    }),
    { numRuns: 30 },
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Slots } from './slots.ts'

const live = { signal: new AbortController().signal }

test('no more than the given number hold a slot, and waiters come in order', async () => {
  const slots = new Slots(2)
  let holding = 0
  let most = 0
  const order: number[] = []
  const task = async (n: number) => {
    await slots.acquire(live)
    order.push(n)
    holding += 1
    most = Math.max(most, holding)
    await new Promise((resolve) => setImmediate(resolve))
    holding -= 1
    slots.release()
  }
  await Promise.all([0, 1, 2, 3, 4, 5].map(task))
  assert.equal(most, 2)
  assert.deepEqual(order, [0, 1, 2, 3, 4, 5])
})

test('an aborted waiter leaves the queue and takes no slot', async () => {
  const slots = new Slots(1)
  await slots.acquire(live)
  const aborting = new AbortController()
  const waiting = slots.acquire({ signal: aborting.signal })
  aborting.abort(new Error('stop'))
  await assert.rejects(waiting, /stop/)
  slots.release()
  await slots.acquire(live)
  await assert.rejects(slots.acquire({ signal: aborting.signal }), /stop/)
})

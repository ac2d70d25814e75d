import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PartPool } from './part-pool.ts'

const live = { signal: new AbortController().signal }
const isSettled = async (promise: Promise<unknown>) => {
  const pending = Symbol('pending')
  await new Promise(setImmediate)
  return (await Promise.race([promise, Promise.resolve(pending)])) !== pending
}

test('a buffer that was given back is the next one', async () => {
  const pool = new PartPool(100, 2)
  const first = await pool.acquire(60, live)
  assert.equal(first.length, 100)
  pool.release(first)
  assert.equal(await pool.acquire(100, live), first)
  assert.equal(pool.used, 100)
})

test('when all are in use, the next one waits, and they come in order', async () => {
  const pool = new PartPool(100, 1)
  const first = await pool.acquire(100, live)
  const order: number[] = []
  const waiting = [1, 2].map(async (n) => {
    const buffer = await pool.acquire(100, live)
    order.push(n)
    pool.release(buffer)
  })
  assert.equal(await isSettled(Promise.race(waiting)), false)
  pool.release(first)
  await Promise.all(waiting)
  assert.deepEqual([order, pool.used], [[1, 2], 0])
})

test('a large part takes the room of several, and is not passed by small ones', async () => {
  const pool = new PartPool(100, 3)
  const small = await pool.acquire(100, live)
  const large = pool.acquire(250, live)
  const late = pool.acquire(100, live)
  assert.equal(await isSettled(Promise.race([large, late])), false)
  pool.release(small)
  const got = await large
  assert.equal(got.length, 300)
  assert.equal(await isSettled(late), false)
  pool.release(got)
  pool.release(await late)
  assert.equal(pool.used, 0)
})

test('a part larger than everything goes alone', async () => {
  const pool = new PartPool(100, 2)
  const huge = await pool.acquire(1000, live)
  assert.equal(huge.length, 1000)
  assert.equal(pool.used, 200)
  pool.release(huge)
  assert.equal((await pool.acquire(50, live)).length, 100)
})

test('who stops waiting holds nothing', async () => {
  const pool = new PartPool(100, 2)
  const first = await pool.acquire(100, live)
  const stop = new AbortController()
  const large = pool.acquire(200, { signal: stop.signal })
  const small = pool.acquire(100, live)
  stop.abort(new Error('enough'))
  await assert.rejects(large, /enough/)
  pool.release(await small)
  pool.release(first)
  assert.equal(pool.used, 0)
  await assert.rejects(pool.acquire(1, { signal: stop.signal }), /enough/)
})

test('whatever is asked for in whatever order: never more than there is, and everyone is served', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 500 }), { maxLength: 60 }), async (sizes) => {
      const pool = new PartPool(100, 4)
      let held = 0
      let most = 0
      await Promise.all(
        sizes.map(async (bytes) => {
          const buffer = await pool.acquire(bytes, live)
          assert.ok(buffer.length >= bytes)
          held += Math.min(buffer.length, 400)
          most = Math.max(most, held)
          await new Promise(setImmediate)
          held -= Math.min(buffer.length, 400)
          pool.release(buffer)
        }),
      )
      assert.ok(most <= 400, String(most))
      assert.equal(pool.used, 0)
    }),
    { numRuns: 50 },
  )
})

test('small parts take only what they need, and many of them let idle buffers go', async () => {
  const pool = new PartPool(800, 2)
  const large = await pool.acquire(800, live)
  const small = await Promise.all(Array.from({ length: 8 }, () => pool.acquire(100, live)))
  assert.deepEqual(
    small.map(({ length }) => length),
    Array(8).fill(100),
  )
  assert.equal(pool.used, 1600)
  for (const buffer of [large, ...small]) pool.release(buffer)
  assert.equal(pool.used, 0)
  assert.equal(await pool.acquire(700, live), large)
  pool.release(large)
  for (let i = 0; i < 64; i += 1) pool.release(await pool.acquire(10, live))
  assert.notEqual(await pool.acquire(700, live), large)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { backoffMs } from './backoff.ts'

const waits = { minMs: 100, maxMs: 30_000 }

test('the range doubles with each attempt and stops at the longest wait', () => {
  const longest = (attempt: number) => backoffMs(waits, attempt, () => 1)
  assert.deepEqual([1, 2, 3, 4].map(longest), [100, 200, 400, 800])
  assert.equal(longest(20), 30_000)
  assert.equal(longest(100_000), 30_000)
})

test('jitter spreads over the whole range but never retries at once', () => {
  assert.equal(
    backoffMs(waits, 5, () => 0),
    50,
  )
  assert.equal(
    backoffMs(waits, 5, () => 0.5),
    800,
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InTurn, older } from './in-turn.ts'

test('the oldest object that waits for its turn is known at any moment', () => {
  const turn = new InTurn<{ timeMs: number }>()
  assert.equal(turn.oldestMs, undefined)
  const seen: Array<readonly [number, number | undefined]> = []
  for (const { timeMs } of turn.of([5, 1, 4, 2, 3].map((timeMs) => ({ timeMs })))) seen.push([timeMs, turn.oldestMs])
  assert.deepEqual(seen, [
    [5, 1],
    [1, 2],
    [4, 2],
    [2, 3],
    [3, undefined],
  ])
  assert.equal(turn.oldestMs, undefined)
})

test('what a caller leaves behind does not wait any more', () => {
  const turn = new InTurn<{ timeMs: number }>()
  for (const _ of turn.of([{ timeMs: 1 }, { timeMs: 2 }])) break
  assert.equal(turn.oldestMs, undefined)
})

test('of two times the older one counts, if it is known', () => {
  assert.deepEqual(
    [older(2, 1), older(undefined, 1), older(2, undefined), older(undefined, undefined)],
    [1, 1, 2, undefined],
  )
})

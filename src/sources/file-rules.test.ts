import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Finish } from './file-rules.ts'

test('a clock that is set back does not hold a file from the future for as long', () => {
  const finished = { stable: 1, marker: undefined, temporary: [] }
  const finish = new Finish({ config: { min_age: 60_000, finished }, once: false, skewed: () => undefined })
  const dayMs = 86_400_000
  const file = { path: 'a', size: 1, modifiedMs: 9 * dayMs }
  const at = (nowMs: number) => {
    const result = finish.unfinished(file, false, nowMs)
    finish.polled()
    return result
  }
  assert.deepEqual([at(8 * dayMs), at(7 * dayMs), at(7 * dayMs + 59_000)], ['young', 'young', 'young'])
  assert.equal(at(7 * dayMs + 60_000), undefined)
})

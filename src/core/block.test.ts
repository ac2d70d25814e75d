import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blockOf, recordAt, recordStart } from './block.ts'

test('a block of records has one LF after each and knows where each ends', () => {
  const block = blockOf(['one', '', 'three', 'ü'], 7)
  assert.equal(block.data.toString(), 'one\nthree\nü\n')
  assert.equal(block.first, 7)
  assert.deepEqual(
    [...block.ends.keys()].map((i) => recordAt(block, i).toString()),
    ['one', 'three', 'ü'],
  )
  assert.equal(block.data.length, block.ends.at(-1))
  assert.equal(recordStart(block, 1), 4)
})

test('a record is a view of the block, not a copy', () => {
  const block = blockOf(['abc', 'def'])
  assert.equal(recordAt(block, 1).buffer, block.data.buffer)
})

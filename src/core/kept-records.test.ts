import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blockOf } from './block.ts'
import { pickedRecords, reasonOf, recordsOf } from './kept-records.ts'

const block = blockOf(['a', 'bb', 'ccc', 'd'], 10)
const gappy = { ...block, kept: { numbers: Uint32Array.of(10, 12, 13, 17), next: 20, refused: [] } }

test('neighbours are kept with their bytes; numbers only where others were between them', () => {
  const { firstRecord, numbers, data, ends } = recordsOf(block, 1, 3)
  assert.deepEqual([firstRecord, numbers, data.toString(), [...ends]], [11, undefined, 'bb\nccc\n', [3, 7]])
  assert.deepEqual([...(recordsOf(gappy, 1, 3).numbers ?? [])], [12, 13])
})

test('records with others between them are kept with their numbers within the object', () => {
  const picked = pickedRecords(block, [0, 2, 3])
  assert.deepEqual([...(picked.numbers ?? [])], [10, 12, 13])
  assert.deepEqual([picked.firstRecord, picked.data.toString(), [...picked.ends]], [10, 'a\nccc\nd\n', [2, 6, 8]])
  assert.deepEqual([...(pickedRecords(gappy, [1, 3]).numbers ?? [])], [12, 17])
  assert.deepEqual(pickedRecords(block, [1, 2]), recordsOf(block, 1, 3))
})

test('the reason says if there are others', () => {
  assert.equal(reasonOf([{ reason: 'x' }, { reason: 'x' }]), 'x')
  assert.equal(reasonOf([{ reason: 'x' }, { reason: 'y' }, { reason: 'z' }]), 'x (and 2 other reasons)')
})

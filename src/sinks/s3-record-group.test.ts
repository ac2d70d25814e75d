import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOfParts, someObject } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import type { Origin, Part } from '../core/component.ts'
import { groupId, groupRecords } from './s3-record-group.ts'

const other: Origin = { ...someObject, id: 'b/other@1', key: 'other' }

function part(records: string[], o: { object?: Origin; first?: number } = {}): Part {
  return { block: blockOf(records, o.first), from: 0, to: records.length, object: o.object ?? someObject }
}

function idOf(...parts: Part[]): string {
  const [group] = groupRecords(batchOfParts(parts), () => 'all')
  assert.ok(group)
  return groupId(group, 1n)
}

test('records of one name are together, in order, and know where they stood in the batch', () => {
  const parts = [part(['a', 'b']), part(['c'], { object: other }), part(['d', 'e', 'f'], { first: 2 })]
  const groups = groupRecords(batchOfParts(parts), ({ key }) => key)
  assert.deepEqual(
    groups.map(({ origin, starts, count }) => ({ key: origin.key, starts, count })),
    [
      { key: 'k', starts: [0, 3], count: 5 },
      { key: 'other', starts: [2], count: 1 },
    ],
  )
  assert.deepEqual(groups[0]?.parts, [parts[0], parts[2]])
})

test('the same records have the same id, whatever object in memory they are', () => {
  const batch = () => [part(['a', 'b'], { first: 7 }), part(['c'], { object: other })]
  assert.equal(idOf(...batch()), idOf(...batch()))
  assert.match(idOf(...batch()), /^[0-9a-f]{32}$/)
})

test('another batch that begins with the same record has another id: what only the first one held would be lost', () => {
  const ids = [
    idOf(part(['a', 'b'])),
    idOf(part(['a'])),
    idOf(part(['a', 'b']), part(['c'], { object: other })),
    idOf(part(['a', 'b'], { first: 1 })),
    idOf(part(['a', 'b'], { object: other })),
  ]
  assert.equal(new Set(ids).size, ids.length)
})

test('other bytes under the same numbers have another id', () => {
  const [group] = groupRecords(batchOfParts([part(['a'])]), () => 'all')
  assert.ok(group)
  assert.notEqual(groupId(group, 1n), groupId(group, 2n))
})

test('records that a filter left out make another id', () => {
  const kept = (numbers: number[]): Part => {
    const block = { ...blockOf(['a', 'b', 'c']), kept: { numbers: Uint32Array.from(numbers), next: 9, refused: [] } }
    return { block, from: 0, to: 3, object: someObject }
  }
  assert.notEqual(idOf(kept([0, 1, 5])), idOf(kept([0, 2, 5])))
  assert.equal(idOf(kept([0, 1, 5])), idOf(kept([0, 1, 5])))
})

test('a run of a block is named by its own records', () => {
  const block = blockOf(['a', 'b', 'c', 'd'])
  const run = (from: number, to: number): Part => ({ block, from, to, object: someObject })
  assert.notEqual(idOf(run(0, 2)), idOf(run(2, 4)))
  assert.equal(idOf(run(2, 4)), idOf(part(['c', 'd'], { first: 2 })))
})

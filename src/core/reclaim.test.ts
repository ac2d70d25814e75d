import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { keepBelow, reclaim, reclaimEvery } from './reclaim.ts'

const original = globalThis.gc
afterEach(() => {
  globalThis.gc = original
})

test('a young collection is asked for after every so many bytes of output, and not before', () => {
  const asked: unknown[] = []
  globalThis.gc = ((options: unknown) => void asked.push(options)) as NonNullable<typeof globalThis.gc>
  for (let mib = 0; mib < 240; mib += 1) reclaim(2 ** 20)
  assert.equal(asked.length, 15)
  assert.deepEqual(asked[0], { type: 'minor' })
})

test('without the flag nothing happens', () => {
  globalThis.gc = undefined
  for (let i = 0; i < 100; i += 1) reclaim(2 ** 20)
  assert.equal(globalThis.gc, undefined)
})

test('near the size to keep to, each fourth collection is a whole one', () => {
  const types: Array<string | undefined> = []
  const { gc } = globalThis
  globalThis.gc = ((o?: { type?: string }) => void types.push(o?.type)) as typeof gc
  try {
    keepBelow(1)
    for (let i = 0; i < 8; i += 1) reclaim(16 * 2 ** 20)
  } finally {
    globalThis.gc = gc
  }
  assert.equal(types.filter((type) => type === 'major').length, 2)
  assert.equal(types.length, 8)
})

test('who asks for it is looked after sooner', () => {
  let asked = 0
  globalThis.gc = (() => {
    asked += 1
  }) as unknown as NonNullable<typeof globalThis.gc>
  reclaimEvery(4 * 2 ** 20)
  reclaimEvery(8 * 2 ** 20)
  for (let i = 0; i < 16; i += 1) reclaim(2 ** 20)
  assert.equal(asked, 4)
})

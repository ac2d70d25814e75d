import assert from 'node:assert/strict'
import { afterEach, test } from 'node:test'
import { reclaim } from './reclaim.ts'

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

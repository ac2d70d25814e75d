import assert from 'node:assert/strict'
import { test } from 'node:test'
import { firstBytes } from './first-bytes.ts'

test('no more of an answer is read than is wanted, and the rest is given up', async () => {
  let given = 0
  let isClosed = false
  async function* endless() {
    try {
      for (;;) {
        given += 1
        yield await Promise.resolve(Buffer.from('abcd'))
      }
    } finally {
      isClosed = true
    }
  }
  assert.equal((await firstBytes(endless(), 10)).toString(), 'abcdabcdab')
  assert.deepEqual([given, isClosed], [3, true])
})

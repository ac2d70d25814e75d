import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { Crc64, combineCrc64, crc64FromBase64, crc64Of, crc64ToBase64, joinCrc64 } from './crc64.ts'

const bytes = fc.uint8Array({ maxLength: 3000 })

test('the check value of the catalogue and the checksum of nothing', async () => {
  assert.equal((await crc64Of(Buffer.from('123456789'))).toString(16), 'ae8b14860a799888')
  assert.equal(await crc64Of(Buffer.alloc(0)), 0n)
  assert.equal(crc64ToBase64(await crc64Of(Buffer.from('123456789'))), 'rosUhgp5mIg=')
})

test('however bytes are split, the checksums of the parts join to the checksum of the whole', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { maxLength: 12 }), async (pieces) => {
      const parts = await Promise.all(pieces.map(async (piece) => ({ crc: await crc64Of(piece), bytes: piece.length })))
      const whole = await crc64Of(Buffer.concat(pieces))
      assert.equal(joinCrc64(parts), whole)
      assert.equal(
        parts.reduce((crc, part) => combineCrc64(crc, part.crc, part.bytes), 0n),
        whole,
      )
    }),
  )
})

test('checksums that are computed at the same time do not disturb each other', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(bytes, { minLength: 1, maxLength: 6 }), bytes, async (pieces, other) => {
      const [mine, theirs] = [await Crc64.create(), await Crc64.create()]
      for (const piece of pieces) {
        mine.update(piece)
        theirs.update(other)
        mine.digest()
      }
      assert.equal(mine.digest(), await crc64Of(Buffer.concat(pieces)))
      assert.equal(theirs.digest(), await crc64Of(Buffer.concat(pieces.map(() => other))))
    }),
  )
})

test('buffers larger than a slice are summed to their end, several at once', async () => {
  const large = randomBytes(9 * 1024 * 1024 + 7)
  const cut = 5 * 1024 * 1024
  const [whole, first, second] = await Promise.all([
    crc64Of(large),
    crc64Of(large.subarray(0, cut)),
    crc64Of(large.subarray(cut)),
  ])
  assert.equal(combineCrc64(first, second, large.length - cut), whole)
})

test('lengths beyond 4 GiB combine: the power of two lengths is the product of their powers', () => {
  const [a, b] = [0x0123456789abcdefn, 0n]
  const far = 700 * 2 ** 30
  assert.equal(combineCrc64(combineCrc64(a, b, far), b, 12_345), combineCrc64(a, b, far + 12_345))
})

test('the text form goes both ways, and other text is none', () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (crc) => {
      assert.equal(crc64FromBase64(crc64ToBase64(crc)), crc)
    }),
  )
  for (const text of ['', 'rosUhg==', 'rosUhgp5mIg=-3', 'not a checksum'])
    assert.equal(crc64FromBase64(text), undefined)
})

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { crc32 } from 'node:zlib'
import * as fc from 'fast-check'
import { type ChecksumAlgorithm, checksumOfParts, digestOf } from './s3-checksum.ts'
import { type ChunkTrailers, unframed } from './s3-chunked.ts'

test('each algorithm gives its published check value, also when hashers are used again', async () => {
  const expected = {
    CRC64NVME: 'ae8b14860a799888',
    CRC32: 'cbf43926',
    CRC32C: 'e3069283',
    SHA1: createHash('sha1').update('123456789').digest('hex'),
    SHA256: createHash('sha256').update('123456789').digest('hex'),
  } as const
  for (const [algorithm, hex] of Object.entries(expected)) {
    for (const pieces of [['123456789'], ['1234', '', '56789']]) {
      const bytes = pieces.map((piece) => Buffer.from(piece))
      assert.equal((await digestOf(algorithm as ChecksumAlgorithm, bytes)).toString('hex'), hex, algorithm)
    }
  }
  assert.equal(crc32('123456789').toString(16), 'cbf43926')
})

test('the CRCs of any parts combine to the CRC of the whole', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 6 }),
      fc.constantFrom('CRC64NVME' as const, 'CRC32' as const, 'CRC32C' as const),
      async (arrays, algorithm) => {
        const bodies = arrays.map((bytes) => Buffer.from(bytes))
        const parts: Array<{ size: number; sum: Buffer }> = []
        for (const body of bodies) parts.push({ size: body.length, sum: await digestOf(algorithm, [body]) })
        const whole = (await digestOf(algorithm, bodies)).toString('base64')
        assert.equal(checksumOfParts(algorithm, 'FULL_OBJECT', parts), whole)
      },
    ),
    { numRuns: 60 },
  )
})

test('a composite checksum is that of the checksums, with the number of parts', async () => {
  const sum = await digestOf('SHA256', [Buffer.from('a')])
  const both = createHash('sha256')
    .update(Buffer.concat([sum, sum]))
    .digest('base64')
  const parts = [
    { size: 1, sum },
    { size: 1, sum },
  ]
  assert.equal(checksumOfParts('SHA256', 'COMPOSITE', parts), `${both}-2`)
  assert.throws(() => checksumOfParts('SHA256', 'FULL_OBJECT', parts))
})

async function unframe(framed: Buffer, pieceBytes: number): Promise<{ body: string; trailers: ChunkTrailers }> {
  const trailers: ChunkTrailers = new Map()
  async function* source() {
    for (let at = 0; at < framed.length; at += pieceBytes) yield framed.subarray(at, at + pieceBytes)
  }
  const pieces: Buffer[] = []
  for await (const piece of unframed(source(), trailers)) pieces.push(Buffer.from(piece))
  return { body: Buffer.concat(pieces).toString(), trailers }
}

test('the framing of aws-chunked comes off wherever the pieces are cut, and broken framing is told', async () => {
  const framed = Buffer.from(
    '5\r\nhello\r\n6;chunk-signature=00\r\n world\r\n0;chunk-signature=01\r\nx-amz-checksum-crc32:DUoRhQ==\r\n\r\n',
  )
  for (let size = 1; size <= framed.length; size += 1) {
    const { body, trailers } = await unframe(framed, size)
    assert.equal(body, 'hello world')
    assert.deepEqual([...trailers], [['x-amz-checksum-crc32', 'DUoRhQ==']])
  }
  for (const broken of ['5\r\nhello', '5\r\nhelloX\r\n0\r\n\r\n', 'zz\r\n', '5\r\nhello\r\n', '', 'x'.repeat(9000)]) {
    await assert.rejects(unframe(Buffer.from(broken), 7), RangeError, broken)
  }
})

/**
 * The checksums of S3, computed by other means than the product's own, so that one checks the other:
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
 */
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { createCRC32, createCRC64, type IHasher } from 'hash-wasm'

export const checksumAlgorithms = ['CRC64NVME', 'CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const
export type ChecksumAlgorithm = (typeof checksumAlgorithms)[number]
export type ChecksumType = 'FULL_OBJECT' | 'COMPOSITE'

/** A checksum as S3 keeps it with an object. `value` is base64, with `-<parts>` if composite. */
export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  readonly type: ChecksumType
  readonly value: string
}

export const checksumBytes = { CRC64NVME: 8, CRC32: 4, CRC32C: 4, SHA1: 20, SHA256: 32 } as const

/** One checksum being computed; `end` is called once, and always, for it gives the memory back. */
export interface Digest {
  update(piece: Buffer): void
  end(): Buffer
}

/** Hashers of hash-wasm take a WASM instance each, so they are used again. */
const idle: Record<'CRC64NVME' | 'CRC32C', IHasher[]> = { CRC64NVME: [], CRC32C: [] }

export async function startDigest(algorithm: ChecksumAlgorithm): Promise<Digest> {
  if (algorithm === 'CRC32') {
    let value = 0
    return {
      update: (piece) => {
        value = crc32(piece, value)
      },
      end: () => bigEndian(BigInt(value), 4),
    }
  }
  if (algorithm === 'SHA1' || algorithm === 'SHA256') {
    const hash = createHash(algorithm)
    return { update: (piece) => void hash.update(piece), end: () => hash.digest() }
  }
  const create = () => (algorithm === 'CRC64NVME' ? createCRC64('9a6c9329ac4bc9b5') : createCRC32(0x82f6_3b78))
  const hasher = idle[algorithm].pop() ?? (await create())
  hasher.init()
  return {
    update: (piece) => void hasher.update(piece),
    end: () => {
      const digest = Buffer.from(hasher.digest('hex'), 'hex')
      idle[algorithm].push(hasher)
      return digest
    },
  }
}

export async function digestOf(algorithm: ChecksumAlgorithm, pieces: Iterable<Buffer>): Promise<Buffer> {
  const digest = await startDigest(algorithm)
  for (const piece of pieces) digest.update(piece)
  return digest.end()
}

const polynomials: Partial<Record<ChecksumAlgorithm, bigint>> = {
  CRC64NVME: 0x9a6c_9329_ac4b_c9b5n,
  CRC32: 0xedb8_8320n,
  CRC32C: 0x82f6_3b78n,
}

/** Only the CRCs of parts can be combined into the CRC of the whole. */
export function canBeFullObject(algorithm: ChecksumAlgorithm): boolean {
  return polynomials[algorithm] !== undefined
}

/** The checksum of an object of these parts, in order. */
export function checksumOfParts(
  algorithm: ChecksumAlgorithm,
  type: ChecksumType,
  parts: ReadonlyArray<{ readonly size: number; readonly sum: Buffer }>,
): string {
  if (type === 'COMPOSITE') {
    const digests = Buffer.concat(parts.map(({ sum }) => sum))
    if (algorithm !== 'SHA1' && algorithm !== 'SHA256') throw new Error(`no composite ${algorithm} in the test server`)
    return `${createHash(algorithm).update(digests).digest('base64')}-${parts.length}`
  }
  const polynomial = polynomials[algorithm]
  if (polynomial === undefined) throw new Error(`a ${algorithm} of parts is not that of the whole`)
  const width = checksumBytes[algorithm]
  const shifts = new Map<number, bigint>()
  let whole = 0n
  for (const { size, sum } of parts) {
    const shift = shifts.get(size) ?? powerOfX(size, polynomial, width * 8)
    shifts.set(size, shift)
    whole = multiply(shift, whole, polynomial, width * 8) ^ BigInt(`0x${sum.toString('hex')}`)
  }
  return bigEndian(whole, width).toString('base64')
}

/** a × b modulo the polynomial; the highest bit is the coefficient of x^0, as in all these CRCs. */
function multiply(a: bigint, b: bigint, polynomial: bigint, bits: number): bigint {
  let product = 0n
  let shifted = b
  for (let bit = 1n << BigInt(bits - 1); bit !== 0n; bit >>= 1n) {
    if ((a & bit) !== 0n) product ^= shifted
    shifted = (shifted & 1n) === 0n ? shifted >> 1n : (shifted >> 1n) ^ polynomial
  }
  return product
}

/** x to the power of 8 × `bytes`: what that many bytes do to the CRC of those before them. */
function powerOfX(bytes: number, polynomial: bigint, bits: number): bigint {
  let result = 1n << BigInt(bits - 1)
  let square = 1n << BigInt(bits - 9)
  for (let left = bytes; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = multiply(square, result, polynomial, bits)
    square = multiply(square, square, polynomial, bits)
  }
  return result
}

function bigEndian(value: bigint, bytes: number): Buffer {
  return Buffer.from(value.toString(16).padStart(bytes * 2, '0'), 'hex')
}

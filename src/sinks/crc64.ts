/**
 * CRC64NVME, the checksum that S3 keeps of whole objects however they were uploaded: reflected, polynomial
 * ad93d23594c93659 (here in its reflected form), all ones before and after.
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
 */
import { setImmediate as otherWork } from 'node:timers/promises'
import { createCRC64, type IHasher } from 'hash-wasm'

const polynomial = 0x9a6c9329ac4bc9b5n
/** x^0 and x^1, where the highest bit stands for the lowest power. */
const one = 1n << 63n
const x = 1n << 62n
/** About 2.5 ms of work, after which others have their turn. */
const sliceBytes = 4 * 1024 * 1024

let loading: Promise<IHasher> | undefined

/** The one machine that computes for all: a checksum takes it for an update and keeps the 12 bytes of its state. */
function machine(): Promise<IHasher> {
  loading ??= createCRC64(polynomial.toString(16))
  return loading
}

/** The checksum of bytes that come in pieces. */
export class Crc64 {
  readonly #machine: IHasher
  #state: Uint8Array

  private constructor(hasher: IHasher) {
    this.#machine = hasher
    this.#state = hasher.init().save()
  }

  static async create(): Promise<Crc64> {
    return new Crc64(await machine())
  }

  update(bytes: Uint8Array): this {
    this.#state = this.#machine.load(this.#state).update(bytes).save()
    return this
  }

  /** Of all bytes until now; more may follow. */
  digest(): bigint {
    const bytes = this.#machine.load(this.#state).digest('binary')
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readBigUInt64BE()
  }
}

/** The checksum of a buffer, which must not change meanwhile. */
export async function crc64Of(bytes: Uint8Array): Promise<bigint> {
  const crc = await Crc64.create()
  for (let at = 0; at < bytes.length; at += sliceBytes) {
    if (at > 0) await otherWork()
    crc.update(bytes.subarray(at, at + sliceBytes))
  }
  return crc.digest()
}

/** The checksum of A followed by B, from the checksum of each and the length of B in bytes. */
export function combineCrc64(crcA: bigint, crcB: bigint, lengthB: number): bigint {
  return multiply(crcA, powerOfByte(lengthB)) ^ crcB
}

/** The checksum of parts back to back, in this order. Parts of the same size one after the other cost least. */
export function joinCrc64(parts: Iterable<{ readonly crc: bigint; readonly bytes: number }>): bigint {
  let whole = 0n
  let bytes = 0
  let power = powerOfByte(bytes)
  for (const part of parts) {
    if (part.bytes !== bytes) {
      bytes = part.bytes
      power = powerOfByte(bytes)
    }
    whole = multiply(whole, power) ^ part.crc
  }
  return whole
}

/** As S3 writes it: base64 of the 8 bytes, highest first. */
export function crc64ToBase64(crc: bigint): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(crc)
  return bytes.toString('base64')
}

/** undefined if the text is no such checksum. */
export function crc64FromBase64(text: string): bigint | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === 8 && bytes.toString('base64') === text ? bytes.readBigUInt64BE() : undefined
}

/** x^(8n) modulo the polynomial: by this, a checksum moves on over n bytes. */
function powerOfByte(n: number): bigint {
  let power = one
  let square = x
  for (let bits = 8 * n; bits > 0; bits = Math.floor(bits / 2)) {
    if (bits % 2 === 1) power = multiply(power, square)
    square = multiply(square, square)
  }
  return power
}

/** Product of two polynomials modulo the polynomial, reflected. */
function multiply(a: bigint, b: bigint): bigint {
  let product = 0n
  let shifted = b
  for (let bit = one; bit > 0n && shifted > 0n; bit >>= 1n) {
    if (a & bit) product ^= shifted
    shifted = shifted & 1n ? (shifted >> 1n) ^ polynomial : shifted >> 1n
  }
  return product
}

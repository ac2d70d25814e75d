/** Primitive types of the Kafka protocol: https://kafka.apache.org/protocol#protocol_types */

export class WireReader {
  readonly data: Buffer
  at: number

  constructor(data: Buffer, at = 0) {
    this.data = data
    this.at = at
  }

  #step(bytes: number): number {
    const { at } = this
    if (at + bytes > this.data.length) throw new RangeError('the message ends too early')
    this.at += bytes
    return at
  }

  int8(): number {
    return this.data.readInt8(this.#step(1))
  }
  int16(): number {
    return this.data.readInt16BE(this.#step(2))
  }
  int32(): number {
    return this.data.readInt32BE(this.#step(4))
  }
  int64(): bigint {
    return this.data.readBigInt64BE(this.#step(8))
  }
  uint32(): number {
    return this.data.readUInt32BE(this.#step(4))
  }
  bytes(length: number): Buffer {
    return this.data.subarray(this.#step(length), this.at)
  }

  unsignedVarint(): bigint {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.data.readUInt8(this.#step(1))
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
      if (shift > 63n) throw new RangeError('a varint does not end')
    }
  }

  /** Zigzag, of 64 bits. */
  varint(): bigint {
    const value = this.unsignedVarint()
    return (value >> 1n) ^ -(value & 1n)
  }

  /** Length or count in front of strings, bytes and arrays; -1 for null. */
  length(isFlexible: boolean, width: 2 | 4): number {
    if (isFlexible) return Number(this.unsignedVarint()) - 1
    return width === 2 ? this.int16() : this.int32()
  }

  string(isFlexible: boolean): string | null {
    const length = this.length(isFlexible, 2)
    return length < 0 ? null : this.bytes(length).toString()
  }

  array<T>(isFlexible: boolean, read: () => T): T[] | null {
    const length = this.length(isFlexible, 4)
    return length < 0 ? null : Array.from({ length }, read)
  }

  tags(isFlexible: boolean): void {
    if (!isFlexible) return
    for (let left = this.unsignedVarint(); left > 0n; left -= 1n) {
      this.unsignedVarint()
      this.bytes(Number(this.unsignedVarint()))
    }
  }
}

export class WireWriter {
  readonly #pieces: Buffer[] = []

  #add(bytes: number, write: (piece: Buffer) => void): this {
    const piece = Buffer.alloc(bytes)
    write(piece)
    this.#pieces.push(piece)
    return this
  }

  int8(value: number): this {
    return this.#add(1, (piece) => piece.writeInt8(value))
  }
  int16(value: number): this {
    return this.#add(2, (piece) => piece.writeInt16BE(value))
  }
  int32(value: number): this {
    return this.#add(4, (piece) => piece.writeInt32BE(value))
  }
  int64(value: bigint): this {
    return this.#add(8, (piece) => piece.writeBigInt64BE(value))
  }
  raw(bytes: Buffer): this {
    this.#pieces.push(bytes)
    return this
  }

  unsignedVarint(value: number): this {
    const bytes: number[] = []
    let left = value
    for (; left > 127; left = Math.floor(left / 128)) bytes.push((left % 128) | 128)
    return this.raw(Buffer.from([...bytes, left]))
  }

  length(isFlexible: boolean, width: 2 | 4, value: number): this {
    if (isFlexible) return this.unsignedVarint(value + 1)
    return width === 2 ? this.int16(value) : this.int32(value)
  }

  string(isFlexible: boolean, value: string | null): this {
    if (value === null) return this.length(isFlexible, 2, -1)
    const bytes = Buffer.from(value)
    return this.length(isFlexible, 2, bytes.length).raw(bytes)
  }

  array<T>(isFlexible: boolean, values: readonly T[], write: (value: T) => void): this {
    this.length(isFlexible, 4, values.length)
    for (const value of values) write(value)
    return this
  }

  tags(isFlexible: boolean): this {
    return isFlexible ? this.unsignedVarint(0) : this
  }

  /** The message with its length in front. */
  frame(): Buffer {
    const body = Buffer.concat(this.#pieces)
    const length = Buffer.alloc(4)
    length.writeInt32BE(body.length)
    return Buffer.concat([length, body])
  }
}

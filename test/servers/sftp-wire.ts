/**
 * SFTP version 3 as bytes, the server's half: draft-ietf-secsh-filexfer-02, and PROTOCOL of OpenSSH for its extensions.
 * Strings of the protocol are bytes; here each byte is one UTF-16 unit (latin1), so that names that are not UTF-8 survive.
 */

export const sftpStatus = {
  ok: 0,
  eof: 1,
  noSuchFile: 2,
  permissionDenied: 3,
  failure: 4,
  badMessage: 5,
  noConnection: 6,
  connectionLost: 7,
  unsupported: 8,
} as const
export type SftpStatus = (typeof sftpStatus)[keyof typeof sftpStatus]

/** What OpenSSH says beside each code. */
const statusTexts: Readonly<Record<SftpStatus, string>> = {
  0: 'Success',
  1: 'End of file',
  2: 'No such file',
  3: 'Permission denied',
  4: 'Failure',
  5: 'Bad message',
  6: 'No connection',
  7: 'Connection lost',
  8: 'Operation unsupported',
}

/** Numbers of the requests, by name. */
export const requestTypes = {
  1: 'init',
  3: 'open',
  4: 'close',
  5: 'read',
  7: 'lstat',
  8: 'fstat',
  9: 'setstat',
  10: 'fsetstat',
  11: 'opendir',
  12: 'readdir',
  13: 'remove',
  14: 'mkdir',
  15: 'rmdir',
  16: 'realpath',
  17: 'stat',
  18: 'rename',
  19: 'readlink',
  20: 'symlink',
  200: 'extended',
} as const
export type RequestType = (typeof requestTypes)[keyof typeof requestTypes]

export interface SftpAttributes {
  readonly size: number
  /** With the bits of the kind (S_IFMT). */
  readonly mode: number
  readonly mtimeMs: number
}

/** The attributes of a SETSTAT: only what is to be set. */
export interface GivenAttributes {
  size?: number
  mode?: number
  mtimeMs?: number
}

export interface SftpName {
  /** Latin1, as all strings here. */
  readonly name: string
  /** undefined: a server that tells none. */
  readonly attributes: SftpAttributes | undefined
}

const attribute = { size: 1, owner: 2, mode: 4, times: 8 } as const
const owner = 1000
/** Longest packet that OpenSSH takes. */
export const longestPacket = 256 * 1024
/** Bytes of data in one SSH packet, as ssh2's client offers it. */
const sshPacket = 32 * 1024

/** Thrown for a packet that is not SFTP; OpenSSH ends the channel then. */
export class MalformedPacket extends Error {}

/** Cuts a stream of bytes into packets, without their length. */
export class PacketCutter {
  #rest: Buffer = Buffer.alloc(0)

  /** The packets that are complete now. */
  push(chunk: Buffer): Buffer[] {
    const packets: Buffer[] = []
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    while (bytes.length >= 4) {
      const length = bytes.readUInt32BE(0)
      if (length === 0 || length > longestPacket) throw new MalformedPacket(`a packet of ${length} bytes`)
      if (bytes.length < 4 + length) break
      packets.push(bytes.subarray(4, 4 + length))
      bytes = bytes.subarray(4 + length)
    }
    this.#rest = bytes
    return packets
  }
}

/** Reads the fields of one packet. */
export class PacketFields {
  readonly #bytes: Buffer
  #at = 0

  constructor(packet: Buffer) {
    this.#bytes = packet
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#take(1))
  }

  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4))
  }

  uint64(): number {
    return Number(this.#bytes.readBigUInt64BE(this.#take(8)))
  }

  text(): string {
    const length = this.uint32()
    const from = this.#take(length)
    return this.#bytes.toString('latin1', from, from + length)
  }

  attributes(): GivenAttributes {
    const flags = this.uint32()
    const given: GivenAttributes = {}
    if (flags & attribute.size) given.size = this.uint64()
    if (flags & attribute.owner) this.#take(8)
    if (flags & attribute.mode) given.mode = this.uint32()
    if (flags & attribute.times) {
      this.#take(4)
      given.mtimeMs = this.uint32() * 1000
    }
    return given
  }

  #take(length: number): number {
    const from = this.#at
    if (from + length > this.#bytes.length) throw new MalformedPacket('a packet that ends early')
    this.#at = from + length
    return from
  }
}

/** Fields of an answer, put together. A number is a uint32, a bigint a uint64. */
type Field = number | bigint | string | Buffer

function packet(type: number, fields: readonly Field[]): Buffer {
  let length = 5
  for (const field of fields) {
    length += typeof field === 'number' ? 4 : typeof field === 'bigint' ? 8 : 4 + field.length
  }
  const bytes = Buffer.allocUnsafe(length)
  bytes.writeUInt32BE(length - 4, 0)
  let at = bytes.writeUInt8(type, 4)
  for (const field of fields) {
    if (typeof field === 'number') at = bytes.writeUInt32BE(field, at)
    else if (typeof field === 'bigint') at = bytes.writeBigUInt64BE(field, at)
    else {
      at = bytes.writeUInt32BE(field.length, at)
      at += typeof field === 'string' ? bytes.write(field, at, 'latin1') : field.copy(bytes, at)
    }
  }
  return bytes
}

export function versionAnswer(extensions: Readonly<Record<string, string>>): Buffer {
  return packet(2, [3, ...Object.entries(extensions).flat()])
}

export function statusAnswer(id: number, status: SftpStatus, message = statusTexts[status]): Buffer {
  return packet(101, [id, status, Buffer.from(message), ''])
}

export function handleAnswer(id: number, handle: string): Buffer {
  return packet(102, [id, handle])
}

/** The first SSH packet is filled, the rest of the bytes goes out as it is: nothing is copied twice. */
export function dataAnswer(id: number, bytes: Buffer): Buffer[] {
  const first = Math.min(bytes.length, sshPacket - 13)
  const head = Buffer.allocUnsafe(13 + first)
  head.writeUInt32BE(9 + bytes.length, 0)
  head.writeUInt8(103, 4)
  head.writeUInt32BE(id, 5)
  head.writeUInt32BE(bytes.length, 9)
  bytes.copy(head, 13, 0, first)
  return first === bytes.length ? [head] : [head, bytes.subarray(first)]
}

export function nameAnswer(id: number, names: readonly SftpName[]): Buffer {
  const each = names.map(({ name, attributes }) => [name, longName(name, attributes), ...attributeFields(attributes)])
  return packet(104, [id, names.length, ...each.flat()])
}

export function attributesAnswer(id: number, attributes: SftpAttributes): Buffer {
  return packet(105, [id, ...attributeFields(attributes)])
}

/** The answer to an extended request: numbers of 64 bits, as limits and statvfs have them. */
export function extendedAnswer(id: number, numbers: readonly number[]): Buffer {
  return packet(201, [id, ...numbers.map(BigInt)])
}

function attributeFields(attributes: SftpAttributes | undefined): Field[] {
  if (!attributes) return [0]
  const { size, mode, mtimeMs } = attributes
  const flags = attribute.size | attribute.owner | attribute.mode | attribute.times
  const seconds = Math.floor(mtimeMs / 1000) >>> 0
  return [flags, BigInt(size), owner, owner, mode, seconds, seconds]
}

/** As `ls -l` prints it; clients must not parse it. */
function longName(name: string, attributes: SftpAttributes | undefined): string {
  if (!attributes) return name
  const { size, mode, mtimeMs } = attributes
  const kind = { 4: 'd', 10: 'l', 1: 'p', 2: 'c', 6: 'b', 12: 's' }[mode >> 12] ?? '-'
  const rights = [8, 7, 6, 5, 4, 3, 2, 1, 0].map((bit) => ((mode >> bit) & 1 ? 'xwr'.charAt(bit % 3) : '-')).join('')
  return `${kind}${rights}    1 1000     1000     ${size} ${new Date(mtimeMs).toUTCString().slice(5, 22)} ${name}`
}

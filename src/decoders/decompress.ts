/** Finds out by magic bytes how an object is compressed, layer by layer, and undoes it. Names and headers are not believed. */
import { StreamError } from '../core/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { gunzip, isGzip } from './gzip.ts'
import type { Gate } from './inflate.ts'
import { isZstd, unzstd } from './zstd.ts'

/** Deeper than this is no log but an attack. */
const maxLayers = 4
/** Content looked at to tell the format, if there is so much. */
export const headBytes = 64 * 1024

interface Compression {
  readonly name: string
  readonly matches: (head: Buffer) => boolean
  readonly decompress: (input: AsyncIterable<Buffer>, gate: Gate) => AsyncGenerator<Buffer, void, undefined>
}

const compressions: readonly Compression[] = [
  { name: 'gzip', matches: isGzip, decompress: gunzip },
  { name: 'zstd', matches: isZstd, decompress: unzstd },
]

/** What we recognise and do not decode: named, so that it is not taken for text and sent as garbage. */
const unsupported: ReadonlyArray<readonly [name: string, magic: Buffer]> = [
  ['xz', Buffer.from('fd377a585a00', 'hex')],
  ['zip', Buffer.from('504b0304', 'hex')],
  ['lz4', Buffer.from('04224d18', 'hex')],
  ['snappy', Buffer.from('ff060000734e61507059', 'hex')],
  ['7z', Buffer.from('377abcaf271c', 'hex')],
  ['Parquet', Buffer.from('PAR1')],
  ['Avro', Buffer.from('Obj\x01')],
  ['ORC', Buffer.from('ORC\x11')],
]
/** After `BZh` and the level: a block, or the end of an empty file. */
const bzip2 = ['314159265359', '177245385090'].map((magic) => Buffer.from(magic, 'hex'))

function isBzip2(head: Buffer): boolean {
  return head.subarray(0, 3).toString('latin1') === 'BZh' && bzip2.some((magic) => head.subarray(4, 10).equals(magic))
}

export interface Decompressed {
  /** Outermost first; empty for plain bytes. */
  readonly layers: readonly string[]
  /** The first bytes of the content: at least 64 KiB if there are so many. */
  readonly head: Buffer
  readonly bytes: AsyncIterable<Buffer>
}

/** Throws decode.unsupported for a compression that is recognised and not supported, and what the first piece throws. */
export async function decompress(input: AsyncIterable<Buffer>, gate: Gate): Promise<Decompressed> {
  const layers: string[] = []
  let reader = new ByteReader(input)
  for (;;) {
    await reader.peek(16)
    const head = reader.chunk
    const found = compressions.find(({ matches }) => matches(head))
    if (!found) {
      const other = unsupported.find(([, magic]) => head.subarray(0, magic.length).equals(magic))
      const name = other?.[0] ?? (isBzip2(head) ? 'bzip2' : undefined)
      if (name !== undefined) {
        await reader.close()
        throw new StreamError(
          'decode.unsupported',
          `the object is ${name}, which is not supported: gzip, zstd and plain are`,
        )
      }
      // However small the first pieces are, the format must be seen.
      await reader.peek(headBytes)
      return { layers, head: reader.chunk, bytes: reader.rest() }
    }
    if (layers.length === maxLayers) {
      await reader.close()
      throw new StreamError('decode.unsupported', `the object is compressed more than ${maxLayers} times`)
    }
    // Inner layers inflate what the outer one gives while it holds the slot: a second slot could be waited for in a circle.
    const slots = layers.length === 0 ? gate.slots : undefined
    layers.push(found.name)
    reader = new ByteReader(found.decompress(reader.rest(), { ...gate, slots }))
  }
}

/**
 * The framing of aws-chunked bodies: `<hex size>[;chunk-signature=…]CRLF <bytes> CRLF`, ended by a chunk of size 0,
 * trailers and an empty line. Signatures of chunks are not checked.
 * https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html
 */

/** Names in small letters. */
export type ChunkTrailers = Map<string, string>

/** Longer lines than this are no framing. */
const lineLimit = 8192

/** The bytes without their framing; trailers are added to `trailers`. Throws RangeError if the framing is broken. */
export async function* unframed(
  source: AsyncIterable<Buffer>,
  trailers: ChunkTrailers,
): AsyncGenerator<Buffer, void, undefined> {
  let state: 'size' | 'bytes' | 'gap' | 'trailer' | 'end' = 'size'
  let left = 0
  let rest: Buffer = Buffer.alloc(0)
  for await (const piece of source) {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece])
    while (rest.length > 0 && state !== 'end') {
      if (state === 'bytes') {
        const bytes = rest.subarray(0, left)
        left -= bytes.length
        rest = rest.subarray(bytes.length)
        if (left === 0) state = 'gap'
        yield bytes
        continue
      }
      const lineEnd = rest.indexOf('\r\n')
      if (lineEnd < 0 && rest.length > lineLimit) throw new RangeError('a line of the framing does not end')
      if (lineEnd < 0) break
      const line = rest.toString('latin1', 0, lineEnd)
      rest = rest.subarray(lineEnd + 2)
      if (state === 'size') {
        left = sizeOf(line)
        state = left === 0 ? 'trailer' : 'bytes'
      } else if (state === 'gap') {
        if (line !== '') throw new RangeError('a chunk is longer than its size')
        state = 'size'
      } else {
        const colon = line.indexOf(':')
        if (colon > 0) trailers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
        else state = 'end'
      }
    }
  }
  // The empty line at the end is left out by some clients.
  if (state !== 'end' && state !== 'trailer') throw new RangeError('the last chunk is missing')
}

function sizeOf(line: string): number {
  const [, size] = /^([0-9a-f]{1,12})\s*(?:;.*)?$/i.exec(line) ?? []
  if (size === undefined) throw new RangeError(`not the size of a chunk: ${line.slice(0, 40)}`)
  return Number.parseInt(size, 16)
}

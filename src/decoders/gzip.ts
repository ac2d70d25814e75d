/**
 * gzip, member by member (RFC 1952). Node's own createGunzip loses decoded data when something follows the last member, and
 * stops at zero padding though members follow; so the loop over members is ours, and zlib inflates.
 */
import type { Transform } from 'node:stream'
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib'
import { StreamError } from '../core/errors.ts'
import { ByteReader } from './byte-reader.ts'
import { type Gate, outputChunk, pump } from './inflate.ts'

/** After a member of at most this many compressed bytes, the next one is tried in one go: a stream for each would be slow. */
const smallMember = 64 * 1024
/** Outputs of small members are gathered to this size. */
const gatherBytes = 256 * 1024
/** Compressed bytes of a member kept, to find out how far a corrupt one can be read. */
const keptBytes = 16 * 2 ** 20

export function isGzip(head: Buffer): boolean {
  return head.length >= 3 && head[0] === 0x1f && head[1] === 0x8b && head[2] === 8
}

/** Throws decode.truncated, decode.corrupt or decode.trailing_bytes after everything good was yielded. */
export async function* gunzip(input: AsyncIterable<Buffer>, gate: Gate): AsyncGenerator<Buffer, void, undefined> {
  const reader = new ByteReader(input)
  const gathered: Buffer[] = []
  let gatheredBytes = 0
  let lastMember = Number.POSITIVE_INFINITY
  const take = (): Buffer => {
    const all = gathered.length === 1 ? (gathered[0] as Buffer) : Buffer.concat(gathered, gatheredBytes)
    gathered.length = 0
    gatheredBytes = 0
    return all
  }
  try {
    for (;;) {
      let start = reader.offset
      if (!(await skipHeader(reader, start > 0))) break
      if (lastMember <= smallMember) {
        const whole = inflateSmall(reader)
        if (whole) {
          gathered.push(whole)
          gatheredBytes += whole.length
          lastMember = reader.offset - start
          if (gatheredBytes >= gatherBytes) yield take()
          continue
        }
      }
      if (gatheredBytes > 0) yield take()
      start = reader.offset
      yield* inflateMember(reader, gate)
      lastMember = reader.offset - start
    }
    if (gatheredBytes > 0) yield take()
  } catch (error) {
    if (gatheredBytes > 0) yield take()
    throw error
  } finally {
    await reader.close()
  }
}

function truncated(reader: ByteReader): StreamError {
  const offset = reader.offset + reader.chunk.length
  return new StreamError('decode.truncated', `gzip data ends in the middle of a member, at byte ${offset}`, {
    data: { offset },
  })
}

function corrupt(offset: number, why: string, cause?: unknown): StreamError {
  return new StreamError('decode.corrupt', `gzip data is corrupt near byte ${offset}: ${why}`, {
    data: { offset },
    cause,
  })
}

/** Passes over zero padding and the header of the next member; false if the data ends here. RFC 1952, 2.3. */
async function skipHeader(reader: ByteReader, isLater: boolean): Promise<boolean> {
  // Tapes and some writers pad with zeros after a member; a further member may follow.
  while (isLater && (await reader.has(1)) && reader.chunk[0] === 0) {
    let zeros = 1
    while (zeros < reader.chunk.length && reader.chunk[zeros] === 0) zeros += 1
    reader.skip(zeros)
  }
  if (!(await reader.has(1))) return false
  const hasHeader = await reader.has(10)
  if (!isGzip(reader.chunk)) {
    const { offset } = reader
    const isStart = reader.chunk[0] === 0x1f && (reader.chunk.length < 2 || reader.chunk[1] === 0x8b) && !hasHeader
    if (isStart) throw truncated(reader)
    throw new StreamError('decode.trailing_bytes', `bytes that are no gzip follow the gzip data at byte ${offset}`, {
      data: { offset },
    })
  }
  if (!hasHeader) throw truncated(reader)
  const flags = reader.chunk[3] as number
  if (flags & 0xe0) throw corrupt(reader.offset, 'reserved header flags are set')
  reader.skip(10)
  if (flags & 4) {
    if (!(await reader.has(2))) throw truncated(reader)
    const length = reader.chunk.readUInt16LE(0)
    if (!(await reader.has(2 + length))) throw truncated(reader)
    reader.skip(2 + length)
  }
  // FNAME and FCOMMENT end with a zero byte.
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue
    let end = reader.chunk.indexOf(0)
    while (end < 0) {
      if (reader.chunk.length > 64 * 1024) throw corrupt(reader.offset, 'a header field does not end')
      if (!(await reader.more())) throw truncated(reader)
      end = reader.chunk.indexOf(0)
    }
    reader.skip(end + 1)
  }
  if (flags & 2) {
    if (!(await reader.has(2))) throw truncated(reader)
    reader.skip(2)
  }
  return true
}

/** A member that lies whole in the bytes at hand; undefined if it does not, or is not good. */
function inflateSmall(reader: ByteReader): Buffer | undefined {
  try {
    const { buffer, engine } = inflateRawSync(reader.chunk, {
      info: true,
      chunkSize: 32 * 1024,
      maxOutputLength: 4 * 2 ** 20,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } }
    const used = engine.bytesWritten
    if (reader.chunk.length < used + 8) return undefined
    if (reader.chunk.readUInt32LE(used) !== crc32(buffer)) return undefined
    if (reader.chunk.readUInt32LE(used + 4) !== buffer.length) return undefined
    reader.skip(used + 8)
    return buffer
  } catch {
    return undefined
  }
}

async function* inflateMember(reader: ByteReader, gate: Gate): AsyncGenerator<Buffer, void, undefined> {
  const memberOffset = reader.offset
  let inflater: (Transform & { bytesWritten: number }) | undefined
  const kept: Buffer[] = []
  let consumed = 0
  let decoded = 0
  let sum = 0
  let ended = false
  try {
    while (!ended) {
      if (!(await reader.has(1))) throw truncated(reader)
      const piece = reader.chunk
      inflater ??= createInflateRaw({ chunkSize: outputChunk(piece.length, reader.ended) }).once('end', () => {
        ended = true
      })
      if (consumed <= keptBytes) kept.push(piece)
      await gate.slots?.acquire(gate)
      try {
        for await (const chunk of pump(inflater, piece)) {
          sum = crc32(chunk, sum)
          decoded += chunk.length
          yield chunk
        }
      } finally {
        gate.slots?.release()
      }
      const used = inflater.bytesWritten - consumed
      consumed = inflater.bytesWritten
      // zlib leaves input alone only when its stream has ended.
      if (used < piece.length) ended = true
      reader.skip(used)
      if (!ended && !(await reader.has(1))) ended = await isAtEnd(inflater)
    }
  } catch (error) {
    if (error instanceof StreamError || !isZlibError(error)) throw error
    // The failing call of zlib swallows what it had decoded: go there again in small steps.
    if (consumed <= keptBytes) {
      const good = await readableStart(kept)
      for (const chunk of good) {
        const from = Math.max(0, decoded - chunk.at)
        if (from < chunk.data.length) yield chunk.data.subarray(from)
      }
    }
    throw corrupt(memberOffset + consumed, error.message, error)
  } finally {
    inflater?.destroy()
  }
  if (!(await reader.has(8))) throw truncated(reader)
  if (reader.chunk.readUInt32LE(0) !== sum >>> 0) throw corrupt(reader.offset, 'the checksum does not match')
  if (reader.chunk.readUInt32LE(4) !== decoded % 2 ** 32) throw corrupt(reader.offset, 'the length does not match')
  reader.skip(8)
}

/** True if the deflate stream ended exactly where the input did: the end event may come a little later than the last write. */
async function isAtEnd(inflater: Transform): Promise<boolean> {
  if (inflater.readableEnded) return true
  await new Promise((resolve) => setImmediate(resolve))
  return inflater.readableEnded
}

function isZlibError(error: unknown): error is Error & { code: string } {
  return error instanceof Error && 'code' in error && /^Z_/.test(String(error.code))
}

/** Everything that can be inflated from the start of a corrupt member, with its place in the output. */
async function readableStart(
  pieces: readonly Buffer[],
): Promise<Array<{ readonly at: number; readonly data: Buffer }>> {
  const all = Buffer.concat(pieces)
  const coarse = 4096
  const failsAt = await feed(all, 0, all.length, coarse)
  return (await feed(all, failsAt.good, Math.min(all.length, failsAt.good + coarse), 1)).output
}

/** Feeds `0..bulk` at once and the rest in steps, up to the first error; `good` is the last place before it. */
async function feed(
  all: Buffer,
  bulk: number,
  to: number,
  step: number,
): Promise<{ readonly good: number; readonly output: Array<{ readonly at: number; readonly data: Buffer }> }> {
  const inflater = createInflateRaw()
  const output: Array<{ readonly at: number; readonly data: Buffer }> = []
  let at = 0
  let good = 0
  try {
    for (let from = 0; from < to; ) {
      const end = from < bulk ? bulk : Math.min(to, from + step)
      for await (const data of pump(inflater, all.subarray(from, end))) {
        output.push({ at, data })
        at += data.length
      }
      good = end
      from = end
    }
  } catch {
    // This is the place that was looked for.
  } finally {
    inflater.destroy()
  }
  return { good, output }
}

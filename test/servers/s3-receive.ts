/** Takes the body of a request as S3 does: unframed, measured, compared with every sum that the client sent. */
import { createHash, type Hash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { S3Fault } from './s3-answer.ts'
import { type ChecksumAlgorithm, checksumAlgorithms, type Digest, digestOf, startDigest } from './s3-checksum.ts'
import { type ChunkTrailers, unframed } from './s3-chunked.ts'
import {
  checksumHeader,
  invalidChecksum,
  invalidRequest,
  isChecksum,
  type S3ErrorAnswer,
  s3Errors,
  wrongChecksum,
} from './s3-wire.ts'

/** A body that arrived whole. */
export interface Received {
  readonly size: number
  /** Undefined if bodies are not kept. */
  readonly body: Buffer | undefined
  readonly md5: Buffer
  /** CRC64NVME always, others if the request names them. */
  readonly sums: Readonly<Partial<Record<ChecksumAlgorithm, Buffer>>>
  /** The algorithm whose value the client sent. */
  readonly sent: ChecksumAlgorithm | undefined
}

export interface ReceiveOptions {
  readonly keep: boolean
  /** Compares x-amz-checksum-*; a server that does not know them takes no notice. */
  readonly checksums: boolean
  /** An algorithm that is needed whatever the request says. */
  readonly algorithm?: ChecksumAlgorithm | undefined
  readonly fault?: S3Fault | undefined
  readonly counters: { bytesReceived: number }
}

/** The body, an error of S3, or undefined if a fault ended the connection or stopped reading. */
export async function receive(
  incoming: IncomingMessage,
  o: ReceiveOptions,
): Promise<Received | S3ErrorAnswer | undefined> {
  const named = namedChecksums(incoming)
  const digests = new Map<ChecksumAlgorithm, Digest>()
  for (const algorithm of new Set<ChecksumAlgorithm>(['CRC64NVME', ...named, ...(o.algorithm ? [o.algorithm] : [])])) {
    digests.set(algorithm, await startDigest(algorithm))
  }
  const md5 = createHash('md5')
  const sha = header(incoming, 'x-amz-content-sha256')
  const signed = /^[0-9a-f]{64}$/.test(sha) ? createHash('sha256') : undefined
  const trailers: ChunkTrailers = new Map()
  const sums: Partial<Record<ChecksumAlgorithm, Buffer>> = {}
  let taken: Taken | 'broken' | 'gone'
  try {
    taken = await take(incoming, trailers, o, [md5, ...(signed ? [signed] : []), ...digests.values()])
  } finally {
    for (const [algorithm, digest] of digests) sums[algorithm] = digest.end()
  }
  if (taken === 'gone') return undefined
  if (taken === 'broken') return incompleteBody
  const received: Received = { ...taken, md5: md5.digest(), sums, sent: named[0] }
  const sentLength = header(incoming, 'x-amz-decoded-content-length')
  if (sentLength !== '' && Number(sentLength) !== received.size) return incompleteBody
  if (signed && signed.digest('hex') !== sha) return sha256Mismatch
  const refusal = compareMd5(header(incoming, 'content-md5'), received.md5)
  if (refusal || !o.checksums) return refusal ?? received
  return compareChecksums(incoming, trailers, named, received) ?? received
}

/** A body changed by a server that lies: its last byte differs, or is missing. */
export async function corrupted(received: Received, kind: 'bytes' | 'bytes_and_sums' | 'size'): Promise<Received> {
  const { body } = received
  const size = Math.max(0, kind === 'size' ? received.size - 1 : received.size)
  const wrong = body === undefined ? undefined : Buffer.from(body.subarray(0, size))
  if (wrong !== undefined && size > 0 && kind !== 'size') wrong[size - 1]! ^= 0xff
  if (kind === 'bytes') return { ...received, body: wrong }
  const sums: Partial<Record<ChecksumAlgorithm, Buffer>> = {}
  for (const algorithm of checksumAlgorithms) {
    const sum = received.sums[algorithm]
    if (sum) sums[algorithm] = wrong ? await digestOf(algorithm, [wrong]) : Buffer.from(sum.map((byte) => byte ^ 0x5a))
  }
  return { ...received, body: wrong, size, sums }
}

type Taken = Pick<Received, 'size' | 'body'>

async function take(
  incoming: IncomingMessage,
  trailers: ChunkTrailers,
  o: ReceiveOptions,
  sinks: ReadonlyArray<Hash | Digest>,
): Promise<Taken | 'broken' | 'gone'> {
  const pieces: Buffer[] = []
  let size = 0
  const source = limited(incoming, o)
  try {
    for await (const piece of isChunked(incoming) ? unframed(source, trailers) : source) {
      size += piece.length
      for (const sink of sinks) sink.update(piece)
      if (o.keep) pieces.push(piece)
    }
  } catch (error) {
    if (error === gone) return 'gone'
    if (error instanceof RangeError) return 'broken'
    throw error
  }
  return { size, body: o.keep ? Buffer.concat(pieces) : undefined }
}

const gone = new Error('a fault ended the request')

/** The bytes of the request up to where a fault ends it; a reset at the end of the body too, if the fault names that byte. */
async function* limited(incoming: IncomingMessage, o: ReceiveOptions): AsyncGenerator<Buffer, void, undefined> {
  const { fault } = o
  const cutAt = fault && 'cutRequestAt' in fault ? fault.cutRequestAt : Number.POSITIVE_INFINITY
  const stallAt = fault && 'stallRequestAt' in fault ? fault.stallRequestAt : Number.POSITIVE_INFINITY
  const end = Math.min(cutAt, stallAt)
  let received = 0
  if (end > 0) {
    // Not destroyed by leaving the loop: a stalled request stays open.
    for await (const chunk of incoming.iterator({ destroyOnReturn: false })) {
      const piece = chunk as Buffer
      received += piece.length
      o.counters.bytesReceived += piece.length
      if (received >= end) break
      yield piece
    }
  }
  if (end === Number.POSITIVE_INFINITY) return
  if (cutAt <= stallAt) incoming.socket.resetAndDestroy()
  throw gone
}

function header(incoming: IncomingMessage, name: string): string {
  return incoming.headers[name]?.toString() ?? ''
}

function isChunked(incoming: IncomingMessage): boolean {
  const framed = header(incoming, 'x-amz-content-sha256').startsWith('STREAMING-')
  return framed || header(incoming, 'content-encoding').includes('aws-chunked')
}

/** The algorithms whose value the request has in a header, or says it will have in a trailer. */
function namedChecksums(incoming: IncomingMessage): ChecksumAlgorithm[] {
  const trailer = header(incoming, 'x-amz-trailer').toLowerCase()
  return checksumAlgorithms.filter((algorithm) => {
    const name = checksumHeader(algorithm)
    return incoming.headers[name] !== undefined || trailer.split(/\s*,\s*/).includes(name)
  })
}

function compareMd5(sent: string, md5: Buffer): S3ErrorAnswer | undefined {
  if (sent === '') return undefined
  if (Buffer.from(sent, 'base64').length !== 16) return invalidDigest
  return sent === md5.toString('base64') ? undefined : s3Errors.badDigest
}

function compareChecksums(
  incoming: IncomingMessage,
  trailers: ChunkTrailers,
  named: readonly ChecksumAlgorithm[],
  received: Received,
): S3ErrorAnswer | undefined {
  if (named.length > 1) return invalidRequest(severalChecksums)
  const [algorithm] = named
  const declared = header(incoming, 'x-amz-sdk-checksum-algorithm')
  if (algorithm === undefined) return declared === '' ? undefined : invalidRequest(noChecksum)
  if (declared !== '' && declared.toUpperCase() !== algorithm) return invalidRequest(noChecksum)
  const name = checksumHeader(algorithm)
  const sent = header(incoming, name) || trailers.get(name)
  if (sent === undefined) return malformedTrailer
  if (!isChecksum(algorithm, sent)) return invalidChecksum(name)
  return sent === received.sums[algorithm]?.toString('base64') ? undefined : wrongChecksum(algorithm)
}

const severalChecksums = 'Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.'
const noChecksum =
  'x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found.'

const incompleteBody: S3ErrorAnswer = {
  status: 400,
  code: 'IncompleteBody',
  message: 'You did not provide the number of bytes specified by the Content-Length HTTP header',
}
const invalidDigest: S3ErrorAnswer = {
  status: 400,
  code: 'InvalidDigest',
  message: 'The Content-MD5 you specified was invalid.',
}
const malformedTrailer: S3ErrorAnswer = {
  status: 400,
  code: 'MalformedTrailerError',
  message: 'The request contained trailing data that was not well-formed or did not conform to our published schema.',
}
const sha256Mismatch: S3ErrorAnswer = {
  status: 400,
  code: 'XAmzContentSHA256Mismatch',
  message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
}

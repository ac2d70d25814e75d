/**
 * Bodies of any size that take no memory: a few blocks, each repeated. They can be read from any offset, so a Range
 * costs nothing, and the gzip form is one single member, as AWS services write it.
 */
import { constants, crc32, deflateRawSync } from 'node:zlib'

export interface Segment {
  readonly bytes: Buffer
  readonly times: number
}

/** Largest piece handed out; larger ones only fill the socket's queue. */
const pieceBytes = 2 ** 18

export class SegmentedBody {
  readonly size: number
  readonly #segments: readonly Segment[]

  constructor(segments: readonly Segment[]) {
    // Short blocks are joined, so that a piece is never a few bytes.
    this.#segments = segments.flatMap(({ bytes, times }) => {
      const join = Math.min(times, Math.floor(pieceBytes / bytes.length))
      if (join < 2) return [{ bytes, times }]
      const joined = { bytes: Buffer.concat(Array<Buffer>(join).fill(bytes)), times: Math.floor(times / join) }
      return times % join === 0
        ? [joined]
        : [joined, { bytes: joined.bytes.subarray(0, bytes.length * (times % join)), times: 1 }]
    })
    this.size = segments.reduce((sum, { bytes, times }) => sum + bytes.length * times, 0)
  }

  /** Bytes from `start` to before `end`; the pieces are shared, do not write to them. */
  *slices(start = 0, end = this.size): Generator<Buffer, void, undefined> {
    let base = 0
    for (const { bytes, times } of this.#segments) {
      const length = bytes.length * times
      let at = Math.max(start - base, 0)
      const stop = Math.min(end - base, length)
      while (at < stop) {
        const within = at % bytes.length
        const size = Math.min(bytes.length - within, stop - at, pieceBytes)
        yield bytes.subarray(within, within + size)
        at += size
      }
      base += length
      if (base >= end) return
    }
  }
}

/** The same content as one gzip member. Blocks end on byte borders (full flush), so a repeated block is compressed once. */
export function gzipped(segments: readonly Segment[], level = 6): SegmentedBody {
  const deflated = segments.map(({ bytes, times }) => ({
    bytes: deflateRawSync(bytes, { level, finishFlush: constants.Z_FULL_FLUSH }),
    times,
  }))
  let crc = 0
  let length = 0
  for (const { bytes, times } of segments) {
    for (let i = 0; i < times; i += 1) crc = crc32(bytes, crc)
    length += bytes.length * times
  }
  const trailer = Buffer.alloc(8)
  trailer.writeUInt32LE(crc, 0)
  trailer.writeUInt32LE(length % 2 ** 32, 4)
  return new SegmentedBody([
    { bytes: Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]), times: 1 },
    ...deflated,
    { bytes: deflateRawSync(Buffer.alloc(0)), times: 1 },
    { bytes: trailer, times: 1 },
  ])
}

/** Text lines of about 200 bytes, `bytes` in all (rounded up to whole blocks of 64 KiB or so). */
export function plainLineSegments(bytes: number): Segment[] {
  let block = ''
  for (let i = 0; block.length < 2 ** 16; i += 1) {
    const n = Math.imul(i + 1, 0x9e3779b1) >>> 0
    block += `2025-10-12T21:41:${String(i % 60).padStart(2, '0')}.${String(n % 1000).padStart(3, '0')}Z host-${n % 97} app[${n % 32768}]: request ${n.toString(16).padStart(8, '0')} took ${n % 5000} ms for /api/v2/items/${n % 1_000_003}?page=${n % 50} by user${n % 7919}@example.com from 10.${n % 251}.${(n >>> 8) % 251}.${(n >>> 16) % 251}\n`
  }
  return [{ bytes: Buffer.from(block), times: Math.ceil(bytes / block.length) }]
}

/** How many lines `plainLineSegments` gives for the same size. */
export function countLines(segments: readonly Segment[]): number {
  let lines = 0
  for (const { bytes, times } of segments) {
    let count = 0
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) count += 1
    lines += count * times
  }
  return lines
}

/** One CloudTrail log file on one line, `{"Records":[…]}`, about `bytes` of JSON; `records` says how many are in it. */
export function cloudTrail(bytes: number): { readonly segments: Segment[]; readonly records: number } {
  const block: string[] = []
  let length = 0
  for (let i = 0; length < 2 ** 20; i += 1) {
    const record = cloudTrailRecord(i)
    block.push(record)
    length += record.length + 1
  }
  const times = Math.max(1, Math.round(bytes / length))
  const first = cloudTrailRecord(block.length)
  return {
    segments: [
      { bytes: Buffer.from(`{"Records":[${first}`), times: 1 },
      { bytes: Buffer.from(`,${block.join(',')}`), times },
      { bytes: Buffer.from(']}'), times: 1 },
    ],
    records: 1 + block.length * times,
  }
}

/** Fields as in https://docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-log-file-examples.html */
function cloudTrailRecord(i: number): string {
  const n = Math.imul(i + 1, 0x9e3779b1) >>> 0
  const id = (salt: number) => (Math.imul(n ^ salt, 0x85ebca6b) >>> 0).toString(16).padStart(8, '0')
  const [name, source] = (
    [
      ['DescribeInstances', 'ec2.amazonaws.com'],
      ['AssumeRole', 'sts.amazonaws.com'],
      ['GetObject', 's3.amazonaws.com'],
      ['Decrypt', 'kms.amazonaws.com'],
    ] as const
  )[n % 4] as readonly [string, string]
  const arn = `arn:aws:sts::123456789012:assumed-role/app-${n % 40}/i-${id(1)}`
  return JSON.stringify({
    eventVersion: '1.09',
    userIdentity: {
      type: 'AssumedRole',
      principalId: `AROA${id(2).toUpperCase()}:i-${id(1)}`,
      arn,
      accountId: '123456789012',
      accessKeyId: `ASIA${id(3).toUpperCase()}`,
      sessionContext: { attributes: { creationDate: '2025-10-12T20:00:01Z', mfaAuthenticated: 'false' } },
    },
    eventTime: `2025-10-12T21:${String(n % 60).padStart(2, '0')}:${String((n >>> 6) % 60).padStart(2, '0')}Z`,
    eventSource: source,
    eventName: name,
    awsRegion: 'eu-west-1',
    sourceIPAddress: `10.${n % 251}.${(n >>> 8) % 251}.${(n >>> 16) % 251}`,
    userAgent: 'aws-sdk-go/1.44.0 (go1.20; linux; amd64) "quoted \\ text" {braces} [brackets]',
    requestParameters: {
      bucketName: `bucket-${n % 100}`,
      key: `a/b/${id(4)}`,
      filters: [{ name: 'tag:x', values: ['1', '2'] }],
    },
    responseElements: null,
    requestID: `${id(5)}-${id(6).slice(4)}`,
    eventID: `${id(7)}-${id(8).slice(4)}-${id(9)}`,
    readOnly: true,
    eventType: 'AwsApiCall',
    managementEvent: true,
    recipientAccountId: '123456789012',
    eventCategory: 'Management',
  })
}

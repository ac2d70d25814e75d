/**
 * The other side of a measurement, in a process of its own: an S3 server with the objects of a scenario and two HTTP
 * inputs that count what they get. Prints one line of JSON (see Served), then serves until its stdin ends.
 *
 *     node bench/servers.ts zscaler [objects=200] | plain [GB=10] | cloudtrail [GB=1] | cloudtrail-gz [GB=1]
 *                           | keys [count=1000000] | small [count=20000]
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type S3Server, startS3 } from '../test/servers/s3.ts'
import {
  cloudTrail,
  countLines,
  gzipped,
  plainLineSegments,
  type Segment,
  SegmentedBody,
} from '../test/servers/s3-bodies.ts'
import { ZscalerData } from '../test/servers/zscaler-data.ts'

/** What a scenario holds. */
export interface Load {
  readonly objects: number
  /** Uncompressed. */
  readonly bytes: number
  /** As stored. */
  readonly storedBytes: number
  /** Lines, or records of CloudTrail. */
  readonly records: number
}

/** The first line of stdout. */
export interface Served extends Load {
  readonly scenario: string
  readonly pid: number
  readonly endpoint: string
  readonly bucket: string
  readonly prefix: string
  readonly inputs: readonly string[]
  /** GET: Stats as JSON. POST: the same, then all counters are 0 again. */
  readonly stats: string
}

export interface Stats {
  /** POSTs taken. */
  readonly requests: number
  readonly bytes: number
  readonly lines: number
  readonly s3: S3Server['counters']
  /** Of this process since its start. */
  readonly cpuSeconds: number
}

const prefix = '_weblog/feedname=Threat Team - Web/'
const startSeconds = Date.UTC(2025, 9, 12) / 1000
const secondsPerDay = 86_400
/** Different bodies; the others repeat them. */
const bodies = 16

const scenarios: Record<string, (s3: S3Server, amount: number | undefined) => Promise<Load> | Load> = {
  zscaler: (s3, amount = 200) => repeated(s3, amount, 6554),
  // 38 lines are 5 KB as gzip.
  small: (s3, amount = 20_000) => repeated(s3, amount, 38),
  plain: (s3, amount = 10) => {
    const segments = plainLineSegments(amount * 1e9)
    return single(s3, 'plain.log', segments, new SegmentedBody(segments), countLines(segments))
  },
  cloudtrail: (s3, amount = 1) => {
    const { segments, records } = cloudTrail(amount * 1e9)
    return single(s3, 'cloudtrail.json', segments, new SegmentedBody(segments), records)
  },
  'cloudtrail-gz': (s3, amount = 1) => {
    const { segments, records } = cloudTrail(amount * 1e9)
    return single(s3, 'cloudtrail.json.gz', segments, gzipped(segments), records)
  },
  keys: (s3, amount = 1_000_000) => {
    const days = Math.max(1, Math.round(amount / 40_000))
    const perDay = Math.ceil(amount / days)
    // Padded days: unpadded ones would not rise with the index.
    s3.addVirtualListing(amount, (i) => {
      const day = Math.floor(i / perDay)
      const date = new Date((startSeconds + day * secondsPerDay) * 1000).toISOString()
      const seconds = startSeconds + day * secondsPerDay + (i % perDay)
      return `${prefix}year=${date.slice(0, 4)}/month=${date.slice(5, 7)}/day=${date.slice(8, 10)}/${seconds}_56442_130_1.gz`
    })
    return { objects: amount, bytes: 0, storedBytes: 0, records: 0 }
  },
}

/** `count` objects in one day, at most one a second, their names in time order. */
async function repeated(s3: S3Server, count: number, linesPerObject: number): Promise<Load> {
  const data = new ZscalerData({ objects: bodies, linesPerObject })
  const stored: Buffer[] = []
  for await (const { gz } of data.all()) stored.push(gz)
  const bodyOf = (i: number) => stored[i % bodies] as Buffer
  const key = (i: number) => `${prefix}year=2025/month=10/day=12/${startSeconds + i}_56442_130_1.gz`
  s3.addVirtualListing(count, key, {
    sizeOf: (i) => bodyOf(i).length,
    lastModifiedOf: (i) => new Date((startSeconds + i + 20) * 1000),
    bodyOf,
  })
  let storedBytes = 0
  for (let i = 0; i < count; i += 1) storedBytes += bodyOf(i).length
  return { objects: count, bytes: count * data.objectBytes, storedBytes, records: count * linesPerObject }
}

function single(s3: S3Server, name: string, content: readonly Segment[], body: SegmentedBody, records: number): Load {
  s3.addVirtual({
    key: `${prefix}year=2025/month=10/day=12/${startSeconds}_${name}`,
    size: body.size,
    body: (from, to) => body.slices(from, to),
    lastModified: new Date((startSeconds + 20) * 1000),
  })
  const bytes = content.reduce((sum, segment) => sum + segment.bytes.length * segment.times, 0)
  return { objects: 1, bytes, storedBytes: body.size, records }
}

const counted = { requests: 0, bytes: 0, lines: 0 }

function count(chunk: Buffer): void {
  counted.bytes += chunk.length
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) counted.lines += 1
}

/** Takes whatever is posted. A body whose last line has no newline counts that line too. */
function take(request: IncomingMessage, response: ServerResponse): void {
  let last = 10
  request.on('data', (chunk: Buffer) => {
    count(chunk)
    last = chunk[chunk.length - 1] ?? last
  })
  request.on('end', () => {
    counted.requests += 1
    if (last !== 10) counted.lines += 1
    response.writeHead(200, { 'content-length': '0' }).end()
  })
}

async function listen(handle: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handle)
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

const [scenario = 'zscaler', amount] = process.argv.slice(2)
const fill = scenarios[scenario]
if (!fill) throw new Error(`cannot serve "${scenario}": it is none of ${Object.keys(scenarios).join(', ')}`)
const s3 = await startS3()
s3.record = false
const load = await fill(s3, amount === undefined ? undefined : Number(amount))
const inputs = [await listen(take), await listen(take)]
const stats = await listen((request, response) => {
  const { user, system } = process.cpuUsage()
  const now: Stats = { ...counted, s3: { ...s3.counters }, cpuSeconds: (user + system) / 1e6 }
  if (request.method === 'POST') {
    Object.assign(counted, { requests: 0, bytes: 0, lines: 0 })
    Object.assign(s3.counters, { list: 0, get: 0, head: 0, put: 0, delete: 0, other: 0, bytesSent: 0 })
  }
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(now))
})
const served: Served = {
  scenario,
  ...load,
  pid: process.pid,
  endpoint: s3.endpoint,
  bucket: 'logs',
  prefix,
  inputs,
  stats,
}
console.log(JSON.stringify(served))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))

/**
 * The other side of the SQS measurements, in a process of its own: S3 with objects of JSON records, a queue that tells of
 * them, and receivers that count. Prints one line of JSON (see QueueServed), then serves until its stdin ends.
 *
 *     node bench/queue-servers.ts [objects=40] [bytes of a record=300]
 */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { gzipSync } from 'node:zlib'
import { startElasticsearch } from '../test/servers/elasticsearch.ts'
import { startKafka } from '../test/servers/kafka.ts'
import { startS3 } from '../test/servers/s3.ts'
import { s3Event } from '../test/servers/s3-events.ts'
import { startSqs } from '../test/servers/sqs.ts'

/** The first line of stdout. */
export interface QueueServed {
  readonly records: number
  /** Uncompressed. */
  readonly bytes: number
  readonly endpoint: string
  readonly queueUrl: string
  readonly http: string
  readonly kafka: string
  readonly elasticsearch: string
  /** Host and port of a TCP server that swallows and counts bytes. */
  readonly tcp: string
  /** GET: QueueStats. POST: the same, then the queue is filled anew and what was counted is 0 again. */
  readonly stats: string
}

export interface QueueStats {
  readonly bytes: number
  /** As far as the receiver can tell them. */
  readonly records: number
  /** Messages in the queue, those being dealt with too. */
  readonly messages: number
}

const [objects = 40, recordBytes = 300] = process.argv.slice(2).map(Number)
const objectBytes = 10e6
const bodies = 8

const methods = ['GET', 'GET', 'GET', 'POST', 'PUT', 'DELETE']

/** One access log record of about `recordBytes` bytes; every 50th has a status of 500 and more. */
function recordOf(n: number): string {
  const start = JSON.stringify({
    time: new Date(Date.UTC(2025, 9, 12) + n * 7).toISOString(),
    status: n % 50 === 0 ? 503 : 200 + (n % 5),
    method: methods[n % methods.length],
    path: `/api/v1/items/${(n * 2654435761) % 1e9}`,
    client: { ip: `10.${n % 250}.${(n >> 8) % 250}.7`, country: 'DE' },
    bytes: (n * 7919) % 100_000,
    ms: n % 1000,
  })
  const fill = Math.max(0, recordBytes - start.length - 16)
  return `${start.slice(0, -1)},"agent":"${'Mozilla/5.0 (X11; Linux x86_64) '.repeat(Math.ceil(fill / 32)).slice(0, fill)}"}`
}

const perObject = Math.floor(objectBytes / (recordOf(1).length + 1))
const texts = Array.from({ length: bodies }, (_, b) =>
  Buffer.from(Array.from({ length: perObject }, (_, i) => `${recordOf(b * perObject + i)}\n`).join('')),
)
const stored = texts.map((text) => gzipSync(text))

const s3 = await startS3()
s3.record = false
const etags = stored.map((body) => createHash('md5').update(body).digest('hex'))

const keyOf = (i: number) => `logs/part-${i}.gz`
for (let i = 0; i < objects; i += 1) s3.put(keyOf(i), stored[i % bodies] as Buffer)

const sqs = await startSqs()
sqs.record = false
sqs.createQueue('bench')
/** Each run has a ledger of its own, so the same objects are new to it. */
const fill = () => {
  for (let i = 0; i < objects; i += 1) {
    const { length: size } = stored[i % bodies] as Buffer
    sqs.send('bench', s3Event({ bucket: 'bench', key: keyOf(i), etag: etags[i % bodies] as string, size }))
  }
}

const counted = { bytes: 0, records: 0, kafka: 0 }
const count = (chunk: Buffer) => {
  counted.bytes += chunk.length
  for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) counted.records += 1
}

async function listen(server: ReturnType<typeof createHttpServer> | ReturnType<typeof createServer>): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const take = (request: IncomingMessage, response: ServerResponse) => {
  request.on('data', count)
  request.on('end', () => response.writeHead(200, { 'content-length': '0' }).end())
}
const http = await listen(createHttpServer(take))
const tcp = await listen(
  createServer((socket) => {
    socket.on('data', (chunk: Buffer) => {
      counted.bytes += chunk.length
    })
    socket.on('error', () => undefined)
  }),
)
const kafka = await startKafka({ count: true, topics: { bench: 8 } })
const elasticsearch = await startElasticsearch({ countOnly: true })
const stats = await listen(
  createHttpServer((request, response) => {
    const taken = (kafka.log.topics.get('bench') ?? []).reduce((sum, partition) => sum + partition.count, 0)
    const now: QueueStats = {
      bytes: counted.bytes,
      records: counted.records + taken - counted.kafka + elasticsearch.records,
      messages: sqs.messages('bench').length,
    }
    if (request.method === 'POST') {
      Object.assign(counted, { bytes: 0, records: 0, kafka: taken })
      elasticsearch.records = 0
      fill()
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(now))
  }),
)
const served: QueueServed = {
  records: objects * perObject,
  bytes: Array.from({ length: objects }, (_, i) => (texts[i % bodies] as Buffer).length).reduce((a, b) => a + b, 0),
  endpoint: s3.endpoint,
  queueUrl: sqs.queueUrl('bench'),
  http: `http://127.0.0.1:${http}/`,
  kafka: kafka.address,
  elasticsearch: elasticsearch.url,
  tcp: `127.0.0.1:${tcp}`,
  stats: `http://127.0.0.1:${stats}/`,
}
console.log(JSON.stringify(served))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))

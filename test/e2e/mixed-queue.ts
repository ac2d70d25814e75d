/** A queue as it is met in the world: every envelope, odd keys, events of nothing new, junk, and things said twice. */
import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import {
  eventBridge,
  objectRemoved,
  type S3EventObject,
  s3Event,
  snsRaw,
  snsWrapped,
  testEvent,
} from '../servers/s3-events.ts'

export interface QueuedObject {
  readonly key: string
  readonly body: Buffer
  readonly lines: readonly string[]
}

export interface MixedQueue {
  /** Objects that are in the bucket, and whose lines must arrive. */
  readonly objects: readonly QueuedObject[]
  /** Bodies of the messages, in the order of sending. */
  readonly messages: readonly string[]
  /** How many of them can never be dealt with. */
  readonly junk: number
}

const names = [
  (i: number) => `plain/${i}.log`,
  (i: number) => `gz/part-${i}.gz`,
  (i: number) => `a folder/with blanks ${i}.log.gz`,
  (i: number) => `plus+plus/${i}+x.gz`,
  (i: number) => `per%cent/${i}%20.log`,
  (i: number) => `ünï/日本-${i}.gz`,
  (i: number) => `../up/../${i}.log`,
  (i: number) => `odd.gz.d/[${i}]*?.log`,
  (i: number) => `year=2025/month=10/day=12/${1760305292 + i}_1_1_1.gz`,
]

const junkBodies = [
  'no JSON at all',
  '42',
  '{"hello":"world"}',
  '{"Records":"many"}',
  '{"Records":[{"eventName":"ObjectCreated:Put"}]}',
  '',
]

/** `objects` objects of `linesEach` lines, and about a third more messages of every other kind. */
export function mixedQueue(o: {
  readonly bucket: string
  readonly objects: number
  readonly linesEach: number
}): MixedQueue {
  const { bucket } = o
  const objects: QueuedObject[] = []
  const messages: string[] = [testEvent(bucket), snsWrapped(testEvent(bucket))]
  let junk = 0
  const event = ({ key, body }: QueuedObject): S3EventObject => ({
    bucket,
    key,
    size: body.length,
    etag: createHash('md5').update(body).digest('hex'),
    region: 'us-east-1',
    eventTime: new Date().toISOString(),
  })
  for (let i = 0; i < o.objects; i += 1) {
    const key = (names[i % names.length] as (i: number) => string)(i)
    const lines = Array.from({ length: o.linesEach }, (_, n) =>
      JSON.stringify({ from: key, n, status: 200 + (n % 400) }),
    )
    const text = Buffer.from(lines.map((line) => `${line}\n`).join(''))
    // Neither the name nor the notification says whether it is compressed.
    objects.push({ key, lines, body: i % 2 === 0 ? gzipSync(text) : text })
  }
  for (let i = 0; i < objects.length; ) {
    const one = event(objects[i] as QueuedObject)
    const shape = i % 8
    if (shape === 0) messages.push(s3Event(one))
    else if (shape === 1) messages.push(snsWrapped(s3Event(one)))
    else if (shape === 2) messages.push(snsRaw(s3Event(one)))
    else if (shape === 3) messages.push(eventBridge(one))
    else if (shape === 4) messages.push(s3Event(one, { sender: 'minio' }))
    else if (shape === 5) messages.push(s3Event(one, { sender: 'ceph' }))
    else if (shape === 6) {
      // Several objects in one message, one of them told of by another message too.
      const several = objects.slice(i, i + 3).map(event)
      messages.push(s3Event(several), s3Event(one))
      i += several.length
      continue
    } else messages.push(snsWrapped(eventBridge(one)))
    if (i % 10 === 3) messages.push(messages.at(-1) as string)
    if (i % 10 === 5) messages.push(objectRemoved({ bucket, key: one.key }))
    if (i % 20 === 7)
      messages.push(s3Event({ ...one, key: `deleted/${i}.gz`, etag: 'd41d8cd98f00b204e9800998ecf8427e' }))
    if (i % 20 === 11) {
      messages.push(junkBodies[junk % junkBodies.length] as string)
      junk += 1
    }
    i += 1
  }
  return { objects, messages, junk }
}

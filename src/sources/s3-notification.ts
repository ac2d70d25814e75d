/**
 * What a message of the queue says: which objects arrived. Four shapes are known, and whatever a mapping describes:
 *
 *   S3 event         {"Records":[{"eventName":"ObjectCreated:Put","s3":{"bucket":{"name":…},"object":{"key":…}}}]}   key URL-encoded
 *   SNS              {"Type":"Notification","Message":"<any of these, as text>"}; raw delivery is without it
 *   EventBridge      {"detail-type":"Object Created","detail":{"bucket":{"name":…},"object":{"key":…}}}              key as it is
 *   s3:TestEvent     {"Service":"Amazon S3","Event":"s3:TestEvent",…}, sent once when a notification is set up
 *
 * https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
 */
import { StreamError } from '../core/errors.ts'

/** An object that a message tells of. */
export interface NotifiedObject {
  readonly bucket: string
  readonly key: string
  /**
   * The key in its other form (URL-encoded, or decoded once more), if that differs: senders disagree on who encodes, so it
   * is tried if there is no object with the first one.
   */
  readonly otherKey: string | undefined
  /** Without quotes. */
  readonly etag: string | undefined
  readonly size: number | undefined
  readonly region: string | undefined
  /** When it happened, ms since the epoch. */
  readonly eventMs: number | undefined
}

export interface Notification {
  readonly objects: readonly NotifiedObject[]
  /** Events that tell of no new object: removed, restored, tagged. */
  readonly ignored: number
  readonly isTest: boolean
  /** What could not be understood while other parts could. */
  readonly problems: readonly string[]
}

/** Dotted paths in messages of another shape. */
export interface Mapping {
  /** Of the list of records; the message itself is the only record if it is left out. */
  readonly records: string | undefined
  /** In a record. */
  readonly bucket: string
  readonly key: string
}

type Json = Record<string, unknown>

const isMap = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value)
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined)
const numberOf = (value: unknown): number | undefined => {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 ? number : undefined
}

/** Envelopes in envelopes: SNS of EventBridge of … is nothing anyone has. */
const maxDepth = 4
/** A message of a megabyte may be wrong in as many places: the first ones say what kind of thing it is. */
const problemLimit = 5

/** Throws source.message if the text is no notification at all. */
export function parseNotification(body: string, mapping?: Mapping): Notification {
  const found = new Found()
  read(parsed(body), found, mapping, 0)
  if (found.objects.length === 0 && found.ignored === 0 && !found.isTest) {
    throw new StreamError('source.message', found.problems.join('; ') || 'holds no event: its list of records is empty')
  }
  return found
}

class Found implements Notification {
  readonly objects: NotifiedObject[] = []
  ignored = 0
  isTest = false
  readonly problems: string[] = []

  wrong(problem: string): void {
    if (this.problems.length < problemLimit && !this.problems.includes(problem)) this.problems.push(problem)
  }
}

function parsed(body: string): unknown {
  try {
    return JSON.parse(body)
  } catch (error) {
    throw new StreamError('source.message', 'is no JSON', { cause: error })
  }
}

function read(message: unknown, found: Found, mapping: Mapping | undefined, depth: number): void {
  if (depth >= maxDepth) {
    found.wrong('has too many envelopes')
    return
  }
  if (Array.isArray(message)) {
    for (const one of message) read(one, found, mapping, depth + 1)
    return
  }
  if (!isMap(message)) {
    found.wrong('is JSON, but no object')
    return
  }
  if (message.Event === 's3:TestEvent') found.isTest = true
  else if (typeof message.Message === 'string' && (message.Type === 'Notification' || 'TopicArn' in message)) {
    try {
      read(parsed(message.Message), found, mapping, depth + 1)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      found.wrong(`the Message of the SNS notification ${error.message}`)
    }
  } else if (isMap(message.detail) && 'detail-type' in message) readEventBridge(message, message.detail, found, mapping)
  else if (Array.isArray(message.Records))
    for (const record of message.Records) readRecord(record, found, mapping, depth)
  else if (mapping) readMapped(message, found, mapping)
  else found.wrong(unknownShape(message))
}

function unknownShape(message: Json): string {
  const keys = Object.keys(message).slice(0, 8).join(', ').slice(0, 200)
  return `is no S3 event, SNS or EventBridge notification (it has ${keys === '' ? 'no keys' : keys}); bucket_path and key_path can say where bucket and key are`
}

function readRecord(record: unknown, found: Found, mapping: Mapping | undefined, depth: number): void {
  if (!isMap(record)) {
    found.wrong('one of its Records is no object')
    return
  }
  // What a function passed on as it got it.
  const inner = isMap(record.Sns) ? record.Sns.Message : record.eventSource === 'aws:sqs' ? record.body : undefined
  if (typeof inner === 'string') {
    try {
      read(parsed(inner), found, mapping, depth + 1)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      found.wrong(`a message within its Records ${error.message}`)
    }
    return
  }
  if (!isMap(record.s3)) {
    if (mapping && valueAt(record, mapping.key) !== undefined) addMapped(record, found, mapping)
    else found.wrong('one of its Records has no `s3`')
    return
  }
  const name = textOf(record.eventName)
  // MinIO writes s3:ObjectCreated:Put, AWS without the prefix.
  if (name !== undefined && !/^(s3:)?ObjectCreated:/.test(name)) {
    found.ignored += 1
    return
  }
  const { bucket, object } = record.s3
  const bucketName = isMap(bucket) ? textOf(bucket.name) : undefined
  const raw = isMap(object) ? textOf(object.key) : undefined
  if (bucketName === undefined || raw === undefined || !isMap(object)) {
    found.wrong('one of its Records names no bucket or no key')
    return
  }
  // Ceph RGW writes keys as they are, everyone else as a form does.
  const isRaw = textOf(record.eventSource)?.startsWith('ceph:') === true
  found.objects.push({
    ...(isRaw ? asWritten(bucketName, raw) : asForm(bucketName, raw)),
    etag: unquoted(object.eTag),
    size: numberOf(object.size),
    region: textOf(record.awsRegion),
    eventMs: timeOf(record.eventTime),
  })
}

function readEventBridge(message: Json, detail: Json, found: Found, mapping: Mapping | undefined): void {
  const { bucket, object } = detail
  if (message['detail-type'] !== 'Object Created') {
    if (mapping && valueAt(message, mapping.key) !== undefined) readMapped(message, found, mapping)
    else if (message.source === 'aws.s3') found.ignored += 1
    else found.wrong(`is an EventBridge event of another kind: ${String(message['detail-type']).slice(0, 80)}`)
    return
  }
  const bucketName = isMap(bucket) ? textOf(bucket.name) : undefined
  const key = isMap(object) ? textOf(object.key) : undefined
  if (bucketName === undefined || key === undefined || !isMap(object)) {
    found.wrong('its detail names no bucket or no key')
    return
  }
  found.objects.push({
    ...asWritten(bucketName, key),
    etag: unquoted(object.etag),
    size: numberOf(object.size),
    region: textOf(message.region),
    eventMs: timeOf(message.time),
  })
}

function readMapped(message: Json, found: Found, mapping: Mapping): void {
  const records = mapping.records === undefined ? [message] : valueAt(message, mapping.records)
  if (!Array.isArray(records)) {
    found.wrong(`has no list at records_path ${mapping.records}`)
    return
  }
  for (const record of records) addMapped(record, found, mapping)
}

function addMapped(record: unknown, found: Found, mapping: Mapping): void {
  const bucket = textOf(textOf(valueAt(record, mapping.bucket))?.replace(/^(s3:\/\/|arn:[\w-]+:s3:::)/, ''))
  const key = textOf(valueAt(record, mapping.key))
  if (bucket === undefined || key === undefined) {
    const missing = bucket === undefined ? `bucket_path ${mapping.bucket}` : `key_path ${mapping.key}`
    found.wrong(`has no text at ${missing}`)
    return
  }
  found.objects.push({
    ...asWritten(bucket, key),
    etag: undefined,
    size: undefined,
    region: undefined,
    eventMs: undefined,
  })
}

function asForm(bucket: string, raw: string) {
  const decoded = decodedKey(raw)
  return { bucket, key: decoded ?? raw, otherKey: decoded === undefined || decoded === raw ? undefined : raw }
}

function asWritten(bucket: string, key: string) {
  const decoded = decodedKey(key)
  return { bucket, key, otherKey: decoded === key ? undefined : decoded }
}

/** The other form of a key of which it is not known any more how it was sent. */
export function otherForm(key: string): string | undefined {
  const forms = [decodedKey(key), encodeURIComponent(key).replaceAll('%20', '+').replaceAll('%2F', '/')]
  return forms.find((form) => form !== undefined && form !== key)
}

/** S3 encodes keys as a form does: + is a blank. undefined if the text is not encoded that way. */
function decodedKey(raw: string): string | undefined {
  try {
    return decodeURIComponent(raw.replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

function unquoted(etag: unknown): string | undefined {
  return textOf(typeof etag === 'string' ? etag.replaceAll('"', '') : undefined)
}

function timeOf(value: unknown): number | undefined {
  const ms = typeof value === 'string' ? Date.parse(value) : Number.NaN
  return Number.isNaN(ms) ? undefined : ms
}

/** The value at a dotted path; a key that has dots itself is found too. */
function valueAt(from: unknown, path: string): unknown {
  if (!isMap(from)) return undefined
  if (Object.hasOwn(from, path)) return from[path]
  for (let dot = path.indexOf('.'); dot >= 0; dot = path.indexOf('.', dot + 1)) {
    const head = path.slice(0, dot)
    if (!Object.hasOwn(from, head)) continue
    const found = valueAt(from[head], path.slice(dot + 1))
    if (found !== undefined) return found
  }
  return undefined
}

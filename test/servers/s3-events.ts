/**
 * Bodies of queue messages that tell of S3 objects, as the services send them.
 *
 * S3 itself: https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
 * EventBridge: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
 * SNS: https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
 */
import { createHash } from 'node:crypto'
import { urlEncodeKey } from './s3-wire.ts'

export interface S3EventObject {
  readonly bucket: string
  /** As it is; the builders encode it as their sender does. */
  readonly key: string
  readonly size?: number
  /** Without quotes. */
  readonly etag?: string
  /** Without `s3:`. */
  readonly eventName?: string
  /** Hexadecimal. */
  readonly sequencer?: string
  /** The bucket has versions. */
  readonly versionId?: string
  readonly region?: string
  /** ISO 8601. */
  readonly eventTime?: string
}

export interface S3EventOptions {
  /**
   * Who sends, which decides the form of the key: `aws` keeps `/`, `minio` encodes it too
   * (https://github.com/minio/minio/issues/11665), `ceph` encodes nothing.
   */
  readonly sender?: 'aws' | 'minio' | 'ceph'
  readonly eventVersion?: string
}

/** One message with a record for each object, in their order. */
export function s3Event(objects: S3EventObject | readonly S3EventObject[], o: S3EventOptions = {}): string {
  const { sender = 'aws', eventVersion = sender === 'minio' ? '2.0' : '2.1' } = o
  const list: readonly S3EventObject[] = 'key' in objects ? [objects] : objects
  const Records = list.map((object) => recordOf(object, sender, eventVersion))
  const [first] = list
  if (sender !== 'minio' || !first) return JSON.stringify({ Records })
  // MinIO adds these two for the first record.
  return JSON.stringify({ EventName: Records[0]?.eventName, Key: `${first.bucket}/${first.key}`, Records })
}

/** A record of S3's event of a deletion: it has neither size nor ETag. */
export function objectRemoved(object: S3EventObject, o: S3EventOptions = {}): string {
  return s3Event({ eventName: 'ObjectRemoved:Delete', ...object }, o)
}

const senders = {
  aws: { eventSource: 'aws:s3', prefix: '', encodeKey: urlEncodeKey },
  minio: { eventSource: 'minio:s3', prefix: 's3:', encodeKey: queryEscape },
  ceph: { eventSource: 'ceph:s3', prefix: '', encodeKey: (key: string) => key },
}

function recordOf(object: S3EventObject, sender: keyof typeof senders, eventVersion: string) {
  const { eventSource, prefix, encodeKey } = senders[sender]
  const { bucket, key, versionId, eventName = 'ObjectCreated:Put' } = object
  const { sequencer, etag, size, region, eventTime } = withDefaults(object)
  const removed = eventName.startsWith('ObjectRemoved')
  return {
    eventVersion,
    eventSource,
    awsRegion: region,
    eventTime,
    eventName: prefix + eventName,
    userIdentity: { principalId: 'AWS:AIDATESTTESTTESTTEST' },
    requestParameters: { sourceIPAddress: '127.0.0.1' },
    responseElements: { 'x-amz-request-id': 'D82B88E5F771F645', 'x-amz-id-2': 'vlR7PnpV2Ce81l0PRw6jlUpck7Jo5ZsQ' },
    s3: {
      s3SchemaVersion: '1.0',
      configurationId: 'test',
      bucket: { name: bucket, ownerIdentity: { principalId: 'A3NL1KOZZKExample' }, arn: `arn:aws:s3:::${bucket}` },
      object: {
        key: encodeKey(key),
        ...(removed ? {} : { size, eTag: etag }),
        ...versionOf(versionId, sender === 'ceph'),
        sequencer,
        ...(sender === 'ceph' ? { metadata: [], tags: [] } : {}),
      },
    },
    ...(sender === 'ceph' ? { eventId: '', opaqueData: '' } : {}),
  }
}

/** Ceph sends an empty one for a bucket without versions; the others send none. */
function versionOf(versionId: string | undefined, always: boolean): { versionId?: string } {
  if (versionId !== undefined) return { versionId }
  return always ? { versionId: '' } : {}
}

function withDefaults(object: S3EventObject) {
  const { bucket, key, eventTime = new Date().toISOString() } = object
  return {
    size: object.size ?? 0,
    etag: object.etag ?? createHash('md5').update(`${bucket}/${key}`).digest('hex'),
    sequencer: object.sequencer ?? nextSequencer(),
    region: object.region ?? 'us-east-1',
    eventTime,
  }
}

let sequence = 0n

/** Rises with every call, whatever the key. */
function nextSequencer(): string {
  sequence += 1n
  return `00${(0x5f_1e_3b_2c_00_00_00n + sequence).toString(16).toUpperCase()}`
}

/** As Go's url.QueryEscape: a space is `+`, `-._~` stay. */
function queryEscape(key: string): string {
  return encodeURIComponent(key)
    .replaceAll('%20', '+')
    .replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}

/** S3 sends it when notifications are switched on. It has no records. */
export function testEvent(bucket: string): string {
  return JSON.stringify({
    Service: 'Amazon S3',
    Event: 's3:TestEvent',
    Time: new Date().toISOString(),
    Bucket: bucket,
    RequestId: '5582815E1AEA5ADF',
    HostId: '8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR',
  })
}

/** What a topic makes of a body for a queue that is subscribed without raw message delivery. */
export function snsWrapped(body: string, subject = 'Amazon S3 Notification'): string {
  const topic = 'arn:aws:sns:us-east-1:000000000000:s3-events'
  return JSON.stringify({
    Type: 'Notification',
    MessageId: '22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324',
    TopicArn: topic,
    Subject: subject,
    Message: body,
    Timestamp: new Date().toISOString(),
    SignatureVersion: '1',
    Signature: 'EXAMPLEw6JRN=',
    SigningCertURL: 'https://sns.us-east-1.amazonaws.com/SimpleNotificationService-test.pem',
    UnsubscribeURL: `https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe&SubscriptionArn=${topic}:test`,
  })
}

/** With raw message delivery a topic passes the body on as it is. */
export function snsRaw(body: string): string {
  return body
}

/** EventBridge does not encode the key. `eventName` decides the detail-type and the reason. */
export function eventBridge(object: S3EventObject): string {
  const { bucket, key, versionId, eventName = 'ObjectCreated:Put' } = object
  const { sequencer, etag, size, region, eventTime } = withDefaults(object)
  const removed = eventName.startsWith('ObjectRemoved')
  const gone = eventName === 'ObjectRemoved:Delete'
  return JSON.stringify({
    version: '0',
    id: '17793124-05d4-b198-2fde-7ededc63b103',
    'detail-type': removed ? 'Object Deleted' : 'Object Created',
    source: 'aws.s3',
    account: '000000000000',
    time: eventTime.replace(/\.\d+Z$/, 'Z'),
    region,
    resources: [`arn:aws:s3:::${bucket}`],
    detail: {
      version: '0',
      bucket: { name: bucket },
      object: {
        key,
        ...(removed ? {} : { size }),
        ...(gone ? {} : { etag }),
        ...(versionId === undefined ? {} : { 'version-id': versionId }),
        sequencer,
      },
      'request-id': 'N4N7GDK58NMKJ12R',
      requester: '000000000000',
      'source-ip-address': '127.0.0.1',
      reason: reasons[eventName] ?? (removed ? 'DeleteObject' : 'PutObject'),
      ...(removed ? { 'deletion-type': gone ? 'Permanently Deleted' : 'Delete Marker Created' } : {}),
    },
  })
}

const reasons: Readonly<Partial<Record<string, string>>> = {
  'ObjectCreated:Post': 'POST Object',
  'ObjectCreated:Copy': 'CopyObject',
  'ObjectCreated:CompleteMultipartUpload': 'CompleteMultipartUpload',
}

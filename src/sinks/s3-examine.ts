/**
 * What `doctor` tells of a bucket that is written to. Nothing is stored: whether we may write is asked by a part of an upload
 * that does not exist, which S3 refuses as unknown only to those who may write.
 */
import {
  GetBucketLifecycleConfigurationCommand,
  GetBucketVersioningCommand,
  HeadBucketCommand,
  type LifecycleRule,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import type { RequestWatch } from '../aws/request-watch.ts'
import type { Finding, Log, Signal } from '../core/component.ts'
import { checkBucket } from './s3-bucket.ts'
import { s3Failure, s3SinkError } from './s3-sink-errors.ts'
import { learnTarget } from './s3-target.ts'
import { clockFinding, problemOf, timed } from '../core/findings.ts'
import { certificateFinding } from './certificate-finding.ts'

export interface ExaminedBucket {
  readonly client: S3Client
  readonly watch: RequestWatch
  readonly bucket: string
  /** What all keys begin with. */
  readonly prefix: string
  /** True if `endpoint` says where it is: other servers may take any region. */
  readonly hasEndpoint: boolean
  /** True if objects go up in parts, which stay when a run is killed. */
  readonly hasUploads: boolean
}

const hourMs = 3_600_000
const nobody = 's3-streamer-doctor-asks-whether-it-may-write'

export async function* examineBucket(at: ExaminedBucket, o: Signal): AsyncGenerator<Finding> {
  const { client, bucket, prefix } = at
  const who = `s3 s3://${bucket}`
  try {
    const keys = await timed(() => client.config.credentials(), o)
    const { expiration } = keys.value
    const isSoon = expiration !== undefined && expiration.getTime() - Date.now() < hourMs
    const until =
      expiration === undefined ? '' : `, good until ${expiration.toISOString()}${isSoon ? ' and then renewed' : ''}`
    yield { level: 'ok', text: `${who}: there are credentials${until}` }
  } catch (error) {
    yield problemOf(s3SinkError(error, `write to s3://${bucket}`), o)
    return
  }
  yield* certificateOfBucket(at, who, o)
  const notes: Finding[] = []
  try {
    const log = noteLog(notes)
    const { ms } = await timed(({ signal }) => checkBucket(client, { bucket, prefix, log, signal }), o)
    yield { level: 'ok', text: `${who}: the bucket answers in ${ms} ms` }
    yield* notes
  } catch (error) {
    yield problemOf(error, o)
    return
  }
  yield* clockOf(at, who)
  yield* await regionOf(at, who, o)
  yield await rightToWrite(at, who, o)
  yield* await versioningOf(at, who, o)
  if (at.hasUploads) yield await lifecycleOf(at, who, o)
}

async function* certificateOfBucket(
  { client, bucket }: ExaminedBucket,
  who: string,
  o: Signal,
): AsyncGenerator<Finding> {
  const target = await timed(() => learnTarget(client, bucket), o).catch(() => undefined)
  o.signal.throwIfAborted()
  if (!target?.value) return
  const { protocol, hostname, port } = new URL(target.value.origin)
  if (protocol !== 'https:') return
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const at = { host, port: port === '' ? 443 : Number(port), tls: { rejectUnauthorized: true } }
  const certificate = await certificateFinding(who, at, o)
  if (certificate) yield certificate
}

function* clockOf({ watch }: ExaminedBucket, who: string): Generator<Finding> {
  if (!watch.clock) return
  const { serverMs, oursMs } = watch.clock
  const found = clockFinding(who, { date: new Date(serverMs).toUTCString(), atMs: oursMs, tookMs: 0, isSigned: true })
  if (found) yield found
}

async function regionOf({ client, bucket, hasEndpoint }: ExaminedBucket, who: string, o: Signal): Promise<Finding[]> {
  const used = await client.config.region()
  const answer = await timed(
    ({ signal }) => client.send(new HeadBucketCommand({ Bucket: bucket }), { abortSignal: signal }),
    o,
  )
    .then(({ value }) => value.BucketRegion)
    .catch(() => undefined)
  o.signal.throwIfAborted()
  if (answer === undefined || (hasEndpoint && answer !== used)) return []
  if (answer === used) return [{ level: 'ok', text: `${who}: in region ${answer}, as configured` }]
  return [
    {
      level: 'warning',
      text: `${who}: the bucket is in region ${answer}, and ${used} is configured: each first request is sent twice`,
      advice: `set \`region: ${answer}\``,
    },
  ]
}

async function rightToWrite({ client, bucket, prefix }: ExaminedBucket, who: string, o: Signal): Promise<Finding> {
  const place = `s3://${bucket}/${prefix}`
  const command = new UploadPartCommand({
    Bucket: bucket,
    Key: `${prefix}${nobody}`,
    UploadId: nobody,
    PartNumber: 1,
    Body: Buffer.alloc(0),
  })
  const unknown: Finding = {
    level: 'note',
    text: `${who}: whether we may write below ${place} shows with the first object`,
  }
  try {
    await timed(({ signal }) => client.send(command, { abortSignal: signal }), o)
    return unknown
  } catch (error) {
    o.signal.throwIfAborted()
    const { name, status } = s3Failure(error)
    if (name === 'NoSuchUpload' || status === 404) return { level: 'ok', text: `${who}: we may write below ${place}` }
    if (status === 401 || status === 403) return problemOf(s3SinkError(error, `write below ${place}`), o)
    return unknown
  }
}

async function versioningOf({ client, bucket }: ExaminedBucket, who: string, o: Signal): Promise<Finding[]> {
  try {
    const command = new GetBucketVersioningCommand({ Bucket: bucket })
    const { value } = await timed(({ signal }) => client.send(command, { abortSignal: signal }), o)
    if (value.Status !== 'Enabled')
      return [{ level: 'note', text: `${who}: no versioning: what is written over is gone` }]
    return [
      {
        level: 'note',
        text: `${who}: versioning is on: what is written over or removed stays and costs, unless a lifecycle rule ends it`,
      },
    ]
  } catch (error) {
    return [notTold(error, `${who}: versioning cannot be looked at`, 's3:GetBucketVersioning', o)]
  }
}

async function lifecycleOf({ client, bucket, prefix }: ExaminedBucket, who: string, o: Signal): Promise<Finding> {
  const missing: Finding = {
    level: 'warning',
    text: `${who}: no lifecycle rule ends uploads that were begun and never completed; their parts cost money and are in no list`,
    advice: 'give the bucket a lifecycle rule with AbortIncompleteMultipartUpload, of 7 days or so',
  }
  try {
    const command = new GetBucketLifecycleConfigurationCommand({ Bucket: bucket })
    const { value } = await timed(({ signal }) => client.send(command, { abortSignal: signal }), o)
    const days = (value.Rules ?? []).flatMap((rule) => (endsUploads(rule, prefix) ? [daysOf(rule)] : []))
    if (days.length === 0) return missing
    return {
      level: 'ok',
      text: `${who}: uploads that are never completed end after ${Math.min(...days)} days, by a lifecycle rule`,
    }
  } catch (error) {
    o.signal.throwIfAborted()
    if (s3Failure(error).name === 'NoSuchLifecycleConfiguration') return missing
    return notTold(error, `${who}: lifecycle rules cannot be looked at`, 's3:GetLifecycleConfiguration', o)
  }
}

function endsUploads(rule: LifecycleRule, prefix: string): boolean {
  const below = rule.Filter?.Prefix ?? rule.Filter?.And?.Prefix ?? rule.Prefix ?? ''
  // Uploads have no tags: rules that ask for some do not concern them.
  const hasTags = rule.Filter?.Tag !== undefined || rule.Filter?.And?.Tags !== undefined
  return rule.Status === 'Enabled' && !hasTags && Number.isFinite(daysOf(rule)) && prefix.startsWith(below)
}

function daysOf({ AbortIncompleteMultipartUpload }: LifecycleRule): number {
  return AbortIncompleteMultipartUpload?.DaysAfterInitiation ?? Number.NaN
}

function notTold(error: unknown, text: string, right: string, o: Signal): Finding {
  o.signal.throwIfAborted()
  const { status, name } = s3Failure(error)
  const why = status === 403 ? `the credentials have no ${right}` : `the server answers ${name}`
  return { level: 'note', text: `${text}: ${why}` }
}

/** What a check logs, as findings. */
function noteLog(lines: Finding[]): Log {
  const keep = (_facts: object, message: string) => void lines.push({ level: 'note', text: message })
  const drop = () => undefined
  return { debug: drop, info: drop, warn: keep, error: keep }
}

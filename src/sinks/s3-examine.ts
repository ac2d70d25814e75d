/**
 * What `doctor` tells of a bucket that is written to. Nothing is stored: whether we may write is asked by a part of an upload
 * that does not exist, which S3 refuses as unknown only to those who may write.
 */
import {
  GetBucketLifecycleConfigurationCommand,
  GetBucketVersioningCommand,
  type LifecycleRule,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { findCredentials } from '../aws/credentials-finding.ts'
import { regionFinding } from '../aws/region-finding.ts'
import type { RequestWatch } from '../aws/request-watch.ts'
import type { Finding, Log, Signal } from '../core/component.ts'
import { clockFinding, problemOf, timed } from '../core/findings.ts'
import { certificateOfUrl } from './certificate-finding.ts'
import { checkBucket } from './s3-bucket.ts'
import { s3Failure, s3SinkError } from './s3-sink-errors.ts'
import { learnTarget } from './s3-target.ts'

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

const nobody = 's3-streamer-doctor-asks-whether-it-may-write'

export async function* examineBucket(at: ExaminedBucket, o: Signal): AsyncGenerator<Finding> {
  const { client, bucket, prefix } = at
  const who = `s3 s3://${bucket}`
  const credentials = await findCredentials(() => client.config.credentials(), o)
  yield withName(who, credentials)
  if (credentials.level === 'problem') return
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
  const clock = clockFinding(who, at.watch.clock, { isSigned: true })
  if (clock) yield clock
  const region = await regionFinding(at, { ...o, hasEndpoint: at.hasEndpoint })
  if (region) yield withName(who, region)
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
  const url = new URL(target.value.origin)
  const certificate = await certificateOfUrl(who, url, { ...o, tls: { rejectUnauthorized: true } })
  if (certificate) yield certificate
}

function withName(who: string, finding: Finding): Finding {
  return { ...finding, text: `${who}: ${finding.text}` }
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

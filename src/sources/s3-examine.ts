/** What `doctor` tells of a bucket that is read: may we, is anything there, and do its names and times fit the configuration? */
import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { findCredentials } from '../aws/credentials-finding.ts'
import { regionFinding } from '../aws/region-finding.ts'
import type { RequestWatch } from '../aws/request-watch.ts'
import type { Finding, Signal } from '../core/component.ts'
import { clockFinding, problemOf, someOf, spread, timed } from '../core/findings.ts'
import { counted, roughly } from '../telemetry/figures.ts'
import { s3Error, s3ListError } from './s3-errors.ts'
import type { S3Listing } from './s3-listing.ts'
import type { S3Object } from './s3-object.ts'
import type { S3ScanConfig } from './s3-scan-config.ts'

/** Objects whose names are looked at. */
const sampleSize = 50
/** Of the newest objects, so many pages are listed at most. */
const mostPages = 5
const dayMs = 86_400_000
const archived: ReadonlySet<string> = new Set(['GLACIER', 'DEEP_ARCHIVE'])

export interface ExaminedScan {
  readonly client: S3Client
  readonly watch: RequestWatch
  readonly listing: S3Listing
  readonly config: S3ScanConfig
  readonly timeFromKey: (key: string) => number | undefined
  readonly nowMs: number
}

export async function* examineScan(at: ExaminedScan, o: Signal): AsyncGenerator<Finding> {
  const { client, watch, config } = at
  const { bucket, prefix } = config
  const credentials = await findCredentials(() => client.config.credentials(), o)
  yield credentials
  if (credentials.level === 'problem') return
  const region = await regionFinding({ client, watch, bucket }, { ...o, hasEndpoint: config.endpoint !== undefined })
  if (region) yield region
  let first: FirstPage
  let tookMs: number
  try {
    const answer = await timed((within) => firstPage(at, within), o)
    first = answer.value
    tookMs = answer.ms
  } catch (error) {
    yield problemOf(s3ListError(error, bucket, prefix), o)
    return
  }
  yield { level: 'ok', text: `s3://${bucket}/${prefix} can be listed (${tookMs} ms)` }
  const clock = clockFinding(`S3 at ${await hostOf(client)}`, watch.clock, { isSigned: true })
  if (clock) yield clock
  yield* content(at, first, o)
}

interface FirstPage {
  readonly keys: readonly string[]
  readonly archived: readonly string[]
  readonly isAll: boolean
  /** At the first level. */
  readonly folders: readonly string[]
  readonly hasMoreFolders: boolean
}

async function firstPage({ client, watch, config }: ExaminedScan, o: Signal): Promise<FirstPage> {
  const { bucket: Bucket, prefix: Prefix } = config
  const send = (command: ListObjectsV2Command) => client.send(watch.aside(command), { abortSignal: o.signal })
  const page = await send(new ListObjectsV2Command({ Bucket, Prefix }))
  const level = await send(new ListObjectsV2Command({ Bucket, Prefix, Delimiter: '/' }))
  const objects = (page.Contents ?? []).flatMap(({ Key = '', StorageClass = '' }) =>
    Key.endsWith('/') ? [] : [{ key: Key, isArchived: archived.has(StorageClass) }],
  )
  return {
    keys: objects.map(({ key }) => key),
    archived: objects.filter(({ isArchived }) => isArchived).map(({ key }) => key),
    isAll: page.IsTruncated !== true,
    folders: (level.CommonPrefixes ?? []).flatMap((folder) => folder.Prefix ?? []),
    hasMoreFolders: level.IsTruncated === true,
  }
}

async function* content(at: ExaminedScan, first: FirstPage, o: Signal): AsyncGenerator<Finding> {
  const { config, nowMs } = at
  const { bucket, prefix } = config
  if (first.keys.length === 0) {
    const text = `there is no object below s3://${bucket}/${prefix}`
    const above = `check prefix: keys do not begin with "/", and a prefix is compared letter by letter`
    yield {
      level: 'warning',
      text,
      advice: first.folders.length > 0 ? `only empty folders are there; ${above}` : above,
    }
    return
  }
  const { folders, keys, isAll } = first
  const below = folders.map((folder) => folder.slice(prefix.length))
  const level = `${first.hasMoreFolders ? 'at least ' : ''}${counted(folders.length, 'folder')}: ${someOf(below)}`
  const objects = `${isAll ? '' : 'at least '}${counted(keys.length, 'object')}`
  yield { level: 'ok', text: folders.length === 0 ? objects : `${objects}; below the prefix ${level}` }
  if (first.archived.length > 0) {
    const text = `${first.archived.length} of the first ${keys.length} objects are archived: ${someOf(first.archived, 1)}`
    yield { level: 'warning', text, advice: 'they go to quarantine: restore them first, or set start_at to after them' }
  }
  const newest = await newestObjects(at, o)
  if (newest.length === 0) {
    const text = `no object came below s3://${bucket}/${prefix} in the last two days`
    yield { level: 'note', text, advice: 'check that the sender still writes there, and `partition` if it does' }
  }
  const sample = newest.length > 0 ? spread(newest, sampleSize).map(({ key }) => key) : spread(keys, sampleSize)
  const mayRead = yield* reading(at, sample, o)
  const text = `looked at ${counted(sample.length, 'key')}, the last one ${sample.at(-1)}`
  yield { level: 'ok', text, ...(mayRead ? { keys: sample } : {}) }
  yield* times(config, newest, at.timeFromKey, nowMs)
}

async function newestObjects({ listing, nowMs }: ExaminedScan, { signal }: Signal): Promise<S3Object[]> {
  const found: S3Object[] = []
  const sinceMs = nowMs - 2 * dayMs
  let pages = 0
  for await (const page of listing.pages({ windowMs: sinceMs, live: new Set(), sweep: false, signal })) {
    for (const object of page) if (object.lastModifiedMs >= sinceMs && !object.key.endsWith('/')) found.push(object)
    pages += 1
    if (pages >= mostPages) break
  }
  return found.toSorted((a, b) => a.lastModifiedMs - b.lastModifiedMs)
}

/** What names say of times, against when the objects came. */
function* times(
  { lookback, delay_window }: S3ScanConfig,
  objects: readonly S3Object[],
  timeFromKey: (key: string) => number | undefined,
  nowMs: number,
): Generator<Finding> {
  const late = objects.flatMap(({ key, lastModifiedMs }) => {
    const timeMs = timeFromKey(key)
    return timeMs === undefined ? [] : [lastModifiedMs - timeMs]
  })
  if (late.length === 0) return
  const latest = late.reduce((a, b) => Math.max(a, b))
  const earliest = late.reduce((a, b) => Math.min(a, b))
  const text = `objects come ${roughly(Math.max(0, earliest))} to ${roughly(Math.max(0, latest))} after the time in their names`
  if (latest > lookback + dayMs) {
    const advice = `set lookback to more than ${roughly(latest - dayMs)}: what is older is in folders that are not listed any more`
    yield { level: 'warning', text: `${text}, and lookback is ${roughly(lookback)}`, advice }
  } else if (latest > lookback) {
    const advice = 'they are found, but later: by the sweep that goes back one day more'
    yield { level: 'note', text: `${text}, and lookback is ${roughly(lookback)}`, advice }
  } else yield { level: 'ok', text }
  const ahead = -earliest
  if (ahead > 60_000 && earliest < 0) {
    const text = `names tell times up to ${roughly(ahead)} after their objects came`
    const advice = 'time zone of the names? Their formats may set one; objects wait until their time has come'
    yield { level: 'warning', text, advice }
  }
  const ageMs = nowMs - (objects.at(-1)?.lastModifiedMs ?? nowMs)
  yield {
    level: 'ok',
    text: `the newest object came ${roughly(Math.max(0, ageMs))} ago (delay_window is ${roughly(delay_window)})`,
  }
}

/** What S3 knows of the last object, and one byte of it. Returns whether it may be read. */
async function* reading(
  { client, watch, config }: ExaminedScan,
  keys: readonly string[],
  o: Signal,
): AsyncGenerator<Finding, boolean> {
  const { bucket: Bucket } = config
  const last = keys.at(-1) ?? ''
  try {
    const head = await client.send(watch.aside(new HeadObjectCommand({ Bucket, Key: last })), { abortSignal: o.signal })
    if (head.StorageClass !== undefined && archived.has(head.StorageClass)) return false
    const range = head.ContentLength === 0 ? {} : { Range: 'bytes=0-0' }
    const command = watch.aside(new GetObjectCommand({ Bucket, Key: last, ...range }))
    const { Body } = await client.send(command, { abortSignal: o.signal })
    await Body?.transformToByteArray()
    const how = head.ServerSideEncryption === undefined ? '' : `, encrypted by ${head.ServerSideEncryption}`
    yield { level: 'ok', text: `objects can be read (${last}, ${head.ContentLength ?? 0} bytes${how})` }
    return true
  } catch (error) {
    const known = s3Error(error, `read s3://${Bucket}/${last}`)
    const isKms = /kms/i.test(known.message)
    yield problemOf(known, { ...o, ...(isKms ? { advice: 'allow kms:Decrypt on the key' } : {}) })
    return false
  }
}

async function hostOf(client: S3Client): Promise<string> {
  const endpoint = await client.config.endpoint?.().catch(() => undefined)
  return endpoint === undefined
    ? 'AWS'
    : `${endpoint.hostname}${endpoint.port === undefined ? '' : `:${endpoint.port}`}`
}

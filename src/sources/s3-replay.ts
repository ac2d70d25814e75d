/** The objects of a time range in a bucket, whatever became of them: for a replay. */
import type { S3Client } from '@aws-sdk/client-s3'
import type { ReplayRange, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { TemplateLevel } from './partition.ts'
import { S3Listing } from './s3-listing.ts'
import type { S3Object } from './s3-object.ts'

export interface ReplayedBucket {
  readonly bucket: string
  /** What the source reads of it. */
  readonly prefix: string
  readonly partition: readonly TemplateLevel[] | 'auto' | 'none'
  readonly timeFromKey: (key: string) => number | undefined
}

/** A page of a list each. */
const waitingObjects = 1000

/**
 * Time is as listing knows it: by the name, else LastModified. Date folders outside of the range are passed over, with a day to
 * spare for those that are dated in another time zone. A list of its own: what the scans have learned is left alone.
 */
export async function* replayedObjects(
  client: S3Client,
  { bucket, prefix, partition, timeFromKey }: ReplayedBucket,
  range: ReplayRange,
  o: Signal,
): AsyncGenerator<S3Object, void, undefined> {
  const within = keyPrefix(range.prefix, bucket)
  if (!within.startsWith(prefix) && !prefix.startsWith(within)) {
    throw new StreamError(
      'config.invalid',
      `cannot replay keys that begin with ${JSON.stringify(within)}: this pipeline reads s3://${bucket}/${prefix} (give a whole key, or its beginning)`,
    )
  }
  const listing = new S3Listing(client, { bucket, prefix, partition, timeFromKey, queue: waitingObjects })
  const { fromMs: windowMs, toMs: untilMs } = range
  const live = new Set<string>()
  for await (const page of listing.pages({ windowMs, untilMs, within, live, sweep: true, signal: o.signal })) {
    for (const object of page) {
      if (object.timeMs < windowMs || object.timeMs >= untilMs || !object.key.startsWith(within)) continue
      yield { ...object, path: pathBelow(prefix, object.key) }
    }
  }
}

/** The path of an object below the folder that `prefix` names, or is in. */
export function pathBelow(prefix: string, key: string): string {
  return key.slice(key.startsWith(prefix) ? prefix.lastIndexOf('/') + 1 : 0)
}

/** A whole address means its key. */
function keyPrefix(prefix: string, bucket: string): string {
  const whole = `s3://${bucket}/`
  return prefix.startsWith(whole) ? prefix.slice(whole.length) : prefix
}

/** Bucket and beginning of the keys in `s3://bucket/prefix`; undefined if it is no such address. */
export function bucketAndPrefix(address: string): { readonly bucket: string; readonly prefix: string } | undefined {
  const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/s.exec(address) ?? []
  return bucket === undefined ? undefined : { bucket, prefix }
}

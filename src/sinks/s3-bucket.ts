/** Whether a bucket is there and ours to write to, as far as that can be told without writing. */
import { HeadBucketCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import type { Log, Signal } from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import { s3Failure, s3SinkError } from './s3-sink-errors.ts'

/** The bucket as one thing that the sink depends on; it is asked by a HEAD. */
export function bucketDependency(o: {
  readonly client: S3Client
  readonly bucket: string
  readonly prefix: string
  readonly nowMs: () => number
}): DependencyState {
  const { client, bucket, prefix, nowMs } = o
  return new DependencyState({
    name: `s3 s3://${bucket}`,
    nowMs,
    probe: ({ signal }) => checkBucket(client, { bucket, prefix, log: silent, signal }),
  })
}

const nothing = () => undefined
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/**
 * Throws sink.access if the bucket is missing, in another region, or the credentials are wrong. Credentials that may not look at the
 * bucket may still write to it: that is only a warning. `prefix` is what all keys begin with.
 */
export async function checkBucket(
  client: S3Client,
  o: Signal & { readonly bucket: string; readonly prefix: string; readonly log: Log },
): Promise<void> {
  const { bucket, prefix, log, signal } = o
  const options = { abortSignal: signal }
  try {
    await client.send(new HeadBucketCommand({ Bucket: bucket }), options)
    return
  } catch (error) {
    const { status } = s3Failure(error)
    if (status !== 400 && status !== 403) throw s3SinkError(error, `look at the bucket s3://${bucket}`)
  }
  // An answer to HEAD has no body, and so no word of what is wrong: a missing right, or a wrong secret.
  try {
    await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 }), options)
  } catch (error) {
    const { name, status } = s3Failure(error)
    const known = s3SinkError(error, `look at the bucket s3://${bucket}`)
    if (status !== 403 || name !== 'AccessDenied') throw known
    log.warn(
      { bucket },
      'cannot look at the bucket: the credentials have no s3:ListBucket; whether they may write shows with the first object',
    )
  }
}

/** S3 as something that a source depends on: every request shows its state, and a list of one key asks it. */
import { ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import { RequestWatch } from '../aws/request-watch.ts'
import type { Signal } from '../core/component.ts'
import { DependencyState } from '../core/dependency-state.ts'
import { s3Error, s3ListError } from './s3-errors.ts'

export interface S3Dependency {
  readonly state: DependencyState
  readonly watch: RequestWatch
}

/** Asks with what every reader of a bucket must be allowed; a HeadBucket is refused where a policy names the prefix. */
export function s3Dependency(
  client: S3Client,
  o: { readonly bucket: string; readonly prefix: string; readonly nowMs: () => number },
): S3Dependency {
  const { bucket, prefix, nowMs } = o
  const state = new DependencyState({
    name: 's3',
    nowMs,
    probe: async ({ signal }: Signal) => {
      const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 })
      try {
        await client.send(watch.aside(command), { abortSignal: signal })
      } catch (error) {
        throw s3ListError(error, bucket, prefix)
      }
    },
  })
  const watch = new RequestWatch(client, (error) => state.used(asS3Error(error, `read from s3://${bucket}`)))
  return { state, watch }
}

/** What an error of a request means; a stop of ours stays what it is. */
export function asS3Error(error: unknown, what: string): unknown {
  const isAbort = error instanceof Error && error.name === 'AbortError'
  return error === undefined || isAbort ? error : s3Error(error, what)
}

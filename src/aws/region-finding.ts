/** Where a bucket is, against where the configuration looks for it: for `doctor`. */
import { HeadBucketCommand, type S3Client, S3ServiceException } from '@aws-sdk/client-s3'
import type { Finding, Signal } from '../core/component.ts'
import { timed } from '../core/findings.ts'
import type { RequestWatch } from './request-watch.ts'

export interface AskedBucket {
  readonly client: S3Client
  readonly watch: RequestWatch
  readonly bucket: string
}

/** A bucket elsewhere is found by a redirect; that costs each client one, and some servers know none. undefined if nobody tells. */
export async function regionFinding(
  at: AskedBucket,
  /** True if `endpoint` says where it is: such servers may call their region as they like. */
  o: Signal & { readonly hasEndpoint: boolean },
): Promise<Finding | undefined> {
  const configured = await at.client.config.region().catch(() => undefined)
  const actual = await regionOf(at, o)
  if (actual === undefined || configured === undefined) return undefined
  if (actual === configured) return { level: 'ok', text: `the bucket is in ${actual}, as configured` }
  const text = `the bucket is in ${actual}, and the configuration says ${configured}`
  if (o.hasEndpoint) return { level: 'note', text, advice: `set region: ${actual}, if requests are refused` }
  return { level: 'warning', text: `${text}: each first request is sent twice`, advice: `set region: ${actual}` }
}

async function regionOf({ client, watch, bucket }: AskedBucket, o: Signal): Promise<string | undefined> {
  const command = watch.aside(new HeadBucketCommand({ Bucket: bucket }))
  try {
    return (await timed(({ signal }) => client.send(command, { abortSignal: signal }), o)).value.BucketRegion
  } catch (error) {
    o.signal.throwIfAborted()
    // Whether the refusal matters shows elsewhere: HeadBucket is refused where a policy names the prefix.
    const headers: unknown = error instanceof S3ServiceException ? error.$response?.headers : undefined
    const told = headers !== null && typeof headers === 'object' && 'x-amz-bucket-region' in headers
    return told ? String(headers['x-amz-bucket-region']) : undefined
  }
}

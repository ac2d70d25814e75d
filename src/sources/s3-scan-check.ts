/** Proves that a bucket can be listed below a prefix, and that what is there can be read. */
import { HeadObjectCommand, ListObjectsV2Command, type S3Client } from '@aws-sdk/client-s3'
import type { Log, Signal } from '../core/component.ts'
import { explainError } from '../core/errors.ts'
import { s3Error, s3ListError } from './s3-errors.ts'

/** Throws a StreamError that says what to do. */
export async function checkBucket(
  client: S3Client,
  { bucket, prefix }: { readonly bucket: string; readonly prefix: string },
  o: Signal & { readonly log: Log },
): Promise<void> {
  const { log } = o
  let key: string | undefined
  try {
    const command = new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys: 1 })
    const page = await client.send(command, { abortSignal: o.signal })
    key = page.Contents?.[0]?.Key
  } catch (error) {
    throw s3ListError(error, bucket, prefix)
  }
  if (key === undefined) {
    log.warn({ bucket, prefix }, 'no object under this prefix yet: check `prefix` if there should be')
    return
  }
  try {
    await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key }), { abortSignal: o.signal })
  } catch (error) {
    o.signal.throwIfAborted()
    // It is one object, and perhaps the only one that is denied: no reason to refuse the start.
    const known = s3Error(error, `read s3://${bucket}/${key}`)
    if (known.code === 'source.access') log.warn({ error: explainError(known) }, 'the first object cannot be read')
  }
}

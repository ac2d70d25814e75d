import type { ObjectRef } from './component.ts'

/** The name in logs: where a pipeline reads one bucket its key says enough. */
export function shownKey(object: Pick<ObjectRef, 'bucket' | 'key'>): string {
  return object.bucket.includes('://') ? objectName(object) : object.key
}

/** What people call an object: `s3://logs/a.gz`, or, where the store says its own place, `sftp://acme@example.com/in/a.csv`. */
export function objectName({ bucket, key }: Pick<ObjectRef, 'bucket' | 'key'>): string {
  return bucket.includes('://') ? `${bucket}/${key}` : `s3://${bucket}/${key}`
}

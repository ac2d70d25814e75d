/** How objects are stored, as requests that make one say it: storage class, encryption, tags, metadata. */
import type { PutObjectCommandInput, StorageClass } from '@aws-sdk/client-s3'
import type { S3Config } from './s3-config.ts'

type StoredAs = Pick<
  PutObjectCommandInput,
  'StorageClass' | 'ServerSideEncryption' | 'SSEKMSKeyId' | 'BucketKeyEnabled' | 'Tagging'
>

/** Fields of PutObject and CreateMultipartUpload alike; what is not configured is left to the bucket. */
export function storedAs({ storage_class, sse, tags }: Pick<S3Config, 'storage_class' | 'sse' | 'tags'>): StoredAs {
  const tagging = Object.entries(tags).map((tag) => tag.map(encodeURIComponent).join('='))
  return {
    // S3-compatible servers have names of their own.
    ...(storage_class === undefined ? {} : { StorageClass: storage_class as StorageClass }),
    ...(sse === undefined ? {} : { ServerSideEncryption: sse.type }),
    ...(sse?.kms_key_id === undefined ? {} : { SSEKMSKeyId: sse.kms_key_id }),
    ...(sse?.bucket_key === undefined ? {} : { BucketKeyEnabled: sse.bucket_key }),
    ...(tagging.length === 0 ? {} : { Tagging: tagging.join('&') }),
  }
}

/** Headers carry ASCII, without spaces at the ends: other text goes URL-encoded. */
export function metadataValue(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) && text === text.trim() ? text : encodeURIComponent(text.toWellFormed())
}

/** What an object in S3 says of itself: where it is from, when it was changed, what it is. */
import { createHash } from 'node:crypto'
import type { ListedObject } from '../core/component.ts'
import type { S3ObjectsConfig } from './s3-config.ts'
import { objectText } from './s3-key.ts'
import { metadataValue, storedAs } from './s3-stored-as.ts'
import type { FoundObject, KeptHeaders } from './s3-upload-requests.ts'

/** S3's limit of names and values together. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html */
const metadataBytes = 2048

/** By the last extension of a name; what is not here is bytes to whoever asks. */
const contentTypes: Readonly<Record<string, string>> = {
  avro: 'application/avro',
  bz2: 'application/x-bzip2',
  css: 'text/css',
  csv: 'text/csv',
  doc: 'application/msword',
  docx: 'application/vnd.openxmlformats-officedocument.wordprocessingml.document',
  gif: 'image/gif',
  gz: 'application/gzip',
  htm: 'text/html',
  html: 'text/html',
  jpeg: 'image/jpeg',
  jpg: 'image/jpeg',
  js: 'text/javascript',
  json: 'application/json',
  jsonl: 'application/x-ndjson',
  log: 'text/plain',
  md: 'text/markdown',
  mp3: 'audio/mpeg',
  mp4: 'video/mp4',
  ndjson: 'application/x-ndjson',
  parquet: 'application/vnd.apache.parquet',
  pdf: 'application/pdf',
  png: 'image/png',
  ppt: 'application/vnd.ms-powerpoint',
  pptx: 'application/vnd.openxmlformats-officedocument.presentationml.presentation',
  svg: 'image/svg+xml',
  tar: 'application/x-tar',
  tgz: 'application/gzip',
  tif: 'image/tiff',
  tiff: 'image/tiff',
  tsv: 'text/tab-separated-values',
  txt: 'text/plain',
  wav: 'audio/wav',
  webp: 'image/webp',
  xls: 'application/vnd.ms-excel',
  xlsx: 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet',
  xml: 'application/xml',
  xz: 'application/x-xz',
  yaml: 'application/yaml',
  yml: 'application/yaml',
  zip: 'application/zip',
  zst: 'application/zstd',
}

/** Headers of the object that a copy makes. */
export function keptHeaders(object: ListedObject, config: S3ObjectsConfig, pipeline: string): KeptHeaders {
  const configured = Object.entries(config.metadata).map(([name, text]) => [
    name.toLowerCase(),
    metadataValue(objectText(text, object, pipeline)),
  ])
  return {
    ...storedAs(config),
    ContentType: config.content_type ?? contentTypeOf(object.key),
    Metadata: fitting({ mtime: mtimeOf(object), source: sourceOf(object), ...Object.fromEntries(configured) }),
  }
}

/**
 * True if the object was made of this version of its source, by this sink, as its metadata says. Servers of all kinds give it
 * back, where ETags and checksums differ.
 */
export function isCopyOf(found: FoundObject, headers: KeptHeaders, size: number): boolean {
  const { mtime, source } = headers.Metadata ?? {}
  return found.size === size && found.metadata.mtime === mtime && found.metadata.source === source
}

export function contentTypeOf(key: string): string {
  const extension = /\.([A-Za-z0-9]+)$/.exec(key)?.[1]?.toLowerCase() ?? ''
  return (Object.hasOwn(contentTypes, extension) && contentTypes[extension]) || 'application/octet-stream'
}

/** Unix seconds with a fraction, where rclone looks for it too. https://rclone.org/s3/#modification-times-and-hashes */
function mtimeOf({ lastModifiedMs }: ListedObject): string {
  return (lastModifiedMs / 1000).toFixed(6).replace(/\.?0+$/, '')
}

/** `sftp://acme@host/path/a.csv`, `s3://bucket/key`. */
function sourceOf({ bucket, key }: ListedObject): string {
  return metadataValue(`${bucket.includes('://') ? bucket : `s3://${bucket}`}/${key}`)
}

/** A long name must not keep its object from being stored: its hash still tells whose copy it is. */
function fitting(metadata: Record<string, string>): Record<string, string> {
  const bytes = Object.entries(metadata).reduce((sum, [name, value]) => sum + name.length + value.length, 0)
  if (bytes <= metadataBytes || metadata.source === undefined) return metadata
  return { ...metadata, source: `sha256:${createHash('sha256').update(metadata.source).digest('hex')}` }
}

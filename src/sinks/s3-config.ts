/** The keys of the `s3` sink, for whole objects and for records, and what they come to in either mode. */
import * as z from 'zod'
import { awsFields } from '../aws/connection.ts'
import { duration, size } from '../config/fields.ts'
import { keyProblem, textProblem } from './s3-key.ts'
import { batchField } from './sink-fields.ts'

/** What a key that only one mode has is, if it is left out. */
const objectDefaults = {
  key: '{path}',
  part_size: 8 * 2 ** 20,
  read_concurrency: 6,
  upload_concurrency: 10,
  verify: 'checksum',
  if_exists: 'overwrite',
} as const
const recordDefaults = {
  key: '{pipeline}/{yyyy}/{MM}/{dd}/{HH}/{id}{ext}',
  compression: 'gzip',
  max_in_flight: 4,
} as const
const maxAttempts = 10

const batch = batchField({ records: 100_000, bytes: '8MiB', maxBytes: '16MiB', linger: '60s' }).unwrap()

const sse = z
  .strictObject({
    type: z.enum(['AES256', 'aws:kms', 'aws:kms:dsse']).meta({
      description: '`AES256`: keys of S3; `aws:kms`: a key of KMS; `aws:kms:dsse`: such a key, in two layers.',
    }),
    kms_key_id: z
      .string()
      .min(1)
      .optional()
      .meta({ description: 'Id, alias or ARN of the key; without it the one that AWS keeps for S3.' }),
    bucket_key: z
      .boolean()
      .optional()
      .meta({ description: 'Use a bucket key, which asks KMS less often; without it the bucket says.' }),
  })
  .superRefine(({ type, kms_key_id, bucket_key }, context) => {
    if (type === 'AES256' && kms_key_id !== undefined)
      context.addIssue({ code: 'custom', path: ['kms_key_id'], message: 'needs `type: aws:kms`' })
    if (type !== 'aws:kms' && bucket_key !== undefined)
      context.addIssue({ code: 'custom', path: ['bucket_key'], message: 'needs `type: aws:kms`' })
  })

const retry = z
  .strictObject({
    min: duration({ min: '1ms' })
      .prefault('200ms')
      .meta({ description: 'First wait before a retry; doubled each time, with full jitter.' }),
    max: duration({ min: '1ms' }).prefault('30s').meta({ description: 'Longest wait between retries.' }),
    max_attempts: z
      .int()
      .min(1)
      .optional()
      .meta({
        description: `How often one call is tried before its object fails, in mode \`objects\`. Batches of records are tried for ever. Default: ${maxAttempts}.`,
      }),
  })
  .prefault({})
  .meta({ description: 'How transient errors are retried.' })

const fields = z.strictObject({
  type: z.literal('s3'),
  mode: z.enum(['objects', 'records']).default('objects').meta({
    description:
      '`objects`: each object of the source is copied, byte for byte. `records`: what the objects hold is read, filtered, and written as new objects, many records each.',
  }),
  bucket: z
    .string()
    .min(1)
    .transform((name) => name.replace(/^s3:\/\//, '').replace(/\/+$/, ''))
    .refine((name) => name !== '', 'must name a bucket')
    .refine((name) => !name.includes('/') || name.startsWith('arn:'), 'holds a path: put that into `key`')
    .meta({ description: 'Bucket to write to; a leading `s3://` is dropped.' }),
  key: z
    .string()
    .transform((key) => key.replace(/^\//, ''))
    .optional()
    .meta({
      description: `Key to write to; one leading slash is dropped. What may stand in it is said below. Default: \`${objectDefaults.key}\` for objects, \`${recordDefaults.key}\` for records.`,
    }),
  ...awsFields,
  part_size: size({ min: '5MiB', max: '5GiB' })
    .optional()
    .meta({
      description: `Size of a part of an upload; larger where an object would need more than 10,000 of them. Objects up to this size are sent in one request. Default: ${objectDefaults.part_size / 2 ** 20}MiB.`,
    }),
  read_concurrency: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .meta({ description: 'Parts read from the source at once.', default: objectDefaults.read_concurrency }),
  upload_concurrency: z
    .int()
    .min(1)
    .max(256)
    .optional()
    .meta({ description: 'Parts sent at once.', default: objectDefaults.upload_concurrency }),
  verify: z.enum(['checksum', 'size', 'read_back']).optional().meta({
    description:
      'What is compared after an object was stored: `checksum`: its CRC64NVME, as S3 has it, with that of the bytes read; `size`: its size; `read_back`: its bytes, read again.',
    default: objectDefaults.verify,
  }),
  if_exists: z.enum(['overwrite', 'skip', 'fail']).optional().meta({
    description:
      'What to do where the key is taken. `skip` and `fail` write on the condition that it is free; some S3-compatible servers ignore that.',
    default: objectDefaults.if_exists,
  }),
  checksum: z.enum(['crc64nvme', 'when_required']).default('crc64nvme').meta({
    description:
      '`crc64nvme`: S3 verifies everything it is sent, and the whole object. `when_required`: for S3-compatible servers that trip over `x-amz-checksum-*`; Content-MD5 instead.',
  }),
  storage_class: z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/, 'is no storage class: write one like STANDARD_IA or GLACIER_IR')
    .optional()
    .meta({ description: 'Storage class of what is written; without it STANDARD.' }),
  sse: sse.optional().meta({ description: 'Encryption at the server; without it the bucket says.' }),
  tags: z
    .record(z.string(), z.string())
    .default({})
    .superRefine((tags, context) => {
      const problem = tagsProblem(tags)
      if (problem !== undefined) context.addIssue(problem)
    })
    .meta({ description: 'Tags of what is written.' }),
  metadata: z
    .record(z.string(), z.string())
    .default({})
    .superRefine((metadata, context) => {
      const problem = metadataProblem(metadata)
      if (problem !== undefined) context.addIssue(problem)
    })
    .meta({
      description: 'User metadata of what is written, beside `mtime` and `source`. Values may hold what `key` may.',
    }),
  content_type: z
    .string()
    .regex(/^[\x21-\x7e][\x20-\x7e]*$/, 'must be a media type like text/csv')
    .optional()
    .meta({
      description: 'Content-Type of what is written; without it the name tells, and for records the compression.',
    }),
  compression: z
    .enum(['gzip', 'zstd', 'none'])
    .optional()
    .meta({ description: 'Compression of the objects.', default: recordDefaults.compression }),
  compression_level: z.int().min(1).max(19).optional().meta({
    description: 'From 1, fast, to 9 (gzip) or 19 (zstd), small. Without it the usual one of the compression: 6 or 3.',
  }),
  batch: batch.optional().meta({ description: 'How records are gathered into objects, before compression.' }),
  max_in_flight: z
    .int()
    .min(1)
    .max(64)
    .optional()
    .meta({ description: 'Objects written at once.', default: recordDefaults.max_in_flight }),
  timeout: duration({ min: '1s' }).prefault('60s').meta({
    description: 'Longest time in which nothing of a request or its answer moves; then it is tried again.',
  }),
  retry,
})
/** As it was parsed: what belongs to the other mode is undefined. */
export type S3Config = z.output<typeof fields>

export const s3Config = fields
  .superRefine((config, context) => {
    const report = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message })
    const { mode } = config
    const other = mode === 'objects' ? recordKeys : objectKeys
    const wanted = mode === 'objects' ? 'records' : 'objects'
    for (const key of other)
      if (config[key] !== undefined) report([key], `needs \`mode: ${wanted}\`, and the mode is ${mode}`)
    if (mode === 'records' && config.retry.max_attempts !== undefined)
      report(['retry', 'max_attempts'], 'needs `mode: objects`: batches of records are tried for ever')
    if (config.verify === 'read_back' && ['GLACIER', 'DEEP_ARCHIVE'].includes(config.storage_class ?? ''))
      report(['verify'], `what is stored as ${config.storage_class} cannot be read back: write \`checksum\``)
    if (config.retry.min > config.retry.max) report(['retry', 'min'], 'must not be more than `max`')
    if (mode === 'records' && (config.compression ?? recordDefaults.compression) !== 'zstd') {
      const level = config.compression_level ?? 1
      if (config.compression === 'none' && config.compression_level !== undefined)
        report(['compression_level'], 'needs a `compression`')
      else if (level > 9) report(['compression_level'], `${level} is too large for gzip: at most 9`)
    }
    const problem = config.key === undefined ? undefined : keyProblem(config.key, mode)
    if (problem !== undefined) report(['key'], problem)
    for (const [name, text] of Object.entries(config.metadata)) {
      const wrong = textProblem(text, mode)
      if (wrong !== undefined) report(['metadata', name], wrong)
    }
  })
  // So that the configuration in force shows what holds; the types know it from the two functions below.
  .overwrite((config) => (config.mode === 'objects' ? objectsOf(config) : recordsOf(config)))
const objectKeys = ['part_size', 'read_concurrency', 'upload_concurrency', 'verify', 'if_exists'] as const
const recordKeys = ['compression', 'compression_level', 'batch', 'max_in_flight'] as const

type Filled<K extends keyof S3Config> = { readonly [N in K]-?: NonNullable<S3Config[N]> }

/** The settings for whole objects, each with its value. `part_size` in bytes, times in ms. */
export type S3ObjectsConfig = Omit<S3Config, 'key' | 'retry' | (typeof objectKeys)[number]> &
  Filled<'key' | (typeof objectKeys)[number]> & {
    readonly retry: S3Config['retry'] & { readonly max_attempts: number }
  }

/** The settings for records, each with its value. */
export type S3RecordsConfig = Omit<S3Config, 'key' | 'compression' | 'batch' | 'max_in_flight'> &
  Filled<'key' | 'compression' | 'batch' | 'max_in_flight'>

export function objectsOf(config: S3Config): S3ObjectsConfig {
  return {
    ...config,
    key: config.key ?? objectDefaults.key,
    part_size: config.part_size ?? objectDefaults.part_size,
    read_concurrency: config.read_concurrency ?? objectDefaults.read_concurrency,
    upload_concurrency: config.upload_concurrency ?? objectDefaults.upload_concurrency,
    verify: config.verify ?? objectDefaults.verify,
    if_exists: config.if_exists ?? objectDefaults.if_exists,
    retry: { ...config.retry, max_attempts: config.retry.max_attempts ?? maxAttempts },
  }
}

export function recordsOf(config: S3Config): S3RecordsConfig {
  return {
    ...config,
    key: config.key ?? recordDefaults.key,
    compression: config.compression ?? recordDefaults.compression,
    batch: config.batch ?? batch.parse({}),
    max_in_flight: config.max_in_flight ?? recordDefaults.max_in_flight,
  }
}

/** Why S3 takes no such tags; undefined if it does. https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html */
function tagsProblem(tags: Readonly<Record<string, string>>): string | undefined {
  const names = Object.keys(tags)
  if (names.length > 10) return `has ${names.length} tags: an object can have 10`
  for (const [name, value] of Object.entries(tags)) {
    if (name === '' || name.length > 128 || value.length > 256)
      return `the tag ${JSON.stringify(name)} is too long or empty: a name has 1 to 128 characters, a value up to 256`
    if (/^aws:/i.test(name)) return `the tag ${JSON.stringify(name)} is not allowed: names with aws: belong to AWS`
    if (!/^[\p{L}\p{N}\p{Zs}+\-=._:/@]*$/u.test(name + value))
      return `the tag ${JSON.stringify(name)} may hold only letters, digits, spaces and + - = . _ : / @`
  }
  return undefined
}

/** Why the metadata cannot be sent; undefined if it can. https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html */
function metadataProblem(metadata: Readonly<Record<string, string>>): string | undefined {
  let bytes = 0
  for (const [name, value] of Object.entries(metadata)) {
    if (!/^[a-z0-9][a-z0-9._-]*$/.test(name))
      return `the name ${JSON.stringify(name)} must be of a-z, 0-9, - _ and .: it becomes the header x-amz-meta-${name.toLowerCase()}`
    if (name === 'mtime' || name === 'source') return `${name} is written by the sink itself: choose another name`
    bytes += name.length + Buffer.byteLength(value)
  }
  return bytes > 1536 ? `has ${bytes} bytes: S3 takes 2 KiB with what the sink adds, so 1536 are left` : undefined
}

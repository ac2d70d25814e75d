import * as z from 'zod'
import { awsFields } from '../aws/connection.ts'
import { duration } from '../config/fields.ts'
import { compileGlob } from '../formats/glob.ts'

const glob = z
  .string()
  .min(1)
  .superRefine((source, context) => {
    try {
      compileGlob(source)
    } catch (error) {
      context.addIssue(
        `${JSON.stringify(source)} is no glob: ${error instanceof Error ? error.message : String(error)}`,
      )
    }
  })
const globs = z.union([glob, z.array(glob)]).transform((given) => (typeof given === 'string' ? [given] : given))

export const s3SqsConfig = z
  .strictObject({
    type: z.literal('s3_sqs'),
    queue_url: z
      .url({ protocol: /^https?$/, error: 'must be the http:// or https:// URL of a queue' })
      .meta({ description: 'URL of the queue that gets the notifications. It says where SQS is, and its region.' }),
    ...awsFields,
    endpoint: awsFields.endpoint.meta({
      description: 'URL of an S3-compatible server instead of AWS. The queue is where `queue_url` says.',
    }),
    include: globs.prefault([]).meta({
      description:
        'Globs for object keys, as in formats: only objects that one of them matches are read. Without any, all are.',
    }),
    exclude: globs
      .prefault([])
      .meta({ description: 'Globs for object keys that are not read, whatever `include` says.' }),
    workers: z.int().min(1).default(15).meta({
      description: 'Objects fetched at once. So many messages, at most 10 in a request, are received ahead.',
    }),
    wait_time: duration({ min: '0s', max: '20s' })
      .prefault('20s')
      .meta({ description: 'How long one request waits at the queue for messages (long polling).' }),
    interval: duration().prefault('0s').meta({ description: 'Pause between two polls when the queue is empty.' }),
    visibility_timeout: duration({ min: '3s', max: '12h' }).prefault('60s').meta({
      description:
        'How long a message stays hidden from others after this process was heard of last. It is extended every third of that, and given back at a stop.',
    }),
    max_receives: z.int().min(1).default(5).meta({
      description:
        'Receives after which a message that cannot be dealt with goes to quarantine and is deleted. Without effect where the queue has a dead-letter queue: there SQS counts.',
    }),
    records_path: z.string().min(1).optional().meta({
      description:
        'For messages of another shape: dotted path of the list of records; left out if the message is one record.',
    }),
    bucket_path: z.string().min(1).optional().meta({
      description: 'For messages of another shape: dotted path of the name of the bucket in a record.',
    }),
    key_path: z.string().min(1).optional().meta({
      description: 'For messages of another shape: dotted path of the key in a record, as it is or URL-encoded.',
    }),
  })
  .superRefine(({ records_path, bucket_path, key_path }, context) => {
    const missing = (path: string) =>
      context.addIssue({
        code: 'custom',
        path: [path],
        message: 'is missing: a mapping needs bucket_path and key_path',
      })
    if (records_path === undefined && bucket_path === undefined && key_path === undefined) return
    if (bucket_path === undefined) missing('bucket_path')
    if (key_path === undefined) missing('key_path')
  })
export type S3SqsConfig = z.output<typeof s3SqsConfig>

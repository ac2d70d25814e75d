/** `s3`: copies whole objects into a bucket, or writes records there as new objects. What it does is in s3-objects.ts and s3-records.ts. */
import type { SinkDefinition } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { objectsOf, recordsOf, s3Config } from './s3-config.ts'

const notes = `\`mode: objects\` copies each object of the source byte for byte, and nothing is decoded or filtered. \`mode: records\` takes what formats and
filters make of the objects, like any other sink. Keys that only the other mode has are an error.

**Keys**

| in \`key\` | objects | records |
|---|---|---|
| \`{path}\` | path below the folder that the source reads; of a bucket, the key | |
| \`{dir}\` \`{name}\` | \`{path}\` cut at its last slash | |
| \`{stem}\` \`{ext}\` | \`{name}\` cut before its last dot: \`a.tar\` and \`.gz\` | \`{ext}\`: \`.ndjson\` or \`.log\`, with \`.gz\` or \`.zst\` |
| \`{key}\` | key in its bucket, or absolute path of the file without the first slash | |
| \`{bucket}\` | bucket, or user and host of an SFTP server; nothing for local files | the same |
| \`{id}\` | | name of the batch; must be there |
| \`{pipeline}\` | name of the pipeline | the same |
| \`{date}\` \`{yyyy}\` \`{MM}\` \`{dd}\` \`{HH}\` \`{mm}\` \`{ss}\` | time of the object in UTC; \`{date}\` is \`yyyy-MM-dd\` | the same |

- A segment of nothing but empty values is left out with its slash: \`{dir}/{name}\` of a file in the top folder is its name. Otherwise names stay as they are,
  with spaces, line feeds and all.
- An object whose key would be empty, longer than 1024 bytes, or have a segment \`.\` or \`..\` is refused, and the message says so.
- Two objects with one key take each other's place: use \`{path}\`, or what tells them apart.

**Objects**

- Larger ones go up in parts; nothing is visible before all of it was accepted, and a failed upload is aborted. What was sent before a stop, or a kill, is kept and
  used by the next run if the object has not changed.
- Each part has its checksum, and the object that of all its bytes (CRC64NVME), which S3 computes too and compares before the object becomes visible; \`verify\` says
  what is compared after that.
- Metadata: \`mtime\`, the time of the last change in Unix seconds (where rclone looks for it too), and \`source\`, URL-encoded where it is not ASCII.
- Memory: the larger of \`read_concurrency\` and \`upload_concurrency\`, × \`part_size\`, whatever the size of the objects; parts of an object that needs more than 10,000 are larger.
- Limits of S3: 48.8 TiB an object, 10,000 parts of up to 5 GiB.
- Uploads that nobody goes on with cost money: give the bucket a lifecycle rule with \`AbortIncompleteMultipartUpload\`.

**Records**

- Each batch becomes one object for each key: one record a line, byte for byte; a record of several lines becomes \`{"message":"…"}\`.
- \`{id}\` stands for exactly the records of the batch, so a batch that is written again after a lost answer takes its own place.
- Compressed objects are files like any others: their name ends in \`.gz\` or \`.zst\`, and they have no Content-Encoding, so nothing unpacks them on the way.
- Objects smaller than \`batch.bytes\` come from \`batch.linger\`, from the end of a run, and from keys by time: the records of an old object have a key of their own.
- The program keeps 16 MiB of records under way at most, so larger batches are fewer at once. Beside them, each object being written needs its own size twice.

**Guarantee**: objects: at least once, and a copy that is made again is the same object. Records: at least once; after a kill records may stand in two objects.

**Permissions** on the objects: \`s3:PutObject\`; for \`mode: objects\` also \`s3:AbortMultipartUpload\`, \`s3:ListMultipartUploadParts\` (to go on after a stop),
\`s3:GetObject\` (to verify) and \`s3:DeleteObject\` (to remove what proves wrong); \`s3:PutObjectTagging\` with \`tags\`; \`kms:GenerateDataKey\` and \`kms:Decrypt\` with a KMS key. On the bucket \`s3:ListBucket\`, without which
\`check\` can tell less, and \`s3:ListBucketMultipartUploads\` to list unfinished uploads.

**S3-compatible servers**: set \`endpoint\`. Where the server refuses checksums it does not know, set \`checksum: when_required\`.`

export const s3Sink: SinkDefinition<typeof s3Config> = {
  type: 's3',
  summary: 'Copies whole objects into an S3 bucket, verified and resumed; or writes records there as new objects.',
  notes,
  config: s3Config,
  place: ({ bucket, key }) => `s3://${bucket}/${key ?? ''}`,
  examples: [
    {
      title: 'Files from an SFTP server, each in the folder of its day',
      config: {
        type: 's3',
        bucket: 'landing',
        key: 'vendor/{date}/{path}',
        region: 'eu-central-1',
        if_exists: 'skip',
        sse: { type: 'aws:kms', kms_key_id: 'alias/landing', bucket_key: true },
      },
    },
    {
      title: 'From bucket to bucket, into a cheaper storage class',
      config: {
        type: 's3',
        bucket: 'archive',
        key: '{bucket}/{key}',
        part_size: '64MiB',
        storage_class: 'GLACIER_IR',
        tags: { origin: 'copy' },
      },
    },
    {
      title: 'To an S3-compatible server that knows no checksums but MD5',
      config: {
        type: 's3',
        bucket: 'backup',
        endpoint: 'https://s3.example.com',
        region: 'us-east-1',
        checksum: 'when_required',
        verify: 'read_back',
      },
    },
    {
      title: 'Records as zstd objects by hour',
      config: {
        type: 's3',
        mode: 'records',
        bucket: 'lake',
        key: 'web/dt={date}/hour={HH}/{id}{ext}',
        compression: 'zstd',
        batch: { bytes: '16MiB', linger: '5m' },
      },
    },
  ],
  // Loaded only where they are used, and only the one that is.
  create: async (config, context) => {
    if (config.mode === 'objects')
      throw new StreamError('config.invalid', 'cannot write records to s3: its mode is objects (set `mode: records`)')
    return new (await import('./s3-records.ts')).S3RecordSink(recordsOf(config), context)
  },
  objects: {
    wanted: ({ mode }) => mode === 'objects',
    create: async (config, context) => (await import('./s3-objects.ts')).createS3Objects(objectsOf(config), context),
    unfinished: async (config, context) =>
      new (await import('./s3-uploads.ts')).UnfinishedUploads(objectsOf(config), context),
  },
}

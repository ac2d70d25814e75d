/** `kafka`: records as messages of one topic, acknowledged by all in-sync replicas. */
import * as z from 'zod'
import { duration, secret, size } from '../config/fields.ts'
import type { Context, Definition, Sink } from '../core/component.ts'
import { batchField, retryField } from './sink-fields.ts'
import { tlsSchema } from './tls.ts'

const brokerAddress = z
  .string()
  .regex(/^(\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):\d{1,5}$/, 'must be host:port, like kafka-1.example.com:9092')
  .refine((text) => parseBroker(text).port <= 65535, 'must have a port up to 65535')

export const kafkaConfig = z.strictObject({
  type: z.literal('kafka'),
  brokers: z
    .array(brokerAddress)
    .min(1)
    .meta({ description: 'Brokers to ask for the others, as `host:port`; more than one, in case one is down.' }),
  topic: z
    .string()
    .regex(/^[A-Za-z0-9._-]{1,249}$/, 'must be a topic name: letters, digits, ".", "_" and "-", at most 249')
    .meta({ description: 'Topic to write to. It must exist: this sink creates none.' }),
  client_id: z
    .string()
    .min(1)
    .default('s3-streamer')
    .meta({ description: 'Name in the logs and quotas of the brokers.' }),
  key: z
    .union([
      z.enum(['none', 'object']),
      z.strictObject({
        field: z.string().min(1).meta({ description: 'Name of the field, with dots for nested ones.' }),
      }),
    ])
    .default('none')
    .meta({
      description:
        "Key of each message. `none`: no key, whole batches to the partitions in turn; `object`: the object's key; `{ field: name }`: a field of JSON records.",
    }),
  headers: z
    .boolean()
    .default(true)
    .meta({ description: 'Add the headers `x-record-id` and `x-origin` to each message.' }),
  compression: z
    .enum(['none', 'gzip', 'snappy', 'lz4', 'zstd'])
    .default('none')
    .meta({ description: 'Compression of record batches.' }),
  auth: z
    .strictObject({
      mechanism: z.enum(['plain', 'scram-sha-256', 'scram-sha-512']).meta({ description: 'SASL mechanism.' }),
      username: z.string().min(1).meta({ description: 'User name.' }),
      password: secret().meta({ description: 'Password.' }),
    })
    .optional()
    .meta({ description: 'SASL authentication.' }),
  tls: tlsSchema.optional().meta({ description: 'TLS: a block that is given, even an empty one, turns it on.' }),
  batch: batchField({ records: 10_000, bytes: '1MiB', maxBytes: '100MiB' }),
  max_message_bytes: size({ min: '1KiB', max: '64MiB' }).prefault('1MiB').meta({
    description:
      "Longest record batch, before compression; the topic's `max.message.bytes` must allow it. A record whose own message is longer, compressed, goes to quarantine.",
  }),
  max_in_flight: z.int().min(1).max(100).default(5).meta({ description: 'Most batches being written at once.' }),
  retry: retryField,
  timeout: duration({ min: '1ms', max: '1h' })
    .prefault('30s')
    .meta({ description: 'Longest wait for the answer to a request, replication included.' }),
  connect_timeout: duration({ min: '1ms', max: '1h' })
    .prefault('10s')
    .meta({ description: 'Longest time to connect, TLS handshake and login included.' }),
})
export type KafkaConfig = z.output<typeof kafkaConfig>

export function parseBroker(text: string): { readonly host: string; readonly port: number } {
  const colon = text.lastIndexOf(':')
  return { host: text.slice(0, colon).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(colon + 1)) }
}

export const kafkaNotes = `Each record is one message: its bytes without the line end are the value, the time of the object is the timestamp. With \`headers\` it carries
\`x-record-id\` (object id, \`#\`, record number: the same whenever the record is sent again) and \`x-origin\` (\`s3://bucket/key\`).

**Guarantee**: at least once. A record counts as delivered when every in-sync replica of its partition has it (acks all); how many that are is for the
topic's \`min.insync.replicas\` to say. The producer is idempotent: a request that is repeated because its answer was lost is stored once. Records are stored
twice after a kill, or when a broker has lost what it knew of the producer; \`x-record-id\` tells them apart.

**Keys and partitions**: without a key, record batches go to the partitions in turn. With a key, the partition is that of the Java client (murmur2). A record
that is no JSON object, or lacks the field, has no key. Order within a partition is that of the object if \`max_in_flight\` is 1, otherwise not promised.

**Failures**

- Lost connections, a new leader, too few in-sync replicas, time-outs: tried again for ever, only the partitions that did not acknowledge.
- An unknown topic, a failed login, a missing right: tried again too, with what to do in the log; at start they stop the program.
- A message that the topic does not take for its size goes to quarantine by itself; the others of its batch are delivered.
- A record that the broker finds invalid (no key on a compacted topic, a timestamp out of range) goes to quarantine; the others of its batch are delivered.

**Timestamps**: \`retention.ms\` counts from the timestamp of a message, so a topic with a short retention drops the records of old objects soon. Set
\`message.timestamp.type=LogAppendTime\` on the topic if that is not wanted.

**Rights** (ACLs): \`DESCRIBE\` and \`WRITE\` on the topic; before Kafka 2.8 also \`IDEMPOTENT_WRITE\` on the cluster. Kafka 2.1 or later is needed.

**TLS** is on if there is a \`tls\` block: \`tls: {}\` is enough for certificates that the system trusts.`

export const kafkaSink: Definition<typeof kafkaConfig, Sink, Context, Promise<Sink>> = {
  type: 'kafka',
  summary: 'Writes records as messages to a Kafka topic, idempotent and acknowledged by all in-sync replicas.',
  notes: kafkaNotes,
  config: kafkaConfig,
  place: ({ brokers, topic }) => `kafka://${brokers.join(',')}/${topic}`,
  examples: [
    {
      title: 'Two brokers, SCRAM over TLS, keyed by a field',
      config: {
        type: 'kafka',
        brokers: ['kafka-1.example.com:9093', 'kafka-2.example.com:9093'],
        topic: 'access-logs',
        key: { field: 'client.ip' },
        compression: 'zstd',
        auth: { mechanism: 'scram-sha-512', username: 'streamer', password: '${KAFKA_PASSWORD}' },
        tls: {},
      },
    },
    { title: 'A broker at hand', config: { type: 'kafka', brokers: ['localhost:9092'], topic: 'logs' } },
  ],
  // Loaded only where it is used: the library is large.
  create: async (config, context) => new (await import('./kafka-sink.ts')).KafkaSink(config, context),
}

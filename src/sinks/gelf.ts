/** `gelf`: records as GELF 1.1 messages, over UDP, TCP, TLS or HTTP. */
import { hostname } from 'node:os'
import * as z from 'zod'
import { duration, size } from '../config/fields.ts'
import { urlWithoutSecrets } from '../config/hidden.ts'
import type {
  Batch,
  BatchLimits,
  Bound,
  Context,
  Definition,
  Dependency,
  Finding,
  MetricSpec,
  Refused,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { type EncodedMessages, GelfEncoder, tooLarge } from './gelf-encoder.ts'
import { HttpPoster } from './gelf-http.ts'
import { GelfDatagrams } from './gelf-udp.ts'
import { basicHeader } from './http-endpoints.ts'
import { basicAuth, bearerAuth, HttpSender } from './http-sender.ts'
import { batchField, retryField } from './sink-fields.ts'
import { SocketWriter } from './socket-writer.ts'
import { severities } from './syslog-levels.ts'
import { tlsOptions, tlsSchema } from './tls.ts'

/** Graylog's own. */
const defaultPort = 12_201
/** Less than the 60 s after which Graylog closes an idle connection (HttpTransport.java, idle_writer_timeout). */
const idleMs = 50_000

export const gelfConfig = z
  .strictObject({
    type: z.literal('gelf'),
    endpoints: z
      .array(
        z.url({
          protocol: /^(udp|tcp|tls|https?)$/,
          error: 'must be a udp://, tcp://, tls://, http:// or https:// URL, like udp://graylog:12201',
        }),
      )
      .min(1)
      .meta({
        description:
          'Where the GELF input of Graylog listens, all of one kind: `udp://host:12201`, `tcp://…`, `tls://…` or `http(s)://host:12201/gelf`. ' +
          'HTTP: the least busy healthy one takes the next message; else the first one, and the next when it fails.',
      }),
    host: z.string().regex(/\S/, 'must not be blank').optional().meta({
      description: 'Field `host` of every message, what Graylog shows as source; without it, the name of this machine.',
    }),
    level: z
      .union([z.int().min(0).max(7), z.enum(severities)])
      .default('info')
      .meta({ description: 'Level of a record that does not say its own: 0 to 7, or its syslog name.' }),
    level_field: z.string().default('level').meta({
      description:
        'Field (or path, like `log.level`) of a JSON record that says its level, by number (0 to 7) or by a word like `warn` or `ERROR`.',
    }),
    message_field: z.string().optional().meta({
      description:
        'Field (or path, like `event.original`) of a JSON record that is its message; without it, the first of `message`, `short_message` and `msg` that has a text.',
    }),
    compression: z
      .enum(['none', 'gzip', 'zlib'])
      .optional()
      .meta({
        description:
          '`gzip` by default for UDP, where messages that fit into one packet (1420 bytes) are sent as they are; `none` by default for HTTP, ' +
          'which has no `zlib`. TCP and TLS have none.',
      }),
    chunk_size: size({ min: '100', max: '65507' }).prefault('8192').meta({
      description: 'UDP: longest datagram. 1420 where larger ones do not pass, as over the internet.',
    }),
    max_message_bytes: size({ min: '1KiB', max: '512MiB' }).prefault('2MiB').meta({
      description:
        'Longest message before compression; the texts of a longer one are cut. Graylog takes 2 MiB over TCP and 8 MiB over UDP.',
    }),
    bulk: z.boolean().default(false).meta({
      description:
        'HTTP: a whole batch in one request. Needs "Enable Bulk Receiving" at the input: without it Graylog drops all but the first message.',
    }),
    tls: tlsSchema.prefault({}).meta({ description: 'TLS settings for tls and https endpoints.' }),
    auth: z
      .discriminatedUnion('type', [bearerAuth, basicAuth])
      .optional()
      .meta({ description: 'HTTP: authentication.' }),
    headers: z
      .record(z.string(), z.string())
      .default({})
      .meta({ description: 'HTTP: headers to add to every request.' }),
    max_in_flight: z.int().min(1).default(10).meta({ description: 'HTTP: most requests under way at once.' }),
    batch: batchField({ records: 1000, bytes: '1MiB', maxBytes: '10MiB', linger: '200ms' }),
    retry: retryField,
    timeout: duration()
      .prefault('30s')
      .meta({
        description:
          'HTTP: longest time for one request. TCP, TLS: longest time without the receiver taking any data. 0 for no limit. ' +
          'On Linux a slow connection shows progress only after some MB: a receiver slower than about 100 KB/s needs a longer time.',
      }),
    connect_timeout: duration()
      .prefault('10s')
      .meta({ description: 'Longest time to connect, name lookup and TLS handshake included.' }),
  })
  .check(({ value, issues }) => {
    for (const [path, message] of conflicts(value)) issues.push({ code: 'custom', path: [path], message, input: value })
  })
export type GelfConfig = z.output<typeof gelfConfig>

export const gelfMetrics = {
  gelf_messages_sent_total: {
    kind: 'counter',
    unit: '{message}',
    help: 'Messages accepted by the receiver, or the kernel.',
  },
  gelf_bytes_sent_total: {
    kind: 'counter',
    unit: 'By',
    help: 'Bytes of the messages of accepted batches, before compression.',
  },
  gelf_truncated_total: { kind: 'counter', unit: '{message}', help: 'Messages of which a text or a value was cut.' },
  gelf_errors_total: { kind: 'counter', unit: '{error}', help: 'Writes that failed, of whatever kind.' },
} as const satisfies Record<string, MetricSpec>

interface Carried {
  /** Numbers of the messages that were cut on the way. */
  readonly cut: readonly number[]
  readonly refused: Refused
}

/** What carries the messages of a batch. */
interface Carrier extends AsyncDisposable {
  readonly dependencies: readonly Dependency[]
  examine(o: Signal): AsyncIterable<Finding>
  sample?(): void
  check(o: Signal): Promise<void>
  /** Resolves with what was cut and refused on the way; throws as `Sink.write`. */
  write(batch: Batch, messages: EncodedMessages, o: Signal): Promise<Carried>
}

const nothing: Carried = { cut: [], refused: new Map() }

class GelfSink implements Sink {
  readonly encodes = true
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #encoder: GelfEncoder
  readonly #carrier: Carrier
  readonly #metrics: Bound<typeof gelfMetrics>

  constructor(config: GelfConfig, context: Context) {
    const { batch, retry } = config
    const kind = kindOf(config.endpoints)
    this.maxInFlight = kind !== 'http' ? 1 : config.bulk ? config.max_in_flight : Math.min(2, config.max_in_flight)
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#metrics = context.meter.bind(gelfMetrics, {})
    this.#encoder = new GelfEncoder({
      host: config.host ?? hostname(),
      level: typeof config.level === 'number' ? config.level : severities.indexOf(config.level),
      levelField: config.level_field,
      messageFields: config.message_field === undefined ? ['message', 'short_message', 'msg'] : [config.message_field],
      end: kind === 'tcp' || kind === 'tls' ? 'nul' : config.bulk ? 'lf' : 'none',
      maxMessageBytes: config.max_message_bytes,
    })
    this.#carrier =
      kind === 'udp'
        ? datagramCarrier(config, this.#encoder, context)
        : kind === 'http'
          ? httpCarrier(config, this.maxInFlight, context)
          : streamCarrier(config, kind, context)
  }

  async check(o: Signal): Promise<void> {
    await this.#carrier.check(o)
  }

  get dependencies(): readonly Dependency[] {
    return this.#carrier.dependencies
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#carrier.examine(o)
  }

  sample(): void {
    this.#carrier.sample?.()
  }

  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const messages = this.#encoder.encode(batch)
    try {
      const { cut, refused: refusedThere } = await this.#carrier.write(batch, messages, o)
      const refused = new Map([...messages.refused, ...refusedThere])
      this.#metrics.gelf_messages_sent_total.add(batch.count - refused.size)
      this.#metrics.gelf_bytes_sent_total.add(messages.data.length)
      this.#metrics.gelf_truncated_total.add(new Set([...messages.cut, ...cut]).size)
      return refused.size > 0 ? refused : undefined
    } catch (error) {
      this.#metrics.gelf_errors_total.add(1)
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#carrier[Symbol.asyncDispose]()
  }
}

function streamCarrier(config: GelfConfig, kind: 'tcp' | 'tls', { log, nowMs }: Context): Carrier {
  const writer = new SocketWriter({
    endpoints: config.endpoints.map(addressOf),
    tls: kind === 'tls' ? tlsOptions(config.tls) : undefined,
    connectTimeoutMs: config.connect_timeout,
    timeoutMs: config.timeout,
    log,
    nowMs,
    what: 'gelf',
  })
  return {
    dependencies: writer.dependencies,
    examine: (o) => writer.examine(o),
    check: (o) => writer.connect(o),
    write: async (_batch, { data }, o) => {
      if (data.length > 0) await writer.write(data, o)
      return nothing
    },
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  }
}

function datagramCarrier(config: GelfConfig, encoder: GelfEncoder, { log, nowMs }: Context): Carrier {
  const writer = new GelfDatagrams({
    endpoints: config.endpoints.map(addressOf),
    chunkBytes: config.chunk_size,
    compression: config.compression ?? 'gzip',
    connectTimeoutMs: config.connect_timeout,
    log,
    nowMs,
  })
  return {
    dependencies: writer.dependencies,
    examine: (o) => writer.examine(o),
    check: (o) => writer.check(o),
    write: async (batch, messages, o) => {
      const shorten = (n: number, maxBytes: number) => encoder.encodeOne(batch, n, maxBytes)
      const { cut, refused } = await writer.write(messages, shorten, o)
      return { cut, refused: new Map(refused.map((n) => [n, tooLarge(128 * config.chunk_size)])) }
    },
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  }
}

function httpCarrier(config: GelfConfig, batches: number, context: Context): Carrier {
  const { auth, max_in_flight, timeout } = config
  const authorization =
    auth &&
    (auth.type === 'bearer' ? `Bearer ${auth.token.reveal()}` : basicHeader(auth.username, auth.password.reveal()))
  const compression = config.compression === 'gzip' ? 'gzip' : 'none'
  const sender = new HttpSender(
    { ...config, compression, response_header_timeout: timeout, idle_timeout: idleMs, max_connections: max_in_flight },
    { kind: 'gelf', authorization, batchBytes: config.batch.bytes },
    context,
  )
  const poster = new HttpPoster(sender, Math.ceil(max_in_flight / batches))
  return {
    dependencies: sender.dependencies,
    examine: (o) => sender.examine(o),
    sample: () => sender.sample(),
    check: (o) => sender.check(o),
    write: async (batch, messages, o) => {
      let { refused } = nothing
      if (config.bulk) await poster.postAll(messages, o)
      else refused = await poster.postEach(batch, messages, o)
      sender.accepted(batch.count - messages.refused.size - refused.size, messages.data.length)
      return { cut: [], refused }
    },
    [Symbol.asyncDispose]: () => sender[Symbol.asyncDispose](),
  }
}

type Kind = 'udp' | 'tcp' | 'tls' | 'http'

function kindOf([first = '']: readonly string[]): Kind {
  const scheme = new URL(first).protocol.slice(0, -1)
  return scheme === 'udp' || scheme === 'tcp' || scheme === 'tls' ? scheme : 'http'
}

function addressOf(url: string): { host: string; port: number } {
  const { hostname, port } = new URL(url)
  return { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: port === '' ? defaultPort : Number(port) }
}

/** What the keys say against each other, by key. */
function conflicts(config: GelfConfig): Array<[keyof GelfConfig, string]> {
  const kind = kindOf(config.endpoints)
  const found: Array<[keyof GelfConfig, string]> = []
  if (config.endpoints.some((url) => kindOf([url]) !== kind))
    found.push(['endpoints', 'all endpoints of one gelf sink must be of the same kind: use one sink for each'])
  if (kind !== 'http') {
    const broken = config.endpoints.find((url) => !isAddress(url))
    if (broken !== undefined)
      found.push(['endpoints', `must be just host and port, like ${kind}://graylog:${defaultPort}`])
    for (const key of ['auth', 'bulk'] as const)
      if (config[key]) found.push([key, `is for http endpoints, ${kind} has no such thing`])
    if (Object.keys(config.headers).length > 0)
      found.push(['headers', `is for http endpoints, ${kind} has no such thing`])
  }
  if ((kind === 'tcp' || kind === 'tls') && (config.compression ?? 'none') !== 'none')
    found.push(['compression', 'GELF over TCP cannot be compressed: leave it out'])
  if (kind === 'http' && config.compression === 'zlib') found.push(['compression', 'use gzip for http endpoints'])
  return found
}

function isAddress(url: string): boolean {
  const { hostname, port, username, password, pathname, search, hash } = new URL(url)
  return (
    hostname !== '' && ['', '/'].includes(pathname) && `${username}${password}${search}${hash}` === '' && port !== '0'
  )
}

export const gelfSink: Definition<typeof gelfConfig, Sink> = {
  type: 'gelf',
  summary: 'Sends records to Graylog as GELF 1.1 messages over UDP, TCP, TLS or HTTP.',
  notes: `Each record is one message. A record that is no JSON object is its text: \`short_message\`, and if it has several lines, the first one is
\`short_message\` and all of it \`full_message\`. Of a JSON object

- the message is \`message_field\`, else the whole record as text; its own \`full_message\` is kept,
- the time is \`timestamp\`, \`@timestamp\` or \`time\`, if it can be read as one (RFC 3339, or Unix s, ms, µs, ns), else the time of the object,
- the level is \`level_field\`, if it can be read as one,
- all other fields become additional ones. Numbers stay numbers, unless they are integers too large for a double; booleans, objects and
  arrays become text; null is left out. Characters that GELF does not allow in a name become \`_\`. A name that is forbidden (\`id\`), that Graylog
  keeps for itself and would drop in silence (\`host\`, \`source\`, \`timestamp\`, \`level\`, \`gl2_…\` and so on), or that is given here, gets a
  \`_\` at its end: \`host\` becomes \`_host_\`.

Where it came from stands in \`_bucket\`, \`_key\`, \`_record\` (number in the object, from 0) and \`_record_id\`, which is the same whenever the record
is sent again: Graylog cannot remove duplicates, but a search can.

Too long: the texts are cut until the message fits \`max_message_bytes\` and, over UDP, 128 chunks; values of additional fields are cut at 32,766
bytes, the longest that Graylog can index. Both count in \`gelf_truncated_total\`. Only a record whose fields alone do not fit goes to
quarantine, and over HTTP one that the receiver refuses (413: the input's "Max. HTTP chunk size" is 64 KiB unless you raise it).
Bytes that are no UTF-8 become U+FFFD: JSON cannot carry them.

**Guarantee**, by kind of endpoint:

- \`http\`, \`https\`: at least once. 202 counts as accepted; Graylog has the message in memory then, or in its journal. Prefer it.
- \`tcp\`, \`tls\`: GELF has no acknowledgement. A batch counts as accepted when the kernel has taken all of it and the connection was still
  whole after that; a batch whose connection breaks before is sent again as a whole. Lost without a trace is what lay in the socket buffers of
  both machines when the receiver, its machine or the network died, or when it was restarted while records flowed. The connection is looked at before each batch, so that a receiver that was
  merely stopped while nothing was being sent costs nothing.
- \`udp\`: whatever the network or a full receiver drops is lost. A refusal (ICMP port unreachable) that comes back within 5 ms (100 ms on a
  new socket, 500 ms after a refusal) sends the batch again; a later one is only warned of: what was refused is lost. Graylog drops a chunked
  message that is not complete after 5 s.
  Receivers built on go-gelf take datagrams of at most 1420 bytes: set \`chunk_size: 1420\` for them.`,
  config: gelfConfig,
  place: ({ endpoints }) => endpoints.map(urlWithoutSecrets).join(', '),
  examples: [
    {
      title: 'Graylog over HTTP, two nodes',
      config: {
        type: 'gelf',
        endpoints: ['https://graylog-a.example.com:12201/gelf', 'https://graylog-b.example.com:12201/gelf'],
        compression: 'gzip',
      },
    },
    {
      title: 'Over TLS with a private authority',
      config: {
        type: 'gelf',
        endpoints: ['tls://graylog.example.com:12201'],
        tls: { ca_file: '/etc/ssl/graylog-ca.pem' },
      },
    },
    {
      title: 'Over UDP through the internet',
      config: { type: 'gelf', endpoints: ['udp://graylog.example.com:12201'], chunk_size: 1420 },
    },
  ],
  create: (config, context) => new GelfSink(config, context),
}

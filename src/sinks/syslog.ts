/** `syslog`: records as syslog messages, over UDP, TCP or TLS. */
import type {
  Batch,
  BatchLimits,
  Bound,
  Context,
  Definition,
  Dependency,
  Finding,
  Log,
  MetricSpec,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { type DatagramSocket, DatagramWriter } from './datagram-writer.ts'
import { SocketWriter } from './socket-writer.ts'
import { endpointsOf, messageFormatOf, type SyslogConfig, syslogConfig } from './syslog-config.ts'
import { type EncodedMessages, SyslogEncoder } from './syslog-encoder.ts'
import { tlsOptions } from './tls.ts'

export const syslogMetrics = {
  syslog_messages_sent_total: { kind: 'counter', unit: '{message}', help: 'Messages handed to the receiver.' },
  syslog_bytes_sent_total: { kind: 'counter', unit: 'By', help: 'Bytes of those messages, framing included.' },
  syslog_truncated_total: { kind: 'counter', unit: '{message}', help: 'Messages cut at max_message_bytes.' },
  syslog_errors_total: {
    kind: 'counter',
    unit: '{error}',
    help: 'Batches that could not be sent, tried again or not.',
  },
} as const satisfies Record<string, MetricSpec>

/** Sends encoded messages; resolves when they were handed over. */
interface Transmitter extends AsyncDisposable {
  readonly dependencies: readonly Dependency[]
  examine(o: Signal): AsyncIterable<Finding>
  check(o: Signal): Promise<void>
  write(messages: EncodedMessages, o: Signal): Promise<void>
}

class SyslogSink implements Sink {
  readonly encodes = true
  /** Batches are written one at a time: more under way would only give up their order. */
  readonly maxInFlight = 1
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #encoder: SyslogEncoder
  readonly #transmitter: Transmitter
  readonly #metrics: Bound<typeof syslogMetrics>
  readonly #log: Log
  readonly #maxMessageBytes: number
  #hasToldOfCuts = false

  constructor(config: SyslogConfig, context: Context) {
    const { batch, retry } = config
    const [{ transport } = { transport: 'tcp' as const }] = endpointsOf(config)
    const format = messageFormatOf(config, transport)
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#encoder = new SyslogEncoder(format)
    this.#maxMessageBytes = format.maxMessageBytes
    this.#metrics = context.meter.bind(syslogMetrics, {})
    this.#log = context.log
    this.#transmitter = transmitterOf(config, context)
  }

  async check(o: Signal): Promise<void> {
    await this.#transmitter.check(o)
  }

  get dependencies(): readonly Dependency[] {
    return this.#transmitter.dependencies
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#transmitter.examine(o)
  }

  async write(batch: Batch, o: Signal): Promise<undefined> {
    o.signal.throwIfAborted()
    const messages = this.#encoder.encode(batch)
    try {
      await this.#transmitter.write(messages, o)
    } catch (error) {
      if (!(error instanceof StreamError) || error.code !== 'run.aborted') this.#metrics.syslog_errors_total.add(1)
      throw error
    }
    this.#metrics.syslog_messages_sent_total.add(messages.ends.length)
    this.#metrics.syslog_bytes_sent_total.add(messages.data.length)
    if (messages.truncated > 0) this.#cut(messages.truncated)
  }

  #cut(messages: number): void {
    this.#metrics.syslog_truncated_total.add(messages)
    if (this.#hasToldOfCuts) return
    this.#hasToldOfCuts = true
    this.#log.warn(
      { maxMessageBytes: this.#maxMessageBytes },
      'records longer than max_message_bytes are cut; raise it if the receiver takes more (said once, see syslog_truncated_total)',
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#transmitter[Symbol.asyncDispose]()
  }
}

function transmitterOf(config: SyslogConfig, { log, nowMs }: Context): Transmitter {
  const endpoints = endpointsOf(config)
  const { timeout: timeoutMs, connect_timeout: connectTimeoutMs } = config
  if (endpoints[0]?.transport === 'udp') {
    const advice = 'a message is larger than a datagram may be here: lower max_message_bytes'
    const tooLong = { code: 'sink.too_large', advice } as const
    const datagrams = new DatagramWriter({ endpoints, connectTimeoutMs, log, nowMs, what: 'syslog', tooLong })
    return {
      dependencies: datagrams.dependencies,
      examine: (o) => datagrams.examine(o),
      check: (o) => datagrams.check(o),
      write: (messages, o) => datagrams.write((socket) => sendEach(socket, messages), o),
      [Symbol.asyncDispose]: () => datagrams[Symbol.asyncDispose](),
    }
  }
  const tls = endpoints[0]?.transport === 'tls' ? tlsOptions(config.tls) : undefined
  const writer = new SocketWriter({ endpoints, tls, connectTimeoutMs, timeoutMs, log, nowMs, what: 'syslog' })
  return {
    dependencies: writer.dependencies,
    examine: (o) => writer.examine(o),
    check: (o) => writer.connect(o),
    write: ({ data }, o) => writer.write(data, o),
    [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
  }
}

async function sendEach(socket: DatagramSocket, { data, ends }: EncodedMessages): Promise<void> {
  let start = 0
  for (const end of ends) {
    socket.send(data.subarray(start, end))
    start = end
    if (socket.isFull) await socket.flush()
  }
}

export const syslogSink: Definition<typeof syslogConfig, Sink> = {
  type: 'syslog',
  summary: 'Sends records as syslog messages (RFC 5424 or 3164) over UDP, TCP or TLS.',
  notes: `Each record is one message. With \`rfc5424\` its structured data say where it came from:
\`[origin@32473 bucket="logs" key="2026/11/21/a.gz" version="9b2c…" record="17"]\`. \`bucket/key@version#record\` is the same for a record that is
sent again. The element is left out of messages where it would take half of \`max_message_bytes\` or more. \`rfc3164\` has no room for it.

- TCP frames messages by octet counting (RFC 6587) and leaves their bytes as they are, line feeds and invalid UTF-8 included. TLS knows no
  other framing (RFC 5425).
- With \`framing: lf\`, and with \`rfc3164\` on every transport, control characters but the tab are escaped as rsyslog does: \`#012\` is a line feed.
- UDP sends one message per datagram. Messages larger than the MTU are sent in fragments, and are lost if one fragment is.
- A message longer than \`max_message_bytes\` is cut between characters and counted in \`syslog_truncated_total\`. Set it to what the receiver takes
  (rsyslog: \`maxMessageSize\`; syslog-ng: \`log-msg-size()\`).
- With several endpoints the first one that works takes everything; when it fails, the next one takes over. A batch that a failing receiver
  had taken in part is sent again as a whole.

**Guarantee**: at least once, as far as the kernel of this machine. Syslog has no acknowledgement: a batch counts as accepted when the kernel
has taken all of it and the connection is whole. What is still in socket buffers when the receiver or the network dies, or the receiver is
restarted while records flow, is lost without a word; so is what a receiver had not yet stored when it crashed. UDP loses what does not fit, and says nothing. Only a port where nobody listens
may be noticed: a refusal (ICMP) that comes back within 5 ms (100 ms on a new socket, 500 ms after a refusal) sends the batch again; a later
one is only warned of: what was refused is lost. Where no record may be lost, use a receiver that answers (\`http\`, \`elasticsearch\`, \`kafka\`).`,
  config: syslogConfig,
  place: ({ endpoints }) => endpoints.join(', '),
  examples: [
    {
      title: 'rsyslog or syslog-ng over TLS, with a second one to take over',
      config: {
        type: 'syslog',
        endpoints: ['tls://logs-a.example.com:6514', 'tls://logs-b.example.com:6514'],
        tls: { ca_file: '/etc/s3-streamer/ca.pem' },
        facility: 'local3',
        app_name: 'cloudtrail',
        severity_field: 'level',
      },
    },
    {
      title: 'An old receiver on UDP',
      config: { type: 'syslog', endpoints: ['udp://127.0.0.1:514'], format: 'rfc3164' },
    },
  ],
  create: (config, context) => new SyslogSink(config, context),
}

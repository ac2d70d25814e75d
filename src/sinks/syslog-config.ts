/** The keys of `syslog`, and what follows from them together. */
import { hostname } from 'node:os'
import * as z from 'zod'
import { duration, size } from '../config/fields.ts'
import { batchField, retryField } from './sink-fields.ts'
import type { MessageFormat } from './syslog-encoder.ts'
import { facilities, severities } from './syslog-levels.ts'
import { tlsSchema } from './tls.ts'

export type Transport = 'udp' | 'tcp' | 'tls'

export interface SyslogEndpoint {
  readonly transport: Transport
  readonly host: string
  readonly port: number
}

/** RFC 5426 3.3, RFC 6587 (601 is registered for syslog-conn), RFC 5425 4.1. */
const ports: Readonly<Record<Transport, number>> = { udp: 514, tcp: 601, tls: 6514 }
/** The payload of an IPv4 datagram. */
const maxDatagramBytes = 65_507

/** Names in the header: RFC 5424 6 allows 33 to 126. */
const headerName = (max: number) =>
  z.string().regex(new RegExp(`^[!-~]{1,${max}}$`), `must be 1 to ${max} printable ASCII characters without spaces`)

const endpoint = z.string().superRefine((text, context) => {
  const parsed = endpointOf(text)
  if (typeof parsed === 'string') context.addIssue(parsed)
})

export const syslogConfig = z
  .strictObject({
    type: z.literal('syslog'),
    endpoints: z.array(endpoint).min(1).meta({
      description:
        'Receivers: `udp://host:514`, `tcp://host:601` or `tls://host:6514`, all of one kind; the next one takes over when one fails.',
    }),
    format: z.enum(['rfc5424', 'rfc3164']).default('rfc5424').meta({
      description: '`rfc3164` is the old format: no origin, no year, local time.',
    }),
    framing: z.enum(['octet_counting', 'lf']).optional().meta({
      description:
        'How messages are told apart on TCP: by their length, or by a line feed (control characters then become `#012` and the like). Default: `octet_counting`.',
    }),
    facility: z
      .union([z.enum(facilities), z.int().min(0).max(23)])
      .default('local0')
      .meta({ description: 'Facility, by name or number.' }),
    severity: z
      .union([z.enum(severities), z.int().min(0).max(7)])
      .default('info')
      .meta({ description: 'Severity, by name or number, where `severity_field` gives none.' }),
    severity_field: z.string().min(1).optional().meta({
      description:
        'Field of JSON records that says the severity: 0 to 7, or a word like `error`, `WARN`, `fatal`. A path has dots: `log.level`.',
    }),
    timestamp: z.enum(['record', 'object']).default('record').meta({
      description:
        "`record`: the time of a JSON record (`@timestamp`, `timestamp` or `time`), else that of the object; `object`: always the object's.",
    }),
    hostname: headerName(255).optional().meta({ description: 'HOSTNAME. Default: the name of this machine.' }),
    app_name: headerName(48).default('s3-streamer').meta({ description: 'APP-NAME, or TAG with `rfc3164`.' }),
    proc_id: headerName(128).default('-').meta({ description: 'PROCID; `-` for none.' }),
    msg_id: headerName(32).default('-').meta({ description: 'MSGID; `-` for none.' }),
    structured_data_id: z
      .string()
      .regex(
        /^(?:-|(?=.{1,32}$)[!#-<>-?A-\\^-~]+@\d+(?:\.\d+)*)$/,
        'must be a name and an enterprise number, like origin@32473, or "-" for none',
      )
      .default('origin@32473')
      .meta({
        description:
          'SD-ID of the element that says where a record came from. 32473 is the number for examples (RFC 5612): put your own, or `-` for no element.',
      }),
    bom: z.boolean().default(false).meta({
      description: 'Begin UTF-8 messages with a byte order mark, as RFC 5424 has it and few receivers want it.',
    }),
    max_message_bytes: size({ min: '480', max: '16MiB' }).optional().meta({
      description:
        'Longest message, header included; longer ones are cut. Default: 8KiB on TCP and TLS, 2KiB on UDP, 1KiB on UDP with `rfc3164`.',
    }),
    tls: tlsSchema.prefault({}).meta({ description: 'TLS settings for tls endpoints.' }),
    batch: batchField({ records: 1000, bytes: '1MiB', maxBytes: '10MiB', linger: '200ms' }),
    retry: retryField,
    timeout: duration()
      .prefault('30s')
      .meta({
        description:
          'Longest time in which the receiver takes no data, on TCP and TLS; 0 for no limit. ' +
          'On Linux a slow connection shows progress only after some MB: a receiver slower than about 100 KB/s needs a longer time.',
      }),
    connect_timeout: duration()
      .prefault('10s')
      .meta({ description: 'Longest time to connect, name lookup and TLS handshake included.' }),
  })
  .superRefine((config, context) => {
    const fail = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
    const transport = transportOf(config.endpoints)
    if (transport === undefined) {
      fail('endpoints', 'must all be of one kind: udp://, tcp:// or tls://')
      return
    }
    if (transport === 'udp' && config.framing !== undefined)
      fail('framing', 'has no meaning with udp://: each datagram is a message')
    if (transport === 'tls' && config.framing === 'lf')
      fail('framing', 'must be octet_counting with tls:// (RFC 5425, 4.3)')
    if (transport === 'udp' && (config.max_message_bytes ?? 0) > maxDatagramBytes)
      fail('max_message_bytes', `must be at most ${maxDatagramBytes} with udp://: a datagram holds no more`)
    if (config.bom && config.format === 'rfc3164') fail('bom', 'has no meaning with rfc3164')
    if (config.format === 'rfc3164') {
      if (config.app_name.length > 32) fail('app_name', 'must be at most 32 characters with rfc3164')
      for (const key of ['app_name', 'proc_id'] as const)
        if (/[[\]:]/.test(config[key])) fail(key, 'must not contain "[", "]" or ":" with rfc3164: they end the tag')
    }
  })
export type SyslogConfig = z.output<typeof syslogConfig>

/** The endpoint of a URL, or what is wrong with it. */
function endpointOf(text: string): SyslogEndpoint | string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const transport = url?.protocol.slice(0, -1)
  if (!url || !isTransport(transport) || url.hostname === '')
    return 'must be a URL like udp://host:514, tcp://host:601 or tls://host:6514'
  if (!['', '/'].includes(url.pathname) || url.search !== '' || url.hash !== '' || url.username !== '')
    return 'must be no more than udp://, tcp:// or tls://, a host and a port'
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return { transport, host, port: url.port === '' ? ports[transport] : Number(url.port) }
}

function isTransport(text: string | undefined): text is Transport {
  return text !== undefined && Object.hasOwn(ports, text)
}

/** The one transport of all endpoints; undefined if they differ or are none. */
function transportOf(endpoints: readonly string[]): Transport | undefined {
  const found = new Set(
    endpoints.map((text) => endpointOf(text)).map((one) => (typeof one === 'string' ? '' : one.transport)),
  )
  const [first] = found
  return found.size === 1 && isTransport(first) ? first : undefined
}

export function endpointsOf(config: SyslogConfig): SyslogEndpoint[] {
  return config.endpoints.map((text) => endpointOf(text)).filter((one) => typeof one !== 'string')
}

/** How messages look for this transport. */
export function messageFormatOf(config: SyslogConfig, transport: Transport): MessageFormat {
  const { format, facility, severity } = config
  return {
    format,
    framing: transport === 'udp' ? 'datagram' : (config.framing ?? 'octet_counting'),
    facility: typeof facility === 'number' ? facility : facilities.indexOf(facility),
    severity: typeof severity === 'number' ? severity : severities.indexOf(severity),
    severityField: config.severity_field,
    timestamp: config.timestamp,
    hostname: config.hostname ?? ownName(),
    appName: config.app_name,
    procId: config.proc_id,
    msgId: config.msg_id,
    structuredDataId: config.structured_data_id,
    bom: config.bom,
    maxMessageBytes: config.max_message_bytes ?? usualMessageBytes(format, transport),
  }
}

/**
 * What receivers should take: 8192 bytes on TLS (RFC 5425 4.3.1), the usual limit of rsyslog too; 2048 in a datagram (RFC 5424 6.1);
 * 1024 in one of the old format (RFC 3164 4.1), whose receivers may have no more room.
 */
function usualMessageBytes(format: SyslogConfig['format'], transport: Transport): number {
  if (transport !== 'udp') return 8192
  return format === 'rfc5424' ? 2048 : 1024
}

function ownName(): string {
  const name = hostname().replaceAll(/[^!-~]/g, '-')
  return name === '' ? '-' : name.slice(0, 255)
}

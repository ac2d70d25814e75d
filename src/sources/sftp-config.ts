/** The keys of the configuration that say how to reach an SFTP server. */
import * as z from 'zod'
import { duration, type Secret, secret, size } from '../config/fields.ts'

/** OpenSSH answers no read with more (SFTP_MAX_MSG_LENGTH less the header), and ssh2 takes no packet over 256 KiB. */
const maxReadSize = '255KiB'

const algorithmList = z.array(z.string().min(1)).min(1).optional()

const fingerprint = z
  .string()
  .regex(/^SHA256:[A-Za-z0-9+/]{43}=?$/, 'must look like SHA256:… with 43 characters, as `ssh-keygen -lf` prints it')
  .transform((text) => text.replace(/=$/, ''))

export const sftpFields = {
  host: z.string().min(1).meta({ description: 'Name or address of the server.' }),
  port: z.int().min(1).max(65_535).default(22).meta({ description: 'Its port.' }),
  username: z.string().min(1).meta({ description: 'User to log in as.' }),
  password: secret().optional().meta({ description: 'Password; it also answers keyboard-interactive prompts.' }),
  private_key_file: z
    .string()
    .min(1)
    .optional()
    .meta({ description: 'File of the private key (OpenSSH or PEM); a leading `~/` is the home folder.' }),
  private_key: secret().optional().meta({ description: 'The private key itself, instead of a file.' }),
  passphrase: secret().optional().meta({ description: 'Passphrase of the private key.' }),
  agent: z
    .union([z.boolean(), z.string().min(1)])
    .default(false)
    .meta({
      description: 'Use the keys of the SSH agent: true for the one at SSH_AUTH_SOCK, or the path of its socket.',
    }),
  known_hosts_file: z.string().min(1).optional().meta({
    description:
      'File of host keys as ssh keeps it, such as `~/.ssh/known_hosts`. Without it and without `host_key_fingerprint` no connection is made.',
  }),
  host_key_fingerprint: z
    .union([fingerprint.transform((one) => [one]), z.array(fingerprint).min(1)])
    .optional()
    .meta({ description: 'SHA256 fingerprint of the host key, or a list of them; any of them will do.' }),
  algorithms: z
    .strictObject({
      kex: algorithmList.meta({ description: 'Key exchange.' }),
      cipher: algorithmList.meta({ description: 'Encryption. The GCM ones are the fastest here.' }),
      hmac: algorithmList.meta({ description: 'Integrity; not used with GCM and chacha20-poly1305.' }),
      server_host_key: algorithmList.meta({ description: 'Host keys; those that `known_hosts_file` has come first.' }),
      compress: algorithmList.meta({ description: 'Compression.' }),
    })
    .prefault({})
    .meta({
      description: 'Algorithms to offer instead of the secure ones that are offered otherwise, in order of preference.',
    }),
  keepalive_interval: duration().prefault('15s').meta({
    description: 'How long nothing may arrive on a connection before it is asked whether it still lives; 0s for never.',
  }),
  keepalive_max: z.int().min(1).default(3).meta({
    description: 'Intervals without a sign of life after that question, until the connection counts as dead.',
  }),
  connect_timeout: duration({ min: '1ms' })
    .prefault('20s')
    .meta({ description: 'Longest time to connect and log in.' }),
  read_timeout: duration({ min: '1ms' }).prefault('30s').meta({
    description: 'Longest wait for the answer to the request whose turn it is; then the connection is made anew.',
  }),
  sessions: z.int().min(1).max(64).default(2).meta({
    description: 'Connections at most. They are opened when there is work for them, and shared by all files.',
  }),
  read_requests: z
    .int()
    .min(1)
    .max(256)
    .default(16)
    .meta({ description: 'Requests under way at once for each part of a file that is read.' }),
  read_size: z
    .union([z.literal('auto'), size({ min: '1KiB', max: maxReadSize })])
    .default('auto')
    .meta({ description: 'Bytes asked for by one request: `auto` takes what the server says it can do.' }),
}

export interface SftpConfig {
  readonly host: string
  readonly port: number
  readonly username: string
  readonly password?: Secret | undefined
  readonly private_key_file?: string | undefined
  readonly private_key?: Secret | undefined
  readonly passphrase?: Secret | undefined
  readonly agent: boolean | string
  readonly known_hosts_file?: string | undefined
  readonly host_key_fingerprint?: readonly string[] | undefined
  readonly algorithms: {
    readonly kex?: readonly string[] | undefined
    readonly cipher?: readonly string[] | undefined
    readonly hmac?: readonly string[] | undefined
    readonly server_host_key?: readonly string[] | undefined
    readonly compress?: readonly string[] | undefined
  }
  readonly keepalive_interval: number
  readonly keepalive_max: number
  readonly connect_timeout: number
  readonly read_timeout: number
  readonly sessions: number
  readonly read_requests: number
  readonly read_size: number | 'auto'
}

/** Where its files are, before their path: `sftp://acme@sftp.example.com`; the port only if it is not 22. */
export function sftpPlace({ host, port, username }: Pick<SftpConfig, 'host' | 'port' | 'username'>): string {
  const name = host.includes(':') ? `[${host}]` : host
  return `sftp://${username}@${name}${port === 22 ? '' : `:${port}`}`
}

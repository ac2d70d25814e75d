/** rclone (https://rclone.org), which copies and compares what is on an SFTP server and on an S3 server. */
import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { cached } from './receiver.ts'
import type { Sshd } from './sshd.ts'
import type { Versitygw } from './versitygw.ts'

export interface Rclone {
  /** `rclone v1.76.0` */
  readonly name: string
  readonly binary: string
}

type SftpServer = Pick<Sshd, 'host' | 'port' | 'username' | 'privateKeyFile' | 'knownHostsFile'>
type S3Server = Pick<Versitygw, 'endpoint' | 'region' | 'accessKeyId' | 'secretAccessKey'>

const run = promisify(execFile)

/** The newest that test/real/setup built. */
export function newestRclone(): Rclone {
  const cache = dirname(cached('debian-rclone'))
  const name = readdirSync(cache)
    .filter((one) => one.startsWith('rclone-v'))
    .toSorted()
    .at(-1)
  if (name === undefined) throw new Error(`cannot find rclone in ${cache}: run test/real/setup`)
  return { name: name.replace('-', ' '), binary: cached(name) }
}

/** The one that Debian has. */
export async function debianRclone(): Promise<Rclone> {
  const binary = cached('debian-rclone', 'usr', 'bin', 'rclone')
  const { stdout } = await run(binary, ['version'])
  return { name: `${stdout.split('\n')[0]} of Debian`, binary }
}

/** Makes two places: `sftp:path`, whose host key is known, and `s3:bucket/prefix`. All else is as rclone does it by itself. */
export function rcloneEnvironment(sftp: SftpServer, s3: S3Server): NodeJS.ProcessEnv {
  return {
    // Nothing else of this process: no settings of the one who runs the tests, for rclone or for its AWS library.
    PATH: process.env.PATH,
    HOME: '/nonexistent',
    RCLONE_CONFIG: '/dev/null',
    RCLONE_CONFIG_SFTP_TYPE: 'sftp',
    RCLONE_CONFIG_SFTP_HOST: sftp.host,
    RCLONE_CONFIG_SFTP_PORT: String(sftp.port),
    RCLONE_CONFIG_SFTP_USER: sftp.username,
    RCLONE_CONFIG_SFTP_KEY_FILE: sftp.privateKeyFile,
    RCLONE_CONFIG_SFTP_KNOWN_HOSTS_FILE: sftp.knownHostsFile,
    RCLONE_CONFIG_S3_TYPE: 's3',
    RCLONE_CONFIG_S3_PROVIDER: 'Other',
    RCLONE_CONFIG_S3_ENDPOINT: s3.endpoint,
    RCLONE_CONFIG_S3_REGION: s3.region,
    RCLONE_CONFIG_S3_ACCESS_KEY_ID: s3.accessKeyId,
    RCLONE_CONFIG_S3_SECRET_ACCESS_KEY: s3.secretAccessKey,
  }
}

/**
 * Reads every file below an SFTP path and its object below a prefix, `bucket/prefix`, and compares their bytes. Rejects with
 * rclone's words if one differs or is missing on either side.
 */
export async function compareByRclone(sftp: SftpServer, s3: S3Server, path: string, prefix: string): Promise<void> {
  const { binary } = newestRclone()
  await run(binary, ['check', '--download', `sftp:${path}`, `s3:${prefix}`], { env: rcloneEnvironment(sftp, s3) })
}

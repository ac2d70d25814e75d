/** For the tests of copies: an SFTP server and an S3 server in this process, a folder, and `s3-streamer copy` with its output caught. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Io } from '../../src/cli/io.ts'
import { type S3Server, startS3 } from './s3.ts'
import { type SftpServer, startSftp } from './sftp.ts'
import { type Answer, runProgram } from './testbed.ts'

export interface CopyBed extends AsyncDisposable {
  readonly folder: string
  readonly s3: S3Server
  readonly sftp: SftpServer
  /** `sftp://user:password@host:port` */
  readonly login: string
  /** What a run needs to know of the machine: home folder, credentials, no agent. */
  readonly env: Readonly<Record<string, string>>
  /** Runs `copy` with these arguments; endpoint and host key are added. */
  copy(args: readonly string[], io?: Partial<Io>): Promise<Answer>
  /** Keys of the bucket with their bytes. */
  stored(): Record<string, Buffer>
}

export async function startCopyBed(): Promise<CopyBed> {
  // The SDK reads its credentials from the environment of the process.
  process.env.AWS_ACCESS_KEY_ID = 'test'
  process.env.AWS_SECRET_ACCESS_KEY = 'test'
  process.env.AWS_REGION = 'us-east-1'
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-copy-'))
  const [s3, sftp] = await Promise.all([startS3(), startSftp()])
  writeFileSync(join(folder, 'known_hosts'), sftp.knownHosts)
  const env = { HOME: folder, XDG_STATE_HOME: join(folder, 'state') }
  const login = `sftp://${sftp.user}:${encodeURIComponent(sftp.password)}@${sftp.host}:${sftp.port}`
  const known = ['--endpoint', s3.endpoint, '--known-hosts', join(folder, 'known_hosts')]
  return {
    ...{ folder, s3, sftp, env, login },
    copy: (args, io = {}) => runProgram(['copy', ...known, ...args], { ...io, env: { ...env, ...io.env } }),
    stored: () => Object.fromEntries(s3.keys().map((key) => [key, s3.read(key) ?? Buffer.alloc(0)])),
    async [Symbol.asyncDispose]() {
      await Promise.all([s3.close(), sftp.close()])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/**
 * For the copies of real servers: sshd, versitygw, and `s3-streamer copy` as a child process. In memory where there is room:
 * a disk would set the pace.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFile } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, open, readFile, rm, statfs } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { Command, type Ended } from '../e2e/command.ts'
import { startProcess, stopProcess } from './process.ts'
import { Sshd } from './sshd.ts'
import { startVersitygw, type Versitygw } from './versitygw.ts'

const run = promisify(execFile)
const pieceBytes = 2 ** 24
/** Where versitygw keeps what is not whole yet, in the folder of each bucket. */
const unfinished = '.sgwtmp'

export class CopyBed implements AsyncDisposable {
  readonly sshd: Sshd
  readonly s3: Versitygw
  /** Home and state of the copies. */
  readonly folder: string
  #restarted: ChildProcess | undefined

  private constructor(sshd: Sshd, s3: Versitygw, folder: string) {
    this.sshd = sshd
    this.s3 = s3
    this.folder = folder
  }

  /** `bytes` is what the test will need in files and objects. */
  static async start(bytes: number): Promise<CopyBed> {
    const memory = await statfs('/dev/shm').catch(() => undefined)
    if (memory && memory.bavail * memory.bsize > bytes) process.env.TMPDIR = '/dev/shm'
    const folder = await mkdtemp(join(tmpdir(), 's3-streamer-copies-'))
    const [sshd, s3] = await Promise.all([Sshd.start(), startVersitygw()])
    return new CopyBed(sshd, s3, folder)
  }

  /** Logs in by a key that has no passphrase. */
  get env(): NodeJS.ProcessEnv {
    return {
      HOME: this.folder,
      XDG_STATE_HOME: join(this.folder, 'state'),
      SSH_AUTH_SOCK: undefined,
      SFTP_KEY_FILE: this.sshd.privateKeyFile,
      SFTP_KNOWN_HOSTS: this.sshd.knownHostsFile,
      S3_ENDPOINT_URL: this.s3.endpoint,
      AWS_ACCESS_KEY_ID: this.s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: this.s3.secretAccessKey,
      AWS_REGION: this.s3.region,
    }
  }

  /** SOURCE of an absolute path, or of one below the server's folder. */
  source(path: string, { username, host, port }: Pick<Sshd, 'username' | 'host' | 'port'> = this.sshd): string {
    return `sftp://${username}@${host}:${port}${join(this.sshd.files, path)}`
  }

  copy(args: readonly string[], env: NodeJS.ProcessEnv = {}): Command {
    return new Command(['copy', ...args], { env: { ...this.env, ...env } })
  }

  /** Copies, and fails with the command's own words unless all went well. */
  async copied(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    const ended = await this.copy(args, env).ended
    assert.equal(ended.code, 0, `${ended.stdout.slice(-2000)}${ended.stderr.slice(-2000)}`)
    return ended
  }

  /** Random bytes below the server's folder. */
  async write(path: string, bytes: number): Promise<string> {
    const name = join(this.sshd.files, path)
    await mkdir(dirname(name), { recursive: true })
    await using file = await open(name, 'w')
    const piece = Buffer.allocUnsafe(Math.min(pieceBytes, bytes))
    for (let at = 0; at < bytes; at += piece.length) {
      await file.write(randomFillSync(piece), 0, Math.min(piece.length, bytes - at))
    }
    return name
  }

  /** Where versitygw has what is below a prefix, `bucket/prefix`. */
  at(prefix: string): string {
    return join(this.s3.folder, prefix)
  }

  /** Compares each file below a path with its object, both ways, by a program that knows nothing of SFTP or S3. */
  async assertSame(path: string, prefix: string): Promise<void> {
    const places = [join(this.sshd.files, path), this.at(prefix)]
    const differences = await run('diff', ['-rq', '-x', unfinished, ...places]).then(
      ({ stdout }) => stdout,
      ({ stdout, stderr }: { stdout: string; stderr: string }) => `${stdout}${stderr}` || 'diff failed',
    )
    assert.equal(differences, '')
  }

  /** Files of parts that the server keeps for uploads of a bucket which are not complete. */
  parts(bucket: string): string[] {
    try {
      const entries = readdirSync(this.at(`${bucket}/${unfinished}/multipart`), {
        recursive: true,
        withFileTypes: true,
      })
      return entries.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name))
    } catch {
      // None was begun there, or one ended while we looked.
      return []
    }
  }

  /** Ends the S3 server in the midst of what it does. `restart` gives another, on the same port and folder. */
  async killS3(): Promise<{ restart(): Promise<void> }> {
    const { pid, endpoint, accessKeyId, secretAccessKey } = this.s3
    const current = this.#restarted?.pid ?? pid
    const [command = '', ...args] = (await readFile(`/proc/${current}/cmdline`, 'utf8')).split('\0').slice(0, -1)
    process.kill(current, 'SIGKILL')
    return {
      restart: async () => {
        const env = { ROOT_ACCESS_KEY: accessKeyId, ROOT_SECRET_KEY: secretAccessKey }
        this.#restarted = await startProcess(command, args, endpoint, env)
      },
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#restarted) await stopProcess(this.#restarted, 'SIGKILL')
    await Promise.all([this.sshd.stop(), this.s3.stop(), rm(this.folder, { recursive: true, force: true })])
  }
}

/** Most memory that a process had until now; undefined when it is gone. Linux only: it reads /proc. */
export function peakRssBytes(pid: number | undefined): number | undefined {
  try {
    const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    return kib === undefined ? undefined : Number(kib) * 1024
  } catch {
    return undefined
  }
}

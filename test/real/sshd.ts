/**
 * OpenSSH's sshd as an SFTP server on a port of its own, with its own host keys. As root it serves a user made for it, who
 * has a password and meets the permissions of files; as anybody else, that user with a key.
 */
import { type ChildProcess, execFile, spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { appendFile, chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, startProcess, stopProcess } from './process.ts'

export type KeyType = 'ed25519' | 'ecdsa' | 'rsa'

export interface SshdOptions {
  /** Lines of sshd_config(5) before ours: of two lines for one setting, sshd takes the first. */
  readonly settings?: readonly string[]
}

interface Account {
  readonly username: string
  readonly password: string | undefined
  remove(): Promise<void>
}

const run = promisify(execFile)
const keyTypes: readonly KeyType[] = ['ed25519', 'ecdsa', 'rsa']
const isRoot = userInfo().uid === 0

export class Sshd implements AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly port: number
  readonly username: string
  /** Undefined unless the tests run as root. */
  readonly password: string | undefined
  /** Where a session starts, as an absolute path. What is put there belongs to the one who puts it: see `handOver`. */
  readonly files: string
  /** Of the user, ed25519, without a passphrase. */
  readonly privateKeyFile: string
  /** With all host keys. */
  readonly knownHostsFile: string
  readonly #folder: string
  readonly #account: Account
  #options: readonly string[] = []
  #child: ChildProcess | undefined

  private constructor(folder: string, port: number, account: Account) {
    this.#folder = folder
    this.#account = account
    this.port = port
    this.username = account.username
    this.password = account.password
    this.files = join(folder, 'files')
    this.privateKeyFile = join(folder, 'user_ed25519')
    this.knownHostsFile = join(folder, 'known_hosts')
  }

  /** Throws if test/real/setup was not run. */
  static async start(o: SshdOptions = {}): Promise<Sshd> {
    binary()
    const folder = await mkdtemp(join(tmpdir(), 's3-streamer-sshd-'))
    let account: Account | undefined
    try {
      // The user has to get through to the files.
      await chmod(folder, 0o755)
      await mkdir(join(folder, 'files'))
      account = isRoot ? await makeAccount(join(folder, 'files')) : currentAccount()
      const sshd = new Sshd(folder, await freePort(), account)
      await sshd.#prepare(o.settings ?? [])
      await sshd.handOver()
      await sshd.start()
      return sshd
    } catch (error) {
      await account?.remove()
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error('sshd does not run')
    return pid
  }

  /** Once more, on the same port, with the same keys. */
  async start(): Promise<void> {
    // It may not detach, and says everything on stderr.
    const args = ['-D', '-e', '-f', join(this.#folder, 'sshd_config'), ...this.#options]
    this.#child = await startProcess(binary(), args, () => this.#greets())
  }

  /** SIGKILL to it and to its sessions, halted first, so that none begins meanwhile. Resolves when it is gone. */
  async kill(): Promise<void> {
    if (!this.#child) return
    process.kill(this.pid, 'SIGSTOP')
    this.cutSessions()
    await stopProcess(this.#child, 'SIGKILL')
    this.#child = undefined
  }

  /** Ends every connection at once, whatever it is doing; new ones are accepted. */
  cutSessions(): void {
    for (const pid of descendants(this.pid)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    }
  }

  /** Processes that serve connections now; one connection is one or two. */
  get sessionProcesses(): number {
    return descendants(this.pid).length
  }

  /** Gives the user everything below `files`. */
  async handOver(): Promise<void> {
    if (isRoot) await run('chown', ['-R', this.username, this.files])
  }

  /** Makes one more key that the user may log in with; gives its private file. */
  async authorizeKey(type: KeyType, passphrase = ''): Promise<string> {
    const file = join(this.#folder, `user_${type}_${randomBytes(4).toString('hex')}`)
    await this.#authorizedKey(file, type, passphrase)
    return file
  }

  /** `SHA256:…` of a host key, as `ssh-keygen -l` writes it. */
  async fingerprint(type: KeyType): Promise<string> {
    const [, blob = ''] = (await readFile(join(this.#folder, `host_${type}.pub`), 'utf8')).split(' ')
    const hash = createHash('sha256').update(Buffer.from(blob, 'base64')).digest('base64')
    return `SHA256:${hash.replace(/=+$/, '')}`
  }

  /** Ends it with its sessions; removes its folder and its user. */
  async stop(): Promise<void> {
    await this.kill()
    await this.#account.remove()
    await rm(this.#folder, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #prepare(settings: readonly string[]): Promise<void> {
    for (const type of keyTypes) {
      await makeKey(join(this.#folder, `host_${type}`), type, '')
      const [name, blob] = (await readFile(join(this.#folder, `host_${type}.pub`), 'utf8')).split(' ')
      await appendFile(this.knownHostsFile, `[${this.host}]:${this.port} ${name} ${blob}\n`)
    }
    await this.#authorizedKey(this.privateKeyFile, 'ed25519', '')
    const lines = [
      ...settings,
      `Port ${this.port}`,
      `ListenAddress ${this.host}`,
      ...keyTypes.map((type) => `HostKey ${this.#folder}/host_${type}`),
      'PidFile none',
      'UsePAM no',
      'UseDNS no',
      'PasswordAuthentication yes',
      `AuthorizedKeysFile ${this.#folder}/authorized_keys`,
      // It minds that the folder above, /tmp, may be written by all.
      'StrictModes no',
      `AllowUsers ${this.username}`,
      `Subsystem sftp internal-sftp -d ${this.files}`,
    ]
    const file = join(this.#folder, 'sshd_config')
    await writeFile(file, `${lines.join('\n')}\n`)
    // It hides its unprivileged part there; a boot would have made it.
    if (isRoot) await mkdir('/run/sshd', { recursive: true, mode: 0o755 })
    // OpenSSH 9.8 and later bar an address for a while after wrong passwords, which a test may want to give; older ones do not
    // know the setting.
    const forgiving = ['-o', 'PerSourcePenalties=no']
    const knows = run(binary(), ['-t', '-f', file, ...forgiving])
    this.#options = await knows.then(
      () => forgiving,
      () => [],
    )
  }

  async #authorizedKey(file: string, type: KeyType, passphrase: string): Promise<void> {
    await makeKey(file, type, passphrase)
    await appendFile(join(this.#folder, 'authorized_keys'), await readFile(`${file}.pub`))
  }

  async #greets(): Promise<void> {
    const socket = connect(this.port, this.host)
    try {
      const [chunk] = (await once(socket, 'data', { signal: AbortSignal.timeout(2000) })) as [Buffer]
      if (!chunk.toString('latin1').startsWith('SSH-2.0-')) throw new Error(`it says ${chunk}`)
    } finally {
      socket.destroy()
    }
  }
}

/** Absolute: sshd starts itself anew for each connection. */
function binary(): string {
  const folders = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  const path = folders.map((folder) => join(folder, 'sshd')).find((file) => existsSync(file))
  if (path === undefined) throw new Error('cannot find sshd: run test/real/setup')
  return path
}

async function makeKey(file: string, type: KeyType, passphrase: string): Promise<void> {
  await run('ssh-keygen', ['-q', '-t', type, '-N', passphrase, '-C', 's3-streamer test', '-f', file])
}

function currentAccount(): Account {
  return { username: userInfo().username, password: undefined, remove: async () => {} }
}

/** One of its own for each server: test files run beside each other, and a password that nobody knows may be left behind. */
async function makeAccount(home: string): Promise<Account> {
  const username = `s3s-${randomBytes(4).toString('hex')}`
  const password = randomBytes(12).toString('hex')
  await run('useradd', ['-M', '-N', '-g', 'nogroup', '-d', home, '-s', '/usr/sbin/nologin', username])
  // Though a session of it still runs. It does not touch the home.
  const removal = ['-f', username]
  const remove = () => {
    spawnSync('userdel', removal)
  }
  process.once('exit', remove)
  const account: Account = {
    username,
    password,
    remove: async () => {
      process.off('exit', remove)
      await run('userdel', removal)
    },
  }
  try {
    const chpasswd = run('chpasswd')
    chpasswd.child.stdin?.end(`${username}:${password}\n`)
    await chpasswd
    return account
  } catch (error) {
    await account.remove()
    throw error
  }
}

/** Processes that this one started, and those that they started, which have not ended. Linux only: it reads /proc. */
export function descendants(pid: number): number[] {
  const found: number[] = []
  const todo = [pid]
  for (let next = todo.pop(); next !== undefined; next = todo.pop()) {
    if (next !== pid) found.push(next)
    try {
      for (const task of readdirSync(`/proc/${next}/task`)) {
        const below = readFileSync(`/proc/${next}/task/${task}/children`, 'utf8').trim()
        if (below !== '') todo.push(...below.split(' ').map(Number))
      }
    } catch {
      // It ended in the meantime.
    }
  }
  return found
}

/** ssh2's SFTP client with promises, for tests of the test server and of what was done to it. */
import { once } from 'node:events'
import ssh2 from 'ssh2'
import type { SftpServer } from './sftp.ts'

/** Connects as the server's own user, whatever its host key. The fields of `o` win. */
export async function openSftp(server: SftpServer, o: ssh2.ConnectConfig = {}): Promise<SftpClient> {
  const connection = new ssh2.Client()
  const { host, port, user, password } = server
  connection.on('keyboard-interactive', (_name, _text, _language, _prompts, answer) => answer([o.password ?? password]))
  // Errors may come at any time, more than one; who waits for something is told by the call.
  connection.on('error', () => connection.destroy())
  const ready = once(connection, 'ready')
  connection.connect({ host, port, username: user, ...(o.username === undefined ? { password } : {}), ...o })
  // From the start: otherwise Nagle and late ACKs cost 80 ms of the handshake.
  connection.setNoDelay(true)
  try {
    await ready
    return new SftpClient(connection, await openSession(connection))
  } catch (error) {
    connection.destroy()
    throw error
  }
}

function openSession(connection: ssh2.Client): Promise<ssh2.SFTPWrapper> {
  return called((done) => connection.sftp(done))
}

export class SftpClient implements AsyncDisposable {
  readonly connection: ssh2.Client
  readonly sftp: ssh2.SFTPWrapper
  /** Settles when the connection has ended. */
  readonly ended: Promise<void>

  constructor(connection: ssh2.Client, sftp: ssh2.SFTPWrapper) {
    this.connection = connection
    this.sftp = sftp
    this.ended = new Promise((resolve) => {
      connection.on('close', () => resolve())
    })
    // Rubbish from the server; each call that waits is told.
    sftp.on('error', () => connection.destroy())
  }

  /** Longest READ that ssh2 sends. */
  get maxReadLength(): number {
    return Number(Reflect.get(this.sftp, '_maxReadLen'))
  }

  /** A second session in the same connection. */
  again(): Promise<ssh2.SFTPWrapper> {
    return openSession(this.connection)
  }

  /** A second session, to send bytes of one's own. */
  raw(): Promise<ssh2.ClientChannel> {
    return called((done) => this.connection.subsys('sftp', done))
  }

  /** All entries, in the order of the server; ssh2 leaves out `.` and `..`. */
  async list(path: string): Promise<ssh2.FileEntryWithStats[]> {
    const handle = await called<Buffer>((done) => this.sftp.opendir(path, done))
    const all: ssh2.FileEntryWithStats[] = []
    try {
      for (;;) {
        const page = await called<ssh2.FileEntryWithStats[]>((done) => this.sftp.readdir(handle, done))
        all.push(...page)
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 1)) throw error
    }
    await this.close(handle)
    return all
  }

  stat(path: string): Promise<ssh2.Stats> {
    return called((done) => this.sftp.stat(path, done))
  }

  lstat(path: string): Promise<ssh2.Stats> {
    return called((done) => this.sftp.lstat(path, done))
  }

  fstat(handle: Buffer): Promise<ssh2.Stats> {
    return called((done) => this.sftp.fstat(handle, done))
  }

  resolve(path: string): Promise<string> {
    return called((done) => this.sftp.realpath(path, done))
  }

  open(path: string): Promise<Buffer> {
    return called((done) => this.sftp.open(path, 'r', done))
  }

  close(handle: Buffer): Promise<void> {
    return this.done((done) => this.sftp.close(handle, done))
  }

  /** One READ: what the server gives of it, nothing at the end of the file. */
  async read(handle: Buffer, offset: number, length: number): Promise<Buffer> {
    const into = Buffer.alloc(length)
    const n = await called<number>((done) => this.sftp.read(handle, into, 0, length, offset, done))
    return into.subarray(0, n)
  }

  remove(path: string): Promise<void> {
    return this.done((done) => this.sftp.unlink(path, done))
  }

  rename(from: string, to: string): Promise<void> {
    return this.done((done) => this.sftp.rename(from, to, done))
  }

  /** posix-rename@openssh.com: overwrites. */
  replace(from: string, to: string): Promise<void> {
    return this.done((done) => this.sftp.ext_openssh_rename(from, to, done))
  }

  makeFolder(path: string): Promise<void> {
    return this.done((done) => this.sftp.mkdir(path, done))
  }

  /** Any other call of ssh2 that gives something. */
  value<T>(call: (done: Done<T>) => void): Promise<T> {
    return called(call)
  }

  /** Any other call that gives nothing. */
  done(call: (done: (error: Error | null | undefined) => void) => void): Promise<void> {
    return called((done) => call((error) => done(error, undefined)))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.connection.destroy()
  }
}

type Done<T> = (error: Error | null | undefined, value: T) => void

function called<T>(call: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    call((error, value) => (error ? reject(error) : resolve(value)))
  })
}

/**
 * An SFTP server in this process, for tests and measurements: version 3 over SSH as OpenSSH speaks it, a tree of files
 * in memory or, virtual, in none. Files are read, listed, removed, renamed, and folders made; nothing is written into files.
 * It can be slow, mute, wrong, cut off, stopped and started again.
 */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import ssh2 from 'ssh2'
import { guardConnection, type SftpUser } from './sftp-auth.ts'
import { defaultSwitches, newCounters, type SftpCounters, type SftpFaults, type SftpSwitches } from './sftp-faults.ts'
import { makeSshKey, type SshKeyPair } from './sftp-keys.ts'
import type { SftpHost } from './sftp-requests.ts'
import { resetSocket, serveSftp } from './sftp-session.ts'
import { bodyOf, type FileBytes, linkNode, SftpTree } from './sftp-tree.ts'

export interface SftpOptions {
  readonly users?: Readonly<Record<string, SftpUser>>
  /** Key pairs of the host, of different types. */
  readonly hostKeys?: readonly SshKeyPair[]
  /** What the server offers; ssh2's own choice if left out. */
  readonly algorithms?: ssh2.Algorithms
  /** What follows `SSH-2.0-` in the greeting. Clients know servers by it. */
  readonly software?: string
  /** Folder that relative paths begin at. */
  readonly home?: string
  readonly switches?: Partial<SftpSwitches>
}

/** Names as text, or as bytes where they are no UTF-8. */
export type SftpPath = string | Buffer

export interface FileOptions {
  readonly mtimeMs?: number
  /** Rights. */
  readonly mode?: number
  /** The same file gets new bytes, which those who have it open see too. Otherwise a new one takes its place. */
  readonly inPlace?: boolean
}

/** Starts on a free port of 127.0.0.1. */
export async function startSftp(o: SftpOptions = {}): Promise<SftpServer> {
  const server = new SftpServer(o)
  await server.start()
  return server
}

export class SftpServer implements AsyncDisposable {
  readonly host = '127.0.0.1'
  /** The user that exists if no other users were asked for. */
  readonly user = 'acme'
  readonly password = 'correct horse'
  readonly users: Map<string, SftpUser>
  readonly switches: SftpSwitches
  readonly faults: SftpFaults = {}
  readonly counters: SftpCounters = newCounters()
  readonly home: string
  /** Those of the last start. */
  hostKeys: readonly SshKeyPair[]
  readonly #options: SftpOptions
  readonly #tree = new SftpTree()
  readonly #sizeLies = new Map<string, number>()
  readonly #nameLies = new Map<string, readonly string[]>()
  readonly #asked = new WeakMap<object, Map<string, number>>()
  readonly #sockets = new Map<number | undefined, Socket>()
  readonly #session: SftpHost
  #listener: Server | undefined
  #port = 0
  #frozen = false
  /** Connections that came while frozen. */
  readonly #unserved = new Set<() => void>()

  constructor(o: SftpOptions) {
    this.#options = o
    this.users = new Map(Object.entries(o.users ?? { [this.user]: { password: this.password } }))
    this.switches = { ...defaultSwitches(), ...o.switches }
    this.home = o.home ?? '/home/acme'
    this.hostKeys = o.hostKeys ?? [makeSshKey()]
    this.#tree.makeFolders(bytesOf(this.home))
    this.#session = {
      tree: this.#tree,
      home: bytesOf(this.home),
      switches: this.switches,
      faults: this.faults,
      counters: this.counters,
      sizeLies: this.#sizeLies,
      nameLies: this.#nameLies,
      nth: (hook, path) => this.#nth(hook, path),
    }
  }

  /** The same over all starts. */
  get port(): number {
    return this.#port
  }

  /** `SHA256:…` of the first host key. */
  get fingerprint(): string {
    return this.hostKeys[0]?.fingerprint ?? ''
  }

  /** The line of a known_hosts file for the first host key. */
  get knownHostsLine(): string {
    return this.#knownHostsLines()[0] ?? ''
  }

  /** A known_hosts file with all host keys. */
  get knownHosts(): string {
    return `${this.#knownHostsLines().join('\n')}\n`
  }

  #knownHostsLines(): string[] {
    return this.hostKeys.map(({ publicKey }) => `[${this.host}]:${this.port} ${publicKey}`)
  }

  /** Listens (again). With host keys: from now on these. */
  async start(o: { readonly hostKeys?: readonly SshKeyPair[] } = {}): Promise<void> {
    if (this.#listener) throw new Error('the SFTP server is running already')
    this.hostKeys = o.hostKeys ?? this.hostKeys
    const { algorithms, software = 'OpenSSH_9.9' } = this.#options
    const ssh = new ssh2.Server({
      hostKeys: this.hostKeys.map(({ privateKey }) => privateKey),
      ident: software,
      ...(algorithms === undefined ? {} : { algorithms }),
    })
    ssh.on('connection', (connection, { port }) => this.#serve(connection, port))
    const listener = createServer((socket) => this.#accept(socket, ssh))
    this.#listener = listener
    listener.listen(this.#port, this.host)
    await once(listener, 'listening')
    this.#port = (listener.address() as AddressInfo).port
  }

  /** Ends all connections; nobody listens any more. */
  async stop(): Promise<void> {
    const listener = this.#listener
    if (!listener) return
    this.#listener = undefined
    const closed = [listener, ...this.#sockets.values()].map(whenClosed)
    listener.close()
    this.#frozen = false
    this.#unserved.clear()
    this.dropAll()
    await Promise.all(closed)
  }

  close(): Promise<void> {
    return this.stop()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  /** Resets every connection. */
  dropAll(): void {
    for (const socket of this.#sockets.values()) resetSocket(socket)
  }

  /** From now on nothing that comes in is looked at, as if the network swallowed it; connections stay. Ends with `thaw`. */
  freeze(): void {
    this.#frozen = true
    for (const socket of this.#sockets.values()) socket.pause()
  }

  thaw(): void {
    this.#frozen = false
    for (const socket of this.#sockets.values()) socket.resume()
    for (const serve of this.#unserved) serve()
    this.#unserved.clear()
  }

  /** Puts a file; makes the folders above it. */
  put(path: SftpPath, body: Buffer | string, o: FileOptions = {}): void {
    this.#put(path, bodyOf(typeof body === 'string' ? Buffer.from(body) : body), o)
  }

  /** A file of any size that costs no memory; `virtualBytes` of sftp-bytes.ts makes bodies. */
  putVirtual(path: SftpPath, size: number, bytes: FileBytes, o: FileOptions = {}): void {
    this.#put(path, { size, bytes }, o)
  }

  #put(path: SftpPath, body: ReturnType<typeof bodyOf>, { mtimeMs = Date.now(), mode, inPlace = false }: FileOptions) {
    const old = inPlace ? this.#tree.node(bytesOf(path)) : undefined
    if (old?.kind === 'file') Object.assign(old, body, { mtimeMs }, mode === undefined ? {} : { mode })
    else this.#tree.place(bytesOf(path), { kind: 'file', ...body, mtimeMs, mode: mode ?? 0o644 })
  }

  /** A fifo, socket or device. */
  putSpecial(path: SftpPath, kind: 'fifo' | 'socket' | 'device'): void {
    const format = { fifo: 0o010000, socket: 0o140000, device: 0o060000 }[kind]
    this.#tree.place(bytesOf(path), { kind: 'special', format, mode: 0o644, mtimeMs: Date.now() })
  }

  /** Makes a folder and those above it; `mode` holds for it alone. */
  mkdir(path: SftpPath, o: { readonly mode?: number } = {}): void {
    this.#tree.makeFolders(bytesOf(path)).mode = o.mode ?? 0o755
  }

  /** A symbolic link. */
  link(path: SftpPath, target: SftpPath): void {
    this.#tree.place(bytesOf(path), linkNode(bytesOf(target)))
  }

  chmod(path: SftpPath, mode: number): void {
    this.#tree.node(bytesOf(path)).mode = mode
  }

  /** Removes a file, or a folder with all that is in it. */
  remove(path: SftpPath): void {
    const { parent, name } = this.#tree.find(bytesOf(path), { followLast: false })
    parent.entries.delete(name)
  }

  rename(from: SftpPath, to: SftpPath): void {
    this.#tree.rename(bytesOf(from), bytesOf(to), { overwrite: true })
  }

  /** The bytes of a file; undefined if there is none. */
  read(path: SftpPath): Buffer | undefined {
    const node = this.#lookUp(path)
    return node?.kind === 'file' ? node.bytes(0, node.size) : undefined
  }

  exists(path: SftpPath): boolean {
    return this.#lookUp(path) !== undefined
  }

  #lookUp(path: SftpPath) {
    try {
      return this.#tree.find(bytesOf(path)).node
    } catch {
      return undefined
    }
  }

  /** All paths below a folder, in order; those of folders end with `/`. */
  tree(folder: SftpPath = '/'): string[] {
    const above = Buffer.from(bytesOf(folder), 'latin1').toString()
    return [...this.#tree.paths()]
      .map((path) => Buffer.from(path, 'latin1').toString())
      .filter((path) => path.startsWith(above === '/' ? above : `${above}/`))
  }

  /** STAT, LSTAT, FSTAT and READDIR tell this size; undefined: the true one. */
  lieAboutSize(path: SftpPath, size: number | undefined): void {
    if (size === undefined) this.#sizeLies.delete(bytesOf(path))
    else this.#sizeLies.set(bytesOf(path), size)
  }

  /** READDIR of this folder tells these names of files too, whatever is in them (`../x`, `a/b`). */
  lieAboutNames(folder: SftpPath, names: readonly SftpPath[]): void {
    this.#nameLies.set(bytesOf(folder), names.map(bytesOf))
  }

  #nth(hook: object, path: string): number {
    const asked = this.#asked.get(hook) ?? new Map<string, number>()
    this.#asked.set(hook, asked)
    const n = (asked.get(path) ?? 0) + 1
    asked.set(path, n)
    return n
  }

  #accept(socket: Socket, ssh: ssh2.Server): void {
    const { switches, counters } = this
    counters.connections += 1
    if (switches.refuseConnections) {
      socket.resetAndDestroy()
      return
    }
    if (this.#sockets.size >= switches.maxConnections) {
      socket.destroy()
      return
    }
    const port = socket.remotePort
    this.#sockets.set(port, socket)
    counters.connectionsOpen += 1
    socket.on('close', () => {
      this.#sockets.delete(port)
      counters.connectionsOpen -= 1
    })
    // A reset by the client is its right.
    socket.on('error', () => socket.destroy())
    socket.setNoDelay(true)
    if (switches.stallHandshake) return
    if (this.#frozen) this.#unserved.add(() => ssh.injectSocket(socket))
    else ssh.injectSocket(socket)
  }

  #serve(connection: ssh2.Connection, port: number): void {
    const socket = this.#sockets.get(port)
    if (!socket) return
    connection.on('error', () => socket.destroy())
    guardConnection(connection, () => resetSocket(socket), this)
    let sessions = 0
    connection.on('session', (accept, reject) => {
      if (sessions >= this.switches.maxSessions) return reject()
      sessions += 1
      const session = accept()
      session.on('close', () => {
        sessions -= 1
      })
      // Taken as any subsystem: ssh2's own SFTP server cannot tell of extensions, nor names that are no UTF-8.
      session.on('subsystem', (acceptSubsystem, rejectSubsystem, { name }) => {
        if (name !== 'sftp' || this.switches.withoutSftp) return rejectSubsystem()
        serveSftp(acceptSubsystem(), socket, this.#session)
      })
    })
  }
}

/** Not `once`, which rejects when there is an error before. */
function whenClosed(one: Server | Socket): Promise<void> {
  return new Promise((resolve) => {
    one.once('close', () => resolve())
  })
}

function bytesOf(path: SftpPath): string {
  return (typeof path === 'string' ? Buffer.from(path) : path).toString('latin1')
}

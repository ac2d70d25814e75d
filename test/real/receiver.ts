/** A log receiver that appends what it gets to one file; it can be ended in every way and started again in its place. */
import type { ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, truncate } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, startProcess, stopProcess } from './process.ts'

export interface Ports {
  readonly tcp: number
  /** 0: it has no TLS. */
  readonly tls: number
  readonly udp: number
}

/** How a receiver is started on its folder and ports. */
export interface ReceiverProgram {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: NodeJS.ProcessEnv
}

/** Of test/servers/tls. */
export const certificates = fileURLToPath(new URL('../servers/tls', import.meta.url))

/** What test/real/setup put into the cache under this name. Throws if it is not there. */
export function cached(...names: readonly string[]): string {
  const cache = process.env.S3_STREAMER_TEST_CACHE ?? fileURLToPath(new URL('.cache', import.meta.url))
  const path = join(cache, ...names)
  if (!existsSync(path)) throw new Error(`cannot find ${path}: run test/real/setup`)
  return path
}

export class Receiver implements AsyncDisposable {
  readonly ports: Ports
  /** Where everything of it is. */
  readonly folder: string
  /** What it got. */
  readonly file: string
  readonly #program: ReceiverProgram
  #child: ChildProcess | undefined

  private constructor(folder: string, file: string, ports: Ports, program: ReceiverProgram) {
    this.folder = folder
    this.file = file
    this.ports = ports
    this.#program = program
  }

  /** `program` writes the configuration into the folder; what is received goes to `file`. Resolves when it listens. */
  static async start(
    name: string,
    hasTls: boolean,
    program: (o: { readonly folder: string; readonly file: string; readonly ports: Ports }) => Promise<ReceiverProgram>,
  ): Promise<Receiver> {
    const folder = await mkdtemp(join(tmpdir(), `s3-streamer-${name}-`))
    try {
      const [tcp, tls, udp] = [await freePort(), hasTls ? await freePort() : 0, await freeUdpPort()]
      const ports = { tcp, tls, udp }
      const file = join(folder, 'received')
      const receiver = new Receiver(folder, file, ports, await program({ folder, file, ports }))
      await receiver.start()
      return receiver
    } catch (error) {
      await rm(folder, { recursive: true, force: true })
      throw error
    }
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error('the receiver does not run')
    return pid
  }

  /** Once more, on the same ports and folder. */
  async start(): Promise<void> {
    const { command, args, env = {} } = this.#program
    const listening = async () => {
      await accepts(this.ports.tcp)
      if (this.ports.tls > 0) await accepts(this.ports.tls)
    }
    const path = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`
    this.#child = await startProcess(command, args, listening, { PATH: path, ...env })
  }

  /** SIGTERM, frozen or not; resolves when it has ended. */
  async stop(): Promise<void> {
    if (!this.#child) return
    const stopped = stopProcess(this.#child, 'SIGTERM')
    this.#child.kill('SIGCONT')
    await stopped
  }

  /** SIGKILL; resolves when it has ended. A line that it had half written is taken off. */
  async kill(): Promise<void> {
    if (this.#child) await stopProcess(this.#child, 'SIGKILL')
    const written = await readFile(this.file).catch(() => undefined)
    if (written) await truncate(this.file, written.lastIndexOf('\n') + 1)
  }

  /** Halts it, with its sockets open. */
  freeze(): void {
    process.kill(this.pid, 'SIGSTOP')
  }

  /** Empties its file, to which it appends. */
  async clear(): Promise<void> {
    if (existsSync(this.file)) await truncate(this.file, 0)
  }

  /** The lines of `file`, but one that is being written. */
  async lines(): Promise<string[]> {
    const text = await readFile(this.file, 'utf8').catch(() => '')
    return text.split('\n').slice(0, -1)
  }

  /** Ends it and removes its folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** Throws if nobody listens there. */
async function accepts(port: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
  } finally {
    socket.destroy()
  }
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}

/**
 * Bytes between a sender and the receiver on this port that neither end has done with: sent and not confirmed, or received and not
 * read. From /proc/net/tcp, which says both for each socket.
 */
export async function bytesUnread(port: number): Promise<number> {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0')
  let bytes = 0
  for (const line of (await readFile('/proc/net/tcp', 'utf8')).split('\n').slice(1)) {
    const [, local, remote, state, queues] = line.trim().split(/\s+/)
    // 0A: a listening socket counts connections there.
    if (state === '0A' || queues === undefined) continue
    const [unsent = '0', unread = '0'] = queues.split(':')
    if (remote?.endsWith(`:${wanted}`)) bytes += Number.parseInt(unsent, 16)
    if (local?.endsWith(`:${wanted}`)) bytes += Number.parseInt(unread, 16)
  }
  return bytes
}

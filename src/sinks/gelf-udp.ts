/**
 * GELF messages as UDP datagrams, large ones compressed and in chunks.
 *
 *   chunk   1e 0f │ message id, 8 bytes │ number of this chunk │ chunks of the message, up to 128 │ payload
 *
 * Nothing comes back but, from some networks, that nobody listens (ICMP), and that only after the datagram: it counts against the
 * whole batch. https://go2docs.graylog.org/current/getting_in_log_data/gelf.html#GELFviaUDP
 */
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { deflate, gzip } from 'node:zlib'
import type { Log, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { Slots } from '../core/slots.ts'
import type { EncodedMessages } from './gelf-encoder.ts'

const headerBytes = 12
const maxChunks = 128
/** What fits into one packet of an Ethernet does not travel better when it is smaller. */
const packetBytes = 1420
/** Datagrams on their way to the kernel at once. More would only overrun the receiver. */
const maxUnsent = 32
/** How long a batch waits for a refusal: one from the same network comes within this time. */
const echoMs = 5
/** The same after a refusal: until a batch has passed without one, time for an answer from afar. */
const carefulEchoMs = 500
/** How long an endpoint that failed comes after the others. */
const pauseMs = 30_000
/** How long an address is used before the name is looked up again: nothing tells that a receiver has moved. */
const addressMs = 60_000

const compressors = { gzip: promisify(gzip), zlib: promisify(deflate) }

export interface DatagramOptions {
  /** In order of preference; the next one is used when one fails. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[]
  /** Longest datagram, chunk header included. */
  readonly chunkBytes: number
  readonly compression: 'none' | 'gzip' | 'zlib'
  readonly log: Log
}

/** Gives message `n` cut to `maxBytes`, or undefined if that cannot be done. */
export type Shorten = (n: number, maxBytes: number) => Buffer | undefined

export interface Sent {
  /** How many messages were cut. */
  readonly cut: number
  /** Numbers of those that cannot be cut enough. */
  readonly refused: number[]
}

export class DatagramWriter implements AsyncDisposable {
  readonly #o: DatagramOptions
  readonly #targets: Target[]
  /** Batches go one after the other: a refusal that comes back could be of any of them. */
  readonly #slots = new Slots(1)
  #socket: OpenSocket | undefined
  #isDisposed = false

  constructor(o: DatagramOptions) {
    this.#o = o
    this.#targets = o.endpoints.map(({ host, port }) => new Target(host, port))
  }

  /** Every name must have an address; nothing is sent. */
  async check(o: Signal): Promise<void> {
    for (const target of this.#targets) {
      await target.address(o)
    }
  }

  /**
   * Sends the messages in order. Resolved: the kernel took every datagram, and no refusal came back. May be called
   * concurrently. Throws a transient StreamError otherwise.
   */
  async write(messages: EncodedMessages, shorten: Shorten, o: Signal): Promise<Sent> {
    await this.#slots.acquire(o)
    try {
      return await this.#write(messages, shorten, o)
    } finally {
      this.#slots.release()
    }
  }

  async #write({ data, ends }: EncodedMessages, shorten: Shorten, o: Signal): Promise<Sent> {
    const refused: number[] = []
    let cut = 0
    let start = 0
    const socket = await this.#opened(o)
    try {
      for (let n = 0; n < ends.length; n += 1) {
        const end = ends[n] as number
        if (end === start) continue
        const message = data.subarray(start, end)
        start = end
        if (this.#fitsAsItIs(message)) socket.send(message)
        else {
          const payload = await this.#payload(message, n, shorten)
          if (payload?.isCut) cut += 1
          if (payload === undefined) refused.push(n)
          else await this.#sendAll(socket, payload.bytes)
        }
        if (socket.isFull) await socket.flush()
        o.signal.throwIfAborted()
      }
      await socket.flush()
      await socket.quietFor(socket.target.pausedUntilMs === 0 ? echoMs : carefulEchoMs, o)
    } catch (error) {
      this.#drop()
      if (o.signal.aborted) throw interrupted(socket.target, error)
      const failure = unavailable('send to', socket.target, error)
      this.#failed(socket.target, failure)
      throw failure
    }
    this.#passed(socket.target)
    return { cut, refused }
  }

  #fitsAsItIs(message: Buffer): boolean {
    const { compression, chunkBytes } = this.#o
    return message.length <= (compression === 'none' ? chunkBytes : Math.min(packetBytes, chunkBytes))
  }

  /** What is sent of a message. undefined: it does not fit into 128 chunks, however short its text. */
  async #payload(whole: Buffer, n: number, shorten: Shorten): Promise<{ bytes: Buffer; isCut: boolean } | undefined> {
    const { compression, chunkBytes } = this.#o
    const limit = maxChunks * (chunkBytes - headerBytes)
    let message: Buffer | undefined = whole
    for (let isCut = false; message !== undefined; isCut = true) {
      const bytes = compression === 'none' ? message : await compressors[compression](message)
      if (bytes.length <= limit) return { bytes, isCut }
      // As if the rest of it compressed as well as the whole; a little less, so that this ends.
      message = shorten(n, Math.floor((message.length * limit * 0.95) / bytes.length))
    }
    return undefined
  }

  async #sendAll(socket: OpenSocket, payload: Buffer): Promise<void> {
    if (payload.length <= this.#o.chunkBytes) {
      socket.send(payload)
      return
    }
    const id = randomBytes(8)
    const size = this.#o.chunkBytes - headerBytes
    const count = Math.ceil(payload.length / size)
    for (let i = 0; i < count; i += 1) {
      const header = Buffer.from([0x1e, 0x0f, ...id, i, count])
      socket.send([header, payload.subarray(i * size, (i + 1) * size)])
      if (socket.isFull) await socket.flush()
    }
  }

  /** The socket in use, or a new one to the first endpoint that has an address. */
  async #opened(o: Signal): Promise<OpenSocket> {
    const nowMs = Date.now()
    const used = this.#socket
    if (used && !used.failure && nowMs - used.openedAtMs < addressMs) return used
    this.#drop()
    // A refusal that came after its batch: the next one must not follow it into the void.
    if (used?.failure) {
      const failure = unavailable('send to', used.target, used.failure)
      this.#failed(used.target, failure)
      throw failure
    }
    const healthy = this.#targets.filter(({ pausedUntilMs }) => pausedUntilMs <= nowMs)
    const paused = this.#targets.filter(({ pausedUntilMs }) => pausedUntilMs > nowMs)
    const failures: StreamError[] = []
    for (const target of [...healthy, ...paused]) {
      try {
        const socket = await target.open(o)
        if (this.#isDisposed || o.signal.aborted) {
          socket.close()
          throw interrupted(target, o.signal.reason)
        }
        this.#socket = socket
        return socket
      } catch (error) {
        if (!(error instanceof StreamError) || error.code === 'run.aborted') throw error
        this.#failed(target, error)
        failures.push(error)
      }
    }
    const [first] = failures
    if (failures.length === 1 && first) throw first
    throw new StreamError('sink.unavailable', `all ${failures.length} gelf endpoints fail`, {
      cause: new AggregateError(failures),
    })
  }

  #failed(target: Target, error: StreamError): void {
    if (target.pausedUntilMs === 0)
      this.#o.log.warn(
        { endpoint: target.name, error: error.message },
        'gelf endpoint fails; its records wait or go to the others',
      )
    target.pausedUntilMs = Date.now() + pauseMs
  }

  #passed(target: Target): void {
    if (target.pausedUntilMs > 0) this.#o.log.info({ endpoint: target.name }, 'gelf endpoint works again')
    target.pausedUntilMs = 0
  }

  #drop(): void {
    this.#socket?.close()
    this.#socket = undefined
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true
    this.#drop()
  }
}

/** Where to send to. */
class Target {
  /** For messages. */
  readonly name: string
  readonly #host: string
  readonly #port: number
  /** Until when the others come first, ms since the epoch; 0 if it did not fail. */
  pausedUntilMs = 0

  constructor(host: string, port: number) {
    this.name = `udp://${host.includes(':') ? `[${host}]` : host}:${port}`
    this.#host = host
    this.#port = port
  }

  /** IPv4 first: nothing tells that only one of two addresses is listened at, and for UDP that is mostly this one. */
  async address(o: Signal): Promise<{ address: string; family: number }> {
    try {
      return await unlessAborted(lookup(this.#host, { order: 'ipv4first' }), o)
    } catch (error) {
      if (o.signal.aborted) throw interrupted(this, error)
      throw unavailable('find', this, error)
    }
  }

  async open(o: Signal): Promise<OpenSocket> {
    const { address, family } = await this.address(o)
    const socket = createSocket(family === 6 ? 'udp6' : 'udp4')
    const open = new OpenSocket(this, socket)
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject)
        socket.connect(this.#port, address, () => {
          socket.removeListener('error', reject)
          resolve()
        })
      })
      return open
    } catch (error) {
      open.close()
      throw unavailable('send to', this, error)
    }
  }
}

/** A socket that is connected, so that the kernel tells of refusals. Once it has failed it stays so. */
class OpenSocket {
  readonly target: Target
  readonly openedAtMs = Date.now()
  readonly #socket: Socket
  readonly #failing = new AbortController()
  #unsent = 0
  /** Ends a wait for datagrams that are on their way to the kernel. */
  #wake: (() => void) | undefined
  #isClosed = false
  readonly #sent = (error: Error | null) => {
    this.#unsent -= 1
    if (error) this.#failing.abort(error)
    if (error || this.#unsent === 0) this.#wake?.()
  }

  constructor(target: Target, socket: Socket) {
    this.target = target
    this.#socket = socket
    socket.on('error', (error) => this.#failing.abort(error))
  }

  /** The first thing that went wrong. */
  get failure(): unknown {
    return this.#failing.signal.reason
  }

  /** Hands it to the kernel, or to the queue before it. Throws what went wrong before. */
  send(datagram: Buffer | Buffer[]): void {
    this.#failing.signal.throwIfAborted()
    this.#unsent += 1
    this.#socket.send(datagram, this.#sent)
  }

  /** True if the queue is long enough. */
  get isFull(): boolean {
    return this.#unsent >= maxUnsent
  }

  /** Resolves when the kernel has all. */
  async flush(): Promise<void> {
    while (this.#unsent > 0 && !this.#isClosed && !this.#failing.signal.aborted)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    if (this.#isClosed) throw new Error('the socket was closed')
    this.#failing.signal.throwIfAborted()
  }

  /** Resolves when nothing went wrong for so long. */
  async quietFor(ms: number, o: Signal): Promise<void> {
    const stop = () => this.#failing.abort(o.signal.reason)
    o.signal.addEventListener('abort', stop)
    try {
      await sleep(ms, undefined, { signal: this.#failing.signal })
    } catch {
      throw this.failure
    } finally {
      o.signal.removeEventListener('abort', stop)
    }
    o.signal.throwIfAborted()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.close()
    this.#wake?.()
  }
}

/** A lookup cannot be stopped, but nobody has to wait for it. */
async function unlessAborted<T>(promise: Promise<T>, { signal }: Signal): Promise<T> {
  signal.throwIfAborted()
  let stop = () => {}
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason)
  })
  signal.addEventListener('abort', stop)
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

function interrupted({ name }: Target, cause: unknown): StreamError {
  return new StreamError('run.aborted', `send to ${name} interrupted by the stop`, { cause })
}

function unavailable(what: 'find' | 'send to', { name }: Target, error: unknown): StreamError {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  const advice = advices[code]
  return new StreamError(
    'sink.unavailable',
    `cannot ${what} gelf receiver ${name}: ${explainError(error)}${advice === undefined ? '' : ` (${advice})`}`,
    { cause: error, data: { endpoint: name } },
  )
}

/** What the operator can do, by the code of the error. */
const advices: Readonly<Record<string, string>> = {
  ENOTFOUND: 'is the host name right?',
  ECONNREFUSED: 'is the receiver running, and is the port right?',
  EMSGSIZE: 'make chunk_size smaller',
  EPERM: 'does a firewall of this machine forbid it?',
}

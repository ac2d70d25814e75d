/**
 * One connection to an SFTP server. Once it is broken it stays so, and everything that waits for an answer of it fails.
 *
 * How a dead one is found:
 *   - the answer whose turn it is does not come within `read_timeout`. Requests are answered in order as a rule, so the clock
 *     of a request starts when the one before it was answered: on a slow line many requests may wait for a long time;
 *   - it is idle for `keepalive_interval`, is then asked for something small, and nothing arrives for `keepalive_max` intervals.
 *     Bytes that arrive count, so a line that is only slow is never taken for dead.
 */
import type { Socket } from 'node:net'
import type { Client, SFTPWrapper } from 'ssh2'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { type SftpConfig, sftpPlace } from './sftp-config.ts'
import { type Connected, type ConnectOptions, connectSftp } from './sftp-connect.ts'
import { interrupted } from './sftp-errors.ts'
import { ReadGate } from './sftp-read-gate.ts'
import { windowOpener } from './sftp-window.ts'

/** What ssh2 1.17 takes as one packet is 256 KiB; the answer to a read has 13 bytes besides the data. */
const maxReadBytes = 255 * 1024
/** What every server takes (draft-ietf-secsh-filexfer-02, 3). */
const minReadBytes = 32 * 1024
/** How long the server may take to close its side when we have closed ours. */
const closeMs = 1000

/** How ssh2 answers. */
export type Answer<T> = (error: Error | null | undefined, value: T) => void

export interface SessionOptions extends ConnectOptions {
  /** Called once when it breaks. */
  readonly broken: (session: SftpSession) => void
  /** Told of bytes of files that arrived. */
  readonly read: (bytes: number) => void
}

interface Waiting {
  fail(error: StreamError): void
}

export class SftpSession {
  readonly place: string
  /** Bytes that one read may ask for. */
  readonly readBytes: number
  readonly gate = new ReadGate()
  /** Reads and other calls that use it now; kept by the pool. */
  users = 0
  readonly #sftp: SFTPWrapper
  readonly #client: Client
  readonly #socket: Socket
  readonly #config: SftpConfig
  /** Requests without an answer, in the order in which they were sent. */
  readonly #waiting = new Set<Waiting>()
  /** Since when the first of them is the first. */
  #firstSinceMs = 0
  #bytesSeen = 0
  #quietSinceMs = performance.now()
  readonly #openWindow: () => void
  readonly #watch: NodeJS.Timeout
  #isLate = false
  #failure: StreamError | undefined
  readonly #broken: (session: SftpSession) => void
  readonly #read: (bytes: number) => void

  private constructor(connected: Connected, { config, broken, read }: SessionOptions) {
    this.#client = connected.client
    this.#socket = connected.socket
    this.#sftp = connected.sftp
    this.#config = config
    this.#broken = broken
    this.#read = read
    this.place = sftpPlace(config)
    this.readBytes = config.read_size === 'auto' ? offeredReadBytes(this.#sftp) : config.read_size
    // ssh2 would split a read that is larger than what it expects of the server, and send the pieces one after the other.
    ;(this.#sftp as unknown as { _maxReadLen: number })._maxReadLen = this.readBytes
    this.#openWindow = windowOpener(this.#client, this.#sftp)
    this.#openWindow()
    const lost = (why: string, cause?: unknown) =>
      this.break(new StreamError('source.unavailable', `lost the connection to ${this.place}: ${why}`, { cause }))
    this.#client.on('error', (error) => lost(error.message, error))
    this.#client.on('close', () => lost('the server closed it'))
    this.#sftp.on('error', (error: Error) => lost(error.message, error))
    this.#sftp.on('end', () => lost('the server ended the SFTP session'))
    this.#sftp.on('close', () => lost('the server ended the SFTP session'))
    const { read_timeout, keepalive_interval } = config
    const periodMs = Math.min(read_timeout, keepalive_interval || read_timeout) / 4
    this.#watch = setInterval(() => this.#look(), Math.max(periodMs, 5))
  }

  /** Throws source.access for what an operator must change, else source.unavailable. */
  static async connect(o: SessionOptions, { signal }: Signal): Promise<SftpSession> {
    return await connectSftp(o, (connected) => new SftpSession(connected, o), { signal })
  }

  get isBroken(): boolean {
    return this.#failure !== undefined
  }

  get failure(): StreamError | undefined {
    return this.#failure
  }

  /**
   * Sends one request and gives its answer. Throws what the server answers as it is, and a StreamError if there is no answer.
   * `orphan` gets the answer if it comes after the signal was aborted.
   */
  async request<T>(
    send: (sftp: SFTPWrapper, answer: Answer<T>) => void,
    { signal }: Signal,
    orphan?: (value: T) => void,
  ): Promise<T> {
    if (signal.aborted) throw interrupted(`the work at ${this.place}`, signal)
    if (this.#failure) throw this.#failure
    return await new Promise<T>((resolve, reject) => {
      let isOver = false
      const end = (settle: () => void) => {
        if (isOver) return
        isOver = true
        signal.removeEventListener('abort', onAbort)
        settle()
      }
      const onAbort = () => end(() => reject(interrupted(`the work at ${this.place}`, signal)))
      signal.addEventListener('abort', onAbort)
      const waiting = this.#wait((error) => end(() => reject(error)))
      send(this.#sftp, (error, value) => {
        this.#answered(waiting)
        if (isOver && !error && !this.isBroken) orphan?.(value)
        end(() => (error ? reject(error) : resolve(value)))
      })
    })
  }

  /**
   * Reads into `into` from `at` on, up to `length` bytes; `answer` is called once, with 0 bytes at the end of the file. Until then
   * the answer may be written there at any time; a session that was broken writes no more.
   */
  read(handle: Buffer, into: Buffer, at: number, length: number, position: number, answer: Answer<number>): void {
    let isOver = false
    const end = (error: Error | null | undefined, bytes: number) => {
      if (isOver) return
      isOver = true
      answer(error, bytes)
    }
    const waiting = this.#wait((error) => end(error, 0))
    this.#sftp.read(handle, into, at, length, position, (error, bytes) => {
      this.#answered(waiting)
      if (!this.isBroken) this.#openWindow()
      if (!error) this.#read(bytes)
      end(error, bytes)
    })
  }

  /** Gives a handle back; with a session that is broken it was given back already. */
  async closeHandle(handle: Buffer): Promise<void> {
    if (this.isBroken) return
    await new Promise<void>((resolve, reject) => {
      const waiting = this.#wait(reject)
      this.#sftp.close(handle, (error) => {
        this.#answered(waiting)
        if (error) reject(error)
        else resolve()
      })
    })
  }

  /** Ends it at once, with all that waits for it. */
  break(failure: StreamError): void {
    if (this.#failure) return
    this.#failure = failure
    clearInterval(this.#watch)
    // What has arrived already must not be written into the buffers of those that are told now that they failed.
    this.#socket.removeAllListeners('data')
    this.#socket.destroy()
    this.#broken(this)
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const one of waiting) one.fail(failure)
  }

  /** Breaks it so that those who wait for it go on with another one. */
  giveUp(why: string): void {
    this.break(new StreamError('source.unavailable', `lost the connection to ${this.place}: ${why}`))
  }

  /** Says goodbye to the server, and waits a moment for it to hear that. */
  async close(): Promise<void> {
    if (!this.#socket.destroyed && !this.isBroken) {
      const closed = new Promise<void>((resolve) => this.#socket.once('close', () => resolve()))
      const timer = setTimeout(() => this.#socket.destroy(), closeMs)
      this.#client.end()
      await closed
      clearTimeout(timer)
    }
    this.break(new StreamError('run.aborted', `the connection to ${this.place} was closed by the stop`))
  }

  #wait(fail: (error: StreamError) => void): Waiting {
    const waiting = { fail }
    if (this.#waiting.size === 0) this.#firstSinceMs = performance.now()
    this.#waiting.add(waiting)
    return waiting
  }

  #answered(waiting: Waiting): void {
    if (this.#waiting.values().next().value === waiting) {
      this.#firstSinceMs = performance.now()
      this.#isLate = false
    }
    this.#waiting.delete(waiting)
  }

  #look(): void {
    const { read_timeout, keepalive_interval, keepalive_max } = this.#config
    const nowMs = performance.now()
    if (this.#socket.bytesRead !== this.#bytesSeen) {
      this.#bytesSeen = this.#socket.bytesRead
      this.#quietSinceMs = nowMs
    }
    if (this.#waiting.size > 0 && nowMs - this.#firstSinceMs > read_timeout) {
      // If it was we who did not listen, the answer is seen before the next look.
      if (this.#isLate) this.giveUp(`no answer within read_timeout (${read_timeout / 1000} s)`)
      this.#isLate = true
      return
    }
    if (keepalive_interval === 0) return
    const quietMs = nowMs - this.#quietSinceMs
    if (quietMs > keepalive_interval * (keepalive_max + 1)) {
      this.giveUp(`no sign of life for ${Math.round(quietMs / 1000)} s`)
    } else if (quietMs >= keepalive_interval && this.#waiting.size === 0) {
      const waiting = this.#wait(() => {})
      this.#sftp.realpath('.', () => this.#answered(waiting))
    }
  }
}

/** What the server said in its limits (ssh2 keeps it there), or what may be expected of it. */
function offeredReadBytes(sftp: SFTPWrapper): number {
  const { _maxReadLen: bytes } = sftp as unknown as { readonly _maxReadLen?: unknown }
  if (typeof bytes !== 'number') return minReadBytes
  return Math.min(Math.max(bytes, 1024), maxReadBytes)
}

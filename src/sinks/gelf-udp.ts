/**
 * GELF messages as UDP datagrams, large ones compressed and in chunks.
 *
 *   chunk   1e 0f │ message id, 8 bytes │ number of this chunk │ chunks of the message, up to 128 │ payload
 *
 * https://go2docs.graylog.org/current/getting_in_log_data/gelf.html#GELFviaUDP
 */
import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { deflate, gzip } from 'node:zlib'
import type { Dependency, Finding, Log, Signal } from '../core/component.ts'
import { type DatagramSocket, DatagramWriter } from './datagram-writer.ts'
import type { EncodedMessages } from './gelf-encoder.ts'

const headerBytes = 12
const maxChunks = 128
/** What fits into one packet of an Ethernet does not travel better when it is smaller. */
const packetBytes = 1420
/** How often a length is tried for a message that must be cut, at most. */
const maxTries = 12

const compressors = { gzip: promisify(gzip), zlib: promisify(deflate) }

export interface GelfDatagramOptions {
  /** In order of preference; the next one is used when one fails. */
  readonly endpoints: readonly { readonly host: string; readonly port: number }[]
  /** Longest datagram, chunk header included. */
  readonly chunkBytes: number
  readonly compression: 'none' | 'gzip' | 'zlib'
  readonly connectTimeoutMs: number
  readonly log: Log
  readonly nowMs: () => number
}

/** Gives message `n` cut to `maxBytes`, or as short as it can be if that is longer. */
export type Shorten = (n: number, maxBytes: number) => Buffer

export interface Sent {
  /** Numbers of the messages that were cut. */
  readonly cut: number[]
  /** Numbers of those that cannot be cut enough. */
  readonly refused: number[]
}

export class GelfDatagrams implements AsyncDisposable {
  readonly #o: GelfDatagramOptions
  readonly #writer: DatagramWriter

  constructor(o: GelfDatagramOptions) {
    this.#o = o
    const tooLong = { code: 'sink.unavailable', advice: 'make chunk_size smaller' } as const
    this.#writer = new DatagramWriter({ ...o, what: 'gelf', tooLong })
  }

  get dependencies(): readonly Dependency[] {
    return this.#writer.dependencies
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#writer.examine(o)
  }

  /** As `DatagramWriter.check`. */
  async check(o: Signal): Promise<void> {
    await this.#writer.check(o)
  }

  /** Sends the messages in order; resolves and throws as `DatagramWriter.write`. */
  async write(messages: EncodedMessages, shorten: Shorten, o: Signal): Promise<Sent> {
    return await this.#writer.write((socket) => this.#send(socket, messages, shorten), o)
  }

  async #send(socket: DatagramSocket, { data, ends }: EncodedMessages, shorten: Shorten): Promise<Sent> {
    const cut: number[] = []
    const refused: number[] = []
    let start = 0
    for (let n = 0; n < ends.length; n += 1) {
      const end = ends[n] as number
      if (end === start) continue
      const message = data.subarray(start, end)
      start = end
      if (this.#fitsAsItIs(message)) socket.send(message)
      else {
        const payload = await this.#payload(message, n, shorten)
        if (payload?.isCut) cut.push(n)
        if (payload === undefined) refused.push(n)
        else await this.#sendChunks(socket, payload.bytes)
      }
      if (socket.isFull) await socket.flush()
    }
    return { cut, refused }
  }

  #fitsAsItIs(message: Buffer): boolean {
    const { compression, chunkBytes } = this.#o
    return message.length <= (compression === 'none' ? chunkBytes : Math.min(packetBytes, chunkBytes))
  }

  async #compressed(message: Buffer): Promise<Buffer> {
    const { compression } = this.#o
    return compression === 'none' ? message : await compressors[compression](message)
  }

  /** What is sent of a message. undefined: it does not fit into 128 chunks, however short its text. */
  async #payload(whole: Buffer, n: number, shorten: Shorten): Promise<{ bytes: Buffer; isCut: boolean } | undefined> {
    const { compression, chunkBytes } = this.#o
    const limit = maxChunks * (chunkBytes - headerBytes)
    let [length, packed] = [whole.length, await this.#compressed(whole)]
    if (packed.length <= limit) return { bytes: packed, isCut: false }
    const least = shorten(n, 0)
    let [fitting, bytes] = [least.length, await this.#compressed(least)]
    if (bytes.length > limit) return undefined
    const enough = (bytes.length + limit) / 2
    // Between a length that fits and one that does not, as if the text between them compressed evenly; a little less, as it never does.
    const caution = compression === 'none' ? 1 : 0.95
    for (let tries = 0; tries < maxTries && bytes.length < enough; tries += 1) {
      const share = (caution * (limit - bytes.length)) / (packed.length - bytes.length)
      // Where that was too much, the half comes to an end sooner.
      const room = Math.floor((length - fitting) * (tries === 0 ? share : Math.min(share, 0.5)))
      const message = shorten(n, fitting + room)
      const tried = await this.#compressed(message)
      if (tried.length <= limit) [fitting, bytes] = [message.length, tried]
      else [length, packed] = [message.length, tried]
    }
    return { bytes, isCut: true }
  }

  async #sendChunks(socket: DatagramSocket, payload: Buffer): Promise<void> {
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

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]()
  }
}

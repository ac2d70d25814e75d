/**
 * GELF inputs like those of Graylog: UDP with chunks, TCP and TLS with NUL framing, HTTP. They decode as GelfCodec.java of
 * graylog2-server does, note what GELF 1.1 forbids, and fail as they are told.
 * https://go2docs.graylog.org/current/getting_in_log_data/gelf.html
 */
import { createSocket } from 'node:dgram'
import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { gunzipSync, inflateSync } from 'node:zlib'

/** What a connection suffers when its first bytes come. */
export type StreamFault = 'reset' | 'half_close' | 'stall'
export interface HttpFault {
  readonly status: number
  readonly body?: string
}

export interface GelfOptions {
  readonly kind: 'udp' | 'tcp' | 'tls' | 'http'
  readonly port?: number
  readonly tls?: TlsOptions
  /** HTTP: takes several messages in one request, one a line. */
  readonly bulk?: boolean
  /** TCP, TLS: for each connection, counted from 0. */
  readonly streamFault?: (n: number) => StreamFault | undefined
  /** HTTP: for each request, counted from 0. */
  readonly httpFault?: (n: number, body: string) => HttpFault | undefined
  /** UDP: the clock of the rule that all chunks come within 5 s. */
  readonly nowMs?: () => number
}

export type GelfMessage = Readonly<Record<string, unknown>>

export class GelfReceiver implements AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Messages that were taken, in order, and their JSON. */
  readonly messages: GelfMessage[] = []
  readonly texts: string[] = []
  /** What was wrong with what came, by the rules of GELF 1.1 or of its transport. */
  readonly violations: string[] = []
  connections = 0
  requests = 0
  /** HTTP: of the last request. */
  headers: IncomingHttpHeaders = {}
  /** UDP: datagrams that came, and messages that were never complete. */
  datagrams = 0
  incomplete = 0
  /** Open connections. */
  readonly sockets = new Set<Socket>()
  readonly #close: () => Promise<void>
  #closed: Promise<void> | undefined

  constructor(kind: GelfOptions['kind'], port: number, close: () => Promise<void>) {
    this.url = `${kind}://127.0.0.1:${port}${kind === 'http' ? '/gelf' : ''}`
    this.port = port
    this.#close = close
  }

  /** What the records were: the full message, or the short one where there is none. */
  get records(): string[] {
    return this.messages.map(({ full_message, short_message }) => String(full_message ?? short_message))
  }

  /** Resolves when so many messages have come; what never comes ends with the time limit of the test. */
  async until(count: number): Promise<void> {
    while (this.messages.length < count) await new Promise((resolve) => setTimeout(resolve, 1))
  }

  take(bytes: Buffer): void {
    const text = bytes.toString()
    let message: unknown
    try {
      message = JSON.parse(text)
    } catch (error) {
      this.violations.push(`no JSON: ${String(error)}: ${text.slice(0, 100)}`)
      return
    }
    this.violations.push(...violationsOf(message))
    this.messages.push(message as GelfMessage)
    this.texts.push(text)
  }

  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }
}

export async function startGelf(o: GelfOptions): Promise<GelfReceiver> {
  if (o.kind === 'udp') return await startUdp(o)
  return o.kind === 'http' ? await startHttp(o) : await startStream(o)
}

/** What GELF 1.1 forbids in a message. */
function violationsOf(message: unknown): string[] {
  if (typeof message !== 'object' || message === null || Array.isArray(message)) return ['no JSON object']
  const found: string[] = []
  const { version, host, short_message: short, full_message: full, timestamp, level, ...rest } = message as GelfMessage
  if (version !== '1.1') found.push(`version ${String(version)}`)
  if (typeof host !== 'string' || host.trim() === '') found.push('no host')
  if (typeof short !== 'string' || short.trim() === '') found.push('no short_message')
  if (full !== undefined && typeof full !== 'string') found.push('full_message is no text')
  if (timestamp !== undefined && typeof timestamp !== 'number') found.push('timestamp is no number')
  // Later than the year 5138 are ms that should have been seconds.
  if (typeof timestamp === 'number' && timestamp > 1e11) found.push(`timestamp ${timestamp} is not in seconds`)
  if (level !== undefined && !(Number.isInteger(level) && Number(level) >= 0 && Number(level) <= 7))
    found.push(`level ${String(level)}`)
  for (const [name, value] of Object.entries(rest)) {
    if (!/^_[\w.-]*$/.test(name)) found.push(`field name ${name}`)
    if (name === '_id') found.push('field name _id')
    if (typeof value !== 'string' && typeof value !== 'number') found.push(`field ${name} is ${typeof value}`)
  }
  return found
}

const reserved = new Set(['_id', '_ttl', '_source', '_all', '_index', '_type', '_score'])

/** The fields of the message as Graylog shows them; what it drops in silence is missing here too. */
export function fieldsInGraylog(message: GelfMessage): Record<string, unknown> {
  const { host, short_message, full_message, timestamp, level } = message
  // Without a prototype: a field may be called __proto__.
  const fields: Record<string, unknown> = Object.create(null)
  Object.assign(fields, { _id: 'made by Graylog', message: short_message, source: host, timestamp })
  if (full_message !== undefined) fields.full_message = full_message
  if (level !== undefined) fields.level = level
  for (const [name, value] of Object.entries(message)) {
    const key = name.startsWith('_') && name.length > 1 ? name.slice(1) : name
    if (name === 'version' || key === 'short_message' || key === 'host') continue
    if (Object.hasOwn(fields, key) || reserved.has(key) || typeof value === 'boolean' || value === null) continue
    fields[key] = typeof value === 'object' ? JSON.stringify(value) : value
  }
  delete fields._id
  return fields
}

async function startStream(o: GelfOptions): Promise<GelfReceiver> {
  const accept = (socket: Socket) => {
    const fault = o.streamFault?.(receiver.connections)
    receiver.connections += 1
    receiver.sockets.add(socket)
    socket.on('close', () => receiver.sockets.delete(socket))
    socket.on('error', () => undefined)
    let rest: Buffer = Buffer.alloc(0)
    socket.on('data', (chunk: Buffer) => {
      if (fault !== undefined) {
        suffer(socket, fault)
        return
      }
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
        receiver.take(rest.subarray(0, end))
        rest = rest.subarray(end + 1)
      }
    })
    socket.on('end', () => {
      if (rest.length > 0) receiver.violations.push(`${rest.length} bytes without a NUL at the end of a connection`)
    })
  }
  const server = o.kind === 'tls' ? createTlsServer(o.tls ?? {}, accept) : createServer(accept)
  const port = await listening(server, o.port)
  const receiver = new GelfReceiver(o.kind, port, async () => {
    for (const socket of receiver.sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  return receiver
}

function suffer(socket: Socket, fault: StreamFault): void {
  if (fault === 'reset') socket.resetAndDestroy()
  else if (fault === 'half_close') socket.end()
  else socket.pause()
}

async function startHttp(o: GelfOptions): Promise<GelfReceiver> {
  const serve = async (request: IncomingMessage, response: ServerResponse) => {
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const answer = (status: number, words = '') =>
      response.writeHead(status, { 'content-length': Buffer.byteLength(words) }).end(words)
    if (request.method !== 'POST') return answer(405)
    const raw = Buffer.concat(chunks)
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
    const fault = o.httpFault?.(receiver.requests, body.toString())
    receiver.requests += 1
    receiver.headers = request.headers
    if (fault) return answer(fault.status, fault.body)
    if (request.url !== '/gelf') return answer(404)
    // Without bulk only the first JSON value is read; here that is a mistake of the sender.
    if (o.bulk) {
      for (const line of body.toString().split('\n')) if (line !== '') receiver.take(Buffer.from(line))
    } else receiver.take(body)
    return answer(202)
  }
  const server = createHttpServer((request, response) => {
    serve(request, response).catch(() => request.socket.destroy())
  })
  server.keepAliveTimeout = 120_000
  server.on('connection', (socket) => {
    receiver.connections += 1
    receiver.sockets.add(socket)
    socket.on('close', () => receiver.sockets.delete(socket))
  })
  const port = await listening(server, o.port)
  const receiver = new GelfReceiver('http', port, async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  return receiver
}

async function listening(server: Server, port = 0): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
  })
  return (server.address() as AddressInfo).port
}

interface Chunks {
  readonly firstMs: number
  readonly pieces: Array<Buffer | undefined>
  missing: number
}

async function startUdp(o: GelfOptions): Promise<GelfReceiver> {
  const nowMs = o.nowMs ?? Date.now
  const pending = new Map<string, Chunks>()
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 })
  socket.on('message', (datagram) => {
    receiver.datagrams += 1
    for (const [id, { firstMs }] of pending) {
      if (nowMs() - firstMs <= 5000) break
      pending.delete(id)
      receiver.incomplete += 1
    }
    const whole = datagram[0] === 0x1e && datagram[1] === 0x0f ? assembled(datagram) : datagram
    if (whole) receiver.take(decompressed(whole))
  })
  const assembled = (datagram: Buffer): Buffer | undefined => {
    const id = datagram.toString('hex', 2, 10)
    const [number = 0, count = 0] = datagram.subarray(10, 12)
    const isNew = !pending.has(id)
    const chunks = pending.get(id) ?? { firstMs: nowMs(), pieces: Array<Buffer | undefined>(count), missing: count }
    if (count === 0 || count > 128 || number >= count || count !== chunks.pieces.length || chunks.pieces[number]) {
      receiver.violations.push(`chunk ${number} of ${count} for message ${id}`)
      return undefined
    }
    if (isNew) pending.set(id, chunks)
    chunks.pieces[number] = datagram.subarray(12)
    chunks.missing -= 1
    if (chunks.missing > 0) return undefined
    pending.delete(id)
    return Buffer.concat(chunks.pieces as Buffer[])
  }
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(o.port ?? 0, '127.0.0.1', resolve)
  })
  const receiver = new GelfReceiver(
    'udp',
    socket.address().port,
    () => new Promise<void>((resolve) => socket.close(() => resolve())),
  )
  return receiver
}

/** By the first bytes, as GELFMessage.java does. */
function decompressed(payload: Buffer): Buffer {
  if (payload[0] === 0x1f && payload[1] === 0x8b) return gunzipSync(payload)
  return payload[0] === 0x78 ? inflateSync(payload) : payload
}

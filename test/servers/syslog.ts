/** A syslog receiver on UDP, TCP or TLS that reads strictly, says what was against the RFC, and fails as it is told. */
import { createSocket } from 'node:dgram'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { FrameReader, parse3164, parse5424, type SyslogMessage } from './syslog-wire.ts'

export interface ReceiverOptions {
  readonly transport: 'udp' | 'tcp' | 'tls'
  readonly format?: 'rfc5424' | 'rfc3164'
  readonly framing?: 'octet_counting' | 'lf'
  readonly port?: number
  readonly tls?: TlsOptions
}

/** Connections as they were accepted, and those that are read: the same, or TLS on top. */
interface Sockets {
  readonly plain: Set<Socket>
  readonly served: Set<Socket>
}

export class SyslogReceiver {
  readonly url: string
  readonly port: number
  readonly messages: SyslogMessage[] = []
  /** What was not as the RFC has it. */
  readonly violations: string[] = []
  connections = 0
  /** What a new connection meets: `reset` breaks it at once, `stall` never reads. */
  fault: 'reset' | 'stall' | undefined
  readonly #parse: (bytes: Buffer) => SyslogMessage
  readonly #sockets: Sockets
  readonly #close: () => Promise<void>
  #waiting: Array<() => void> = []

  constructor(o: ReceiverOptions, port: number, sockets: Sockets, close: () => Promise<void>) {
    this.url = `${o.transport}://127.0.0.1:${port}`
    this.port = port
    this.#parse = o.format === 'rfc3164' ? parse3164 : parse5424
    this.#sockets = sockets
    this.#close = close
  }

  /** The contents of all messages. */
  get contents(): string[] {
    return this.messages.map(({ content }) => content.toString())
  }

  take(bytes: Buffer): void {
    try {
      this.messages.push(this.#parse(bytes))
    } catch (error) {
      this.violations.push((error as Error).message)
    }
    for (const look of this.#waiting.splice(0)) look()
  }

  /** Resolves when it has at least so many messages; throws what was against the RFC. */
  async received(count: number): Promise<void> {
    while (this.messages.length < count) {
      if (this.violations.length > 0) throw new Error(this.violations.join('; '))
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
  }

  /** Resets every connection. */
  breakConnections(): void {
    for (const socket of this.#sockets.plain) socket.resetAndDestroy()
  }

  /** Ends its side of every connection and reads on; resolves when the sender has ended its own. */
  async endConnections(): Promise<void> {
    await Promise.all([...this.#sockets.served].map(ended))
  }

  /** Takes no more; connections end in good order. */
  async close(): Promise<void> {
    await this.#close()
  }
}

function ended(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve()
    socket.once('close', () => resolve())
    socket.resume()
    socket.end()
  })
}

export async function startSyslogReceiver(o: ReceiverOptions): Promise<SyslogReceiver> {
  return o.transport === 'udp' ? await startUdp(o) : await startStream(o)
}

async function startUdp(o: ReceiverOptions): Promise<SyslogReceiver> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4 * 2 ** 20 })
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject)
    socket.bind(o.port ?? 0, '127.0.0.1', resolve)
  })
  let isOpen = true
  const close = async () => {
    if (!isOpen) return
    isOpen = false
    await new Promise<void>((resolve) => socket.close(resolve))
  }
  const receiver = new SyslogReceiver(o, socket.address().port, { plain: new Set(), served: new Set() }, close)
  socket.on('message', (bytes) => receiver.take(bytes))
  return receiver
}

async function startStream(o: ReceiverOptions): Promise<SyslogReceiver> {
  const sockets = { plain: new Set<Socket>(), served: new Set<Socket>() }
  const serve = (socket: Socket) => {
    receiver.connections += 1
    socket.on('error', () => undefined)
    if (receiver.fault === 'reset') return
    sockets.served.add(socket)
    socket.on('close', () => sockets.served.delete(socket))
    if (receiver.fault === 'stall') {
      socket.pause()
      return
    }
    const reader = new FrameReader(o.framing ?? 'octet_counting')
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const frame of reader.take(chunk)) receiver.take(frame)
      } catch (error) {
        receiver.violations.push((error as Error).message)
        socket.destroy()
      }
    })
    socket.on('end', () => {
      if (reader.isInside) receiver.violations.push('the stream ended within a frame')
      socket.end()
    })
  }
  const server =
    o.transport === 'tls'
      ? createTlsServer({ ...o.tls, allowHalfOpen: true }, serve)
      : createServer({ allowHalfOpen: true }, serve)
  // Below TLS: only a plain socket can be reset, and one whose handshake failed is open too.
  server.on('connection', (socket: Socket) => {
    sockets.plain.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => sockets.plain.delete(socket))
    if (receiver.fault === 'reset') socket.resetAndDestroy()
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(o.port ?? 0, '127.0.0.1', resolve)
  })
  const close = async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    await Promise.all([...sockets.served].map(ended))
    for (const socket of sockets.plain) socket.destroy()
    await closed
  }
  const receiver = new SyslogReceiver(o, (server.address() as AddressInfo).port, sockets, close)
  return receiver
}

/**
 * A Kafka broker in the process: the real wire protocol of what a producer needs, idempotence included, and faults on
 * demand. Several brokers may share one KafkaLog: then they are a cluster. Source: https://kafka.apache.org/protocol
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { type AppendResult, codes, KafkaLog, type KafkaRecord } from './kafka-log.ts'
import { type KafkaUser, type Mechanism, mechanisms, SaslExchange } from './kafka-sasl.ts'
import { WireReader, WireWriter } from './kafka-wire.ts'

/**
 * What happens to one Produce request. `close` breaks the connection without storing, `closeAfter` after storing, `hang`
 * stores and never answers; a code answers with it for every partition (or those named) and stores nothing there;
 * `storedCode` stores and answers with the code all the same; `throttleMs` stores and asks for silence.
 */
export type ProduceFault =
  | 'close'
  | 'closeAfter'
  | 'hang'
  | { readonly code: number; readonly partitions?: readonly number[] }
  | { readonly storedCode: number }
  | { readonly throttleMs: number }

export interface KafkaOptions {
  readonly port?: number
  readonly node?: number
  readonly log?: KafkaLog
  /** Topics and how many partitions they have, unless a log is given. */
  readonly topics?: Readonly<Record<string, number>>
  readonly tls?: TlsOptions
  readonly user?: KafkaUser
  readonly mechanisms?: readonly Mechanism[]
  /** How long a login lasts (KIP-368); for ever if left out. */
  readonly sessionMs?: number
  readonly maxMessageBytes?: number
  /** Newest versions that it speaks, by api key. */
  readonly newest?: Readonly<Record<number, number>>
  /** Counts records and looks at nothing: for benchmarks. */
  readonly count?: boolean
}

interface Session {
  readonly socket: Socket
  exchange: SaslExchange | undefined
  isAuthenticated: boolean
}

interface Request {
  readonly apiKey: number
  readonly version: number
  readonly isFlexible: boolean
  readonly body: WireReader
  readonly out: WireWriter
}

interface PartitionData {
  readonly topic: string
  readonly index: number
  readonly bytes: Buffer
}

const api = { produce: 0, metadata: 3, saslHandshake: 17, apiVersions: 18, initProducerId: 22, saslAuthenticate: 36 }
/** key -> oldest, newest, first flexible version. */
const supported = new Map([
  [api.produce, [7, 11, 9]],
  [api.metadata, [7, 12, 9]],
  [api.saslHandshake, [1, 1, 99]],
  [api.apiVersions, [0, 3, 3]],
  [api.initProducerId, [0, 4, 2]],
  [api.saslAuthenticate, [0, 2, 2]],
] as const)

export class KafkaServer {
  readonly log: KafkaLog
  /** Called for each Produce request, counted from 0, with its partitions; undefined: take it. */
  fault: (n: number, partitions: readonly number[]) => ProduceFault | undefined = () => undefined
  /** Why a record is invalid; undefined: it is not. */
  refuse: (record: KafkaRecord) => string | undefined = () => undefined
  maxMessageBytes: number
  /** Produce requests so far, those with faults too. */
  requests = 0
  connections = 0
  /** Logins, those that were renewed too. */
  logins = 0
  /** Api keys and versions that were asked, like `0v11`. */
  readonly asked = new Set<string>()
  readonly #o: KafkaOptions
  readonly #node: number
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined
  #port = 0

  constructor(o: KafkaOptions) {
    this.#o = o
    this.#node = o.node ?? 1
    this.log = o.log ?? new KafkaLog(o.topics ?? { logs: 3 })
    this.maxMessageBytes = o.maxMessageBytes ?? 1_048_588
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  async start(port = this.#o.port ?? 0): Promise<void> {
    const take = (socket: Socket) => this.#serve(socket)
    const server = this.#o.tls ? createTlsServer(this.#o.tls, take) : createServer(take)
    server.on('tlsClientError', () => undefined)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
    this.#server = server
    this.#port = (server.address() as AddressInfo).port
    this.log.brokers.set(this.#node, { host: '127.0.0.1', port: this.#port })
  }

  async close(): Promise<void> {
    this.breakConnections()
    const server = this.#server
    this.#server = undefined
    if (server) await new Promise<void>((resolve) => server.close(() => resolve()))
  }

  /** At the same port, with what was stored. */
  async restart(): Promise<void> {
    await this.close()
    await this.start(this.#port)
  }

  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.connections += 1
    this.#sockets.add(socket)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.on('error', () => undefined)
    const session: Session = { socket, exchange: undefined, isAuthenticated: this.#o.user === undefined }
    let chunks: Buffer[] = []
    let length = 0
    let wanted = 4
    socket.on('data', (chunk: Buffer) => {
      chunks.push(chunk)
      length += chunk.length
      while (length >= wanted && !socket.destroyed) {
        let data: Buffer = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
        wanted = 4 + data.readUInt32BE(0)
        // As a broker does when something else than Kafka talks to it.
        if (wanted > 100 * 1024 * 1024) socket.destroy()
        if (length >= wanted) {
          const frame = data.subarray(4, wanted)
          data = data.subarray(wanted)
          length = data.length
          wanted = 4
          this.#answer(session, frame)
        }
        chunks = [data]
      }
    })
  }

  #answer(session: Session, frame: Buffer): void {
    const body = new WireReader(frame)
    const apiKey = body.int16()
    const version = body.int16()
    const correlationId = body.int32()
    body.string(false)
    const range = supported.get(apiKey)
    const newest = Math.min(range?.[1] ?? -1, this.#o.newest?.[apiKey] ?? 99)
    const isKnown = range !== undefined && version >= range[0] && version <= newest
    const isLogin = apiKey === api.saslHandshake || apiKey === api.saslAuthenticate || apiKey === api.apiVersions
    // A broker closes on what it cannot read, and on what comes before the login; only ApiVersions gets an answer.
    if ((!isKnown && apiKey !== api.apiVersions) || (!session.isAuthenticated && !isLogin)) {
      session.socket.destroy()
      return
    }
    const isFlexible = range !== undefined && version >= range[2]
    body.tags(isFlexible)
    this.asked.add(`${apiKey}v${version}`)
    const out = new WireWriter().int32(correlationId).tags(isFlexible && apiKey !== api.apiVersions)
    const request: Request = { apiKey, version, isFlexible, body, out }
    if (apiKey === api.apiVersions) this.#apiVersions(request, isKnown)
    else if (apiKey === api.metadata) this.#metadata(request)
    else if (apiKey === api.initProducerId) this.#initProducerId(request)
    else if (apiKey === api.saslHandshake) this.#saslHandshake(request, session)
    else if (apiKey === api.saslAuthenticate) this.#saslAuthenticate(request, session)
    else if (!this.#produce(request, session)) return
    session.socket.write(out.frame())
  }

  #apiVersions({ version, out }: Request, isKnown: boolean): void {
    const isFlexible = isKnown && version >= 3
    out.int16(isKnown ? codes.none : codes.unsupportedVersion)
    out.array(isFlexible, [...supported], ([key, [oldest, newest]]) => {
      out.int16(key).int16(oldest)
      out.int16(Math.min(newest, this.#o.newest?.[key] ?? 99)).tags(isFlexible)
    })
    if (isKnown && version >= 1) out.int32(0)
    out.tags(isFlexible)
  }

  #metadata({ version, isFlexible, body, out }: Request): void {
    const names = body.array(isFlexible, () => {
      if (version >= 10) body.bytes(16)
      const name = body.string(isFlexible) ?? ''
      body.tags(isFlexible)
      return name
    })
    const brokers = [...this.log.brokers]
    out.int32(0)
    out.array(isFlexible, brokers, ([node, { host, port }]) => {
      out.int32(node).string(isFlexible, host).int32(port).string(isFlexible, null).tags(isFlexible)
    })
    out.string(isFlexible, 'test-cluster').int32(1)
    out.array(isFlexible, names ?? [...this.log.topics.keys()], (name) => {
      const partitions = this.log.topics.get(name)
      out.int16(partitions ? codes.none : codes.unknownTopic).string(isFlexible, name)
      if (version >= 10) out.raw(Buffer.alloc(16))
      out.int8(0)
      out.array(isFlexible, [...(partitions ?? []).entries()], ([index, { leader }]) => {
        const hasLeader = this.log.brokers.has(leader)
        out.int16(hasLeader ? codes.none : codes.leaderNotAvailable)
        out
          .int32(index)
          .int32(hasLeader ? leader : -1)
          .int32(0)
        for (let list = 0; list < 3; list += 1)
          out.array(isFlexible, list < 2 ? [leader] : [], (id) => void out.int32(id))
        out.tags(isFlexible)
      })
      // READ 3, WRITE 4, DESCRIBE 8.
      const operations = (1 << 3) | (1 << 8) | (this.log.readOnly.has(name) ? 0 : 1 << 4)
      if (version >= 8) out.int32(operations)
      out.tags(isFlexible)
    })
    if (version >= 8 && version <= 10) out.int32(-2147483648)
    out.tags(isFlexible)
  }

  #initProducerId({ isFlexible, out }: Request): void {
    out.int32(0).int16(codes.none).int64(this.log.newProducer()).int16(0).tags(isFlexible)
  }

  #saslHandshake({ body, out }: Request, session: Session): void {
    const wanted = body.string(false)
    const enabled: readonly Mechanism[] = this.#o.mechanisms ?? mechanisms
    const mechanism = enabled.find((it) => it === wanted)
    const { user } = this.#o
    if (mechanism && user) session.exchange = new SaslExchange(mechanism, user)
    // Until the login is renewed nothing else is read.
    session.isAuthenticated = false
    out.int16(session.exchange ? codes.none : codes.unsupportedMechanism)
    out.array(false, enabled, (it) => void out.string(false, it))
  }

  #saslAuthenticate({ version, isFlexible, body, out }: Request, session: Session): void {
    const message = body.bytes(body.length(isFlexible, 4))
    const step = session.exchange?.step(message) ?? { failure: 'no handshake' }
    const failure = 'failure' in step ? step.failure : null
    const reply = 'reply' in step ? step.reply : Buffer.alloc(0)
    if ('reply' in step && step.isDone) {
      session.isAuthenticated = true
      session.exchange = undefined
      this.logins += 1
    }
    out.int16(failure === null ? codes.none : codes.saslAuthenticationFailed).string(isFlexible, failure)
    out.length(isFlexible, 4, reply.length).raw(reply)
    if (version >= 1) out.int64(BigInt(this.#o.sessionMs ?? 0))
    out.tags(isFlexible)
  }

  /** False if there is nothing to answer. */
  #produce({ version, isFlexible, body, out }: Request, { socket }: Session): boolean {
    body.string(isFlexible)
    const acks = body.int16()
    body.int32()
    const wanted: PartitionData[] = []
    body.array(isFlexible, () => {
      const topic = body.string(isFlexible) ?? ''
      body.array(isFlexible, () => {
        const index = body.int32()
        wanted.push({ topic, index, bytes: body.bytes(body.length(isFlexible, 4)) })
        body.tags(isFlexible)
      })
      body.tags(isFlexible)
    })
    const n = this.requests
    this.requests += 1
    const fault = this.fault(
      n,
      wanted.map(({ index }) => index),
    )
    if (acks !== -1 || fault === 'close') {
      socket.destroy()
      return false
    }
    const results = wanted.map((data) => ({ data, result: this.#append(data, fault) }))
    if (fault === 'closeAfter') socket.destroy()
    if (fault === 'closeAfter' || fault === 'hang') return false
    const topics = Map.groupBy(results, ({ data }) => data.topic)
    out.array(isFlexible, [...topics], ([topic, partitions]) => {
      out.string(isFlexible, topic)
      out.array(isFlexible, partitions, ({ data, result }) => {
        out.int32(data.index).int16(result.code).int64(BigInt(result.offset)).int64(-1n).int64(0n)
        if (version >= 8) {
          out.array(isFlexible, result.recordErrors ?? [], ({ index, message }) => {
            out.int32(index).string(isFlexible, message).tags(isFlexible)
          })
          out.string(isFlexible, result.message ?? null)
        }
        out.tags(isFlexible)
      })
      out.tags(isFlexible)
    })
    out.int32(typeof fault === 'object' && 'throttleMs' in fault ? fault.throttleMs : 0).tags(isFlexible)
    return true
  }

  #append({ topic, index, bytes }: PartitionData, fault: ProduceFault | undefined): AppendResult {
    if (typeof fault === 'object' && 'code' in fault && (fault.partitions?.includes(index) ?? true))
      return { code: fault.code, offset: -1 }
    const partition = this.log.topics.get(topic)?.[index]
    if (!partition) return { code: codes.unknownTopic, offset: -1 }
    if (this.log.readOnly.has(topic)) return { code: codes.topicAuthorizationFailed, offset: -1 }
    if (partition.leader !== this.#node) return { code: codes.notLeader, offset: -1 }
    if (this.#o.count) return partition.countOnly(bytes)
    const result = partition.append(bytes, { maxMessageBytes: this.maxMessageBytes, refuse: this.refuse })
    if (typeof fault === 'object' && 'storedCode' in fault) return { code: fault.storedCode, offset: -1 }
    return result
  }
}

export async function startKafka(o: KafkaOptions = {}): Promise<KafkaServer> {
  const server = new KafkaServer(o)
  await server.start()
  return server
}

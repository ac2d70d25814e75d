/** An OTLP receiver in this process, by gRPC or HTTP with protobuf: keeps what it gets, and fails as it is told. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  type status,
} from '@grpc/grpc-js'
import {
  logRecordsOf,
  type OtlpJson,
  type OtlpLogRecord,
  type OtlpPoint,
  type OtlpSpan,
  pointsOf,
  spansOf,
} from './otlp-data.ts'
import { otlpJson } from './otlp-wire.ts'

type OtlpSignal = 'metrics' | 'logs' | 'traces'

export interface OtlpRequest {
  readonly signal: OtlpSignal
  /** Of gRPC: its metadata. */
  readonly headers: Readonly<Record<string, unknown>>
  /** By HTTP: the path. */
  readonly path: string
  readonly json: OtlpJson
  readonly bytes: number
}

/** `hang` never answers, `reset` breaks the connection (gRPC: UNAVAILABLE). */
export type OtlpFault =
  | 'hang'
  | 'reset'
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string | Buffer }
  | { readonly grpc: status; readonly details?: string }
  /** Accepts, and answers with this. */
  | { readonly answer: Buffer; readonly type?: string }

export interface OtlpTls {
  readonly ca: string
  readonly cert: string
  readonly key: string
  readonly requestCert?: boolean
}

export class EmbeddedOtlp implements AsyncDisposable {
  readonly protocol: 'grpc' | 'http'
  port = 0
  /** Requests that were accepted, in order. */
  readonly accepted: OtlpRequest[] = []
  /** Requests that were read, in order; of these the accepted ones. */
  count = 0
  fault: (request: OtlpRequest) => OtlpFault | undefined = () => undefined
  readonly #waiting = new Set<() => void>()
  #close: () => Promise<void> = async () => undefined

  constructor(protocol: 'grpc' | 'http') {
    this.protocol = protocol
  }

  get points(): OtlpPoint[] {
    return this.accepted.flatMap(({ json }) => pointsOf(json))
  }

  get logs(): OtlpLogRecord[] {
    return this.accepted.flatMap(({ json }) => logRecordsOf(json))
  }

  get spans(): OtlpSpan[] {
    return this.accepted.flatMap(({ json }) => spansOf(json))
  }

  /** The last value of a metric, the sum over its labels; undefined if there is none. */
  value(name: string): number | undefined {
    for (const { json } of this.accepted.toReversed()) {
      const points = pointsOf(json).filter((point) => point.name === name)
      if (points.length > 0) return points.reduce((sum, { value }) => sum + value, 0)
    }
    return undefined
  }

  /** Resolves when `holds` is true; looks after each request. */
  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await promise
      this.#waiting.delete(resolve)
    }
  }

  /** What is to be done with a request. */
  take(request: OtlpRequest): OtlpFault | undefined {
    this.count += 1
    const fault = this.fault(request)
    if (!fault || (typeof fault === 'object' && 'answer' in fault)) this.accepted.push(request)
    // After the answer, so that a waiting test does not see what the exporter does not know yet.
    setImmediate(() => {
      for (const wake of this.#waiting) wake()
    })
    return fault
  }

  async listenHttp(port: number, tls?: OtlpTls): Promise<void> {
    const handle = (request: IncomingMessage, response: ServerResponse) => void this.#serve(request, response)
    const server = tls ? createTlsServer({ ...tls, rejectUnauthorized: true }, handle) : createServer(handle)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    server.once('error', reject)
    server.listen(port, '127.0.0.1', resolve)
    await promise
    this.port = (server.address() as AddressInfo).port
    this.#close = async () => {
      server.close()
      server.closeAllConnections()
    }
  }

  async listenGrpc(port: number, tls?: OtlpTls): Promise<void> {
    const server = new Server({ 'grpc.max_receive_message_length': 4 * 2 ** 20 })
    for (const [signal, path] of Object.entries(services) as Array<[OtlpSignal, string]>) {
      const same = (bytes: Buffer) => bytes
      const handle = (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) =>
        this.#call(signal, path, call, answer)
      server.register(path, handle, same, same, 'unary')
    }
    const pair = tls && { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }
    const credentials = pair
      ? ServerCredentials.createSsl(Buffer.from(tls.ca), [pair], tls.requestCert ?? false)
      : ServerCredentials.createInsecure()
    const { promise, resolve, reject } = Promise.withResolvers<number>()
    server.bindAsync(`127.0.0.1:${port}`, credentials, (error, bound) => (error ? reject(error) : resolve(bound)))
    this.port = await promise
    this.#close = async () => server.forceShutdown()
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const raw = Buffer.concat(chunks)
    const path = request.url ?? ''
    const signal = /\/v1\/(metrics|logs|traces)$/.exec(path)?.[1] as OtlpSignal | undefined
    if (!signal || request.headers['content-type'] !== 'application/x-protobuf') {
      response.writeHead(signal ? 415 : 404).end()
      return
    }
    const bytes = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
    const json = otlpJson(signal, bytes) as OtlpJson
    const fault = this.take({ signal, path, json, headers: request.headers, bytes: bytes.length })
    if (fault === 'hang') return
    if (fault === 'reset') {
      request.socket.destroy()
      return
    }
    if (fault && 'answer' in fault) {
      response.writeHead(200, { 'content-type': fault.type ?? 'application/x-protobuf' }).end(fault.answer)
    } else if (fault && 'status' in fault) response.writeHead(fault.status, fault.headers).end(fault.body)
    else response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  }

  #call(signal: OtlpSignal, path: string, call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>): void {
    const bytes = call.request
    const json = otlpJson(signal, bytes) as OtlpJson
    const fault = this.take({ signal, path, json, headers: call.metadata.getMap(), bytes: bytes.length })
    if (fault === 'hang') return
    if (fault === 'reset') answer({ code: unavailable, details: 'gone', metadata: new Metadata() })
    else if (fault && 'grpc' in fault) {
      answer({ code: fault.grpc, details: fault.details ?? '', metadata: new Metadata() })
    } else answer(null, fault && 'answer' in fault ? fault.answer : Buffer.alloc(0))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close()
  }
}

const unavailable = 14
const services = {
  metrics: '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  logs: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  traces: '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
} as const

/** Listens on 127.0.0.1, on a free port if none is given. */
export async function startOtlp(
  protocol: 'grpc' | 'http',
  o: { readonly port?: number; readonly tls?: OtlpTls } = {},
): Promise<EmbeddedOtlp> {
  const server = new EmbeddedOtlp(protocol)
  if (protocol === 'grpc') await server.listenGrpc(o.port ?? 0, o.tls)
  else await server.listenHttp(o.port ?? 0, o.tls)
  return server
}

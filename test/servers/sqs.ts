/**
 * A small SQS server in this process, for tests, the demo and measurements: AWS JSON protocol, no signatures checked. Its
 * clock can be moved, each request made to fail, every message looked at.
 */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type SqsQueues, sqsActions } from './sqs-actions.ts'
import { type SendOptions, type SqsMessage, SqsQueue, type SqsWorld } from './sqs-queue.ts'
import {
  answer,
  type Fields,
  invalidParameter,
  readRequest,
  refuse,
  type SqsErrorAnswer,
  SqsRefusal,
  sqsErrors,
} from './sqs-wire.ts'

/** What happens to one request instead of, or around, an ordinary answer. */
export type SqsFault =
  /** An error answer; `sqsErrors` of sqs-wire.ts has the usual ones. */
  | SqsErrorAnswer
  /** Nothing is done, and no answer comes. */
  | 'hang'
  /** Nothing is done, and the connection breaks. */
  | 'reset'
  /** It is done, but the connection breaks before the answer: the client cannot know. */
  | 'resetAfter'
  /** Those entries of a batch for which it gives an error fail, under HTTP 200; the others are done. */
  | { readonly failEntries: (entry: Fields, index: number) => SqsErrorAnswer | undefined }
  | { readonly delayMs: number; readonly next?: SqsFault }

export interface SqsRequest {
  readonly action: string
  /** Counts the requests for this action, from 1. */
  readonly n: number
  readonly body: Fields
}

export type SqsFaultHook = (request: SqsRequest) => SqsFault | undefined | Promise<SqsFault | undefined>

export interface SqsOptions {
  /** The clock, in ms since 1970; the real one if left out. Call `advance(0)` after moving one of your own. */
  readonly nowMs?: () => number
  readonly port?: number
  readonly region?: string
  /** Messages in flight that a queue may have. */
  readonly inFlightLimit?: number
  /**
   * What becomes of a request with a receipt handle that is not the newest of its message, or that would change the visibility
   * of a visible message. AWS documents errors for both, yet may, for standard queues, answer 200 and do nothing ('ignore'):
   * https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_DeleteMessage.html,
   * https://github.com/localstack/localstack/pull/9632
   */
  readonly staleHandles?: 'refuse' | 'ignore'
  readonly fault?: SqsFaultHook
}

export interface SqsServer {
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string
  readonly port: number
  queueUrl(name: string): string
  queueArn(name: string): string
  /** Gives the URL. FIFO if the name ends in `.fifo`. Throws what CreateQueue would answer. */
  createQueue(name: string, attributes?: Readonly<Record<string, string>>): string
  /** Gives the id of the message. */
  send(name: string, body: string, o?: SendOptions): string
  /** Every message of a queue that is not deleted, in the order of their sending. The objects are live. */
  messages(name: string): readonly Readonly<SqsMessage>[]
  /** Moves the clock: timeouts and delays end, and so do long polls. */
  advance(ms: number): void
  nowMs(): number
  /** Set or replace it at any time. */
  fault: SqsFaultHook | undefined
  /** Every request is refused, with 403, until `allow`. */
  deny(error?: SqsErrorAnswer): void
  allow(): void
  /** Requests by action, refused ones too. */
  readonly counters: Readonly<Partial<Record<string, number>>>
  /** What was asked, in order; empty it at will. Not kept if `record` is false. */
  readonly calls: SqsRequest[]
  record: boolean
  /** Long polls that wait for a message. */
  readonly waiting: number
  /** Closes the port and breaks open connections; the queues stay, for `start`. */
  stop(): Promise<void>
  /** Listens again, on the same port. */
  start(): Promise<void>
  /** As `stop`; for good. */
  close(): Promise<void>
}

/** Starts on 127.0.0.1, on a free port unless one is given. */
export async function startSqs(o: SqsOptions = {}): Promise<SqsServer> {
  const server = new Server(o)
  await server.start()
  return server
}

class Server implements SqsServer, SqsQueues, SqsWorld {
  port: number
  fault: SqsFaultHook | undefined
  readonly counters: Partial<Record<string, number>> = {}
  readonly calls: SqsRequest[] = []
  record = true
  waiting = 0
  readonly byName = new Map<string, SqsQueue>()
  readonly inFlightLimit: number
  readonly staleHandles: 'refuse' | 'ignore'
  readonly #region: string
  readonly #realNow: () => number
  #aheadMs = 0
  #denied: SqsErrorAnswer | undefined
  readonly #http = createServer((incoming, response) => {
    this.#serve(incoming, response).catch((error: unknown) => {
      if (response.destroyed) return
      // The client left, or this server (or a hook) is broken: the latter must be seen.
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error)
      if (response.headersSent) response.destroy()
      else response.writeHead(500, { 'content-type': 'text/plain' }).end(`test server: ${message}`)
    })
  })

  constructor(o: SqsOptions) {
    this.port = o.port ?? 0
    this.fault = o.fault
    this.inFlightLimit = o.inFlightLimit ?? 120_000
    this.staleHandles = o.staleHandles ?? 'refuse'
    this.#region = o.region ?? 'us-east-1'
    this.#realNow = o.nowMs ?? Date.now
    this.#http.keepAliveTimeout = 60_000
  }

  async start(): Promise<void> {
    this.#http.listen(this.port, '127.0.0.1')
    await once(this.#http, 'listening')
    this.port = (this.#http.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    if (!this.#http.listening) return
    const closed = once(this.#http, 'close')
    this.#http.close()
    this.#http.closeAllConnections()
    await closed
  }

  close(): Promise<void> {
    return this.stop()
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.port}`
  }

  queueUrl(name: string): string {
    return `${this.endpoint}/${account}/${name}`
  }

  queueArn(name: string): string {
    return `arn:aws:sqs:${this.#region}:${account}:${name}`
  }

  queueOfArn(arn: string): SqsQueue | undefined {
    const queue = this.byName.get(arn.slice(arn.lastIndexOf(':') + 1))
    return queue?.arn === arn ? queue : undefined
  }

  create(name: string, attributes: ReadonlyMap<string, string>): SqsQueue {
    const fifo = attributes.get('FifoQueue')
    if (!/^[\w-]{1,80}$|^[\w-]{1,75}\.fifo$/.test(name) || (fifo === 'true') !== name.endsWith('.fifo')) {
      const message =
        'Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length; ' +
        'the name of a FIFO queue, and of no other, ends in .fifo.'
      throw new SqsRefusal(invalidParameter(message))
    }
    const queue = new SqsQueue(name, this.queueArn(name), attributes, this)
    this.byName.set(name, queue)
    return queue
  }

  createQueue(name: string, attributes: Readonly<Record<string, string>> = {}): string {
    const fifo = name.endsWith('.fifo') ? { FifoQueue: 'true' } : {}
    this.create(name, new Map(Object.entries({ ...fifo, ...attributes })))
    return this.queueUrl(name)
  }

  send(name: string, body: string, o?: SendOptions): string {
    return this.#queue(name).send(body, o).id
  }

  messages(name: string): readonly Readonly<SqsMessage>[] {
    return this.#queue(name).messages()
  }

  #queue(name: string): SqsQueue {
    const queue = this.byName.get(name)
    if (!queue) throw new Error(`no queue ${name}: call createQueue first`)
    return queue
  }

  nowMs(): number {
    return this.#realNow() + this.#aheadMs
  }

  advance(ms: number): void {
    this.#aheadMs += ms
    for (const queue of this.byName.values()) queue.clockMoved()
  }

  deny(error: SqsErrorAnswer = sqsErrors.accessDenied): void {
    this.#denied = error
  }

  allow(): void {
    this.#denied = undefined
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController()
    response.once('close', () => left.abort())
    try {
      const { action, body } = await readRequest(incoming)
      const n = (this.counters[action] ?? 0) + 1
      this.counters[action] = n
      const request = { action, n, body }
      if (this.record) this.calls.push(request)
      if (this.#denied) throw new SqsRefusal(this.#denied)
      const asked = this.fault?.(request)
      await this.#act(request, response, asked instanceof Promise ? await asked : asked, left.signal)
    } catch (error) {
      if (!(error instanceof SqsRefusal)) throw error
      refuse(response, error.answer)
    }
  }

  async #act(
    request: SqsRequest,
    response: ServerResponse,
    fault: SqsFault | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    if (fault === 'hang') return
    if (fault === 'reset') return void response.socket?.resetAndDestroy()
    if (typeof fault === 'object' && 'delayMs' in fault) {
      await sleep(fault.delayMs, undefined, { signal })
      return this.#act(request, response, fault.next, signal)
    }
    if (typeof fault === 'object' && 'status' in fault) throw new SqsRefusal(fault)
    const act = sqsActions[request.action]
    if (!act) {
      const message = `The action ${request.action} is not valid for this endpoint.`
      throw new SqsRefusal({ status: 400, code: 'InvalidAction', message })
    }
    const failure = typeof fault === 'object' ? fault.failEntries : () => undefined
    const result = act(this, { body: request.body, signal, failure })
    const waits = result instanceof Promise
    if (waits) this.waiting += 1
    try {
      const done = waits ? await result : result
      if (fault === 'resetAfter') response.socket?.resetAndDestroy()
      else answer(response, done)
    } finally {
      if (waits) this.waiting -= 1
    }
  }
}

const account = '000000000000'

/** `http`: batches as POST requests, to whichever of the endpoints is least busy. */
import * as z from 'zod'
import { urlWithoutSecrets } from '../config/hidden.ts'
import { recordAt } from '../core/block.ts'
import type {
  Batch,
  BatchLimits,
  Context,
  Definition,
  Dependency,
  Finding,
  Refused,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { arrayBody, ndjsonBody } from './http-body.ts'
import { basicHeader } from './http-endpoints.ts'
import { basicAuth, bearerAuth, HttpSender, senderFields } from './http-sender.ts'
import { batchField } from './sink-fields.ts'

/** The keys that every HTTP-shaped sink of lines has. */
export const httpFields = {
  ...senderFields,
  body_mode: z.enum(['ndjson', 'single', 'array']).default('ndjson').meta({
    description: '`ndjson`: one record per line; `single`: one POST per record; `array`: one JSON array per POST.',
  }),
  content_type: z
    .string()
    .optional()
    .meta({ description: "Content-Type of every request; without it, the format's own." }),
  auth: z.discriminatedUnion('type', [bearerAuth, basicAuth]).optional().meta({ description: 'Authentication.' }),
  batch: batchField({ records: 1000, bytes: '1MiB', maxBytes: '10MiB' }),
}

export const httpConfig = z.strictObject({ type: z.literal('http'), ...httpFields })
export type HttpConfig = z.output<typeof httpConfig>

/** The settings of an HTTP-shaped sink, without the `type`. */
export type HttpSettings = Omit<HttpConfig, 'type'>

export class HttpSink implements Sink {
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #config: HttpSettings
  readonly #sender: HttpSender
  /** body_mode single: how far a batch that is written again had come, so that only the rest is sent. */
  readonly #progress = new WeakMap<Batch, Map<number, StreamError | undefined>>()

  constructor(config: HttpSettings, context: Context) {
    const { auth, batch, retry } = config
    this.#config = config
    this.maxInFlight = config.max_in_flight
    // The brackets of an array are bytes too.
    const bytes = config.body_mode === 'array' ? Math.max(1, batch.bytes - 1) : batch.bytes
    this.limits = { records: batch.records, bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    const authorization =
      auth &&
      (auth.type === 'bearer' ? `Bearer ${auth.token.reveal()}` : basicHeader(auth.username, auth.password.reveal()))
    this.#sender = new HttpSender(config, { kind: 'http', authorization, batchBytes: batch.bytes }, context)
  }

  async check(o: Signal): Promise<void> {
    await this.#sender.check(o)
  }

  get dependencies(): readonly Dependency[] {
    return this.#sender.dependencies
  }

  examine(o: Signal): AsyncIterable<Finding> {
    return this.#sender.examine(o)
  }

  sample(): void {
    this.#sender.sample()
  }

  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const refused =
      this.#config.body_mode === 'single' ? await this.#writeEach(batch, o) : await this.#writeWhole(batch, o)
    this.#sender.accepted(batch.count - (refused?.size ?? 0), batch.bytes)
    return refused
  }

  async #writeWhole(batch: Batch, o: Signal): Promise<undefined> {
    const body = this.#config.body_mode === 'array' ? arrayBody(batch) : ndjsonBody(batch)
    await this.#post(body, this.#config.body_mode === 'array' ? 'application/json' : batch.contentType, o)
  }

  /** One request for each record; what was accepted before a transient failure is not sent again with the same batch. */
  async #writeEach(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const done = this.#progress.get(batch) ?? new Map<number, StreamError | undefined>()
    this.#progress.set(batch, done)
    let index = 0
    for (const { block, from, to } of batch.parts) {
      for (let i = from; i < to; i += 1, index += 1) {
        if (done.has(index)) continue
        try {
          await this.#post(recordAt(block, i), batch.contentType, o)
          done.set(index, undefined)
        } catch (error) {
          if (!(error instanceof StreamError) || (error.kind !== 'permanent' && error.kind !== 'too_large')) throw error
          done.set(index, error)
        }
      }
    }
    const refused = new Map([...done].flatMap(([i, error]) => (error ? [[i, error] as const] : [])))
    return refused.size > 0 ? refused : undefined
  }

  async #post(body: Buffer | Buffer[], contentType: string, o: Signal): Promise<void> {
    await this.#sender.post(body, { 'content-type': this.#config.content_type ?? contentType }, o)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender[Symbol.asyncDispose]()
  }
}

/** What all HTTP-shaped sinks do, for their reference pages. */
export const httpNotes = `A batch goes to the endpoint with the fewest requests under way. If that one fails (no connection, reset, time-out, 408, 425, 429, 5xx),
the others are tried at once; if all fail, the batch waits (exponential backoff with full jitter, \`Retry-After\` obeyed) and is sent again, for ever.

- An endpoint that fails three times in a row is left alone for a growing pause, then tried with a single request.
- 401, 403, 404, 405, 407 and redirects pause the endpoint longer and are logged as an error once.
- 413 splits the batch; a single record that is too large goes to quarantine.
- 400, 415, 422 and other 4xx put the batch in quarantine with the words of the receiver.

\`body_mode: ndjson\` sends records byte for byte, one a line; a record of several lines becomes \`{"message":"…"}\`. \`array\` sends one JSON array; records
that are no JSON become strings. \`single\` sends one request for each record.`

export const httpSink: Definition<typeof httpConfig, Sink> = {
  type: 'http',
  summary: 'Posts batches of records to HTTP endpoints, balanced and retried.',
  notes: `${httpNotes}

**Guarantee**: at least once. A 2xx answer counts as accepted; what the receiver does then is its affair.`,
  config: httpConfig,
  place: ({ endpoints }) => endpoints.map(urlWithoutSecrets).join(', '),
  examples: [
    {
      title: 'Two receivers with a token',
      config: {
        type: 'http',
        endpoints: ['https://logs-a.example.com/ingest', 'https://logs-b.example.com/ingest'],
        auth: { type: 'bearer', token: '${LOG_TOKEN}' },
        compression: 'gzip',
      },
    },
  ],
  create: (config, context) => new HttpSink(config, context),
}

/** `elasticsearch`: batches as `_bulk` requests to Elasticsearch or OpenSearch. */
import { urlWithoutSecrets } from '../config/hidden.ts'
import type {
  Batch,
  BatchLimits,
  Bound,
  Context,
  Definition,
  Dependency,
  Finding,
  Log,
  MetricSpec,
  Refused,
  RetryWaits,
  Signal,
  Sink,
} from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import {
  answerFields,
  BulkProgress,
  type ItemCounts,
  isOperatorMatter,
  refuseRest,
  settleItems,
} from './elasticsearch-answer.ts'
import { BulkEncoder } from './elasticsearch-body.ts'
import { checkNode, checkTarget, withHint } from './elasticsearch-check.ts'
import { type ElasticsearchConfig, elasticsearchConfig } from './elasticsearch-config.ts'
import { hasPlaceholder, indexAt } from './elasticsearch-index.ts'
import { basicHeader, type Endpoint } from './http-endpoints.ts'
import { HttpSender } from './http-sender.ts'
import { createSigner } from './sigv4.ts'

export const elasticsearchMetrics = {
  elasticsearch_items_retried_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records that the server could not take just then and that were sent again.',
  },
  elasticsearch_items_existing_total: {
    kind: 'counter',
    unit: '{record}',
    help: 'Records that were there already (409), from an earlier try.',
  },
  elasticsearch_items_refused_total: { kind: 'counter', unit: '{record}', help: 'Records refused for good.' },
} as const satisfies Record<string, MetricSpec>

const nothing = () => undefined
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

class ElasticsearchSink implements Sink {
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry: RetryWaits
  readonly #config: ElasticsearchConfig
  readonly #sender: HttpSender
  readonly #encoder: BulkEncoder
  readonly #metrics: Bound<typeof elasticsearchMetrics>
  readonly #log: Log
  readonly #path: string
  /** Where the records go, for messages. */
  readonly #target: string
  /** How far a batch that is written again had come. */
  readonly #progress = new WeakMap<Batch, BulkProgress>()

  constructor(config: ElasticsearchConfig, context: Context) {
    const { auth, batch, retry, index, data_stream, document_id, endpoints } = config
    this.#config = config
    this.#log = context.log
    this.maxInFlight = config.max_in_flight
    this.limits = { records: batch.records, bytes: batch.bytes, lingerMs: batch.linger }
    this.retry = { minMs: retry.min, maxMs: retry.max }
    this.#metrics = context.meter.bind(elasticsearchMetrics, {})
    const sign = auth?.type === 'sigv4' ? createSigner(auth, endpoints) : undefined
    const authorization = authorizationOf(auth)
    // Asked every few seconds: who it is need not be told each time.
    const ask = (endpoint: Endpoint, o: Signal) => checkNode(endpoint, config, silent, o)
    this.#sender = new HttpSender(
      config,
      { kind: 'elasticsearch', authorization, sign, batchBytes: batch.bytes, ask },
      context,
    )
    const template = index !== undefined && hasPlaceholder(index) ? index : undefined
    this.#encoder = new BulkEncoder({
      // Data streams take nothing but `create`.
      action: document_id === 'auto' || data_stream !== undefined ? 'create' : 'index',
      indexAt: template === undefined ? undefined : (timeMs) => indexAt(template, timeMs),
      hasIds: document_id === 'auto',
      hasTimestamps: data_stream !== undefined,
    })
    this.#path = bulkPath(template === undefined ? (index ?? data_stream) : undefined, config.pipeline)
    const names = this.#sender.endpoints.map(({ name }) => name).join(', ')
    this.#target = `${data_stream === undefined ? 'index' : 'data stream'} "${index ?? data_stream}" of ${names}`
  }

  async check(o: Signal): Promise<void> {
    await this.#sender.check(o, (endpoint, o) => checkNode(endpoint, this.#config, this.#log, o))
    const [first] = this.#sender.endpoints
    if (first) await checkTarget(first, this.#config, this.#log, o)
  }

  get dependencies(): readonly Dependency[] {
    return this.#sender.dependencies
  }

  async *examine(o: Signal): AsyncGenerator<Finding> {
    // Who may write may be refused a HEAD.
    const isSigned = this.#config.auth?.type === 'sigv4'
    const answering = yield* this.#sender.examine({ ...o, isSigned, judgesStatus: false })
    const { examineCluster } = await import('./elasticsearch-examine.ts')
    yield* examineCluster(answering, this.#config, o)
  }

  sample(): void {
    this.#sender.sample()
  }

  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    const progress = this.#progress.get(batch) ?? new BulkProgress(batch.count)
    const body = this.#encoder.encode(batch, progress.settled)
    let counts: ItemCounts
    try {
      const answer = await this.#post(body, o)
      // Not after a failure: the socket may still be sending it.
      this.#encoder.recycle(body)
      counts = settleItems(answer, progress, this.#target)
    } catch (error) {
      // What earlier writes settled stays settled: only the rest was in this request.
      if (!(error instanceof StreamError) || error.kind !== 'permanent' || progress.left === batch.count) throw error
      counts = refuseRest(progress, error)
    }
    const { existing, refused, failure } = counts
    this.#metrics.elasticsearch_items_existing_total.add(existing)
    this.#metrics.elasticsearch_items_refused_total.add(refused)
    if (failure) {
      this.#progress.set(batch, progress)
      this.#metrics.elasticsearch_items_retried_total.add(progress.left)
      throw failure
    }
    this.#progress.delete(batch)
    this.#sender.accepted(batch.count - progress.refused.size, batch.bytes)
    return progress.refused.size > 0 ? progress.refused : undefined
  }

  async #post(body: Buffer, o: Signal): Promise<Buffer> {
    try {
      const headers = { 'content-type': 'application/x-ndjson' }
      return await this.#sender.post(body, headers, { ...o, path: this.#path, answer: true })
    } catch (error) {
      const hinted = withHint(error)
      if (!(hinted instanceof StreamError) || hinted.code !== 'sink.rejected' || !isOperatorMatter(hinted.message))
        throw hinted
      throw new StreamError('sink.access', hinted.message, { cause: hinted.cause, data: hinted.data })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sender[Symbol.asyncDispose]()
  }
}

function authorizationOf(auth: ElasticsearchConfig['auth']): string | undefined {
  if (auth?.type === 'basic') return basicHeader(auth.username, auth.password.reveal())
  if (auth?.type === 'bearer') return `Bearer ${auth.token.reveal()}`
  if (auth?.type !== 'api_key') return undefined
  const key = auth.api_key.reveal()
  // No base64 has a colon.
  return `ApiKey ${key.includes(':') ? Buffer.from(key).toString('base64') : key}`
}

/** A target in the path works where clusters forbid naming the index in the body (rest.action.multi.allow_explicit_index). */
function bulkPath(target: string | undefined, pipeline: string | undefined): string {
  // Every reserved character is escaped: signatures are made over this form.
  const escaped = (text: string) => encodeURIComponent(text).replaceAll('*', '%2A')
  const query = [`filter_path=${escaped(answerFields.join(','))}`]
  if (pipeline !== undefined) query.push(`pipeline=${escaped(pipeline)}`)
  return `${target === undefined ? '' : `/${escaped(target)}`}/_bulk?${query.join('&')}`
}

const notes = `Records go by \`_bulk\` to the node with the fewest requests under way; failing nodes are left alone for a while, and the others take over.

**Documents.** A record that is a JSON object is sent byte for byte (one of several lines without its line breaks). Any other record
becomes \`{"@timestamp":"…","message":"…"}\` with the time of its object. With \`data_stream\`, JSON objects without an \`@timestamp\` of their own get that
time too; with \`index\` they are left as they are. Bytes that are no UTF-8 become U+FFFD.

**Guarantee**: at least once, and each record is stored once as long as it goes to the same index: its \`_id\` is made of its object and its
number in it, and what is there already (409) counts as stored. An index with a date in its name is chosen by the time of the object, so
a record always goes to the same one. A data stream knows ids only within one backing index: a record that is sent again after a rollover is stored twice.
With \`document_id: none\` whatever is sent twice is stored twice.

**What becomes of refusals**, record by record:

- 429, 408 and 5xx: only those records are sent again, with the waits of \`retry\`, for ever.
- 401, 403, 404, closed or blocked indices, too many shards, a missing pipeline: tried again for ever, with an error that says what to do.
- Other 4xx (a field that does not fit the mapping, malformed JSON): the record goes to quarantine with the words of the server.
- 413 for a whole request splits the batch; a single record that is too large goes to quarantine. A request that is refused as a
  whole with another 4xx puts what it held in quarantine, unless the words are about settings.

Records that Elasticsearch moves to the failure store of a data stream count as stored.

**Privileges.** Elasticsearch: \`create_doc\` on the index or data stream, \`auto_configure\` if it is to be created; \`check\` also uses the cluster privilege
\`monitor\` and \`view_index_metadata\`, and does without. OpenSearch: \`indices:data/write/bulk*\`, \`indices:data/write/index\`, and \`indices:admin/create\` if it is to be
created. AWS domains: \`es:ESHttpPost\` and \`es:ESHttpGet\`; Serverless: \`aoss:APIAccessAll\`, and \`aoss:WriteDocument\`, \`aoss:CreateIndex\` and \`aoss:DescribeIndex\` in the data
access policy.

**Versions**: Elasticsearch 7 and later (data streams from 7.9), OpenSearch 1 and later, Amazon OpenSearch Service and Serverless. Time series and
vector collections of Serverless need \`document_id: none\`.`

export const elasticsearchSink: Definition<typeof elasticsearchConfig, Sink> = {
  type: 'elasticsearch',
  summary: 'Indexes records in Elasticsearch or OpenSearch, each once, by its own id.',
  notes,
  config: elasticsearchConfig,
  place: ({ endpoints, index, data_stream }) =>
    `${index ?? data_stream} of ${endpoints.map(urlWithoutSecrets).join(', ')}`,
  examples: [
    {
      title: 'An index a day, with an API key',
      config: {
        type: 'elasticsearch',
        endpoints: ['https://es-1.example.com:9200', 'https://es-2.example.com:9200'],
        index: 'logs-{yyyy}.{MM}.{dd}',
        auth: { type: 'api_key', api_key: '${ES_API_KEY}' },
        compression: 'gzip',
      },
    },
    {
      title: 'A data stream behind an ingest pipeline',
      config: {
        type: 'elasticsearch',
        endpoints: ['https://es.example.com:9200'],
        data_stream: 'logs-nginx.access-default',
        pipeline: 'nginx-access',
        auth: { type: 'basic', username: 'streamer', password: '${ES_PASSWORD}' },
      },
    },
    {
      title: 'A time series collection of OpenSearch Serverless',
      config: {
        type: 'elasticsearch',
        endpoints: ['https://abc123.eu-west-1.aoss.amazonaws.com'],
        index: 'logs-{yyyy}.{MM}',
        document_id: 'none',
        auth: { type: 'sigv4', service: 'aoss', role_arn: 'arn:aws:iam::123456789012:role/log-writer' },
      },
    },
  ],
  create: (config, context) => new ElasticsearchSink(config, context),
}

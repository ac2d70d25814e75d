/** What is asked of a cluster before anything is written to it: who it is, and whether it knows what the configuration names. */
import type { Log, Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { hintFor, statusHints } from './elasticsearch-answer.ts'
import type { ElasticsearchConfig } from './elasticsearch-config.ts'
import { hasPlaceholder } from './elasticsearch-index.ts'
import type { Endpoint } from './http-endpoints.ts'

/** The first Elasticsearch whose `_bulk` needs no mapping types. */
const oldestMajor = 7

/**
 * Asks one node for its name and version. Throws config.invalid if it is something else or too old, else what the
 * endpoint throws, with what to do. Elasticsearch lets only those ask who have the cluster privilege `monitor`, and
 * OpenSearch Serverless has no such answer: then it is only logged that the version is not known.
 */
export async function checkNode(endpoint: Endpoint, config: ElasticsearchConfig, log: Log, o: Signal): Promise<void> {
  const { auth } = config
  let answer: unknown
  try {
    answer = await getJson(endpoint, '/', o)
  } catch (error) {
    const status = statusOf(error)
    if (auth?.type === 'sigv4' && auth.service === 'aoss' && status === 404) {
      log.info({ endpoint: endpoint.name }, 'connected to OpenSearch Serverless')
      return
    }
    if (auth && auth.type !== 'sigv4' && status === 403) {
      log.warn({ endpoint: endpoint.name }, 'known there, but not allowed to ask for the version (privilege monitor)')
      return
    }
    throw withHint(error)
  }
  const { version } = (answer ?? {}) as { version?: { number?: unknown; distribution?: unknown } }
  const number = version?.number
  if (typeof number !== 'string')
    throw new StreamError(
      'config.invalid',
      `${endpoint.name} is neither Elasticsearch nor OpenSearch (check \`endpoints\`)`,
    )
  const isOpenSearch = version?.distribution === 'opensearch'
  const server = isOpenSearch ? 'OpenSearch' : 'Elasticsearch'
  if (!isOpenSearch && Number.parseInt(number, 10) < oldestMajor)
    throw new StreamError(
      'config.invalid',
      `${endpoint.name} is Elasticsearch ${number}: ${oldestMajor}.0 or later is needed`,
    )
  log.info({ endpoint: endpoint.name, server, version: number }, 'connected to the cluster')
}

/**
 * Proves that what the configuration names is there, as far as we may ask. Throws config.invalid for a data stream that
 * nothing would create and for a missing pipeline.
 */
export async function checkTarget(endpoint: Endpoint, config: ElasticsearchConfig, log: Log, o: Signal): Promise<void> {
  const { index, data_stream, pipeline } = config
  const asked = async (what: string, path: string): Promise<unknown> => {
    try {
      return (await getJson(endpoint, path, o)) ?? {}
    } catch (error) {
      const status = statusOf(error)
      if (status === 404) return undefined
      if (status !== 403) throw withHint(error)
      log.warn({ endpoint: endpoint.name }, `not allowed to ask whether ${what} exists; the first write will tell`)
      return {}
    }
  }
  if (pipeline !== undefined) {
    const path = `/_ingest/pipeline/${encodeURIComponent(pipeline)}`
    if ((await asked(`pipeline ${pipeline}`, path)) === undefined)
      throw new StreamError(
        'config.invalid',
        `${endpoint.name} has no ingest pipeline "${pipeline}" (create it with PUT ${path}, or correct \`pipeline\`)`,
      )
  }
  if (index !== undefined && !hasPlaceholder(index)) {
    if ((await asked(`index ${index}`, `/${index}?filter_path=*.aliases`)) === undefined)
      log.warn({ index }, 'there is no such index yet: the first record creates it, if the cluster lets it')
  }
  if (data_stream === undefined) return
  const stream = await asked(`data stream ${data_stream}`, `/_data_stream/${data_stream}?filter_path=data_streams.name`)
  if (stream !== undefined) return
  const templates = await asked('an index template', '/_index_template')
  if (templates !== undefined && !isTemplates(templates)) return
  if (templates === undefined || !makesDataStream(templates.index_templates, data_stream))
    throw new StreamError(
      'config.invalid',
      `${endpoint.name} has no data stream "${data_stream}", and no index template would make it one (create a template with PUT /_index_template/… {"index_patterns":["${data_stream}"],"data_stream":{}})`,
    )
  log.info({ dataStream: data_stream }, 'there is no such data stream yet: the first record creates it')
}

interface Templates {
  readonly index_templates: ReadonlyArray<{
    readonly index_template: {
      readonly index_patterns: readonly string[]
      readonly priority?: number
      readonly data_stream?: object
    }
  }>
}

function isTemplates(answer: unknown): answer is Templates {
  return Array.isArray((answer as Partial<Templates>).index_templates)
}

/** The matching template of the highest priority decides alone. */
function makesDataStream(templates: Templates['index_templates'], name: string): boolean {
  let best: Templates['index_templates'][number]['index_template'] | undefined
  for (const { index_template } of templates) {
    if (!index_template.index_patterns.some((pattern) => matches(pattern, name))) continue
    if (!best || (index_template.priority ?? 0) > (best.priority ?? 0)) best = index_template
  }
  return best?.data_stream !== undefined
}

/** Index patterns know `*` only. */
function matches(pattern: string, name: string): boolean {
  const pieces = pattern.split('*').map((piece) => piece.replaceAll(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${pieces.join('.*')}$`, 's').test(name)
}

async function getJson(endpoint: Endpoint, path: string, o: Signal): Promise<unknown> {
  const answer = await endpoint.get(path, o)
  try {
    return JSON.parse(answer.toString())
  } catch (error) {
    throw new StreamError(
      'config.invalid',
      `${endpoint.name} answers GET ${path} with no JSON: it is neither Elasticsearch nor OpenSearch (check \`endpoints\`)`,
      { cause: error },
    )
  }
}

function statusOf(error: unknown): unknown {
  return error instanceof StreamError ? error.data.status : undefined
}

/** The same error, with what to do about it. */
export function withHint(error: unknown): unknown {
  if (!(error instanceof StreamError)) return error
  const { status } = error.data
  if (typeof status !== 'number') return error
  const hint = hintFor(error.message, status === 404 || status === 405 ? 'check `endpoints`' : statusHints[status])
  if (hint === '') return error
  const { code, cause, data, retryAfterMs } = error
  return new StreamError(code, `${error.message}${hint}`, { cause, data, retryAfterMs })
}

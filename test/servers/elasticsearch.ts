/**
 * An Elasticsearch or OpenSearch node as far as writers see it: `_bulk`, parsed as strictly as the real ones do, and the
 * questions a check asks. Documents are kept by index and id; faults are told from outside.
 */
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

export interface BulkDocument {
  readonly index: string
  readonly id: string
  /** The line as it came. */
  readonly source: string
  readonly pipeline: string | undefined
}

export interface BulkRequest {
  readonly method: string
  readonly url: string
  readonly headers: IncomingHttpHeaders
  /** As it came, compressed or not. */
  readonly body: Buffer
}

/** As in http-input.ts: `reset` before anything is stored, `resetAfter` when all is stored. */
export type BulkFault =
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  | { readonly delayMs: number }
  | 'reset'
  | 'resetAfter'
  | 'hang'

export interface ItemFault {
  readonly status: number
  readonly type: string
  readonly reason: string
}

export interface ElasticsearchOptions {
  readonly port?: number
  readonly flavor?: 'elasticsearch' | 'opensearch'
  readonly version?: string
  /** Value the Authorization header must have. */
  readonly authorization?: string
  /** False: action.auto_create_index is off. */
  readonly autoCreate?: boolean
  /** False: rest.action.multi.allow_explicit_index is off. */
  readonly allowExplicitIndex?: boolean
  readonly maxContentBytes?: number
  readonly indices?: readonly string[]
  readonly dataStreams?: readonly string[]
  readonly pipelines?: readonly string[]
  /** Patterns of index templates; those with `data_stream` make data streams. */
  readonly templates?: ReadonlyArray<{ pattern: string; priority?: number; isDataStream: boolean }>
  /** Keeps no documents: counts lines and bytes, and accepts everything. */
  readonly countOnly?: boolean
}

export class Elasticsearch {
  readonly url: string
  readonly port: number
  /** In the order in which they were stored. */
  readonly documents: BulkDocument[]
  /** Every `_bulk` request, the failed ones too; empty if only counts are kept. */
  readonly bulks: BulkRequest[] = []
  /** Ids that were there already. */
  conflicts = 0
  /** Of accepted requests, if only counts are kept. */
  records = 0
  bytes = 0
  /** Called for each `_bulk` request, counted from 0. */
  requestFault: (n: number) => BulkFault | undefined = () => undefined
  /** Called for each item before it is stored. */
  itemFault: (document: BulkDocument) => ItemFault | undefined = () => undefined
  /** Called for each other request. */
  questionFault: (path: string) => number | undefined = () => undefined
  readonly options: ElasticsearchOptions
  readonly ids = new Set<string>()
  readonly #close: () => Promise<void>

  constructor(port: number, o: ElasticsearchOptions, documents: BulkDocument[], close: () => Promise<void>) {
    this.port = port
    this.url = `http://127.0.0.1:${port}`
    this.options = o
    this.documents = documents
    for (const { index, id } of documents) this.ids.add(`${index}/${id}`)
    this.#close = close
  }

  get sources(): string[] {
    return this.documents.map(({ source }) => source)
  }

  close(): Promise<void> {
    return this.#close()
  }
}

/** `documents` are those it has from before a restart. */
export async function startElasticsearch(
  o: ElasticsearchOptions = {},
  documents: BulkDocument[] = [],
): Promise<Elasticsearch> {
  const server = createServer((request, response) => void serve(node, request, response))
  server.keepAliveTimeout = 120_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(o.port ?? 0, '127.0.0.1', resolve)
  })
  const close = async () => {
    server.closeAllConnections()
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  const node = new Elasticsearch((server.address() as AddressInfo).port, o, documents, close)
  return node
}

/** An answer that is no success, in the words of the server. */
class Refusal extends Error {
  readonly status: number
  readonly type: string
  constructor(status: number, type: string, reason: string) {
    super(reason)
    this.status = status
    this.type = type
  }
}

async function serve(node: Elasticsearch, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { options: o } = node
  const url = new URL(request.url ?? '/', node.url)
  const isBulk = request.method === 'POST' && /^(\/[^/]+)?\/_bulk$/.test(url.pathname)
  const fault = isBulk ? node.requestFault(node.bulks.length) : undefined
  if (fault === 'reset') {
    request.socket.resetAndDestroy()
    return
  }
  const chunks: Buffer[] = []
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
  } catch {
    return
  }
  const body = Buffer.concat(chunks)
  if (isBulk && !o.countOnly) {
    const { method = '', headers } = request
    node.bulks.push({ method, url: request.url ?? '', headers, body })
  }
  if (fault === 'hang') return
  if (typeof fault === 'object' && 'status' in fault) {
    response.writeHead(fault.status, fault.headers).end(fault.body ?? '')
    return
  }
  if (typeof fault === 'object') await new Promise((resolve) => setTimeout(resolve, fault.delayMs))
  const send = (status: number, answer: object) => {
    const filtered = filterPath(answer, url.searchParams.get('filter_path'))
    const headers = { 'content-type': 'application/json', ...(status === 401 ? { 'www-authenticate': 'Basic' } : {}) }
    response.writeHead(status, headers).end(JSON.stringify(filtered))
  }
  try {
    if (o.authorization !== undefined && request.headers.authorization !== o.authorization)
      throw new Refusal(401, 'security_exception', `unable to authenticate user for REST request [${url.pathname}]`)
    if (isBulk && body.length > (o.maxContentBytes ?? 104_857_600)) {
      response.writeHead(413).end()
      return
    }
    const answer = isBulk ? bulk(node, request, url, body) : question(node, url.pathname)
    if (fault === 'resetAfter') request.socket.resetAndDestroy()
    else send(200, answer)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    const { status, type, message: reason } = error
    send(status, { error: { root_cause: [{ type, reason }], type, reason }, status })
  }
}

function bulk(node: Elasticsearch, request: IncomingMessage, url: URL, raw: Buffer): object {
  const type = request.headers['content-type']?.split(';')[0]
  if (type !== 'application/x-ndjson' && type !== 'application/json')
    throw new Refusal(406, 'media_type_header_exception', `Content-Type header [${type}] is not supported`)
  const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(raw) : raw
  if (node.options.countOnly) return counted(node, body)
  if (body.length === 0) throw new Refusal(400, 'parse_exception', 'request body is required')
  if (body.at(-1) !== 10)
    throw new Refusal(400, 'illegal_argument_exception', 'The bulk request must be terminated by a newline [\\n]')
  const path = url.pathname.split('/')
  const target = path.length === 3 ? decodeURIComponent(path[1] as string) : undefined
  const lines = linesOf(body)
  const items: object[] = []
  for (let line = 0; line < lines.length; line += 2) {
    const [action, fields] = actionOf(lines[line] as Buffer, line + 1)
    if (fields._index !== undefined && node.options.allowExplicitIndex === false)
      throw new Refusal(400, 'illegal_argument_exception', 'explicit index in bulk is not allowed')
    const index = fields._index ?? target
    if (index === undefined)
      throw new Refusal(400, 'action_request_validation_exception', 'Validation Failed: 1: index is missing;')
    if (line + 1 >= lines.length)
      throw new Refusal(400, 'illegal_argument_exception', 'The bulk request must have a source for every action')
    const pipeline = fields.pipeline ?? url.searchParams.get('pipeline') ?? undefined
    items.push({ [action]: itemOf(node, action, index, fields._id, lines[line + 1] as Buffer, pipeline) })
  }
  return { took: 3, errors: items.some((item) => 'error' in (Object.values(item)[0] as object)), items }
}

function counted(node: Elasticsearch, body: Buffer): object {
  let lines = 0
  for (let at = body.indexOf(10); at >= 0; at = body.indexOf(10, at + 1)) lines += 1
  node.records += lines / 2
  node.bytes += body.length
  const item = { create: { status: 201 } }
  return { errors: false, items: Array.from({ length: lines / 2 }, () => item) }
}

function linesOf(body: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let from = 0; from < body.length; ) {
    const to = body.indexOf(10, from)
    lines.push(body.subarray(from, to))
    from = to + 1
  }
  return lines
}

type Action = 'create' | 'index'
interface ActionFields {
  readonly _index?: string
  readonly _id?: string
  readonly pipeline?: string
}

function actionOf(line: Buffer, number: number): [Action, ActionFields] {
  const malformed = (why: string) =>
    new Refusal(400, 'illegal_argument_exception', `Malformed action/metadata line [${number}], ${why}`)
  const parsed = jsonObject(line)
  if (!parsed) throw malformed('expected START_OBJECT')
  const entries = Object.entries(parsed)
  const [action, fields] = entries[0] ?? []
  if (entries.length !== 1) throw malformed('expected FIELD_NAME')
  if (action !== 'create' && action !== 'index')
    throw malformed(`expected field [create], [delete], [index] or [update] but found [${action}]`)
  for (const name of Object.keys(fields as object)) {
    if (!['_index', '_id', 'pipeline', 'routing'].includes(name))
      throw new Refusal(
        400,
        'illegal_argument_exception',
        `Action/metadata line [${number}] contains an unknown parameter [${name}]`,
      )
  }
  return [action, fields as ActionFields]
}

function itemOf(
  node: Elasticsearch,
  action: Action,
  index: string,
  givenId: string | undefined,
  line: Buffer,
  pipeline: string | undefined,
): object {
  const { options: o } = node
  const id = givenId ?? `made-up-${node.documents.length}`
  const document: BulkDocument = { index, id, source: line.toString(), pipeline }
  const isStream = o.dataStreams?.includes(index) ?? false
  try {
    const fault = node.itemFault(document)
    if (fault) throw new Refusal(fault.status, fault.type, fault.reason)
    if (Buffer.byteLength(id) > 512)
      throw new Refusal(400, 'illegal_argument_exception', `id [${id}] is too long, must be no longer than 512 bytes`)
    if (pipeline !== undefined && !o.pipelines?.includes(pipeline))
      throw new Refusal(400, 'illegal_argument_exception', `pipeline with id [${pipeline}] does not exist`)
    if (o.autoCreate === false && !isStream && !o.indices?.includes(index))
      throw new Refusal(
        404,
        'index_not_found_exception',
        `no such index [${index}] and [action.auto_create_index] is [false]`,
      )
    if (index !== index.toLowerCase())
      throw new Refusal(400, 'invalid_index_name_exception', `Invalid index name [${index}], must be lowercase`)
    if (isStream && action !== 'create')
      throw new Refusal(
        400,
        'illegal_argument_exception',
        'only write ops with an op_type of create are allowed in data streams',
      )
    const parsed = jsonObject(line)
    if (!parsed) throw new Refusal(400, 'document_parsing_exception', '[1:1] failed to parse')
    if (isStream && typeof parsed['@timestamp'] !== 'string')
      throw new Refusal(400, 'document_parsing_exception', 'data stream timestamp field [@timestamp] is missing')
    const key = `${index}/${id}`
    if (action === 'create' && node.ids.has(key)) {
      node.conflicts += 1
      throw new Refusal(409, 'version_conflict_engine_exception', `[${id}]: version conflict, document already exists`)
    }
    node.ids.add(key)
    node.documents.push(document)
    return { _index: index, _id: id, _version: 1, result: 'created', _seq_no: node.documents.length, status: 201 }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { _index: index, _id: id, status: error.status, error: { type: error.type, reason: error.message } }
  }
}

/** Bytes that are no UTF-8 are an error to the real parser too. */
function jsonObject(line: Buffer): Record<string, unknown> | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(line)
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
    return parsed as Record<string, unknown>
  } catch {
    return undefined
  }
}

function question(node: Elasticsearch, path: string): object {
  const { options: o } = node
  const status = node.questionFault(path)
  if (status !== undefined)
    throw new Refusal(status, 'security_exception', `action is unauthorized for user [writer] [${path}]`)
  const named = (list: readonly string[] | undefined, name: string, answer: object): object => {
    if (list?.includes(name)) return answer
    throw new Refusal(404, 'index_not_found_exception', `no such index [${name}]`)
  }
  if (path === '/') {
    const isOpenSearch = o.flavor === 'opensearch'
    const number = o.version ?? (isOpenSearch ? '2.19.0' : '8.17.0')
    const version = { ...(isOpenSearch ? { distribution: 'opensearch' } : {}), number, build_flavor: 'default' }
    return { name: 'node-1', cluster_name: 'test', version, tagline: 'You Know, for Search' }
  }
  const [, first = '', second = '', third = ''] = path.split('/').map(decodeURIComponent)
  if (first === '_data_stream') return named(o.dataStreams, second, { data_streams: [{ name: second }] })
  if (first === '_ingest') return named(o.pipelines, third, { [third]: { processors: [] } })
  if (first === '_index_template') {
    const templates = (o.templates ?? []).map(({ pattern, priority = 0, isDataStream }, i) => ({
      name: `template-${i}`,
      index_template: { index_patterns: [pattern], priority, ...(isDataStream ? { data_stream: {} } : {}) },
    }))
    return { index_templates: templates }
  }
  return named(o.indices, first, { [first]: { aliases: {}, mappings: {} } })
}

/**
 * Response filtering: `*` stands for any name at one level, arrays are looked through, and what becomes empty is left out,
 * items of arrays too. https://www.elastic.co/docs/reference/elasticsearch/rest-apis/common-options#common-options-response-filtering
 */
export function filterPath(answer: object, paths: string | null): object {
  if (paths === null) return answer
  return (filtered(
    answer,
    paths.split(',').map((path) => path.split('.')),
  ) ?? {}) as object
}

function filtered(value: unknown, paths: readonly (readonly string[])[]): unknown {
  if (paths.some((path) => path.length === 0)) return value
  if (Array.isArray(value)) {
    const kept = value.map((item) => filtered(item, paths)).filter((item) => item !== undefined)
    return kept.length > 0 ? kept : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  const kept = Object.entries(value).flatMap(([key, below]) => {
    const matching = paths.filter(([name]) => name === '*' || name === key).map((path) => path.slice(1))
    const one = matching.length > 0 ? filtered(below, matching) : undefined
    return one === undefined ? [] : [[key, one] as const]
  })
  return kept.length > 0 ? Object.fromEntries(kept) : undefined
}

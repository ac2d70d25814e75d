import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { type Elasticsearch, type ElasticsearchOptions, startElasticsearch } from '../../test/servers/elasticsearch.ts'
import { startHttpInput } from '../../test/servers/http-input.ts'
import { StreamError } from '../core/errors.ts'
import { elasticsearchSink } from './elasticsearch.ts'
import { elasticsearchConfig } from './elasticsearch-config.ts'

const live = { signal: new AbortController().signal }

/** What the check of a sink throws, and what it logs. */
async function check(endpoints: readonly string[], settings: object) {
  const lines: string[] = []
  const config = elasticsearchConfig.parse({ type: 'elasticsearch', endpoints, ...settings })
  await using sink = elasticsearchSink.create(config, testContext(lines))
  const error = await sink.check(live).then(
    () => undefined,
    (error: unknown) => error,
  )
  assert.ok(error === undefined || error instanceof StreamError, String(error))
  return { error, lines, log: lines.join('\n') }
}

async function checkWith(
  o: ElasticsearchOptions,
  settings: object,
  prepare: (node: Elasticsearch) => void = () => undefined,
) {
  const node = await startElasticsearch(o)
  prepare(node)
  try {
    const outcome = await check([node.url], settings)
    assert.equal(node.bulks.length, 0)
    return outcome
  } finally {
    await node.close()
  }
}

test('check tells Elasticsearch and OpenSearch apart and says their version', async () => {
  const elastic = await checkWith({ indices: ['logs'] }, { index: 'logs' })
  assert.equal(elastic.error, undefined)
  assert.match(elastic.log, /info connected to the cluster .*"server":"Elasticsearch","version":"8.17.0"/)
  const open = await checkWith({ flavor: 'opensearch', version: '1.3.0', indices: ['logs'] }, { index: 'logs' })
  assert.equal(open.error, undefined)
  assert.match(open.log, /"server":"OpenSearch","version":"1.3.0"/)
  const old = await checkWith({ version: '6.8.23' }, { index: 'logs' })
  assert.equal(old.error?.code, 'config.invalid')
  assert.match(old.error?.message ?? '', /is Elasticsearch 6.8.23: 7.0 or later is needed/)
  // So are several.
  const nodes = await Promise.all(['6.8.22', '6.8.23'].map((version) => startElasticsearch({ version })))
  const { error } = await check(
    nodes.map(({ url }) => url),
    { index: 'logs' },
  )
  await Promise.all(nodes.map((node) => node.close()))
  assert.equal(error?.code, 'config.invalid')
  assert.match(error?.message ?? '', /is Elasticsearch 6.8.22: 7.0 or later is needed/)
})

test('check names the node that does not answer, refuses us, or is something else', async () => {
  const dead = await startElasticsearch()
  await dead.close()
  const unreachable = await check([dead.url], { index: 'logs' })
  assert.equal(unreachable.error?.code, 'sink.unavailable')
  assert.match(unreachable.error?.message ?? '', new RegExp(dead.url))
  const wrong = await checkWith(
    { authorization: 'Basic right' },
    { index: 'logs', auth: { type: 'basic', username: 'u', password: 'secret word' } },
  )
  assert.equal(wrong.error?.code, 'sink.access')
  assert.match(wrong.error?.message ?? '', /answered 401: .*unable to authenticate.*\(check `auth`\)/)
  assert.doesNotMatch(`${wrong.error?.message} ${wrong.log}`, /secret word/)
  for (const body of ['<html>', '{"hello":"world"}', 'null']) {
    const other = await startHttpInput({ fault: () => ({ status: 200, body }) })
    const { error } = await check([other.url], { index: 'logs' }).finally(() => other.close())
    assert.equal(error?.code, 'config.invalid', body)
    assert.match(error?.message ?? '', /neither Elasticsearch nor OpenSearch/)
  }
})

test('who may write but not ask is let through, with a warning', async () => {
  const auth = { type: 'api_key', api_key: 'a:b' }
  const forbid = (node: Elasticsearch) => {
    node.questionFault = () => 403
  }
  const { error, lines } = await checkWith({}, { index: 'logs', pipeline: 'p', auth }, forbid)
  assert.equal(error, undefined)
  assert.equal(lines.filter((line) => line.startsWith('warn')).length, 3)
  // Without a name we are told so because nobody may ask without one.
  assert.equal((await checkWith({}, { index: 'logs' }, forbid)).error?.code, 'sink.access')
})

test('a missing index is a warning, unless its name has a date', async () => {
  const missing = await checkWith({}, { index: 'logs' })
  assert.equal(missing.error, undefined)
  assert.match(missing.log, /warn there is no such index yet: the first record creates it.*"index":"logs"/)
  const dated = await checkWith({}, { index: 'logs-{yyyy}' })
  assert.equal(dated.error, undefined)
  assert.doesNotMatch(dated.log, /no such index/)
})

test('a missing pipeline is an error of the configuration', async () => {
  const { error } = await checkWith({ indices: ['logs'] }, { index: 'logs', pipeline: 'a/b' })
  assert.equal(error?.code, 'config.invalid')
  assert.match(error?.message ?? '', /has no ingest pipeline "a\/b" \(create it with PUT \/_ingest\/pipeline\/a%2Fb/)
  assert.equal((await checkWith({ pipelines: ['p'] }, { index: 'logs', pipeline: 'p' })).error, undefined)
})

test('a data stream must be there, or the template that makes it', async () => {
  const settings = { data_stream: 'logs-a-default' }
  const stream = { pattern: 'logs-*-*', isDataStream: true, priority: 100 }
  assert.equal((await checkWith({ dataStreams: ['logs-a-default'] }, settings)).error, undefined)
  const made = await checkWith({ templates: [{ pattern: '*', isDataStream: false }, stream] }, settings)
  assert.equal(made.error, undefined)
  assert.match(made.log, /info there is no such data stream yet/)
  const none = [
    [],
    [{ pattern: 'other-*', isDataStream: true }],
    [{ pattern: 'logs-a-default', isDataStream: false, priority: 500 }, stream],
    [{ pattern: 'logs.a.default', isDataStream: true }],
  ]
  for (const templates of none) {
    const { error } = await checkWith({ templates }, settings)
    assert.equal(error?.code, 'config.invalid', JSON.stringify(templates))
    assert.match(error?.message ?? '', /has no data stream "logs-a-default".*create a template/)
  }
})

test('the settings say where records go, once, in a legal name', () => {
  const problemsOf = (settings: object) =>
    elasticsearchConfig
      .safeParse({ type: 'elasticsearch', endpoints: ['http://a:9200'], ...settings })
      .error?.issues.map(({ message }) => message)
      .join() ?? ''
  assert.equal(problemsOf({ index: 'logs-{yyyy}.{MM}' }), '')
  assert.equal(problemsOf({ data_stream: 'logs-a-default' }), '')
  assert.match(problemsOf({}), /either `index` or `data_stream`/)
  assert.match(problemsOf({ index: 'a', data_stream: 'b' }), /either `index` or `data_stream`/)
  assert.match(problemsOf({ index: 'Logs' }), /lower case/)
  assert.match(problemsOf({ data_stream: 'logs-{yyyy}' }), /rolls over by itself/)
  assert.match(problemsOf({ index: 'a', batch: { bytes: '200MiB' } }), /out of range/)
})

test('the examples are legal', () => {
  for (const { config } of elasticsearchSink.examples) assert.ok(elasticsearchConfig.parse(config))
})

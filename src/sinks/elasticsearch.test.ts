import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import type * as z from 'zod'
import {
  batchOf,
  batchOfParts,
  type SinkHarness,
  sinkConformance,
  someObject,
  testContext,
  untilAccepted,
} from '../../test/conformance/sink.ts'
import { type Elasticsearch, type ElasticsearchOptions, startElasticsearch } from '../../test/servers/elasticsearch.ts'
import { type Block, blockOf } from '../core/block.ts'
import type { Batch, Context, Origin, Sink } from '../core/component.ts'
import { Deliverer } from '../core/deliverer.ts'
import { StreamError } from '../core/errors.ts'
import { deliveryMetrics } from '../core/pipeline-metrics.ts'
import type { MemoryMeter } from '../telemetry/meter.ts'
import { elasticsearchSink } from './elasticsearch.ts'
import { objectHash } from './elasticsearch-body.ts'
import { elasticsearchConfig } from './elasticsearch-config.ts'

type Settings = Partial<Omit<z.input<typeof elasticsearchConfig>, 'type' | 'endpoints'>>
const live = { signal: new AbortController().signal }

function sinkOf(endpoints: readonly string[], settings: Settings = { index: 'logs' }, context = testContext()): Sink {
  const config = elasticsearchConfig.parse({ type: 'elasticsearch', endpoints, ...settings })
  return elasticsearchSink.create(config, context)
}

async function withNodes(o: ElasticsearchOptions[], body: (...nodes: Elasticsearch[]) => Promise<void>): Promise<void> {
  const nodes = await Promise.all(o.map((one) => startElasticsearch(one)))
  try {
    await body(...nodes)
  } finally {
    await Promise.all(nodes.map((node) => node.close()))
  }
}

/** A StreamError, or nothing if it resolves. */
const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => (error instanceof StreamError ? error : Promise.reject(error)),
  )

function metricsOf(context: Context): Record<string, number> {
  const series = (context.meter as MemoryMeter).snapshot()
  return Object.fromEntries(series.map(({ name, value }) => [name, value]))
}

/** The record a document was made of. */
function recordOf(source: string): string {
  const { message } = JSON.parse(source) as { message?: string }
  return message ?? source
}

/** Gives each block an object of its own, as blocks of different objects have: the suite uses the same numbers again and again. */
function withOwnObjects(sink: Sink): Sink {
  const objects = new WeakMap<Block, Origin>()
  const batches = new WeakMap<Batch, Batch>()
  let count = 0
  const renamed = (batch: Batch): Batch => {
    const parts = batch.parts.map((part) => {
      const object = objects.get(part.block) ?? { ...someObject, id: `object ${count}` }
      if (!objects.has(part.block)) count += 1
      objects.set(part.block, object)
      return { ...part, object }
    })
    return { ...batch, parts }
  }
  return {
    maxInFlight: sink.maxInFlight,
    limits: sink.limits,
    retry: sink.retry,
    dependencies: sink.dependencies,
    check: (o) => sink.check(o),
    examine: (o) => sink.examine(o),
    write: (batch, o) => {
      const known = batches.get(batch) ?? renamed(batch)
      batches.set(batch, known)
      return sink.write(known, o)
    },
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  }
}

async function harness(settings: Settings, wrap: (sink: Sink) => Sink): Promise<SinkHarness> {
  const options = { dataStreams: ['stream'] }
  let node = await startElasticsearch(options)
  return {
    sink: wrap(sinkOf([node.url], settings)),
    stored: () => node.sources.map(recordOf),
    failing: (on) => {
      node.requestFault = () => (on ? { status: 503 } : undefined)
    },
    refusing: (on) => {
      const fault = { status: 400, type: 'document_parsing_exception', reason: 'no such field' }
      node.itemFault = () => (on ? fault : undefined)
    },
    restart: async () => {
      const { port, documents } = node
      await node.close()
      node = await startElasticsearch({ ...options, port }, documents)
    },
    close: () => node.close(),
  }
}

sinkConformance('elasticsearch', () => harness({ index: 'logs-{yyyy}.{MM}.{dd}' }, withOwnObjects))
sinkConformance('elasticsearch without ids, gzip', () =>
  harness({ index: 'logs', document_id: 'none', compression: 'gzip' }, (sink) => sink),
)

test('requests go to the path of the index, or name it in each action if it has a date', async () => {
  await withNodes([{ pipelines: ['p 1'] }], async (node) => {
    await using fixed = sinkOf([`${node.url}/`], {
      index: 'logs+a',
      pipeline: 'p 1',
      auth: { type: 'bearer', token: 't' },
    })
    await using dated = sinkOf([node.url], { index: 'logs-{yyyy}.{MM}.{dd}-{HH}', compression: 'gzip' })
    const batch = batchOf(blockOf(['{"a":1}', 'b']))
    await fixed.write(batch, live)
    await dated.write(batch, live)
    const [first, second] = node.bulks
    const filter =
      'filter_path=errors%2Citems.%2A.status%2Citems.%2A.error.type%2Citems.%2A.error.reason%2Citems.%2A.error.caused_by.reason'
    assert.equal(first?.url, `/logs%2Ba/_bulk?${filter}&pipeline=p%201`)
    assert.equal(first?.headers['content-type'], 'application/x-ndjson')
    assert.equal(first?.headers.authorization, 'Bearer t')
    const id = objectHash(someObject)
    assert.equal(first?.body.toString().split('\n')[0], `{"create":{"_id":"${id}-0"}}`)
    assert.equal(second?.url, `/_bulk?${filter}`)
    assert.equal(second?.headers['content-encoding'], 'gzip')
    assert.match(gunzipSync(second?.body ?? '').toString(), new RegExp(`"_index":"logs-2026.11.21-08","_id":"${id}-1"`))
    assert.deepEqual(
      node.documents.map(({ index, source }) => [index, source]),
      ['logs+a', 'logs-2026.11.21-08'].flatMap((index) => [
        [index, '{"a":1}'],
        [index, '{"@timestamp":"2026-11-21T08:30:00.000Z","message":"b"}'],
      ]),
    )
  })
})

test('each kind of authentication is on the wire', async () => {
  const encoded = Buffer.from('id:key').toString('base64')
  const cases: ReadonlyArray<readonly [Settings['auth'], string]> = [
    [{ type: 'basic', username: 'u', password: 'pü' }, `Basic ${Buffer.from('u:pü').toString('base64')}`],
    [{ type: 'api_key', api_key: 'id:key' }, `ApiKey ${encoded}`],
    [{ type: 'api_key', api_key: encoded }, `ApiKey ${encoded}`],
  ]
  for (const [auth, authorization] of cases) {
    await withNodes([{ authorization }], async (node) => {
      await using sink = sinkOf([node.url], { index: 'logs', ...(auth === undefined ? {} : { auth }) })
      await sink.check(live)
      await sink.write(batchOf(blockOf(['a'])), live)
      assert.equal(node.documents.length, 1)
    })
  }
})

test('only the items that the server could not take are sent again; what it has and what it refuses are settled', async () => {
  await withNodes([{}], async (node) => {
    const context = testContext()
    await using sink = sinkOf([node.url], { index: 'logs' }, context)
    const batch = batchOf(blockOf(['r0', 'r1', 'r2', 'r3']), blockOf(['{"bad":1}', 'r5']))
    // Both blocks are of one object and begin at 0: the second one's records are the first one's again.
    const other = { ...someObject, id: 'b/other@1' }
    const [first, second] = batch.parts
    assert.ok(first && second)
    const whole = batchOfParts([first, { ...second, object: other }])
    await sink.write(batchOfParts([{ ...first, from: 2, to: 3 }]), live)
    let busy = new Set(['r1', 'r3', 'r5'])
    node.itemFault = ({ source }) => {
      const record = recordOf(source)
      if (busy.has(record))
        return { status: record === 'r5' ? 503 : 429, type: 'es_rejected_execution_exception', reason: 'queue full' }
      if (record === '{"bad":1}')
        return { status: 400, type: 'document_parsing_exception', reason: '[1:8] failed to parse field [bad]' }
      return undefined
    }
    const failure = await errorOf(sink.write(whole, live))
    assert.equal(failure?.code, 'sink.throttled')
    assert.match(
      failure?.message ?? '',
      /cannot index 3 of 6 records in index "logs" of http:.*: 429 es_rejected_execution_exception: queue full/,
    )
    busy = new Set(['r5'])
    assert.equal((await errorOf(sink.write(whole, live)))?.code, 'sink.unavailable')
    busy = new Set()
    const refused = await sink.write(whole, live)
    assert.deepEqual(
      [...(refused ?? [])].map(([i, { code }]) => [i, code]),
      [[4, 'sink.rejected']],
    )
    assert.match(
      refused?.get(4)?.message ?? '',
      /refused the record: 400 document_parsing_exception: \[1:8\] failed to parse field/,
    )
    assert.deepEqual(node.sources.map(recordOf), ['r2', 'r0', 'r1', 'r3', 'r5'])
    assert.deepEqual(
      node.bulks.map(({ body }) => body.toString().split('\n').length >> 1),
      [1, 6, 3, 1],
    )
    const metrics = metricsOf(context)
    assert.equal(metrics.elasticsearch_items_retried_total, 4)
    assert.equal(metrics.elasticsearch_items_existing_total, 1)
    assert.equal(metrics.elasticsearch_items_refused_total, 1)
    assert.equal(metrics.http_lines_sent_total, 6)
    assert.equal(metrics.http_batches_sent_total, 2)
  })
})

test('a connection lost after the server stored everything doubles nothing', async () => {
  await withNodes([{}], async (node) => {
    const context = testContext()
    await using sink = sinkOf([node.url], { index: 'logs' }, context)
    const batch = batchOf(blockOf(['a', 'b', 'c']))
    node.requestFault = (n) => (n < 2 ? 'resetAfter' : undefined)
    await untilAccepted(sink, batch)
    assert.deepEqual(node.sources.map(recordOf), ['a', 'b', 'c'])
    assert.equal(metricsOf(context).elasticsearch_items_existing_total, 3)
  })
})

test('whole requests: 413 splits, busy and ill servers pass, access and settings wait for the operator', async () => {
  const explicit =
    '{"error":{"type":"illegal_argument_exception","reason":"explicit index in bulk is not allowed"},"status":400}'
  const cases: ReadonlyArray<readonly [number, string, string, RegExp]> = [
    [413, '', 'sink.too_large', /413/],
    [429, '', 'sink.throttled', /the cluster is busy/],
    [500, '', 'sink.unavailable', /500/],
    [503, '', 'sink.unavailable', /503/],
    [401, 'who', 'sink.access', /401: who \(check `auth`\)/],
    [403, '', 'sink.access', /privileges/],
    [404, '', 'sink.access', /404 \(check `endpoints`\)/],
    [400, '{"error":"Malformed"}', 'sink.rejected', /Malformed/],
    [400, explicit, 'sink.access', /use an `index` without dates/],
    [200, 'hello', 'sink.unavailable', /no JSON/],
    [200, '{}', 'sink.unavailable', /it has no items/],
    [200, '{"errors":true,"items":[]}', 'sink.unavailable', /0 items for 1 records/],
    [200, '{"errors":true,"items":[{"create":{}}]}', 'sink.unavailable', /an item has no status/],
  ]
  for (const [status, body, code, words] of cases) {
    await withNodes([{}], async (node) => {
      node.requestFault = () => ({ status, body })
      await using sink = sinkOf([node.url])
      const error = await errorOf(sink.write(batchOf(blockOf(['a'])), live))
      assert.equal(error?.code, code, `${status} ${body}`)
      assert.match(error?.message ?? '', words)
    })
  }
})

test('refusals that are about settings are never blamed on the record', async () => {
  const cases: ReadonlyArray<readonly [number, string, string, RegExp]> = [
    [404, 'index_not_found_exception', 'no such index [logs]', /create the index/],
    [403, 'security_exception', 'action [indices:data/write/bulk[s]] is unauthorized', /privileges/],
    [403, 'cluster_block_exception', 'index [logs] blocked by: [FORBIDDEN/8/index write (api)]', /blocked/],
    [400, 'index_closed_exception', 'closed', /open the index/],
    [
      400,
      'illegal_argument_exception',
      'Document ID is not supported in create/index operation request',
      /document_id: none/,
    ],
    [
      400,
      'validation_exception',
      'this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;',
      /max_shards_per_node/,
    ],
  ]
  await withNodes([{}], async (node) => {
    await using sink = sinkOf([node.url])
    for (const [status, type, reason, hint] of cases) {
      const batch = batchOf(blockOf([type, 'fine', reason]))
      node.itemFault = ({ source }) => (recordOf(source) === 'fine' ? undefined : { status, type, reason })
      const error = await errorOf(sink.write(batch, live))
      assert.equal(error?.code, 'sink.access', reason)
      assert.match(error?.message ?? '', hint)
      node.itemFault = () => undefined
      assert.equal(await sink.write(batch, live), undefined)
    }
    await using piped = sinkOf([node.url], { index: 'logs', pipeline: 'gone' })
    const error = await errorOf(piped.write(batchOf(blockOf(['a'])), live))
    assert.equal(error?.code, 'sink.access')
    assert.match(error?.message ?? '', /pipeline with id \[gone\] does not exist \(create the ingest pipeline/)
  })
})

test('of several nodes the healthy ones take all', async () => {
  await withNodes([{}, {}, {}], async (dead, ill, healthy) => {
    await dead.close()
    ill.requestFault = () => ({ status: 503 })
    await using sink = withOwnObjects(sinkOf([dead.url, ill.url, healthy.url]))
    await Promise.all(Array.from({ length: 30 }, (_, i) => sink.write(batchOf(blockOf([`r${i}`])), live)))
    assert.equal(healthy.documents.length, 30)
    assert.ok(ill.bulks.length < 30)
  })
})

test('a data stream takes create only and gets timestamps', async () => {
  await withNodes([{ dataStreams: ['logs-a-default'] }], async (node) => {
    for (const document_id of ['auto', 'none'] as const) {
      await using sink = sinkOf([node.url], { data_stream: 'logs-a-default', document_id })
      assert.equal(
        await sink.write(batchOf(blockOf(['{"a":1}', 'text', '{"@timestamp":"2020-01-01T00:00:00Z"}'])), live),
        undefined,
      )
    }
    assert.deepEqual(node.sources.slice(0, 3), [
      '{"@timestamp":"2026-11-21T08:30:00.000Z","a":1}',
      '{"@timestamp":"2026-11-21T08:30:00.000Z","message":"text"}',
      '{"@timestamp":"2020-01-01T00:00:00Z"}',
    ])
    assert.equal(node.documents.length, 6)
  })
})

test('through the engine: splits, partial refusals and retries lose nothing, double nothing', async () => {
  await withNodes([{ maxContentBytes: 4000 }], async (node) => {
    const context = testContext()
    await using sink = sinkOf([node.url], { index: 'logs', retry: { min: '1ms', max: '5ms' } }, context)
    const records = Array.from({ length: 400 }, (_, i) => (i === 77 ? `large ${'x'.repeat(5000)}` : `r${i}`))
    let turn = 0
    node.requestFault = (n) => (n % 7 === 3 ? 'resetAfter' : n % 11 === 5 ? { status: 503 } : undefined)
    node.itemFault = ({ source }) => {
      turn += 1
      if (turn % 5 === 0) return { status: 429, type: 'es_rejected_execution_exception', reason: 'full' }
      if (recordOf(source) === 'r123') return { status: 400, type: 'document_parsing_exception', reason: 'no' }
      return undefined
    }
    const kept: Array<readonly [number, number]> = []
    const deliverer = new Deliverer({
      sink,
      keep: ({ from, to }) => void kept.push([from, to]),
      log: context.log,
      hard: live.signal,
      retried: () => undefined,
      broke: (error) => assert.fail(String(error)),
      metrics: context.meter.bind(deliveryMetrics, {}),
    })
    const released: number[] = []
    const block = blockOf(records)
    const delivery = { release: (_part: unknown, refused: number) => void released.push(refused) }
    const part = { block, from: 0, to: 400, object: someObject, delivery }
    const held = Object.assign(part, { held: part })
    const batch = { ...batchOfParts([held]), parts: [held] }
    deliverer.deliver(batch as unknown as Parameters<Deliverer['deliver']>[0])
    await deliverer.idle()
    assert.deepEqual(
      kept.toSorted(([a], [b]) => a - b),
      [
        [77, 78],
        [123, 124],
      ],
    )
    assert.deepEqual(released, [2])
    const expected = records.filter((_, i) => i !== 77 && i !== 123)
    assert.deepEqual(node.sources.map(recordOf).toSorted(), expected.toSorted())
  })
})

test('an abort ends a write to a server that does not answer', async () => {
  await withNodes([{}], async (node) => {
    node.requestFault = () => 'hang'
    await using sink = sinkOf([node.url])
    const aborting = new AbortController()
    const writing = errorOf(sink.write(batchOf(blockOf(['a'])), { signal: aborting.signal }))
    while (node.bulks.length === 0) await new Promise((resolve) => setImmediate(resolve))
    aborting.abort(new Error('stop'))
    assert.equal((await writing)?.code, 'run.aborted')
  })
})

test('a server that answers too late is given up, and the records come once', async () => {
  await withNodes([{}], async (node) => {
    node.requestFault = (n) => (n === 0 ? { delayMs: 300 } : undefined)
    await using sink = sinkOf([node.url], { index: 'logs', timeout: '100ms' })
    const batch = batchOf(blockOf(['a', 'b']))
    const error = await errorOf(sink.write(batch, live))
    assert.match(error?.message ?? '', /no answer within timeout/)
    await untilAccepted(sink, batch)
    assert.deepEqual(node.sources.map(recordOf), ['a', 'b'])
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOf, testContext } from '../../test/conformance/sink.ts'
import { startElasticsearch } from '../../test/servers/elasticsearch.ts'
import { blockOf } from '../core/block.ts'
import { StreamError } from '../core/errors.ts'
import { elasticsearchSink } from './elasticsearch.ts'
import { BulkProgress, settleItems } from './elasticsearch-answer.ts'
import { elasticsearchConfig } from './elasticsearch-config.ts'

const live = { signal: new AbortController().signal }
const sinkOf = (url: string) => {
  const config = elasticsearchConfig.parse({ type: 'elasticsearch', endpoints: [url], index: 'logs' })
  return elasticsearchSink.create(config, testContext())
}
const answerOf = (items: readonly object[], errors = false) => Buffer.from(JSON.stringify({ errors, items }))
const stored = { create: { status: 201 } }

test('an answer without errors settles all, if it speaks of all', () => {
  const progress = new BulkProgress(3)
  assert.deepEqual(settleItems(answerOf([stored, stored, stored]), progress, 't'), {
    existing: 0,
    refused: 0,
    failure: undefined,
  })
  assert.equal(progress.left, 0)
  const pretty = new BulkProgress(1)
  settleItems(Buffer.from('{"errors":false,"items" : [{ "create" : { "status" : 201 } }]}'), pretty, 't')
  assert.equal(pretty.left, 0)
})

test('an answer that is cut, or speaks of fewer records or more, settles none', () => {
  const whole = answerOf([stored, stored, stored]).toString()
  const answers = ['{"errors":false', whole.slice(0, -20)]
  for (const count of [0, 1, 4]) answers.push(answerOf(Array(count).fill(stored)).toString())
  for (const errors of [false, true]) answers.push(answerOf([stored, stored], errors).toString())
  for (const answer of answers) {
    const progress = new BulkProgress(3)
    assert.throws(
      () => settleItems(Buffer.from(answer), progress, 't'),
      (error) => error instanceof StreamError && error.code === 'sink.unavailable',
      answer,
    )
    assert.equal(progress.left, 3)
  }
})

test('a refusal that quotes a record is one of the record, whatever words the record holds', () => {
  const quoted = [
    'pipeline with id [x] does not exist',
    'this action would add [2] shards, but this cluster currently has [9]/[9] maximum normal shards open',
    'explicit index in bulk is not allowed',
  ]
  for (const value of quoted) {
    const reasons = [
      `[1:6] failed to parse field [n] of type [long] in document with id 'a'. Preview of field's value: '${value}'`,
      `Provided Grok expressions do not match field value: [${value}]`,
    ]
    for (const reason of reasons) {
      const progress = new BulkProgress(1)
      const error = { type: 'illegal_argument_exception', reason }
      assert.equal(settleItems(answerOf([{ create: { status: 400, error } }], true), progress, 't').failure, undefined)
      assert.equal(progress.refused.get(0)?.code, 'sink.rejected', reason)
    }
  }
})

test('a request refused as a whole after a partial answer: what was stored stays so, only the rest is refused', async () => {
  const node = await startElasticsearch()
  try {
    await using sink = sinkOf(node.url)
    const batch = batchOf(blockOf(['stored', 'bad', 'late']))
    node.itemFault = ({ source }) => {
      if (source.includes('late')) return { status: 429, type: 'es_rejected_execution_exception', reason: 'queue full' }
      if (source.includes('bad')) return { status: 400, type: 'document_parsing_exception', reason: 'not like that' }
      return undefined
    }
    await assert.rejects(sink.write(batch, live), { code: 'sink.throttled' })
    node.requestFault = () => ({ status: 400, body: '{"error":"Malformed content"}' })
    const refused = await sink.write(batch, live)
    assert.deepEqual([...(refused?.keys() ?? [])].toSorted(), [1, 2])
    assert.match(refused?.get(1)?.message ?? '', /400 document_parsing_exception: not like that/)
    assert.match(refused?.get(2)?.message ?? '', /Malformed content/)
    assert.equal(node.documents.length, 1)
  } finally {
    await node.close()
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { filterPath, startElasticsearch } from './elasticsearch.ts'

test('response filtering leaves out items of which nothing is left, so that places are lost unless something is in each', () => {
  const failed = { create: { _id: 'b', status: 400, error: { type: 't', reason: 'r', caused_by: { type: 'c' } } } }
  const answer = { took: 3, errors: true, items: [{ create: { _id: 'a', status: 201 } }, failed] }
  assert.deepEqual(filterPath(answer, 'errors,items.*.error'), {
    errors: true,
    items: [{ create: { error: { type: 't', reason: 'r', caused_by: { type: 'c' } } } }],
  })
  assert.deepEqual(filterPath(answer, 'errors,items.*.status,items.*.error.type'), {
    errors: true,
    items: [{ create: { status: 201 } }, { create: { status: 400, error: { type: 't' } } }],
  })
  assert.deepEqual(filterPath(answer, 'none'), {})
})

test('the bulk parser is strict where the real ones are', async () => {
  const node = await startElasticsearch({ dataStreams: ['stream'] })
  const post = async (path: string, body: string, type = 'application/x-ndjson') => {
    const response = await fetch(`${node.url}${path}`, { method: 'POST', body, headers: { 'content-type': type } })
    return [response.status, (await response.json()) as { items?: unknown[]; error?: { reason: string } }] as const
  }
  try {
    const refused: ReadonlyArray<readonly [string, string, string?]> = [
      ['/i/_bulk', ''],
      ['/i/_bulk', '{"create":{}}\n{}'],
      ['/i/_bulk', '{"create":{}}\n'],
      ['/i/_bulk', '{"create":{}}\n{\n}\n{}\n'],
      ['/i/_bulk', '{"create":{"id":"1"}}\n{}\n'],
      ['/i/_bulk', '{"upsert":{}}\n{}\n'],
      ['/_bulk', '{"create":{}}\n{}\n'],
    ]
    for (const [path, body] of refused) assert.equal((await post(path, body))[0], 400, body)
    assert.equal((await post('/i/_bulk', '{"create":{}}\n{}\n', 'text/plain'))[0], 406)
    assert.deepEqual(node.documents, [])
    const lines = [
      '{"create":{"_id":"1"}}',
      '{}',
      '{"create":{"_id":"1"}}',
      '{}',
      '{"create":{"_index":"stream"}}',
      '{}',
    ]
    const [, { items }] = await post('/i/_bulk?filter_path=items.*.status', `${lines.join('\n')}\n`)
    assert.deepEqual(items, [{ create: { status: 201 } }, { create: { status: 409 } }, { create: { status: 400 } }])
    assert.equal(node.documents.length, 1)
  } finally {
    await node.close()
  }
})

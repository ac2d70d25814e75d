import assert from 'node:assert/strict'
import { test } from 'node:test'
import { batchOf, batchOfParts, sinkConformance, testContext } from '../../test/conformance/sink.ts'
import { startHttpInput } from '../../test/servers/http-input.ts'
import { blockOf } from '../core/block.ts'
import { edgedeltaConfig, edgedeltaSink } from './edgedelta.ts'

const live = { signal: new AbortController().signal }
const sinkOf = (settings: object) =>
  edgedeltaSink.create(edgedeltaConfig.parse({ type: 'edgedelta', ...settings }), testContext())

sinkConformance('edgedelta', async () => {
  const lines: string[] = []
  let fault: { status: number; body?: string } | undefined
  const take = (body: Buffer) =>
    void lines.push(
      ...body
        .toString()
        .split('\n')
        .filter((line) => line !== ''),
    )
  let input = await startHttpInput({ take, fault: () => fault })
  return {
    sink: sinkOf({ endpoints: [input.url] }),
    stored: () => lines,
    failing: (on) => {
      fault = on ? { status: 500 } : undefined
    },
    refusing: (on) => {
      fault = on ? { status: 415, body: 'no such field' } : undefined
    },
    restart: async () => {
      const { port } = input
      await input.close()
      input = await startHttpInput({ take, fault: () => fault, port })
    },
    close: () => input.close(),
  }
})

test('lines go byte for byte, each ended by LF, as the agent expects them', async () => {
  const input = await startHttpInput()
  await using sink = sinkOf({ endpoints: [input.url] })
  await sink.write(batchOfParts(batchOf(blockOf(['{"a" : 1}', 'zażółć'])).parts, 'application/x-ndjson'), live)
  assert.equal(input.accepted[0]?.body.toString(), '{"a" : 1}\nzażółć\n')
  assert.equal(input.accepted[0]?.headers['content-length'], String(Buffer.byteLength('{"a" : 1}\nzażółć\n')))
  await input.close()
})

test('the defaults are those of the old program', () => {
  const { batch, max_in_flight, timeout, idle_timeout } = edgedeltaConfig.parse({
    type: 'edgedelta',
    endpoints: ['http://localhost:8080'],
  })
  assert.deepEqual(batch, { records: 1000, bytes: 1_048_576, linger: 1000 })
  assert.deepEqual([max_in_flight, timeout, idle_timeout], [10, 30_000, 90_000])
})

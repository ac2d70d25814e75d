import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { batchOf, batchOfParts } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import { arrayBody, gzipped, ndjsonBody } from './http-body.ts'

const text = (pieces: readonly Buffer[]) => Buffer.concat(pieces).toString()

test('lines are views of the block, not copies', () => {
  const block = blockOf(['a', 'b', 'c', 'd'])
  const [piece, ...more] = ndjsonBody(
    batchOfParts([{ block, from: 1, to: 3, object: { id: '', bucket: '', key: '', timeMs: 0 } }]),
  )
  assert.deepEqual(more, [])
  assert.equal(piece?.toString(), 'b\nc\n')
  assert.equal(piece?.buffer, block.data.buffer)
})

test('bytes that are no UTF-8 go through as they are', () => {
  const block = blockOf([Buffer.from([0xff, 0xfe]), Buffer.from([0])])
  assert.deepEqual(Buffer.concat(ndjsonBody(batchOf(block))), Buffer.from([0xff, 0xfe, 10, 0, 10]))
})

test('a record of several lines becomes one JSON line, its neighbours stay', () => {
  assert.equal(text(ndjsonBody(batchOf(blockOf(['a\nb', '{"c":1}'], 0, true)))), '{"message":"a\\nb"}\n{"c":1}\n')
})

test('an array is valid JSON whatever the records are', () => {
  const body = arrayBody(batchOf(blockOf(['{"a":1}', 'x "y"', Buffer.from([0x22, 0xff, 0x22]), 'null'])))
  assert.deepEqual(JSON.parse(body.toString()), [{ a: 1 }, 'x "y"', '"\ufffd"', null])
  assert.doesNotThrow(() => new TextDecoder('utf-8', { fatal: true }).decode(body))
})

test('gzip gives the same bytes back', async () => {
  assert.equal(gunzipSync(await gzipped(Buffer.from('abc\n'))).toString(), 'abc\n')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ByteReader } from './byte-reader.ts'

async function* pieces(...texts: string[]): AsyncGenerator<Buffer> {
  for (const text of texts) yield Buffer.from(text)
}

async function all(bytes: AsyncIterable<Buffer>): Promise<string> {
  let text = ''
  for await (const piece of bytes) text += piece.toString()
  return text
}

test('as many bytes are at hand as a parser asks for, wherever the pieces were cut', async () => {
  const reader = new ByteReader(pieces('ab', '', 'c', 'defg'))
  assert.ok(await reader.has(4))
  assert.equal(reader.chunk.toString(), 'abcdefg')
  reader.skip(3)
  assert.equal(reader.offset, 3)
  assert.ok(!(await reader.has(5)))
  assert.equal(await all(reader.rest()), 'defg')
})

test('an error met while looking ahead comes after the bytes before it', async () => {
  const broken = async function* () {
    yield Buffer.from('good')
    throw new Error('broken')
  }
  const reader = new ByteReader(broken())
  assert.ok(!(await reader.peek(10)))
  let text = ''
  await assert.rejects(async () => {
    for await (const piece of reader.rest()) text += piece.toString()
  }, /broken/)
  assert.equal(text, 'good')
})

test('closing closes what feeds it', async () => {
  let isClosed = false
  const feed = async function* () {
    try {
      yield Buffer.from('a')
      yield Buffer.from('b')
    } finally {
      isClosed = true
    }
  }
  const reader = new ByteReader(feed())
  await reader.has(1)
  await reader.close()
  assert.ok(isClosed)
})

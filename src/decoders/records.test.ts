import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { cut, RecordWriter } from './records.ts'

const writerOf = (lineBytes: number, policy: 'split' | 'truncate' | 'quarantine' = 'split') =>
  new RecordWriter({ first: 5, lineBytes, policy, tally: { bytes: 0, oversize: 0 } })

test('copied and clean records come in the order in which they were added, numbered on', () => {
  const writer = writerOf(100)
  writer.add(Buffer.from('one'), 4)
  writer.clean(Buffer.from('two\nthree\n'), Uint32Array.of(4, 10), 14)
  writer.add(Buffer.from('four'), 19)
  const blocks = writer.take()
  assert.deepEqual(
    blocks.map(({ first, resumeAt, data }) => [first, resumeAt, data.toString()]),
    [
      [5, 4, 'one\n'],
      [6, 14, 'two\nthree\n'],
      [8, 19, 'four\n'],
    ],
  )
  assert.deepEqual(writer.take(), [])
})

test('what is kept out by the policy is told at the end, with its place', () => {
  const writer = writerOf(3, 'quarantine')
  writer.add(Buffer.from('abc'), -1)
  writer.add(Buffer.from('abcd'), -1)
  assert.equal(writer.take().length, 1)
  assert.throws(
    () => writer.finish(),
    /1 records are longer than line_limit \(3 bytes\) and were left out: after 6 records/,
  )
})

test('cutting never loses a byte, keeps the limit, and stays between characters of valid UTF-8', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), fc.integer({ min: 4, max: 20 }), (text, limit) => {
      const bytes = Buffer.from(text)
      const pieces: Buffer[] = []
      for (let from = 0; from < bytes.length; ) {
        const to = cut(bytes, from, limit)
        assert.ok(to > from && to - from <= limit)
        pieces.push(bytes.subarray(from, to))
        from = to
      }
      assert.equal(pieces.map(String).join(''), bytes.toString())
    }),
  )
})

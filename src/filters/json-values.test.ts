import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { StreamError } from '../core/errors.ts'
import { JsonPaths, textOf } from './json-values.ts'

function found(paths: readonly string[], json: string): string[] {
  const bytes = Buffer.from(json)
  const ranges = new JsonPaths(paths).find(bytes)
  const values: string[] = []
  for (let i = 0; i < ranges.length; i += 2) values.push(bytes.toString('utf8', ranges[i], ranges[i + 1]))
  return values
}

test('values of any kind are found whole', () => {
  for (const value of [
    '1',
    '-1.5e+10',
    '12345678901234567890',
    'true',
    'null',
    '""',
    '"a\\"}]"',
    '"\\\\"',
    '[]',
    '{}',
    '[1,{"x":"]"}]',
    '{"a":{"b":[2]}}',
  ]) {
    assert.deepEqual(found(['a'], `{"a":${value}}`), [value])
    assert.deepEqual(found(['a'], ` { "x" : {"a":0} ,\r\n"a"\t: ${value} , "z":[{"a":1}] } `), [value])
  }
})

test('paths go through objects and all elements of arrays, and dots may be part of a key', () => {
  assert.deepEqual(found(['a.b'], '{"b":0,"a":{"b":1,"c":{"b":2}}}'), ['1'])
  assert.deepEqual(found(['a.b'], '{"a":[{"b":1},{"c":2},3,[{"b":4}]]}'), ['1', '4'])
  assert.deepEqual(found(['a'], '[{"a":1},[{"a":2}]]'), ['1', '2'])
  assert.deepEqual(found(['a.b.c'], '{"a.b.c":1,"a.b":{"c":2},"a":{"b.c":3,"b":{"c":4}}}'), ['1', '2', '3', '4'])
  assert.deepEqual(found(['a', 'a.b', 'c'], '{"a":{"b":1},"c":2}'), ['{"b":1}', '2'])
  assert.deepEqual(found(['a.b'], '{"a":1}'), [])
})

test('a key is found however it is written, and as often as it is there', () => {
  assert.deepEqual(found(['pass/word'], '{"pass/word":1,"pass\\/word":2,"p\\u0061ss/word":3}'), ['1', '2', '3'])
  assert.deepEqual(found(['Zoë'], '{"Zoë":1,"Zo\\u00eb":2,"Zoe":3}'), ['1', '2'])
  assert.deepEqual(found(['a"\\b'], '{"a\\"\\\\b":1}'), ['1'])
  assert.deepEqual(found(['__proto__', ''], '{"__proto__":1,"":2}'), ['1', '2'])
})

test('the value of the n-th key is the n-th value, whatever the document is', () => {
  void fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.integer({ min: 0, max: 3 }), (document, indent) => {
      const json = JSON.stringify(document, null, indent)
      for (const key of Object.keys(document)) {
        if (key.includes('.')) continue
        const values = found([key], json)
        assert.equal(values.length, 1)
        assert.deepEqual(JSON.parse(values[0] ?? ''), JSON.parse(JSON.stringify(document[key])))
      }
    }),
    { numRuns: 300 },
  )
})

test('nesting along a path has a limit, elsewhere it has none', () => {
  const nested = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
  assert.deepEqual(found(['b'], `{"a":${nested},"b":1}`), ['1'])
  assert.deepEqual(found(['a'], `{"a":${nested}}`), [nested])
  assert.throws(
    () => found(['a.b'], `{"a":${nested}}`),
    (error) => error instanceof StreamError && error.code === 'filter.failed',
  )
})

test('a path of many dots is no trouble', () => {
  const path = Array.from({ length: 60 }, () => 'a').join('.')
  assert.deepEqual(found([path], `{"${path}":1}`), ['1'])
})

test('bytes that are no UTF-8 become U+FFFD', () => {
  assert.equal(textOf(Buffer.from('Zoë')), 'Zoë')
  assert.equal(textOf(Buffer.from([97, 0xff, 98])), 'a\ufffdb')
})

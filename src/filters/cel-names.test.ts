import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parse } from '@marcbachmann/cel-js'
import { meansField, namesOf } from './cel-names.ts'

const names = (source: string) => namesOf(source, parse(source).ast)

test('a name means a field that differs only where an identifier cannot be the same', () => {
  for (const [name, field] of [
    ['status', 'status'],
    ['sc_status', 'sc-status'],
    ['cs_User_Agent_', 'cs(User-Agent)'],
    ['x_y', 'x_y'],
    ['_xx', '5xx'],
    ['gr__e', 'gr\u00f6\u00dfe'],
  ] as const) {
    assert.equal(meansField(name, field), true, field)
  }
  for (const [name, field] of [
    ['sc_status', 'sc-statuses'],
    ['sc_status', 'scXstatus'],
    ['a_', 'a1'],
    ['status', 'stat-s'],
    ['Status', 'status'],
  ] as const) {
    assert.equal(meansField(name, field), false, field)
  }
})

test('only what must be is rewritten, and places are found again', () => {
  const source = 'type == "type" && a.matches("b") &&\n(bytes) > 1 && type(type) == bytes'
  const { rewritten, sourceOffset } = names(source)
  assert.equal(
    rewritten,
    'fields.type == "type" && a.matchRe("b") &&\n(fields.bytes) > 1 && type(fields.type) == bytes',
  )
  for (const word of ['"type"', '"b"', '> 1', '== bytes']) {
    assert.equal(sourceOffset(rewritten.indexOf(word)), source.indexOf(word), word)
  }
  // Anywhere in what was put in is the place of the name.
  for (let at = 0; at <= 'fields.'.length; at += 1) assert.equal(sourceOffset(at), 0)
  assert.equal(sourceOffset(rewritten.length), source.length)
})

test('what stands in strings and comments is left alone', () => {
  for (const source of [
    'x == ".matches(" // type',
    'x == r"type" || y == """bytes"""',
    'x.type == 1 && {"type": 1}["type"] == 1',
  ]) {
    assert.equal(names(source).rewritten, source)
  }
})

test('namespaces of CEL are fields where nothing of theirs is asked', () => {
  assert.equal(names('google == 1').rewritten, 'fields.google == 1')
  assert.equal(names('google.cloud == 1').rewritten, 'fields.google.cloud == 1')
  assert.equal(names('type(x) == google.protobuf.Duration').rewritten, 'type(x) == google.protobuf.Duration')
  assert.deepEqual([...names('cel.bind(a, b, a == c)').variables], ['b', 'c'])
})

test('literal patterns come with their places', () => {
  assert.deepEqual(names('a.matches("x") || matches(b, "y") || a.matches(b)').patterns, [
    { source: 'x', at: 10 },
    { source: 'y', at: 29 },
  ])
})

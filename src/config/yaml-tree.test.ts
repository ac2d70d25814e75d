import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as fc from 'fast-check'
import { fillIn, readTree } from './yaml-tree.ts'

const read = (text: string, env: Record<string, string> = {}) => readTree(text, { file: 'c.yaml', env })
const plain = (value: unknown) => JSON.parse(JSON.stringify(value))

test('placeholders are filled in anywhere in a scalar, and $${ is left as it is', () => {
  const env = { HOST: 'db', PORT: '80', EMPTY: '' }
  for (const [text, filled] of [
    ['${HOST}', 'db'],
    ['http://${HOST}:${PORT}/x', 'http://db:80/x'],
    ['${NONE:-a:-b}', 'a:-b'],
    ['${EMPTY:-d}', 'd'],
    ['[${EMPTY}]', '[]'],
    ['$${HOST}', '${HOST}'],
    ['$HOST and ${', '$HOST and ${'],
  ] as const) {
    assert.deepEqual(fillIn(text, env), { text: filled, missing: [] }, text)
  }
  assert.deepEqual(fillIn('${A}${B}', env).missing, ['A', 'B'])
})

test('a value from the environment is never read as YAML', () => {
  const { value, problems } = read('a: ${X}\nb: "${X}"', { X: '[1, 2] # {b: *c' })
  assert.deepEqual(problems, [])
  assert.deepEqual(plain(value), { a: '[1, 2] # {b: *c', b: '[1, 2] # {b: *c' })
})

test('inherited properties are no environment', () => {
  assert.deepEqual(fillIn('${toString} ${constructor}', {}).missing, ['toString', 'constructor'])
})

test('merged keys give way to those of the map, and earlier sources win', () => {
  const { value, problems } = read('x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: { <<: [*x, *y], a: 0 }')
  assert.deepEqual(problems, [])
  assert.deepEqual(plain((value as { z: unknown }).z), { a: 0, b: 1, c: 2 })
})

test('a key without a value counts as left out', () => {
  assert.deepEqual(Object.entries(read('a:\nb: ~\nc: 0').value), [
    ['a', undefined],
    ['b', undefined],
    ['c', 0],
  ])
})

test('places are those of keys and values, and of the map around what is missing', () => {
  const tree = read('\ns3:\n  bucket: a\n  list:\n    - b\n    - c: 1\n')
  assert.equal(tree.where(['s3', 'bucket']), 'c.yaml:3:11')
  assert.equal(tree.whereKey(['s3', 'bucket']), 'c.yaml:3:3')
  assert.equal(tree.where(['s3', 'list', 1, 'c']), 'c.yaml:6:10')
  assert.equal(tree.where(['s3', 'region']), 'c.yaml:2:1')
  assert.equal(tree.where(['s3', 'list', 1, 'd']), 'c.yaml:6:7')
  assert.equal(tree.where(['http', 'endpoints']), 'c.yaml:1:1')
})

test('aliases of aliases that grow without bounds are refused, and so is a map in itself', () => {
  const lines = ['a0: &a0 [x, x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 12; i += 1)
    lines.push(
      `a${i}: &a${i} [${Array(10)
        .fill(`*a${i - 1}`)
        .join(', ')}]`,
    )
  assert.match(read(lines.join('\n')).problems[0]?.message ?? '', /too many nested values/)
  assert.ok(read('a: &a { b: *a }').problems.length > 0)
  assert.ok(read('a: &a { <<: *a }').problems.length > 0)
  assert.ok(read(`a: ${'['.repeat(20_000)}`).problems.length > 0)
})

test('no key reaches the prototype of anything', () => {
  const { problems } = read('__proto__: { enabled: true }')
  assert.deepEqual(
    problems.map(({ message }) => message),
    ['a key must be plain text'],
  )
  assert.equal(({} as { enabled?: boolean }).enabled, undefined)
})

test('any text is either values or problems with a place', () => {
  const piece = fc.constantFrom(
    'a',
    ': ',
    '\n',
    '- ',
    '[',
    ']',
    '{',
    '}',
    '&x ',
    '*x',
    '<<',
    '"',
    "'",
    '|',
    '#',
    '\t',
    '!!',
    '? ',
    '${',
    '---\n',
    '~',
    '0x',
  )
  void fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(piece, { maxLength: 40 }).map((parts) => parts.join('')),
      ),
      (text) => {
        for (const { where } of read(text).problems) assert.match(where, /^c\.yaml:\d+:\d+$/)
      },
    ),
    { numRuns: 2000 },
  )
})

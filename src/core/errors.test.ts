import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { errorKinds, explainError, StreamError } from './errors.ts'

test('an error says what is wrong and why in one line, without repeating itself', () => {
  const cause = new Error('connect ECONNREFUSED 127.0.0.1:9')
  const error = new StreamError('sink.unavailable', 'cannot post to http://127.0.0.1:9', { cause })
  assert.equal(explainError(error), 'cannot post to http://127.0.0.1:9: connect ECONNREFUSED 127.0.0.1:9')
  assert.equal(
    explainError(new StreamError('sink.unavailable', `no: ${cause.message}`, { cause })),
    `no: ${cause.message}`,
  )
  assert.equal(explainError(new AggregateError([new Error('a'), new Error('b')])), 'a; b')
  assert.equal(explainError('text'), 'text')
  assert.equal(error.kind, 'transient')
})

test('errors of OpenSSL are told in words, and not twice', () => {
  const cause = new Error(
    'write EPROTO 40DD0A102B7F0000:error:0A00010B:SSL routines:tls_validate_record_header:wrong version number:../deps/openssl/ssl/record/methods/tlsany_meth.c:77:\n',
  )
  const error = new StreamError('sink.unavailable', `cannot reach h: ${cause.message}`, { cause })
  assert.equal(explainError(error), 'cannot reach h: write EPROTO TLS: wrong version number')
})

test('the table of codes, docs/errors.md and the codes used in the source are the same set', () => {
  const codes = Object.keys(errorKinds).sort()
  const documented = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')
  const inDocs = [...documented.matchAll(/^\| `([a-z_.]+)` \| `?(\w+)`? \|/gm)].map((match) => [match[1], match[2]])
  assert.deepEqual(inDocs.map(([code]) => code).sort(), codes)
  for (const [code, kind] of inDocs) assert.equal(errorKinds[code as keyof typeof errorKinds], kind, code)
  const root = new URL('../', import.meta.url)
  const source = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts') && name !== 'core/errors.ts')
    .map((name) => readFileSync(new URL(name, root), 'utf8'))
    .join('\n')
  const unused = codes.filter((code) => !source.includes(`'${code}'`))
  assert.deepEqual(unused, [])
})

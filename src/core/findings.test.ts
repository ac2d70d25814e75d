import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StreamError } from './errors.ts'
import { clockFinding, problemOf, someOf, spread, timed } from './findings.ts'

const live = { signal: new AbortController().signal }

test('what a message says in brackets at its end is the advice; a number there is none', () => {
  const told = (message: string, cause?: unknown) =>
    problemOf(new StreamError('sink.unavailable', message, { cause }), { ...live, what: 'x' })
  assert.deepEqual(told('cannot write to t (u): full (make room (soon), or wait)', new Error('ENOSPC')), {
    level: 'problem',
    text: 'x: cannot write to t (u): full',
    advice: 'make room (soon), or wait',
  })
  const late = told('cannot reach h: no answer within timeout (30 s)')
  assert.equal(late.text, 'x: cannot reach h: no answer within timeout (30 s)')
  assert.match(late.advice ?? '', /firewall/)
  assert.equal(problemOf(new Error('cannot reach x (ECONNRESET)'), live).text, 'cannot reach x (ECONNRESET)')
  assert.match(told('cannot reach h', new Error('connect ECONNREFUSED')).text, /cannot reach h: connect ECONNREFUSED/)
})

test('every problem has an advice: its own, that of who asked, or one for its kind', () => {
  for (const text of ['connect ECONNREFUSED 127.0.0.1:1', 'getaddrinfo ENOTFOUND x', 'self-signed certificate', 'odd'])
    assert.ok(problemOf(new Error(text), live).advice)
  assert.equal(problemOf(new Error('odd'), { ...live, advice: 'ask' }).advice, 'ask')
  assert.equal(problemOf(new Error('odd (Wait a while)'), { ...live, advice: 'ask' }).advice, 'Wait a while')
})

test('what a problem concerns is named once', () => {
  const text = (message: string) => problemOf(new Error(message), { ...live, what: 'http http://h/' }).text
  assert.equal(text('cannot reach http://h/: reset'), 'cannot reach http://h/: reset')
  assert.equal(text('no answer within 10 s'), 'http http://h/: no answer within 10 s')
  assert.equal(problemOf(new Error('no word'), { ...live, what: 'no word' }).text, 'no word: no word')
})

test('an abort is thrown on, and is no problem of the server', async () => {
  const signal = AbortSignal.abort(new Error('stop'))
  assert.throws(() => problemOf(new Error('reset'), { signal }), /stop/)
  await assert.rejects(
    timed(() => new Promise(() => undefined), { signal }),
    /stop/,
  )
})

test('clocks that differ by a minute are told, by five minutes a problem where requests are signed', () => {
  const at = (offMs: number, isSigned = true) => clockFinding('S3', { serverMs: 0, oursMs: offMs }, { isSigned })?.level
  assert.deepEqual([at(1000), at(-60_000), at(-120_000), at(600_000)], ['ok', 'ok', 'warning', 'problem'])
  assert.deepEqual([at(1000, false), at(-120_000, false), at(600_000, false)], [undefined, 'warning', 'warning'])
  assert.equal(clockFinding('S3', undefined, { isSigned: true }), undefined)
  const far = clockFinding('S3', { serverMs: 0, oursMs: 600_000 }, { isSigned: true })
  assert.match(far?.text ?? '', /10 min ahead of that of S3/)
})

test('a sample is even and has the last one', () => {
  assert.deepEqual(spread([1, 2, 3, 4, 5, 6], 3), [2, 4, 6])
  assert.deepEqual(spread([1, 2], 3), [1, 2])
  assert.equal(someOf(['a', 'b', 'c', 'd'], 2), 'a, b, and 2 more')
})

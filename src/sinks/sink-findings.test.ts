import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StreamError } from '../core/errors.ts'
import { problemOf, timed } from '../core/findings.ts'

const live = { signal: new AbortController().signal }

test('what a message says in brackets at its end is the advice; a number there is none', () => {
  const told = (message: string, cause?: unknown) =>
    problemOf(new StreamError('sink.unavailable', message, { cause }), { ...live, what: 'x' })
  assert.deepEqual(told('cannot write to t: full (make room (soon), or wait)', new Error('ENOSPC')), {
    level: 'problem',
    text: 'x: cannot write to t: full',
    advice: 'make room (soon), or wait',
  })
  const late = told('cannot reach h: no answer within timeout (30 s)')
  assert.equal(late.text, 'x: cannot reach h: no answer within timeout (30 s)')
  assert.match(late.advice ?? '', /firewall/)
  assert.match(told('cannot reach h', new Error('connect ECONNREFUSED')).text, /cannot reach h: connect ECONNREFUSED/)
})

test('an abort is thrown on, and is no problem of the receiver', async () => {
  const signal = AbortSignal.abort(new Error('stop'))
  assert.throws(() => problemOf(new Error('reset'), { signal }), /stop/)
  await assert.rejects(
    timed(() => new Promise(() => undefined), { signal }),
    /stop/,
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuthenticationError, NetworkError, protocolErrors, ResponseError } from '@platformatic/kafka'
import { explainError } from '../core/errors.ts'
import { describeCode, foreignFailure, protocolFailure, verdictOf } from './kafka-errors.ts'

test('what the protocol calls retriable is retried: never quarantined, never left to the operator', () => {
  for (const { id, code, canRetry } of Object.values(protocolErrors)) {
    const verdict = verdictOf(code)
    if (canRetry) assert.ok(verdict === 'wait' || verdict === 'stale', `${id}: ${verdict}`)
  }
})

test('only what is about the records themselves may put them in quarantine', () => {
  const codes = Object.values(protocolErrors).filter(({ code }) => ['split', 'refused'].includes(verdictOf(code)))
  assert.deepEqual(codes.map(({ id }) => id).toSorted(), [
    'INVALID_RECORD',
    'INVALID_TIMESTAMP',
    'MESSAGE_TOO_LARGE',
    'POLICY_VIOLATION',
    'RECORD_LIST_TOO_LARGE',
  ])
  assert.equal(verdictOf(32_000), 'wait')
})

test('only NONE and the repetition of what is stored count as accepted', () => {
  const codes = Object.values(protocolErrors).filter(({ code }) => verdictOf(code) === 'accepted')
  assert.deepEqual(codes.map(({ id }) => id).toSorted(), ['DUPLICATE_SEQUENCE_NUMBER', 'NONE'])
  assert.equal(verdictOf(0), 'accepted')
})

test('a message says what, why, and what to do; words of the broker are cleaned and cut', () => {
  assert.match(describeCode(29, null), /^TOPIC_AUTHORIZATION_FAILED: .+ \(grant the principal WRITE/)
  assert.equal(describeCode(44, 'no\n\tbad  \u0007words'), 'POLICY_VIOLATION: no bad words')
  assert.ok(describeCode(44, 'x'.repeat(5000)).length < 600)
  assert.equal(describeCode(32_000, null), 'code 32000')
  assert.equal(protocolFailure('cannot write', 89).code, 'sink.throttled')
})

test('errors of the library are told apart by code, however deep they are', () => {
  const answer = new ResponseError(22, 4, { '/': [31, 'no right'] }, {})
  const denied = foreignFailure('cannot', new NetworkError('outer', { cause: answer }))
  assert.equal(denied.code, 'sink.access')
  assert.match(denied.message, /^cannot: CLUSTER_AUTHORIZATION_FAILED: no right \(grant the principal IDEMPOTENT_WRITE/)
  const login = foreignFailure(
    'cannot',
    new NetworkError('outer', { cause: new AuthenticationError('Invalid server signature.') }),
  )
  assert.equal(login.code, 'sink.access')
  assert.match(explainError(login), /cannot: the login failed \(check auth\).*Invalid server signature/)
  assert.equal(foreignFailure('cannot', new Error('anything')).code, 'sink.unavailable')
})

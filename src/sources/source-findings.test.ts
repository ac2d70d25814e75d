import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StreamError } from '../core/errors.ts'
import { clockFinding, problemOf, someOf, spread } from '../core/findings.ts'
import { roughly, counted } from '../telemetry/figures.ts'

const live = { signal: new AbortController().signal }

test('what stands in brackets at the end of an error is its advice', () => {
  const denied = new StreamError('source.access', 'cannot list s3://b/ (x): 403 (allow s3:ListBucket (on the bucket))')
  assert.deepEqual(problemOf(denied, live), {
    level: 'problem',
    text: 'cannot list s3://b/ (x): 403',
    advice: 'allow s3:ListBucket (on the bucket)',
  })
})

test('every problem has an advice', () => {
  for (const text of ['connect ECONNREFUSED 127.0.0.1:1', 'getaddrinfo ENOTFOUND x', 'self-signed certificate', 'odd'])
    assert.ok(problemOf(new Error(text), live).advice)
})

test('an abort is no finding', () => {
  const reason = new Error('stop')
  assert.throws(() => problemOf(new Error('x'), { signal: AbortSignal.abort(reason) }), reason)
})

test('clocks that differ by a minute are told, by five minutes a problem', () => {
  const at = (offMs: number) => clockFinding('S3', { serverMs: 0, oursMs: offMs })?.level
  assert.deepEqual([at(1000), at(-60_000), at(-120_000), at(600_000)], ['ok', 'ok', 'warning', 'problem'])
  assert.equal(clockFinding('S3', undefined), undefined, { isSigned: true })
  assert.match(clockFinding('S3', { serverMs: 0, oursMs: 600_000 })?.text ?? '', /10 min ahead of that of S3/, { isSigned: true })
})

test('a sample is even and has the last one', () => {
  assert.deepEqual(spread([1, 2, 3, 4, 5, 6], 3), [2, 4, 6])
  assert.deepEqual(spread([1, 2], 3), [1, 2])
  assert.equal(someOf(['a', 'b', 'c', 'd'], 2), 'a, b, and 2 more')
  assert.deepEqual([counted(1, 'key'), counted(2, 'key')], ['1 key', '2 keys'])
  assert.deepEqual([3000, 300_000, 10_800_000, 400_000_000].map(durationText), ['3 s', '5 min', '3 h', '5 days'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DependencyState, uniqueNames } from './dependency-state.ts'
import { StreamError } from './errors.ts'

function stateAt(clock: { ms: number }): DependencyState {
  return new DependencyState({ name: 's3', nowMs: () => clock.ms, probe: async () => undefined })
}

test('a dependency is unused, then up, failing and up again, by its last use', () => {
  const clock = { ms: 1 }
  const s3 = stateAt(clock)
  assert.deepEqual([s3.state, s3.sinceMs, s3.error, s3.answeredMs], ['unused', 1, undefined, undefined])
  clock.ms = 2
  s3.used()
  clock.ms = 3
  s3.used()
  assert.deepEqual([s3.state, s3.sinceMs, s3.error, s3.answeredMs], ['up', 2, undefined, 3])
  clock.ms = 4
  s3.used(new StreamError('source.unavailable', 'cannot list s3://b/', { cause: new Error('ECONNREFUSED') }))
  clock.ms = 5
  s3.used(new StreamError('source.unavailable', 'cannot list s3://b/: 503'))
  assert.deepEqual([s3.state, s3.sinceMs, s3.error, s3.answeredMs], ['failing', 4, 'cannot list s3://b/: 503', 3])
  clock.ms = 6
  s3.used()
  assert.deepEqual([s3.state, s3.sinceMs, s3.error], ['up', 6, undefined])
})

test('a stop of our own says nothing of the dependency', () => {
  const s3 = stateAt({ ms: 1 })
  s3.used(new StreamError('run.aborted', 'stopped'))
  s3.used(AbortSignal.abort().reason)
  s3.used(new StreamError('core.unbalanced', 'our fault'))
  assert.equal(s3.state, 'unused')
})

test('an error of one object is an answer: the dependency is up', () => {
  const s3 = stateAt({ ms: 1 })
  s3.used(new StreamError('source.unavailable', 'away'))
  s3.used(new StreamError('source.vanished', 'cannot read s3://b/k: it is not there any more'))
  assert.deepEqual([s3.state, s3.error], ['up', undefined])
  s3.used(new StreamError('sink.too_large', 'too large'))
  assert.equal(s3.state, 'up')
  s3.used(new StreamError('source.access', 'cannot list: denied'))
  assert.deepEqual([s3.state, s3.error], ['failing', 'cannot list: denied'])
})

test('a dependency that is left alone is paused until it is used again', () => {
  const clock = { ms: 1 }
  const http = stateAt(clock)
  clock.ms = 2
  http.paused(new StreamError('sink.unavailable', 'refused'))
  assert.deepEqual([http.state, http.sinceMs, http.error], ['paused', 2, 'refused'])
  http.used(new StreamError('sink.unavailable', 'refused again'))
  assert.deepEqual([http.state, http.error], ['failing', 'refused again'])
})

test('a probe asks and changes nothing', async () => {
  const failing = new DependencyState({
    name: 's3',
    nowMs: () => 1,
    probe: async () => {
      throw new StreamError('source.unavailable', 'away')
    },
  })
  await assert.rejects(failing.probe({ signal: new AbortController().signal }), /away/)
  assert.equal(failing.state, 'unused')
})

test('names that are there twice get a number', () => {
  assert.deepEqual(uniqueNames(['a', 'b', 'a', 'a']), ['a', 'b', 'a (2)', 'a (3)'])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { closest } from './closest.ts'

const keys = ['batch_lines', 'batch_bytes', 'workers', 'tls', 'auth', 'timeout']

test('a slip of the fingers finds the key that was meant', () => {
  for (const [wrong, meant] of [
    ['batch_linse', 'batch_lines'],
    ['batchLines', 'batch_lines'],
    ['BATCH-BYTES', 'batch_bytes'],
    ['worker', 'workers'],
    ['tsl', 'tls'],
    ['time_out', 'timeout'],
  ] as const) {
    assert.equal(closest(wrong, keys), meant, wrong)
  }
})

test('a word that is like none of them gets no guess', () => {
  for (const wrong of ['', 'zzz', 'redis', 'x'.repeat(10_000)]) assert.equal(closest(wrong, keys), undefined, wrong)
})

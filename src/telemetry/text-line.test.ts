import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printable, textLine } from './text-line.ts'

const at = { level: 'info', time: '2026-11-21T07:42:37.094Z' }
const line = (entry: object, color = false) => textLine(JSON.stringify({ ...at, ...entry }), { color })

test('an entry is one line: time, level, message, facts with their units', () => {
  const facts = { listed: 44, known: 0, underWay: 30, bytes: 30_722_420, ms: 1191, deadlineMs: 30_000, attempt: 3 }
  assert.equal(
    line({ ...facts, msg: 'scan: 44 objects' }),
    '2026-11-21 07:42:37.094 INFO  scan: 44 objects · 44 listed · 30 under way · 30.7 MB · 1,191 ms · deadline 30 s · attempt 3\n',
  )
})

test('maps are told in words, without what is zero, false or empty', () => {
  const facts = {
    objects: { done: 42, quarantined: 0 },
    records: { read: 24_829 },
    none: {},
    once: false,
    list: ['a', 'b'],
  }
  assert.equal(
    line({ ...facts, msg: 'finished' }),
    '2026-11-21 07:42:37.094 INFO  finished · objects: 42 done · records: 24,829 read · list a, b\n',
  )
})

test('what it is about and why stand right after the message', () => {
  const facts = { key: 'a/b.gz', reason: 'ends in the middle', format: 'zscaler' }
  assert.match(
    line({ ...facts, msg: 'object in quarantine' }),
    /object in quarantine: a\/b\.gz: ends in the middle · format zscaler\n$/,
  )
})

test('a key that the reason names already is not told twice', () => {
  assert.match(
    line({ key: 'a/b', error: 'cannot read s3://x/a/b', msg: 'oh' }),
    /INFO {2}oh: cannot read s3:\/\/x\/a\/b\n$/,
  )
})

test('control characters from keys and answers do not reach the terminal', () => {
  assert.match(line({ key: 'a\u001b[2J\nb', msg: 'oh' }), /oh: a\\x1b\[2J\\nb\n$/)
  assert.equal(printable('tab\tend\u0000\u202e'), 'tab\\tend\\x00\\x202e')
  assert.equal(printable('ünï 字 🙂'), 'ünï 字 🙂')
})

test('a stack follows on lines of its own', () => {
  assert.equal(line({ stack: 'Error: x\n    at y', msg: 'oh' }), `${line({ msg: 'oh' })}    Error: x\n    at y\n`)
})

test('levels are coloured only if that is wanted', () => {
  assert.ok(line({ level: 'error', msg: 'oh' }, true).includes('\u001b[31mERROR\u001b[39m'))
  assert.ok(!line({ level: 'error', msg: 'oh' }).includes('\u001b'))
})

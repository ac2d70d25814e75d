import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from './fields.ts'
import { Hidden, secretsOf } from './hidden.ts'

test('secrets are found in secret fields, in headers by their name, in URLs, and in logins as HTTP sends them', () => {
  const config = {
    console: { token: new Secret('tttttttt') },
    list: [{ headers: { Authorization: 'Bearer bbbbbbbb', 'X-Api-Key': 'kkkkkkkk', 'X-Team': 'logs-team' } }],
    endpoints: ['http://me:p%40ssword@host/', 'http://host/?token=qqqqqqqq&format=ndjson'],
    auth: { username: 'me', password: new Secret('pppppppp') },
    port: 8080,
    none: undefined,
  }
  assert.deepEqual(secretsOf(config).toSorted(), [
    'bWU6cEBzc3dvcmQ',
    'bWU6cHBwcHBwcHA',
    'bbbbbbbb',
    'kkkkkkkk',
    'p%40ssword',
    'p@ssword',
    'pppppppp',
    'qqqqqqqq',
    'tttttttt',
  ])
})

test('they are taken out of text in every form they may have there', () => {
  const odd = 'a"b\\c\nd/+$e'
  const hidden = new Hidden([odd, 'plain-secret'])
  const body = JSON.stringify({ sent: odd })
  for (const text of [
    odd,
    body,
    JSON.stringify({ body }),
    `http://x/?key=${encodeURIComponent(odd)}`,
    'plain-secret',
  ]) {
    const shown = hidden.in(`before ${text} after plain-secret`)
    assert.match(shown, /^before .*\[redacted\].* after \[redacted\]$/s)
    assert.doesNotMatch(shown, /a.{0,8}b.{0,8}c.{0,8}d.{0,8}\$e|plain-/s)
  }
  assert.deepEqual(JSON.parse(hidden.in(body)), { sent: '[redacted]' })
})

test('short ones are left, and without any the text is the same', () => {
  assert.equal(new Hidden(['test']).in('a test'), 'a test')
  assert.equal(new Hidden([]).in('a test'), 'a test')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Secret } from './fields.ts'
import { Hidden, secretsOf, urlWithoutSecrets } from './hidden.ts'

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

test('a token may be the user of a URL, a step of its path, or its signature', () => {
  const token = 'Xa81bQ0zpLm2nRt7uVw5yKd3'
  assert.deepEqual(secretsOf('https://tttttttt@host/in'), ['tttttttt', 'dHR0dHR0dHQ6'])
  assert.deepEqual(secretsOf(`https://hooks.example/services/T0123/${token}`), [token])
  const uuid = '0d5f9a1e-7c2b-4e55-9d7a-1b2c3d4e5f60'
  assert.deepEqual(secretsOf(`https://in.example/bulk/${uuid}/tag`), [uuid])
  assert.deepEqual(secretsOf('https://s3.example/a?X-Amz-Credential=AKIA&X-Amz-Signature=ssssssss'), ['ssssssss'])
  for (const plain of [
    'https://host/v1/logs/production-web-logs-eu-central-1/2026-11-21',
    'https://sqs.eu-west-1.amazonaws.com/123456789012/my-long-queue-of-events',
    `s3://bucket/${token}/`,
  ])
    assert.deepEqual(secretsOf(plain), [], plain)
})

test('a URL is shown without login, query, fragment and tokens', () => {
  const shown = urlWithoutSecrets('https://me:pp@hooks.example:8443/in/Xa81bQ0zpLm2nRt7uVw5yKd3/é?key=1#x')
  assert.equal(shown, 'https://hooks.example:8443/in/…/%C3%A9?…')
  assert.equal(urlWithoutSecrets('http://localhost:8080/'), 'http://localhost:8080/')
  assert.equal(urlWithoutSecrets('udp://host:12201'), 'udp://host:12201')
  assert.equal(urlWithoutSecrets('no url'), 'no url')
})

test('short ones are left, and without any the text is the same', () => {
  assert.equal(new Hidden(['test']).in('a test'), 'a test')
  assert.equal(new Hidden([]).in('a test'), 'a test')
})

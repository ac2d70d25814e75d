import assert from 'node:assert/strict'
import { test } from 'node:test'
import { credentialsFinding, findCredentials, missingAdvice } from './credentials-finding.ts'

const live = { signal: new AbortController().signal }
const missing = 'Could not load credentials from any providers'

test('without credentials the advice names what of them is there', () => {
  assert.match(missingAdvice(missing, {}), /^set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile/)
  assert.match(missingAdvice(missing, { AWS_ACCESS_KEY_ID: 'AKIA' }), /AWS_SECRET_ACCESS_KEY is not/)
  assert.match(missingAdvice(missing, { AWS_SECRET_ACCESS_KEY: 'geheim' }), /AWS_ACCESS_KEY_ID is not/)
  assert.match(missingAdvice(missing, { AWS_PROFILE: 'nope' }), /AWS_PROFILE names "nope"/)
  assert.match(missingAdvice('not authorized to perform: sts:AssumeRole', { AWS_PROFILE: 'x' }), /`role_arn`/)
})

test('credentials are told by what gave them and until when, never with a value', async () => {
  const found = { accessKeyId: 'AKIAX', secretAccessKey: 'geheim', $source: { CREDENTIALS_IMDS: '0' } }
  const finding = await findCredentials(() => Promise.resolve(found), live)
  assert.deepEqual(finding, { level: 'ok', text: 'credentials from the role of this instance' })
  const nowMs = Date.UTC(2026, 0, 1)
  const until = (ms: number) => credentialsFinding({ expiration: new Date(nowMs + ms) }, nowMs)
  assert.equal(until(60_000).text, 'credentials from the chain of the SDK, good until 2026-01-01T00:01:00Z')
  assert.equal(until(-60_000).level, 'problem')
  const none = await findCredentials(() => Promise.reject(new Error(missing)), live)
  assert.deepEqual([none.level, none.text], ['problem', `there are no credentials: ${missing}`])
})

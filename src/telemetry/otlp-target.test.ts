import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StreamError } from '../core/errors.ts'
import { otlpConfig } from './otlp-config.ts'
import { otlpTarget } from './otlp-target.ts'

const target = (settings: Record<string, unknown>) => otlpTarget(otlpConfig.parse({ enabled: true, ...settings }))

test('every form of endpoint that people write is understood', () => {
  const cases: ReadonlyArray<readonly [Record<string, unknown>, string, string]> = [
    [{ endpoint: 'localhost:4317' }, 'http://localhost:4317', ''],
    [{ endpoint: 'collector' }, 'http://collector:4317', ''],
    [{ endpoint: 'collector', protocol: 'http' }, 'http://collector:4318', ''],
    [{ endpoint: ':4317' }, 'http://localhost:4317', ''],
    [{ endpoint: '[::1]:4317' }, 'http://[::1]:4317', ''],
    [{ endpoint: 'collector:80' }, 'http://collector:80', ''],
    [{ endpoint: 'collector:443', insecure: false }, 'https://collector:443', ''],
    [{ endpoint: 'collector:4317', insecure: false }, 'https://collector:4317', ''],
    [{ endpoint: 'collector:4317', tls: { insecure_skip_verify: true } }, 'https://collector:4317', ''],
    [{ endpoint: 'https://collector' }, 'https://collector:4317', ''],
    [{ endpoint: 'https://collector:443' }, 'https://collector:443', ''],
    [{ endpoint: 'http://collector', protocol: 'http' }, 'http://collector:80', ''],
    [{ endpoint: 'https://collector/otlp/', protocol: 'http' }, 'https://collector:443', '/otlp'],
    [{ endpoint: 'https://collector/otlp/v1/metrics', protocol: 'http' }, 'https://collector:443', '/otlp'],
    [{ endpoint: 'http://collector:4318/v1/traces', protocol: 'http' }, 'http://collector:4318', ''],
  ]
  for (const [settings, origin, path] of cases) {
    const found = target(settings)
    assert.deepEqual([found.origin, found.path], [origin, path], JSON.stringify(settings))
    assert.equal(found.tls !== undefined, origin.startsWith('https'))
  }
})

test('what cannot be an endpoint, or contradicts itself, is refused with advice', () => {
  const cases: ReadonlyArray<readonly [Record<string, unknown>, RegExp]> = [
    [{ endpoint: 'http://collector:4317', insecure: false }, /http:\/\/ is without TLS.*write https/],
    [{ endpoint: 'https://collector/otlp' }, /gRPC knows no path.*protocol: http/],
    [{ endpoint: 'ftp://collector' }, /scheme is not known/],
    [{ endpoint: 'a b' }, /no address/],
    [{ endpoint: 'collector/otlp', protocol: 'http' }, /a path needs a URL/],
    [{ endpoint: 'http://collector/?key=1', protocol: 'http' }, /a query/],
    [{ endpoint: 'collector', tls: { ca_file: '/nowhere/ca.pem' } }, /cannot read tls.ca_file/],
    [{ endpoint: 'collector', headers: { 'Content-Type': 'text/plain' } }, /"Content-Type".*sets it itself/],
    [{ endpoint: 'collector', headers: { 'bad name': 'x' } }, /"bad name".*cannot have/],
  ]
  for (const [settings, words] of cases) {
    assert.throws(
      () => target(settings),
      (error) => error instanceof StreamError && error.code === 'config.invalid' && words.test(error.message),
      JSON.stringify(settings),
    )
  }
})

test('a password in the endpoint, or in a header that cannot be sent, is not in the error', () => {
  const texts = [
    { endpoint: 'https://user:hunter2@collector' },
    { headers: { authorization: 'Bearer hunter2\n' } },
  ].map((settings) => {
    try {
      target(settings)
    } catch (error) {
      return `${error instanceof Error ? `${error.stack} ${error.cause}` : ''}`
    }
    return 'hunter2 was accepted'
  })
  for (const text of texts) assert.ok(text.includes('cannot') && !text.includes('hunter2'), text)
})

test('headers are sent in lower case, as gRPC wants them', () => {
  const { headers } = target({ headers: { Authorization: 'Bearer x', 'X-Scope-OrgID': '7' } })
  const { 'user-agent': agent, ...rest } = headers
  assert.match(agent ?? '', /^s3-streamer\//)
  assert.deepEqual(rest, { authorization: 'Bearer x', 'x-scope-orgid': '7' })
})

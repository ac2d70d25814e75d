import assert from 'node:assert/strict'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { endpointsOf, messageFormatOf, syslogConfig } from './syslog-config.ts'

const parse = (settings: object) => syslogConfig.safeParse({ type: 'syslog', endpoints: ['tcp://h'], ...settings })
const issuesOf = (settings: object) =>
  (parse(settings).error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`).join('\n')

test('endpoints have the port of their transport, and IPv6 hosts are known', () => {
  const endpoints = ['tls://logs.example.com', 'tls://[2001:db8::1]:7000', 'tls://10.0.0.1/']
  const config = syslogConfig.parse({ type: 'syslog', endpoints })
  assert.deepEqual(endpointsOf(config), [
    { transport: 'tls', host: 'logs.example.com', port: 6514 },
    { transport: 'tls', host: '2001:db8::1', port: 7000 },
    { transport: 'tls', host: '10.0.0.1', port: 6514 },
  ])
  const ports = ['udp://h', 'tcp://h'].map((url) =>
    endpointsOf(syslogConfig.parse({ type: 'syslog', endpoints: [url] })),
  )
  assert.deepEqual(
    ports.map(([one]) => one?.port),
    [514, 601],
  )
})

test('what cannot be is refused, with the key and the reason', () => {
  const cases: Array<[object, RegExp]> = [
    [{ endpoints: [] }, /^endpoints: /],
    [{ endpoints: ['localhost:514'] }, /^endpoints.0: must be a URL like udp:/],
    [{ endpoints: ['http://h:514'] }, /^endpoints.0: must be a URL like udp:/],
    [{ endpoints: ['tcp://h:99999'] }, /^endpoints.0: must be a URL/],
    [{ endpoints: ['tcp://h:601/path'] }, /^endpoints.0: must be no more than/],
    [{ endpoints: ['tcp://user@h:601'] }, /^endpoints.0: must be no more than/],
    [{ endpoints: ['tcp://h', 'tls://h'] }, /^endpoints: must all be of one kind/],
    [{ endpoints: ['tls://h'], framing: 'lf' }, /^framing: must be octet_counting with tls/],
    [{ endpoints: ['udp://h'], framing: 'lf' }, /^framing: has no meaning with udp/],
    [{ endpoints: ['udp://h'], max_message_bytes: '64KiB' }, /^max_message_bytes: must be at most 65507/],
    [{ max_message_bytes: 100 }, /^max_message_bytes: .*out of range/],
    [{ facility: 'local8' }, /^facility: /],
    [{ facility: 24 }, /^facility: /],
    [{ severity: 8 }, /^severity: /],
    [{ app_name: 'two words' }, /^app_name: must be 1 to 48 printable ASCII/],
    [{ app_name: 'a'.repeat(49) }, /^app_name: /],
    [{ app_name: 'a'.repeat(33), format: 'rfc3164' }, /^app_name: must be at most 32/],
    [{ app_name: 'a:b', format: 'rfc3164' }, /^app_name: must not contain/],
    [{ proc_id: '1]', format: 'rfc3164' }, /^proc_id: must not contain/],
    [{ proc_id: 'a'.repeat(129) }, /^proc_id: /],
    [{ msg_id: 'a'.repeat(33) }, /^msg_id: /],
    [{ hostname: 'h'.repeat(256) }, /^hostname: /],
    [{ hostname: 'büro' }, /^hostname: /],
    [{ structured_data_id: 'origin' }, /^structured_data_id: .*enterprise number/],
    [{ structured_data_id: 'a b@1' }, /^structured_data_id: /],
    [{ structured_data_id: 'a]@1' }, /^structured_data_id: /],
    [{ structured_data_id: `${'a'.repeat(31)}@1` }, /^structured_data_id: /],
    [{ bom: true, format: 'rfc3164' }, /^bom: has no meaning/],
    [{ max_in_flight: 2 }, /max_in_flight/],
  ]
  for (const [settings, message] of cases) assert.match(issuesOf(settings), message, JSON.stringify(settings))
  assert.equal(issuesOf({ structured_data_id: 's3@32473.1.2', facility: 23, severity: 0 }), '')
  assert.equal(issuesOf({ structured_data_id: '-' }), '')
})

test('the limit of a message follows the transport, and names become numbers', () => {
  const of = (url: string, settings: object) =>
    messageFormatOf(
      syslogConfig.parse({ type: 'syslog', endpoints: [url], ...settings }),
      url.startsWith('udp') ? 'udp' : 'tcp',
    )
  assert.equal(of('tcp://h', {}).maxMessageBytes, 8192)
  assert.equal(of('tcp://h', { format: 'rfc3164' }).maxMessageBytes, 8192)
  assert.equal(of('udp://h', {}).maxMessageBytes, 2048)
  assert.equal(of('udp://h', { format: 'rfc3164' }).maxMessageBytes, 1024)
  assert.equal(of('udp://h', { max_message_bytes: '60KiB' }).maxMessageBytes, 61_440)
  const { facility, severity, framing } = of('tcp://h', { facility: 'authpriv', severity: 'warning', framing: 'lf' })
  assert.deepEqual([facility, severity, framing], [10, 4, 'lf'])
  assert.equal(of('udp://h', {}).framing, 'datagram')
  assert.equal(of('udp://h', {}).hostname, hostname())
})

import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { test } from 'node:test'
import { fingerprintOf, KnownHosts, keyType, knownHostsLine } from './known-hosts.ts'

/** A public key in the form of RFC 4253 6.6; `mark` makes it differ from others. */
function keyOf(type: string, mark: string): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value)
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }
  return Buffer.concat([text(type), text(mark.padEnd(32, '.'))])
}

const ours = keyOf('ssh-ed25519', 'ours')
const other = keyOf('ssh-ed25519', 'other')
const rsa = keyOf('ssh-rsa', 'rsa')
const line = (names: string, key: Buffer) => `${names} ${keyType(key)} ${key.toString('base64')}`

function hashed(name: string): string {
  const salt = Buffer.from('twenty bytes of salt')
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}

const known: ReadonlyArray<readonly [why: string, names: string, host: string, port: number]> = [
  ['the name', 'sftp.example.com', 'sftp.example.com', 22],
  ['the name in other letters', 'sftp.example.com', 'SFTP.Example.com', 22],
  ['one of several names', 'a.example.com,sftp.example.com,10.0.0.1', '10.0.0.1', 22],
  ['the name with its port', '[sftp.example.com]:2222', 'sftp.example.com', 2222],
  ['the name without the port, as ssh takes it', 'sftp.example.com', 'sftp.example.com', 2222],
  ['an address of version 6 with its port', '[::1]:2222', '::1', 2222],
  ['a pattern', '*.example.com', 'sftp.example.com', 22],
  ['a pattern of one character', 'sftp?.example.com', 'sftp7.example.com', 22],
  ['a hashed name', hashed('sftp.example.com'), 'sftp.example.com', 22],
  ['a hashed name with its port', hashed('[sftp.example.com]:2222'), 'sftp.example.com', 2222],
]
for (const [why, names, host, port] of known) {
  test(`a key is known by ${why}`, () => {
    const hosts = new KnownHosts(`# a comment\n\n${line(names, rsa)} me@here\n${line(names, ours)}\r\n`)
    assert.deepEqual(hosts.verdict(host, port, ours), { verdict: 'known' })
    assert.deepEqual([...hosts.typesFor(host, port)], ['ssh-rsa', 'ssh-ed25519'])
  })
}

test('another key of the same type for the same name has changed', () => {
  const hosts = new KnownHosts(`${line('[sftp.example.com]:2222', rsa)}\n${line('*', ours)}`)
  const changed = { verdict: 'changed', line: 2, known: fingerprintOf(ours) }
  assert.deepEqual(hosts.verdict('sftp.example.com', 22, other), changed)
})

test('the key of the host without a port cannot contradict the one on another port', () => {
  const hosts = new KnownHosts(line('sftp.example.com', ours))
  assert.deepEqual(hosts.verdict('sftp.example.com', 2222, other), { verdict: 'unknown', types: [] })
})

const unknown: ReadonlyArray<readonly [why: string, names: string, host: string, port: number]> = [
  ['another name', 'sftp.example.com', 'www.example.com', 22],
  ['a name that only looks like the pattern', 'sftp.example.com', 'sftpxexample.com', 22],
  ['a name that a pattern takes out again', '*.example.com,!sftp.example.com', 'sftp.example.com', 22],
  ['another port', '[sftp.example.com]:2222', 'sftp.example.com', 22],
  ['another hashed name', hashed('www.example.com'), 'sftp.example.com', 22],
  ['an authority, which is not used', '@cert-authority sftp.example.com', 'sftp.example.com', 22],
]
for (const [why, names, host, port] of unknown) {
  test(`a key is not known by ${why}`, () => {
    const hosts = new KnownHosts(line(names, ours))
    assert.deepEqual(hosts.verdict(host, port, ours), { verdict: 'unknown', types: [] })
    assert.equal(hosts.typesFor(host, port).size, 0)
  })
}

test('a key of another type is unknown, and the types that are known are told', () => {
  const hosts = new KnownHosts(line('sftp.example.com', rsa))
  assert.deepEqual(hosts.verdict('sftp.example.com', 22, ours), { verdict: 'unknown', types: ['ssh-rsa'] })
})

test('a revoked key is refused, also where another line has it', () => {
  const hosts = new KnownHosts(`${line('*', ours)}\n@revoked ${line('*', ours)}`)
  assert.deepEqual(hosts.verdict('sftp.example.com', 22, ours), { verdict: 'revoked', line: 2 })
})

test('lines that are none are passed over', () => {
  const text = [
    'sftp.example.com',
    'sftp.example.com ssh-ed25519',
    'sftp.example.com ssh-rsa AAAA',
    '\u0000',
    '|1|x|y z w',
  ]
  const hosts = new KnownHosts(`${text.join('\n')}\n${line('sftp.example.com', ours)}`)
  assert.deepEqual(hosts.verdict('sftp.example.com', 22, ours), { verdict: 'known' })
})

test('the line that is told to be added makes the key known', () => {
  for (const [host, port] of [
    ['Sftp.example.com', 22],
    ['10.0.0.1', 2222],
    ['::1', 2200],
  ] as const) {
    const hosts = new KnownHosts(knownHostsLine(host, port, ours))
    assert.deepEqual(hosts.verdict(host, port, ours), { verdict: 'known' })
  }
})

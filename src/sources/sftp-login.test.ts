import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeSshKey } from '../../test/servers/sftp-keys.ts'
import { SftpBed } from '../../test/servers/sftp-store-bed.ts'
import { StreamError } from '../core/errors.ts'

async function failure(work: Promise<unknown>): Promise<StreamError> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof StreamError, `a StreamError, not ${error}`)
  return error
}

const plain = makeSshKey()
const encrypted = makeSshKey('ed25519', 'open sesame')
const ecdsa = makeSshKey('ecdsa')
const rsa = makeSshKey('rsa')
const users = {
  acme: { password: 'correct horse', publicKeys: [plain, encrypted, ecdsa, rsa].map((one) => one.publicKey) },
}

const ways = [
  ['a password', {}],
  ['an ed25519 key', { password: undefined, private_key: plain.privateKey }],
  ['an ecdsa key', { password: undefined, private_key: ecdsa.privateKey }],
  ['an rsa key', { password: undefined, private_key: rsa.privateKey }],
  ['an encrypted key', { password: undefined, private_key: encrypted.privateKey, passphrase: 'open sesame' }],
  ['a password after a key that is not wanted', { private_key: makeSshKey().privateKey }],
] as const
for (const [name, more] of ways) {
  test(`logs in with ${name}`, async () => {
    await using bed = await SftpBed.start({ users })
    assert.equal((await bed.store(more).stat('/', bed.o))?.kind, 'folder')
  })
}

test('logs in with the password where the server only asks questions', async () => {
  await using bed = await SftpBed.start({ users, switches: { authMethods: ['keyboard-interactive'] } })
  assert.equal((await bed.store().stat('/', bed.o))?.kind, 'folder')
  assert.equal(bed.server.counters.authFailures, 0, 'nothing was tried that is not offered')
})

test('logs in with a key file, which is read anew after it did not help', async () => {
  await using bed = await SftpBed.start({ users })
  const folder = await mkdtemp(join(tmpdir(), 'sftp-login-'))
  try {
    const private_key_file = join(folder, 'id')
    const store = bed.store({ password: undefined, private_key_file })
    assert.match(
      (await failure(store.stat('/', bed.o))).message,
      /cannot use private_key_file .*ENOENT.*is the path right/,
    )
    await writeFile(private_key_file, makeSshKey().privateKey)
    assert.match((await failure(store.stat('/', bed.o))).message, /tried private key/)
    await writeFile(private_key_file, plain.privateKey)
    assert.equal((await store.stat('/', bed.o))?.kind, 'folder')
  } finally {
    await rm(folder, { recursive: true })
  }
})

test('a wrong password is told with what was tried and what the server allows, and not tried again and again', async () => {
  await using bed = await SftpBed.start({ users })
  const error = await failure(bed.store({ password: 'hunter2', private_key: makeSshKey().privateKey }).stat('/', bed.o))
  assert.equal(error.code, 'source.access')
  assert.match(
    error.message,
    /tried private key, password, keyboard-interactive; the server allows publickey, password, keyb/,
  )
  assert.doesNotMatch(error.message, /hunter2/)
  assert.equal(bed.server.counters.connections, 1)
})

test('a server that hangs up after too many tries refused the user, it did not fail', async () => {
  await using bed = await SftpBed.start({ users, switches: { maxAuthTries: 1 } })
  const error = await failure(bed.store({ password: 'hunter2' }).stat('/', bed.o))
  assert.equal(error.code, 'source.access')
  assert.match(error.message, /tried password/)
})

test('a method that the server does not offer is not tried', async () => {
  await using bed = await SftpBed.start({ users, switches: { authMethods: ['publickey'] } })
  const error = await failure(bed.store().stat('/', bed.o))
  assert.match(error.message, /none of our ways was allowed; the server allows publickey/)
})

const badKeys = [
  ['encrypted, without a passphrase', encrypted.privateKey, undefined, /it is encrypted \(set `passphrase`\)/],
  [
    'encrypted, with a wrong passphrase',
    encrypted.privateKey,
    'xyzzy',
    /cannot be decrypted \(is `passphrase` the right one/,
  ],
  ['public', plain.publicKey, undefined, /it is a public key/],
  ['of PuTTY', 'PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n', undefined, /PuTTY.*puttygen/],
  ['no key at all', 'hello', undefined, /must be a private key/],
  ['empty', '', undefined, /must be a private key/],
] as const
for (const [name, private_key, passphrase, message] of badKeys) {
  test(`a key that is ${name} is a clear error before the server is bothered`, async () => {
    await using bed = await SftpBed.start({ users })
    const error = await failure(bed.store({ password: undefined, private_key, passphrase }).stat('/', bed.o))
    assert.equal(error.code, 'source.access')
    assert.match(error.message, message)
    assert.doesNotMatch(error.message, /xyzzy|BEGIN/)
    assert.equal(bed.server.counters.connections, 0)
  })
}

test('an agent that does not answer is told of, and the password still works', async () => {
  await using bed = await SftpBed.start({ users })
  const agent = join(tmpdir(), 'no such agent')
  assert.equal((await bed.store({ agent }).stat('/', bed.o))?.kind, 'folder')
  const error = await failure(bed.store({ agent, password: undefined }).stat('/', bed.o))
  assert.equal(error.code, 'source.access')
  assert.match(error.message, /tried agent/)
})

test('nothing to log in with, or two keys, is an error of the configuration', async () => {
  await using bed = await SftpBed.start({ users })
  assert.throws(() => bed.store({ password: undefined }), { code: 'config.invalid', message: /nothing to log in with/ })
  assert.throws(() => bed.store({ private_key: 'a', private_key_file: 'b' }), { code: 'config.invalid' })
})

test('a server without SFTP is told of as such', async () => {
  await using bed = await SftpBed.start({ switches: { withoutSftp: true } })
  const error = await failure(bed.store().stat('/', bed.o))
  assert.equal(error.code, 'source.access')
  assert.match(error.message, /cannot start SFTP/)
})

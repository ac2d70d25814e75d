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

async function withFile(work: (path: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'sftp-host-key-'))
  try {
    await work(join(folder, 'known hosts'))
  } finally {
    await rm(folder, { recursive: true })
  }
}

test('without anything to compare it with no key is trusted, and the message says what to set', async () => {
  await using bed = await SftpBed.start()
  const { server, o } = bed
  const error = await failure(bed.store({ host_key_fingerprint: undefined }).stat('/', o))
  assert.equal(error.code, 'source.access')
  assert.ok(error.message.includes(`set host_key_fingerprint: ${server.fingerprint}`), error.message)
  assert.ok(error.message.includes(server.knownHosts.trim()), error.message)
  assert.equal(server.counters.authFailures + server.counters.sessions, 0, 'the password was not sent')
})

test('the line of the message, put into known_hosts_file, makes the next connection', async () => {
  await using bed = await SftpBed.start()
  await withFile(async (known_hosts_file) => {
    const store = bed.store({ host_key_fingerprint: undefined, known_hosts_file })
    const missing = await failure(store.stat('/', bed.o))
    assert.match(missing.message, /is not in known_hosts_file .*which does not exist yet/)
    await writeFile(known_hosts_file, '# nothing\n')
    const { message } = await failure(store.stat('/', bed.o))
    assert.doesNotMatch(message, /does not exist/)
    const line = /this line: (\[.*)\)$/.exec(message)?.[1]
    assert.ok(line, message)
    await writeFile(known_hosts_file, `${line}\n`)
    assert.equal((await store.stat('/', bed.o))?.kind, 'folder')
  })
})

test('a host key that changed is refused as the alarm it is, before anything is sent', async () => {
  await using bed = await SftpBed.start()
  await withFile(async (known_hosts_file) => {
    const { server, o } = bed
    await writeFile(known_hosts_file, server.knownHosts)
    const store = bed.store({ host_key_fingerprint: undefined, known_hosts_file })
    await store.stat('/', o)
    const before = server.fingerprint
    await server.stop()
    await server.start({ hostKeys: [makeSshKey()] })
    const error = await failure(store.stat('/', o))
    assert.equal(error.code, 'source.access')
    for (const part of [
      'THE HOST KEY HAS CHANGED',
      'INTERCEPTING',
      before,
      server.fingerprint,
      `line 1 of ${known_hosts_file}`,
    ]) {
      assert.ok(error.message.includes(part), `${part}: ${error.message}`)
    }
    assert.equal(server.counters.sessions, 1)
  })
})

test('a pinned fingerprint lets that key in and no other', async () => {
  await using bed = await SftpBed.start()
  const { server, o } = bed
  const wrong = makeSshKey().fingerprint
  assert.equal(
    (await bed.store({ host_key_fingerprint: [wrong, `${server.fingerprint}=`] }).stat('/', o))?.kind,
    'folder',
  )
  const { message, code } = await failure(bed.store({ host_key_fingerprint: wrong }).stat('/', o))
  assert.equal(code, 'source.access')
  assert.match(message, /THE HOST KEY IS NOT THE PINNED ONE/)
  assert.ok(message.includes(wrong) && message.includes(server.fingerprint), message)
})

test('of several host keys the server is asked for one that is known', async () => {
  await using bed = await SftpBed.start({ hostKeys: [makeSshKey('ed25519'), makeSshKey('ecdsa')] })
  await withFile(async (known_hosts_file) => {
    const [ed25519, ecdsa] = bed.server.knownHosts.trim().split('\n')
    for (const line of [ed25519, ecdsa]) {
      await writeFile(known_hosts_file, `${line}\n`)
      const store = bed.store({ host_key_fingerprint: undefined, known_hosts_file })
      assert.equal((await store.stat('/', bed.o))?.kind, 'folder', line)
    }
    await writeFile(known_hosts_file, `${ecdsa}\n@revoked * ${ecdsa?.split(' ').slice(1).join(' ')}\n`)
    const { message } = await failure(
      bed
        .store({
          host_key_fingerprint: undefined,
          known_hosts_file,
          algorithms: { server_host_key: ['ecdsa-sha2-nistp256'] },
        })
        .stat('/', bed.o),
    )
    assert.match(message, /THE HOST KEY IS REVOKED: .*line 2 of/)
  })
})

test('a known_hosts_file that cannot be read is said to be one', async () => {
  await using bed = await SftpBed.start()
  const { code, message } = await failure(bed.store({ known_hosts_file: tmpdir() }).stat('/', bed.o))
  assert.equal(code, 'source.access')
  assert.ok(message.startsWith(`cannot read known_hosts_file ${tmpdir()}:`), message)
})

test('algorithms that the server does not have are named with the key to set', async () => {
  await using bed = await SftpBed.start({ algorithms: { cipher: ['aes256-ctr'] } })
  const error = await failure(bed.store({ algorithms: { cipher: ['aes128-gcm@openssh.com'] } }).stat('/', bed.o))
  assert.equal(error.code, 'source.access')
  assert.match(error.message, /cipher.*`algorithms\.cipher`/)
  const unknown = await failure(bed.store({ algorithms: { kex: ['rot13'] } }).stat('/', bed.o))
  assert.equal(unknown.code, 'config.invalid')
  assert.match(unknown.message, /rot13/)
  assert.equal((await bed.store().stat('/', bed.o))?.kind, 'folder', 'ours by default has it')
})

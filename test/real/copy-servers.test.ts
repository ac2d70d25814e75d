import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { Client, type ConnectConfig, type SFTPWrapper } from 'ssh2'
import { Agent, request } from 'undici'
import { metricFaults, startProtectedPushgateway, startPushgateway } from './pushgateway.ts'
import { compareByRclone, debianRclone, newestRclone, rcloneEnvironment } from './rclone.ts'
import { Sshd } from './sshd.ts'
import { startVersitygw } from './versitygw.ts'

const run = promisify(execFile)
const [sshd, s3] = await Promise.all([Sshd.start(), startVersitygw()])
after(() => Promise.all([sshd.stop(), s3.stop()]))
await s3.createBucket('copied')
const content = randomBytes(3_000_000)
await mkdir(join(sshd.files, 'in', 'Ünder one'), { recursive: true })
await writeFile(join(sshd.files, 'in', 'three.bin'), content)
await writeFile(join(sshd.files, 'in', 'empty'), '')
await writeFile(join(sshd.files, 'in', 'Ünder one', 'a+b.txt'), 'small')
await sshd.handOver()

/** What `use` gives with a session of a client that has nothing to do with ours. */
async function withSftp<T>(server: Sshd, how: ConnectConfig, use: (sftp: SFTPWrapper) => Promise<T>): Promise<T> {
  const client = new Client()
  const { host, port, username } = server
  // Of a session that is cut; what `use` waits for fails by itself.
  client.on('error', () => {})
  try {
    client.connect({ host, port, username, ...how })
    await once(client, 'ready')
    return await use(await promisify<SFTPWrapper>((done) => client.sftp(done))())
  } finally {
    client.destroy()
  }
}

const namesIn = (sftp: SFTPWrapper, folder: string) =>
  promisify<string[]>((done) =>
    sftp.readdir(folder, (error, entries) =>
      error
        ? done(error, [])
        : done(
            null,
            entries.map((entry) => entry.filename),
          ),
    ),
  )()
const statOf = (sftp: SFTPWrapper, path: string) => promisify((done) => sftp.stat(path, done))()

test('sshd serves its folder to every kind of key, and by password', async () => {
  const listed = async (how: ConnectConfig) => (await withSftp(sshd, how, (sftp) => namesIn(sftp, 'in'))).toSorted()
  const names = ['empty', 'three.bin', 'Ünder one']
  assert.deepEqual(await listed({ privateKey: await readFile(sshd.privateKeyFile) }), names)
  const passphrase = 'a phrase'
  for (const type of ['ed25519', 'ecdsa', 'rsa'] as const) {
    const privateKey = await readFile(await sshd.authorizeKey(type, passphrase))
    assert.deepEqual(await listed({ privateKey, passphrase }), names, type)
  }
  if (sshd.password !== undefined) assert.deepEqual(await listed({ password: sshd.password }), names)
  await assert.rejects(listed({ password: 'wrong' }), /authentication/i)
})

test('sshd answers with the host keys that it names, and to the user alone what the user may read', async () => {
  let seen = ''
  const privateKey = await readFile(sshd.privateKeyFile)
  await writeFile(join(sshd.files, 'secret'), 'x')
  await chmod(join(sshd.files, 'secret'), 0o000)
  const how: ConnectConfig = {
    privateKey,
    hostHash: 'sha256',
    hostVerifier: (hash: string) => {
      seen = `SHA256:${Buffer.from(hash, 'hex').toString('base64').replace(/=+$/, '')}`
      return true
    },
    algorithms: { serverHostKey: ['ssh-ed25519'] },
  }
  await withSftp(sshd, how, async (sftp) => {
    const open = promisify<Buffer>((done) => sftp.open('secret', 'r', done))
    await assert.rejects(open(), /permission denied/i)
  })
  assert.equal(seen, await sshd.fingerprint('ed25519'))
})

test('sshd cuts its sessions, is killed, and comes back on the same port', async () => {
  await using server = await Sshd.start({ settings: ['Ciphers aes256-ctr'] })
  await writeFile(join(server.files, 'file'), 'x')
  const privateKey = await readFile(server.privateKeyFile)
  for (const end of [() => server.cutSessions(), () => server.kill()]) {
    await withSftp(server, { privateKey }, async (sftp) => {
      assert.ok(server.sessionProcesses > 0)
      const closed = once(sftp, 'close')
      await end()
      await closed
    })
  }
  await server.start()
  await withSftp(server, { privateKey }, (sftp) => statOf(sftp, 'file'))
  const gcm: ConnectConfig = { privateKey, algorithms: { cipher: ['aes128-gcm@openssh.com'] } }
  await assert.rejects(
    withSftp(server, gcm, (sftp) => namesIn(sftp, '.')),
    /no matching .*cipher/,
  )
})

test('both versions of rclone copy from sshd to versitygw, and compare what is there', async () => {
  const env = rcloneEnvironment(sshd, s3)
  for (const [index, { name, binary }] of [await debianRclone(), newestRclone()].entries()) {
    const prefix = `copied/${index}`
    await run(binary, ['copy', 'sftp:in', `s3:${prefix}`], { env })
    assert.ok(content.equals(await readFile(join(s3.folder, prefix, 'three.bin'))), name)
    await compareByRclone(sshd, s3, 'in', prefix)
    await writeFile(join(s3.folder, prefix, 'three.bin'), content.subarray(1))
    await assert.rejects(compareByRclone(sshd, s3, 'in', prefix), /three\.bin/)
  }
})

const push = (url: string, body: string) => request(url, { method: 'PUT', body }).then(({ statusCode }) => statusCode)

test('a Pushgateway keeps what is pushed to each group until it is killed', async () => {
  await using gateway = await startPushgateway()
  const job = `${gateway.url}/metrics/job/copy/instance/here`
  assert.equal(await push(job, '# HELP bytes_total Bytes.\n# TYPE bytes_total counter\nbytes_total 7\n'), 200)
  assert.equal(await push(job, 'not a metric'), 400)
  assert.match(await gateway.metrics(), /^bytes_total\{instance="here",job="copy"\} 7$/m)
  assert.deepEqual(await gateway.groups(), [{ instance: 'here', job: 'copy' }])
  await gateway.kill()
  await assert.rejects(gateway.metrics())
  await gateway.restart()
  assert.deepEqual(await gateway.groups(), [])
})

test('a protected Pushgateway wants TLS and the password', async () => {
  await using gateway = await startProtectedPushgateway()
  const ca = await readFile(gateway.ca)
  const dispatcher = new Agent({ connect: { ca } })
  const status = async (password: string) => {
    const authorization = `Basic ${Buffer.from(`${gateway.username}:${password}`).toString('base64')}`
    const { statusCode, body } = await request(`${gateway.url}/metrics`, { dispatcher, headers: { authorization } })
    await body.dump()
    return statusCode
  }
  assert.deepEqual([await status(gateway.password), await status('other')], [200, 401])
  await dispatcher.close()
})

test('promtool finds what is wrong with metrics', async () => {
  assert.equal(await metricFaults('# HELP a_total It.\n# TYPE a_total counter\na_total 1\n'), '')
  assert.match(await metricFaults('# TYPE a_total counter\na_total 1\n'), /no help text/)
  assert.notEqual(await metricFaults('a{ 1'), '')
})

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { appendFile, mkdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { after, type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { Command } from '../e2e/command.ts'
import { startHttpInput } from '../servers/http-input.ts'
import { CopyBed } from './copy-bed.ts'
import { RecordCounter, recordText } from './numbered-records.ts'
import { startProcess, stopProcess } from './process.ts'
import { metricFaults, startPushgateway } from './pushgateway.ts'
import { compareByRclone } from './rclone.ts'
import { Sshd, type SshdOptions } from './sshd.ts'

const run = promisify(execFile)
const bed = await CopyBed.start(2e9)
after(() => bed[Symbol.asyncDispose]())
const { sshd, s3 } = bed
for (const bucket of ['logins', 'ciphers', 'refused', 'growing', 'moved', 'archive', 'metrics']) {
  await s3.createBucket(bucket)
}
await bed.write('few/a', 1000)
await bed.write('few/with space/ünï\n☃', 100_000)
await bed.write('few/empty', 0)
await bed.write('fifty/fifty.bin', 50_000_000)
await sshd.handOver()

/** One more sshd with settings of its own, which serves the same files. */
async function another(t: TestContext, settings: SshdOptions['settings'] = []): Promise<Sshd> {
  const server = await Sshd.start({ settings })
  t.after(() => server.stop())
  await rm(server.files, { recursive: true })
  await symlink(sshd.files, server.files)
  return server
}

const loginOf = (server: Sshd): NodeJS.ProcessEnv => ({
  SFTP_KEY_FILE: server.privateKeyFile,
  SFTP_KNOWN_HOSTS: server.knownHostsFile,
})

test('every way to log in: keys of each type with a passphrase, the agent, a password', async (t) => {
  const SFTP_KEY_PASSPHRASE = 'a phrase'
  const logins: Array<readonly [string, NodeJS.ProcessEnv]> = []
  for (const type of ['ed25519', 'ecdsa', 'rsa'] as const) {
    const SFTP_KEY_FILE = await sshd.authorizeKey(type, SFTP_KEY_PASSPHRASE)
    logins.push([type, { SFTP_KEY_FILE, SFTP_KEY_PASSPHRASE }])
  }
  const SSH_AUTH_SOCK = join(bed.folder, 'agent')
  const agent = await startProcess('ssh-agent', ['-D', '-a', SSH_AUTH_SOCK], () =>
    run('ssh-add', ['-q', sshd.privateKeyFile], { env: { ...process.env, SSH_AUTH_SOCK } }),
  )
  t.after(() => stopProcess(agent, 'SIGTERM'))
  logins.push(['agent', { SFTP_KEY_FILE: undefined, SSH_AUTH_SOCK }])
  if (sshd.password !== undefined) {
    logins.push(['password', { SFTP_KEY_FILE: undefined, SFTP_PASSWORD: sshd.password }])
  }
  for (const [name, env] of logins) {
    await bed.copied([bed.source('few/'), `s3://logins/${name}/`], env)
    await bed.assertSame('few', `logins/${name}`)
  }
  await compareByRclone(sshd, s3, 'few', 'logins/rsa')
})

test('a wrong password, a wrong passphrase and a key that nobody knows: exit code 1, and what to do', async (t) => {
  const SFTP_KEY_FILE = await sshd.authorizeKey('ed25519', 'a phrase')
  const stranger = await another(t)
  const cases: Array<readonly [NodeJS.ProcessEnv, RegExp]> = [
    [{ SFTP_KEY_FILE: undefined, SFTP_PASSWORD: 'wrong-secret' }, /password/],
    [{ SFTP_KEY_FILE, SFTP_KEY_PASSPHRASE: 'wrong-secret' }, /passphrase/],
    [{ SFTP_KEY_FILE }, /passphrase/],
    [{ SFTP_KEY_FILE: stranger.privateKeyFile }, /publickey|key/],
  ]
  for (const [env, message] of cases) {
    const { code, stdout, stderr } = await bed.copy([bed.source('few/'), 's3://refused/'], env).ended
    assert.notEqual(code, 0)
    assert.match(stderr, message)
    assert.doesNotMatch(stdout + stderr, /wrong-secret/)
  }
  await assert.rejects(bed.assertSame('few', 'refused'), 'nothing came')
})

const ciphers = [
  'aes128-gcm@openssh.com',
  'aes256-gcm@openssh.com',
  'chacha20-poly1305@openssh.com',
  'aes128-ctr',
  'aes256-ctr',
]
for (const cipher of ciphers) {
  test(`50 MB come right by ${cipher}`, async (t) => {
    const server = await another(t, [`Ciphers ${cipher}`])
    await bed.copied([bed.source('fifty/', server), `s3://ciphers/${cipher}/`], loginOf(server))
    await bed.assertSame('fifty', `ciphers/${cipher}`)
  })
}

test('new keys after every 8 MB, in mid-transfer, do no harm', async (t) => {
  const server = await another(t, ['RekeyLimit 8M'])
  await bed.copied([bed.source('fifty/', server), 's3://ciphers/rekey/'], loginOf(server))
  await bed.assertSame('fifty', 'ciphers/rekey')
})

test('a server that allows one connection at a time, and one session in each, is served by one', async (t) => {
  const server = await another(t, ['MaxStartups 1', 'MaxSessions 1', 'PerSourceMaxStartups 1'])
  const args = ['--sessions', '8', '--files', '8']
  await bed.copied([bed.source('few/', server), 's3://logins/narrow/', ...args], loginOf(server))
  await bed.assertSame('few', 'logins/narrow')
  await bed.copied([bed.source('fifty/', server), 's3://ciphers/narrow/', ...args], loginOf(server))
  await bed.assertSame('fifty', 'ciphers/narrow')
})

test('an unknown host key and a changed one are refused; the line that is shown is the one to add', async (t) => {
  const args = [bed.source('few/'), 's3://refused/']
  const file = join(bed.folder, 'hosts')
  const unknown = await bed.copy(args, { SFTP_KNOWN_HOSTS: file }).ended
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /SHA256:/)
  const shown = new RegExp(`\\[127\\.0\\.0\\.1\\]:${sshd.port} \\S+ [A-Za-z0-9+/]+=*`).exec(unknown.stderr)?.[0] ?? ''
  const other = await another(t)
  const [, type = ''] = shown.split(' ')
  const lines = (await readFile(other.knownHostsFile, 'utf8')).split('\n')
  const foreign = lines.find((line) => line.includes(` ${type} `)) ?? ''
  await writeFile(file, `[127.0.0.1]:${sshd.port} ${foreign.split(' ').slice(1).join(' ')}\n`)
  const changed = await bed.copy(args, { SFTP_KNOWN_HOSTS: file }).ended
  assert.equal(changed.code, 1)
  assert.match(changed.stderr, /HAS CHANGED/)
  assert.equal(existsSync(bed.at('refused/a')), false)
  await writeFile(file, `${shown}\n`)
  await bed.copied(args, { SFTP_KNOWN_HOSTS: file })
  await bed.assertSame('few', 'refused')
})

test('a file that grows while it is copied arrives as it was in the end', async () => {
  const file = await bed.write('growing/log', 100_000_000)
  await sshd.handOver()
  const command = bed.copy([bed.source('growing/'), 's3://growing/', '--json'])
  await command.until(() => bed.parts('growing').length > 1, 'the first parts')
  await appendFile(file, 'one more line\n')
  const { code, stdout, stderr } = await command.ended
  assert.equal(code, 0, stdout + stderr)
  assert.match(stdout, /"outcome":"replaced"/)
  await bed.assertSame('growing', 'growing')
  assert.deepEqual(bed.parts('growing'), [])
})

/** A pipeline of the server's folder `path`, run once. */
async function runOnce(path: string, source: string, sink: string): Promise<void> {
  const file = join(bed.folder, `${basename(path)}.yaml`)
  await writeFile(
    file,
    `pipelines:
  - name: real
    source:
      type: sftp
      host: ${sshd.host}
      port: ${sshd.port}
      username: ${sshd.username}
      private_key_file: ${sshd.privateKeyFile}
      known_hosts_file: ${sshd.knownHostsFile}
      path: ${path}
${source}
    sink: ${sink}
    state: { file_path: ${join(bed.folder, `${basename(path)}.json`)} }
`,
  )
  const { code, output } = await ended(new Command(['run', '--once', '--config', file], { env: bed.env }))
  assert.equal(code, 0, output.slice(-3000))
}

async function ended(command: Command): Promise<{ readonly code: number | undefined; readonly output: string }> {
  const { code } = await command.ended
  return { code, output: command.output }
}

test('after: move takes each file away once it has arrived, without writing over what is there', async () => {
  await bed.write('drop/one.csv', 5000)
  await bed.write('drop/deep/two.csv', 9_000_000)
  await bed.write('drop/left.txt', 10)
  await bed.write('drop/done/one.csv', 70)
  await run('cp', ['-r', join(sshd.files, 'drop'), join(sshd.files, 'before')])
  await sshd.handOver()
  const keys = '      include: "**/*.csv"\n      after: move\n      move_to: done/{path}'
  const sink = `{ type: s3, bucket: moved, key: "vendor/{path}", region: ${s3.region}, endpoint: "${s3.endpoint}", force_path_style: true }`
  await runOnce(join(sshd.files, 'drop'), keys, sink)
  const found = async (folder: string) =>
    (await run('find', ['.', '-type', 'f'], { cwd: folder })).stdout.trim().split('\n').toSorted()
  assert.deepEqual(await found(join(sshd.files, 'drop')), [
    './done/deep/two.csv',
    './done/one.csv',
    './done/one.csv.1',
    './left.txt',
  ])
  assert.deepEqual(await found(bed.at('moved/vendor')), ['./deep/two.csv', './one.csv'])
  for (const name of ['one.csv', 'deep/two.csv', 'done/one.csv']) {
    const before = await readFile(join(sshd.files, 'before', name))
    const kept = name === 'one.csv' ? 'done/one.csv.1' : name.startsWith('done/') ? name : `done/${name}`
    assert.ok(before.equals(await readFile(join(sshd.files, 'drop', kept))), name)
    if (!name.startsWith('done/')) assert.ok(before.equals(await readFile(bed.at(`moved/vendor/${name}`))), name)
  }
})

test('records of plain and of gzipped files go to an HTTP input, every one, once', async (t) => {
  const [files, each] = [40, 1500]
  const counter = new RecordCounter(files * each)
  const take = (body: Buffer) => {
    for (const line of body.toString().split('\n')) if (line !== '') counter.add(line, line)
  }
  const input = await startHttpInput({ take, fault: (n) => (n % 7 === 3 ? { status: 503 } : undefined) })
  t.after(() => input.close())
  await mkdir(join(sshd.files, 'records'))
  for (let i = 0; i < files; i += 1) {
    const text = Array.from({ length: each }, (_, n) => `${recordText(i * each + n)}\n`).join('')
    await writeFile(join(sshd.files, 'records', `${i}.log${i % 2 ? '.gz' : ''}`), i % 2 ? gzipSync(text) : text)
  }
  await sshd.handOver()
  const sink = `{ type: edgedelta, endpoints: ["${input.url}"], batch: { records: 500, bytes: 1MiB, linger: 100ms }, retry: { min: 10ms, max: 100ms } }`
  await runOnce(join(sshd.files, 'records'), '      recursive: true', sink)
  const { lost, duplicated, strange } = counter
  assert.deepEqual({ lost, duplicated, strange }, { lost: 0, duplicated: 0, strange: 0 })
})

test('a bucket is copied into another', async () => {
  await bed.copied([bed.source('few/'), 's3://archive/from/few/'])
  await bed.copied([bed.source('fifty/'), 's3://archive/from/fifty/'])
  await bed.copied(['s3://archive/from/', 's3://metrics/to/', '--endpoint', s3.endpoint])
  await bed.assertSame('few', 'metrics/to/few')
  await bed.assertSame('fifty', 'metrics/to/fifty')
})

test('a Pushgateway has the figures of a copy when it is over, those of the former streamer too', async () => {
  await using gateway = await startPushgateway()
  const started = Date.now() / 1000
  await bed.copied([bed.source('fifty/'), 's3://metrics/pushed/', '--pushgateway', gateway.url])
  const text = await gateway.metrics()
  // The former streamer's names are its own.
  const faults = (await metricFaults(text)).split('\n').filter((line) => !/^sftp_s3_\w+_mb /.test(line))
  assert.deepEqual(faults, [''])
  const value = (name: string, labels = '') => {
    const found = new RegExp(`^${name}\\{[^}]*${labels}[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]
    assert.ok(found !== undefined, `${name} in\n${text}`)
    return Number(found)
  }
  assert.equal(value('transfer_bytes_total'), 50_000_000)
  assert.equal(value('sftp_s3_bytes_transferred_total'), 50_000_000)
  assert.equal(value('sftp_s3_chunks_processed_total'), 6)
  assert.equal(value('transfer_files_total', 'outcome="done"'), 1)
  assert.equal(value('s3_streamer_success'), 1)
  assert.ok(value('s3_streamer_finished_timestamp_seconds') >= Math.floor(started))
  assert.ok(value('process_resident_memory_bytes') > 2 ** 24)
  assert.ok(value('sftp_s3_process_write_bytes_mb') < 1, 'nothing is written to disk on the way')
  const [group] = await gateway.groups()
  assert.equal(group?.job, 'async-concurrent-file-transfer')
})

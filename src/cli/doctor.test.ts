import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { type SqsBed, within } from '../../test/servers/s3-sqs-bed.ts'
import { startTestbed, type Testbed } from '../../test/servers/testbed.ts'
import { mountOf, mountsIn } from './doctor-machine.ts'

/** The lines of a level, without their advice. */
const of = (level: string, out: string) =>
  out.split('\n').flatMap((line) => (line.startsWith(`  ${level} `) ? [line.slice(11)] : []))
/** Nothing is there that needs a port, which others may have. */
const noServer = 'health: { enabled: false }\n'

async function withBed(act: (bed: Testbed) => Promise<void>) {
  await using bed = await startTestbed()
  bed.write(noServer)
  chmodSync(bed.config, 0o600)
  const seconds = Math.floor(Date.now() / 1000)
  for (let i = 0; i < 3; i += 1) bed.s3.put(`web/${seconds - i}_1_2_${i}.log`, 'one\ntwo\n')
  await act(bed)
}

test('doctor finds nothing wrong where nothing is, with formats and content of what it found, and exits with 0', () =>
  withBed(async (bed) => {
    const { code, out, err } = await bed.run(['doctor'])
    assert.deepEqual([code, err, of('problem', out)], [0, '', []], out)
    const ok = of('ok', out).join('\n')
    for (const pattern of [
      /^s3-streamer .* with Node 2\d/m,
      /^it is valid: pipeline s3-to-edgedelta/m,
      /^it has secrets, and only its owner may read it/m,
      /^there is none yet$/m,
      /^credentials from environment variables/m,
      /^known with their time by their names: zscaler \(3\)/m,
      /\.log is not compressed, format zscaler, 2 records$/m,
    ])
      assert.match(ok, pattern)
    assert.match(out, /\n\S.*\(.*\d+ ok\)\n$/)
  }))

test('doctor changes nothing: no file, no object, no record, no place', () =>
  withBed(async (bed) => {
    const { mtimeMs } = statSync(bed.config)
    await bed.run(['doctor'])
    assert.deepEqual(readdirSync(bed.folder), ['config.yaml'])
    assert.equal(statSync(bed.config).mtimeMs, mtimeMs)
    assert.equal(bed.input.accepted.length, 0)
    assert.ok(bed.s3.requests.every(({ method }) => method === 'GET' || method === 'HEAD'))
    // With a state it is the same: what is on the disk stays as it is.
    assert.equal((await bed.run(['run', '--once'])).code, 0)
    const accepted = bed.input.accepted.length
    // SQLite puts its -shm and an empty -wal beside a database that someone looks into.
    const files = () => readdirSync(bed.folder).filter((name) => !/-(shm|wal)$/.test(name))
    const content = () => files().map((name) => [name, hash('sha1', readFileSync(join(bed.folder, name)))])
    const before = content()
    assert.equal((await bed.run(['doctor'])).code, 0)
    assert.deepEqual(content(), before)
    assert.equal(bed.input.accepted.length, accepted)
  }))

test('what does not answer is a problem with its advice, the rest is looked at all the same, and the exit code is 3', () =>
  withBed(async (bed) => {
    await bed.s3.close()
    await bed.input.close()
    const { code, out } = await bed.run(['doctor'])
    assert.equal(code, 3)
    const problems = of('problem', out)
    assert.equal(problems.length, 2, out)
    assert.match(problems[0] ?? '', /^cannot list s3:\/\/logs\/web\/: connect ECONNREFUSED/)
    assert.match(problems[1] ?? '', /ECONNREFUSED/)
    assert.equal(out.split('\n').filter((line) => line.startsWith('           → ')).length >= 2, true)
    assert.match(out, /\n2 problems: it will not work as configured \(.*\)\n$/)
  }))

test('a broken state is told once, and source and sink are looked at all the same', () =>
  withBed(async (bed) => {
    writeFileSync(join(bed.folder, 'state.db'), 'this is no database, however long it may look to SQLite '.repeat(100))
    const { code, out } = await bed.run(['doctor'])
    assert.equal(code, 3)
    assert.equal(of('problem', out).length, 1, out)
    assert.match(of('problem', out)[0] ?? '', /^cannot open the ledger .*state\.db/)
    assert.match(of('ok', out).join('\n'), /^objects can be read.*^http .* answers 200/ms)
  }))

test('a sink that cannot be made stands below its own title', () =>
  withBed(async (bed) => {
    const { out } = await bed.run(['doctor'], { env: { S3_STREAMER_HTTP_TLS_CA_FILE: '/none/ca.pem' } })
    assert.match(out, /^pipeline s3-to-edgedelta: source and sink\n {2}problem {2}.*ca\.pem/m)
  }))

test('doctor --json gives a line for each finding and a summary, and never a secret', () =>
  withBed(async (bed) => {
    await bed.input.close()
    const { code, out } = await bed.run(['doctor', '--json'])
    assert.equal(code, 3)
    const lines = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    const { summary } = lines.pop() as { summary: Record<string, number> }
    assert.equal(lines.filter(({ level }) => level === 'problem').length, summary.problems)
    assert.ok(lines.every(({ part, level, text }) => part !== undefined && level !== undefined && text !== ''))
    assert.deepEqual(
      lines.filter(({ level }) => level === 'problem').map(({ part, pipeline }) => [part, pipeline]),
      [['sink', 's3-to-edgedelta']],
    )
    assert.doesNotMatch(out, /hunter2/)
  }))

test('a wrong file ends with 2 and its problems', () =>
  withBed(async (bed) => {
    bed.write('http2: {}\n')
    const { code, out, err } = await bed.run(['doctor'])
    assert.deepEqual([code, out], [2, ''])
    assert.match(err, /http2/)
  }))

test('secrets that others may read, values from outside, and keys that no format knows are told', () =>
  withBed(async (bed) => {
    chmodSync(bed.config, 0o644)
    bed.s3.put('web/unknown.bin', 'words')
    const { code, out } = await bed.run(['doctor'], { env: { S3_STREAMER_HTTP_BATCH_LINES: '500' } })
    assert.equal(code, 0)
    assert.match(of('warning', out).join('\n'), /^it has secrets, and everyone on this machine may read it/m)
    const notes = of('note', out).join('\n')
    assert.match(notes, /^set from outside, in the place of the file: S3_STREAMER_HTTP_BATCH_LINES$/m)
    assert.match(notes, /^1 of 4 names have no time that a format knows: web\/unknown\.bin$/m)
  }))

test('a file whose secrets come from the environment may be read by others', () =>
  withBed(async (bed) => {
    bed.write('console: { token: "${CONSOLE_TOKEN}" }\n')
    writeFileSync(bed.config, readFileSync(bed.config, 'utf8').replace('hunter2', '"${API_KEY}"'))
    chmodSync(bed.config, 0o644)
    const { out } = await bed.run(['doctor'], { env: { CONSOLE_TOKEN: 'a token of some length', API_KEY: 'hunter2' } })
    assert.equal(out.includes('it has secrets'), false)
    assert.match(out, /it is valid/)
  }))

// facts/seeds.md A9: a port that was taken was only logged, and the start went on.
test('a port that another program has is a problem if it is configured', () =>
  withBed(async (bed) => {
    const other = createServer((_, response) => response.end('not ours')).listen(0, '127.0.0.1')
    await new Promise((resolve) => other.once('listening', resolve))
    const { port } = other.address() as AddressInfo
    bed.write(`health: { address: "127.0.0.1:${port}" }\n`)
    const { code, out } = await bed.run(['doctor'])
    other.close()
    assert.equal(code, 3)
    assert.match(
      of('problem', out)[0] ?? '',
      new RegExp(`^127\\.0\\.0\\.1:${port} is taken by .*process ${process.pid}`),
    )
  }))

test('a streamer of another configuration on the port is not taken for the one of this', () =>
  withBed(async (bed) => {
    const other = createServer((_, response) => response.end('{"status":"alive","eventLoopDelaySeconds":0}'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    bed.write(`health: { address: "127.0.0.1:${port}" }\n`)
    const { code, out } = await bed.run(['doctor'])
    other.close()
    assert.equal(code, 3)
    const expected = new RegExp(`^127\\.0\\.0\\.1:${port} is taken by another s3-streamer \\(process ${process.pid}\\)`)
    assert.match(of('problem', out)[0] ?? '', expected)
  }))

test('pipelines that are in each other’s way are told, and no message of their queue counts a receive', () =>
  within({}, async (bed: SqsBed) => {
    await using folder = await startTestbed()
    bed.arrive('a')
    const source = `{ type: s3_sqs, queue_url: "${bed.sqs.queueUrl(bed.queue)}", endpoint: "${bed.s3.endpoint}" }`
    const pipeline = (name: string) => `  - { name: ${name}, source: ${source}, sink: { type: stdout } }\n`
    writeFileSync(folder.config, `pipelines:\n${pipeline('one')}${pipeline('two')}${noServer}`)
    const { out } = await folder.run(['doctor'])
    assert.match(of('warning', out).join('\n'), /^one and two both read s3_sqs http.*$/m)
    assert.deepEqual(
      bed.messages.map(({ receives, state }) => [receives, state]),
      [[0, 'visible']],
    )
  }))

test('the disk that a path is on is the longest mount above it', () => {
  const mounts = mountsIn(
    '/dev/a / ext4 rw 0 0\nsrv:/x /var/lib nfs4 rw 0 0\ntmpfs /var/lib/my\\040disk tmpfs rw 0 0\n',
  )
  assert.equal(mountOf('/var/lib', mounts)?.type, 'nfs4')
  assert.equal(mountOf('/var/library', mounts)?.type, 'ext4')
  assert.equal(mountOf('/var/lib/my disk/state', mounts)?.type, 'tmpfs')
})

import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { bodyOf } from '../../test/fakes/copy.ts'
import { type CopyBed, startCopyBed } from '../../test/servers/copy-bed.ts'
import { startPushgateway } from '../../test/servers/pushgateway.ts'

const mib = 2 ** 20

function fill({ sftp }: CopyBed): Record<string, Buffer> {
  const files = {
    'a.csv': bodyOf(1000),
    'with space.csv': bodyOf(0),
    'sub/ünï\n☃.csv': bodyOf(70_000, 3),
    'sub/deep/big.bin': bodyOf(12 * mib, 5),
  }
  for (const [path, body] of Object.entries(files)) sftp.put(`/upload/${path}`, body)
  return files
}

const under = (prefix: string, files: Record<string, Buffer>) =>
  Object.fromEntries(Object.entries(files).map(([path, body]) => [`${prefix}${path}`, body]))

/** What is remembered of copies that were not finished. */
const remembered = ({ folder }: CopyBed) =>
  existsSync(join(folder, 'state')) ? readdirSync(join(folder, 'state', 's3-streamer')) : []

test('a folder of an SFTP server arrives below the prefix, byte for byte, and nothing is remembered of it', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  const { code, out, err } = await bed.copy([`${bed.login}/upload/`, 's3://data/in/', '--part-size', '5MiB'])
  assert.equal(err, '')
  assert.equal(code, 0)
  assert.deepEqual(bed.stored(), under('in/', files))
  assert.match(out, /^4 files copied, 12\.7 MB in [\d.]+ s, [\d.]+ .B\/s\n$/)
  assert.deepEqual(remembered(bed), [])
  assert.deepEqual(bed.s3.uploads(), [])
  assert.ok(bed.sftp.counters.connections <= 4, 'C6.7: sessions are used again')
})

test('a glob takes what it names, --include and --exclude narrow it, and one file may get a name', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  assert.equal((await bed.copy([`${bed.login}/upload/*.csv`, 's3://data/g/'])).code, 0)
  assert.deepEqual(Object.keys(bed.stored()), ['g/a.csv', 'g/with space.csv'])
  const narrowed = await bed.copy([
    `${bed.login}/upload`,
    's3://data/n/',
    '--include',
    '**/*.csv',
    '--exclude',
    'sub/**',
  ])
  assert.equal(narrowed.code, 0)
  assert.deepEqual(
    Object.keys(bed.stored()).filter((key) => key.startsWith('n/')),
    ['n/a.csv', 'n/with space.csv'],
  )
  assert.equal((await bed.copy([`${bed.login}/upload/a.csv`, 's3://data/renamed'])).code, 0)
  assert.deepEqual(bed.stored().renamed, files['a.csv'])
})

test('a folder and the name of one object do not go together', async () => {
  await using bed = await startCopyBed()
  fill(bed)
  const folder = await bed.copy([`${bed.login}/upload`, 's3://data/x'])
  assert.equal(folder.code, 2)
  assert.match(folder.err, /SOURCE is a folder, and DEST is the name of one object: end DEST with \/ /)
  const glob = await bed.copy([`${bed.login}/upload/*`, 's3://data/x'])
  assert.equal(glob.code, 2)
  assert.match(glob.err, /write s3:\/\/data\/x\/ for a folder/)
  assert.deepEqual(bed.stored(), {})
})

test('C3: the environment of the old streamer is enough; the key is the path, and metrics go to PUSH_GATEWAY', async () => {
  await using bed = await startCopyBed()
  await using gateway = await startPushgateway()
  const files = fill(bed)
  const { code, err } = await bed.copy([], {
    env: {
      SFTP_HOST: bed.sftp.host,
      SFTP_PORT: String(bed.sftp.port),
      SFTP_USER: bed.sftp.user,
      SFTP_PASSWORD: bed.sftp.password,
      S3_BUCKET: 'data',
      S3_ENDPOINT_URL: bed.s3.endpoint,
      PUSH_GATEWAY: gateway.url,
    },
  })
  assert.equal(err, '')
  assert.equal(code, 0)
  assert.deepEqual(bed.stored(), under('upload/', files))
  const bytes = Object.values(files).reduce((sum, { length }) => sum + length, 0)
  assert.equal(gateway.value('sftp_s3_bytes_transferred_total', { pipeline: 'copy' }), bytes)
  assert.equal(gateway.value('s3_streamer_success'), 1)
  assert.deepEqual(
    [...gateway.groups.values()].map(({ labels }) => labels.job),
    ['async-concurrent-file-transfer'],
  )
})

test('.env in the folder counts, and what is in the environment counts more', async () => {
  const { withDotEnv } = await import('./copy-request.ts')
  await using bed = await startCopyBed()
  const file = join(bed.folder, '.env')
  writeFileSync(file, 'SFTP_HOST=example.com\nSFTP_PASSWORD="air flow"\nS3_BUCKET=data\n')
  const env = withDotEnv({ S3_BUCKET: 'other' }, file)
  assert.deepEqual({ ...env }, { SFTP_HOST: 'example.com', SFTP_PASSWORD: 'air flow', S3_BUCKET: 'other' })
})

test('C6.10 and C6.8: a file that fails makes the exit code 1 and is named; the others arrive; the next run copies only that one', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  bed.sftp.chmod('/upload/a.csv', 0o000)
  const { code, out } = await bed.copy([`${bed.login}/upload/`, 's3://data/'])
  assert.equal(code, 1)
  assert.match(out, /FAILED {2}sftp:\/\/acme@127\.0\.0\.1:\d+\/upload\/a\.csv: .*permission/i)
  assert.match(out, /3 files copied, .*; 1 file failed\nthe same command tries again what failed\n$/)
  assert.doesNotMatch(out, /correct horse/)
  bed.sftp.chmod('/upload/a.csv', 0o644)
  const puts = bed.s3.counters.put
  assert.equal((await bed.copy([`${bed.login}/upload/`, 's3://data/'])).code, 0)
  assert.equal(bed.s3.counters.put - puts, 1)
  assert.deepEqual(bed.stored(), files)
  assert.deepEqual(remembered(bed), [])
})

test('C6.8: a host key that nobody vouches for is refused, with its fingerprint and the line to add', async () => {
  await using bed = await startCopyBed()
  fill(bed)
  const { sftp } = bed
  const unknown = await bed.copy([`${bed.login}/upload/`, 's3://data/', '--known-hosts', join(bed.folder, 'none')])
  assert.equal(unknown.code, 1)
  assert.ok(unknown.err.includes(sftp.fingerprint), unknown.err)
  assert.ok(unknown.err.includes(sftp.knownHostsLine.split(' ').slice(0, 3).join(' ')), unknown.err)
  const pinned = await bed.copy([`${bed.login}/upload/`, 's3://data/', '--host-key', sftp.fingerprint])
  assert.equal(pinned.code, 0)
  const other = `SHA256:${'A'.repeat(43)}`
  const wrong = await bed.copy([`${bed.login}/upload/`, 's3://data/', '--host-key', other])
  assert.equal(wrong.code, 1)
  assert.match(wrong.err, /host key/i)
})

test('what cannot be meant is refused with what to write', async () => {
  await using bed = await startCopyBed()
  const cases: Array<[string[], RegExp]> = [
    [['sftp://h/x'], /from where and to where/],
    [[], /SFTP_HOST/],
    [['ftp://h/x', 's3://b/'], /cannot copy from ftp:\/\/: SOURCE is sftp:/],
    [['sftp:///x', 's3://b/'], /no host/],
    [['sftp://h/x', 'gs://b/'], /cannot copy to gs:\/\/b\/: DEST is s3:/],
    [['sftp://h/x', 's3://b/', '--part-size', '1KiB'], /--part-size .*out of range/],
    [['sftp://h/x', 's3://b/', '--verify', 'twice'], /--verify .*checksum/],
    [['s3://b/x/', 's3://b/y/', '--after', 'delete'], /--after, --move-to: for files/],
    [['sftp://h/x', 's3://b/', '--after', 'move'], /--move-to/],
  ]
  for (const [args, message] of cases) {
    const { code, err } = await bed.copy(args, { env: { SFTP_PASSWORD: 'p' } })
    assert.equal(code, 2, args.join(' '))
    assert.match(err, message)
  }
})

test('a bucket is copied to another place, below its prefix; one object by its key', async () => {
  await using bed = await startCopyBed()
  bed.s3.put('logs/2026/a.gz', bodyOf(500))
  bed.s3.put('logs/2026/b/c.gz', bodyOf(7 * mib, 1))
  bed.s3.put('logs/2026-old/x', 'x')
  assert.equal((await bed.copy(['s3://src/logs/2026/', 's3://dst/new/', '--part-size', '5MiB'])).code, 0)
  assert.deepEqual(
    Object.keys(bed.stored()).filter((key) => key.startsWith('new/')),
    ['new/a.gz', 'new/b/c.gz'],
  )
  assert.deepEqual(bed.stored()['new/b/c.gz'], bodyOf(7 * mib, 1))
  assert.equal((await bed.copy(['s3://src/logs/2026/a.gz', 's3://dst/one'])).code, 0)
  assert.deepEqual(bed.stored().one, bodyOf(500))
  const none = await bed.copy(['s3://src/logs/2026', 's3://dst/one'])
  assert.equal(none.code, 1)
  assert.match(none.out, /no object of the key logs\/2026: for all that is below it, end SOURCE with \//)
})

test('--json tells each file and the end; --dry-run and --if-exists skip copy nothing', async () => {
  await using bed = await startCopyBed()
  mkdirSync(join(bed.folder, 'in'))
  writeFileSync(join(bed.folder, 'in/a'), 'one')
  writeFileSync(join(bed.folder, 'in/b'), 'two')
  const dry = await bed.copy([join(bed.folder, 'in'), 's3://data/', '--dry-run'])
  assert.equal(dry.code, 0)
  assert.match(dry.out, /-> s3:\/\/data\/a\n.*\/b\nWould copy 2 objects \(6 B\)\. Nothing was copied/)
  assert.deepEqual(bed.stored(), {})
  bed.s3.put('a', 'theirs')
  const { code, out } = await bed.copy([join(bed.folder, 'in'), 's3://data/', '--if-exists', 'skip', '--json'])
  assert.equal(code, 0)
  const events = out
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
  const files = events.filter(({ event }) => event === 'file')
  assert.deepEqual(files.map(({ target, outcome }) => `${target} ${outcome}`).toSorted(), [
    's3://data/a skipped',
    's3://data/b done',
  ])
  const { copied, skipped, failed, bytes } = events.at(-1) as Record<string, unknown>
  assert.deepEqual({ copied, skipped, failed, bytes }, { copied: 1, skipped: 1, failed: 0, bytes: 3 })
  assert.equal(bed.stored().a?.toString(), 'theirs')
})

test('a stopped copy goes on with the same command, and --abandon removes what it had stored', async () => {
  await using bed = await startCopyBed()
  const body = bodyOf(40 * mib, 9)
  bed.sftp.put('/upload/big', body)
  const args = [`${bed.login}/upload/`, 's3://data/', '--part-size', '5MiB', '--read-concurrency', '1']
  const stopAfter = async (parts: number) => {
    const stop = new AbortController()
    let sent = 0
    bed.s3.faults.onUploadPart = () => {
      sent += 1
      if (sent === parts) stop.abort(new Error('SIGINT'))
      return undefined
    }
    const answer = await bed.copy(args, { soft: stop.signal })
    assert.equal(answer.code, 1)
    assert.match(answer.out, /stopped: the same command goes on where it was/)
    assert.equal(bed.s3.uploads().length, 1)
  }
  await stopAfter(3)
  assert.deepEqual(bed.stored(), {})
  const before = bed.s3.counters.uploadPart
  const resumed = await bed.copy(args)
  assert.equal(resumed.code, 0)
  assert.ok(bed.s3.counters.uploadPart - before <= 5)
  assert.match(resumed.out, /of it were there from an earlier run/)
  assert.deepEqual(bed.stored().big, body)
  bed.sftp.put('/upload/big', bodyOf(40 * mib, 11))
  await stopAfter(2)
  const { code, out } = await bed.copy([...args, '--abandon'])
  assert.equal(code, 0)
  assert.match(out, /forgotten; 1 unfinished upload removed/)
  assert.deepEqual(bed.s3.uploads(), [])
  assert.deepEqual(remembered(bed), [])
})

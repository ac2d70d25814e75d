/** Bad input on the side of the source, as a user meets it: each is a clear error or the right object. */
import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { bodyOf } from '../fakes/copy.ts'
import { type CopyBed, startCopyBed } from '../servers/copy-bed.ts'
import { virtualBytes } from '../servers/sftp-bytes.ts'
import { makeSshKey } from '../servers/sftp-keys.ts'
import { runProgram } from '../servers/testbed.ts'
import { assertLeft, copyAll, endOf, events, mib, runPipeline, startCutLine, writeConfig } from './copy-cases.ts'

/** A small file and one of three parts. */
function fill({ sftp }: CopyBed): Record<string, Buffer> {
  const files = { 'a.csv': bodyOf(1000), big: bodyOf(12 * mib, 3) }
  for (const [name, body] of Object.entries(files)) sftp.put(`/upload/${name}`, body, { mtimeMs: 1_750_000_000_000 })
  return files
}

test('a host that shows another key than it did is refused as the alarm that it is, and nothing is said to it', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  await bed.sftp.stop()
  await bed.sftp.start({ hostKeys: [makeSshKey()] })
  const answer = await copyAll(bed)
  const says = [/HOST KEY HAS CHANGED/i, new RegExp(bed.sftp.fingerprint.replaceAll('+', '\\+'))]
  assertLeft(bed, answer, files, { code: 1, says, keys: [] })
  assert.equal(bed.sftp.counters.sessions, 0)
  assert.equal(bed.sftp.counters.authFailures, 0)
})

test('who cannot log in, or asks for what is not there, is told what was tried, where, and what to look after', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  const { host, port, user } = bed.sftp
  const cases: Array<[source: string, says: RegExp[]]> = [
    [
      `sftp://${user}:wrong@${host}:${port}/upload/`,
      [/cannot log in to sftp:\/\/acme@127\.0\.0\.1:\d+: .*tried password, .*check .*password/],
    ],
    [`sftp://nobody:x@${host}:${port}/upload/`, [/cannot log in to sftp:\/\/nobody@.*check `username`/]],
    [`${bed.login}/uplaod/`, [/cannot read sftp:\/\/acme@.*\/uplaod: there is nothing \(check `path`/]],
    [`${bed.login}/upload/b.csv`, [/cannot read .*\/upload\/b\.csv: there is nothing/]],
    [`sftp://u:p@${host}:${bed.s3.port}/upload/`, [/cannot connect to sftp:.*is it an SSH server/]],
  ]
  for (const [source, says] of cases) {
    const answer = await bed.copy([source, 's3://data/', '--json'])
    assertLeft(bed, answer, files, { code: 1, says, keys: [] })
    assert.doesNotMatch(answer.err, /wrong/)
    // A program that reads JSON gets its end, whatever the reason.
    const [end, ...more] = events(answer, 'end')
    assert.deepEqual(more, [])
    assert.ok(typeof end?.error === 'string' && answer.err.includes(end.error))
    assert.equal(end?.copied, 0)
  }
  await bed.sftp.stop()
  const refused = await copyAll(bed)
  assertLeft(bed, refused, files, { code: 1, says: [/ECONNREFUSED .*is the SSH server running/], keys: [] })
})

test('a SOURCE that names nothing is no failure, but it is told', async () => {
  await using bed = await startCopyBed()
  fill(bed)
  const { code, err } = await bed.copy([`${bed.login}/upload/*.cvs`, 's3://data/'])
  assert.equal(code, 0)
  assert.match(err, /nothing to copy: no file fits SOURCE, --include and --exclude/)
})

test('a server that never says anything, or that stalls, is given up in time', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  bed.sftp.switches.stallHandshake = true
  const config = writeConfig(bed, { source: { connect_timeout: '100ms' } })
  const mute = await runProgram(['check', '--config', config], { env: bed.env })
  assert.equal(mute.code, 3)
  assert.match(mute.out, /cannot connect to sftp:\/\/acme@127\.0\.0\.1:\d+: .*(time|within)/i)
  bed.sftp.switches.stallHandshake = false
  let stalls = 0
  bed.sftp.faults.onRead = (path, offset) => {
    if (!path.endsWith('big') || offset < 6 * mib || stalls >= 2) return undefined
    stalls += 1
    return { stall: true }
  }
  const stalled = await runPipeline(bed, { source: { read_timeout: '500ms' } })
  assertLeft(bed, stalled, files, { code: 0, says: [], keys: ['a.csv', 'big'] })
  assert.equal(stalls, 2)
})

test('what may not be read is named, the rest arrives, and the counts are right', async () => {
  await using bed = await startCopyBed()
  const files = { ...fill(bed), 'sub/ok': Buffer.from('ok') }
  bed.sftp.put('/upload/sub/ok', 'ok')
  bed.sftp.put('/upload/secret/x', 'x')
  bed.sftp.chmod('/upload/secret', 0)
  bed.sftp.chmod('/upload/a.csv', 0)
  const answer = await copyAll(bed, '--json')
  const says = [
    /cannot open \/upload\/a\.csv: Permission denied \(give the user the right to it, on the server\)/,
    /cannot list \/upload\/secret at sftp:\/\/acme@.*: Permission denied/,
  ]
  assertLeft(bed, answer, files, { code: 1, says, keys: ['big', 'sub/ok'] })
  assert.deepEqual(endOf(answer), {
    ...{ copied: 2, skipped: 0, failed: 1, unread: 1, bytes: 12 * mib + 2, stopped: false },
  })
  bed.sftp.chmod('/upload', 0)
  const top = await copyAll(bed)
  assert.equal(top.code, 1)
  assert.match(top.err, /cannot list \/upload at sftp:.*Permission denied \(give the user the right/)
})

test('the connection may be cut at any byte, from the greeting on: every object is right', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  const early = [0, 1, 20, 40, 41, 300, 900, 1100, 1500, 1700, 2000, 2500]
  const late = Array.from({ length: 8 }, (_, i) => 2500 + Math.floor((12.3 * mib * (i + Math.random())) / 8))
  for (const at of [...early, ...late]) {
    await using line = await startCutLine(bed.sftp.port, [at])
    const login = bed.login.replace(`:${bed.sftp.port}`, `:${line.port}`)
    const answer = await bed.copy([
      ...[`${login}/upload/`, `s3://data/${at}/`, '--part-size', '5MiB'],
      ...['--host-key', bed.sftp.fingerprint],
    ])
    assert.equal(answer.code, 0, `cut after ${at} bytes: ${answer.out}${answer.err}`)
    for (const [name, body] of Object.entries(files)) {
      assert.ok(bed.s3.read(`${at}/${name}`)?.equals(body), `cut after ${at} bytes: ${name} is wrong`)
      bed.s3.remove(`${at}/${name}`)
    }
    assert.ok(line.connections >= 2)
  }
  assert.deepEqual(bed.s3.uploads(), [])
})

test('a server that tells a wrong size, too large or too small, gets no object made', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  const cases: Array<[a: number, big: number, says: RegExp[]]> = [
    [2000, 13 * mib, [/2000 bytes were listed, and it ended after 1000/, /13631488 bytes .* ended after 12582912/]],
    [500, 11 * mib, [/500 bytes were listed, and it goes on behind/, /11534336 bytes .* goes on behind/]],
    [0, 5 * mib, [/ 0 bytes were listed, and it goes on/, /5242880 bytes were listed, and it goes on/]],
  ]
  for (const [a, big, says] of cases) {
    bed.sftp.lieAboutSize('/upload/a.csv', a)
    bed.sftp.lieAboutSize('/upload/big', big)
    const answer = await copyAll(bed, '--json')
    assertLeft(bed, answer, files, { code: 1, says, keys: [] })
    assert.deepEqual(endOf(answer), {
      ...{ copied: 0, skipped: 0, failed: 2, unread: 0, bytes: 0, stopped: false },
    })
  }
})

test('a file that vanishes while it is copied is named, and nothing stays of it', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  bed.sftp.faults.onRead = (path, offset) => {
    if (path.endsWith('big') && offset > 6 * mib && bed.sftp.exists('/upload/big')) bed.sftp.remove('/upload/big')
    return undefined
  }
  const answer = await copyAll(bed)
  assertLeft(bed, answer, files, { code: 1, says: [/\/upload\/big: it is gone/], keys: ['a.csv'] })
})

test('a file that grows, shrinks or is replaced while it is copied arrives as it is afterwards', async () => {
  const changes: Array<[what: string, body: Buffer, inPlace: boolean]> = [
    ['grows', bodyOf(13 * mib, 3), true],
    ['shrinks', bodyOf(9 * mib, 3), true],
    ['is replaced', bodyOf(12 * mib, 7), false],
    ['becomes empty', Buffer.alloc(0), true],
  ]
  for (const [what, body, inPlace] of changes) {
    await using bed = await startCopyBed()
    const files = { ...fill(bed), big: body }
    let isDone = false
    bed.sftp.faults.onRead = (path, offset) => {
      if (isDone || !path.endsWith('big') || offset < 6 * mib) return undefined
      isDone = true
      bed.sftp.put('/upload/big', body, { inPlace, mtimeMs: 1_750_000_100_000 })
      return undefined
    }
    const answer = await copyAll(bed)
    assert.ok(isDone, what)
    assertLeft(bed, answer, files, { code: 0, says: [/another version|another file/], keys: ['a.csv', 'big'] })
  }
})

test('a file that never rests is left in the end, told by its name, and there is no object of it', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  let version = 0
  bed.sftp.faults.onRead = (path, offset) => {
    if (!path.endsWith('a.csv') || offset > 0) return undefined
    version += 1
    bed.sftp.put('/upload/a.csv', bodyOf(1000 + version), {
      inPlace: true,
      mtimeMs: 1_750_000_000_000 + version * 2000,
    })
    return undefined
  }
  const answer = await copyAll(bed)
  assertLeft(bed, answer, files, { code: 1, says: [/changed each time it was read.*a\.csv/], keys: ['big'] })
})

test('names: spaces, unicode, line feeds, dots and what shells and XML fear become keys; what is no name is told', async () => {
  await using bed = await startCopyBed()
  const names = [
    ...['with space', 'ünï☃ 😀', 'new\nline', 'tab\there', '..hidden', 'a..b', '...', 'q?x#y%z%20', '+plus', '-dash'],
    ...['*star', '[b]', '{path}', `quote'"`, 'back\\slash', '<&>', 'x'.repeat(1000), 'empty', 'sp ', ' sp'],
  ]
  const files = Object.fromEntries(names.map((name) => [name, Buffer.from(name === 'empty' ? '' : `body of ${name}`)]))
  for (const [name, body] of Object.entries(files)) bed.sftp.put(`/upload/${name}`, body)
  bed.sftp.put(`/upload/${'y'.repeat(1025)}`, 'x')
  bed.sftp.put(Buffer.concat([Buffer.from('/upload/bad'), Buffer.from([0xff, 0xfe])]), 'x')
  bed.sftp.put('/evil', 'x')
  bed.sftp.lieAboutNames('/upload', ['../evil', 'a/b'])
  const answer = await copyAll(bed, '--json')
  const says = [
    /its path has 1032 bytes, and 1024 are the most/,
    /its name is not UTF-8/,
    /its name has a \/ in it, which no file system allows .*\/upload\/\.\.\/evil/,
  ]
  assertLeft(bed, answer, files, { code: 1, says, keys: names })
  assert.equal(endOf(answer).copied, names.length)
  assert.equal(endOf(answer).unread, 4)
  assert.doesNotMatch(answer.err, /new\nline/)
})

test('one file whose key would be longer than S3 takes does not keep the others from arriving', async () => {
  await using bed = await startCopyBed()
  const files = fill(bed)
  const prefix = 'p'.repeat(700)
  bed.sftp.put(`/upload/A${'d'.repeat(200)}/${'e'.repeat(200)}`, 'x')
  const answer = await bed.copy([`${bed.login}/upload/`, `s3://data/${prefix}/`, '--json'])
  assert.equal(answer.code, 1)
  assert.match(answer.err, /the key would have 1103 bytes, and S3 takes 1024 \(change `key`, or rename the object\)/)
  assert.deepEqual(bed.stored(), { [`${prefix}/a.csv`]: files['a.csv'], [`${prefix}/big`]: files.big })
  const { copied, failed } = endOf(answer)
  assert.deepEqual({ copied, failed }, { copied: 2, failed: 1 })
})

test('a file of 10,001 parts gets larger parts, one of more than S3 takes is refused', async () => {
  await using bed = await startCopyBed()
  bed.s3.keepBodies = false
  bed.sftp.putVirtual('/upload/huge', 10_001 * 5 * mib, virtualBytes())
  bed.sftp.putVirtual('/upload/vast', 10_000 * 5 * 1024 ** 3 + 1, virtualBytes())
  const stop = new AbortController()
  bed.s3.faults.onUploadPart = (_, n) => {
    if (n === 1 && bed.s3.counters.uploadPart >= 3) stop.abort(new Error('SIGINT'))
    return undefined
  }
  const args = [`${bed.login}/upload/`, 's3://data/', '--part-size', '5MiB', '--files', '1', '--json']
  const answer = await bed.copy([...args, '--include', 'huge'], { soft: stop.signal })
  assert.equal(answer.code, 1)
  assert.equal(endOf(answer).stopped, true)
  const sizes = new Set(bed.s3.uploads()[0]?.parts.map(({ size }) => size))
  assert.deepEqual([...sizes], [6 * mib])
  assert.equal((await bed.copy([...args, '--include', 'huge', '--abandon'])).code, 0)
  assert.deepEqual(bed.s3.uploads(), [])
  const vast = await bed.copy([...args, '--include', 'vast'])
  assert.equal(vast.code, 1)
  assert.match(vast.out, /more than S3 takes in 10000 parts of 5 GiB/)
})

test('a stalled read does not outlive the stop', async () => {
  await using bed = await startCopyBed()
  fill(bed)
  const [soft, hard] = [new AbortController(), new AbortController()]
  bed.sftp.faults.onRead = (path) => {
    if (!path.endsWith('big')) return undefined
    soft.abort(new Error('SIGINT'))
    setImmediate(() => hard.abort(new Error('SIGINT')))
    return { stall: true }
  }
  const answer = await bed.copy([`${bed.login}/upload/`, 's3://data/', '--part-size', '5MiB', '--json'], {
    soft: soft.signal,
    hard: hard.signal,
  })
  assert.equal(answer.code, 1)
  assert.equal(endOf(answer).stopped, true)
  assert.equal(bed.s3.read('big'), undefined)
  // What is needed to go on is there.
  bed.sftp.faults.onRead = undefined
  assert.equal((await copyAll(bed)).code, 0)
  assert.deepEqual(bed.s3.uploads(), [])
  assert.ok(bed.s3.read('big')?.equals(bodyOf(12 * mib, 3)))
  assert.ok(existsSync(join(bed.folder, 'state')) && readdirSync(join(bed.folder, 'state', 's3-streamer')).length === 0)
})

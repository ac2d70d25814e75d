/** Copies that are killed, stopped, or run beside each other, as processes of their own; and what takes long to fail. */
import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { bodyOf } from '../fakes/copy.ts'
import { type CopyBed, startCopyBed } from '../servers/copy-bed.ts'
import { sftpStatus } from '../servers/sftp-wire.ts'
import { bin, Command } from './command.ts'
import { assertLeft, endOf, mib, writeConfig } from './copy-cases.ts'
import { PushedFigures } from './figures.ts'

/** A small file and one of three parts. */
function fill({ sftp }: CopyBed): Record<string, Buffer> {
  const files = { 'a.csv': bodyOf(1000), big: bodyOf(12 * mib, 3) }
  for (const [name, body] of Object.entries(files)) sftp.put(`/upload/${name}`, body)
  return files
}

/** `copy` as a child process. */
function start(bed: CopyBed, ...more: string[]): Command {
  const known = ['--endpoint', bed.s3.endpoint, '--known-hosts', join(bed.folder, 'known_hosts')]
  const args = ['copy', `${bed.login}/upload/`, 's3://data/', '--part-size', '5MiB', ...known, ...more]
  return new Command(args, { env: bed.env })
}

const all = (bed: CopyBed, ...more: string[]) =>
  bed.copy([`${bed.login}/upload/`, 's3://data/', '--part-size', '5MiB', ...more])

/** Files that are still where they are copied from. */
const waiting = ({ sftp }: CopyBed) => sftp.tree('/upload').filter((path) => !path.endsWith('/'))

const remembered = (bed: CopyBed) => readdirSync(join(bed.folder, 'state', 's3-streamer'))

describe('copies as processes', { concurrency: 3 }, () => {
  for (const after of ['delete', 'move'] as const) {
    test(`after: ${after}, killed between the commit and the ${after}: the next run does it, and copies nothing again`, async () => {
      await using bed = await startCopyBed()
      const files = fill(bed)
      const hook = after === 'delete' ? 'onRemove' : 'onRename'
      let asked = 0
      bed.sftp.faults[hook] = () => {
        asked += 1
        return { stall: true }
      }
      const moved = after === 'move' ? { move_to: '/done' } : {}
      await using pushed = await PushedFigures.open()
      const config = writeConfig(bed, { source: { after, ...moved }, pushed })
      const child = new Command(['run', '--once', '--config', config], { env: bed.env })
      await child.until(() => asked === 2, `both files to be ${after}d`)
      await child.kill('SIGKILL')
      assert.deepEqual(Object.keys(bed.stored()), ['a.csv', 'big'])
      assert.deepEqual(waiting(bed), ['/upload/a.csv', '/upload/big'])
      bed.sftp.faults[hook] = undefined
      const { put, uploadPart } = bed.s3.counters
      const again = await new Command(['run', '--once', '--config', config], { env: bed.env }).ended
      assert.equal(again.code, 0, again.stdout)
      assert.deepEqual(waiting(bed), [])
      assert.deepEqual([bed.s3.counters.put, bed.s3.counters.uploadPart], [put, uploadPart])
      assert.equal(pushed.last.sum('source_after_actions_total', { outcome: 'done' }), 2)
      assert.equal(pushed.last.sum('transfer_parts_total'), 0)
      for (const [name, body] of Object.entries(files)) {
        assert.ok(bed.s3.read(name)?.equals(body))
        if (after === 'move') assert.ok(bed.sftp.read(`/done/${name}`)?.equals(body))
      }
    })
  }

  test('copy --after delete: a file whose copy fails, or that changed since, is never deleted', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    bed.sftp.chmod('/upload/a.csv', 0)
    // A new version comes when all of the old one was stored, and before that is deleted.
    const next = bodyOf(12 * mib, 9)
    bed.s3.faults.onComplete = () => {
      bed.s3.faults.onComplete = undefined
      bed.sftp.put('/upload/big', next, { mtimeMs: Date.now() + 60_000 })
      return undefined
    }
    const answer = await start(bed, '--after', 'delete').ended
    assert.equal(answer.code, 1)
    assert.match(answer.stderr, /changed after it was read/)
    assert.ok(bed.s3.read('big')?.equals(files.big as Buffer))
    assert.deepEqual(waiting(bed), ['/upload/a.csv', '/upload/big'])
    bed.sftp.chmod('/upload/a.csv', 0o644)
    const again = await start(bed, '--after', 'delete').ended
    assert.equal(again.code, 0, again.stdout + again.stderr)
    assert.ok(bed.s3.read('big')?.equals(next))
    assert.ok(bed.s3.read('a.csv')?.equals(files['a.csv'] as Buffer))
    assert.deepEqual(waiting(bed), [])
  })

  test('one SIGINT lets the parts under way end, a second one ends at once; the same command goes on, and leaves nothing', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    let isHeld = false
    bed.s3.faults.onUploadPart = (name) => {
      if (!name.endsWith('#2')) return undefined
      isHeld = true
      return { stallAfter: -1 }
    }
    const child = start(bed, '--json')
    const isStored = () => bed.s3.uploads()[0]?.parts.length === 2 && bed.s3.read('a.csv') !== undefined
    await child.until(() => isHeld && isStored(), 'the second part to be under way')
    child.child.kill('SIGINT')
    // Nobody can see from outside that the first one was taken; that it waits is shown by its being there.
    await new Promise((resolve) => setTimeout(resolve, 300))
    assert.equal(child.hasEnded, false)
    const ended = await child.kill('SIGINT')
    assert.equal(ended.code, 1)
    assert.deepEqual(Object.keys(bed.stored()), ['a.csv'])
    assert.equal(bed.s3.uploads().length, 1)
    bed.s3.faults.onUploadPart = undefined
    const { uploadPart } = bed.s3.counters
    const again = await start(bed).ended
    assert.equal(again.code, 0, again.stdout + again.stderr)
    assert.match(again.stdout, /of it were there from an earlier run/)
    assert.equal(bed.s3.counters.uploadPart - uploadPart, 1)
    assert.ok(bed.s3.read('big')?.equals(files.big as Buffer))
    assert.deepEqual(bed.s3.uploads(), [])
    assert.deepEqual(remembered(bed), [])
  })

  test('killed while it copies, and again: the same command goes on, and the objects are right', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    for (const stop of [1, 2, 3]) {
      const isHeld = Promise.withResolvers<void>()
      bed.s3.faults.onUploadPart = (name) => {
        if (!name.endsWith(`#${stop}`)) return undefined
        isHeld.resolve()
        return { stallAfter: -1 }
      }
      const child = start(bed)
      await Promise.race([isHeld.promise, child.ended])
      await child.kill('SIGKILL')
    }
    bed.s3.faults.onUploadPart = undefined
    const again = await start(bed).ended
    assert.equal(again.code, 0, again.stdout + again.stderr)
    assert.deepEqual(bed.stored(), files)
    assert.deepEqual(bed.s3.uploads(), [])
    assert.deepEqual(remembered(bed), [])
  })

  test('the same copy twice at once: the second one says so and touches nothing; with another state both arrive at the same', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    const go = Promise.withResolvers<undefined>()
    bed.s3.faults.onUploadPart = () => go.promise
    const first = start(bed)
    await first.until(() => bed.s3.counters.uploadPart > 0, 'the first part')
    const second = await start(bed).ended
    assert.equal(second.code, 1)
    assert.match(second.stderr, /another s3-streamer works on/)
    const abandon = await start(bed, '--abandon').ended
    assert.equal(abandon.code, 1)
    assert.match(abandon.stderr, /another s3-streamer works on/)
    assert.equal(bed.s3.uploads().length, 1)
    const third = start(bed, '--state', join(bed.folder, 'other.json'))
    await third.until(() => bed.s3.uploads().length === 2, 'the other upload')
    go.resolve(undefined)
    for (const { code, stderr } of [await first.ended, await third.ended]) assert.equal(code, 0, stderr)
    assert.deepEqual(bed.stored(), files)
    assert.deepEqual(bed.s3.uploads(), [])
  })

  test('where its state cannot be kept it says so, with the file, before anything is copied', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    writeFileSync(join(bed.folder, 'file'), '')
    const blocked = await bed.copy([
      ...[`${bed.login}/upload/`, 's3://data/', '--json'],
      ...['--state', join(bed.folder, 'file', 'state.json')],
    ])
    assertLeft(bed, blocked, files, { code: 1, says: [/file\/state/, /ENOTDIR|not a directory|EEXIST/], keys: [] })
    mkdirSync(join(bed.folder, 'folder.json'))
    const folder = await bed.copy([`${bed.login}/upload/`, 's3://data/', '--state', join(bed.folder, 'folder.json')])
    assertLeft(bed, folder, files, { code: 1, says: [/folder\.(json|db)/], keys: [] })
  })

  test('.env of the folder is enough, and its password is told to nobody', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    const lines = {
      ...{ SFTP_HOST: bed.sftp.host, SFTP_PORT: bed.sftp.port, SFTP_USER: bed.sftp.user },
      ...{ SFTP_PASSWORD: `"${bed.sftp.password}"`, SFTP_HOST_KEY: bed.sftp.fingerprint },
      ...{ S3_BUCKET: 'data', S3_ENDPOINT_URL: bed.s3.endpoint, AWS_REGION: 'eu-west-1' },
    }
    const env = Object.entries(lines).map(([name, value]) => `${name}=${value}\n`)
    writeFileSync(join(bed.folder, '.env'), env.join(''))
    const inFolder = ['env', '-C', bed.folder, bin]
    const answer = await new Command(['copy', '--json'], { command: inFolder, env: bed.env }).ended
    assert.equal(answer.code, 0, answer.stderr)
    assert.deepEqual(bed.stored(), { 'upload/a.csv': files['a.csv'], 'upload/big': files.big })
    writeFileSync(join(bed.folder, '.env'), env.join('').replace(bed.sftp.password, 'open sesame'))
    const refused = await new Command(['copy', '--json'], { command: inFolder, env: bed.env }).ended
    assert.equal(refused.code, 1)
    assert.match(refused.stderr, /cannot log in to sftp:/)
    assert.doesNotMatch(refused.stdout + refused.stderr, /sesame/)
  })

  test('a failing disk at the source: the file is named, its upload is kept for the next run, which sends only what is missing', async () => {
    await using bed = await startCopyBed()
    const files = fill(bed)
    const broken = { status: sftpStatus.failure, message: 'No space left on device' } as const
    bed.sftp.faults.onRead = (path, offset) => (path.endsWith('big') && offset >= 10 * mib ? broken : undefined)
    const answer = await all(bed, '--json')
    const says = [/cannot read \d+ bytes at \d+ of \/upload\/big: No space left on device/]
    assertLeft(bed, answer, files, { code: 1, says, keys: ['a.csv'], uploads: 1 })
    assert.deepEqual(endOf(answer), {
      ...{ copied: 1, skipped: 0, failed: 1, unread: 0, bytes: 1000, stopped: false },
    })
    bed.sftp.faults.onRead = undefined
    const before = bed.s3.counters.uploadPart
    const again = await all(bed)
    assertLeft(bed, again, files, { code: 0, says: [/of it were there from an earlier run/], keys: ['a.csv', 'big'] })
    assert.equal(bed.s3.counters.uploadPart - before, 1)
  })
})

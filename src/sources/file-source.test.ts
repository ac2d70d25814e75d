import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { bytesOf, finish } from '../../test/conformance/source-harness.ts'
import { denied, Follower, failsWith, unavailable, withFiles } from '../../test/servers/file-bed.ts'
import type { ListedObject } from '../core/component.ts'
import type { FileObject } from './file-object.ts'

const live = { signal: new AbortController().signal }
const hourMs = 3_600_000

test('files are given in the order of the bytes of their paths, as S3 lists keys', () =>
  withFiles({}, async (bed) => {
    for (const name of ['b/c/x', 'b.txt', 'a/z', 'b/y', 'ü', 'ﬀ', '😀', 'B', 'b-1', ' x', 'new\nline']) bed.put(name)
    const given = await bed.run()
    assert.deepEqual(given, [' x', 'B', 'a/z', 'b-1', 'b.txt', 'b/c/x', 'b/y', 'new\nline', 'ü', 'ﬀ', '😀'])
    const bytes = given.map((path) => Buffer.from(path))
    assert.deepEqual(bytes.toSorted(Buffer.compare), bytes)
  }))

test('C6.9: a path is a folder, a file, or a glob behind a folder', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a.csv', 'b.csv', 'c.txt', 'd[1].csv', 'sub/e.csv', 'sub/deep/f.csv']) bed.put(name)
    const cases: ReadonlyArray<readonly [path: string, expected: string[]]> = [
      [bed.folder, ['a.csv', 'b.csv', 'c.txt', 'd[1].csv', 'sub/deep/f.csv', 'sub/e.csv']],
      [`${bed.folder}/`, ['a.csv', 'b.csv', 'c.txt', 'd[1].csv', 'sub/deep/f.csv', 'sub/e.csv']],
      [`${bed.folder}/./sub/../sub`, ['deep/f.csv', 'e.csv']],
      [`${bed.folder}/a.csv`, ['a.csv']],
      [`${bed.folder}/*.csv`, ['a.csv', 'b.csv', 'd[1].csv']],
      [`${bed.folder}/**/*.csv`, ['a.csv', 'b.csv', 'd[1].csv', 'sub/deep/f.csv', 'sub/e.csv']],
      [`${bed.folder}/s*/*.csv`, ['sub/e.csv']],
      [`${bed.folder}/s*/`, ['sub/deep/f.csv', 'sub/e.csv']],
      [`${bed.folder}/d[1].csv`, ['d[1].csv']],
      [`${bed.folder}/{a,c}.*`, ['a.csv', 'c.txt']],
    ]
    for (const [path, expected] of cases) {
      await bed.start({ config: { path } })
      bed.ledger.moveTo(0)
      assert.deepEqual(await bed.run(), expected, path)
    }
    for (const path of [`${bed.folder}/none`, `${bed.folder}/none/*.csv`, `${bed.folder}/a.csv/*`]) {
      await bed.start({ config: { path } })
      await assert.rejects(bed.run(), failsWith('source.access', /^cannot .*: .*\(.+\)$/), path)
      await assert.rejects(bed.source.check(live), failsWith('source.access'), path)
    }
  }))

test('include and exclude are for the path below the folder; a folder that is left out is not even listed', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a.gz', 'a.txt', 'tmp/b.gz', 'x/tmp/c.gz', 'x/d.gz', 'y/e.gz']) bed.put(name)
    await bed.start({ config: { include: '*.gz', exclude: ['tmp/**', '/y/*'] } })
    assert.deepEqual(await bed.run(), ['a.gz', 'x/d.gz'])
    const listed = bed.store.calls.filter(([call]) => call === 'list').map(([, path]) => path.slice(bed.folder.length))
    assert.deepEqual(listed, ['', '/x', '/y'])
    // The folder that is read is no part of the path that globs see.
    await bed.start({ config: { path: join(bed.folder, 'x/tmp'), exclude: 'tmp/**' } })
    bed.put('x/tmp/tmp/f.gz')
    bed.put('x/tmp/other/g.gz')
    assert.deepEqual(await bed.run(), ['c.gz', 'other/g.gz'])
    await bed.start({ config: { recursive: false } })
    assert.deepEqual(await bed.run(), ['a.txt'])
    assert.equal(bed.source.figures.known, 1)
  }))

test('min_age leaves young files for a later poll', () =>
  withFiles({ min_age: '60s' }, async (bed) => {
    bed.put('old', 'x', bed.nowMs - 60_000)
    bed.put('young', 'x', bed.nowMs - 59_000)
    assert.deepEqual(await bed.run(), ['old'])
    assert.equal(bed.source.figures.young, 1)
    bed.nowMs += 1000
    assert.deepEqual(await bed.run(), ['young'])
  }))

test('without min_age a clock that is a little ahead holds no file', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'x', bed.nowMs + 1000)
    assert.deepEqual(await bed.run(), ['a'])
  }))

test('a file from the future is told of once and is not held for ever', () =>
  withFiles({ min_age: '60s' }, async (bed) => {
    bed.put('ahead', 'x', bed.nowMs + hourMs)
    bed.put('also', 'x', bed.nowMs + 2 * hourMs)
    const follower = new Follower(bed)
    assert.deepEqual(await follower.polls(), [])
    bed.nowMs += 60_000
    assert.deepEqual(await follower.polls(), ['ahead', 'also'])
    await follower.stop()
    assert.equal(bed.lines.filter((line) => /from the future/.test(line)).length, 1)
    await bed.start()
    bed.put('third', 'x', bed.nowMs + hourMs)
    assert.deepEqual(await bed.run(), ['third'])
  }))

test('stable: a file is given when so many polls found it as it is', () =>
  withFiles({ finished: { stable: 3 } }, async (bed) => {
    bed.put('still')
    let polls = 0
    bed.fault = (call) => {
      if (call !== 'list') return
      polls += 1
      bed.put('growing', 'x'.repeat(polls))
    }
    assert.deepEqual(await bed.run(), ['still'])
    assert.equal(polls, 3)
    assert.equal(bed.source.figures.changing, 1)
    assert.ok(bed.lines.some((line) => line.startsWith('warn files that are not finished yet')))
    bed.fault = () => undefined
    assert.deepEqual(await bed.run(), ['growing'])
  }))

test('stable: a file that changed while it was read is looked for until it is stable again', () =>
  withFiles({ finished: { stable: 2 } }, async (bed) => {
    bed.put('a', 'first')
    const sizes: number[] = []
    await bed.run(({ size }) => {
      sizes.push(size)
      if (sizes.length > 1) return 'done'
      bed.put('a', 'second')
      return 'replaced'
    })
    assert.deepEqual(sizes, [5, 6])
    assert.equal(bed.source.progress.failed, 0)
  }))

test('markers: each file waits for its own, or a folder for one; markers are not read', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a.csv', 'a.csv.done', 'b.csv', 'sub/c.csv', 'c.csv.done']) bed.put(name)
    await bed.start({ config: { finished: { marker: '{name}.done' } } })
    assert.deepEqual(await bed.run(), ['a.csv'])
    assert.deepEqual([bed.source.figures.unmarked, bed.source.figures.marker], [2, 2])
    bed.put('sub/c.csv.done')
    assert.deepEqual(await bed.run(), ['sub/c.csv'])
    for (const name of ['one/d', 'one/_SUCCESS', 'two/e']) bed.put(name)
    await bed.start({ config: { finished: { marker: '_SUCCESS' } } })
    assert.deepEqual(await bed.run(), ['one/d'])
    bed.put('x/f.csv')
    bed.put('x/f.ok')
    await bed.start({ config: { finished: { marker: '{stem}.ok' }, path: join(bed.folder, 'x') } })
    assert.deepEqual(await bed.run(), ['f.csv'])
  }))

test('files with temporary names wait for their last one', () =>
  withFiles({ finished: { temporary: ['*.part', '.*'] } }, async (bed) => {
    bed.put('a.csv.part')
    bed.put('.b.csv.x8s')
    bed.put('b.csv')
    assert.deepEqual(await bed.run(), ['b.csv'])
    assert.equal(bed.source.figures.temporary, 2)
  }))

test('a file that changes each time it is read is left in the end, and the run fails for it', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    bed.put('b')
    let tries = 0
    const given = await bed.run((object) => {
      if (object.path === 'b') return 'done'
      tries += 1
      bed.put('a', `version ${tries}`)
      return 'replaced'
    })
    assert.deepEqual(given, ['a', 'b', 'a', 'a', 'a', 'a', 'a'])
    assert.equal(bed.source.progress.failed, 1)
    assert.ok(bed.lines.some((line) => line.startsWith('error the file changed each time it was read')))
  }))

test('of one path only one version is under way at a time', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'old')
    const held: FileObject[] = []
    const follower = new Follower(bed, (object) => void held.push(object))
    assert.deepEqual(await follower.polls(), ['a'])
    bed.put('a', 'newer')
    assert.deepEqual(await follower.polls(), [])
    finish(bed, held[0] as FileObject, 'replaced')
    assert.deepEqual(await follower.polls(), ['a'])
    assert.equal((await bytesOf(bed.source.open(held[1] as FileObject, 0, live))).toString(), 'newer')
    await follower.stop()
  }))

test('a file that failed is tried once in a run that ends by itself, and later and later in one that does not', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    bed.put('b')
    const fails = (object: ListedObject) => (object.path === 'a' ? 'failed' : 'done')
    assert.deepEqual(await bed.run(fails), ['a', 'b'])
    assert.deepEqual(await bed.run(fails), ['a'])
    const follower = new Follower(bed, fails as () => 'failed')
    assert.deepEqual(await follower.polls(), [])
    assert.equal(bed.source.figures.retry, 1)
    bed.nowMs += 30_000
    assert.deepEqual(await follower.polls(), ['a'])
    bed.nowMs += 30_000
    assert.deepEqual(await follower.polls(), [])
    bed.nowMs += 30_000
    assert.deepEqual(await follower.polls(), ['a'])
    await follower.stop()
  }))

test('what cannot be read is told once with its path, counted, and the rest goes on', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a', 'locked/b', 'z/c']) bed.put(name)
    const long = 'n'.repeat(200)
    bed.put(`${Array.from({ length: 5 }, () => long).join('/')}/deep`)
    const names = ['..', '.', '', 'x/../../etc/passwd', '/etc/passwd', 'nul\0', 'bad\ufffdname']
    bed.store.entries = (folder, entries) =>
      folder === bed.folder
        ? [...entries, ...names.map((name) => ({ name, kind: 'file' as const, size: 1, modifiedMs: 1 }))]
        : entries
    bed.fault = (call, path) => {
      if (call === 'list' && path.endsWith('/locked')) throw denied()
    }
    assert.deepEqual(await bed.run(), ['a', 'z/c'])
    assert.equal(bed.source.progress.failed, names.length + 2)
    assert.equal(bed.source.figures.unreadable, names.length + 2)
    const told = () => bed.lines.filter((line) => line.startsWith('error cannot be read: passed over'))
    assert.equal(told().length, names.length + 2)
    assert.ok(told().some((line) => /locked.*permission denied/.test(line)))
    assert.ok(told().some((line) => /not UTF-8/.test(line)))
    assert.ok(told().some((line) => /1024 are the most/.test(line)))
    await bed.run()
    assert.equal(told().length, names.length + 2)
    bed.fault = () => undefined
    assert.deepEqual(await bed.run(), ['locked/b'])
    // A name that is left out by its name is no loss.
    await bed.start({ config: { exclude: `${long}/**` } })
    await bed.run()
    assert.equal(bed.source.progress.failed, 0)
  }))

test('a folder that goes away while its parent is listed is nothing missing', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    bed.store.entries = (_, entries) => [...entries, { name: 'gone', kind: 'folder', size: 0, modifiedMs: 0 }]
    assert.deepEqual(await bed.run(), ['a'])
    assert.equal(bed.source.progress.failed, 0)
  }))

test('links are passed over, or followed without a loop and each folder once', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    bed.put('real/b')
    bed.put('real/deep/c')
    symlinkSync(bed.path('a'), bed.path('file-link'))
    symlinkSync(bed.folder, bed.path('real/deep/up'))
    symlinkSync('.', bed.path('real/self'))
    symlinkSync('nowhere', bed.path('dangling'))
    symlinkSync('circle', bed.path('circle'))
    symlinkSync(bed.path('real'), bed.path('other'))
    await bed.start({ config: {} })
    assert.deepEqual(await bed.run(), ['a', 'real/b', 'real/deep/c'])
    assert.equal(bed.source.figures.link, 6)
    await bed.start({ config: { follow_links: true } })
    bed.ledger.moveTo(0)
    assert.deepEqual(await bed.run(), ['a', 'file-link', 'other/b', 'other/deep/c'])
    assert.deepEqual([bed.source.figures.link, bed.source.progress.failed], [2, 0])
  }))

test('a list that fails in passing is tried again within the run; one that is refused ends it', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    let failures = 0
    bed.fault = (call) => {
      if (call !== 'list' || failures === 2) return
      failures += 1
      throw unavailable()
    }
    assert.deepEqual(await bed.run(), ['a'])
    assert.equal(bed.lines.filter((line) => line.startsWith('warn poll interrupted')).length, 2)
    bed.fault = (call) => {
      if (call === 'list') throw denied()
    }
    await assert.rejects(bed.run(), failsWith('source.access'))
    const follower = new Follower(bed)
    await follower.polls()
    bed.put('b')
    bed.fault = () => undefined
    const given = [...(await follower.polls()), ...(await follower.polls())]
    assert.deepEqual(given, ['b'])
    await follower.stop()
  }))

test('the ledger forgets files that are gone, and never those that are there', () =>
  withFiles({}, async (bed) => {
    bed.put('stays')
    bed.put('goes')
    await bed.run()
    bed.remove('goes')
    for (let day = 0; day < 4; day += 1) {
      bed.nowMs += 24 * hourMs
      await bed.start()
      assert.deepEqual(await bed.run(), [])
    }
    assert.deepEqual(
      bed.ledger.objects().map(({ key }) => key.split('/').at(-1)),
      ['stays'],
    )
    // A folder that is empty may be a disk that is not there; and one that cannot be listed hides what it has.
    bed.put('sub/hidden')
    await bed.run()
    bed.fault = (call, path) => {
      if (call === 'list' && path.endsWith('/sub')) throw denied()
    }
    bed.nowMs += 48 * hourMs
    await bed.run()
    bed.fault = () => undefined
    bed.store.entries = () => []
    bed.nowMs += 48 * hourMs
    await bed.run()
    bed.store.entries = (_, entries) => entries
    assert.deepEqual(await bed.run(), [])
  }))

test('what an operator asks for again is read again, once', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    await bed.run(() => 'quarantined')
    assert.deepEqual(await bed.run(), [])
    bed.ledger.requeue('all')
    assert.deepEqual(await bed.run(() => 'failed'), ['a'])
    await bed.start()
    assert.deepEqual(await bed.run(), ['a'])
    assert.deepEqual([await bed.run(), bed.ledger.quarantine()], [[], []])
    bed.put('b')
    await bed.run(() => 'quarantined')
    bed.ledger.requeue('all')
    bed.ledger.moveTo(0)
    assert.deepEqual(await bed.run(() => 'quarantined'), ['b', 'a'])
    assert.deepEqual([await bed.run(), bed.ledger.quarantine().length], [[], 2])
  }))

test('a left-over of an earlier run is settled though its file is gone, unless the rules leave it out now', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    bed.put('b')
    bed.put('c')
    await bed.run((object) => (object.path === 'c' ? 'done' : 'failed'))
    bed.remove('a')
    bed.put('b', 'another')
    await bed.start()
    const given = await bed.run((object) => {
      const isOld = object.path === 'a' || bed.read(object.path).length !== object.size
      return isOld ? (object.path === 'a' ? 'vanished' : 'replaced') : 'done'
    })
    assert.deepEqual(given, ['a', 'b', 'b'])
    assert.deepEqual(bed.ledger.objects({ states: ['active', 'failed'] }), [])
  }))

test('an object is found by whatever names it', () =>
  withFiles({}, async (bed) => {
    bed.put('sub/a')
    const whole = bed.path('sub/a')
    const names = ['sub/a', whole, whole.slice(1), `file://${whole}`]
    const ids = await Promise.all(names.map(async (name) => (await bed.source.find(name, live)).id))
    assert.deepEqual(new Set(ids).size, 1)
    await assert.rejects(bed.source.find('sub', live), failsWith('source.vanished'))
    const [object] = await bed.listed()
    assert.equal(object?.id, ids[0])
    assert.equal((object as FileObject).path, 'sub/a')
    assert.match(object?.id ?? '', /^file:\/\/\/.*\/sub\/a@\d+-\d+$/)
  }))

test('check says what would read half files', () =>
  withFiles({}, async (bed) => {
    await bed.start({ config: { after: 'delete' } })
    await bed.source.check(live)
    assert.ok(bed.lines.some((line) => line.startsWith('warn the folder is empty')))
    assert.ok(bed.lines.some((line) => /^warn a file that is being written would be read half.*min_age/.test(line)))
    const from = bed.lines.length
    bed.put('a')
    for (const config of [{ after: 'delete', min_age: '1s' }, { after: 'delete', finished: { stable: 2 } }, {}]) {
      await bed.start({ config })
      await bed.source.check(live)
    }
    assert.deepEqual(
      bed.lines.slice(from).filter((line) => line.startsWith('warn')),
      [],
    )
  }))

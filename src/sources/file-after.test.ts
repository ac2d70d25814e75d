import assert from 'node:assert/strict'
import { linkSync, mkdirSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { finish } from '../../test/conformance/source-harness.ts'
import { denied, unavailable, withFiles } from '../../test/servers/file-bed.ts'
import { StreamError } from '../core/errors.ts'
import { AfterActions } from './file-after.ts'
import type { FileObject } from './file-object.ts'
import type { FileStore } from './file-store.ts'

const never = new AbortController().signal
const live = { signal: never }

test('only files that arrived are deleted', () =>
  withFiles({ after: 'delete' }, async (bed) => {
    for (const name of ['done', 'failed', 'quarantined', 'stopped']) bed.put(name)
    await bed.run(({ path }) => path as 'done')
    assert.deepEqual(bed.files(), ['failed', 'quarantined', 'stopped'])
    assert.equal(bed.source.figures.removed, 1)
  }))

test('row 24: nothing is deleted before the ledger has it that the file arrived', () =>
  withFiles({ after: 'delete' }, async (bed) => {
    bed.put('a')
    for await (const object of bed.source.objects({ soft: never, once: true })) {
      await bed.source.confirm(object, live)
      assert.equal(bed.store.count('remove'), 0)
      bed.fault = (call) => {
        if (call === 'remove') assert.equal(bed.ledger.find(object.id)?.state, 'done')
      }
      finish(bed, object)
    }
    assert.deepEqual(bed.files(), [])
  }))

test('a file that changed after it was read stays, and is read again', () =>
  withFiles({ after: 'delete' }, async (bed) => {
    bed.put('a', 'first')
    const sizes: number[] = []
    await bed.run(({ size }) => {
      if (sizes.length === 0) bed.put('a', 'second')
      sizes.push(size)
      return 'done'
    })
    assert.deepEqual(bed.files(), ['a'])
    await bed.run(({ size }) => {
      sizes.push(size)
      return 'done'
    })
    assert.deepEqual([sizes, bed.files()], [[5, 6], []])
  }))

test('what a crash left undone is done by the next poll, and the file is not read again', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    bed.put('b')
    bed.put('bad')
    await bed.run(({ path }) => (path === 'bad' ? 'quarantined' : 'done'))
    assert.deepEqual(bed.files(), ['a', 'b', 'bad'])
    await bed.start({ config: { after: 'delete' }, how: 'killed' })
    assert.deepEqual(await bed.run(), [])
    assert.deepEqual(bed.files(), ['bad'])
  }))

test('what fails in passing is tried again; what is refused is an error, fails the run, and is done later', () =>
  withFiles({ after: 'delete' }, async (bed) => {
    bed.put('a')
    bed.put('b')
    let failures = 0
    bed.fault = (call, path) => {
      if (call !== 'remove') return
      if (path.endsWith('/b')) throw denied()
      failures += 1
      if (failures < 3) throw unavailable()
    }
    assert.deepEqual(await bed.run(), ['a', 'b'])
    assert.deepEqual([failures, bed.files()], [3, ['b']])
    assert.equal(bed.source.progress.failed, 1)
    assert.equal(bed.lines.filter((line) => /^error the file arrived and could not be deleted/.test(line)).length, 1)
    // The next one has still no right to it: told once.
    assert.deepEqual(await bed.run(), [])
    assert.equal(bed.lines.filter((line) => /^error the file arrived/.test(line)).length, 1)
    bed.fault = () => undefined
    assert.deepEqual(await bed.run(), [])
    assert.deepEqual([bed.files(), bed.source.progress.failed], [[], 0])
  }))

test('a marker of its own goes before its file; that of a folder stays', () =>
  withFiles({ after: 'delete', finished: { marker: '{name}.ok' } }, async (bed) => {
    bed.put('a')
    bed.put('a.ok')
    await bed.run()
    const removed = bed.store.calls.filter(([call]) => call === 'remove').map(([, path]) => path.split('/').at(-1))
    assert.deepEqual([bed.files(), removed], [[], ['a.ok', 'a']])
    // After a crash between the two the file has no marker any more, and goes all the same.
    bed.put('b')
    bed.put('b.ok')
    bed.fault = (call, path) => {
      if (call === 'remove' && path.endsWith('/b')) throw denied()
    }
    await bed.run()
    assert.deepEqual(bed.files(), ['b'])
    bed.fault = () => undefined
    assert.deepEqual([await bed.run(), bed.files()], [[], []])
    await bed.start({ config: { after: 'delete', finished: { marker: '_SUCCESS' } } })
    bed.put('c')
    bed.put('_SUCCESS')
    assert.deepEqual([await bed.run(), bed.files()], [['c'], ['_SUCCESS']])
  }))

test('files are moved by the template, below the folder or elsewhere, and not read again', () =>
  withFiles({}, async (bed) => {
    const time = Date.UTC(2026, 8, 3, 4, 5, 6)
    const cases: ReadonlyArray<readonly [template: string, moved: string]> = [
      ['archive', 'archive/sub/a.tar.gz'],
      ['archive/', 'archive/sub/a.tar.gz'],
      ['./archive/{date}/{name}', 'archive/2026-09-03/a.tar.gz'],
      ['{dir}/done/{name}', 'sub/done/a.tar.gz'],
      ['{path}.{yyyy}{MM}{dd}T{HH}{mm}{ss}', 'sub/a.tar.gz.20260903T040506'],
      ['done/{stem}-x{ext}', 'done/a.tar-x.gz'],
      [`${bed.folder}/abs/{path}`, 'abs/sub/a.tar.gz'],
    ]
    for (const [template, moved] of cases) {
      bed.put('sub/a.tar.gz', 'content', time)
      await bed.start({ config: { after: 'move', move_to: template, exclude: [] } })
      bed.ledger.moveTo(0)
      assert.deepEqual(await bed.run(), ['sub/a.tar.gz'], template)
      assert.deepEqual(bed.files(), [moved], template)
      assert.equal(bed.read(moved), 'content')
      assert.deepEqual(await bed.run(), [], template)
      bed.remove(moved)
    }
  }))

test('moving never goes over what is there', () =>
  withFiles({ after: 'move', move_to: 'old/{name}' }, async (bed) => {
    for (const content of ['one', 'two', 'three']) {
      bed.put('sub/a', content)
      assert.deepEqual(await bed.run(), ['sub/a'])
    }
    assert.deepEqual(bed.files(), ['old/a', 'old/a.1', 'old/a.2'])
    assert.deepEqual(
      ['old/a', 'old/a.1', 'old/a.2'].map((name) => bed.read(name)),
      ['one', 'two', 'three'],
    )
  }))

test('a marker is moved beside its file, under the name of the marker of that', () =>
  withFiles({ after: 'move', move_to: 'old/{name}', finished: { marker: '{name}.ok' } }, async (bed) => {
    for (const content of ['one', 'two']) {
      bed.put('a', content)
      bed.put('a.ok', `marker of ${content}`)
      assert.deepEqual(await bed.run(), ['a'])
    }
    assert.deepEqual(bed.files(), ['old/a', 'old/a.1', 'old/a.1.ok', 'old/a.ok'])
    assert.deepEqual([bed.read('old/a.1'), bed.read('old/a.1.ok')], ['two', 'marker of two'])
  }))

test('a move that was interrupted half-way is finished, not done twice', () =>
  withFiles({ after: 'move', move_to: 'old/{name}' }, async (bed) => {
    bed.put('a')
    await bed.start({ config: {} })
    await bed.run()
    mkdirSync(bed.path('old'))
    linkSync(bed.path('a'), bed.path('old/a'))
    await bed.start({ config: { after: 'move', move_to: 'old/{name}' }, how: 'killed' })
    assert.deepEqual([await bed.run(), bed.files()], [[], ['old/a']])
  }))

test('a template that moves files to where they are read is refused at the start', () =>
  withFiles({}, async (bed) => {
    for (const move_to of ['{path}', '.', '{dir}/{name}', `${bed.folder}/{stem}{ext}`, '{path}{ext}']) {
      await bed.start({ config: { after: 'move', move_to } })
      await assert.rejects(bed.source.check(live), (error) => {
        assert.ok(error instanceof StreamError && error.code === 'config.invalid', `${move_to}: ${error}`)
        assert.match(error.message, /^cannot move files to .*\(name a folder of its own in move_to\)$/)
        return true
      })
    }
  }))

test('a dry run deletes nothing and remembers nothing', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    await bed.run()
    bed.put('b')
    await bed.start({ config: { after: 'delete' }, dryRun: true })
    assert.deepEqual(await bed.run(), ['b'])
    await bed.stop()
    assert.deepEqual(bed.files(), ['a', 'b'])
  }))

test('closing the source waits for what is under way', () =>
  withFiles({ after: 'delete' }, async (bed) => {
    bed.put('a')
    const [object] = (await bed.listed()) as [FileObject]
    finish(bed, object)
    await bed.source[Symbol.asyncDispose]()
    assert.deepEqual(bed.files(), [])
  }))

test('a file written in place of one that is being moved away is not lost', () =>
  withFiles({ after: 'move', move_to: 'old' }, async (bed) => {
    bed.put('a', 'first')
    bed.fault = (call, path) => {
      if (call === 'move' && path.endsWith('/a') && bed.store.count('move') === 1) throw unavailable()
    }
    await bed.run(() => {
      writeFileSync(bed.path('a'), 'first')
      return 'done'
    })
    assert.deepEqual(bed.files(), ['a'])
    await bed.run()
    assert.deepEqual([bed.files(), bed.read('old/a')], [['old/a'], 'first'])
  }))

test('files that wait to be removed are bounded: listing waits for them', () =>
  withFiles({}, async (bed) => {
    for (let i = 0; i < 3000; i += 1) bed.put(`f${i}`, '')
    assert.equal((await bed.run()).length, 3000)
    await bed.start({ config: { after: 'delete' } })
    let removing = 0
    const gate = Promise.withResolvers<void>()
    bed.fault = async (call) => {
      if (call !== 'remove') return
      removing += 1
      await gate.promise
    }
    const running = bed.run()
    try {
      while (removing < 4) await new Promise((resolve) => setTimeout(resolve, 1))
      // All pages would have been looked at by now: each takes no more than a look into the ledger.
      for (let turn = 0; turn < 100; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      assert.deepEqual([bed.source.figures.known, removing], [undefined, 4])
    } finally {
      gate.resolve()
    }
    assert.deepEqual([await running, bed.files(), bed.source.figures.removed], [[], [], 3000])
  }))

test('one that is added while the last ones end is dealt with, in whatever turn that is', async () => {
  for (let turns = 0; turns < 20; turns += 1) {
    const answers: Array<() => void> = []
    const stat = () => new Promise<undefined>((resolve) => answers.push(() => resolve(undefined)))
    const actions = new AfterActions({
      store: { stat } as unknown as FileStore,
      action: { kind: 'delete' },
      markerOf: () => undefined,
      log: { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} },
      did: () => {},
      failed: () => {},
      changed: () => {},
    })
    for (const name of ['a', 'b', 'c', 'd']) actions.add(fileNamed(name))
    while (answers.length < 4) await undefined
    // All four end in the same turn of the event loop.
    for (const answer of answers.splice(0)) answer()
    for (let turn = 0; turn < turns; turn += 1) await undefined
    actions.add(fileNamed('late'))
    await new Promise(setImmediate)
    for (const answer of answers) answer()
    await new Promise(setImmediate)
    assert.equal(actions.pending, 0, `after ${turns} turns`)
    await actions[Symbol.asyncDispose]()
  }
})

function fileNamed(path: string): FileObject {
  return { id: path, bucket: 'file://', key: path, path, size: 1, timeMs: 0, lastModifiedMs: 0 }
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { denied, type FileBed, failsWith, withFiles } from '../../test/servers/file-bed.ts'
import type { ReplayRange } from '../core/component.ts'

const live = { signal: new AbortController().signal }

async function replayed({ source }: FileBed, range: Partial<ReplayRange> = {}): Promise<string[]> {
  const paths: string[] = []
  const whole = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, prefix: '' }
  for await (const { path } of source.replayed({ ...whole, ...range }, live)) paths.push(path)
  return paths.toSorted()
}

test('a prefix is the beginning of a path below the folder, of a whole one, or of one with its server', () =>
  withFiles({}, async (bed) => {
    for (const name of ['eu/a', 'eu/b/c', 'us/a', 'eux']) bed.put(name)
    await bed.run()
    for (const start of ['eu/', `${bed.folder}/eu/`, `${bed.store.place}${bed.folder}/eu/`])
      assert.deepEqual(await replayed(bed, { prefix: start }), ['eu/a', 'eu/b/c'], start)
    assert.deepEqual(await replayed(bed, { prefix: 'eu' }), ['eu/a', 'eu/b/c', 'eux'])
  }))

test('folders in which nothing can begin with the prefix are not listed', () =>
  withFiles({}, async (bed) => {
    for (const name of ['eu/a', 'us/a']) bed.put(name)
    bed.store.calls.length = 0
    assert.deepEqual(await replayed(bed, { prefix: 'eu/' }), ['eu/a'])
    const listed = bed.store.calls.filter(([call]) => call === 'list').map(([, path]) => path)
    assert.deepEqual(listed, [bed.folder, `${bed.folder}/eu`])
  }))

test('what is not finished, or is left out by the rules, is left out of a replay', () =>
  withFiles({ min_age: '1m', exclude: '**/*.tmp', finished: { marker: '{name}.ok' } }, async (bed) => {
    for (const name of ['a', 'a.ok', 'b', 'c.tmp', 'c.tmp.ok', 'd.ok']) bed.put(name)
    bed.put('d', 'x', bed.nowMs - 1000)
    assert.deepEqual(await replayed(bed), ['a'])
    bed.nowMs += 60_000
    assert.deepEqual(await replayed(bed), ['a', 'd'])
  }))

test('a folder that may not be listed fails the list, after what could be listed', () =>
  withFiles({}, async (bed) => {
    for (const name of ['eu/a', 'us/a']) bed.put(name)
    bed.fault = (call, path) => {
      if (call === 'list' && path.endsWith('/eu')) throw denied()
    }
    const paths: string[] = []
    const listing = async () => {
      const range = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, prefix: '' }
      for await (const { path } of bed.source.replayed(range, live)) paths.push(path)
    }
    await assert.rejects(listing, failsWith('source.access', /cannot list all of .*: eu \(.*denied/))
    assert.deepEqual(paths, ['us/a'])
  }))

test('a replayed file that is finished leaves another version of it under way', () =>
  withFiles({}, async (bed) => {
    bed.put('a', 'first')
    await bed.run()
    const old = []
    for await (const object of bed.source.replayed({ fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, prefix: '' }, live))
      old.push(object)
    bed.put('a', 'second')
    const [newer] = await bed.listed()
    for (const object of old) bed.source.finished(object, 'replaced')
    assert.equal(newer?.path, 'a')
    assert.deepEqual(await bed.listed(), [], 'it is still under way')
  }))

import assert from 'node:assert/strict'
import { symlinkSync } from 'node:fs'
import { test } from 'node:test'
import { denied, withFiles } from '../../test/servers/file-bed.ts'

const live = { signal: new AbortController().signal }

test('for one file its folder is not listed: it may be large, or closed to us', () =>
  withFiles({}, async (bed) => {
    for (const name of ['a', 'a.done', 'b']) bed.put(name)
    await bed.start({ config: { path: bed.path('a'), after: 'delete', finished: { marker: '{name}.done' } } })
    bed.fault = (call) => {
      if (call === 'list') throw denied()
    }
    await bed.source.check(live)
    assert.deepEqual(await bed.run(), ['a'])
    assert.deepEqual(bed.files(), ['b'])
    bed.put('a')
    assert.deepEqual(await bed.run().catch(String), [], 'without its marker')
    assert.equal(bed.source.figures.unmarked, 1)
  }))

test('one file that is a link is read under its own name', () =>
  withFiles({ after: 'delete' }, async (bed) => {
    bed.put('data/2026.csv')
    symlinkSync(bed.path('data/2026.csv'), bed.path('latest.csv'))
    await bed.start({ config: { path: bed.path('latest.csv'), after: 'delete' } })
    assert.deepEqual(await bed.run(), ['latest.csv'])
    assert.deepEqual(bed.files(), ['data/2026.csv'])
  }))

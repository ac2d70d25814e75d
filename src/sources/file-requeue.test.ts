import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withFiles } from '../../test/servers/file-bed.ts'
import { nothingCounted, startOfObject } from '../core/delivery.ts'

test('what an earlier configuration left unfinished is read only where the one of now would find it', () =>
  withFiles({}, async (bed) => {
    for (const name of ['one/a', 'two/b', 'two/c', 'two/sub/d', 'two/tmp/e']) bed.put(name)
    assert.equal((await bed.run(() => 'failed')).length, 5)
    const config = { path: bed.path('two'), exclude: 'tmp/**' }
    await bed.start({ config: { ...config, recursive: false } })
    assert.deepEqual(await bed.run(({ path }) => (path === 'b' ? 'done' : 'failed')), ['b', 'c'])
    await bed.start({ config })
    assert.deepEqual(await bed.run(), ['c', 'sub/d'])
    await bed.start({ config: {} })
    assert.deepEqual(await bed.run(), ['one/a', 'two/tmp/e'])
  }))

test('a file of another server is not looked for on this one, and its mark stays', () =>
  withFiles({}, async (bed) => {
    const bucket = 'sftp://acme@old.example.com'
    const key = bed.path(bed.put('a')).slice(1)
    const [left, asked] = [1, 2].map((size) => ({
      ...{ id: `${bucket}/${key}@${size}-1000`, bucket, key, size, timeMs: 1000, lastModifiedMs: 1000 },
    }))
    assert.ok(left && asked)
    for (const object of [left, asked]) bed.ledger.begin(object)
    const o = { position: startOfObject, counts: nothingCounted, timeMs: 1000 }
    bed.ledger.settle(left.id, 'failed', o)
    bed.ledger.settle(asked.id, 'quarantined', { ...o, reason: 'refused' })
    bed.ledger.requeue('all')
    assert.deepEqual(await bed.run(), ['a'])
    assert.equal(bed.ledger.find(left.id)?.state, 'failed')
    assert.equal(bed.ledger.requeued().length, 1)
  }))

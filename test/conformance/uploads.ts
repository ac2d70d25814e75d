/** What the uploads of every ledger must hold. Called beside the suite of ledgers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LedgerPlace } from './ledger.ts'

export function uploadConformance(name: string, place: () => LedgerPlace): void {
  const run = (title: string, body: (place: LedgerPlace) => Promise<void>) =>
    test(`${name}: ${title}`, () => body(place()))

  const upload = {
    uploadId: 'u1',
    objectId: 'b/a@1',
    bucket: 'data',
    key: 'a.csv',
    size: 250,
    partBytes: 100,
    startedMs: 1_760_305_292_000,
  }
  const part = (number: number, etag = `e${number}`) => ({ number, bytes: 100, etag, checksum: `c${number}` })

  run('an upload is known by its object and place until it is removed', async (at) => {
    await using ledger = at.open()
    assert.deepEqual(ledger.uploads.list(), [])
    ledger.uploads.begin(upload)
    ledger.uploads.begin({ ...upload, uploadId: 'u0', objectId: 'b/z@1', key: 'z', startedMs: 1 })
    ledger.uploads.addPart('u1', part(2))
    ledger.uploads.addPart('u1', part(1))
    ledger.uploads.addPart('u1', part(2, 'again'))
    const known = { ...upload, parts: [part(1), part(2, 'again')] }
    assert.deepEqual(ledger.uploads.find('b/a@1', upload), known)
    assert.equal(ledger.uploads.find('b/a@2', upload), undefined)
    assert.equal(ledger.uploads.find('b/a@1', { bucket: 'data', key: 'other' }), undefined)
    assert.deepEqual(
      ledger.uploads.list().map(({ uploadId }) => uploadId),
      ['u0', 'u1'],
    )
    ledger.save()
    ledger.uploads.addPart('u1', part(2, 'newest'))
    assert.deepEqual(ledger.uploads.find('b/a@1', upload)?.parts, [part(1), part(2, 'newest')])
    ledger.uploads.remove('u1')
    assert.equal(ledger.uploads.find('b/a@1', upload), undefined)
  })

  run('C6.6: an upload that was begun is known after a kill; its parts as of the last save', async (at) => {
    const first = at.open()
    first.uploads.begin(upload)
    first.uploads.addPart('u1', part(1))
    first.save()
    first.uploads.addPart('u1', part(2))
    at.drop(first)
    await using ledger = at.open()
    assert.deepEqual(ledger.uploads.list(), [{ ...upload, parts: [part(1)] }])
  })
}

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withFiles } from '../../test/servers/file-bed.ts'

test('a part that comes late, of an upload that is gone, is not kept', () =>
  withFiles({}, async ({ ledger }) => {
    const upload = { uploadId: 'u', objectId: 'o', bucket: 'b', key: 'k', size: 1, partBytes: 1, startedMs: 1 }
    ledger.uploads.begin(upload)
    ledger.uploads.remove('u')
    ledger.uploads.addPart('u', { number: 1, bytes: 1, etag: 'e', checksum: 'c' })
    ledger.save()
    ledger.uploads.begin(upload)
    assert.deepEqual(ledger.uploads.list(), [{ ...upload, parts: [] }])
  }))

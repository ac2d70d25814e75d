import assert from 'node:assert/strict'
import { test } from 'node:test'
import { withFiles } from '../../test/servers/file-bed.ts'

test('a row that is written again keeps when it was listed: it is not pruned while the file is there', () =>
  withFiles({}, async (bed) => {
    bed.put('a')
    await bed.run()
    const [object] = bed.ledger.objects()
    assert.ok(object)
    const data = { contentType: 'text/plain', multiline: false, data: Buffer.from('x\n'), ends: Uint32Array.of(2) }
    bed.ledger.reject({ object, firstRecord: 0, reason: 'refused', ...data })
    bed.nowMs += 48 * 3_600_000
    bed.ledger.listed([object.id])
    bed.ledger.release(bed.ledger.quarantine()[0]?.id ?? 0, { delivered: 1, filtered: 0 })
    assert.equal(bed.ledger.prune(bed.nowMs), 0)
    assert.equal(bed.ledger.find(object.id)?.state, 'done')
  }))

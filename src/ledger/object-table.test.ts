import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { withFiles } from '../../test/servers/file-bed.ts'
import { ObjectTable, objectAgain, objectListing, objectSchema, objectUpgrade } from './object-table.ts'

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

test('what is asked for each second does not read all the objects that are remembered', () => {
  const asked: string[] = []
  using db = new (class extends DatabaseSync {
    override prepare(sql: string) {
      asked.push(sql)
      return super.prepare(sql)
    }
  })(':memory:')
  db.exec(objectSchema + objectUpgrade + objectListing + objectAgain)
  const table = new ObjectTable(db)
  asked.length = 0
  assert.equal(table.failed(['a']), 0)
  assert.equal(table.oldestUnfinishedMs(['a']), undefined)
  assert.equal(asked.length, 2)
  for (const sql of [...asked]) {
    const plan = db.prepare(`EXPLAIN QUERY PLAN ${sql}`).all('[]') as Array<{ detail: string }>
    assert.match(plan.map(({ detail }) => detail).join('\n'), /^SEARCH objects USING .*INDEX objects_unfinished/)
  }
})

/** What every ledger must tell of itself, and what an operator may take from it. Called by the test of each, as `ledgerConformance`. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blockOf } from '../../src/core/block.ts'
import { type LedgerPlace, listed, settled } from './ledger.ts'

export function ledgerLookConformance(name: string, place: () => LedgerPlace): void {
  const run = (title: string, body: (place: LedgerPlace) => Promise<void>) =>
    test(`${name}: ${title}`, () => body(place()))

  run('what is dropped is gone with its records, and its object is not tried again', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('bad'), 'quarantined')
    settled(ledger, listed('a'))
    const before = ledger.find(listed('a').id)?.counts
    const { data, ends } = blockOf(['x'])
    const records = { object: listed('a'), firstRecord: 4, contentType: 'text/plain', multiline: false, data, ends }
    ledger.reject({ ...records, reason: 'no' })
    ledger.requeue('all')
    const [kept, object] = ledger.quarantine().map(({ id }) => id)
    assert.equal(ledger.drop([object ?? 0, 999]), 1)
    assert.equal(ledger.states([listed('bad').id]).get(listed('bad').id), 'quarantined')
    assert.deepEqual(
      ledger.requeued().map(({ id }) => id),
      [kept],
    )
    assert.equal(ledger.drop([kept ?? 0]), 1)
    assert.equal(ledger.rejectedRecords(kept ?? 0), undefined)
    assert.deepEqual(ledger.quarantine(), [])
    assert.deepEqual(ledger.find(listed('a').id)?.counts, before)
  })

  run('its health tells size, save, failed objects and quarantine', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('a'), 'failed')
    settled(ledger, listed('b'), 'failed')
    settled(ledger, listed('c'), 'quarantined')
    ledger.begin(listed('b'))
    const before = at.nowMs()
    ledger.save()
    const { bytes, savedMs = 0, ...rest } = ledger.health
    assert.deepEqual(rest, { error: undefined, failures: 0, failed: 1, quarantine: 1 })
    assert.ok(bytes > 0)
    assert.ok(savedMs >= before)
  })

  run('the oldest unfinished object is one that was begun or that failed, but for those left out', async (at) => {
    await using ledger = at.open()
    assert.equal(ledger.oldestUnfinishedMs(), undefined)
    settled(ledger, listed('done', 1000))
    settled(ledger, listed('failed', 3000), 'failed')
    ledger.begin(listed('active', 4000))
    assert.equal(ledger.oldestUnfinishedMs(), 3000)
    assert.equal(ledger.oldestUnfinishedMs(new Set([listed('failed').id])), 4000)
    settled(ledger, listed('failed', 3000))
    assert.equal(ledger.oldestUnfinishedMs(new Set([listed('active').id])), undefined)
    assert.equal(ledger.oldestUnfinishedMs(), 4000)
  })

  run('the address of the console is there for whoever opens it next, whatever is saved', async (at) => {
    const ledger = at.open()
    assert.equal(ledger.console, undefined)
    ledger.console = 'http://localhost:8090'
    ledger.save()
    at.drop(ledger)
    await using again = at.open()
    again.save()
    assert.equal(again.console, 'http://localhost:8090')
    again.console = undefined
    again.save()
    assert.equal(again.console, undefined)
  })
}

/** What every ledger must hold of ranges that are to be read again. Called beside the suite of ledgers. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nothingCounted, startOfObject } from '../../src/core/delivery.ts'
import { type LedgerPlace, listed, settled } from './ledger.ts'

export function replayConformance(name: string, place: () => LedgerPlace): void {
  const run = (title: string, body: (place: LedgerPlace) => Promise<void>) =>
    test(`${name}: ${title}`, () => body(place()))

  const replay = { fromMs: 1000, toMs: 2000, prefix: 'a/', bytesPerSecond: 500, planned: { objects: 3, bytes: 30 } }

  run('a replay waits until it is over, also after a kill, and tells what was done', async (at) => {
    const first = at.open()
    const id = first.replays.add(replay)
    const later = first.replays.add({ ...replay, prefix: '' })
    assert.deepEqual(
      first.replays.open().map((entry) => entry.id),
      [id, later],
    )
    const done = { objects: 2, bytes: 20, failed: 1 }
    first.replays.put(id, { state: 'running', done })
    at.drop(first)
    await using ledger = at.open()
    const { createdMs, updatedMs, ...rest } = ledger.replays.find(id) ?? assert.fail('it is gone')
    assert.deepEqual(rest, { id, ...replay, state: 'running', done, error: undefined })
    assert.ok(createdMs <= updatedMs && updatedMs <= at.nowMs())
    ledger.replays.put(id, { error: 'cannot list now' })
    ledger.replays.put(id, { done })
    assert.equal(ledger.replays.find(id)?.error, 'cannot list now')
    ledger.replays.put(id, { error: undefined })
    assert.equal(ledger.replays.find(id)?.error, undefined)
    ledger.replays.put(id, { state: 'failed', error: 'no such bucket' })
    assert.deepEqual(
      ledger.replays.list().map((entry) => [entry.id, entry.state, entry.error]),
      [
        [later, 'waiting', undefined],
        [id, 'failed', 'no such bucket'],
      ],
    )
    assert.deepEqual(
      ledger.replays.open().map((entry) => entry.id),
      [later],
    )
    assert.equal(ledger.replays.list({ limit: 1 }).length, 1)
    assert.equal(ledger.replays.find(99), undefined)
  })

  run('a cancelled replay stays cancelled, whatever the one that runs it writes', async (at) => {
    await using ledger = at.open()
    const id = ledger.replays.add(replay)
    assert.equal(ledger.replays.cancel(id), true)
    ledger.replays.put(id, { state: 'done', done: { objects: 3, bytes: 30, failed: 0 } })
    assert.equal(ledger.replays.find(id)?.state, 'cancelled')
    assert.deepEqual([ledger.replays.cancel(id), ledger.replays.cancel(99)], [false, false])
    assert.deepEqual(ledger.replays.open(), [])
  })

  run(
    'a replay that is not done goes with the state that is forgotten: a first start reads nothing because of it',
    async (at) => {
      const ledger = at.open()
      const id = ledger.replays.add(replay)
      ledger.forget()
      at.drop(ledger)
      await using next = at.open()
      assert.deepEqual([next.replays.open(), next.replays.find(id)?.state], [[], 'cancelled'])
    },
  )

  run('an object that is read again begins at its first record, and the totals count it once', async (at) => {
    const ledger = at.open()
    const object = listed('a')
    settled(ledger, object)
    const { totals } = ledger
    const again = ledger.begin(object)
    assert.deepEqual([again.position, again.counts, again.attempts], [startOfObject, nothingCounted, 2])
    const position = { records: 2, offset: 20, offsetRecords: 2 }
    ledger.advance(object.id, position, { ...nothingCounted, read: 2, delivered: 2, bytes: 20 })
    ledger.save()
    at.drop(ledger)
    await using next = at.open()
    assert.deepEqual(next.begin(object).position, position)
    settled(next, object, 'failed')
    settled(next, object)
    assert.deepEqual(next.totals, totals)
  })

  run('of a quarantined object that is read again and done nothing is left in quarantine', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('bad'), 'quarantined')
    const { position, counts } = ledger.begin(listed('bad'))
    assert.deepEqual([position, counts], [startOfObject, nothingCounted])
    ledger.settle(listed('bad').id, 'done', { position, counts, timeMs: 1 })
    assert.deepEqual(ledger.quarantine(), [])
  })

  run(
    'refused records of an object that is read again leave the quarantine when all of it arrived, and only then',
    async (at) => {
      await using ledger = at.open()
      const object = listed('a')
      const data = Buffer.from('refused\n')
      const records = {
        object,
        firstRecord: 1,
        contentType: 'text/plain',
        multiline: false,
        data,
        ends: Uint32Array.of(8),
      }
      const sent = { read: 2, delivered: 1, filtered: 0, quarantined: 1, bytes: 20 }
      const where = { position: { records: 2, offset: 20, offsetRecords: 2 }, timeMs: 1 }
      for (const quarantined of [1, 1, 0]) {
        ledger.begin(object)
        if (quarantined > 0) ledger.reject({ ...records, reason: 'too long' })
        ledger.settle(object.id, 'done', { ...where, counts: { ...sent, delivered: 2 - quarantined, quarantined } })
        assert.equal(ledger.quarantine().length, quarantined)
      }
    },
  )

  run('an object that failed half-way, or was to be tried again, can be begun at its first record', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('failed'), 'failed')
    settled(ledger, listed('bad'), 'quarantined')
    ledger.requeue('all')
    const { totals } = ledger
    for (const key of ['failed', 'bad']) {
      ledger.replays.restart(listed(key).id)
      assert.equal(ledger.states([listed(key).id]).get(listed(key).id), 'failed')
      const { position, counts } = ledger.begin(listed(key))
      assert.deepEqual([position, counts], [startOfObject, nothingCounted])
    }
    settled(ledger, listed('bad'))
    assert.equal(ledger.totals.files, totals.files)
    assert.deepEqual(ledger.quarantine(), [])
    settled(ledger, listed('done'))
    const { counts } = ledger.find(listed('done').id) ?? assert.fail()
    ledger.replays.restart(listed('done').id)
    assert.deepEqual(ledger.find(listed('done').id)?.counts, counts)
  })

  run('an old object under way again takes the place in state back by nothing', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('old', 1_760_000_000_000))
    settled(ledger, listed('new', 1_760_300_000_000))
    ledger.save()
    const { totals, horizon } = ledger
    ledger.begin(listed('old', 1_760_000_000_000))
    ledger.save()
    assert.equal(ledger.oldestUnfinishedMs(), undefined, 'it was delivered before: nothing lags')
    assert.deepEqual([ledger.totals.lastTimeMs, ledger.horizon], [totals.lastTimeMs, horizon])
    settled(ledger, listed('newer', 1_760_400_000_000))
    settled(ledger, listed('old', 1_760_000_000_000))
    ledger.save()
    assert.equal(ledger.totals.lastTimeMs, 1_760_400_000_000)
  })
}

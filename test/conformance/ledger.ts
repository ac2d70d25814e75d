/** What every ledger must hold. Called by the test of each with a way to open it again and again on the same place. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blockOf } from '../../src/core/block.ts'
import type { ListedObject } from '../../src/core/component.ts'
import { nothingCounted, startOfObject } from '../../src/core/delivery.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'

export interface LedgerPlace {
  /** Opens the ledger; the one opened before is closed, or was dropped without saving. */
  open(): Ledger
  /** Lets go of an open ledger as a killed process would: nothing is saved. */
  drop(ledger: Ledger): void
  /** Lets so much time pass for its ledgers. */
  later(ms: number): void
  nowMs(): number
}

export function listed(key: string, timeMs = 1_760_305_292_000): ListedObject {
  return { id: `b/${key}@1`, bucket: 'b', key, size: 10, timeMs, lastModifiedMs: timeMs }
}

const position = { records: 5, offset: 50, offsetRecords: 4 }
const counts = { read: 5, delivered: 4, filtered: 0, quarantined: 1, bytes: 60 }

export function settled(
  ledger: Ledger,
  object: ListedObject,
  outcome: 'done' | 'failed' | 'quarantined' = 'done',
): void {
  ledger.begin(object)
  const reason = outcome === 'done' ? {} : { reason: 'because' }
  ledger.settle(object.id, outcome, { position, counts, timeMs: object.timeMs, ...reason })
}

export function ledgerConformance(name: string, place: () => LedgerPlace): void {
  const run = (title: string, body: (place: LedgerPlace) => Promise<void>) =>
    test(`${name}: ${title}`, () => body(place()))

  run('an object is new until it is begun, then active, then what it was settled as', async (at) => {
    await using ledger = at.open()
    const [a, b] = [listed('a'), listed('b')]
    assert.equal(ledger.states([a.id, b.id]).size, 0)
    assert.equal(ledger.find(a.id), undefined)
    const entry = ledger.begin(a)
    assert.deepEqual([entry.position, entry.counts, entry.attempts], [startOfObject, nothingCounted, 1])
    assert.deepEqual([...ledger.states([a.id, b.id])], [[a.id, 'active']])
    ledger.settle(a.id, 'done', { position, counts, timeMs: a.timeMs })
    assert.equal(ledger.states([a.id]).get(a.id), 'done')
    assert.deepEqual(ledger.find(a.id)?.counts, counts)
  })

  run('a saved position is where the object goes on after the process was killed', async (at) => {
    const object = listed('a')
    const ledger = at.open()
    ledger.begin(object)
    ledger.advance(object.id, position, counts)
    ledger.save()
    ledger.advance(object.id, { ...position, records: 9 }, counts)
    at.drop(ledger)
    await using again = at.open()
    const [left] = again.objects({ states: ['active'] })
    assert.equal(left?.id, object.id)
    const entry = again.begin(object)
    assert.deepEqual([entry.position, entry.counts, entry.attempts], [position, counts, 2])
  })

  run('a suspended object is found where it stood, at once, and is not written over later', async (at) => {
    const object = listed('a')
    const ledger = at.open()
    ledger.begin(object)
    ledger.advance(object.id, position, counts)
    ledger.suspend(object.id)
    at.drop(ledger)
    await using again = at.open()
    assert.deepEqual(again.begin(object).position, position)
  })

  run('what was settled, refused or requeued survives a kill at once', async (at) => {
    const ledger = at.open()
    settled(ledger, listed('done'))
    settled(ledger, listed('bad'), 'quarantined')
    settled(ledger, listed('failed'), 'failed')
    const { data, ends } = blockOf(['x', 'y'])
    ledger.reject({
      object: listed('done'),
      firstRecord: 3,
      contentType: 'text/plain',
      multiline: false,
      data,
      ends,
      reason: 'no',
    })
    ledger.requeue('all')
    at.drop(ledger)
    await using again = at.open()
    const states = again.states(['done', 'bad', 'failed'].map((key) => listed(key).id))
    assert.deepEqual([...states.values()].toSorted(), ['done', 'failed', 'requeued'])
    assert.equal(again.requeued().length, 2)
    assert.deepEqual(
      again.objects({ states: ['failed'] }).map(({ key, error }) => [key, error]),
      [['failed', 'because']],
    )
  })

  run('totals count each object once, whatever was tried', async (at) => {
    const ledger = at.open()
    settled(ledger, listed('a', 1000), 'failed')
    assert.deepEqual(ledger.totals, { files: 0, bytes: 0, lastTimeMs: 0, lastKey: '' })
    settled(ledger, listed('a', 1000))
    settled(ledger, listed('b', 3000), 'quarantined')
    settled(ledger, listed('b', 3000))
    settled(ledger, listed('c', 2000))
    const expected = { files: 3, bytes: 180, lastTimeMs: 3000, lastKey: 'b' }
    assert.deepEqual(ledger.totals, expected)
    at.drop(ledger)
    await using again = at.open()
    assert.deepEqual(again.totals, expected)
  })

  run('refused records are kept with their bytes, once however often they are refused', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('a'))
    const { data, ends } = blockOf(['one', 'zwei\nzwei', 'three'], 7, true)
    const rejected = {
      object: listed('a'),
      firstRecord: 7,
      contentType: 'text/plain',
      multiline: true,
      data,
      ends,
      reason: '400: no',
    }
    ledger.reject(rejected)
    ledger.reject({ ...rejected, reason: '400: still no' })
    const [entry, ...more] = ledger.quarantine()
    assert.deepEqual(more, [])
    assert.ok(entry)
    assert.deepEqual([entry.kind, entry.records, entry.firstRecord, entry.reason], ['records', 3, 7, '400: still no'])
    const records = ledger.rejectedRecords(entry.id)
    assert.deepEqual(
      [records?.data.toString(), [...(records?.ends ?? [])], records?.multiline],
      [data.toString(), [...ends], true],
    )
  })

  run('a requeued entry is handed out until it is released; refused again it stays, unmarked', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('a'))
    const { data, ends } = blockOf(['x'])
    const rejected = {
      object: listed('a'),
      firstRecord: 4,
      contentType: 'text/plain',
      multiline: false,
      data,
      ends,
      reason: 'no',
    }
    ledger.reject(rejected)
    const [entry] = ledger.quarantine()
    assert.ok(entry)
    assert.equal(ledger.requeue([entry.id, 999]), 1)
    assert.deepEqual(
      ledger.requeued().map(({ id }) => id),
      [entry.id],
    )
    ledger.reject(rejected)
    assert.deepEqual(ledger.requeued(), [])
    assert.equal(ledger.quarantine().length, 1)
    ledger.requeue([entry.id])
    ledger.release(entry.id, { delivered: 1, filtered: 0 })
    assert.deepEqual(ledger.quarantine(), [])
    const { delivered, quarantined } = ledger.find(listed('a').id)?.counts ?? nothingCounted
    assert.deepEqual([delivered, quarantined], [5, 0])
  })

  run('a quarantined object has an entry with reason and position, and can be begun again from there', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('a'), 'quarantined')
    const [entry] = ledger.quarantine()
    assert.deepEqual([entry?.kind, entry?.reason, entry?.position], ['object', 'because', position])
    ledger.requeue('all')
    assert.equal(ledger.states([listed('a').id]).get(listed('a').id), 'requeued')
    assert.deepEqual(ledger.begin(listed('a')).position, position)
  })

  run('rejected records keep their numbers and what of the object names their fields', async (at) => {
    await using ledger = at.open()
    const read = { ...counts, delivered: 4, quarantined: 3 }
    ledger.begin(listed('a'))
    ledger.settle(listed('a').id, 'done', { position, counts: read, timeMs: 1000 })
    const { data, ends } = blockOf(['one', 'two'])
    const numbers = Uint32Array.of(3, 9)
    const head = Buffer.from('#Fields: a b')
    const object = listed('a')
    const shared = { object, contentType: 'text/plain', multiline: false, data, ends, reason: 'no' }
    ledger.reject({ ...shared, firstRecord: 3, numbers, head })
    const [entry] = ledger.quarantine()
    const kept = ledger.rejectedRecords(entry?.id ?? 0)
    assert.deepEqual([kept?.numbers, kept?.head, kept?.data], [numbers, head, data])
    ledger.release(entry?.id ?? 0, { delivered: 1, filtered: 1 })
    const { delivered, filtered, quarantined } = ledger.find(object.id)?.counts ?? nothingCounted
    assert.deepEqual([delivered, filtered, quarantined], [5, 1, 1])
  })

  run(
    'entries of the same first record and count keep each what they were given, if other records are between',
    async (at) => {
      await using ledger = at.open()
      const keep = (text: string[], numbers: number[] | undefined) => {
        const { data, ends } = blockOf(text)
        const rest = { contentType: 'text/plain', multiline: false, reason: 'no', data, ends }
        ledger.reject({ object: listed('a'), firstRecord: 3, numbers: numbers && Uint32Array.from(numbers), ...rest })
      }
      keep(['three', 'nine'], [3, 9])
      keep(['three', 'four'], undefined)
      keep(['three', 'five'], [3, 5])
      keep(['three', 'nine'], [3, 9])
      const kept = ledger.quarantine().map(({ id }) => ledger.rejectedRecords(id)?.data.toString())
      assert.deepEqual(kept.toSorted(), ['three\nfive\n', 'three\nfour\n', 'three\nnine\n'])
    },
  )

  run(
    'records that go on while their object is read again count once; never more of them than there are',
    async (at) => {
      await using ledger = at.open()
      const object = listed('a')
      const { data, ends } = blockOf(['1', '2', '3', '4', '5'])
      const before = { read: 5, delivered: 0, filtered: 0, quarantined: 5, bytes: 10 }
      ledger.begin(object)
      ledger.reject({ object, firstRecord: 0, contentType: 't', multiline: false, data, ends, reason: 'x' })
      ledger.reject({
        object,
        firstRecord: 1,
        contentType: 't',
        multiline: false,
        data,
        ends,
        reason: 'of before a reset',
      })
      ledger.settle(object.id, 'quarantined', { position, counts: before, timeMs: 1000, reason: 'limit' })
      ledger.requeue('all')
      ledger.begin(object)
      const [stale, entry] = ledger.quarantine().filter(({ kind }) => kind === 'records')
      ledger.release(entry?.id ?? 0, { delivered: 5, filtered: 0 })
      ledger.save()
      const after = { read: 7, delivered: 2, filtered: 0, quarantined: 5, bytes: 14 }
      ledger.settle(object.id, 'done', { position, counts: after, timeMs: 1000 })
      assert.deepEqual(ledger.find(object.id)?.counts, {
        read: 7,
        delivered: 7,
        filtered: 0,
        quarantined: 0,
        bytes: 14,
      })
      ledger.release(stale?.id ?? 0, { delivered: 3, filtered: 2 })
      assert.deepEqual(ledger.find(object.id)?.counts, {
        read: 7,
        delivered: 7,
        filtered: 0,
        quarantined: 0,
        bytes: 14,
      })
    },
  )

  run('a rejected message is kept once, with its body, and can be asked for again', async (at) => {
    await using ledger = at.open()
    const message = { id: 'm-1', queue: 'logs', body: '{"a":1}\nx', reason: 'is no JSON' }
    ledger.rejectMessage(message)
    ledger.rejectMessage({ ...message, reason: 'still none' })
    const [entry, ...more] = ledger.quarantine()
    assert.deepEqual([entry?.kind, entry?.reason, more], ['message', 'still none', []])
    assert.equal(ledger.rejectedRecords(entry?.id ?? 0)?.data.toString(), `${message.body}\n`)
    ledger.requeue('all')
    assert.equal(ledger.requeued()[0]?.kind, 'message')
    ledger.release(entry?.id ?? 0)
    assert.deepEqual(ledger.quarantine(), [])
  })

  run('runs are kept, newest first; one that did not end was killed', async (at) => {
    const ledger = at.open()
    const about = { mode: 'once', objects: { done: 2 }, counts, figures: { received: 3 }, error: undefined } as const
    const now = Date.now()
    const first = ledger.runs.add({ startedMs: 1000, updatedMs: 2000, outcome: 'running', ...about })
    assert.equal(ledger.runs.list()[0]?.outcome, 'killed')
    ledger.runs.put({ id: first, startedMs: 1000, updatedMs: 5000, outcome: 'done', ...about })
    const second = ledger.runs.add({ startedMs: 6000, updatedMs: now, outcome: 'running', ...about })
    assert.deepEqual(
      ledger.runs.list().map(({ id, outcome, updatedMs }) => [id, outcome, updatedMs]),
      [
        [second, 'running', now],
        [first, 'done', 5000],
      ],
    )
    assert.deepEqual(ledger.runs.list({ sinceMs: 6000 })[0]?.figures, { received: 3 })
    at.drop(ledger)
    await using again = at.open()
    assert.deepEqual(again.runs.list({ limit: 1 })[0]?.outcome, 'killed')
    assert.ok(again.runs.add({ startedMs: 7000, updatedMs: now, outcome: 'running', ...about }) > second)
  })

  run('prune forgets only what is finished and old in every respect', async (at) => {
    await using ledger = at.open()
    const old = Date.now() - 10 * 86_400_000
    settled(ledger, listed('old', old))
    settled(ledger, listed('failed', old), 'failed')
    settled(ledger, listed('bad', old), 'quarantined')
    settled(ledger, { ...listed('late', old), lastModifiedMs: Date.now() })
    ledger.prune(Date.now() - 86_400_000)
    const left = ledger.objects().map(({ key }) => key)
    // Rows that were written just now are not old yet, whatever their time.
    assert.deepEqual(left.toSorted(), ['bad', 'failed', 'late', 'old'])
  })

  run('folders with recent objects are known by name', async (at) => {
    await using ledger = at.open()
    settled(ledger, listed('a/b/1.gz', 5000))
    settled(ledger, listed('a/b/2.gz', 6000))
    settled(ledger, listed('c d/x=1/3', 6000))
    settled(ledger, listed('old/4', 1000))
    settled(ledger, listed('top', 6000))
    assert.deepEqual(ledger.folders(5000).toSorted(), ['', 'a/b/', 'c d/x=1/'])
  })

  run('the horizon is kept', async (at) => {
    const horizon = { checkpointMs: 5, sweepMs: 4, floor: { timeMs: 3, setAtMs: 2 }, listed: true }
    const ledger = at.open()
    ledger.setHorizon(horizon)
    ledger.save()
    at.drop(ledger)
    await using again = at.open()
    assert.deepEqual(again.horizon, horizon)
  })

  run(
    'moving back reads again from that time on, moving on leaves older ones alone, forgetting starts afresh',
    async (at) => {
      const ledger = at.open()
      for (const [key, time] of [
        ['a', 1000],
        ['b', 2000],
        ['c', 3000],
      ] as const)
        settled(ledger, listed(key, time))
      ledger.moveTo(2000)
      assert.deepEqual([...ledger.states(['a', 'b', 'c'].map((key) => listed(key).id)).keys()], [listed('a').id])
      assert.equal(ledger.horizon.floor.timeMs, 2000)
      settled(ledger, listed('f', 4000), 'failed')
      ledger.moveTo(9000)
      assert.deepEqual(ledger.objects({ states: ['failed'] }), [])
      settled(ledger, listed('q', 9500), 'quarantined')
      ledger.forget()
      await ledger[Symbol.asyncDispose]()
      await using again = at.open()
      assert.deepEqual(again.objects(), [])
      assert.equal(again.totals.files, 0)
      assert.equal(again.quarantine().length, 1)
    },
  )

  run('what is still listed is not pruned, however old; what is not listed any more is', async (at) => {
    await using ledger = at.open()
    const [here, gone] = [listed('here', 1000), listed('gone', 1000)]
    settled(ledger, here)
    settled(ledger, gone)
    at.later(2 * 86_400_000)
    ledger.listed([here.id])
    assert.equal(ledger.prune(at.nowMs() - 3_600_000), 1)
    assert.deepEqual([...ledger.states([here.id, gone.id]).keys()], [here.id])
    at.later(2 * 86_400_000)
    assert.equal(ledger.prune(at.nowMs() - 3_600_000), 1)
  })
}

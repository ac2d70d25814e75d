import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import {
  down,
  type FakeObject,
  FakeSink,
  FakeSource,
  finalOutcomes,
  ledgerIn,
  never,
  newFolder,
  objectOf,
  pipelineOf,
  textOf,
} from '../../test/fakes/pipeline.ts'
import type { SqliteLedger } from '../ledger/sqlite.ts'
import type { ObjectReport } from './account.ts'
import { blockOf } from './block.ts'
import { nothingCounted, startOfObject } from './delivery.ts'
import { StreamError } from './errors.ts'

/** Text of every record in quarantine. */
function kept(ledger: SqliteLedger): string[] {
  return ledger.quarantine().flatMap(({ id, kind }) => {
    const records = kind === 'records' ? ledger.rejectedRecords(id) : undefined
    if (!records) return []
    const part = { block: { ...records, first: 0, resumeAt: -1 }, from: 0, to: records.ends.length }
    return textOf({
      parts: [{ ...part, object: { ...records.object, timeMs: 0 } }],
      contentType: '',
      count: 0,
      bytes: 0,
    })
  })
}

function lines(n: number, count: number, length = 12): string[] {
  return Array.from({ length: count }, (_, i) => `o${n} r${i} `.padEnd(length, 'x'))
}

const transient = () => new StreamError('source.unavailable', '503 SlowDown')
const unknown = () => new TypeError('Cannot read properties of undefined')
const archived = () => new StreamError('source.archived', 'in Glacier')

test('A16.2, A16.3, A16.4, A16.9, A16.11: whatever fails and whenever it stops, acked implies delivered, and counts balance', async () => {
  const object = fc.record({
    records: fc.nat({ max: 60 }),
    length: fc.integer({ min: 8, max: 60 }),
    gzip: fc.boolean(),
    faults: fc.array(
      fc.record({
        place: fc.double({ min: 0, max: 1, noNaN: true }),
        kind: fc.constantFrom('transient', 'transient', 'unknown', 'permanent'),
        times: fc.integer({ min: 1, max: 2 }),
      }),
      { maxLength: 2 },
    ),
  })
  const phase = fc.record({
    how: fc.constantFrom('soft', 'hard', 'crash'),
    afterWrites: fc.integer({ min: 1, max: 12 }),
  })
  const fates = ['ok', 'ok', 'ok', 'slow', 'down', 'lost answer', 'large', 'refused', 'partly'] as const
  await fc.assert(
    fc.asyncProperty(
      fc.array(object, { minLength: 1, maxLength: 8 }),
      fc.array(phase, { maxLength: 4 }),
      fc.array(fc.constantFrom(...fates), { minLength: 1, maxLength: 40 }),
      fc.record({
        records: fc.integer({ min: 1, max: 20 }),
        bytes: fc.integer({ min: 20, max: 400 }),
        lingerMs: fc.integer({ min: 1, max: 30 }),
      }),
      fc.record({
        workers: fc.integer({ min: 1, max: 4 }),
        chunk: fc.integer({ min: 7, max: 300 }),
        maxInFlight: fc.integer({ min: 1, max: 4 }),
      }),
      async (specs, phases, script, batch, o) => {
        const objects = specs.map(({ records, length, gzip, faults }, n) => {
          const made = objectOf(n, lines(n, records, length), { gzip })
          for (const { place, kind, times } of faults) {
            made.faults.push({
              at: Math.floor(place * made.body.length),
              times: kind === 'permanent' ? Number.POSITIVE_INFINITY : times,
              error: kind === 'permanent' ? archived : kind === 'unknown' ? unknown : transient,
            })
          }
          return made
        })
        const folder = newFolder()
        const accepted = new Map<string, number>()
        const settled = new Set<string>()
        let attempt = 0
        for (let round = 0; settled.size < objects.length; round += 1) {
          assert.ok(round < 40, 'it never comes to an end')
          const stop = phases[round]
          const ledger = ledgerIn(folder)
          const source = new FakeSource(objects, ledger, o)
          const [soft, hard] = [new AbortController(), new AbortController()]
          const sink = new FakeSink({ limits: batch, maxInFlight: o.maxInFlight })
          let crashed = false
          sink.fault = async (written) => {
            // After the script all is well: else nothing would ever end.
            const fate = script[attempt] ?? 'ok'
            attempt += 1
            if (stop && sink.writes === stop.afterWrites) {
              if (stop.how === 'soft') soft.abort(new Error('soft'))
              else if (stop.how === 'hard') hard.abort(new Error('hard'))
              else {
                // As a killed process leaves it: nothing is saved any more.
                crashed = true
                ledger.abandon()
                hard.abort(new Error('kill'))
              }
            }
            if (fate === 'slow') await sleep(2)
            if (fate === 'down') return down()
            if (fate === 'lost answer') return 'lost answer'
            if (fate === 'large' && written.bytes > 16) throw new StreamError('sink.too_large', '413')
            if (fate === 'refused') throw new StreamError('sink.rejected', '400 no such field')
            if (fate === 'partly') return new Map([[written.count - 1, new StreamError('sink.rejected', 'no')]])
            return undefined
          }
          sink.accepted = (record) => {
            accepted.set(record, (accepted.get(record) ?? 0) + 1)
            const n = Number(/^o(\d+) /.exec(record)?.[1])
            assert.ok(!settled.has((objects[n] as FakeObject).key), `${record}: sent again after it was settled`)
          }
          const inQuarantine = () => new Set(kept(ledger))
          const isAccountedFor = (n: number, upTo: number, refused: ReadonlySet<string>) => {
            for (const record of (objects[n] as FakeObject).records.slice(0, upTo)) {
              assert.ok(accepted.has(record) || refused.has(record), `${record} was acked and not delivered`)
            }
          }
          const observe = ({ object, outcome, counts }: ObjectReport) => {
            if (!finalOutcomes.has(outcome)) return
            const n = Number(object.key.slice('logs/o'.length))
            assert.equal(counts.read, counts.delivered + counts.filtered + counts.quarantined)
            if (outcome === 'done') assert.equal(counts.read, (objects[n] as FakeObject).records.length)
            isAccountedFor(n, counts.read, inQuarantine())
            settled.add(object.key)
          }
          const pipeline = pipelineOf(source, sink, ledger, { observe })
          const running = pipeline.run({ once: true, soft: soft.signal, hard: hard.signal })
          await running.catch((error: unknown) => {
            if (!crashed) throw error
          })
          if (!crashed) {
            const refused = inQuarantine()
            for (const [n, { id, records, key }] of objects.entries()) {
              const entry = ledger.find(id)
              if (!entry) continue
              isAccountedFor(n, entry.position.records, refused)
              const { delivered, filtered, quarantined } = entry.counts
              assert.equal(delivered + filtered + quarantined, entry.position.records, `${key}: counts and position`)
              // A clean stop leaves nothing half done: what was sent is acked, and is not sent again.
              if (hard.signal.aborted) continue
              const sent = records.filter((record) => accepted.has(record))
              assert.ok(sent.every((record) => records.indexOf(record) < entry.position.records) || round > 0)
            }
          }
          await ledger[Symbol.asyncDispose]()
        }
        const ledger = ledgerIn(folder)
        const entries = ledger.objects()
        assert.equal(entries.length, objects.length)
        const bytes = entries.reduce((sum, { counts }) => sum + counts.bytes, 0)
        assert.deepEqual(
          { files: ledger.totals.files, bytes: ledger.totals.bytes },
          { files: objects.length, bytes },
          'the sums are those of the objects',
        )
        const refusals = ledger.quarantine().filter(({ kind }) => kind === 'records')
        const inAll = entries.reduce((sum, { counts }) => sum + counts.quarantined, 0)
        assert.ok(refusals.reduce((sum, { records }) => sum + records, 0) >= inAll)
        await ledger[Symbol.asyncDispose]()
      },
    ),
    { numRuns: 30, timeout: 10_000 },
  )
})

test('a clean stop in the middle goes on at the next start with the next record: none is sent twice', async () => {
  for (const gzip of [false, true]) {
    const folder = newFolder()
    const objects = [0, 1, 2].map((n) => objectOf(n, lines(n, 300), { gzip }))
    const sink = new FakeSink()
    for (let starts = 0; starts < 4; starts += 1) {
      await using ledger = ledgerIn(folder)
      const soft = new AbortController()
      const before = sink.writes
      sink.fault = async () => {
        if (starts < 3 && sink.writes - before === 8) soft.abort(new Error('SIGTERM'))
        return undefined
      }
      const source = new FakeSource(objects, ledger, { chunk: 256 })
      await pipelineOf(source, sink, ledger).run({ once: true, soft: soft.signal, hard: never })
    }
    assert.equal(sink.times.size, 900)
    assert.deepEqual(new Set(sink.times.values()), new Set([1]))
  }
})

test('an object that fails for an unknown reason is failed with the reason; the others go on', async () => {
  await using ledger = ledgerIn(newFolder())
  const faults = [{ at: 40, times: Number.POSITIVE_INFINITY, error: unknown }]
  const objects = [objectOf(0, lines(0, 20), { faults }), objectOf(1, lines(1, 20))]
  const sink = new FakeSink()
  const source = new FakeSource(objects, ledger)
  const totals = await pipelineOf(source, sink, ledger).run({ once: true, soft: never, hard: never })
  assert.deepEqual([totals.objects.failed, totals.objects.done], [1, 1])
  assert.equal(ledger.find('b/logs/o0@1')?.state, 'failed')
  assert.match(ledger.find('b/logs/o0@1')?.error ?? '', /Cannot read properties/)
  assert.equal(ledger.find('b/logs/o1@1')?.counts.delivered, 20)
  // What could be read of it was delivered, and the ledger knows how far.
  assert.equal(ledger.find('b/logs/o0@1')?.position.records, 3)
})

test('A16.19: an object whose reading is interrupted again and again is left for a later scan, and the worker is free', async () => {
  await using ledger = ledgerIn(newFolder())
  const faults = [{ at: 0, times: Number.POSITIVE_INFINITY, error: transient }]
  const objects = [objectOf(0, lines(0, 5), { faults }), objectOf(1, lines(1, 5))]
  const source = new FakeSource(objects, ledger, { workers: 1 })
  const totals = await pipelineOf(source, new FakeSink(), ledger).run({ once: true, soft: never, hard: never })
  assert.deepEqual([totals.objects.failed, totals.objects.done], [1, 1])
})

test('a broken invariant of ours stops the whole pipeline, loudly, and marks nothing done', async () => {
  await using ledger = ledgerIn(newFolder())
  const bug = () => new StreamError('core.unbalanced', 'record 7 held, 6 expected')
  const objects = [
    objectOf(0, lines(0, 500), { faults: [{ at: 100, times: 1, error: bug }] }),
    objectOf(1, lines(1, 9)),
  ]
  const sink = new FakeSink({ fault: down })
  const source = new FakeSource(objects, ledger)
  await assert.rejects(
    pipelineOf(source, sink, ledger).run({ once: false, soft: never, hard: never }),
    /record 7 held, 6 expected/,
  )
  assert.deepEqual(ledger.objects({ states: ['done', 'failed', 'quarantined'] }), [])
})

test('a sink that breaks in a way nobody foresaw stops the pipeline instead of losing the batch', async () => {
  await using ledger = ledgerIn(newFolder())
  const sink = new FakeSink({
    fault: async () => {
      throw unknown()
    },
  })
  const source = new FakeSource([objectOf(0, lines(0, 5))], ledger)
  await assert.rejects(
    pipelineOf(source, sink, ledger).run({ once: false, soft: never, hard: never }),
    /Cannot read properties/,
  )
  assert.equal(ledger.find('b/logs/o0@1')?.state, 'active')
})

test('when listing fails for good, what was given out before is delivered first, then the failure is told', async () => {
  await using ledger = ledgerIn(newFolder())
  const source = new FakeSource([objectOf(0, lines(0, 100)), objectOf(1, lines(1, 100))], ledger)
  source.failure = new StreamError('source.access', 'cannot list s3://b/: AccessDenied')
  const sink = new FakeSink()
  await assert.rejects(pipelineOf(source, sink, ledger).run({ once: true, soft: never, hard: never }), /AccessDenied/)
  assert.equal(sink.times.size, 200)
  assert.equal(ledger.objects({ states: ['done'] }).length, 2)
})

test('requeued records are sent again and leave the quarantine; refused again, they stay', async () => {
  const folder = newFolder()
  const no = (what: string) => new StreamError('sink.rejected', what)
  const sink = new FakeSink({ limits: { records: 4 } })
  const objects = [objectOf(0, lines(0, 12))]
  const once = { once: true, soft: never, hard: never } as const
  await using ledger = ledgerIn(folder)
  const run = () => pipelineOf(new FakeSource(objects, ledger), sink, ledger).run(once)
  sink.fault = async () => {
    throw no('400 unknown field')
  }
  await run()
  const [entry] = ledger.objects()
  assert.deepEqual([entry?.state, entry?.counts.quarantined], ['done', 12])
  assert.deepEqual(kept(ledger).toSorted(), lines(0, 12).toSorted())

  // All marked; one record of each entry is refused again.
  ledger.requeue('all')
  sink.fault = async (batch) => new Map([[batch.count - 1, no('400 still unknown')]])
  const again = await run()
  assert.equal(again.recovered, 9)
  assert.deepEqual(kept(ledger).toSorted(), [3, 7, 11].map((i) => lines(0, 12)[i]).toSorted())
  assert.deepEqual(ledger.requeued(), [])
  assert.deepEqual([ledger.objects()[0]?.counts.delivered, ledger.objects()[0]?.counts.quarantined], [9, 3])

  // A running pipeline takes them by itself.
  const soft = new AbortController()
  sink.fault = async () => undefined
  const running = pipelineOf(new FakeSource(objects, ledger), sink, ledger).run({
    ...once,
    once: false,
    soft: soft.signal,
  })
  ledger.requeue('all')
  while (ledger.quarantine().length > 0) await sleep(10)
  soft.abort(new Error('enough'))
  await running
  assert.deepEqual([sink.times.size, new Set(sink.times.values())], [12, new Set([1])])
  const { read, delivered, quarantined } = ledger.objects()[0]?.counts ?? nothingCounted
  assert.deepEqual([read, delivered, quarantined], [12, 12, 0])
})

test('many requeued entries are sent a few at a time, and a stop leaves the rest marked', async () => {
  await using ledger = ledgerIn(newFolder())
  const object = { id: 'b/k@1', bucket: 'b', key: 'k' }
  for (let i = 0; i < 40; i += 1) {
    const { data, ends } = blockOf([`record ${i}`])
    ledger.reject({ object, firstRecord: i, contentType: 'text/plain', multiline: false, data, ends, reason: 'no' })
  }
  ledger.requeue('all')
  const soft = new AbortController()
  const sink = new FakeSink({ limits: { records: 1 } })
  sink.fault = async () => {
    if (sink.writes === 6) soft.abort(new Error('stop'))
    return undefined
  }
  await pipelineOf(new FakeSource([], ledger), sink, ledger).run({ once: false, soft: soft.signal, hard: never })
  const left = ledger.requeued().length
  assert.ok(left >= 40 - 6 - 4 && left < 40, `${left} left`)
  assert.equal(left + sink.times.size, 40)
  await pipelineOf(new FakeSource([], ledger), new FakeSink(), ledger).run({ once: true, soft: never, hard: never })
  assert.deepEqual(ledger.quarantine(), [])
})

test('A16.3: the last records of a quiet bucket leave after the linger time, though the batch is not full', async () => {
  await using ledger = ledgerIn(newFolder())
  const soft = new AbortController()
  const sink = new FakeSink({ limits: { records: 1000, bytes: 1e6, lingerMs: 10 } })
  const source = new FakeSource([objectOf(0, lines(0, 3))], ledger)
  const running = pipelineOf(source, sink, ledger).run({ once: false, soft: soft.signal, hard: never })
  while (source.finishedObjects.length === 0) await sleep(5)
  soft.abort(new Error('enough'))
  await running
  assert.deepEqual(sink.batches, [lines(0, 3)])
})

test('with --once nothing waits for company: a linger of an hour does not hold up the end', async () => {
  await using ledger = ledgerIn(newFolder())
  const sink = new FakeSink({ limits: { records: 1000, bytes: 1e6, lingerMs: 3_600_000 } })
  const source = new FakeSource([objectOf(0, lines(0, 3))], ledger)
  await pipelineOf(source, sink, ledger).run({ once: true, soft: never, hard: never })
  assert.equal(sink.times.size, 3)
})

test('A16.9: a stop while the sink is down ends at the deadline with nothing marked done, and the next start has it all', async () => {
  const folder = newFolder()
  const objects = [0, 1, 2, 3].map((n) => objectOf(n, lines(n, 50)))
  {
    await using ledger = ledgerIn(folder)
    const [soft, hard] = [new AbortController(), new AbortController()]
    const sink = new FakeSink({ fault: down })
    const source = new FakeSource(objects, ledger, { workers: 2 })
    const running = pipelineOf(source, sink, ledger).run({ once: false, soft: soft.signal, hard: hard.signal })
    while (sink.writes < 5) await sleep(2)
    soft.abort(new Error('SIGTERM'))
    let hasEnded = false
    void running.then(() => {
      hasEnded = true
    })
    await sleep(60)
    assert.equal(hasEnded, false, 'it waits for the sink as long as it may')
    hard.abort(new Error('deadline'))
    await running
    assert.deepEqual(ledger.objects({ states: ['done', 'quarantined', 'failed'] }), [])
    assert.equal(ledger.quarantine().length, 0)
  }
  await using ledger = ledgerIn(folder)
  const sink = new FakeSink()
  await pipelineOf(new FakeSource(objects, ledger), sink, ledger).run({ once: true, soft: never, hard: never })
  assert.equal(sink.times.size, 200)
  assert.equal(ledger.objects({ states: ['done'] }).length, 4)
})

test('A16.16: memory is bounded: while the sink hangs, no more is read than fits; afterwards all of it arrives', async () => {
  await using ledger = ledgerIn(newFolder())
  const line = 'y'.repeat(1000)
  const body = Buffer.from(`${line}\n`.repeat(2 ** 14))
  const objects = Array.from({ length: 6 }, (_, n) => ({ ...objectOf(n, []), body, size: body.length }))
  const source = new FakeSource(objects, ledger, { workers: 6, chunk: 2 ** 18 })
  const opened = Promise.withResolvers<void>()
  let records = 0
  const sink = new FakeSink({ limits: { records: 1000, bytes: 2 ** 20 }, maxInFlight: 4 })
  sink.write = async ({ count }) => {
    await opened.promise
    records += count
    return undefined
  }
  const running = pipelineOf(source, sink, ledger).run({ once: true, soft: never, hard: never })
  for (let before = -1; before !== source.pulledBytes; ) {
    before = source.pulledBytes
    await sleep(100)
  }
  const pulled = source.pulledBytes
  opened.resolve()
  await running
  assert.ok(pulled > 2 ** 20 && pulled < 40 * 2 ** 20, `${pulled} bytes were read of ${6 * body.length}`)
  assert.equal(records, 6 * 2 ** 14)
})

test('a record larger than the whole budget passes alone, and what waits for company makes room for it', async () => {
  await using ledger = ledgerIn(newFolder())
  const huge = 'z'.repeat(40 * 2 ** 20)
  const objects = [objectOf(0, lines(0, 3)), objectOf(1, [huge, 'after'])]
  const source = new FakeSource(objects, ledger, { workers: 2, chunk: 2 ** 22 })
  // Without the flush the first three would wait for an hour, and the huge one behind them.
  const sink = new FakeSink({ limits: { records: 1000, bytes: 2 ** 20, lingerMs: 3_600_000 } })
  const soft = new AbortController()
  const running = pipelineOf(source, sink, ledger).run({ once: false, soft: soft.signal, hard: never })
  while (!sink.times.has(huge)) await sleep(10)
  soft.abort(new Error('enough'))
  await running
  assert.equal(sink.times.size, 5)
})

test('what an interrupted first attempt leaves open, the second one tells: format and time of the content', async () => {
  await using ledger = ledgerIn(newFolder())
  const record = '{"datetime":"2025-10-12 21:41:32","action":"Allowed"}'
  const reports: ObjectReport[] = []
  const object = objectOf(0, [record], { faults: [{ at: 0, times: 1, error: transient }] })
  const source = new FakeSource([object], ledger)
  const observe = (report: ObjectReport) => void reports.push(report)
  await pipelineOf(source, new FakeSink(), ledger, { observe }).run({ once: true, soft: never, hard: never })
  assert.equal(reports[0]?.timeMs, Date.UTC(2025, 9, 12, 21, 41, 32))
  assert.deepEqual(ledger.find(object.id)?.position.records, 1)
  assert.notDeepEqual(ledger.find(object.id)?.position, startOfObject)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FakeSink, never, pipelineOf } from '../../test/fakes/pipeline.ts'
import { ReplayBed } from '../../test/fakes/replayed.ts'

/** The same numbers in each run, between 0 and 1. */
function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`whenever it is stopped or killed, a replay loses nothing and leaves nothing open (${seed})`, async () => {
    const random = numbersFrom(seed)
    await using bed = new ReplayBed(6 + Math.floor(random() * 20), { workers: 1 + Math.floor(random() * 8) })
    // Some were delivered before, the others are new.
    bed.settleAll(bed.objects.filter(() => random() < 0.5))
    const id = bed.ask({ fromMs: 3, bytesPerSecond: random() < 0.5 ? 2000 : 1e9 })
    const again = bed.ask({ fromMs: 5 })
    const arrived = new Set<string>()
    const sinkOf = () => {
      const sink = new FakeSink({ fault: () => sleep(random() * 4).then(() => undefined) })
      sink.accepted = (record) => arrived.add(record)
      return sink
    }
    for (let run = 0; run < 3; run += 1) {
      const [soft, hard] = [new AbortController(), new AbortController()]
      const isKilled = random() < 0.5
      const timer = setTimeout(() => (isKilled ? hard : soft).abort(new Error('stop')), random() * 60)
      await pipelineOf(bed.source, sinkOf(), bed.ledger).run({ once: false, soft: soft.signal, hard: hard.signal })
      clearTimeout(timer)
      await bed.restart(isKilled ? 'killed' : 'stopped')
    }
    await pipelineOf(bed.source, sinkOf(), bed.ledger).run({ once: true, soft: never, hard: never })
    const inRange = bed.objects.slice(3)
    const missing = inRange.flatMap(({ records }) => records).filter((record) => !arrived.has(record))
    assert.deepEqual(missing, [])
    const [first, second] = [id, again].map((one) => bed.ledger.replays.find(one))
    assert.deepEqual([first?.state, first?.done.objects], ['done', inRange.length])
    assert.deepEqual([second?.state, second?.done.objects], ['done', inRange.length - 2])
    for (const { state, counts, timeMs, key } of bed.ledger.objects()) {
      assert.equal(state, 'done', key)
      if (timeMs >= 3) assert.deepEqual([counts.read, counts.delivered], [2, 2], key)
    }
    assert.equal(bed.ledger.totals.files, bed.objects.length)
    assert.deepEqual([...bed.source.replaying], [])
    assert.ok(bed.ledger.runs.list().every(({ outcome }) => outcome !== 'running'))
  })
}

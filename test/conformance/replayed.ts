/** What every source must hold of reading a time range again. Called by the suite of sources. */
import assert from 'node:assert/strict'
import type { ListedObject, ReplayRange, Source } from '../../src/core/component.ts'
import { nothingCounted } from '../../src/core/delivery.ts'
import { StreamError } from '../../src/core/errors.ts'
import { bytesOf, finish, keysOf, live, nameOf, runOf, type SourceHarness, scanOnce } from './source-harness.ts'

const whole: ReplayRange = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, prefix: '' }

async function rangeOf(source: Source, range: Partial<ReplayRange> = {}, o = live): Promise<ListedObject[]> {
  const given: ListedObject[] = []
  for await (const object of source.replayed({ ...whole, ...range }, o)) given.push(object)
  return given
}

const ids = (objects: readonly ListedObject[]) => objects.map(({ id }) => id).toSorted()

export function replayedConformance(name: string, make: () => Promise<SourceHarness>): void {
  const run = runOf(`${name}, replayed`, make)

  /** Three objects, all of them done. */
  async function settled(harness: SourceHarness) {
    for (const key of ['a', 'ab', 'c']) harness.put(key, Buffer.from(`content of ${key}`))
    const started = await harness.start()
    const given = await scanOnce(started.source)
    for (const object of given) finish(started, object)
    return { ...started, given }
  }

  run('a range gives settled objects under their ids, with their bytes, and changes nothing', async (harness) => {
    const { source, ledger, given } = await settled(harness)
    const before = JSON.stringify([ledger.horizon, ledger.totals, ledger.objects()])
    const again = await rangeOf(source)
    assert.deepEqual(ids(again), ids(given))
    assert.deepEqual(keysOf(again), ['a', 'ab', 'c'])
    for (const object of again) {
      const { size } = given.find(({ id }) => id === object.id) ?? assert.fail()
      assert.equal(object.size, size ?? object.size)
      assert.equal((await bytesOf(source.open(object, 0, live))).toString(), `content of ${nameOf(object)}`)
      source.finished(object, 'done', nothingCounted)
    }
    assert.equal(JSON.stringify([ledger.horizon, ledger.totals, ledger.objects()]), before)
    assert.deepEqual(await scanOnce(source), [])
  })

  run('a range ends before its end, and a prefix leaves out what does not begin so', async (harness) => {
    const { source } = await settled(harness)
    const all = await rangeOf(source)
    for (const { timeMs } of all) {
      const from = await rangeOf(source, { fromMs: timeMs })
      assert.deepEqual(ids(from), ids(all.filter((object) => object.timeMs >= timeMs)))
      const until = await rangeOf(source, { toMs: timeMs })
      assert.deepEqual(ids(until), ids(all.filter((object) => object.timeMs < timeMs)))
    }
    assert.deepEqual(keysOf(await rangeOf(source, { prefix: 'a' })), ['a', 'ab'])
    assert.deepEqual(keysOf(await rangeOf(source, { prefix: 'ab' })), ['ab'])
  })

  run('what is told as finished that the source did not give does no harm to what it gives', async (harness) => {
    const started = await settled(harness)
    const { source } = started
    for (const outcome of ['done', 'failed', 'vanished', 'stopped'] as const)
      for (const object of await rangeOf(source)) source.finished(object, outcome, nothingCounted)
    harness.put('d', Buffer.from('content of d'))
    const [given, ...more] = await scanOnce(source)
    assert.deepEqual([given && nameOf(given), more], ['d', []])
    if (given) finish(started, given)
    assert.deepEqual(await scanOnce(source), [])
  })

  run('a list that does not come to its end is given up as soon as that is wanted', async (harness) => {
    const { source } = await settled(harness)
    const stop = new AbortController()
    if (harness.replaysElsewhere) stop.abort(new Error('stop'))
    else harness.stall('lists')
    const listing = rangeOf(source, {}, { signal: stop.signal })
    setTimeout(() => stop.abort(new Error('stop')), 20)
    await assert.rejects(listing)
  })

  run('a list that is refused throws, so that nobody takes it for complete', async (harness) => {
    // Where a queue tells of objects, nothing is known before the first.
    const { source } = await (harness.replaysElsewhere ? harness.start() : settled(harness))
    if (!harness.replaysElsewhere) harness.deny()
    await assert.rejects(rangeOf(source), (error) => error instanceof StreamError)
  })
}

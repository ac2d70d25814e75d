import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FakeSink, never, objectOf, pipelineOf, silent } from '../../test/fakes/pipeline.ts'
import { fast, ReplayBed } from '../../test/fakes/replayed.ts'
import { BytePace } from './byte-pace.ts'
import { StreamError } from './errors.ts'
import { ReplayedSource } from './replayed-source.ts'

const keys = (objects: ReadonlyArray<{ readonly key: string }>) => objects.map(({ key }) => key).toSorted()

async function all<T>(given: AsyncIterable<T>, take: (object: T) => void): Promise<T[]> {
  const objects: T[] = []
  for await (const object of given) {
    objects.push(object)
    take(object)
  }
  return objects
}

test('a run that ends by itself reads the objects of a replay again before it ends, and says so', async () => {
  await using bed = new ReplayBed(6)
  bed.settleAll()
  const id = bed.ask({ fromMs: 1, toMs: 4, prefix: 'logs/' })
  const given = await all(bed.run(), (object) => bed.finish(object))
  assert.deepEqual(keys(given), ['logs/o1', 'logs/o2', 'logs/o3'])
  const { state, done, error } = bed.ledger.replays.find(id) ?? assert.fail('it is gone')
  const bytes = given.reduce((sum, { size = 0 }) => sum + size, 0)
  assert.deepEqual([state, done, error], ['done', { objects: 3, bytes, failed: 0 }, undefined])
  const [run] = bed.ledger.runs.list()
  assert.deepEqual(
    [run?.mode, run?.outcome, run?.objects, run?.figures],
    ['replay', 'done', { done: 3 }, { replay: id }],
  )
  assert.equal(bed.value('replay_objects_total', { outcome: 'done' }), 3)
  assert.deepEqual([bed.value('replay_active'), bed.value('replay_remaining_objects')], [0, 0])
  assert.deepEqual([...bed.source.replaying], [])
})

test('through a pipeline every record of the range arrives once more, and the totals of the state stay as they were', async () => {
  await using bed = new ReplayBed(5)
  const before = new FakeSink()
  await pipelineOf(bed.inner, before, bed.ledger).run({ once: true, soft: never, hard: never })
  const { totals } = bed.ledger
  const [id, rows] = [bed.ask({ fromMs: 2 }), bed.ledger.objects()]
  const sink = new FakeSink()
  const run = await pipelineOf(bed.source, sink, bed.ledger).run({ once: true, soft: never, hard: never })
  const expected = bed.objects.slice(2).flatMap(({ records }) => records)
  assert.deepEqual([...sink.times.keys()].toSorted(), expected.toSorted())
  assert.deepEqual([run.read, run.delivered], [expected.length, expected.length])
  assert.deepEqual(bed.ledger.totals, totals)
  for (const { id, counts } of rows) assert.deepEqual(bed.ledger.find(id)?.counts, counts)
  assert.equal(bed.ledger.replays.find(id)?.state, 'done')
  assert.equal(bed.ledger.runs.list()[0]?.counts.delivered, expected.length)
})

test('a replay that another process asked for is taken while the streamer runs, beside live objects', async () => {
  await using bed = new ReplayBed(8)
  bed.settleAll(bed.objects.slice(0, 4))
  const soft = new AbortController()
  const given: string[] = []
  for await (const object of bed.run(false, soft.signal)) {
    given.push(object.key)
    bed.finish(object)
    if (given.length === 4) bed.ask({ toMs: 4 })
    if (given.length === 8) soft.abort()
  }
  assert.deepEqual(given.slice(0, 4).toSorted(), keys(bed.objects.slice(4)))
  assert.deepEqual(given.slice(4).toSorted(), keys(bed.objects.slice(0, 4)))
})

test('what is under way live is not given by a replay, and counts for it when it is settled', async () => {
  await using bed = new ReplayBed(3)
  const id = bed.ask()
  const allGiven = Promise.withResolvers<void>()
  bed.inner.listing = () => allGiven.promise
  const given = bed.run()
  const [a, b, c] = [await given.next(), await given.next(), await given.next()].map(
    ({ value }) => value ?? assert.fail(),
  )
  allGiven.resolve()
  assert.deepEqual([...bed.source.replaying], [])
  const end = given.next()
  for (const object of [a, b, c]) if (object) bed.finish(object)
  assert.equal((await end).done, true)
  assert.deepEqual(bed.ledger.replays.find(id)?.done.objects, 3)
  assert.equal(bed.inner.outcomes.length, 3)
})

test('a live object that a replay has under way is held back, and the source is told what became of it there', async () => {
  await using bed = new ReplayBed(0)
  const object = objectOf(1, ['x'])
  bed.inner.range.push(object)
  bed.ask()
  const live = Promise.withResolvers<void>()
  bed.inner.objects = async function* () {
    await live.promise
    yield object
  }
  const given = bed.run()
  const first = await given.next()
  assert.equal(first.value, object)
  assert.ok(bed.source.replaying.has(object.id))
  const end = given.next()
  live.resolve()
  await sleep(5)
  assert.deepEqual(bed.inner.outcomes, [])
  bed.finish(object)
  assert.equal((await end).done, true)
  assert.deepEqual(bed.inner.outcomes, [[object.key, 'done']])
})

test('an object that a replay has just delivered is not delivered again by a list that was made before', async () => {
  await using bed = new ReplayBed(0)
  const object = objectOf(1, ['x'])
  bed.inner.range.push(object)
  bed.ask()
  const replayed = Promise.withResolvers<void>()
  bed.inner.objects = async function* () {
    await replayed.promise
    yield object
  }
  const given: string[] = []
  for await (const { key } of bed.run()) {
    given.push(key)
    bed.finish(object)
    replayed.resolve()
  }
  assert.deepEqual(given, [object.key])
  assert.deepEqual(bed.inner.outcomes, [
    [object.key, 'done'],
    [object.key, 'done'],
  ])
})

test('an object that is found live while a replay has it is counted once, so nothing seems to wait afterwards', async () => {
  await using bed = new ReplayBed(0)
  const object = objectOf(1, ['x'])
  bed.inner.range.push(object)
  bed.ask()
  const live = Promise.withResolvers<void>()
  bed.inner.objects = async function* () {
    await live.promise
    for (let again = 0; again < 2; again += 1) {
      bed.inner.progress.found += 1
      yield object
    }
  }
  const given = bed.run()
  assert.equal((await given.next()).value, object)
  const end = given.next()
  live.resolve()
  await sleep(5)
  bed.finish(object)
  assert.equal((await end).done, true)
  assert.equal(bed.source.progress.found, 1)
})

test('at most a quarter of the workers is given to a replay, and live objects go first', async () => {
  await using bed = new ReplayBed(20, { workers: 8 })
  bed.settleAll(bed.objects.slice(0, 10))
  bed.ask({ toMs: 10 })
  bed.inner.objects = async function* () {
    yield* bed.objects.slice(10)
  }
  const order: string[] = []
  let most = 0
  for await (const object of bed.run()) {
    order.push(object.key)
    most = Math.max(most, bed.source.replaying.size)
    setTimeout(() => bed.finish(object), 5)
  }
  assert.equal(order.length, 20)
  assert.equal(most, 2)
  const live = new Set(keys(bed.objects.slice(10)))
  assert.ok(
    order.slice(0, 10).every((key) => live.has(key)),
    order.join(' '),
  )
})

test('a pipeline that is never at rest does its replays, too', async () => {
  await using bed = new ReplayBed(2)
  bed.settleAll()
  const id = bed.ask()
  const soft = new AbortController()
  bed.inner.objects = async function* () {
    for (let n = 100; !soft.signal.aborted; n += 1) yield objectOf(n, ['x'])
  }
  for await (const object of bed.run(false, soft.signal)) {
    bed.finish(object)
    await new Promise((resolve) => setImmediate(resolve))
    if (bed.ledger.replays.find(id)?.state === 'done') soft.abort()
  }
  assert.equal(bed.ledger.replays.find(id)?.done.objects, 2)
})

test('a cancellation, also by another process, ends the giving; what is under way is finished', async () => {
  await using bed = new ReplayBed(50)
  bed.settleAll()
  const id = bed.ask()
  const next = bed.ask({ fromMs: 49 })
  const given = await all(bed.run(), (object) => {
    // Each is under way for as long as it takes to look into the ledger.
    setTimeout(() => bed.finish(object), 2 * fast.lookMs)
    bed.ledger.replays.cancel(id)
  })
  assert.ok(given.length < 5, `${given.length} were given`)
  assert.equal(bed.ledger.replays.find(id)?.state, 'cancelled')
  assert.equal(bed.ledger.replays.find(next)?.state, 'done')
})

test('a stop leaves the rest of a replay to the next start, which reads nothing of it twice', async () => {
  for (const how of ['stopped', 'killed'] as const) {
    await using bed = new ReplayBed(6)
    bed.settleAll()
    const id = bed.ask()
    const soft = new AbortController()
    const first: string[] = []
    for await (const object of bed.run(false, soft.signal)) {
      first.push(object.key)
      if (first.length < 3) bed.finish(object)
      else {
        soft.abort()
        bed.finish(object, 'stopped')
      }
    }
    assert.equal(bed.ledger.replays.find(id)?.state, 'waiting')
    await bed.restart(how)
    const second = await all(bed.run(), (object) => bed.finish(object))
    assert.deepEqual([...first.slice(0, 2), ...keys(second)].toSorted(), keys(bed.objects))
    assert.deepEqual(bed.ledger.replays.find(id)?.done.objects, 6)
    assert.deepEqual(
      bed.ledger.runs.list().map(({ outcome }) => outcome),
      ['done', 'stopped'],
    )
  }
})

test('a list that breaks off is begun again, and nothing is read or counted twice', async () => {
  await using bed = new ReplayBed(6)
  bed.settleAll()
  const id = bed.ask()
  let breaks = 2
  bed.inner.listing = ({ key }) => {
    if (key !== 'logs/o3' || breaks === 0) return
    breaks -= 1
    throw new StreamError('source.unavailable', 'cannot list: connection reset')
  }
  const given = await all(bed.run(), (object) => bed.finish(object))
  assert.deepEqual(keys(given), keys(bed.objects))
  assert.deepEqual(bed.ledger.replays.find(id)?.done.objects, 6)
  assert.equal(breaks, 0)
})

test('a list that is refused fails the replay with the reason, and the run with it; live objects go on', async () => {
  await using bed = new ReplayBed(2)
  const id = bed.ask()
  bed.inner.listing = () => {
    throw new StreamError('source.access', 'cannot list s3://b/: access denied')
  }
  const given = await all(bed.run(), (object) => bed.finish(object))
  assert.equal(given.length, 2)
  const replay = bed.ledger.replays.find(id)
  assert.deepEqual([replay?.state, replay?.error], ['failed', 'cannot list s3://b/: access denied'])
  assert.equal(bed.source.progress.failed, 1)
})

test('objects that fail are tried again a few times; those that still fail are counted', async () => {
  await using bed = new ReplayBed(3)
  bed.settleAll()
  const id = bed.ask()
  const soft = new AbortController()
  const attempts = new Map<string, number>()
  bed.inner.objects = async function* () {
    await new Promise((resolve) => soft.signal.addEventListener('abort', resolve))
  }
  for await (const object of bed.run(false, soft.signal)) {
    const attempt = (attempts.get(object.key) ?? 0) + 1
    attempts.set(object.key, attempt)
    const isBad = object.key === 'logs/o0' || (object.key === 'logs/o1' && attempt === 1)
    bed.finish(object, isBad ? 'failed' : 'done')
    if (attempts.get('logs/o0') === 4) setTimeout(() => soft.abort(), 50)
  }
  assert.deepEqual(Object.fromEntries(attempts), { 'logs/o0': 4, 'logs/o1': 2, 'logs/o2': 1 })
  const { state, done, error } = bed.ledger.replays.find(id) ?? assert.fail('it is gone')
  assert.deepEqual([state, done.objects, done.failed], ['done', 2, 1])
  assert.match(error ?? '', /1 object could not be read/)
})

test('of an object that had failed half-way a replay sends what was delivered before, too', async () => {
  await using bed = new ReplayBed(1)
  const [object = assert.fail()] = bed.objects
  bed.ledger.begin(object)
  const position = { records: 1, offset: 9, offsetRecords: 1 }
  const counts = { read: 1, delivered: 1, filtered: 0, quarantined: 0, bytes: 9 }
  bed.ledger.settle(object.id, 'failed', { position, counts, timeMs: 0, reason: 'because' })
  bed.inner.objects = async function* () {}
  const id = bed.ask()
  const sink = new FakeSink()
  const { read } = await pipelineOf(bed.source, sink, bed.ledger).run({ once: true, soft: never, hard: never })
  assert.deepEqual([[...sink.times.keys()], read], [object.records, 2])
  assert.equal(bed.ledger.replays.find(id)?.done.objects, 1)
})

test('a ledger that does not answer for a while neither stops live objects nor loses a replay', async () => {
  await using bed = new ReplayBed(6)
  bed.settleAll(bed.objects.slice(0, 3))
  const id = bed.ask({ toMs: 3 })
  const { replays } = bed.ledger
  let isBusy = true
  const busy = new Proxy(replays, {
    get: (target, name) => {
      if (isBusy) throw new Error('database is locked')
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const ledger = new Proxy(bed.ledger, {
    get: (target, name) => {
      if (name === 'replays') return busy
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  const source = new ReplayedSource({
    source: bed.inner,
    ledger,
    log: silent,
    meter: bed.meter,
    nowMs: Date.now,
    ...fast,
  })
  bed.source = source
  const soft = new AbortController()
  const given: string[] = []
  for await (const object of source.objects({ soft: soft.signal, hard: never, once: false })) {
    given.push(object.key)
    bed.finish(object)
    if (given.length === 3) setTimeout(() => (isBusy = false), 3 * fast.lookMs)
    if (given.length === 6) soft.abort()
  }
  assert.deepEqual(given.slice(3).toSorted(), keys(bed.objects.slice(0, 3)))
  assert.ok(bed.ledger.replays.find(id))
})

test('what a source throws that cannot list at all is thrown, with a replay open or not', async () => {
  await using bed = new ReplayBed(1)
  bed.ask()
  bed.inner.failure = new StreamError('source.access', 'cannot list')
  await assert.rejects(
    all(bed.run(), (object) => bed.finish(object)),
    /cannot list/,
  )
})

test('bytes go no faster than their pace, and no more slowly once it is over', async () => {
  const over = new AbortController()
  const pace = new BytePace(10_000, over.signal)
  const startMs = performance.now()
  for (let i = 0; i < 6; i += 1) await pace.take(1000, { signal: never })
  assert.ok(performance.now() - startMs >= 80, 'half a second may be made up for, and no more')
  const slow = pace.take(1e9, { signal: never })
  over.abort()
  await slow
  const aborted = new AbortController()
  const waiting = new BytePace(1, never).take(1e9, { signal: aborted.signal })
  aborted.abort(new Error('stop'))
  await assert.rejects(waiting, /stop/)
})

test('a replay is read at its pace, live objects are not', async () => {
  await using bed = new ReplayBed(0)
  const [slow, live] = [objectOf(1, ['x'.repeat(300)]), objectOf(2, ['y'.repeat(300)])]
  bed.inner.range.push(slow)
  bed.inner.objects = async function* () {
    yield live
  }
  bed.ask({ bytesPerSecond: 500 })
  const sink = new FakeSink()
  const startMs = performance.now()
  const times = new Map<string, number>()
  sink.accepted = (record) => times.set(record.slice(0, 1), performance.now() - startMs)
  await pipelineOf(bed.source, sink, bed.ledger).run({ once: true, soft: never, hard: never })
  assert.ok((times.get('x') ?? 0) >= 100, '301 bytes at 500 a second, of which 250 at once')
  assert.ok((times.get('y') ?? 0) < (times.get('x') ?? 0))
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { bodyOf, FileTree, MemoryBucket, MemoryObjects } from '../../test/fakes/copy.ts'
import { FakeSink, ledgerIn, never, newFolder, objectOf, pipelineOf, silent } from '../../test/fakes/pipeline.ts'
import { fast, ReplayBed } from '../../test/fakes/replayed.ts'
import type { Ledger, ReplayLog } from '../ledger/ledger.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import type { ListedObject } from './component.ts'
import { Copier } from './copier.ts'
import { startOfObject } from './delivery.ts'
import { StreamError } from './errors.ts'
import { ReplayedSource } from './replayed-source.ts'

/** The ledger of a bed, in which so many calls of a member of its replays fail, as those of a busy database do. */
function failing(ledger: Ledger, member: keyof ReplayLog, fails: () => boolean): Ledger {
  const bound = <T extends object>(target: T, name: string | symbol) => {
    const value: unknown = Reflect.get(target, name, target)
    return typeof value === 'function' ? value.bind(target) : value
  }
  const replays = new Proxy(ledger.replays, {
    get: (target, name) => {
      const value = bound(target, name)
      if (name !== member || typeof value !== 'function') return value
      return (...given: unknown[]) => {
        if (fails()) throw new Error('database is locked')
        return value(...given)
      }
    },
  })
  return new Proxy(ledger, { get: (target, name) => (name === 'replays' ? replays : bound(target, name)) })
}

function sourceOf(bed: ReplayBed, ledger: Ledger): ReplayBed['source'] {
  const { inner, meter } = bed
  return new ReplayedSource({ source: inner, ledger, log: silent, meter, nowMs: Date.now, ...fast })
}

/** A source in which nothing is new, until it is told to stop. */
function atRest(bed: ReplayBed): void {
  bed.inner.objects = async function* ({ soft, once }) {
    if (!once && !soft.aborted) await new Promise((resolve) => soft.addEventListener('abort', resolve))
  }
}

test('a ledger that is busy when an object of a replay is taken stops neither live objects nor the replay', async () => {
  await using bed = new ReplayBed(2)
  for (const object of bed.objects) {
    bed.ledger.begin(object)
    const counts = { read: 0, delivered: 0, filtered: 0, quarantined: 0, bytes: 0 }
    bed.ledger.settle(object.id, 'failed', { position: startOfObject, counts, timeMs: 0, reason: 'because' })
  }
  const id = bed.ask()
  let refusals = 1
  bed.source = sourceOf(
    bed,
    failing(bed.ledger, 'restart', () => refusals-- > 0),
  )
  atRest(bed)
  const soft = new AbortController()
  const given: string[] = []
  for await (const object of bed.run(false, soft.signal)) {
    given.push(object.key)
    bed.finish(object)
    if (given.length === 2) setTimeout(() => soft.abort(), 3 * fast.lookMs)
  }
  assert.deepEqual(given.toSorted(), ['logs/o0', 'logs/o1'])
  assert.equal(bed.ledger.replays.find(id)?.state, 'done')
})

test('what breaks while objects are given ends the source inside, too, and does not wait for its next object', async () => {
  await using bed = new ReplayBed(1)
  bed.settleAll()
  const [object = assert.fail()] = bed.objects
  bed.ask()
  atRest(bed)
  const given = bed.run(false)
  assert.equal((await given.next()).value, object)
  // As the engine does when it is broken: nobody has told the source to stop.
  const ended = await Promise.race([given.return(undefined).then(() => 'ended'), sleep(2000, 'waits', { ref: false })])
  assert.equal(ended, 'ended')
})

test('a replay whose end cannot be written down is written down as soon as that works', async () => {
  await using bed = new ReplayBed(1)
  bed.settleAll()
  const id = bed.ask()
  let isBusy = false
  bed.source = sourceOf(
    bed,
    failing(bed.ledger, 'put', () => isBusy),
  )
  atRest(bed)
  const soft = new AbortController()
  for await (const object of bed.run(false, soft.signal)) {
    isBusy = true
    bed.finish(object)
    setTimeout(() => (isBusy = false), 3 * fast.lookMs)
    setTimeout(() => soft.abort(), 8 * fast.lookMs)
  }
  assert.equal(bed.ledger.replays.find(id)?.state, 'done')
})

test('a replay whose list is refused half-way ends when what it gave is settled, and its history says why it failed', async () => {
  await using bed = new ReplayBed(4)
  bed.settleAll()
  const id = bed.ask()
  atRest(bed)
  bed.inner.listing = ({ key }) => {
    if (key === 'logs/o1') throw new StreamError('source.access', 'cannot list s3://b/: access denied')
  }
  const given = bed.run()
  const { value: first = assert.fail() } = await given.next()
  const end = given.next()
  await sleep(20)
  bed.finish(first)
  assert.equal((await end).done, true)
  const { state, done, error } = bed.ledger.replays.find(id) ?? assert.fail()
  const reason = 'cannot list s3://b/: access denied'
  assert.deepEqual([state, done.objects, error], ['failed', 1, reason])
  const [run] = bed.ledger.runs.list()
  assert.deepEqual([run?.outcome, run?.error, run?.objects], ['failed', reason, { done: 1 }])
})

test('of an object that was replaced half-way, and is there again as it was, a replay sends all', async () => {
  await using bed = new ReplayBed(1)
  const [object = assert.fail()] = bed.objects
  bed.ledger.begin(object)
  const position = { records: 1, offset: 9, offsetRecords: 1 }
  const counts = { read: 1, delivered: 1, filtered: 0, quarantined: 0, bytes: 9 }
  bed.ledger.settle(object.id, 'replaced', { position, counts, timeMs: 0 })
  const { totals } = bed.ledger
  bed.ask()
  atRest(bed)
  const sink = new FakeSink()
  const { read } = await pipelineOf(bed.source, sink, bed.ledger).run({ once: true, soft: never, hard: never })
  assert.deepEqual([[...sink.times.keys()], read], [object.records, 2])
  assert.equal(bed.ledger.totals.files, totals.files)
})

test('a pipeline of one worker reads live objects while a replay is slow', async () => {
  await using bed = new ReplayBed(0, { workers: 1 })
  const [slow, live] = [objectOf(1, ['x'.repeat(900)]), objectOf(2, ['y'])]
  bed.inner.range.push(slow)
  const isReplayed = Promise.withResolvers<void>()
  const soft = new AbortController()
  bed.inner.objects = async function* () {
    await isReplayed.promise
    yield live
    await new Promise((resolve) => soft.signal.addEventListener('abort', resolve))
  }
  const open = bed.inner.open.bind(bed.inner)
  bed.inner.open = (object, offset, o) => {
    if (object.id === slow.id) isReplayed.resolve()
    return open(object, offset, o)
  }
  // An hour, if nobody stops it.
  bed.ask({ bytesPerSecond: 0.25 })
  const sink = new FakeSink()
  sink.accepted = () => soft.abort()
  const hard = AbortSignal.timeout(5000)
  await pipelineOf(bed.source, sink, bed.ledger).run({ once: false, soft: soft.signal, hard })
  assert.deepEqual([...sink.times.keys()].slice(0, 1), ['y'])
})

test('an object that is new, and that a slow replay has, goes on at full speed as soon as it is found live, and is late as others are', async () => {
  await using bed = new ReplayBed(0)
  const object = objectOf(
    1,
    Array.from({ length: 20 }, (_, n) => `${n}`.padEnd(60_000, 'x')),
  )
  bed.inner.range.push(object)
  const isReplayed = Promise.withResolvers<void>()
  bed.inner.objects = async function* () {
    await isReplayed.promise
    yield object
  }
  const open = bed.inner.open.bind(bed.inner)
  bed.inner.open = (object, offset, o) => {
    isReplayed.resolve()
    return open(object, offset, o)
  }
  // Twelve seconds, at its pace.
  bed.ask({ bytesPerSecond: 100_000 })
  const sink = new FakeSink()
  const replaying: number[] = []
  sink.accepted = () => replaying.push(bed.source.replaying.size)
  const hard = AbortSignal.timeout(6000)
  const { delivered } = await pipelineOf(bed.source, sink, bed.ledger).run({ once: true, soft: never, hard })
  assert.equal(delivered, 20)
  assert.deepEqual(new Set(replaying), new Set([0]))
})

test('a copy pipeline copies live objects while a replay of a large one is slow', async () => {
  await using ledger = ledgerIn(newFolder())
  const [big, live]: ListedObject[] = ['big', 'live'].map((key, n) => {
    const times = { timeMs: n + 1, lastModifiedMs: n + 1 }
    return { id: `b/${key}@2000-${n}`, bucket: 'b', key, size: 2000, ...times }
  })
  const inner = new FileTree(ledger, { big: bodyOf(2000, 0), live: bodyOf(2000, 1) })
  const isReplayed = Promise.withResolvers<void>()
  const soft = new AbortController()
  inner.onFill = (key) => {
    if (key === 'big') isReplayed.resolve()
  }
  inner.replayed = async function* () {
    if (big) yield big
  }
  inner.objects = async function* () {
    await isReplayed.promise
    if (live) yield live
    await new Promise((resolve) => soft.signal.addEventListener('abort', resolve))
  }
  const planned = { objects: 1, bytes: 2000 }
  // The first parts at once, the others within minutes.
  ledger.replays.add({ fromMs: 0, toMs: 10, prefix: '', bytesPerSecond: 250, planned })
  const [log, meter, nowMs] = [silent, new MemoryMeter(), Date.now]
  const source = new ReplayedSource({ source: inner, ledger, log, meter, nowMs, ...fast })
  const bucket = new MemoryBucket()
  const sink = new MemoryObjects(bucket, { reads: 2, sends: 2 })
  sink.onCall = (call, key) => {
    if (call === 'complete' && key === 'live') soft.abort()
  }
  const copier = new Copier({ source, sink, ledger, log, meter, nowMs, saveIntervalMs: 1000 })
  await copier.run({ once: false, soft: soft.signal, hard: AbortSignal.timeout(4000) })
  assert.deepEqual([...bucket.objects.keys()], ['live'])
})

test('what is under way of a cancelled replay ends soon, however slow it was wanted', async () => {
  await using bed = new ReplayBed(0)
  const object = objectOf(
    1,
    Array.from({ length: 40 }, (_, n) => `${n}`.padEnd(4000, 'x')),
  )
  bed.inner.range.push(object)
  atRest(bed)
  const open = bed.inner.open.bind(bed.inner)
  let id = 0
  // In pieces as small as those of a slow line.
  bed.inner.open = async function* (given, offset, o) {
    let pieces = 0
    for await (const whole of open(given, offset, o))
      for (let at = 0; at < whole.length; at += 1000) {
        pieces += 1
        if (pieces === 8) bed.ledger.replays.cancel(id)
        yield whole.subarray(at, at + 1000)
      }
  }
  id = bed.ask({ bytesPerSecond: 10_000 })
  const hard = AbortSignal.timeout(8000)
  const { delivered } = await pipelineOf(bed.source, new FakeSink(), bed.ledger).run({ once: true, soft: never, hard })
  assert.equal(delivered, 40)
  assert.equal(bed.ledger.replays.find(id)?.state, 'cancelled')
})

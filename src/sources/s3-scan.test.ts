import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { testContext } from '../../test/conformance/sink.ts'
import { sourceConformance } from '../../test/conformance/source.ts'
import { bytesOf, finish, type SourceHarness, scanOnce } from '../../test/conformance/source-harness.ts'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import type { ListedObject, Outcome, Source } from '../core/component.ts'
import { nothingCounted, startOfObject } from '../core/delivery.ts'
import { StreamError } from '../core/errors.ts'
import { openLedger, type SqliteLedger } from '../ledger/sqlite.ts'
import { s3ScanSource } from './s3-scan.ts'
import { s3ScanConfig, startAtMs } from './s3-scan-config.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const never = new AbortController().signal
const live = { signal: never }
const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

const timeFromKey = (key: string) => {
  const match = /^(\d{10})_/.exec(key.slice(key.lastIndexOf('/') + 1))
  return match ? Number(match[1]) * 1000 : undefined
}

/** A bucket, a clock that stands until it is moved, and what survives a restart. */
class Place {
  readonly server: S3Server
  readonly lines: string[] = []
  nowMs = Date.UTC(2025, 9, 12, 12)
  ledger!: SqliteLedger
  source!: Source
  follower: Follower | undefined
  readonly #folder = mkdtempSync(join(tmpdir(), 's3-scan-'))
  #config: object = {}

  constructor(server: S3Server) {
    this.server = server
  }

  /** The next start; without `config` it is that of the last one. */
  async start(config?: object, how: 'stopped' | 'killed' = 'stopped'): Promise<this> {
    await this.stop(how)
    this.#config = config ?? this.#config
    const parsed = s3ScanConfig.parse({
      type: 's3_scan',
      bucket: 'b',
      endpoint: this.server.endpoint,
      scan_interval: '2ms',
      ...this.#config,
    })
    const context = { ...testContext(this.lines), nowMs: () => this.nowMs }
    this.ledger = openLedger({
      statePath: join(this.#folder, 'state.json'),
      mode: 'exclusive',
      log: context.log,
      nowMs: context.nowMs,
      startMs: startAtMs(parsed.start_at, this.nowMs) ?? 0,
      retentionMs: 0,
      lookbackMs: parsed.lookback,
    })
    this.source = s3ScanSource.create(parsed, { ...context, ledger: this.ledger, dryRun: false, timeFromKey })
    return this
  }

  async stop(how: 'stopped' | 'killed' = 'stopped'): Promise<void> {
    await this.source?.[Symbol.asyncDispose]()
    if (how === 'killed') this.ledger?.abandon()
    await this.ledger?.[Symbol.asyncDispose]()
  }

  async close(): Promise<void> {
    // A test that failed half-way must not leave a scan running.
    await this.follower?.stop().catch(() => undefined)
    await this.stop()
    await this.server.close()
    rmSync(this.#folder, { recursive: true })
  }

  /** An object that S3 shows from now on; LastModified is in whole seconds, as S3 has it. */
  put(key: string, o: { readonly body?: string; readonly modifiedMs?: number; readonly storageClass?: string } = {}) {
    const { body = 'x', modifiedMs = this.nowMs, storageClass } = o
    const lastModified = new Date(Math.floor(modifiedMs / 1000) * 1000)
    this.server.put(key, Buffer.from(body), { lastModified, ...(storageClass ? { storageClass } : {}) })
    return key
  }

  /** Its name says `timeMs`, in the folder of that day. */
  putNamed(timeMs: number, tail = 'a', o?: { readonly body?: string; readonly modifiedMs?: number }): string {
    const date = new Date(timeMs)
    const folder = `year=${date.getUTCFullYear()}/month=${date.getUTCMonth() + 1}/day=${date.getUTCDate()}`
    return this.put(`${folder}/${Math.floor(timeMs / 1000)}_${tail}`, o)
  }

  /** One scan, a sweep, as of `run --once`. */
  async once(outcome?: (object: ListedObject) => Outcome): Promise<string[]> {
    const given = await scanOnce(this.source)
    if (outcome) for (const object of given) finish(this, object, outcome(object))
    return given.map(({ key }) => key).toSorted()
  }

  get scans(): number {
    return this.lines.filter((line) => line.startsWith('info scan: ')).length
  }
}

async function within(act: (place: Place) => Promise<void>): Promise<void> {
  const place = new Place(await startS3())
  try {
    await act(place)
  } finally {
    await place.close()
  }
}

const done = () => 'done' as const

/** The source as it runs on and on; what it gives is finished at once, or when told. */
class Follower {
  readonly given: string[] = []
  readonly place: Place
  readonly #soft = new AbortController()
  readonly #ended: Promise<void>

  constructor(place: Place, outcome: (object: ListedObject) => Outcome | undefined = done) {
    this.place = place
    place.follower = this
    const taking = async () => {
      const { source } = place
      for await (const object of source.objects({ soft: this.#soft.signal, hard: never, once: false })) {
        this.given.push(object.key)
        const result = outcome(object)
        if (result) finish(place, object, result)
      }
    }
    this.#ended = taking()
  }

  /** Waits until a scan that began after now ended. */
  async scan(): Promise<string[]> {
    const from = this.place.scans
    while (this.place.scans < from + 2) {
      if (this.#soft.signal.aborted) throw this.#soft.signal.reason
      await Promise.race([new Promise((resolve) => setTimeout(resolve, 2)), this.#ended])
    }
    return this.given.splice(0)
  }

  async stop(): Promise<void> {
    this.#soft.abort(new Error('stop'))
    await this.#ended
  }
}

sourceConformance('s3_scan', async (): Promise<SourceHarness> => {
  const place = new Place(await startS3())
  let version = 0
  return {
    start: (how) => place.start(undefined, how),
    put: (key, body) => {
      // Same bytes again are the same version for S3.
      version += 1
      place.server.put(key, body, { lastModified: new Date(place.nowMs + version) })
    },
    remove: (key) => place.server.remove(key),
    stall: (what) => {
      place.server.faults[what === 'lists' ? 'onList' : 'onGet'] = () => ({ stallAfter: 2 ** 20 + 5 })
      if (what === 'lists') place.server.faults.onList = () => ({ stallAfter: -1 })
    },
    deny: () => {
      place.server.faults.onList = () => s3Errors.invalidAccessKeyId
    },
    content: () => [place.server.counters.put, place.server.counters.delete, place.server.read('a')],
    later: () => {
      place.nowMs += hourMs
    },
    close: () => place.close(),
  }
})

test('A16.1: deep prefixes and any layout are found without being told', () =>
  within(async (place) => {
    const prefix = 'AWSLogs/123456789012/CloudTrail/'
    const keys = [
      'AWSLogs/123456789012/CloudTrail/eu-west-1/2025/10/12/1760270000_a',
      'AWSLogs/123456789012/CloudTrail/us-east-1/2025/10/12/trail.json.gz',
      'AWSLogs/123456789012/CloudTrail/us-east-1/year=2025/month=10/day=12/hour=09/1760270000_b',
      'AWSLogs/123456789012/CloudTrail/2025/notes.txt',
    ]
    for (const key of keys) place.put(key, { modifiedMs: place.nowMs - hourMs })
    await place.start({ prefix })
    assert.deepEqual(await place.once(done), keys.toSorted())
  }))

test('A16.5, A16.6: objects of the same second, and late ones with old names, are found after their second was settled', () =>
  within(async (place) => {
    const second = place.nowMs - 10 * minuteMs
    const first = place.putNamed(second, 'm')
    await place.start()
    const follower = new Follower(place)
    assert.deepEqual(await follower.scan(), [first])
    place.nowMs += minuteMs
    const before = place.putNamed(second, 'a')
    const after = place.putNamed(second, 'z')
    assert.deepEqual((await follower.scan()).toSorted(), [before, after])
    // Later than lookback by its name, yesterday's folder: LastModified is new, and the sweep finds it.
    place.nowMs += 30 * minuteMs
    const old = place.putNamed(place.nowMs - 20 * hourMs, 'late')
    place.nowMs += 2 * hourMs
    assert.deepEqual(await follower.scan(), [old])
    place.nowMs += 2 * hourMs
    assert.deepEqual(await follower.scan(), [])
    await follower.stop()
  }))

test('A16.5: a key that sorts before the last one is found, at the latest by the next sweep', () =>
  within(async (place) => {
    for (let i = 0; i < 2200; i += 1) place.putNamed(place.nowMs - 3 * hourMs + i * 1000, 'x')
    place.putNamed(place.nowMs - 2 * minuteMs, 'x')
    await place.start()
    const follower = new Follower(place)
    assert.equal((await follower.scan()).length, 2201)
    place.nowMs += 10 * minuteMs
    await follower.scan()
    const late = place.putNamed(place.nowMs - 3 * hourMs, 'a')
    const inWindow = place.putNamed(place.nowMs - 30 * minuteMs, 'a')
    assert.deepEqual(await follower.scan(), [inWindow])
    assert.ok(place.server.requests.some(({ query }) => query.has('start-after')))
    place.nowMs += hourMs
    assert.deepEqual(await follower.scan(), [late])
    await follower.stop()
  }))

test('A16.6: a folder in which something arrived within a day is listed whatever its date says, also after a restart', () =>
  within(async (place) => {
    const folder = 'year=2020/month=3/day=4'
    // Two scans later the checkpoint is today's, five years after that folder.
    place.put(`${folder}/without-time.log`)
    place.putNamed(place.nowMs - 2 * minuteMs, 'today')
    await place.start()
    assert.equal((await place.once(done)).length, 2)
    place.nowMs += 20 * hourMs
    const named = place.put(`${folder}/1583280000_late`)
    const unnamed = place.put(`${folder}/another.log`)
    await place.start()
    assert.deepEqual(await place.once(done), [named, unnamed].toSorted())
    place.nowMs += 3 * hourMs
    const follower = new Follower(place)
    await follower.scan()
    const more = place.put(`${folder}/more.log`)
    assert.deepEqual(await follower.scan(), [more])
    await follower.stop()
  }))

test('A16.6: while the writer rests, the checkpoint stays with the newest object, so what comes late after it is in reach', () =>
  within(async (place) => {
    const newest = place.nowMs - 40 * dayMs
    place.putNamed(newest, 'a', { modifiedMs: newest })
    await place.start()
    assert.equal((await place.once(done)).length, 1)
    assert.equal(place.ledger.horizon.checkpointMs, newest)
    place.nowMs += 2 * dayMs
    const late = place.putNamed(newest - 30 * minuteMs, 'late')
    await place.start()
    assert.deepEqual(await place.once(done), [late])
  }))

test('A16.6: a writer whose clock is ahead or behind loses nothing', () =>
  within(async (place) => {
    place.putNamed(place.nowMs - 2 * minuteMs, 'right')
    await place.start()
    const follower = new Follower(place)
    assert.equal((await follower.scan()).length, 1)
    const ahead = place.putNamed(place.nowMs + 2 * hourMs, 'ahead')
    const behind = place.putNamed(place.nowMs - 50 * minuteMs, 'behind')
    assert.deepEqual(await follower.scan(), [behind])
    place.nowMs += 61_000
    assert.deepEqual(await follower.scan(), [ahead])
    for (let i = 0; i < 5; i += 1) {
      place.nowMs += hourMs
      assert.deepEqual(await follower.scan(), [])
    }
    await follower.stop()
  }))

test('delay_window holds back what its name says is young, and nothing else', () =>
  within(async (place) => {
    const young = place.putNamed(place.nowMs - 59_000)
    const nameless = place.put('no-time-in-here')
    const old = place.putNamed(place.nowMs - 61_000)
    await place.start()
    assert.deepEqual(await place.once(done), [nameless, old].toSorted())
    place.nowMs += 2000
    assert.deepEqual(await place.once(done), [young])
  }))

test('A16.7: many more objects than the queue holds are all given, once', () =>
  within(async (place) => {
    const keys = Array.from({ length: 3300 }, (_, i) => place.put(`flat/${i}`)).toSorted()
    await place.start({ queue: 10, workers: 2 })
    assert.deepEqual(await place.once(done), keys)
    assert.deepEqual(await place.once(done), [])
  }))

test('A16.8: a first start reads from the beginning, from now, or from a time, and restarts do not change that', async () => {
  for (const [startAt, expected] of [
    ['beginning', ['ancient', 'yesterday', 'recent']],
    ['now', []],
    ['2025-10-12T00:00:00Z', ['recent']],
  ] as const) {
    await within(async (place) => {
      const at = (age: number, tail: string) =>
        place.putNamed(place.nowMs - age, tail, { modifiedMs: place.nowMs - age })
      at(400 * dayMs, 'ancient')
      at(dayMs, 'yesterday')
      at(hourMs, 'recent')
      await place.start({ start_at: startAt })
      // Nothing settled yet: what stands is where the first start was, not where this one is.
      place.server.faults.onList = () => s3Errors.accessDenied
      await assert.rejects(place.once())
      place.server.faults.onList = undefined
      place.nowMs += 2 * hourMs
      await place.start()
      const tails = (keys: string[]) => keys.map((key) => key.replace(/.*_/, '')).toSorted()
      assert.deepEqual(tails(await place.once(done)), expected.toSorted(), startAt)
      // What arrives from now on is read, whatever time its name says.
      const fresh = place.putNamed(place.nowMs - 3 * hourMs, 'fresh')
      assert.deepEqual(await place.once(done), [fresh], startAt)
      place.nowMs += dayMs
      await place.start()
      assert.deepEqual(await place.once(done), [], startAt)
    })
  }
})

test('A16.4: the checkpoint never passes an object that is under way, and failed ones do not hold it', () =>
  within(async (place) => {
    const slow = place.nowMs - 30 * minuteMs
    place.putNamed(slow, 'slow')
    place.putNamed(place.nowMs - 20 * minuteMs, 'failing')
    const quick = place.nowMs - 10 * minuteMs
    place.putNamed(quick, 'quick')
    await place.start()
    const held: ListedObject[] = []
    const follower = new Follower(place, (object) => {
      if (object.key.endsWith('failing')) return 'failed'
      if (!object.key.endsWith('slow')) return 'done'
      place.ledger.begin(object)
      held.push(object)
      return undefined
    })
    await follower.scan()
    for (let i = 0; i < 3; i += 1) {
      place.nowMs += 3 * hourMs
      await follower.scan()
      assert.equal(place.ledger.horizon.checkpointMs, slow)
    }
    assert.equal(held.length, 1)
    finish(place, held[0] as ListedObject)
    await follower.scan()
    assert.equal(place.ledger.horizon.checkpointMs, quick)
    place.putNamed(place.nowMs - minuteMs / 2, 'young')
    await follower.scan()
    assert.equal(place.ledger.horizon.checkpointMs, place.nowMs - minuteMs)
    await follower.stop()
  }))

test('A16.4: an object that ends while later ones wait to be given is not given again', () =>
  within(async (place) => {
    for (const tail of ['1', '2', '3']) place.put(`k${tail}`)
    await place.start({ queue: 1, workers: 1 })
    const soft = new AbortController()
    const objects = place.source.objects({ soft: soft.signal, hard: never, once: false })[Symbol.asyncIterator]()
    const take = async () => (await objects.next()).value as ListedObject
    const [first, second, third] = [await take(), await take(), await take()]
    for (const object of [first, second, third]) place.ledger.begin(object)
    // The next scan takes the failed one, changed last, first; the others end while it, then a new one, is given out.
    place.nowMs += 1000
    place.ledger.settle(second.id, 'failed', {
      position: startOfObject,
      counts: nothingCounted,
      timeMs: second.timeMs,
      reason: 'because',
    })
    place.source.finished(second, 'failed', nothingCounted)
    place.nowMs += hourMs
    place.put('k0')
    place.put('k4')
    assert.equal((await take()).id, second.id)
    finish(place, first)
    const keys = [(await take()).key]
    finish(place, third)
    keys.push((await take()).key)
    assert.deepEqual(keys, ['k0', 'k4'])
    soft.abort(new Error('stop'))
    assert.equal((await objects.next()).done, true)
  }))

test('a failed object is tried again after a wait that grows, and at once by run --once', () =>
  within(async (place) => {
    const key = place.put('bad')
    await place.start()
    const follower = new Follower(place, () => 'failed')
    assert.deepEqual(await follower.scan(), [key])
    for (const waitMs of [15_000, 30_000, 60_000, 120_000]) {
      place.nowMs += waitMs - 1000
      assert.deepEqual(await follower.scan(), [], `${waitMs}`)
      place.nowMs += 2000
      assert.deepEqual(await follower.scan(), [key], `${waitMs}`)
    }
    await follower.stop()
    assert.deepEqual(await place.once(done), [key])
    assert.deepEqual(await place.once(done), [])
  }))

test('a requeued object is given again, released when it was read, and kept when it fails or is stopped', () =>
  within(async (place) => {
    const key = place.put('cold', { storageClass: 'GLACIER' })
    await place.start()
    const [object] = await scanOnce(place.source)
    assert.ok(object)
    await assert.rejects(
      bytesOf(place.source.open(object, 0, live)),
      (error) => error instanceof StreamError && error.code === 'source.archived',
    )
    finish(place, object, 'quarantined')
    assert.deepEqual(await place.once(), [])
    place.ledger.requeue('all')
    assert.deepEqual(await place.once(() => 'failed'), [key])
    assert.equal(place.ledger.requeued().length, 1)
    assert.deepEqual(await place.once(() => 'stopped'), [key])
    await place.start()
    assert.deepEqual(await place.once(done), [key])
    assert.deepEqual([place.ledger.requeued(), place.ledger.quarantine()], [[], []])
    assert.deepEqual(await place.once(), [])
  }))

test('a requeued object that ends in quarantine again keeps its entry and is not given for ever', () =>
  within(async (place) => {
    const key = place.put('corrupt')
    await place.start()
    await place.once(() => 'quarantined')
    place.ledger.requeue('all')
    assert.deepEqual(await place.once(() => 'quarantined'), [key])
    assert.deepEqual(await place.once(() => 'quarantined'), [])
    assert.equal(place.ledger.quarantine().length, 1)
  }))

test('a requeued object is read even when the ledger forgot it', () =>
  within(async (place) => {
    const key = place.put('old', { modifiedMs: place.nowMs - 30 * dayMs })
    await place.start()
    await place.once(() => 'quarantined')
    place.ledger.requeue('all')
    place.ledger.moveTo(place.nowMs - 60 * dayMs)
    await place.start()
    assert.deepEqual(await place.once(done), [key])
    assert.deepEqual(await place.once(done), [])
    assert.deepEqual(place.ledger.quarantine(), [])
  }))

test('empty objects and folder markers are given out and cost no GET', () =>
  within(async (place) => {
    place.put('folder/', { body: '' })
    place.put('folder/_SUCCESS', { body: '' })
    await place.start()
    const given = await scanOnce(place.source)
    assert.equal(given.length, 2)
    for (const object of given) {
      assert.equal((await bytesOf(place.source.open(object, 0, live))).length, 0)
      finish(place, object)
    }
    assert.equal(place.server.counters.get, 0)
    assert.deepEqual(await place.once(), [])
  }))

test('a server that lists no sizes is read like any other', () =>
  within(async (place) => {
    place.server.listWithoutSize = true
    place.put('a', { body: 'abc' })
    place.put('empty', { body: '' })
    await place.start()
    for (const object of await scanOnce(place.source)) {
      assert.equal(object.size, undefined)
      const body = await bytesOf(place.source.open(object, 0, live))
      assert.equal(body.toString(), object.key === 'a' ? 'abc' : '')
      finish(place, object)
    }
    assert.deepEqual(await place.once(), [])
  }))

test('awkward keys are read by the keys they have', () =>
  within(async (place) => {
    const keys = [
      'a b',
      'a+b',
      'a%20b',
      '100%',
      'ünï/日本🎉',
      'q"\'&<>',
      'bell\u0007',
      'line\nfeed',
      'a=b&c?d#e',
      'x//y',
    ]
    for (const key of keys) place.put(key, { body: `content of ${key}` })
    await place.start()
    for (const object of await scanOnce(place.source)) {
      assert.equal((await bytesOf(place.source.open(object, 0, live))).toString(), `content of ${object.key}`)
      assert.equal((await place.source.find(object.key, live)).id, object.id)
      finish(place, object)
    }
    await place.start()
    assert.deepEqual(await place.once(), [])
  }))

test('a list that fails is tried again, and what was missing is found', () =>
  within(async (place) => {
    const keys = Array.from({ length: 2500 }, (_, i) => place.put(`k${i}`)).toSorted()
    let failures = 0
    place.server.faults.onList = (_, n) => {
      if (n !== 2 && n !== 3) return undefined
      failures += 1
      return n === 2 ? s3Errors.accessDenied : { cutAfter: 500 }
    }
    await place.start()
    const follower = new Follower(place)
    assert.deepEqual((await follower.scan()).toSorted(), keys)
    assert.equal(failures, 2)
    assert.ok(place.lines.some((line) => line.startsWith('error cannot list; trying again at the next scan')))
    await follower.stop()
  }))

test('with --once a list that is refused for good ends the run with the reason, and moves no checkpoint', () =>
  within(async (place) => {
    place.put('k')
    place.server.faults.onList = () => s3Errors.accessDenied
    await place.start()
    await assert.rejects(place.once(), /cannot list s3:\/\/b\/: 403 AccessDenied.*s3:ListBucket/)
    assert.deepEqual(place.ledger.horizon.checkpointMs, 0)
    assert.equal(place.source.progress.complete, false)
  }))

test('the checkpoint stands while a list is broken off', () =>
  within(async (place) => {
    for (let i = 0; i < 1500; i += 1) place.put(`k${i}`)
    await place.start()
    const soft = new AbortController()
    const given: ListedObject[] = []
    for await (const object of place.source.objects({ soft: soft.signal, hard: never, once: true })) {
      given.push(object)
      finish(place, object)
      if (given.length === 1100) soft.abort(new Error('stop'))
    }
    assert.deepEqual([place.ledger.horizon.checkpointMs, place.ledger.horizon.listed], [0, false])
    await place.start()
    assert.equal((await place.once(done)).length, 400)
  }))

test('a clock that was ahead and is right again does not hide what arrives', () =>
  within(async (place) => {
    const right = place.nowMs
    await place.start()
    const follower = new Follower(place)
    await follower.scan()
    place.nowMs += 4000 * dayMs
    await follower.scan()
    place.nowMs = right
    await follower.scan()
    const named = place.putNamed(place.nowMs - 2 * minuteMs)
    const nameless = place.put('nameless')
    assert.deepEqual((await follower.scan()).toSorted(), [named, nameless].toSorted())
    assert.ok(place.lines.some((line) => line.startsWith('warn the clock was set back')))
    await follower.stop()
  }))

test('folders outside a template are named once in the log', () =>
  within(async (place) => {
    const key = place.put('2025/10/12/a')
    place.put('2025/9/1/a')
    place.put('other/a')
    await place.start({ partition: '{yyyy}/{MM}/{dd}/' })
    assert.deepEqual(await place.once(done), [key])
    await place.once(done)
    assert.equal(place.lines.filter((line) => /folders outside the template/.test(line)).length, 1)
  }))

test('check warns of an empty prefix and of an object that cannot be read', () =>
  within(async (place) => {
    await place.start({ prefix: 'p/' })
    await place.source.check(live)
    assert.ok(place.lines.some((line) => line.startsWith('warn no object under this prefix yet')))
    place.put('p/a')
    place.server.faults.onHead = () => s3Errors.accessDenied
    await place.source.check(live)
    assert.ok(place.lines.some((line) => /^warn the first object cannot be read.*s3:GetObject/.test(line)))
    place.server.buckets = new Set(['another'])
    await assert.rejects(place.source.check(live), /cannot list s3:\/\/b\/p\/: 404 NoSuchBucket.*check the bucket name/)
  }))

/** Days of arrivals on a clock of its own: every object must be given once, however late, and never twice. */
interface Step {
  readonly waitMinutes: number
  readonly arrivals: ReadonlyArray<{ readonly name: 'none' | 'flat' | 'day'; readonly lateMinutes: number }>
  readonly event: 'none' | 'restart' | 'kill' | 'overwrite' | 'break'
}

const stepArbitrary: fc.Arbitrary<Step> = fc.record({
  waitMinutes: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 90 }) },
    { weight: 1, arbitrary: fc.integer({ min: 200, max: 3000 }) },
  ),
  arrivals: fc.array(
    fc.record({
      name: fc.constantFrom('none' as const, 'flat' as const, 'day' as const, 'day' as const),
      lateMinutes: fc.oneof(
        fc.integer({ min: -30, max: 55 }),
        // A sweep reaches a day back.
        fc.integer({ min: 56, max: 23 * 60 }),
      ),
    }),
    { maxLength: 4 },
  ),
  event: fc.oneof(
    { weight: 6, arbitrary: fc.constant('none' as const) },
    {
      weight: 3,
      arbitrary: fc.constantFrom('restart' as const, 'kill' as const, 'overwrite' as const, 'break' as const),
    },
  ),
})

async function simulate(steps: readonly Step[]): Promise<void> {
  await within(async (place) => {
    const expected = new Map<string, number>()
    const given = new Map<string, number>()
    const outcome = ({ id }: ListedObject): Outcome => {
      given.set(id, (given.get(id) ?? 0) + 1)
      return 'done'
    }
    const arrive = (key: string, body: string) => {
      place.put(key, { body })
      expected.set(key, (expected.get(key) ?? 0) + 1)
    }
    await place.start()
    let follower = new Follower(place, outcome)
    let serial = 0
    for (const { waitMinutes, arrivals, event } of steps) {
      for (const { name, lateMinutes } of arrivals) {
        serial += 1
        const timeMs = place.nowMs - lateMinutes * minuteMs
        const date = new Date(timeMs).toISOString().slice(0, 10)
        const base = `${Math.floor(timeMs / 1000)}_${serial}`
        arrive(name === 'none' ? `plain-${serial}` : name === 'flat' ? base : `dt=${date}/${base}`, `v${serial}`)
      }
      const last = [...expected.keys()].at(-1)
      const isInReach = last !== undefined && (timeFromKey(last) ?? place.nowMs) > place.nowMs - 22 * hourMs
      if (event === 'overwrite' && isInReach) {
        // The version before must have been seen, by a sweep at the latest: S3 shows only the last one.
        place.nowMs += 61 * minuteMs
        await follower.scan()
        serial += 1
        arrive(last, `again ${serial}`)
      }
      if (event === 'break') {
        let left = 2
        place.server.faults.onList = () => {
          left -= 1
          return left >= 0 ? s3Errors.accessDenied : undefined
        }
      }
      await follower.scan()
      if (event === 'restart' || event === 'kill') {
        await follower.stop()
        place.nowMs += (waitMinutes / 2) * minuteMs
        await place.start(undefined, event === 'kill' ? 'killed' : 'stopped')
        follower = new Follower(place, outcome)
      }
      place.nowMs += waitMinutes * minuteMs
      await follower.scan()
    }
    // What is young, and what only a sweep finds.
    for (let i = 0; i < 3; i += 1) {
      place.nowMs += 61 * minuteMs
      await follower.scan()
    }
    await follower.stop()
    const total = [...expected.values()].reduce((sum, n) => sum + n, 0)
    assert.equal(given.size, total, 'lost')
    assert.ok(
      [...given.values()].every((n) => n === 1),
      'given twice',
    )
  })
}

test('A16.4, A16.5, A16.6: over days of random arrivals, restarts and prunes every object is given exactly once', async () => {
  await fc.assert(fc.asyncProperty(fc.array(stepArbitrary, { minLength: 5, maxLength: 25 }), simulate), {
    numRuns: 5,
    seed: 20_251_012,
    endOnFailure: true,
  })
})

test('prune forgets what the window no longer reaches, and only that', () =>
  within(async (place) => {
    await place.start()
    const follower = new Follower(place)
    for (let hour = 0; hour < 24 * 6; hour += 6) {
      place.putNamed(place.nowMs - 2 * minuteMs, String(hour))
      place.put(`nameless-${hour}`)
      const given = await follower.scan()
      assert.equal(given.length, 2, `hour ${hour}: ${given}`)
      place.nowMs += 6 * hourMs
    }
    await follower.scan()
    assert.ok(place.ledger.objects().length < 20, `${place.ledger.objects().length} rows`)
    await follower.stop()
  }))

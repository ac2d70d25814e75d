/** What every source must hold. Called by the test of each with a harness that starts its store. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { ListedObject, ObjectPart, Outcome, Source } from '../../src/core/component.ts'
import { nothingCounted, startOfObject } from '../../src/core/delivery.ts'
import { StreamError } from '../../src/core/errors.ts'
import type { Ledger } from '../../src/ledger/ledger.ts'
import { replayedConformance } from './replayed.ts'

export interface SourceHarness {
  /** The next start: the source and the ledger of the last one are closed, with `killed` without saving. */
  start(how?: 'stopped' | 'killed'): Promise<{ readonly source: Source; readonly ledger: Ledger }>
  /** An object arrives, or replaces the one with its key, and the source can know. */
  put(key: string, body: Buffer): void
  remove(key: string): void
  /** From now on the store takes requests for what there is to read, or for bytes, and does not answer to the end. */
  stall(what: 'lists' | 'reads'): void
  /** From now on the store refuses the credentials. */
  deny(): void
  /** Everything the store holds, to see what `check` did. */
  content(): unknown
  /** So much time passes that a failed object is due again. */
  later(): void | Promise<void>
  /** False if it gives out what there is, but never says that this was all. */
  readonly completes?: boolean
  /** True if a replay is listed where neither `stall` nor `deny` reaches. */
  readonly replaysElsewhere?: boolean
  close(): Promise<void>
}

const never = new AbortController().signal
const live = { signal: never }

/** What one scan gives out; nothing of it is finished. */
export async function scanOnce(source: Source, o: { soft?: AbortSignal } = {}): Promise<ListedObject[]> {
  const given: ListedObject[] = []
  for await (const object of source.objects({ soft: o.soft ?? never, hard: never, once: true })) given.push(object)
  return given
}

export async function bytesOf(chunks: AsyncIterable<Buffer>): Promise<Buffer> {
  const read: Buffer[] = []
  for await (const chunk of chunks) read.push(chunk)
  return Buffer.concat(read)
}

async function drain(objects: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of objects);
}

async function collected<T>(all: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = []
  for await (const one of all) list.push(one)
  return list
}

/** Settles an object as the engine does. */
export function finish(
  { source, ledger }: { readonly source: Source; readonly ledger: Ledger },
  object: ListedObject,
  outcome: Outcome = 'done',
): void {
  ledger.begin(object)
  const where = { position: startOfObject, counts: nothingCounted }
  if (outcome === 'stopped') ledger.suspend(object.id)
  else ledger.settle(object.id, outcome, { ...where, timeMs: object.timeMs, reason: 'because' })
  source.finished(object, outcome, nothingCounted)
}

/** The key that it was put with: a source of files has the folder it reads in front of it. */
const nameOf = ({ path, key }: ListedObject) => path ?? key
const keysOf = (objects: readonly ListedObject[]) => objects.map(nameOf).toSorted()
const failsWith = (code: string) => (error: unknown) => error instanceof StreamError && error.code === code

/** Parts of the sizes given, over and over, up to the end. */
function partsOf(total: number, sizes: readonly number[]): ObjectPart[] {
  const parts: ObjectPart[] = []
  for (let offset = 0; offset < total; ) {
    const bytes = Math.min(sizes[parts.length % sizes.length] as number, total - offset)
    parts.push({ number: parts.length + 1, offset, bytes })
    offset += bytes
  }
  return parts
}

export function sourceConformance(name: string, make: () => Promise<SourceHarness>): void {
  replayedConformance(name, make)
  const run = (title: string, body: (harness: SourceHarness) => Promise<void>) =>
    test(`${name}: ${title}`, { timeout: 30_000 }, async () => {
      const harness = await make()
      try {
        await body(harness)
      } finally {
        await harness.close()
      }
    })
  const bodies = new Map(['a', 'b', 'c', 'd', 'e'].map((key) => [key, Buffer.from(`content of ${key}`)]))

  run('every object is given out once, with its bytes', async (harness) => {
    for (const [key, body] of bodies) harness.put(key, body)
    const started = await harness.start()
    const { source } = started
    const given = await scanOnce(source)
    assert.deepEqual(keysOf(given), [...bodies.keys()])
    assert.equal(new Set(given.map(({ id }) => id)).size, bodies.size)
    const { found, complete } = source.progress
    assert.deepEqual([found, complete], [bodies.size, harness.completes ?? true])
    for (const object of given) {
      assert.deepEqual(await bytesOf(source.open(object, 0, live)), bodies.get(nameOf(object)))
      finish(started, object)
    }
    harness.put('f', Buffer.from('new'))
    assert.deepEqual(keysOf(await scanOnce(source)), ['f'])
  })

  run('what is under way is not given again, nor what is finished, in this process or the next', async (harness) => {
    for (const [key, body] of bodies) harness.put(key, body)
    const started = await harness.start()
    const given = await scanOnce(started.source)
    finish(started, given[0] as ListedObject)
    assert.deepEqual(await scanOnce(started.source), [])
    for (const object of given.slice(1)) finish(started, object)
    assert.deepEqual(await scanOnce(started.source), [])
    const { source } = await harness.start()
    assert.deepEqual(await scanOnce(source), [])
  })

  run('a failed object is given again by a later scan, until it is done', async (harness) => {
    harness.put('a', Buffer.from('x'))
    harness.put('b', Buffer.from('y'))
    const started = await harness.start()
    for (const object of await scanOnce(started.source))
      finish(started, object, nameOf(object) === 'a' ? 'failed' : 'done')
    for (const outcome of ['failed', 'done'] as const) {
      await harness.later()
      const again = await scanOnce(started.source)
      assert.deepEqual(keysOf(again), ['a'])
      finish(started, again[0] as ListedObject, outcome)
    }
    await harness.later()
    assert.deepEqual(await scanOnce(started.source), [])
  })

  run('a quarantined object is not given again', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const started = await harness.start()
    for (const object of await scanOnce(started.source)) finish(started, object, 'quarantined')
    await harness.later()
    assert.deepEqual(await scanOnce(started.source), [])
  })

  run('a stopped object is given again at the next start, with its place', async (harness) => {
    harness.put('a', Buffer.from('xyz'))
    const { source, ledger } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    ledger.begin(object)
    const position = { records: 1, offset: 2, offsetRecords: 1 }
    ledger.advance(object.id, position, { ...nothingCounted, read: 1, delivered: 1 })
    source.finished(object, 'stopped', nothingCounted)
    const next = await harness.start()
    const [again] = await scanOnce(next.source)
    assert.equal(again?.id, object.id)
    assert.deepEqual(next.ledger.begin(again).position, position)
    assert.equal((await bytesOf(next.source.open(again, 2, live))).toString(), 'z')
  })

  run('what was given out when the process was killed is given again', async (harness) => {
    for (const [key, body] of bodies) harness.put(key, body)
    const started = await harness.start()
    for (const object of await scanOnce(started.source)) {
      if (nameOf(object) < 'c') finish(started, object)
      else if (nameOf(object) < 'e') started.ledger.begin(object)
    }
    const { source } = await harness.start('killed')
    assert.deepEqual(keysOf(await scanOnce(source)), ['c', 'd', 'e'])
  })

  run('an empty object is given out and has no bytes', async (harness) => {
    harness.put('empty', Buffer.alloc(0))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    assert.equal(nameOf(object), 'empty')
    assert.equal((await bytesOf(source.open(object, 0, live))).length, 0)
  })

  run('an object that vanished says so, and is given again when it is back', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const started = await harness.start()
    const [object] = await scanOnce(started.source)
    assert.ok(object)
    harness.remove('a')
    await assert.rejects(bytesOf(started.source.open(object, 0, live)), failsWith('source.vanished'))
    finish(started, object, 'vanished')
    assert.deepEqual(await scanOnce(started.source), [])
    harness.put('a', Buffer.from('x'))
    assert.deepEqual(keysOf(await scanOnce(started.source)), ['a'])
  })

  run(
    'an object that was replaced is never read as the other, and its new version is a new object',
    async (harness) => {
      harness.put('a', Buffer.from('old'))
      const started = await harness.start()
      const [object] = await scanOnce(started.source)
      assert.ok(object)
      harness.put('a', Buffer.from('new'))
      await assert.rejects(bytesOf(started.source.open(object, 1, live)), failsWith('source.replaced'))
      finish(started, object, 'replaced')
      const [newer] = await scanOnce(started.source)
      assert.ok(newer && newer.id !== object.id)
      assert.equal((await bytesOf(started.source.open(newer, 0, live))).toString(), 'new')
    },
  )

  run('bytes are given from any offset on', async (harness) => {
    const body = Buffer.from('0123456789')
    harness.put('a', body)
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    for (const offset of [0, 1, 5, 9, 10]) {
      assert.deepEqual(await bytesOf(source.open(object, offset, live)), body.subarray(offset), String(offset))
    }
  })

  run('a soft stop ends a list that hangs, without an error', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    harness.stall('lists')
    const soft = new AbortController()
    setTimeout(() => soft.abort(new Error('stop')), 50)
    for (const once of [true, false]) {
      for await (const object of source.objects({ soft: soft.signal, hard: never, once })) assert.fail(object.key)
    }
  })

  run('a soft stop between scans ends the wait', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const started = await harness.start()
    const soft = new AbortController()
    const keys: string[] = []
    for await (const object of started.source.objects({ soft: soft.signal, hard: never, once: false })) {
      keys.push(nameOf(object))
      finish(started, object)
      setTimeout(() => soft.abort(new Error('stop')), 50)
    }
    assert.deepEqual(keys, ['a'])
  })

  run('a soft stop gives nothing more out, and leaves open reads alone', async (harness) => {
    for (const [key, body] of bodies) harness.put(key, body)
    const { source } = await harness.start()
    const soft = new AbortController()
    const given: ListedObject[] = []
    for await (const object of source.objects({ soft: soft.signal, hard: never, once: true })) {
      given.push(object)
      if (given.length === 2) soft.abort(new Error('stop'))
    }
    assert.equal(given.length, 2)
    const object = given[0] as ListedObject
    assert.deepEqual(await bytesOf(source.open(object, 0, live)), bodies.get(nameOf(object)))
  })

  run('a hard stop in the middle of a read ends it with a throw', async (harness) => {
    harness.put('a', Buffer.alloc(3 * 2 ** 20, 'x'))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    harness.stall('reads')
    const hard = new AbortController()
    setTimeout(() => hard.abort(new Error('stop')), 50)
    await assert.rejects(bytesOf(source.open(object, 0, { signal: hard.signal })))
    await assert.rejects(bytesOf(source.open(object, 0, { signal: hard.signal })))
  })

  run('a reader that leaves half-way leaves nothing behind', async (harness) => {
    const body = Buffer.alloc(3 * 2 ** 20, 'x')
    harness.put('a', body)
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    for (let i = 0; i < 40; i += 1) {
      for await (const chunk of source.open(object, 0, live)) {
        assert.ok(chunk.length > 0)
        break
      }
    }
    assert.deepEqual(await bytesOf(source.open(object, 0, live)), body)
  })

  run('confirm gives the size, and a copy learns that the object was replaced or is gone', async (harness) => {
    for (const name of ['a', 'b', 'c']) harness.put(name, Buffer.from('old'))
    const { source } = await harness.start()
    const [first, second, third] = (await scanOnce(source)).toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))
    assert.ok(first && second && third)
    for (const object of [first, second, third, first]) assert.equal(await source.confirm(object, live), 3)
    harness.put('a', Buffer.from('new'))
    harness.remove('b')
    // Where reading is pinned to the version, there is no need to ask: it is the reading that fails.
    const copy = async (object: ListedObject) => {
      await source.confirm(object, live)
      await source.fill(object, 0, Buffer.alloc(3), live)
    }
    await assert.rejects(copy(first), failsWith('source.replaced'))
    await assert.rejects(copy(second), failsWith('source.vanished'))
    assert.equal(await source.confirm(third, live), 3)
  })

  run('parts of any sizes, read at the same time, are the bytes of the object', async (harness) => {
    const body = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 31) % 251))
    harness.put('a', body)
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    assert.equal(await source.confirm(object, live), body.length)
    const sizes = fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 12 })
    await fc.assert(
      fc.asyncProperty(sizes, async (given) => {
        const read = Buffer.alloc(body.length, 0xff)
        const fills = partsOf(body.length, given).map(({ offset, bytes }) =>
          source.fill(object, offset, read.subarray(offset, offset + bytes), live),
        )
        await Promise.all(fills)
        assert.deepEqual(read, body)
      }),
      { numRuns: 15 },
    )
    assert.equal(await source.confirm(object, live), body.length)
  })

  run('an empty object has one part, which is empty', async (harness) => {
    harness.put('empty', Buffer.alloc(0))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    assert.equal(await source.confirm(object, live), 0)
    await source.fill(object, 0, Buffer.alloc(0), live)
  })

  run('a part that reaches beyond the end is refused, never filled short', async (harness) => {
    harness.put('a', Buffer.from('0123456789'))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    await source.confirm(object, live)
    await assert.rejects(source.fill(object, 8, Buffer.alloc(5), live), failsWith('source.short_body'))
    const into = Buffer.alloc(2)
    await source.fill(object, 8, into, live)
    assert.equal(into.toString(), '89')
  })

  run('parts of an object that was replaced are never taken for it', async (harness) => {
    harness.put('a', Buffer.from('old and long'))
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    await source.confirm(object, live)
    const into = Buffer.alloc(6)
    await source.fill(object, 0, into, live)
    harness.put('a', Buffer.from('NEW AND LONG'))
    const rest = Buffer.alloc(6)
    const refused = await source.fill(object, 6, rest, live).catch((error: unknown) => error)
    // The version that was listed may still be read, where it is still open; the other must not be.
    if (refused === undefined) await assert.rejects(source.confirm(object, live), failsWith('source.replaced'))
    else assert.ok(failsWith('source.replaced')(refused), String(refused))
  })

  run('a hard stop while a part is read ends it with a throw', async (harness) => {
    const body = Buffer.alloc(3 * 2 ** 20, 'x')
    harness.put('a', body)
    const { source } = await harness.start()
    const [object] = await scanOnce(source)
    assert.ok(object)
    await source.confirm(object, live)
    harness.stall('reads')
    const hard = new AbortController()
    setTimeout(() => hard.abort(new Error('stop')), 50)
    await assert.rejects(source.fill(object, 0, Buffer.alloc(body.length), { signal: hard.signal }))
    await assert.rejects(source.fill(object, 0, Buffer.alloc(body.length), { signal: hard.signal }))
  })

  run('an object is found by its key', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    const found = await source.find('a', { ...live, bucket: 'b' })
    const [listed] = await scanOnce(source)
    assert.deepEqual([found.id, found.size], [listed?.id, 1])
    await assert.rejects(source.find('none', { ...live, bucket: 'b' }), failsWith('source.vanished'))
  })

  run('check changes nothing', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source, ledger } = await harness.start()
    const before = harness.content()
    await source.check(live)
    assert.deepEqual(harness.content(), before)
    assert.deepEqual(ledger.objects(), [])
    assert.deepEqual(keysOf(await scanOnce(source)), ['a'])
  })

  run('check says what the operator must change', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    harness.deny()
    await assert.rejects(source.check(live), (error) => {
      assert.ok(error instanceof StreamError && error.kind === 'config', String(error))
      assert.match(error.message, /^cannot \w+ .*:.*\(.+\)$/)
      return true
    })
  })

  run('examine tells what is there and changes nothing', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source, ledger } = await harness.start()
    const before = harness.content()
    const findings = await collected(source.examine(live))
    assert.deepEqual(
      findings.filter(({ level }) => level === 'problem'),
      [],
    )
    assert.ok(findings.some(({ level }) => level === 'ok'))
    assert.deepEqual(harness.content(), before)
    assert.deepEqual(ledger.objects(), [])
    assert.deepEqual(keysOf(await scanOnce(source)), ['a'])
  })

  run('examine tells what the operator must change, and throws nothing but an abort', async (harness) => {
    harness.put('a', Buffer.from('x'))
    const { source } = await harness.start()
    harness.deny()
    const problems = (await collected(source.examine(live))).filter(({ level }) => level === 'problem')
    assert.ok(problems.length > 0)
    for (const { text, advice } of problems) assert.ok(text !== '' && advice, text)
    const stopped = AbortSignal.abort(new Error('stop'))
    await assert.rejects(collected(source.examine({ signal: stopped })))
  })

  run(
    'what it depends on is unused, up, then failing, as its use shows; a probe changes nothing of that',
    async (harness) => {
      harness.put('a', Buffer.from('x'))
      const started = await harness.start()
      const { source } = started
      const states = () => source.dependencies.map(({ state }) => state)
      const names = source.dependencies.map(({ name }) => name)
      assert.ok(names.length > 0 && new Set(names).size === names.length)
      for (const dependency of source.dependencies) await dependency.probe(live)
      assert.ok(
        states().every((state) => state === 'unused'),
        String(states()),
      )
      for (const object of await scanOnce(source)) {
        await bytesOf(source.open(object, 0, live))
        finish(started, object)
      }
      assert.ok(
        states().every((state) => state === 'up'),
        String(states()),
      )
      // What it still has to say to the store is said.
      await harness.later()
      harness.deny()
      const soft = new AbortController()
      const scanning = drain(source.objects({ soft: soft.signal, hard: never, once: false }))
      while (states().every((state) => state === 'up')) await new Promise((resolve) => setTimeout(resolve, 2))
      const [failing] = source.dependencies.filter(({ state }) => state === 'failing')
      assert.match(failing?.error ?? '', /^cannot \w+ .*:/)
      assert.ok((failing?.sinceMs ?? 0) > 0)
      soft.abort(new Error('stop'))
      await scanning
    },
  )

  run('the oldest that waits to be given out is known, and nothing waits when all was given', async (harness) => {
    for (const [key, body] of bodies) harness.put(key, body)
    const { source } = await harness.start()
    assert.equal(source.oldestWaitingMs, undefined)
    const objects = source.objects({ soft: never, hard: never, once: true })
    const waited: Array<number | undefined> = []
    const times: number[] = []
    for await (const { timeMs } of objects) {
      times.push(timeMs)
      waited.push(source.oldestWaitingMs)
    }
    assert.ok(waited.some((ms) => ms !== undefined && times.includes(ms)))
    assert.equal(waited.at(-1), undefined)
    assert.equal(source.oldestWaitingMs, undefined)
  })

  run('disposing twice is harmless', async (harness) => {
    const { source } = await harness.start()
    await scanOnce(source)
    await source[Symbol.asyncDispose]()
    await source[Symbol.asyncDispose]()
    assert.ok(source.workers > 0)
  })
}

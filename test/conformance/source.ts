/** What every source must hold. Called by the test of each with a harness that starts its store. */
import assert from 'node:assert/strict'
import type { ListedObject } from '../../src/core/component.ts'
import { nothingCounted } from '../../src/core/delivery.ts'
import { replayedConformance } from './replayed.ts'
import {
  bytesOf,
  failsWith,
  finish,
  keysOf,
  live,
  nameOf,
  never,
  runOf,
  type SourceHarness,
  scanOnce,
} from './source-harness.ts'
import { partsConformance } from './source-parts.ts'
import { seenConformance } from './source-seen.ts'

export function sourceConformance(name: string, make: () => Promise<SourceHarness>): void {
  replayedConformance(name, make)
  const run = runOf(name, make)
  const bodies = new Map(['a', 'b', 'c', 'd', 'e'].map((key) => [key, Buffer.from(`content of ${key}`)]))
  partsConformance(run)
  seenConformance(run, bodies)

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

  run('disposing twice is harmless', async (harness) => {
    const { source } = await harness.start()
    await scanOnce(source)
    await source[Symbol.asyncDispose]()
    await source[Symbol.asyncDispose]()
    assert.ok(source.workers > 0)
  })
}

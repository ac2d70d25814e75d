/** What every sink of whole objects must hold. Called by the test of each with a harness that starts its receiver. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import type { ListedObject, ObjectPart, ObjectSink, ObjectSinkContext, ObjectUpload } from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import { UploadTable, uploadSchema } from '../../src/ledger/upload-table.ts'
import { examined, testContext } from './sink.ts'

/**
 * What happens to one request: an error of the server, a wish for fewer requests, a connection cut before or while it is
 * sent, an answer that is lost after the work was done, a refusal, no answer at all.
 */
export const passingTroubles = ['error', 'slow_down', 'cut', 'cut_midway', 'lost_answer'] as const
export type Trouble = (typeof passingTroubles)[number] | 'refused' | 'stall'
export type Step = 'open' | 'send' | 'complete' | 'abort'

export interface ObjectSinkHarness {
  /** A new instance with the same log of uploads, as after a restart. */
  create(): Promise<ObjectSink>
  /** What can be read at the place of the object; undefined: nothing. */
  read(object: ListedObject): Buffer | undefined
  /** Uploads that the receiver keeps parts of. */
  unfinished(): number
  /** Uploads that the log knows. */
  logged(): number
  /** The next request of the step meets this; resolves when it does. */
  trouble(step: Step, trouble: Trouble): Promise<void>
  close(): Promise<void>
}

/** A context whose log of uploads outlives the sink, as the ledger's does. */
export function objectSinkContext(lines: string[] = []): ObjectSinkContext {
  const db = new DatabaseSync(':memory:')
  db.exec(uploadSchema)
  return { ...testContext(lines), uploads: new UploadTable(db, () => undefined) }
}

export function listed(name: string, size: number, o: { readonly modifiedMs?: number } = {}): ListedObject {
  const lastModifiedMs = o.modifiedMs ?? Date.UTC(2026, 10, 21, 8, 30)
  const bucket = 'sftp://acme@sftp.example.com'
  const id = `${bucket}/upload/${name}@${size}-${lastModifiedMs}`
  return { id, bucket, key: `upload/${name}`, path: name, size, timeMs: lastModifiedMs, lastModifiedMs }
}

const live = { signal: new AbortController().signal }

/** Tries again as the copier does; `tries` tells how often it had to. */
export async function untilDone<T>(act: () => Promise<T>, tries: { count: number } = { count: 0 }): Promise<T> {
  for (;;) {
    tries.count += 1
    try {
      return await act()
    } catch (error) {
      if (!(error instanceof StreamError) || error.kind !== 'transient' || tries.count > 20) throw error
    }
  }
}

/** Sends one part from a buffer that is used again for something else as soon as it may be. */
export async function sendPart(upload: ObjectUpload, part: ObjectPart, bytes: Buffer): Promise<void> {
  const buffer = Buffer.from(bytes.subarray(part.offset, part.offset + part.bytes))
  await untilDone(() => upload.send(part, buffer, live))
  // That of an only part has to stay until all is complete.
  if (upload.partCount > 1) buffer.fill(0xee)
}

/** The whole way of one object, as the copier goes it. */
export async function store(sink: ObjectSink, object: ListedObject, bytes: Buffer): Promise<ObjectUpload | undefined> {
  const upload = await untilDone(() => sink.open(object, bytes.length, live))
  if (!upload) return undefined
  for (const part of upload.missing) await sendPart(upload, part, bytes)
  await untilDone(() => upload.complete(live))
  return upload
}

async function opened(sink: ObjectSink, object: ListedObject, size: number): Promise<ObjectUpload> {
  const upload = await sink.open(object, size, live)
  assert.ok(upload)
  return upload
}

export function objectSinkConformance(name: string, start: () => Promise<ObjectSinkHarness>): void {
  const run = (title: string, body: (harness: ObjectSinkHarness, sink: ObjectSink) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      const harness = await start()
      const sink = await harness.create()
      try {
        await body(harness, sink)
      } finally {
        await sink[Symbol.asyncDispose]()
        await harness.close()
      }
    })
  const nothingLeft = (harness: ObjectSinkHarness) => {
    assert.deepEqual({ unfinished: harness.unfinished(), logged: harness.logged() }, { unfinished: 0, logged: 0 })
  }

  for (const [what, sizeOf] of [
    ['an empty object', () => 0],
    ['one byte', () => 1],
    ['exactly a part', (part: number) => part],
    ['a part and a byte', (part: number) => part + 1],
    ['several parts', (part: number) => 5 * part],
    ['several parts and some bytes', (part: number) => 5 * part + 7],
  ] as const)
    run(`${what} is stored byte for byte`, async (harness, sink) => {
      const bytes = randomBytes(sizeOf(sink.partBytes))
      const object = listed('a.csv', bytes.length)
      const upload = await store(sink, object, bytes)
      assert.equal(upload?.partCount, Math.max(1, Math.ceil(bytes.length / sink.partBytes)))
      assert.deepEqual(harness.read(object), bytes)
      nothingLeft(harness)
    })

  run('parts tile the object, in order', async (_harness, sink) => {
    const size = 3 * sink.partBytes + 1
    const upload = await opened(sink, listed('a.csv', size), size)
    let end = 0
    for (const [i, part] of upload.missing.entries()) {
      assert.equal(part.number, i + 1)
      assert.equal(part.offset, end)
      assert.ok(part.bytes > 0 && part.bytes <= upload.partBytes)
      end += part.bytes
    }
    assert.equal(end, size)
    assert.equal(upload.partCount, upload.missing.length)
  })

  run('parts may come in any order, and at the same time', async (harness, sink) => {
    const bytes = randomBytes(12 * sink.partBytes - 3)
    const object = listed('a.csv', bytes.length)
    const upload = await opened(sink, object, bytes.length)
    await Promise.all(upload.missing.toReversed().map((part) => sendPart(upload, part, bytes)))
    await upload.complete(live)
    assert.deepEqual(harness.read(object), bytes)
    nothingLeft(harness)
  })

  run('many objects at once do not mix', async (harness, sink) => {
    const objects = Array.from({ length: 12 }, (_, i) => {
      const bytes = randomBytes(Math.floor((i * sink.partBytes) / 3))
      return { object: listed(`many/${i}`, bytes.length), bytes }
    })
    await Promise.all(objects.map(({ object, bytes }) => store(sink, object, bytes)))
    for (const { object, bytes } of objects) assert.deepEqual(harness.read(object), bytes)
    nothingLeft(harness)
  })

  for (const [what, parts] of [
    ['one part', 0.5],
    ['several parts', 3.5],
  ] as const) {
    run(
      `nothing of ${what} is visible before it is complete, and what was there stays until then`,
      async (harness, sink) => {
        const size = Math.floor(parts * sink.partBytes)
        const [before, now] = [randomBytes(size), randomBytes(size + 1)]
        const object = listed('a.csv', size)
        const changed = listed('a.csv', size + 1, { modifiedMs: object.lastModifiedMs + 1000 })
        const first = await opened(sink, object, size)
        for (const part of first.missing) {
          await sendPart(first, part, before)
          assert.equal(harness.read(object), undefined)
        }
        await first.complete(live)
        const second = await opened(sink, changed, size + 1)
        for (const part of second.missing) {
          await sendPart(second, part, now)
          assert.deepEqual(harness.read(changed), before)
        }
        await second.complete(live)
        assert.deepEqual(harness.read(changed), now)
        nothingLeft(harness)
      },
    )

    run(`every call for ${what} may be repeated`, async (harness, sink) => {
      const bytes = randomBytes(Math.floor(parts * sink.partBytes))
      const object = listed('a.csv', bytes.length)
      await sink.open(object, bytes.length, live)
      const upload = await opened(sink, object, bytes.length)
      for (const part of upload.missing) {
        await sendPart(upload, part, bytes)
        await sendPart(upload, part, bytes)
      }
      await upload.complete(live)
      await upload.complete(live)
      await upload.abort(live)
      await upload.abort(live)
      assert.deepEqual(harness.read(object), bytes)
      nothingLeft(harness)
    })

    run(
      `an abort leaves nothing of ${what}, may be repeated, and the object can be stored later`,
      async (harness, sink) => {
        const bytes = randomBytes(Math.floor(parts * sink.partBytes))
        const object = listed('a.csv', bytes.length)
        const upload = await opened(sink, object, bytes.length)
        await sendPart(upload, upload.missing[0] as ObjectPart, bytes)
        await upload.abort(live)
        await upload.abort(live)
        assert.equal(harness.read(object), undefined)
        nothingLeft(harness)
        await store(sink, object, bytes)
        assert.deepEqual(harness.read(object), bytes)
      },
    )

    for (const trouble of passingTroubles)
      for (const step of ['open', 'send', 'complete'] as const)
        run(`${what}: ${trouble} at ${step} is passing, and the object is whole in the end`, async (harness, sink) => {
          const bytes = randomBytes(Math.floor(parts * sink.partBytes))
          const object = listed('a.csv', bytes.length)
          void harness.trouble(step, trouble)
          await store(sink, object, bytes)
          assert.deepEqual(harness.read(object), bytes)
          // An upload whose beginning was never answered has no name by which it could be removed.
          if (step === 'open' && trouble === 'lost_answer') assert.equal(harness.logged(), 0)
          else nothingLeft(harness)
        })
  }

  for (const step of ['open', 'send', 'complete'] as const) {
    run(`a refusal at ${step} says what rights are needed, and is no damage`, async (harness, sink) => {
      const bytes = randomBytes(3 * sink.partBytes)
      const object = listed('a.csv', bytes.length)
      void harness.trouble(step, 'refused')
      const thrown = await (async () => {
        const upload = await opened(sink, object, bytes.length)
        for (const part of upload.missing)
          await upload.send(part, bytes.subarray(part.offset, part.offset + part.bytes), live)
        await upload.complete(live)
      })().catch((error: unknown) => error)
      assert.ok(thrown instanceof StreamError)
      assert.equal(thrown.code, 'sink.access')
      assert.match(thrown.message, /the credentials need/)
      assert.equal(harness.read(object), undefined)
      await store(sink, object, bytes)
      assert.deepEqual(harness.read(object), bytes)
      nothingLeft(harness)
    })

    run(`an abort of the signal ends ${step} soon, with a throw`, async (harness, sink) => {
      const bytes = randomBytes(2 * sink.partBytes)
      const object = listed('a.csv', bytes.length)
      const stalled = harness.trouble(step, 'stall')
      const aborting = new AbortController()
      const go = async () => {
        const upload = await sink.open(object, bytes.length, aborting)
        assert.ok(upload)
        for (const part of upload.missing)
          await upload.send(part, bytes.subarray(part.offset, part.offset + part.bytes), aborting)
        await upload.complete(aborting)
      }
      const going = go()
      going.catch(() => undefined)
      await stalled
      aborting.abort(new Error('stop'))
      await assert.rejects(going, /stop/)
      assert.equal(harness.read(object), undefined)
    })
  }

  run('an abort that fails throws, leaves the upload in the log, and may be repeated', async (harness, sink) => {
    const bytes = randomBytes(3 * sink.partBytes)
    const upload = await opened(sink, listed('a.csv', bytes.length), bytes.length)
    await sendPart(upload, upload.missing[0] as ObjectPart, bytes)
    void harness.trouble('abort', 'error')
    await assert.rejects(upload.abort(live), StreamError)
    assert.equal(harness.logged(), 1)
    await upload.abort(live)
    nothingLeft(harness)
  })

  for (const sent of [0, 1, 3, 4])
    run(`a new instance goes on after ${sent} of 4 parts`, async (harness, sink) => {
      const bytes = randomBytes(4 * sink.partBytes - 5)
      const object = listed('a.csv', bytes.length)
      const begun = await opened(sink, object, bytes.length)
      for (const part of begun.missing.slice(0, sent)) await sendPart(begun, part, bytes)
      await sink[Symbol.asyncDispose]()
      const next = await harness.create()
      try {
        const upload = await opened(next, object, bytes.length)
        assert.equal(upload.partCount, 4)
        assert.deepEqual(
          upload.missing.map(({ number }) => number),
          [1, 2, 3, 4].slice(sent),
        )
        for (const part of upload.missing) await sendPart(upload, part, bytes)
        await upload.complete(live)
        assert.deepEqual(harness.read(object), bytes)
        nothingLeft(harness)
      } finally {
        await next[Symbol.asyncDispose]()
      }
    })

  run('an object that was completed and not written down is stored again, or found', async (harness, sink) => {
    const bytes = randomBytes(3 * sink.partBytes)
    const object = listed('a.csv', bytes.length)
    await store(sink, object, bytes)
    const next = await harness.create()
    try {
      await store(next, object, bytes)
      assert.deepEqual(harness.read(object), bytes)
      nothingLeft(harness)
    } finally {
      await next[Symbol.asyncDispose]()
    }
  })

  run('a newer version of the object begins anew, and removes what was begun of the older', async (harness, sink) => {
    const old = randomBytes(3 * sink.partBytes)
    const begun = await opened(sink, listed('a.csv', old.length), old.length)
    await sendPart(begun, begun.missing[0] as ObjectPart, old)
    const next = await harness.create()
    try {
      const bytes = randomBytes(2 * sink.partBytes)
      const object = listed('a.csv', bytes.length, { modifiedMs: Date.UTC(2026, 11, 1) })
      const upload = await store(next, object, bytes)
      assert.equal(upload?.missing.length, 2)
      assert.deepEqual(harness.read(object), bytes)
      nothingLeft(harness)
    } finally {
      await next[Symbol.asyncDispose]()
    }
  })

  run('an object without a part is never completed', async (harness, sink) => {
    const bytes = randomBytes(3 * sink.partBytes)
    const object = listed('a.csv', bytes.length)
    const upload = await opened(sink, object, bytes.length)
    for (const part of upload.missing.slice(1)) await sendPart(upload, part, bytes)
    await assert.rejects(upload.complete(live), StreamError)
    assert.equal(harness.read(object), undefined)
  })

  run('a part that is too short is never stored', async (harness, sink) => {
    const size = 2 * sink.partBytes
    const upload = await opened(sink, listed('a.csv', size), size)
    const part = upload.missing[0] as ObjectPart
    await assert.rejects(upload.send(part, randomBytes(part.bytes - 1), live), StreamError)
    await upload.abort(live)
    nothingLeft(harness)
  })

  run('check stores nothing', async (harness, sink) => {
    await sink.check(live)
    nothingLeft(harness)
  })

  run('the use of a dependency shows in its state', async (harness, sink) => {
    const [dependency] = sink.dependencies
    assert.ok(dependency)
    const bytes = randomBytes(3 * sink.partBytes)
    const object = listed('a.csv', bytes.length)
    void harness.trouble('open', 'error')
    await assert.rejects(sink.open(object, bytes.length, live))
    assert.match(`${dependency.state} ${dependency.error}`, /^failing .+/)
    await store(sink, object, bytes)
    assert.deepEqual([dependency.state, dependency.error], ['up', undefined])
  })

  run('a probe and examine find no problem with a live receiver, and store nothing', async (harness, sink) => {
    for (const dependency of sink.dependencies) {
      await dependency.probe(live)
      assert.deepEqual([dependency.state, dependency.error], ['unused', undefined])
    }
    const levels = (await examined(sink)).map(({ level }) => level)
    assert.ok(levels.includes('ok') && !levels.includes('problem'), levels.join())
    nothingLeft(harness)
  })

  test(`${name}: a dead receiver is told by probe, and by examine with what to do`, async () => {
    const harness = await start()
    await using sink = await harness.create()
    await harness.close()
    for (const dependency of sink.dependencies) await assert.rejects(dependency.probe(live), StreamError)
    const problems = (await examined(sink)).filter(({ level }) => level === 'problem')
    assert.ok(problems.length > 0 && problems.every(({ advice }) => advice))
  })

  run('disposing twice is harmless', async (_harness, sink) => {
    await sink[Symbol.asyncDispose]()
    await sink[Symbol.asyncDispose]()
    assert.ok(sink.partBytes > 0 && sink.readConcurrency > 0 && sink.uploadConcurrency > 0)
  })
}

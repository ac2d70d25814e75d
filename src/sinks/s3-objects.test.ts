import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  listed,
  objectSinkConformance,
  passingTroubles,
  sendPart,
  store,
  untilDone,
} from '../../test/conformance/object-sink.ts'
import {
  bedPartBytes,
  faultTimes,
  onUploadBed,
  startUploadBed,
  troubleFaults,
  type UploadBed,
  uploadConfig,
} from '../../test/servers/s3-upload-bed.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import type { ObjectPart, ObjectUpload } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { createS3Objects, partBytesFor } from './s3-objects.ts'

objectSinkConformance('s3', startUploadBed)
objectSinkConformance('s3, a server without checksums', async () => {
  const bed = await startUploadBed()
  bed.server.checksums = false
  return bed
})
objectSinkConformance('s3, checksum: when_required, verify: read_back', () =>
  startUploadBed({ checksum: 'when_required', verify: 'read_back' }),
)
objectSinkConformance('s3, if_exists: overwrite, versioned bucket', async () => {
  const bed = await startUploadBed({ verify: 'size' })
  bed.server.versioned = true
  return bed
})

const live = { signal: new AbortController().signal }

/** Begins the object in an instance of its own, sends some parts, and leaves it there. */
async function begin(bed: UploadBed, name: string, bytes: Buffer, parts: number): Promise<ObjectUpload> {
  await using sink = await bed.create()
  const upload = await sink.open(listed(name, bytes.length), bytes.length, live)
  assert.ok(upload)
  for (const part of upload.missing.slice(0, parts)) await sendPart(upload, part, bytes)
  return upload
}

async function missingOf(bed: UploadBed, name: string, size: number): Promise<number[]> {
  await using sink = await bed.create()
  const upload = await sink.open(listed(name, size), size, live)
  return upload?.missing.map(({ number }) => number) ?? []
}

test('parts are as large as configured until 10,000 of them do not suffice, then whole MiB', () => {
  const [mib, gib] = [2 ** 20, 2 ** 30]
  assert.equal(partBytesFor(0, 8 * mib), 8 * mib)
  assert.equal(partBytesFor(80_000 * mib, 8 * mib), 8 * mib)
  assert.equal(partBytesFor(80_000 * mib + 1, 8 * mib), 9 * mib)
  assert.equal(partBytesFor(50_000 * gib, 8 * mib), 5 * gib)
  assert.equal(partBytesFor(50_000 * gib + 1, 8 * mib), undefined)
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 50_000 * gib }),
      fc.integer({ min: 5 * mib, max: 5 * gib }),
      (size, configured) => {
        const partBytes = partBytesFor(size, configured) as number
        assert.ok(partBytes >= configured && partBytes <= 5 * gib && Math.ceil(size / partBytes) <= 10_000)
      },
    ),
  )
})

onUploadBed(
  'an object of 10,001 configured parts gets 10,000 larger ones at most, and no more memory than one of them',
  async (bed) => {
    await using sink = await bed.create({ part_size: 5 * 2 ** 20 })
    const size = 10_001 * 5 * 2 ** 20
    const upload = await sink.open(listed('huge.bin', size), size, live)
    assert.ok(upload)
    assert.equal(upload.partBytes, 6 * 2 ** 20)
    assert.equal(upload.partCount, Math.ceil(size / upload.partBytes))
    await upload.abort(live)
  },
)

onUploadBed('more than S3 takes is refused for good, before anything is sent', async (bed) => {
  await using sink = await bed.create()
  const size = 50_000 * 2 ** 30 + 1
  await assert.rejects(sink.open(listed('huge.bin', size), size, live), (error) => {
    assert.ok(error instanceof StreamError && error.kind === 'permanent')
    assert.match(error.message, /cannot store s3:\/\/data\/in\/huge\.bin: .* 10000 parts/)
    return true
  })
  assert.equal(bed.server.requests.length, 0)
})

onUploadBed('a small object costs one request, a large one its parts and two', async (bed) => {
  await using sink = await bed.create()
  await store(sink, listed('small', 10), randomBytes(10))
  await store(sink, listed('empty', 0), Buffer.alloc(0))
  await store(sink, listed('large', 2500), randomBytes(2500))
  const asked = bed.server.requests.map(
    ({ method, query }) => `${method} ${[...query.keys()].filter((name) => name !== 'x-id')}`,
  )
  const part = 'PUT partNumber,uploadId'
  assert.deepEqual(asked, ['PUT ', 'PUT ', 'POST uploads', part, part, part, 'POST uploadId'])
  assert.equal(bed.counted('s3_objects_stored_total'), 3)
})

onUploadBed('an upload that cannot be written down is aborted at once: nobody would know of it', async (bed) => {
  const { uploads } = bed.context
  const broken = Object.assign(Object.create(uploads), {
    find: () => undefined,
    list: () => [],
    begin: () => {
      throw new Error('disk full')
    },
  })
  await using sink = await createS3Objects(uploadConfig(bed.server), {
    ...bed.context,
    uploads: broken,
  })
  await assert.rejects(sink.open(listed('a', 3000), 3000, live), /disk full/)
  assert.equal(bed.unfinished(), 0)
})

onUploadBed('names with spaces, umlauts, plus signs and line feeds are kept as they are', async (bed) => {
  await using sink = await bed.create()
  for (const name of ['a b+c.csv', 'ü/日本 語.csv', 'line\nfeed', "quote'&<x>.csv", '100%.csv', 'tab\there\u0001']) {
    for (const size of [10, 1500]) {
      const bytes = randomBytes(size)
      await store(sink, listed(name, size), bytes)
      assert.deepEqual(bed.server.read(`in/${name}`), bytes)
    }
  }
})

onUploadBed('names that lead out of their folder are refused for good', async (bed) => {
  await using sink = await bed.create()
  await assert.rejects(sink.open(listed('../../etc/passwd', 5), 5, live), (error) => {
    return error instanceof StreamError && error.kind === 'permanent' && /\.\./.test(error.message)
  })
})

onUploadBed('parts that were stored and not written down are kept if the server tells their checksum', async (bed) => {
  const bytes = randomBytes(3500)
  await begin(bed, 'a', bytes, 3)
  const entry = bed.context.uploads.list()[0]
  assert.ok(entry)
  bed.context.uploads.remove(entry.uploadId)
  bed.context.uploads.begin(entry)
  assert.deepEqual(await missingOf(bed, 'a', 3500), [4])
  await using sink = await bed.create()
  await store(sink, listed('a', 3500), bytes)
  assert.deepEqual(bed.server.read('in/a'), bytes)
  assert.equal(bed.counted('s3_uploads_resumed_total'), 2)
})

onUploadBed('parts whose checksum nobody knows are sent again', async (bed) => {
  const bytes = randomBytes(3500)
  await begin(bed, 'a', bytes, 3)
  bed.server.listPartsChecksums = false
  assert.deepEqual(await missingOf(bed, 'a', 3500), [4])
  const entry = bed.context.uploads.list()[0]
  assert.ok(entry)
  bed.context.uploads.remove(entry.uploadId)
  bed.context.uploads.begin(entry)
  assert.deepEqual(await missingOf(bed, 'a', 3500), [1, 2, 3, 4])
  await using sink = await bed.create()
  await store(sink, listed('a', 3500), bytes)
  assert.deepEqual(bed.server.read('in/a'), bytes)
})

onUploadBed('parts that are not what the log says are sent again', async (bed) => {
  const bytes = randomBytes(3500)
  await begin(bed, 'a', bytes, 3)
  const entry = bed.context.uploads.list()[0]
  assert.ok(entry)
  bed.server.listPartsChecksums = false
  // Another ETag: somebody sent another part of that number. Another size: the server lost some of it.
  bed.context.uploads.addPart(entry.uploadId, { ...(entry.parts[0] as (typeof entry.parts)[0]), etag: '"other"' })
  assert.deepEqual(await missingOf(bed, 'a', 3500), [1, 4])
  await using sink = await bed.create()
  await store(sink, listed('a', 3500), bytes)
  assert.deepEqual(bed.server.read('in/a'), bytes)
})

onUploadBed('an upload that a lifecycle rule has removed begins anew', async (bed) => {
  const bytes = randomBytes(3500)
  await begin(bed, 'a', bytes, 2)
  const first = bed.server.uploads()[0]
  assert.ok(first)
  await fetch(`${bed.server.endpoint}/data/in/a?uploadId=${first.uploadId}`, { method: 'DELETE' })
  await using sink = await bed.create()
  await store(sink, listed('a', 3500), bytes)
  assert.deepEqual(bed.server.read('in/a'), bytes)
  assert.equal(bed.logged(), 0)
})

onUploadBed(
  'an upload that goes while parts are sent is given up with a passing error, and the next attempt begins anew',
  async (bed) => {
    await using sink = await bed.create()
    const bytes = randomBytes(3500)
    const upload = await sink.open(listed('a', 3500), 3500, live)
    assert.ok(upload)
    await sendPart(upload, upload.missing[0] as ObjectPart, bytes)
    await fetch(`${bed.server.endpoint}/data/in/a?uploadId=${bed.server.uploads()[0]?.uploadId}`, { method: 'DELETE' })
    const part = upload.missing[1] as ObjectPart
    const lost = await upload.send(part, bytes.subarray(1000, 2000), live).catch((error: unknown) => error)
    assert.ok(lost instanceof StreamError && lost.kind === 'transient' && lost.data.isLost === true)
    await assert.rejects(upload.send(part, bytes.subarray(1000, 2000), live), lost)
    await upload.abort(live)
    await store(sink, listed('a', 3500), bytes)
    assert.deepEqual(bed.server.read('in/a'), bytes)
    assert.equal(bed.logged(), 0)
  },
)

onUploadBed('another part size begins anew and aborts what was begun', async (bed) => {
  const bytes = randomBytes(3500)
  await begin(bed, 'a', bytes, 2)
  await using sink = await bed.create({ part_size: 1700 })
  const upload = await store(sink, listed('a', 3500), bytes)
  assert.equal(upload?.missing.length, 3)
  assert.deepEqual(bed.server.read('in/a'), bytes)
  assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
})

onUploadBed('an object that a killed run had completed is found, not sent again', async (bed) => {
  const bytes = randomBytes(3500)
  const begun = await begin(bed, 'a', bytes, 4)
  const entry = bed.context.uploads.list()[0]
  assert.ok(entry)
  await untilDone(async () => {
    await using sink = await bed.create()
    const upload = await sink.open(listed('a', 3500), 3500, live)
    await upload?.complete(live)
  })
  // The run was killed before the ledger had it.
  bed.context.uploads.begin(entry)
  for (const part of entry.parts) bed.context.uploads.addPart(entry.uploadId, part)
  await using sink = await bed.create()
  const upload = await sink.open(listed('a', 3500), 3500, live)
  assert.deepEqual([begun.partCount, upload?.missing], [4, []])
  await upload?.complete(live)
  assert.deepEqual([bed.server.counters.uploadPart, bed.logged()], [4, 0])
})

onUploadBed('a bucket that is missing is named, with what to check', async (bed) => {
  bed.server.buckets = new Set(['other'])
  await using sink = await bed.create()
  for (const size of [10, 3000]) {
    const thrown = await store(sink, listed('a', size), randomBytes(size)).catch((error: unknown) => error)
    assert.ok(thrown instanceof StreamError)
    assert.equal(thrown.code, 'sink.access')
    assert.match(thrown.message, /s3:\/\/data\/in\/a: 404 NoSuchBucket: .*check `bucket`/)
  }
  await assert.rejects(sink.check(live), /s3:\/\/data: .*check `bucket`/)
})

onUploadBed('two objects with one key at the same time are told, and one of them is whole', async (bed) => {
  await using sink = await bed.create({ key: 'in/same' })
  const [first, second] = [randomBytes(2500), randomBytes(2600)]
  const one = await sink.open(listed('x/a', 2500), 2500, live)
  const other = await sink.open(listed('y/a', 2600), 2600, live)
  assert.ok(one && other)
  for (const part of one.missing) await sendPart(one, part, first)
  for (const part of other.missing) await sendPart(other, part, second)
  await one.complete(live)
  await other.complete(live)
  assert.deepEqual(bed.server.read('in/same'), second)
  assert.match(bed.lines.join('\n'), /two objects have the same key/)
  assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
})

onUploadBed(
  'an old upload that cannot be aborted is told, does not stop the object, and stays in the log',
  async (bed) => {
    await begin(bed, 'a', randomBytes(3500), 1)
    bed.server.faults.onAbort = faultTimes(s3Errors.accessDenied)
    await using sink = await bed.create()
    const changed = listed('a', 2000, { modifiedMs: Date.UTC(2026, 11, 1) })
    await store(sink, changed, randomBytes(2000))
    assert.match(bed.lines.join('\n'), /cannot abort an upload that nobody goes on with/)
    assert.equal(bed.logged(), 1)
    await store(sink, changed, randomBytes(2000))
    assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
  },
)

onUploadBed(
  'an upload whose parts are all known, and which is gone without having become an object, begins anew',
  async (bed) => {
    const bytes = randomBytes(3500)
    await begin(bed, 'a', bytes, 4)
    await fetch(`${bed.server.endpoint}/data/in/a?uploadId=${bed.server.uploads()[0]?.uploadId}`, { method: 'DELETE' })
    bed.server.put('in/a', randomBytes(3500))
    await using sink = await bed.create()
    const upload = await store(sink, listed('a', 3500), bytes)
    assert.equal(upload?.missing.length, 4)
    assert.deepEqual(bed.server.read('in/a'), bytes)
    assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
  },
)

test('whichever requests fail in whichever way, what is visible is whole', async () => {
  const fault = fc.option(fc.constantFrom(...passingTroubles), { nil: undefined, freq: 1 })
  const size = fc.integer({ min: 0, max: 4 * bedPartBytes })
  await fc.assert(
    fc.asyncProperty(
      fc.array(fault, { maxLength: 14 }),
      fc.array(size, { minLength: 1, maxLength: 4 }),
      async (plan, sizes) => {
        const bed = await startUploadBed()
        const next = () => {
          const trouble = plan.shift()
          return trouble && troubleFaults[trouble]
        }
        const { faults } = bed.server
        Object.assign(faults, { onPut: next, onCreateUpload: next, onUploadPart: next, onComplete: next, onHead: next })
        await using sink = await bed.create()
        const objects = sizes.map((bytes, i) => ({ object: listed(`${i}`, bytes), bytes: randomBytes(bytes) }))
        await Promise.all(objects.map(({ object, bytes }) => store(sink, object, bytes)))
        for (const { object, bytes } of objects) assert.deepEqual(bed.read(object), bytes)
        assert.equal(bed.logged(), 0)
        await bed.close()
      },
    ),
    { numRuns: 25 },
  )
})

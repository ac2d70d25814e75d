/** Checksums, what a lost or a lying answer comes to, and conditions. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { listed, sendPart, store } from '../../test/conformance/object-sink.ts'
import type { S3Fault } from '../../test/servers/s3-answer.ts'
import { faultTimes, onUploadBed, type UploadBed } from '../../test/servers/s3-upload-bed.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import type { ObjectUpload } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { crc64Of, crc64ToBase64 } from './crc64.ts'
import type { S3ObjectsConfig } from './s3-config.ts'

const live = { signal: new AbortController().signal }
const sizes = { 'one request': 700, parts: 3500 } as const
const entries = Object.entries(sizes)

/** Everything but `complete`. */
async function sent(
  bed: UploadBed,
  bytes: Buffer,
  o: Partial<S3ObjectsConfig> = {},
  name = 'a',
): Promise<ObjectUpload> {
  const sink = await bed.create(o)
  const upload = await sink.open(listed(name, bytes.length), bytes.length, live)
  assert.ok(upload)
  for (const part of upload.missing) await sendPart(upload, part, bytes)
  return upload
}

async function thrownBy(act: Promise<unknown>): Promise<StreamError> {
  const error = await act.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.ok(error instanceof StreamError, `${error}`)
  return error
}

const headersOf = (bed: UploadBed, method: string, parameter: string) =>
  bed.server.requests.filter((one) => one.method === method && one.query.has(parameter)).map(({ headers }) => headers)

onUploadBed(
  'S3 gets the checksum of each part, that of the whole and its size, and keeps the checksum of the whole',
  async (bed) => {
    const bytes = randomBytes(2500)
    await (await sent(bed, bytes)).complete(live)
    const whole = crc64ToBase64(await crc64Of(bytes))
    const [created] = headersOf(bed, 'POST', 'uploads')
    assert.equal(created?.['x-amz-checksum-algorithm'], 'CRC64NVME')
    assert.equal(created?.['x-amz-checksum-type'], 'FULL_OBJECT')
    const parts = [bytes.subarray(0, 1000), bytes.subarray(1000, 2000), bytes.subarray(2000)]
    assert.deepEqual(
      headersOf(bed, 'PUT', 'partNumber').map((headers) => headers['x-amz-checksum-crc64nvme']),
      await Promise.all(parts.map(async (part) => crc64ToBase64(await crc64Of(part)))),
    )
    const [completed] = headersOf(bed, 'POST', 'uploadId')
    assert.equal(completed?.['x-amz-checksum-crc64nvme'], whole)
    assert.equal(completed?.['x-amz-mp-object-size'], '2500')
    assert.deepEqual(bed.server.stat('in/a')?.checksum, { algorithm: 'CRC64NVME', type: 'FULL_OBJECT', value: whole })
  },
)

onUploadBed(
  'bodies are signed until the server has shown that it compares the checksum; MD5 is never needed then',
  async (bed) => {
    await (await sent(bed, randomBytes(3500))).complete(live)
    const headers = headersOf(bed, 'PUT', 'partNumber')
    const [first, ...others] = headers.map((one) => one['x-amz-content-sha256'])
    assert.match(String(first), /^[0-9a-f]{64}$/)
    assert.deepEqual(others, ['UNSIGNED-PAYLOAD', 'UNSIGNED-PAYLOAD', 'UNSIGNED-PAYLOAD'])
    assert.ok(headers.every((one) => one['content-md5'] === undefined))
    assert.match(String(headers[1]?.authorization), /SignedHeaders=[^,]*x-amz-checksum-crc64nvme/)
  },
)

onUploadBed(
  'a server that does not know CRC64NVME gets MD5 besides, and sizes are compared, which is said once',
  async (bed) => {
    bed.server.checksums = false
    await using sink = await bed.create()
    for (const name of ['a', 'b', 'c']) await store(sink, listed(name, 2500), randomBytes(2500))
    const [, ...others] = headersOf(bed, 'PUT', 'partNumber')
    assert.equal(others.length, 8)
    for (const headers of others) {
      assert.match(String(headers['content-md5']), /==$/)
      assert.match(String(headers['x-amz-content-sha256']), /^[0-9a-f]{64}$/)
    }
    for (const text of ['does not compare CRC64NVME', 'keeps no CRC64NVME of whole objects'])
      assert.equal(bed.lines.filter((line) => line.includes(text)).length, 1, text)
  },
)

onUploadBed('checksum: when_required sends MD5 and no header of the newer checksums', async (bed) => {
  const bytes = randomBytes(2500)
  await (await sent(bed, bytes, { checksum: 'when_required' })).complete(live)
  await (await sent(bed, bytes.subarray(0, 10), { checksum: 'when_required' }, 'b')).complete(live)
  for (const { headers, query } of bed.server.requests) {
    const names = Object.keys(headers).filter((name) => /checksum|trailer|mp-object-size/.test(name))
    assert.deepEqual(names, [], [...query.keys()].join())
  }
  const md5 = createHash('md5').update(bytes.subarray(0, 1000)).digest('base64')
  assert.equal(headersOf(bed, 'PUT', 'partNumber')[0]?.['content-md5'], md5)
})

for (const checksum of ['crc64nvme', 'when_required'] as const)
  onUploadBed(`bytes that change on their way are refused by the server, and sent again (${checksum})`, async (bed) => {
    await using sink = await bed.create({ checksum })
    const bytes = randomBytes(2500)
    const upload = await sink.open(listed('a', 2500), 2500, live)
    const [part] = upload?.missing ?? []
    assert.ok(upload && part)
    bed.server.faults.onUploadPart = faultTimes(s3Errors.badDigest)
    const error = await thrownBy(upload.send(part, bytes.subarray(0, 1000), live))
    assert.deepEqual([error.kind, error.data.name], ['transient', 'BadDigest'])
    for (const one of upload.missing) await sendPart(upload, one, bytes)
    await upload.complete(live)
    assert.deepEqual(bed.server.read('in/a'), bytes)
  })

onUploadBed(
  'a part that the server has damaged never becomes an object: the upload is given up, and nothing is left',
  async (bed) => {
    bed.server.faults.onUploadPart = (name) => (name === 'in/a#2' ? { corrupt: 'bytes_and_sums' } : undefined)
    const upload = await sent(bed, randomBytes(3500))
    const error = await thrownBy(upload.complete(live))
    assert.deepEqual([error.kind, error.data.isLost], ['transient', true])
    assert.match(error.message, /cannot complete s3:\/\/data\/in\/a: 400 InvalidPart: .*begins anew/)
    assert.equal(await thrownBy(upload.complete(live)), error)
    await upload.abort(live)
    assert.deepEqual([bed.server.keys(), bed.unfinished(), bed.logged()], [[], 0, 0])
  },
)

for (const fault of [s3Errors.badDigest, s3Errors.conditionalConflict, s3Errors.noSuchUpload])
  onUploadBed(
    `${fault.code} at the end gives the upload up, and the next attempt at the object is whole`,
    async (bed) => {
      bed.server.faults.onComplete = faultTimes(fault)
      const bytes = randomBytes(3500)
      const upload = await sent(bed, bytes)
      const error = await thrownBy(upload.complete(live))
      assert.deepEqual([error.kind, error.data.isLost], ['transient', true])
      await upload.abort(live)
      assert.deepEqual([bed.server.keys(), bed.unfinished(), bed.logged()], [[], 0, 0])
      await (await sent(bed, bytes)).complete(live)
      assert.deepEqual(bed.server.read('in/a'), bytes)
    },
  )

/** How S3 stores something else, what is verified, and which requests show it: an answer may tell what was sent, not what is stored. */
const lies = [
  ['bytes_and_sums', 'checksum', ['parts']],
  ['size', 'checksum', ['parts']],
  ['bytes_and_sums', 'size', ['parts', 'one request']],
  ['size', 'size', ['parts', 'one request']],
  ['bytes', 'read_back', ['parts', 'one request']],
  ['bytes_and_sums', 'read_back', ['parts', 'one request']],
  ['size', 'read_back', ['parts', 'one request']],
] as const
for (const [corrupt, verify, ways] of lies)
  for (const how of ways)
    onUploadBed(
      `a server that stores other ${corrupt} in ${how} is found out by verify: ${verify}, and the object is removed`,
      async (bed) => {
        Object.assign(bed.server.faults, { onPut: faultTimes({ corrupt }), onComplete: faultTimes({ corrupt }) })
        const error = await thrownBy((await sent(bed, randomBytes(sizes[how]), { verify })).complete(live))
        assert.equal(error.kind, 'permanent')
        assert.match(error.message, /s3:\/\/data\/in\/a: .* \(the wrong object was removed; look after the server/)
        assert.deepEqual([bed.server.keys(), bed.unfinished(), bed.logged()], [[], 0, 0])
        assert.ok(bed.lines.some((line) => line.startsWith('error')))
        assert.equal(bed.counted('s3_objects_wrong_total'), 1)
      },
    )

onUploadBed(
  'in a bucket with versions the wrong version is removed, and the one before is there again',
  async (bed) => {
    bed.server.versioned = true
    bed.server.put('in/a', 'before')
    bed.server.faults.onComplete = faultTimes({ corrupt: 'bytes_and_sums' })
    await thrownBy((await sent(bed, randomBytes(3500))).complete(live))
    assert.equal(bed.server.read('in/a')?.toString(), 'before')
  },
)

onUploadBed('a wrong object that cannot be removed is told as an error that names it', async (bed) => {
  bed.server.faults.onComplete = faultTimes({ corrupt: 'size' })
  bed.server.faults.onDelete = () => s3Errors.accessDenied
  const error = await thrownBy((await sent(bed, randomBytes(3500))).complete(live))
  assert.match(error.message, /\(remove the wrong object/)
  assert.ok(bed.lines.some((line) => line.startsWith('error a wrong object cannot be removed')))
})

const silence: S3Fault = { after: { stallAfter: -1 } }
/** What may become of a request that stores an object, when the work was done and the answer does not say so. */
const untold: Readonly<Record<string, S3Fault>> = {
  'a 500': { after: s3Errors.internalError },
  'a 503': { after: s3Errors.slowDown },
  'a cut connection': { after: { cutAfter: -1 } },
  'a cut in the middle of the answer': { after: { cutAfter: 20 } },
  'no answer at all': silence,
}
for (const [how, size] of entries)
  for (const [what, fault] of Object.entries(untold))
    for (const if_exists of ['overwrite', 'fail'] as const)
      onUploadBed(
        `${what} after the work was done is resolved by a look (${how}, if_exists: ${if_exists})`,
        async (bed) => {
          Object.assign(bed.server.faults, { onPut: faultTimes(fault), onComplete: faultTimes(fault) })
          await using sink = await bed.create({ if_exists, ...(fault === silence ? { timeout: 700 } : {}) })
          const bytes = randomBytes(size)
          await store(sink, listed('a', size), bytes)
          assert.deepEqual(bed.server.read('in/a'), bytes)
          const { put, complete } = bed.server.counters
          assert.deepEqual([put, complete], how === 'parts' ? [0, 1] : [1, 0])
          assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
        },
      )

onUploadBed('an error in a 200 is an error: the seed took it for success', async (bed) => {
  bed.server.faults.onComplete = faultTimes({ okWithError: s3Errors.internalError })
  const bytes = randomBytes(3500)
  const upload = await sent(bed, bytes)
  const error = await thrownBy(upload.complete(live))
  assert.deepEqual([error.code, bed.server.keys()], ['sink.unavailable', []])
  await upload.complete(live)
  assert.deepEqual(bed.server.read('in/a'), bytes)
})

onUploadBed('what another program has stored there is not taken for ours when an answer is lost', async (bed) => {
  const bytes = randomBytes(3500)
  bed.server.put('in/a', randomBytes(3500))
  bed.server.faults.onComplete = faultTimes(s3Errors.internalError)
  const upload = await sent(bed, bytes)
  assert.equal((await thrownBy(upload.complete(live))).kind, 'transient')
  await upload.complete(live)
  assert.deepEqual(bed.server.read('in/a'), bytes)
})

onUploadBed('who may write and not read stores objects all the same', async (bed) => {
  bed.server.faults.onHead = () => s3Errors.accessDenied
  bed.server.faults.onPut = faultTimes(s3Errors.slowDown)
  await using sink = await bed.create()
  for (const size of Object.values(sizes)) {
    const bytes = randomBytes(size)
    await store(sink, listed(`${size}`, size), bytes)
    assert.deepEqual(bed.server.read(`in/${size}`), bytes)
  }
})

for (const [how, size] of entries) {
  const taken = (bed: UploadBed) => bed.server.put('in/a', 'theirs')

  onUploadBed(`if_exists: skip leaves what is there alone, before anything is sent (${how})`, async (bed) => {
    taken(bed)
    await using sink = await bed.create({ if_exists: 'skip' })
    assert.equal(await store(sink, listed('a', size), randomBytes(size)), undefined)
    assert.deepEqual([bed.server.read('in/a')?.toString(), bed.server.counters.head], ['theirs', 1])
  })

  onUploadBed(`if_exists: skip leaves alone what came meanwhile, and nothing is left over (${how})`, async (bed) => {
    const upload = await sent(bed, randomBytes(size), { if_exists: 'skip' })
    taken(bed)
    await upload.complete(live)
    assert.equal(bed.server.read('in/a')?.toString(), 'theirs')
    assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
    assert.ok(bed.lines.some((line) => line.includes('left alone')))
  })

  onUploadBed(`if_exists: fail refuses for good what is there, and what came meanwhile (${how})`, async (bed) => {
    const upload = await sent(bed, randomBytes(size), { if_exists: 'fail' })
    taken(bed)
    assert.equal((await thrownBy(upload.complete(live))).code, 'sink.rejected')
    assert.deepEqual([bed.unfinished(), bed.logged()], [0, 0])
    await using sink = await bed.create({ if_exists: 'fail' })
    const error = await thrownBy(sink.open(listed('a', size), size, live))
    assert.equal(error.code, 'sink.rejected')
    assert.match(error.message, /cannot write s3:\/\/data\/in\/a: an object is there already/)
    assert.equal(bed.server.read('in/a')?.toString(), 'theirs')
  })

  onUploadBed(`if_exists: fail takes its own object for what it is after a crash (${how})`, async (bed) => {
    await using sink = await bed.create({ if_exists: 'fail' })
    const bytes = randomBytes(size)
    assert.ok(await store(sink, listed('a', size), bytes))
    assert.equal(await store(sink, listed('a', size), bytes), undefined)
    assert.deepEqual(bed.server.read('in/a'), bytes)
  })

  onUploadBed(`if_exists: overwrite sets no condition (${how})`, async (bed) => {
    taken(bed)
    const bytes = randomBytes(size)
    await (await sent(bed, bytes)).complete(live)
    assert.deepEqual(bed.server.read('in/a'), bytes)
    assert.ok(bed.server.requests.every(({ headers }) => headers['if-none-match'] === undefined))
  })
}

onUploadBed('a server that stops reading in the middle of a part is left after the time-out', async (bed) => {
  bed.server.faults.onUploadPart = faultTimes({ stallRequestAt: 500 })
  await using sink = await bed.create({ timeout: 700 })
  const bytes = randomBytes(2500)
  await store(sink, listed('a', 2500), bytes)
  assert.deepEqual(bed.server.read('in/a'), bytes)
})

onUploadBed(
  'large bodies do not ask for leave first: for each that does, the SDK opens a connection of its own',
  async (bed) => {
    await using sink = await bed.create({ part_size: 3 * 2 ** 20 })
    const bytes = randomBytes(5 * 2 ** 20)
    await store(sink, listed('a', bytes.length), bytes)
    assert.deepEqual(bed.server.read('in/a'), bytes)
    assert.ok(bed.server.requests.every(({ headers }) => headers.expect === undefined))
  },
)

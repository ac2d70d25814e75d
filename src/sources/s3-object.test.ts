import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { S3Client } from '@aws-sdk/client-s3'
import { bytesOf } from '../../test/conformance/source-harness.ts'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import type { S3Fault } from '../../test/servers/s3-answer.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import { createS3Client } from '../aws/connection.ts'
import { StreamError } from '../core/errors.ts'
import { confirmObject, etagOf, fillFromObject, objectId, readObject, type S3Object } from './s3-object.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const live = { signal: new AbortController().signal }
const body = randomBytes(3 * 2 ** 20 + 17)

interface Place {
  readonly server: S3Server
  readonly client: S3Client
  /** Puts it and gives it as listing would. */
  put(content: Buffer, o?: { readonly sized?: boolean; readonly pinned?: boolean }): Promise<S3Object>
}

async function within(act: (place: Place) => Promise<void>): Promise<void> {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint }, 8)
  try {
    await act({
      server,
      client,
      put: async (content, { sized = true, pinned = true } = {}) => {
        server.put('dir/k', content)
        const etag = await fetch(`${server.endpoint}/b/dir/k`, { method: 'HEAD' }).then((r) => r.headers.get('etag'))
        server.requests.length = 0
        server.counters.get = 0
        return {
          id: objectId('b', 'dir/k', etag ?? ''),
          bucket: 'b',
          key: 'dir/k',
          etag: pinned && etag !== null ? etag : undefined,
          size: sized ? content.length : undefined,
          timeMs: 0,
          lastModifiedMs: 0,
        }
      },
    })
  } finally {
    client.destroy()
    await server.close()
  }
}

/** Reads the object while each GET gets the next fault, the last one for ever. */
function readWith(faults: ReadonlyArray<S3Fault | undefined>, o: { content?: Buffer; offset?: number } = {}) {
  return within(async ({ server, client, put }) => {
    const { content = body, offset = 0 } = o
    for (const sized of [true, false]) {
      const object = await put(content, { sized })
      server.faults.onGet = (_, n) => faults[Math.min(n, faults.length) - 1]
      const read = await bytesOf(readObject(client, object, offset, live))
      assert.ok(read.equals(content.subarray(offset)), `${read.length} of ${content.length - offset} bytes`)
    }
  })
}

const failsWith = (code: string, message?: RegExp) => (error: unknown) => {
  assert.ok(error instanceof StreamError, String(error))
  assert.equal(error.code, code, error.message)
  if (message) assert.match(error.message, message)
  return true
}

test('an object is read whole with one request, pinned to its version, in pieces of a quarter of a megabyte', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    const pieces: Buffer[] = []
    for await (const piece of readObject(client, object, 0, live)) pieces.push(piece)
    assert.ok(Buffer.concat(pieces).equals(body))
    assert.ok(pieces.length <= 16, `${pieces.length} pieces`)
    assert.equal(server.counters.get, 1)
    server.put('dir/k', 'overwritten')
    await assert.rejects(bytesOf(readObject(client, object, 0, live)), failsWith('source.replaced', /overwritten/))
    server.remove('dir/k')
    await assert.rejects(
      bytesOf(readObject(client, object, 0, live)),
      failsWith('source.vanished', /not there any more/),
    )
  }))

test('an object that is replaced in the middle of a read is not continued with the bytes of the other', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    server.faults.onGet = (_, n) => {
      if (n > 1) server.put('dir/k', randomBytes(body.length))
      return n === 1 ? { cutAfter: 2 ** 20 } : undefined
    }
    await assert.rejects(bytesOf(readObject(client, object, 0, live)), failsWith('source.replaced'))
  }))

test('empty objects, folder markers and objects read to their end cost no request', () =>
  within(async ({ server, client, put }) => {
    const empty = await put(Buffer.alloc(0))
    assert.equal((await bytesOf(readObject(client, empty, 0, live))).length, 0)
    const whole = await put(body)
    assert.equal((await bytesOf(readObject(client, whole, body.length, live))).length, 0)
    assert.equal(server.counters.get, 0)
  }))

test('where the size is not listed, an empty object and the end of an object are no errors', () =>
  within(async ({ client, put }) => {
    const empty = await put(Buffer.alloc(0), { sized: false })
    assert.equal((await bytesOf(readObject(client, empty, 0, live))).length, 0)
    const whole = await put(body, { sized: false })
    assert.equal((await bytesOf(readObject(client, whole, body.length, live))).length, 0)
    assert.equal((await bytesOf(readObject(client, whole, body.length - 1, live))).length, 1)
  }))

test('A16.19: a connection cut mid-body is resumed by Range at that very byte', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    server.faults.onGet = (_, n) => (n === 1 ? { cutAfter: 1_234_567 } : undefined)
    assert.ok((await bytesOf(readObject(client, object, 0, live))).equals(body))
    assert.deepEqual(
      server.requests.map(({ range }) => range),
      [undefined, 'bytes=1234567-'],
    )
  }))

test('A16.19: a server that cuts every connection after 100 KB is read to the end', () =>
  readWith([{ cutAfter: 100_000 }], { content: body.subarray(0, 650_000) }))

test('cuts before the answer, in its first byte and in its last are survived', () =>
  readWith([{ cutAfter: -1 }, { cutAfter: 0 }, { cutAfter: 1 }, { cutAfter: body.length - 2 }, undefined]))

test('a server that ignores Range gets its known bytes passed over', () =>
  readWith([{ cutAfter: 2_000_000 }, { ignoreRange: true }]))

test('a start in the middle is served by a server that ignores Range', () =>
  readWith([{ ignoreRange: true }], { offset: 1_500_000 }))

test('503 SlowDown and 500 are waited out, more often than the SDK tries', () =>
  readWith([s3Errors.slowDown, s3Errors.internalError, s3Errors.slowDown, s3Errors.slowDown, undefined], {
    content: body.subarray(0, 1000),
  }))

test('a body that ends early without an error is noticed by the size that was listed', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    server.faults.onGet = (_, n) => (n === 1 ? { shortAfter: 700_001 } : undefined)
    assert.ok((await bytesOf(readObject(client, object, 0, live))).equals(body))
    assert.deepEqual(server.requests.at(-1)?.range, 'bytes=700001-')
    server.faults.onGet = () => ({ shortAfter: 0 })
    await assert.rejects(
      bytesOf(readObject(client, object, 5, live)),
      failsWith('source.short_body', /after 5 of \d+ bytes/),
    )
  }))

test('A16.19: a body that stalls is given up and resumed, and a slow reader is no stall', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    server.faults.onGet = (_, n) => (n <= 2 ? { stallAfter: 1_100_000 } : undefined)
    assert.ok((await bytesOf(readObject(client, object, 0, { ...live, stallMs: 100 }))).equals(body))
    assert.equal(server.counters.get, 3)
    server.faults.onGet = () => undefined
    server.counters.get = 0
    const pieces: Buffer[] = []
    for await (const piece of readObject(client, object, 0, { ...live, stallMs: 50 })) {
      pieces.push(piece)
      await new Promise((resolve) => setTimeout(resolve, 150))
    }
    assert.ok(Buffer.concat(pieces).equals(body))
    assert.equal(server.counters.get, 1)
  }))

test('a server that stays broken is transient, so that the object is kept', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body.subarray(0, 100))
    server.faults.onGet = () => ({ cutAfter: 0 })
    await assert.rejects(bytesOf(readObject(client, object, 0, live)), (error) => {
      assert.ok(error instanceof StreamError && error.kind === 'transient', String(error))
      return true
    })
  }))

test('what the operator must change is said at once: no access, archived', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    server.faults.onGet = () => s3Errors.accessDenied
    await assert.rejects(bytesOf(readObject(client, object, 0, live)), failsWith('source.access', /s3:GetObject/))
    assert.equal(server.counters.get, 1)
    server.put('cold', body, { storageClass: 'GLACIER' })
    server.faults.onGet = undefined
    const cold = { ...object, key: 'cold', etag: undefined }
    await assert.rejects(bytesOf(readObject(client, cold, 0, live)), failsWith('source.archived', /restore it/))
  }))

test('a hard stop ends a read that waits, retries or is half-way', () =>
  within(async ({ server, client, put }) => {
    const object = await put(body)
    for (const fault of [{ stallAfter: -1 }, { stallAfter: 100 }, s3Errors.slowDown] as const) {
      server.faults.onGet = () => fault
      const hard = new AbortController()
      setTimeout(() => hard.abort(new Error('stop')), 30)
      await assert.rejects(bytesOf(readObject(client, object, 0, { signal: hard.signal })))
    }
  }))

test('any run of cuts, stalls and errors gives the same bytes', () =>
  within(async ({ server, client, put }) => {
    const content = body.subarray(0, 300_000)
    const object = await put(content)
    let seed = 7
    const random = (n: number) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      return Math.floor((seed / 2 ** 32) * n)
    }
    server.faults.onGet = () => {
      const faults: S3Fault[] = [
        { cutAfter: 1 + random(90_000) },
        { shortAfter: 1 + random(90_000) },
        { ignoreRange: true },
        { cutAfter: 40_000 },
      ]
      return faults[random(faults.length)]
    }
    for (let round = 0; round < 8; round += 1) {
      const offset = random(content.length)
      const read = await bytesOf(readObject(client, object, offset, live))
      assert.ok(read.equals(content.subarray(offset)), `round ${round} from ${offset}`)
    }
  }))

test('an id holds the version, and the version can be taken from the id again', () => {
  assert.equal(objectId('b', 'a/k@1', '"0cc175b9-2"'), 'b/a/k@1@0cc175b9-2')
  assert.equal(etagOf('b/a/k@1@0cc175b9-2'), '"0cc175b9-2"')
  assert.equal(etagOf(objectId('b', 'k', '~10-1760000000000')), undefined)
  assert.equal(etagOf('b/k@'), undefined)
})

test('a part of an object of another size than was listed is refused, both ways; an empty one is asked for', () =>
  within(async ({ client, put }) => {
    const object = await put(Buffer.from('0123456789'))
    const refused = (error: unknown) => error instanceof StreamError && error.code === 'source.short_body'
    for (const size of [8, 12]) {
      const into = Buffer.alloc(size - 4)
      await assert.rejects(fillFromObject(client, { ...object, size }, 4, into, live), refused)
      await assert.rejects(fillFromObject(client, { ...object, size }, 0, Buffer.alloc(size), live), refused)
    }
    const into = Buffer.alloc(6)
    await fillFromObject(client, object, 4, into, live)
    assert.equal(into.toString(), '456789')
    assert.equal(await confirmObject(client, { ...object, size: 0 }, live), 10)
  }))

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startS3 } from '../../test/servers/s3.ts'
import { createS3Client } from '../aws/connection.ts'
import type { ReplayRange } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { templateLevels } from './partition.ts'
import { bucketAndPrefix, type ReplayedBucket, replayedObjects } from './s3-replay.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const live = { signal: new AbortController().signal }
const hourMs = 3_600_000
const day = (n: number) => Date.UTC(2025, 9, n)

/** An object an hour, named by its time, in a folder for each day. */
const keyAt = (ms: number) => {
  const date = new Date(ms)
  return `web/year=${date.getUTCFullYear()}/month=${date.getUTCMonth() + 1}/day=${date.getUTCDate()}/${ms / 1000}_1.gz`
}
const timeFromKey = (key: string) => {
  const match = /(\d{10})_1\.gz$/.exec(key)
  return match ? Number(match[1]) * 1000 : undefined
}

async function withHours(
  days: number,
  act: (
    list: (range: Partial<ReplayRange>, bucket?: Partial<ReplayedBucket>) => Promise<string[]>,
    folders: () => string[],
  ) => Promise<void>,
): Promise<void> {
  const s3 = await startS3()
  const client = createS3Client({ endpoint: s3.endpoint, region: 'us-east-1' }, 8)
  try {
    for (let ms = day(1); ms < day(1 + days); ms += hourMs) s3.put(keyAt(ms), 'x')
    await act(
      async (range, bucket = {}) => {
        s3.requests.length = 0
        const place = { bucket: 'b', prefix: 'web/', partition: 'auto', timeFromKey, ...bucket } as const
        const wanted = { fromMs: 0, toMs: Number.MAX_SAFE_INTEGER, prefix: '', ...range }
        const keys: string[] = []
        for await (const { key } of replayedObjects(client, place, wanted, live)) keys.push(key)
        return keys.toSorted()
      },
      () => s3.requests.flatMap(({ query }) => query.get('prefix') ?? []),
    )
  } finally {
    client.destroy()
    await s3.close()
  }
}

const hours = (from: number, to: number) =>
  Array.from({ length: (to - from) / hourMs }, (_, i) => keyAt(from + i * hourMs)).toSorted()

test('a range is what is named in it, from its beginning on and before its end', () =>
  withHours(3, async (list) => {
    assert.deepEqual(await list({ fromMs: day(2), toMs: day(3) }), hours(day(2), day(3)))
    assert.deepEqual(await list({ fromMs: day(2) + 1 }), hours(day(2) + hourMs, day(4)))
    assert.deepEqual(await list({ fromMs: day(9) }), [])
  }))

test('folders of other days are not listed, but for those within a day and an hour of the range', () =>
  withHours(20, async (list, folders) => {
    for (const partition of ['auto', templateLevels('year={yyyy}/month={M}/day={d}/')] as const) {
      assert.equal((await list({ fromMs: day(10), toMs: day(11) }, { partition })).length, 24)
      const days = folders().flatMap((prefix) => /day=(\d+)\/$/.exec(prefix)?.[1] ?? [])
      assert.deepEqual(
        days.map(Number).toSorted((a, b) => a - b),
        [8, 9, 10, 11, 12],
      )
    }
  }))

test('a prefix, in the middle of a name or a whole address, leaves the rest unlisted', () =>
  withHours(20, async (list, folders) => {
    const expected = [...hours(day(10), day(20)), ...hours(day(1), day(2))].toSorted()
    for (const start of ['web/year=2025/month=10/day=1', 's3://b/web/year=2025/month=10/day=1']) {
      assert.deepEqual(await list({ prefix: start }), expected)
      assert.ok(folders().every((prefix) => !prefix.includes('day=2')))
    }
    const [one = ''] = expected
    for (const partition of ['auto', 'none'] as const)
      assert.deepEqual(await list({ prefix: one }, { partition }), [one])
    assert.deepEqual(folders(), [one])
    assert.equal((await list({ prefix: 'we' })).length, 480)
  }))

test('a prefix of which nothing is read here is refused', () =>
  withHours(1, async (list) => {
    await assert.rejects(list({ prefix: 'elsewhere/' }), (error) => {
      assert.ok(error instanceof StreamError)
      assert.match(error.message, /this pipeline reads s3:\/\/b\/web\//)
      return true
    })
  }))

test('an address names a bucket and the beginning of its keys', () => {
  assert.deepEqual(bucketAndPrefix('s3://b/web/a'), { bucket: 'b', prefix: 'web/a' })
  assert.deepEqual(bucketAndPrefix('s3://b'), { bucket: 'b', prefix: '' })
  assert.equal(bucketAndPrefix('web/a'), undefined)
})

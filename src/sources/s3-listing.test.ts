import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import type { S3Client } from '@aws-sdk/client-s3'
import { type S3Server, startS3 } from '../../test/servers/s3.ts'
import { s3Errors } from '../../test/servers/s3-wire.ts'
import { createS3Client } from '../aws/connection.ts'
import { StreamError } from '../core/errors.ts'
import { templateLevels } from './partition.ts'
import { type ListingOptions, S3Listing } from './s3-listing.ts'
import type { S3Object } from './s3-object.ts'

process.env.AWS_ACCESS_KEY_ID = 'test'
process.env.AWS_SECRET_ACCESS_KEY = 'test'

const never = new AbortController().signal
const hourMs = 3_600_000
const dayMs = 24 * hourMs
const timeFromKey = (key: string) => {
  const match = /^(\d{10})_/.exec(key.slice(key.lastIndexOf('/') + 1))
  return match ? Number(match[1]) * 1000 : undefined
}
const named = (ms: number, tail = 'a') => `${Math.floor(ms / 1000)}_${tail}`

type Options = Partial<ConstructorParameters<typeof S3Listing>[1]>

interface Place {
  readonly server: S3Server
  readonly client: S3Client
  listing(o?: Options): S3Listing
}

async function within(act: (place: Place) => Promise<void>): Promise<void> {
  const server = await startS3()
  const client = createS3Client({ endpoint: server.endpoint }, 20)
  const listing = (o: Options = {}) =>
    new S3Listing(client, { bucket: 'b', prefix: '', partition: 'auto', timeFromKey, queue: 1000, ...o })
  try {
    await act({ server, client, listing })
  } finally {
    client.destroy()
    await server.close()
  }
}

async function objectsOf(listing: S3Listing, o: Partial<ListingOptions> = {}): Promise<S3Object[]> {
  const objects: S3Object[] = []
  for await (const page of listing.pages({ windowMs: 0, live: new Set(), sweep: true, signal: never, ...o }))
    objects.push(...page)
  return objects
}

const keysOf = async (listing: S3Listing, o: Partial<ListingOptions> = {}) =>
  (await objectsOf(listing, o)).map(({ key }) => key).toSorted()

/** Serves each list from a script, as servers do that know S3 less well; gets the query. */
async function withLists(answer: (query: URLSearchParams) => string, act: (client: S3Client) => Promise<void>) {
  const http = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '/', 'http://x')
    response.writeHead(200, { 'content-type': 'application/xml' })
    response.end(`<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult>${answer(searchParams)}</ListBucketResult>`)
  })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const client = createS3Client({ endpoint: `http://127.0.0.1:${(http.address() as AddressInfo).port}` }, 20)
  try {
    await act(client)
  } finally {
    client.destroy()
    http.closeAllConnections()
    http.close()
  }
}

const march = Date.UTC(2025, 2, 5, 10)

test('A16.1: every layout of dates is listed whole, and days before the window cost no request', async () => {
  const two = (n: number) => String(n).padStart(2, '0')
  const layouts: Array<[string, (d: Date) => string]> = [
    ['Hive', (d) => `year=${d.getUTCFullYear()}/month=${d.getUTCMonth() + 1}/day=${d.getUTCDate()}/`],
    ['Hive padded', (d) => `year=${d.getUTCFullYear()}/month=${two(d.getUTCMonth() + 1)}/day=${two(d.getUTCDate())}/`],
    [
      'Hive hourly',
      (d) =>
        `year=${d.getUTCFullYear()}/month=${two(d.getUTCMonth() + 1)}/day=${two(d.getUTCDate())}/hour=${two(d.getUTCHours())}/`,
    ],
    ['slashes', (d) => `${d.getUTCFullYear()}/${two(d.getUTCMonth() + 1)}/${two(d.getUTCDate())}/`],
    ['slashes unpadded', (d) => `${d.getUTCFullYear()}/${d.getUTCMonth() + 1}/${d.getUTCDate()}/`],
    ['dt', (d) => `dt=${d.toISOString().slice(0, 10)}/`],
    ['day folders', (d) => `${d.toISOString().slice(0, 10)}/`],
    ['compact', (d) => `${d.toISOString().slice(0, 10).replaceAll('-', '')}/`],
  ]
  for (const [name, folder] of layouts) {
    for (const prefix of ['', 'AWSLogs/123456789012/CloudTrail/eu-west-1/', '_weblog/feedname=Threat Team - Web/']) {
      await within(async ({ server, listing }) => {
        const all: string[] = []
        for (let i = 0; i < 40; i += 1) {
          const time = march - i * dayMs
          const key = `${prefix}${folder(new Date(time))}${named(time)}`
          server.put(key, 'x')
          all.push(key)
        }
        assert.deepEqual(await keysOf(listing()), all.toSorted(), name)
        const before = server.counters.list
        const keys = await keysOf(listing(), { windowMs: march - hourMs, sweep: false })
        assert.ok(keys.includes(all[0] as string), name)
        assert.ok(keys.length <= 2, `${name}: ${keys}`)
        assert.ok(server.counters.list - before <= 11, `${name}: ${server.counters.list - before} requests`)
        const swept = await keysOf(listing(), { windowMs: march - hourMs, sweep: true })
        assert.ok(swept.length >= 2 && swept.length <= 3, `${name}: a sweep reaches one day back: ${swept}`)
      })
    }
  }
})

test('templates say where dates are, and folders they do not know are passed over with a word', () =>
  within(async ({ server, listing }) => {
    const wanted = ['r1/2025/03/05/a', 'r2/2025/03/05/deep/er/a', 'r1/2025/03/04/z'].map((key) => `logs/${key}`)
    for (const key of [...wanted, 'logs/r1/2025/02/05/a', 'logs/r1/2025/3/05/a', 'logs/r1/tmp/x']) server.put(key, 'x')
    server.put('logs/direct', 'x')
    for (const prefix of ['logs/', 'logs']) {
      const outside: string[] = []
      const partition = templateLevels('*/{yyyy}/{MM}/{dd}/')
      const template = listing({ prefix, partition, outside: (folder) => outside.push(folder) })
      const keys = await keysOf(template, { windowMs: march - 2 * dayMs, sweep: false })
      assert.deepEqual(keys, ['logs/direct', ...wanted].toSorted())
      assert.deepEqual(outside.toSorted(), ['logs/r1/2025/3/', 'logs/r1/tmp/'])
    }
  }))

test('a flat prefix is one list, whatever folders are in it', () =>
  within(async ({ server, listing }) => {
    const keys = ['a', 'year=2001/x', 'z/1999/01/01/x'].map((key) => `p/${key}`)
    for (const key of [...keys, 'other']) server.put(key, 'x')
    assert.deepEqual(await keysOf(listing({ prefix: 'p/', partition: 'none' }), { windowMs: march }), keys)
    assert.equal(server.counters.list, 1)
  }))

test('A16.1: numbers that are no dates are never passed over', () =>
  within(async ({ server, listing }) => {
    const keys = [
      '1999/customer/x',
      '2001/x',
      '2003/1/shard/x',
      '2003/77/x',
      '2024/99/x',
      '2025/1/x',
      '2025/500/x',
      '123456789012/x',
      '42/7/x',
      '31/x',
      '1760305292/x',
      'v2/12/x',
    ]
    for (const key of keys) server.put(key, 'x')
    for (const sweep of [true, false]) {
      assert.deepEqual(await keysOf(listing(), { windowMs: march, sweep }), keys.toSorted())
    }
  }))

test('folders without dates, many more than a few, are all listed, and in few requests', () =>
  within(async ({ server, listing }) => {
    const keys = Array.from({ length: 1500 }, (_, i) => `t${String(i).padStart(5, '0')}/${named(march + i * 1000)}`)
    for (const key of keys) server.put(key, 'x')
    const tenants = listing()
    assert.deepEqual([...new Set(await keysOf(tenants))], keys)
    assert.ok(server.counters.list < 20, `${server.counters.list} requests`)
    // What arrives in the folder of the last key before the window is seen by the next scan.
    const windowMs = march + 1_450_000
    await keysOf(tenants, { windowMs })
    const later = `t01000/${named(march + dayMs)}`
    server.put(later, 'x')
    assert.ok((await keysOf(tenants, { windowMs, sweep: false })).includes(later))
  }))

test('StartAfter is used once key order was seen to be time order, and finds what is new', () =>
  within(async ({ server, listing }) => {
    for (let i = 0; i < 5000; i += 1) server.put(`day=x/${named(march + i * 1000)}`, 'x')
    const days = listing()
    const windowMs = march + 4_500_000
    assert.equal((await keysOf(days, { windowMs, sweep: false })).length, 5000)
    const asked = server.counters.list
    server.put(`day=x/${named(march + 6_000_000)}`, 'x')
    const second = await keysOf(days, { windowMs, sweep: false })
    assert.ok(server.counters.list - asked <= 3, `${server.counters.list - asked} requests`)
    assert.ok(second.length <= 1501 && second.includes(`day=x/${named(march + 6_000_000)}`))
    for (let i = 4500; i < 5000; i += 1) assert.ok(second.includes(`day=x/${named(march + i * 1000)}`))
  }))

test('A16.5: a late key that sorts before the shortcut is found by the next sweep', () =>
  within(async ({ server, listing }) => {
    for (let i = 0; i < 2500; i += 1) server.put(`d/${named(march + i * 1000)}`, 'x')
    const days = listing({ prefix: 'd/' })
    const windowMs = march + 2_400_000
    await keysOf(days, { windowMs })
    const late = `d/${named(march, 'late')}`
    server.put(late, 'x')
    assert.ok(!(await keysOf(days, { windowMs, sweep: false })).includes(late))
    assert.ok((await keysOf(days, { windowMs, sweep: true })).includes(late))
  }))

test('A16.5: keys that are no times, or fall, are always listed whole', () =>
  within(async ({ server, listing }) => {
    for (let i = 0; i < 1100; i += 1) {
      server.put(`none/obj-${i}`, 'x')
      server.put(`fall/${String(i).padStart(5, '0')}/${named(march - i * 1000)}`, 'x')
    }
    for (const prefix of ['none/', 'fall/']) {
      const flat = listing({ prefix, partition: 'none' })
      for (const sweep of [true, false, false]) {
        assert.equal((await keysOf(flat, { windowMs: march + dayMs, sweep })).length, 1100, prefix)
      }
    }
    assert.ok(server.requests.every(({ query }) => !query.has('start-after')))
  }))

test('an empty folder marker does not spoil the order', () =>
  within(async ({ server, listing }) => {
    server.put('d/', '')
    for (let i = 0; i < 1500; i += 1) server.put(`d/${named(march + i * 1000)}`, 'x')
    const days = listing({ prefix: 'd/' })
    await keysOf(days)
    assert.ok((await keysOf(days, { windowMs: march + 1_200_000, sweep: false })).length < 600)
  }))

test('A16.7: nobody takes pages, nobody lists: a bucket of a million keys waits in a few pages', () =>
  within(async ({ server, listing }) => {
    server.addVirtualListing(1_000_000, (i) => named(march + i * 1000))
    const pages = listing({ partition: 'none' }).pages({ windowMs: 0, live: new Set(), sweep: true, signal: never })
    const first = await pages.next()
    assert.equal(first.value?.length, 1000)
    await settledCount(() => server.counters.list)
    assert.ok(server.counters.list <= 4, `${server.counters.list} lists ahead`)
    for (let i = 0; i < 5; i += 1) await pages.next()
    await settledCount(() => server.counters.list)
    assert.ok(server.counters.list <= 9, `${server.counters.list} lists ahead`)
    await pages.return()
    const stopped = server.counters.list
    await settledCount(() => server.counters.list)
    assert.equal(server.counters.list, stopped)
  }))

async function settledCount(count: () => number): Promise<void> {
  for (let last = -1; last !== count(); ) {
    last = count()
    await new Promise((resolve) => setTimeout(resolve, 60))
  }
}

test('days are listed beside each other', () =>
  within(async ({ server, listing }) => {
    for (let day = 1; day <= 9; day += 1) server.put(`year=2025/month=3/day=${day}/x`, 'x')
    let now = 0
    let most = 0
    server.faults.onList = async (prefix) => {
      if (!prefix.includes('day=')) return undefined
      now += 1
      most = Math.max(most, now)
      await new Promise((resolve) => setTimeout(resolve, 30))
      now -= 1
      return undefined
    }
    assert.equal((await keysOf(listing())).length, 9)
    assert.ok(most >= 4 && most <= 8, `${most} at once`)
  }))

const awkward = [
  'a b',
  'a+b',
  'a%20b',
  '100%',
  'ünïcode/日本語/🎉',
  'quote"\'&<>',
  'back\\slash',
  'tab\there',
  'bell\u0007',
  'line\nfeed',
  'trailing ',
  ' leading',
  'a=b&c=d?e#f',
  'dots/../up',
  'double//slash',
  '[brackets]{}',
]

test('keys come through as they are: spaces, %, +, Unicode, control characters', () =>
  within(async ({ server, listing }) => {
    for (const key of awkward) server.put(key, 'x')
    const found = await objectsOf(listing())
    assert.deepEqual(found.map(({ key }) => key).toSorted(), awkward.toSorted())
    assert.deepEqual(await keysOf(listing({ partition: 'none' })), awkward.toSorted())
    assert.deepEqual(await keysOf(listing({ prefix: 'a ' })), ['a b'])
  }))

test('keys come through from a server that ignores EncodingType', () => {
  const escaped = (key: string) => [...key].map((c) => (/[&<>"\n\t]/.test(c) ? `&#${c.charCodeAt(0)};` : c)).join('')
  const keys = awkward.filter((key) => !key.includes('\u0007'))
  const contents = keys.map(
    (key) =>
      `<Contents><Key>${escaped(key)}</Key><LastModified>2025-03-05T10:00:00.000Z</LastModified><ETag>"1"</ETag><Size>1</Size></Contents>`,
  )
  return withLists(
    () => `<IsTruncated>false</IsTruncated>${contents.join('')}`,
    async (client) => {
      const listing = new S3Listing(client, { bucket: 'b', prefix: '', partition: 'none', timeFromKey, queue: 1000 })
      assert.deepEqual(await keysOf(listing), keys.toSorted())
    },
  )
})

test('a list without Size or ETag gives objects whose versions can still be told apart', () =>
  withLists(
    (query) =>
      query.has('continuation-token')
        ? `<IsTruncated>false</IsTruncated><Contents><Key>c</Key><LastModified>2025-03-05T10:00:01Z</LastModified><ETag></ETag></Contents>`
        : `<IsTruncated>true</IsTruncated><NextContinuationToken>t&amp;1</NextContinuationToken>
           <Contents><Key>a</Key><LastModified>2025-03-05T10:00:00.000Z</LastModified><Size>7</Size></Contents>
           <Contents><Key>b</Key><LastModified>2025-03-05T10:00:00.000Z</LastModified></Contents>`,
    async (client) => {
      const listing = new S3Listing(client, { bucket: 'b', prefix: '', partition: 'none', timeFromKey, queue: 1000 })
      const found = await objectsOf(listing)
      assert.deepEqual(
        found.map(({ id, size, etag }) => [id, size, etag]),
        [
          [`b/a@~7-${march}`, 7, undefined],
          [`b/b@~undefined-${march}`, undefined, undefined],
          [`b/c@~undefined-${march + 1000}`, undefined, undefined],
        ],
      )
    },
  ))

test('a list that says there is more but not where is an error, not the end', async () => {
  for (const token of ['', '<NextContinuationToken>same</NextContinuationToken>']) {
    await withLists(
      () => `<IsTruncated>true</IsTruncated>${token}<Contents><Key>a</Key><ETag>"1"</ETag></Contents>`,
      async (client) => {
        const listing = new S3Listing(client, { bucket: 'b', prefix: '', partition: 'none', timeFromKey, queue: 1000 })
        await assert.rejects(objectsOf(listing), /cannot list s3:\/\/b\/ to its end/)
      },
    )
  }
})

test('a page that fails fails the list, after the pages before it were given', () =>
  within(async ({ server, listing }) => {
    for (let i = 0; i < 2500; i += 1) server.put(`k${i}`, 'x')
    server.faults.onList = (_, n) => (n === 2 ? s3Errors.accessDenied : undefined)
    const given: S3Object[] = []
    const pages = listing({ partition: 'none' }).pages({ windowMs: 0, live: new Set(), sweep: true, signal: never })
    const failure = await (async () => {
      for await (const page of pages) given.push(...page)
      return undefined
    })().catch((error: unknown) => error)
    assert.ok(failure instanceof StreamError && failure.code === 'source.access', String(failure))
    assert.equal(given.length, 1000)
    assert.equal((await keysOf(listing({ partition: 'none' }))).length, 2500)
  }))

test('A16.19: a list that stalls half-way fails instead of hanging', () =>
  within(async ({ server, listing }) => {
    server.put('k', 'x')
    server.faults.onList = (_, n) => (n === 1 ? { stallAfter: 100 } : n === 2 ? { stallAfter: -1 } : undefined)
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await assert.rejects(objectsOf(listing({ pageMs: 100 })), (error) => {
        assert.ok(error instanceof StreamError && error.code === 'source.unavailable', String(error))
        return true
      })
    }
    assert.deepEqual(await keysOf(listing({ pageMs: 1000 })), ['k'])
  }))

test('a stop ends a list that is under way', () =>
  within(async ({ server, listing }) => {
    server.put('k', 'x')
    for (const fault of [{ stallAfter: -1 }, { stallAfter: 50 }]) {
      server.faults.onList = () => fault
      const stop = new AbortController()
      setTimeout(() => stop.abort(new Error('stop')), 30)
      await assert.rejects(objectsOf(listing(), { signal: stop.signal }))
    }
  }))

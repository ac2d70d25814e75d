import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { Installation } from '../e2e/command.ts'
import { PushedFigures, Watch } from '../e2e/figures.ts'
import { Arrivals, csvFormat, oddObjects } from '../e2e/odd-objects.ts'
import { ZscalerData } from '../servers/zscaler-data.ts'
import { startNginx } from './nginx.ts'
import { startVersitygw } from './versitygw.ts'

const [s3, nginx] = await Promise.all([startVersitygw(), startNginx()])
const { endpoint, region, accessKeyId, secretAccessKey } = s3
const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
const Bucket = 'weblogs'
const pushed = await PushedFigures.open()
const installation = new Installation({
  endpoint,
  bucket: Bucket,
  prefix: '/',
  inputs: [nginx.url, nginx.flakyUrl],
  http: '  retry:\n    min: 20ms\n    max: 500ms',
  more: `decode:\n  line_limit: 4MiB\n${pushed.config}`,
  processing: csvFormat,
})
after(async () => {
  client.destroy()
  installation.remove()
  await Promise.all([s3.stop(), nginx.stop(), pushed[Symbol.asyncDispose]()])
})

test('from versitygw to nginx: Zscaler and odd objects, a kill -9 half-way, and every line is in the record of nginx', async (t) => {
  await s3.createBucket(Bucket)
  const data = new ZscalerData({ objects: 60, linesPerObject: 300, start: new Date('2025-10-12T22:30:00Z') })
  const expected: string[] = []
  const put = (Key: string, Body: Buffer) => client.send(new PutObjectCommand({ Bucket, Key, Body }))
  for await (const { key, gz } of data.all()) {
    await put(key, gz)
    const { length } = expected
    expected.push(
      ...data
        .text(length / 300)
        .toString()
        .trimEnd()
        .split('\n'),
    )
  }
  const odd = oddObjects()
  for (const { key, body } of odd) await put(key, body)
  // nginx takes bodies of up to 2 MiB: the one longer line is refused with 413 and must be in quarantine.
  const tooLong = 2 * 2 ** 20
  expected.push(...odd.flatMap(({ lines }) => lines).filter((line) => line.length < tooLong))

  const env = { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_REGION: region }
  const first = installation.start([], { env: { ...env, S3_STREAMER_HTTP_BATCH_LINES: '100' } })
  const watch = new Watch(first)
  for (let size = 0; size < 4_000_000; ) {
    size = (await nginx.received()).length
    if (first.hasEnded) assert.fail(first.output.slice(-3000))
  }
  await first.kill('SIGKILL')
  await watch.ended()
  const half = new Arrivals()
  half.take(await nginx.received(), { headers: {} })
  assert.ok(half.compare(expected).lost.length > 0, 'it was killed in the middle')

  const second = await installation.start(['run', '--once'], { env }).ended
  assert.equal(second.code, 0, second.stderr + second.stdout.slice(-3000))
  const arrivals = new Arrivals()
  arrivals.take(await nginx.received(), { headers: {} })
  const { lost, strange, duplicated } = arrivals.compare(expected)
  const { delivered } = pushed.last.balance()
  assert.equal(delivered, arrivals.received - half.received)
  assert.equal(pushed.last.sum('http_lines_sent_total'), delivered)
  t.diagnostic(`${expected.length} lines, ${lost.length} lost, ${duplicated} sent twice by the kill`)
  assert.deepEqual({ lost, strange }, { lost: [], strange: [] })

  const list = await installation.start(['quarantine', 'list', '--json'], { env }).ended
  const entries = list.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly reason: string; readonly kind: string })
  assert.equal(entries.length, odd.filter(({ quarantined }) => quarantined).length + 1, list.stdout)
  assert.match(entries.find(({ kind }) => kind === 'records')?.reason ?? '', /413/)
  const statuses = await nginx.statuses()
  assert.ok((statuses.get(503) ?? 0) + (statuses.get(429) ?? 0) > 0, 'nginx refused now and then')

  const check = await installation.start(['check'], { env }).ended
  assert.equal(check.code, 0, check.stdout)
  const wrong = await installation.start(['run', '--once'], { env: { ...env, AWS_SECRET_ACCESS_KEY: 'wrong' } }).ended
  assert.equal(wrong.code, 1)
  assert.match(wrong.stdout, /SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY/)
})

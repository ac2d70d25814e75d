import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startHttpInput } from '../servers/http-input.ts'
import { startS3 } from '../servers/s3.ts'
import { startSqs } from '../servers/sqs.ts'
import { Command, type Ended } from './command.ts'
import { PushedFigures, Watch } from './figures.ts'
import { mixedQueue } from './mixed-queue.ts'
import { Arrivals } from './odd-objects.ts'

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

async function world(
  o: { readonly attributes?: Readonly<Record<string, string>>; readonly source?: string; readonly more?: string } = {},
) {
  const folder = mkdtempSync(join(tmpdir(), 's3-streamer-sqs-'))
  const s3 = await startS3()
  const sqs = await startSqs()
  const arrivals = new Arrivals()
  const input = await startHttpInput({ take: arrivals.take })
  const pushed = await PushedFigures.open()
  cleanups.push(
    () => pushed[Symbol.asyncDispose](),
    () => s3.close(),
    () => sqs.close(),
    () => input.close(),
    () => rmSync(folder, { recursive: true, force: true }),
  )
  sqs.createQueue('logs', o.attributes)
  const config = (name: string): string => {
    const file = join(folder, `${name}.yaml`)
    writeFileSync(
      file,
      `pipelines:
  - name: ${name}
    source: { type: s3_sqs, queue_url: "${sqs.queueUrl('logs')}", endpoint: "${s3.endpoint}", region: us-east-1, visibility_timeout: 3s, max_receives: 2${o.source ?? ''} }
    sink: { type: http, endpoints: ["${input.url}"], batch: { linger: 50ms } }
    state: { file_path: "${join(folder, `${name}.json`)}", save_interval: 200ms }
${o.more ?? ''}
logging: { level: debug }
${pushed.config}
`,
    )
    return file
  }
  return { folder, s3, sqs, arrivals, input, pushed, config, waiting: () => sqs.messages('logs') }
}

const nothingLost = { lost: [], strange: [] }
const jsonLines = ({ stdout }: Ended) =>
  stdout
    .trim()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

test('B5.5–B5.8: a queue of every envelope, odd keys, junk and repeats is drained by --once: every line arrives once, junk is in quarantine with its reason, exit 1', async () => {
  const { s3, sqs, arrivals, pushed, config, waiting } = await world()
  const { objects, messages, junk } = mixedQueue({ bucket: 'logs', objects: 160, linesEach: 20 })
  for (const { key, body } of objects) s3.put(key, body)
  for (const body of messages) sqs.send('logs', body)
  const file = config('once')
  const ended = await new Command(['run', '--once', '-c', file]).ended
  assert.equal(ended.code, 1, ended.stdout.slice(-3000) + ended.stderr)
  const { duplicated, ...rest } = arrivals.compare(objects.flatMap(({ lines }) => lines))
  assert.deepEqual(rest, nothingLost)
  assert.equal(duplicated, 0)
  assert.deepEqual(waiting(), [])
  const { last } = pushed
  assert.deepEqual(last.balance(), { read: 3200, delivered: 3200, filtered: 0, quarantined: 0 })
  assert.deepEqual([last.sum('quarantine_entries'), last.sum('s3_files_processed_total')], [junk, 160])
  const entries = jsonLines(await new Command(['quarantine', 'list', '--json', '-c', file]).ended)
  assert.equal(entries.length, junk)
  assert.ok(junk > 2)
  for (const { kind, reason } of entries) assert.deepEqual([kind, String(reason).length > 5], ['message', true])
  const [run] = jsonLines(await new Command(['history', '--json', '-c', file]).ended)
  assert.equal(run?.outcome, 'failed')
  const counts = run?.counts as Record<string, number>
  assert.deepEqual([counts.read, counts.delivered, counts.filtered, counts.quarantined], [3200, 3200, 0, 0])
  const again = await new Command(['run', '--once', '-c', file]).ended
  assert.equal(again.code, 0, again.stdout)
})

test('B5.2, B5.10: two consumers share a queue, one is killed: nothing is lost, the queue is empty at the end', async () => {
  const { s3, sqs, arrivals, input, config, waiting } = await world()
  const { objects, messages } = mixedQueue({ bucket: 'logs', objects: 240, linesEach: 200 })
  for (const { key, body } of objects) s3.put(key, body)
  for (const body of messages) sqs.send('logs', body)
  const first = new Command(['-c', config('one')])
  const second = new Command(['-c', config('two')])
  const watches = [new Watch(first), new Watch(second)]
  await first.until(() => input.requests > 5 && arrivals.received > 5000, 'the first lines')
  await first.kill('SIGKILL')
  await second.until(() => waiting().length === 0, 'an empty queue')
  const { code, stdout } = await second.kill('SIGTERM')
  assert.equal(code, 0, stdout.slice(-2000))
  const { duplicated, ...rest } = arrivals.compare(objects.flatMap(({ lines }) => lines))
  assert.deepEqual(rest, nothingLost)
  // What the killed one had under way: at most what 15 workers and its batches held.
  assert.ok(duplicated < 48_000 / 2, String(duplicated))
  for (const watch of watches) await watch.ended()
  const delivered = watches.reduce((sum, { last }) => sum + (last?.balance().delivered ?? 0), 0)
  assert.ok(delivered <= arrivals.received, `${delivered} counted`)
})

test('goal of the seed (run the consumer when it is already running): the same configuration may be started again while it runs: both share the queue and the ledger, and what a killed one had under way goes on from its place', async () => {
  const { s3, sqs, arrivals, input, config, waiting } = await world()
  const { objects, messages } = mixedQueue({ bucket: 'logs', objects: 240, linesEach: 200 })
  for (const { key, body } of objects) s3.put(key, body)
  for (const body of messages) sqs.send('logs', body)
  const file = config('joint')
  const first = new Command(['-c', file])
  const watches = [new Watch(first)]
  await first.until(() => arrivals.received > 2000, 'the first lines')
  const second = new Command(['-c', file])
  watches.push(new Watch(second))
  await second.until(() => /pipeline joint starts/.test(second.stdout) && input.requests > 8, 'the second start')
  await first.kill('SIGKILL')
  await second.until(() => waiting().length === 0, 'an empty queue')
  assert.equal((await second.kill('SIGTERM')).code, 0)
  const { duplicated, ...rest } = arrivals.compare(objects.flatMap(({ lines }) => lines))
  assert.deepEqual(rest, nothingLost)
  assert.ok(duplicated < 24_000, String(duplicated))
  for (const watch of watches) await watch.ended()
  const rows = jsonLines(
    await new Command(['history', '--objects', '--json', '--limit', '1000', '--outcome', 'done', '-c', file]).ended,
  )
  assert.equal(rows.length, 240)
  const runs = jsonLines(await new Command(['history', '--json', '-c', file]).ended)
  assert.deepEqual(
    runs.map(({ outcome }) => outcome),
    ['stopped', 'running'],
  )
})

test('a stop gives messages back at once, and the next start goes on', async () => {
  const { s3, sqs, arrivals, input, pushed, config, waiting } = await world({ source: ', workers: 2' })
  const { objects, messages } = mixedQueue({ bucket: 'logs', objects: 60, linesEach: 500 })
  for (const { key, body } of objects) s3.put(key, body)
  for (const body of messages) sqs.send('logs', body)
  const file = config('stopped')
  const first = new Command(['-c', file])
  await first.until(() => input.requests > 2, 'the first batch')
  const { code } = await first.kill('SIGTERM')
  assert.equal(code, 0)
  assert.ok(waiting().length > 0)
  const { delivered } = pushed.last.balance()
  assert.equal(delivered, arrivals.received)
  // Junk waits a second before it comes again; all else is there at once.
  const hidden = waiting().filter(
    ({ state, untilMs, receivedMs }) => state === 'in flight' && untilMs - Number(receivedMs) > 2500,
  )
  assert.deepEqual(hidden, [])
  await new Command(['run', '--once', '-c', file]).ended
  assert.deepEqual(arrivals.compare(objects.flatMap(({ lines }) => lines)), { ...nothingLost, duplicated: 0 })
  assert.equal(delivered + pushed.last.balance().delivered, arrivals.received)
})

test('a dry run receives nothing away: it tells what would be sent, and every message is there afterwards', async () => {
  const { s3, sqs, arrivals, config, waiting } = await world({ attributes: { VisibilityTimeout: '30' } })
  const { objects, messages } = mixedQueue({ bucket: 'logs', objects: 40, linesEach: 10 })
  for (const { key, body } of objects) s3.put(key, body)
  for (const body of messages) sqs.send('logs', body)
  const { code, stdout, stderr } = await new Command(['run', '--dry-run', '-c', config('dry')]).ended
  assert.equal(code, 0, stdout + stderr)
  assert.match(stdout, /Would send 400 records/)
  assert.equal(arrivals.received, 0)
  assert.equal(waiting().length, messages.length)
  assert.ok(waiting().every(({ state, receives }) => state === 'visible' && receives === 1))
})

test('filters, redaction and envelope apply on the way; filtered records are counted and balance', async () => {
  const more = `    match: ['"status"']
    exclude: ['"n":3\\b']
    filter: 'status >= 205 && status < 209'
    redact: [from]
    envelope: json`
  const { s3, sqs, arrivals, pushed, config } = await world({ more })
  const { objects } = mixedQueue({ bucket: 'logs', objects: 9, linesEach: 20 })
  for (const { key, body } of objects) {
    s3.put(key, body)
    sqs.send(
      'logs',
      JSON.stringify({ Records: [{ s3: { bucket: { name: 'logs' }, object: { key: encodeURIComponent(key) } } }] }),
    )
  }
  const file = config('filtered')
  const ended = await new Command(['run', '--once', '-c', file]).ended
  assert.equal(ended.code, 0, ended.stdout)
  assert.equal(arrivals.received, 9 * 4)
  assert.deepEqual(pushed.last.balance(), { read: 180, delivered: 36, filtered: 144, quarantined: 0 })
  const [line] = [...arrivals.types.keys()]
  const record = JSON.parse(line as string) as Record<string, unknown>
  assert.equal(record.from, '[redacted]')
  assert.ok(record['@timestamp'] && (record.origin as Record<string, unknown>).bucket === 'logs')
  const rows = jsonLines(await new Command(['history', '--objects', '--json', '-c', file]).ended)
  assert.equal(rows.length, 9)
  for (const { counts } of rows) {
    const { read, delivered, filtered, quarantined } = counts as Record<string, number>
    assert.deepEqual([read, delivered, filtered, quarantined], [20, 4, 16, 0])
  }
})

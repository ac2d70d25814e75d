import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { type Fault, startHttpInput } from '../servers/http-input.ts'
import { startS3 } from '../servers/s3.ts'
import { s3Errors } from '../servers/s3-wire.ts'
import { LineCounter, ZscalerData, zscalerPrefix } from '../servers/zscaler-data.ts'
import { bin, Command, Installation } from './command.ts'
import { PushedFigures, Watch } from './figures.ts'
import { Arrivals } from './odd-objects.ts'

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

async function world(o: Partial<ConstructorParameters<typeof Installation>[0]> = {}) {
  const s3 = await startS3()
  const arrivals = new Arrivals()
  const inputs = [await startHttpInput({ take: arrivals.take }), await startHttpInput({ take: arrivals.take })] as const
  const pushed = await PushedFigures.open()
  const more = `${pushed.config}\n${o.more ?? ''}`
  const installation = new Installation({ endpoint: s3.endpoint, inputs: inputs.map(({ url }) => url), ...o, more })
  cleanups.push(
    () => pushed[Symbol.asyncDispose](),
    () => s3.close(),
    ...inputs.map((input) => () => input.close()),
    () => installation.remove(),
  )
  const failAll = (fault: Fault | undefined) => {
    for (const input of inputs) input.fault = () => fault
  }
  return { s3, arrivals, inputs, installation, pushed, failAll }
}

/** Key of an object of some minutes ago, in the folder of its day. */
function recent(minutesAgo: number, n = 1): string {
  const time = new Date(Date.now() - minutesAgo * 60_000)
  const folder = `year=${time.getUTCFullYear()}/month=${time.getUTCMonth() + 1}/day=${time.getUTCDate()}`
  return `${zscalerPrefix}${folder}/${Math.floor(time.getTime() / 1000)}_1_1_${n}.gz`
}

const lines = (name: string, count: number) => Array.from({ length: count }, (_, i) => `{"from":"${name}","n":${i}}`)
const gz = (all: readonly string[]) => gzipSync(all.map((line) => `${line}\n`).join(''))
const nothing = { lost: [], strange: [], duplicated: 0 }

test('A16.4, A16.5, A16.6: new, late and same-second objects are found while it runs; SIGTERM drains and exits with 0', async () => {
  const { s3, arrivals, installation, pushed } = await world()
  const expected: string[] = []
  const put = (name: string, key: string) => {
    s3.put(key, gz(lines(name, 7)))
    expected.push(...lines(name, 7))
  }
  const newest = recent(5, 5)
  put('first', newest)
  const streamer = installation.start()
  const watch = new Watch(streamer)
  const all = () => arrivals.received === expected.length
  await streamer.until(all, 'the first object')
  // A smaller name in the same second, and an older one: both behind the checkpoint of the former streamer.
  put('same second', newest.replace(/_5\.gz$/, '_2.gz'))
  put('late', recent(45))
  put('new', recent(1))
  await streamer.until(all, 'the late ones')
  const figures = await watch.until((now) => now.balance().read === expected.length, 'its counts')
  assert.equal(figures.sum('http_lines_sent_total'), arrivals.received)
  const second = await installation.run('--once')
  assert.equal(second.code, 1)
  assert.match(second.stdout + second.stderr, /another|in use|locked|already/i)
  const { code } = await streamer.kill('SIGTERM')
  assert.equal(code, 0, streamer.output)
  assert.deepEqual(arrivals.compare(expected), nothing)
  assert.equal(installation.readState().total_files_processed, 4)
  await watch.ended()
  const { last } = pushed
  assert.equal(last.balance().delivered, expected.length)
  assert.deepEqual([last.sum('s3_files_processed_total'), last.sum('processing_lag_seconds')], [4, 0])
})

test('A16.9: SIGTERM in the middle delivers what is under way, exits with 0, and the next start repeats nothing', async () => {
  const { s3, arrivals, installation, pushed, failAll } = await world()
  const expected: string[] = []
  for (let i = 0; i < 40; i += 1) {
    s3.put(recent(50, i), gz(lines(`object ${i}`, 2000)))
    expected.push(...lines(`object ${i}`, 2000))
  }
  // Reading takes some seconds, so the stop is in the middle of it.
  s3.faults.onGet = () => ({ delayMs: 150 })
  failAll({ delayMs: 40 })
  const streamer = installation.start([], { env: { S3_STREAMER_PROCESSING_WORKER_COUNT: '2' } })
  const watch = new Watch(streamer)
  await streamer.until(() => arrivals.received > 3000, 'some lines')
  await watch.until((now) => now.balance().read > 0, 'its counts')
  assert.equal((await streamer.kill('SIGTERM')).code, 0)
  await watch.ended()
  const first = pushed.last.balance()
  assert.equal(first.delivered, arrivals.received)
  assert.ok(arrivals.received < expected.length, 'it was stopped in the middle')
  s3.faults.onGet = undefined
  failAll(undefined)
  assert.equal((await installation.run('--once')).code, 0)
  assert.deepEqual(arrivals.compare(expected), nothing)
  assert.equal(first.delivered + pushed.last.balance().delivered, expected.length)
})

test('A16.9, A16.10: SIGTERM while every input is down ends at the deadline with 0; a second SIGTERM at once with 1; nothing is lost', async () => {
  const { s3, arrivals, inputs, installation, pushed, failAll } = await world({ more: 'shutdown_timeout: 700ms' })
  // Records under way, not the probe of the start.
  let posts = 0
  s3.put(recent(10), gz(lines('x', 500)))
  for (const input of inputs) {
    input.fault = (_, { method }) => {
      if (method === 'POST') posts += 1
      return { status: 503 }
    }
  }
  const streamer = installation.start()
  const watch = new Watch(streamer)
  await streamer.until(() => posts > 2, 'requests')
  const during = await watch.until((now) => now.sum('http_server_errors_total') > 0, 'its counts')
  assert.deepEqual([during.balance().read, during.sum('endpoint_up', { component: 'source' })], [0, 1])
  assert.ok(during.sum('processing_lag_seconds') > 500)
  const ended = await streamer.kill('SIGTERM')
  await watch.ended()
  assert.equal(ended.code, 0)
  assert.match(ended.stdout, /stopped before everything under way was delivered/)
  assert.equal(installation.readState().total_files_processed, 0)

  const impatient = installation.start([], { env: { S3_STREAMER_SHUTDOWN_TIMEOUT: '60s' } })
  const before = posts
  await impatient.until(() => posts > before, 'a request')
  impatient.child.kill('SIGTERM')
  await impatient.until(() => /stopping/.test(impatient.output), 'the first signal')
  assert.equal((await impatient.kill('SIGTERM')).code, 1)

  failAll(undefined)
  assert.equal((await installation.run('--once')).code, 0)
  assert.deepEqual(arrivals.compare(lines('x', 500)), nothing)
  const all = { read: 500, delivered: 500, filtered: 0, quarantined: 0 }
  assert.deepEqual(pushed.last.balance(), all)
})

test('A16.2, A16.7, A16.10, A16.19, A16.22: S3 and inputs fail at random, one input is dead, and no line is lost', async () => {
  const { s3, inputs, installation, pushed } = await world({
    http: '  timeout: 1s\n  retry:\n    min: 10ms\n    max: 200ms',
    processing: '  queue_size: 2',
  })
  const data = new ZscalerData({
    objects: 60,
    linesPerObject: 300,
    start: new Date(Date.now() - 3_000_000),
    everySeconds: 7,
  })
  for await (const { key, gz: body, time } of data.all()) s3.put(key, body, { lastModified: time })
  const counter = new LineCounter(data)
  const dead = await startHttpInput()
  await dead.close()
  const script: Array<Fault | undefined> = [
    { status: 429, headers: { 'retry-after': '1' } },
    undefined,
    { status: 503 },
    undefined,
    'reset',
    undefined,
    { status: 500, body: 'timeout' },
    undefined,
    'hang',
    undefined,
    undefined,
  ]
  const flaky = await startHttpInput({ take: (body) => counter.add(body), fault: (n) => script[n % script.length] })
  const good = await startHttpInput({
    take: (body) => counter.add(body),
    fault: (n) => (n % 9 === 4 ? 'resetAfter' : undefined),
  })
  cleanups.push(
    () => flaky.close(),
    () => good.close(),
  )
  const env = { S3_STREAMER_HTTP_ENDPOINTS: [dead, flaky, good].map(({ url }) => url).join(',') }
  let gets = 0
  s3.faults.onGet = () => {
    gets += 1
    if (gets % 7 === 2) return { cutAfter: 3000 }
    if (gets % 7 === 4) return s3Errors.slowDown
    return gets % 11 === 5 ? s3Errors.internalError : undefined
  }
  let lists = 0
  s3.faults.onList = () => {
    lists += 1
    return lists % 4 === 2 ? s3Errors.slowDown : undefined
  }
  const { code, stdout, stderr } = await installation.start(['--once'], { env }).ended
  assert.equal(code, 0, stderr + stdout.slice(-3000))
  assert.deepEqual({ lost: counter.lost, strange: counter.strange }, { lost: 0, strange: 0 })
  assert.ok(inputs.every(({ requests }) => requests === 0) && flaky.requests > 0)
  const { last } = pushed
  assert.deepEqual(last.balance(), { read: 18_000, delivered: 18_000, filtered: 0, quarantined: 0 })
  assert.equal(last.sum('http_lines_sent_total'), 18_000)
  assert.deepEqual([last.sum('s3_files_processed_total'), last.sum('s3_files_errored_total')], [60, 0])
  for (const kind of ['network', 'timeout', 'server']) assert.ok(last.sum(`http_${kind}_errors_total`) > 0, kind)
})

test('refused records and damaged objects are listed, shown, and taken again by the running streamer', async () => {
  const { s3, arrivals, installation, pushed, failAll } = await world()
  failAll({ status: 400, body: 'no such field' })
  const streamer = installation.start()
  const watch = new Watch(streamer)
  s3.put(recent(10), gz(lines('refused', 5)))
  const damaged = gz(lines('damaged', 5000))
  const key = recent(9)
  const objectInQuarantine = () => /"msg":"object in quarantine/.test(streamer.output)
  s3.put(key, damaged.subarray(0, 30))
  await streamer.until(() => /kept in quarantine/.test(streamer.output) && objectInQuarantine(), 'the quarantine')
  const refused = await watch.until((now) => now.sum('quarantine_entries') === 2, 'its counts')
  const { delivered, quarantined } = refused.balance()
  assert.deepEqual([delivered, quarantined, refused.sum('s3_files_errored_total')], [0, 5, 1])
  const list = await installation.run('quarantine', 'list', '--json')
  const entries = list.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { id: number; kind: string; reason: string })
  const records = entries.find(({ kind }) => kind === 'records')
  const object = entries.find(({ kind }) => kind === 'object')
  assert.match(records?.reason ?? '', /400.*no such field/)
  assert.match(object?.reason ?? '', /gzip/)
  const shown = await installation.run('quarantine', 'show', String(records?.id))
  assert.match(shown.stdout, /no such field/)
  const bytes = await installation.run('quarantine', 'show', String(records?.id), '--records')
  assert.equal(bytes.stdout, `${lines('refused', 5).join('\n')}\n`)

  failAll(undefined)
  assert.equal((await installation.run('quarantine', 'requeue', '--all')).code, 0)
  await streamer.until(() => arrivals.received >= 5, 'the requeued records')
  // The damaged one is damaged still, and stays.
  const left = async () => (await installation.run('quarantine', 'list', '--json')).stdout.trim().split('\n')
  for (const end = Date.now() + 10_000; ; await sleep(50)) {
    const rest = await left()
    if (rest.length === 1 && rest[0]?.includes('"kind":"object"') && rest[0].includes('"requeued":false')) break
    assert.ok(Date.now() < end, rest.join('\n'))
  }
  assert.equal((await streamer.kill('SIGTERM')).code, 0)
  assert.deepEqual(arrivals.compare(lines('refused', 5)), nothing)
  await watch.ended()
  // What is delivered later stays counted as it was: it is told beside.
  const { last } = pushed
  assert.deepEqual(last.balance(), { read: 5, delivered: 0, filtered: 0, quarantined: 5 })
  assert.deepEqual([last.sum('records_recovered_total'), last.sum('quarantine_entries')], [5, 1])
})

test('kill -9 leaves nobody behind who holds the ledger, however it was started', async () => {
  const { s3, arrivals, installation } = await world()
  const commands = [[bin], [process.execPath, bin], ['/usr/bin/node', bin]]
  const expected: string[] = []
  for (const [i, command] of commands.entries()) {
    const streamer = installation.start([], { command })
    const watch = new Watch(streamer)
    s3.put(recent(20 - i), gz(lines(`kill ${i}`, 3)))
    expected.push(...lines(`kill ${i}`, 3))
    await streamer.until(() => arrivals.has(expected.at(-1) as string), 'the object')
    await watch.until((now) => now.balance().delivered === 3, 'its counts')
    await streamer.kill('SIGKILL')
    await watch.ended()
    // A child of an older Node hears of it by its channel: a moment.
    for (let tries = 0; ; tries += 1) {
      const { code, stdout, stderr } = await installation.run('--once')
      if (code === 0) break
      assert.ok(tries < 5, `${command.join(' ')}: ${stderr}${stdout}`)
      await sleep(100)
    }
  }
  assert.deepEqual(arrivals.compare(expected).lost, [])
  const pids = new Command(['state', 'show', '--config', installation.config])
  assert.equal((await pids.ended).code, 0)
  assert.ok(readFileSync(installation.state, 'utf8').includes('last_processed_timestamp'))
})

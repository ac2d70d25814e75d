import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import * as fc from 'fast-check'
import { type EmbeddedPushgateway, startPushgateway } from '../../test/servers/pushgateway.ts'
import { StreamError } from '../core/errors.ts'
import { MemoryMeter } from './meter.ts'
import { Pushgateway } from './pushgateway.ts'
import { groupPath } from './pushgateway-client.ts'
import { pushgatewayConfig } from './pushgateway-config.ts'

const table = { things_total: { kind: 'counter', unit: '{thing}', help: 'Things.' } } as const
const never = new AbortController().signal

interface Entry {
  readonly level: string
  readonly message: string
  readonly facts: Record<string, unknown>
}

function bench(endpoint: string, more: Record<string, unknown> = {}) {
  const meter = new MemoryMeter()
  const { things_total } = meter.bind(table, {})
  const entries: Entry[] = []
  const note = (level: string) => (facts: object, message: string) =>
    void entries.push({ level, message, facts: { ...facts } })
  const log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
  const config = pushgatewayConfig.parse({ endpoint, interval: '100ms', instance: 'host-1', ...more })
  const o = { sample: () => undefined }
  const pushgateway = new Pushgateway(config, { meter, log, sample: () => o.sample() })
  return { meter, things: things_total, entries, pushgateway, o }
}

const methods = (gateway: EmbeddedPushgateway) => gateway.requests.map(({ method }) => method)

test('C6.10: values are pushed at once and while the run goes on, not only at the end', async () => {
  await using gateway = await startPushgateway()
  const { things, pushgateway, o } = bench(gateway.url)
  await using _ = pushgateway
  let sampled = 0
  o.sample = () => {
    sampled += 1
  }
  things.add(1)
  pushgateway.start()
  await gateway.until(() => gateway.value('things_total') === 1)
  things.add(1)
  await gateway.until(() => gateway.value('things_total') === 2)
  assert.deepEqual([...new Set(methods(gateway))], ['PUT'])
  assert.ok(sampled >= 2)
  assert.equal(gateway.requests[0]?.url, '/metrics/job/s3-streamer/instance/host-1')
  assert.equal(gateway.value('s3_streamer_finished_timestamp_seconds'), undefined)
})

test('a run that ends before the first interval leaves its values there, marked as finished', async () => {
  await using gateway = await startPushgateway()
  const { things, pushgateway } = bench(gateway.url, { interval: '1h' })
  await using _ = pushgateway
  pushgateway.start()
  things.add(7)
  const before = Date.now() / 1000
  await pushgateway.end({ success: true, signal: never })
  assert.equal(gateway.value('things_total'), 7)
  assert.equal(gateway.value('s3_streamer_success'), 1)
  assert.ok((gateway.value('s3_streamer_finished_timestamp_seconds') ?? 0) >= before)
  const { length } = gateway.requests
  await pushgateway.end({ success: false, signal: never })
  assert.equal(gateway.requests.length, length)
})

test('a run that failed says so', async () => {
  await using gateway = await startPushgateway()
  const { pushgateway } = bench(gateway.url)
  await using _ = pushgateway
  await pushgateway.end({ success: false, signal: never })
  assert.equal(gateway.value('s3_streamer_success'), 0)
})

test('C6.10: with on_end delete nothing stays in the gateway, and what others pushed does', async () => {
  await using gateway = await startPushgateway()
  const other = bench(gateway.url, { labels: { team: 'b' } })
  await using _other = other.pushgateway
  await other.pushgateway.end({ success: true, signal: never })
  const { pushgateway } = bench(gateway.url, { on_end: 'delete' })
  await using _ = pushgateway
  pushgateway.start()
  await gateway.until(() => gateway.groups.size === 2)
  await pushgateway.end({ success: true, signal: never })
  assert.deepEqual(methods(gateway).at(-1), 'DELETE')
  assert.deepEqual(
    [...gateway.groups.values()].map(({ labels }) => labels.team),
    ['b'],
  )
})

test('the next run takes away the mark of the last one', async () => {
  await using gateway = await startPushgateway()
  const first = bench(gateway.url)
  await using _first = first.pushgateway
  await first.pushgateway.end({ success: false, signal: never })
  const second = bench(gateway.url)
  await using _second = second.pushgateway
  second.pushgateway.start()
  await gateway.until(() => gateway.requests.length === 2)
  assert.equal(gateway.groups.size, 1)
  assert.equal(gateway.value('s3_streamer_success'), undefined)
})

test('a gateway that is down is told once, and once more when it is back; then nothing is missing', async () => {
  const down = await startPushgateway()
  const { port, url } = down
  await down[Symbol.asyncDispose]()
  const { things, entries, pushgateway, o } = bench(url)
  await using _ = pushgateway
  const { promise: third, resolve } = Promise.withResolvers<void>()
  let pushes = 0
  o.sample = () => {
    pushes += 1
    if (pushes === 3) resolve()
  }
  things.add(5)
  pushgateway.start()
  await third
  await using gateway = await startPushgateway({ port })
  await gateway.until(() => gateway.requests.length >= 2)
  assert.equal(gateway.value('things_total'), 5)
  assert.deepEqual(
    entries.map(({ level, message }) => `${level} ${message}`),
    ['warn metrics do not reach the Pushgateway; all else goes on', 'info metrics reach the Pushgateway again'],
  )
  assert.match(
    String(entries[0]?.facts.error),
    /^cannot push metrics to http:\/\/127\.0\.0\.1:\d+\/metrics\/job\/.* \(is a Pushgateway running there.*ECONNREFUSED/,
  )
  assert.ok(Number(entries[1]?.facts.missed) >= 2)
})

test('a gateway that never answers holds up neither the work nor, for longer than the time-outs, the end', async () => {
  await using gateway = await startPushgateway()
  gateway.fault = () => 'hang'
  const { entries, pushgateway } = bench(gateway.url, { timeout: '200ms' })
  await using _ = pushgateway
  pushgateway.start()
  await gateway.until(() => gateway.requests.length === 1)
  await pushgateway.end({ success: true, signal: never })
  // The one that was under way, and a single attempt at the last one.
  assert.equal(gateway.requests.length, 2)
  assert.equal(entries.length, 2)
  assert.match(String(entries[0]?.facts.error), /no answer within timeout \(0\.2 s\)/)
  assert.match(entries[1]?.message ?? '', /was not told of the end/)
})

test('aborting ends the end at once', async () => {
  await using gateway = await startPushgateway()
  gateway.fault = () => 'hang'
  const { pushgateway } = bench(gateway.url, { timeout: '5m' })
  await using _ = pushgateway
  const controller = new AbortController()
  pushgateway.start()
  await gateway.until(() => gateway.requests.length === 1)
  const ended = pushgateway.end({ success: true, signal: controller.signal })
  controller.abort(new Error('stop now'))
  await ended
})

test('a gateway that breaks down at the very end is tried again', async () => {
  await using gateway = await startPushgateway()
  const faults = ['reset', { status: 503 }, 'resetAfter'] as const
  for (const onEnd of ['keep', 'delete']) {
    let n = 0
    gateway.fault = () => faults[n++]
    const { entries, things, pushgateway } = bench(gateway.url, { on_end: onEnd, interval: '1h' })
    await using _ = pushgateway
    things.add(3)
    await pushgateway.end({ success: true, signal: never })
    assert.equal(gateway.value('things_total'), onEnd === 'keep' ? 3 : undefined)
    assert.deepEqual(entries, [])
  }
})

test('a last push under way is not overtaken: the end comes after it', async () => {
  await using gateway = await startPushgateway()
  const { things, pushgateway } = bench(gateway.url)
  await using _ = pushgateway
  for (let run = 0; run < 20; run += 1) things.add(1)
  pushgateway.start()
  await pushgateway.end({ success: true, signal: never })
  assert.equal(gateway.requests.length, 2)
  assert.equal(gateway.value('s3_streamer_success'), 1)
})

test('what the gateway refuses is told with its words and what to do, and not tried again at the end', async () => {
  await using gateway = await startPushgateway()
  const cases = [
    [400, 'pushed metrics are invalid', /answered 400 "pushed metrics are invalid" \(is the same name in use/],
    [401, '', /answered 401 \(set pushgateway\.auth\)/],
    [404, 'page\n\u001b[2Jnot found', /answered 404 "page \\+x1b\[2Jnot found" \(pushgateway\.endpoint must be/],
    [302, '', /answered 302 \(pushgateway\.endpoint must be/],
  ] as const
  for (const [status, body, expected] of cases) {
    const { length } = gateway.requests
    gateway.fault = () => ({ status, body })
    const { entries, pushgateway } = bench(gateway.url, { interval: '1h' })
    await using _ = pushgateway
    await pushgateway.end({ success: true, signal: never })
    assert.match(String(entries[0]?.facts.error), expected)
    assert.equal(gateway.requests.length, length + 1)
  }
})

test('a sample that throws is told like any other failure', async () => {
  await using gateway = await startPushgateway()
  const { entries, pushgateway, o } = bench(gateway.url)
  await using _ = pushgateway
  o.sample = () => {
    throw new Error('no memory')
  }
  pushgateway.start()
  await pushgateway.end({ success: true, signal: never })
  assert.match(String(entries[0]?.facts.error), /no memory/)
})

test('disposing without an end stops the pushes and leaves no mark', async () => {
  await using gateway = await startPushgateway()
  const { pushgateway } = bench(gateway.url)
  pushgateway.start()
  await gateway.until(() => gateway.requests.length >= 1)
  await pushgateway[Symbol.asyncDispose]()
  await pushgateway[Symbol.asyncDispose]()
  await pushgateway.end({ success: true, signal: never })
  assert.equal(gateway.value('s3_streamer_success'), undefined)
})

test('the password goes to the gateway and nowhere else', async () => {
  await using gateway = await startPushgateway()
  gateway.fault = ({ headers }) => (headers.authorization === undefined ? { status: 401 } : { status: 500 })
  const withUser = gateway.url.replace('//', '//ann:s%40cret@')
  const basic = `Basic ${Buffer.from('ann:s@cret').toString('base64')}`
  const cases = [
    [withUser, {}, basic],
    [gateway.url, { auth: { type: 'basic', username: 'ann', password: 's@cret' } }, basic],
    [withUser, { auth: { type: 'bearer', token: 's@cret' } }, 'Bearer s@cret'],
  ] as const
  for (const [endpoint, more, expected] of cases) {
    const { entries, pushgateway } = bench(endpoint, { ...more, timeout: '100ms' })
    await using _ = pushgateway
    await pushgateway.end({ success: true, signal: never })
    assert.equal(gateway.requests.at(-1)?.headers.authorization, expected)
    assert.equal(entries.length, 1)
    assert.doesNotMatch(JSON.stringify(entries), /cret/)
  }
  assert.throws(
    () => bench('http://ann:%zz@localhost'),
    (error) => error instanceof StreamError && error.code === 'config.invalid' && !error.message.includes('zz'),
  )
})

test('a gateway with TLS and a route prefix', async () => {
  const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
  const tls = { cert: readFileSync(path('server.pem')), key: readFileSync(path('server.key.pem')) }
  await using gateway = await startPushgateway({ tls, routePrefix: '/push/gw' })
  const trusting = bench(`${gateway.url}/`, { tls: { ca_file: path('ca.pem') } })
  await using _ = trusting.pushgateway
  await trusting.pushgateway.end({ success: true, signal: never })
  assert.deepEqual(trusting.entries, [])
  assert.equal(gateway.requests[0]?.url, '/push/gw/metrics/job/s3-streamer/instance/host-1')
  const strict = bench(gateway.url, { timeout: '300ms' })
  await using _strict = strict.pushgateway
  await strict.pushgateway.end({ success: true, signal: never })
  assert.match(String(strict.entries[0]?.facts.error), /certificate/)
})

test('the grouping key is job, instance and the labels, whatever their values hold', async () => {
  await using gateway = await startPushgateway()
  const labels = { path: '/var/tmp', none: '', up: '..', text: 'ä b?#%&+=é', _x1: 'y' }
  const { pushgateway } = bench(gateway.url, { job: 'a/b', instance: undefined, labels })
  await using _ = pushgateway
  await pushgateway.end({ success: true, signal: never })
  const [group] = gateway.groups.values()
  assert.deepEqual(group?.labels, { job: 'a/b', instance: hostname(), ...labels })
})

test('any value comes back from the path of the group', () => {
  const value = fc.string({ unit: 'binary', maxLength: 20 })
  void fc.assert(
    fc.property(value, value, (job, text) => {
      const path = groupPath({ job, text })
      // What a URL makes of the path must be the path itself, or the group would be another one.
      assert.equal(new URL(path, 'http://localhost').pathname, path)
      const [, metrics, ...segments] = path.split('/')
      assert.equal(metrics, 'metrics')
      assert.deepEqual(
        [0, 2].map((at) =>
          segments[at]?.endsWith('@base64')
            ? Buffer.from(segments[at + 1] as string, 'base64url').toString()
            : decodeURIComponent(segments[at + 1] as string),
        ),
        [job, text],
      )
    }),
  )
  assert.equal(
    groupPath({ job: 'directory_cleaner', path: '/var/tmp' }),
    '/metrics/job/directory_cleaner/path@base64/L3Zhci90bXA',
  )
  assert.equal(
    groupPath({ job: 'example', first_label: '', second_label: 'foobar' }),
    '/metrics/job/example/first_label@base64/=/second_label/foobar',
  )
})

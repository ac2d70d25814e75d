import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { status } from '@grpc/grpc-js'
import { type EmbeddedOtlp, type OtlpFault, startOtlp } from '../../test/servers/otlp.ts'
import { heldBack, otlpBench } from '../../test/servers/otlp-bench.ts'
import { shown, shownPoint } from '../../test/servers/otlp-data.ts'
import { MemoryMeter } from './meter.ts'
import { openOtlp } from './otlp.ts'
import { otlpConfig } from './otlp-config.ts'
import { ProcessMetrics } from './process-metrics.ts'

const never = new AbortController().signal
const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
const protocols = ['grpc', 'http'] as const

test('a process that exports nothing by OTLP does not load the library for it', async () => {
  const url = new URL('otlp.ts', import.meta.url).href
  const config = new URL('otlp-config.ts', import.meta.url).href
  const script = `
    import { registerHooks } from 'node:module'
    const loaded = []
    registerHooks({ load: (url, context, next) => (loaded.push(url), next(url, context)) })
    const { openOtlp } = await import(${JSON.stringify(url)})
    const { otlpConfig } = await import(${JSON.stringify(config)})
    const opened = await openOtlp(otlpConfig.parse({}), {})
    console.log(opened, loaded.length > 0, loaded.filter((url) => /@opentelemetry|@grpc/.test(url)))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script])
  assert.equal(stdout, 'undefined true []\n')
})

for (const protocol of protocols) {
  test(`by ${protocol} every series arrives with its value, kind, unit, help, labels and start, as Prometheus sees it`, async () => {
    await using receiver = await startOtlp(protocol)
    const meter = new MemoryMeter()
    using own = new ProcessMetrics(meter)
    const table = {
      things_total: { kind: 'counter', unit: '{thing}', labels: ['kind'], help: 'Things that were done.' },
      level: { kind: 'gauge', unit: '1', labels: ['kind'], help: 'How high it is.' },
      fill_ratio: { kind: 'gauge', unit: '1', labels: ['kind'], help: 'How full it is.' },
      wait_seconds: { kind: 'histogram', unit: 's', labels: ['kind'], help: 'How long it takes.' },
    } as const
    for (const kind of ['a', 'b\n"ö日\u{1f600}']) {
      const things = meter.bind(table, { kind })
      things.things_total.add(2 ** 52 + 1)
      things.level.set(-0.125)
      things.fill_ratio.set(Infinity)
      for (const seconds of [0.001, 0.005, 0.0051, 7, 1e6]) things.wait_seconds.record(seconds)
    }
    let expected: string[] = []
    const { otlp } = await otlpBench(receiver, {
      meter,
      settings: { attributes: { 'deployment.environment.name': 'test' }, service_name: 'ours' },
      sample: () => {
        own.sample()
        expected = meter.snapshot().map(shown)
      },
    })
    await using _ = otlp
    const openedMs = Date.now()
    await otlp.end({ signal: never })
    const { points } = receiver
    assert.deepEqual(points.map(shownPoint).toSorted(), expected.toSorted())
    assert.ok(points.every(({ startMs, timeMs }) => startMs <= timeMs && timeMs >= openedMs))
    const things = points.find(({ name }) => name === 'things_total')
    assert.equal(things?.startMs, meter.snapshot().find(({ name }) => name === 'things_total')?.startMs)
    const units = new Map(points.map(({ name, unit, help }) => [name, `${unit} ${help}`]))
    assert.equal(units.get('things_total'), '{thing} Things that were done.')
    assert.equal(units.get('level'), ' How high it is.')
    assert.equal(units.get('fill_ratio'), '1 How full it is.')
    const resource = points[0]?.resource ?? {}
    assert.equal(resource['service.name'], 'ours')
    assert.equal(resource['deployment.environment.name'], 'test')
    assert.match(String(resource['service.version']), /^\d+\.\d+\.\d+/)
    assert.ok(String(resource['host.name']).length > 0 && String(resource['service.instance.id']).length === 36)
  })

  test(`by ${protocol} values are exported at once and at the interval, with headers and gzip, and the last ones at the end`, async () => {
    await using receiver = await startOtlp(protocol)
    const bench = await otlpBench(receiver, {
      settings: { export_interval: '20ms', compression: 'gzip', headers: { 'X-Api-Key': 'hunter2' } },
    })
    await using otlp = bench.otlp
    bench.things.add(1)
    otlp.start()
    await receiver.until(() => receiver.value('things_total') === 1)
    bench.things.add(1)
    await receiver.until(() => receiver.value('things_total') === 2)
    assert.equal(String(receiver.accepted[0]?.headers['x-api-key']), 'hunter2')
    bench.things.add(5)
    await otlp.end({ signal: never })
    assert.equal(receiver.value('things_total'), 7)
    const { length } = receiver.accepted
    await otlp.end({ signal: never })
    assert.equal(receiver.accepted.length, length)
    assert.deepEqual(bench.told('warn'), [])
    assert.ok(!JSON.stringify(bench.entries).includes('hunter2'))
  })

  test(`by ${protocol} a receiver that comes back is told of once, and nothing of the counters is lost`, async () => {
    const gone = await startOtlp(protocol)
    const { port } = gone
    const bench = await otlpBench(gone, { settings: { export_interval: '50ms', timeout: '400ms' } })
    await using otlp = bench.otlp
    await gone[Symbol.asyncDispose]()
    bench.things.add(3)
    otlp.start()
    await bench.until(() => (bench.value('otlp_exports_total', 'failed') ?? 0) >= 2)
    assert.equal(bench.told('warn').length, 1)
    assert.match(
      bench.told('warn')[0] ?? '',
      /^metrics do not reach the OTLP receiver; all else goes on: cannot export metrics/,
    )
    bench.things.add(4)
    await using back = await startOtlp(protocol, { port })
    await back.until(() => back.value('things_total') === 7)
    await bench.until(() => bench.told('info').some((text) => text.startsWith('metrics reach the OTLP receiver again')))
    assert.equal(bench.told('warn').length, 1)
  })

  test(`by ${protocol} a receiver that answers nothing holds the end up for no more than one time-out`, async () => {
    await using receiver = await startOtlp(protocol)
    const bench = await otlpBench(receiver, {
      settings: { export_interval: '10ms', timeout: '300ms', logs: true, traces: 1 },
    })
    await using otlp = bench.otlp
    const signals: string[] = []
    receiver.fault = ({ signal }) => {
      signals.push(signal)
      return 'hang'
    }
    otlp.start()
    // Several exports of it, of which none must wait for its own time-out after another.
    for (let i = 0; i < 2000; i += 1) otlp.takeLine?.('{"level":"info","msg":"one"}')
    await receiver.until(() => receiver.count > 0)
    await otlp.end({ signal: never })
    // The one that was under way, and one more at the end.
    assert.ok(signals.filter((signal) => signal === 'logs').length <= 2, signals.join())
    assert.match(bench.told('warn').join(), /no answer within otlp.timeout \(0.3 s\)/)
  })

  test(`by ${protocol} an abort ends the end soon`, async () => {
    await using receiver = await startOtlp(protocol)
    receiver.fault = () => 'hang'
    const bench = await otlpBench(receiver, { settings: { timeout: '5m' } })
    await using otlp = bench.otlp
    const stop = new AbortController()
    const ending = otlp.end({ signal: stop.signal })
    await receiver.until(() => receiver.count > 0)
    stop.abort(new Error('enough'))
    await ending
    assert.deepEqual(bench.told('warn'), [])
  })
}

for (const protocol of protocols) {
  test(`by ${protocol} a receiver with TLS is trusted by its authority, and shown our certificate; one that is not trusted gets nothing`, async () => {
    const pem = (name: string) => readFileSync(path(name), 'utf8')
    const tls = { ca: pem('ca.pem'), cert: pem('server.pem'), key: pem('server.key.pem'), requestCert: true }
    await using receiver = await startOtlp(protocol, { tls })
    const own = { cert_file: path('client.pem'), key_file: path('client.key.pem') }
    const send = async (settings: Record<string, unknown>) => {
      const bench = await otlpBench(receiver, {
        settings: { endpoint: `localhost:${receiver.port}`, timeout: '1s', ...settings },
      })
      await using otlp = bench.otlp
      await otlp.end({ signal: never })
      return bench.told('warn').join()
    }
    assert.equal(await send({ tls: { ca_file: path('ca.pem'), ...own } }), '')
    assert.equal(await send({ tls: { insecure_skip_verify: true, ...own } }), '')
    assert.equal(receiver.count, 2)
    const [unknown, plain, nameless] = await Promise.all(
      [{ tls: own }, {}, { tls: { ca_file: path('ca.pem') } }].map((settings) => send(settings)),
    )
    assert.match(unknown ?? '', /does otlp.tls trust it\?\)|self-signed certificate/)
    assert.match(plain ?? '', /with TLS or without/)
    assert.match(nameless ?? '', /cannot export metrics/)
    assert.equal(receiver.count, 2)
  })
}

const refusals: ReadonlyArray<readonly ['grpc' | 'http', OtlpFault, RegExp, string]> = [
  ['http', { status: 401, body: 'no key' }, /it answered 401 "no key" \(set otlp.headers\)/, 'failed'],
  ['http', { status: 404, body: '<html>' }, /it answered 404.*must be the OTLP receiver itself/, 'failed'],
  ['http', { status: 302, headers: { location: '/login' } }, /it answered 302/, 'failed'],
  ['http', { status: 413 }, /it answered 413.*largest request/, 'refused'],
  ['http', { status: 400, body: Buffer.from('\x12\x04odd\u0000') }, /it answered 400 "odd"/, 'refused'],
  ['http', 'reset', /is an OTLP receiver running there/, 'failed'],
  ['http', { answer: Buffer.from('<html>hi'), type: 'text/html' }, /it answered with a web page/, 'failed'],
  [
    'grpc',
    { grpc: status.UNAUTHENTICATED, details: 'no key' },
    /UNAUTHENTICATED "no key" \(set otlp.headers\)/,
    'failed',
  ],
  ['grpc', { grpc: status.UNIMPLEMENTED }, /UNIMPLEMENTED.*takes this signal by gRPC/, 'failed'],
  ['grpc', { grpc: status.INVALID_ARGUMENT, details: 'odd' }, /INVALID_ARGUMENT "odd"/, 'refused'],
  ['grpc', { grpc: status.RESOURCE_EXHAUSTED }, /it is busy/, 'failed'],
]
for (const [protocol, fault, words, outcome] of refusals) {
  test(`by ${protocol} the answer ${JSON.stringify(fault).slice(0, 60)} is told with what to do`, async () => {
    await using receiver = await startOtlp(protocol)
    receiver.fault = () => fault
    const bench = await otlpBench(receiver, { settings: { timeout: '100ms' } })
    await using otlp = bench.otlp
    await otlp.end({ signal: never })
    assert.equal(bench.told('warn').length, 1)
    assert.match(bench.told('warn')[0] ?? '', words)
    assert.equal(bench.value('otlp_exports_total', outcome), 1)
  })
}

test('a secret that the receiver sends back is in no message', async () => {
  for (const protocol of protocols) {
    await using receiver = await startOtlp(protocol)
    const words = 'sent {"authorization":"Bearer hunter2\\"x","x-key":"hunter3"} as Bearer hunter2"x'
    // ExportMetricsServiceResponse { partial_success { error_message } }
    const partial = Buffer.concat([Buffer.from([0x0a, words.length + 2, 0x12, words.length]), Buffer.from(words)])
    const faults: readonly OtlpFault[] =
      protocol === 'http'
        ? [{ status: 401, body: words }, { answer: partial }]
        : [{ grpc: status.INTERNAL, details: words }, { answer: partial }]
    for (const fault of faults) {
      receiver.fault = () => fault
      const headers = { authorization: 'Bearer hunter2"x', 'x-key': 'hunter3' }
      const bench = await otlpBench(receiver, { settings: { headers } })
      await using otlp = bench.otlp
      await otlp.end({ signal: never })
      assert.match(bench.told('warn').join(), /sent/)
      assert.doesNotMatch(JSON.stringify(bench.entries), /hunter/)
    }
  }
})

test('garbage in an answer of success counts as success', async () => {
  for (const protocol of protocols) {
    await using receiver = await startOtlp(protocol)
    receiver.fault = () => ({ answer: Buffer.from('\xff\xff\xff\xff\x0agarbage', 'latin1') })
    const bench = await otlpBench(receiver)
    await using otlp = bench.otlp
    await otlp.end({ signal: never })
    assert.equal(bench.value('otlp_exports_total', 'ok'), 1)
    assert.deepEqual(bench.told('warn'), [])
  }
})

test('a receiver that takes only a part is told of once, and what it left out is counted', async () => {
  await using receiver = await startOtlp('http')
  // ExportMetricsServiceResponse { partial_success { rejected_data_points: 2, error_message: "old" } }
  receiver.fault = () => ({ answer: Buffer.from([0x0a, 7, 0x08, 2, 0x12, 3, 0x6f, 0x6c, 0x64]) })
  const bench = await otlpBench(receiver, { settings: { export_interval: '10ms' } })
  await using otlp = bench.otlp
  otlp.start()
  await receiver.until(() => receiver.count >= 3)
  await otlp.end({ signal: never })
  assert.equal(bench.told('warn').length, 1)
  assert.match(bench.told('warn')[0] ?? '', /did not take everything.*old/)
  assert.ok((bench.value('otlp_dropped_total') ?? 0) >= 6)
})

test('a receiver that asks to wait is asked again after that time, not before', async () => {
  await using receiver = await startOtlp('http')
  const times: number[] = []
  receiver.fault = () => {
    times.push(performance.now())
    return times.length === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined
  }
  const bench = await otlpBench(receiver, { settings: { timeout: '20s' } })
  await using otlp = bench.otlp
  bench.things.add(1)
  await otlp.end({ signal: never })
  assert.equal(receiver.value('things_total'), 1)
  assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= 990)
  assert.deepEqual(bench.told('warn'), [])
})

test('metrics that are too many for one request go in several', async () => {
  await using receiver = await startOtlp('http')
  receiver.fault = ({ bytes }) => (bytes > 1500 ? { status: 413 } : undefined)
  const bench = await otlpBench(receiver)
  await using otlp = bench.otlp
  for (let i = 0; i < 40; i += 1) {
    const table = { [`thing_${i}_total`]: { kind: 'counter', unit: '{thing}', help: 'Things.' } } as const
    bench.meter.bind(table, {})
  }
  await otlp.end({ signal: never })
  const names = new Set(receiver.points.map(({ name }) => name))
  for (const { name } of bench.meter.snapshot()) assert.ok(names.has(name), name)
  assert.deepEqual(bench.told('warn'), [])
})

test('by gRPC metrics that are more than a message may be go in several', async () => {
  await using receiver = await startOtlp('grpc')
  const bench = await otlpBench(receiver)
  await using otlp = bench.otlp
  for (let i = 0; i < 8000; i += 1) {
    const table = { [`thing_${i % 8}_total`]: { kind: 'counter', unit: '{thing}', help: 'Things.' } } as const
    bench.meter.bind(table, { a: `${i}`.padStart(250), b: 'b'.repeat(250), c: 'c'.repeat(250) } as Record<
      never,
      string
    >)
  }
  await otlp.end({ signal: never })
  const names = receiver.points.map(({ name }) => name)
  assert.equal(names.length, bench.meter.snapshot().length)
  assert.ok(receiver.accepted.length >= 2)
  assert.deepEqual(bench.told('warn'), [])
})

test('a sample that throws stops neither the exports nor the process', async () => {
  await using receiver = await startOtlp('http')
  let calls = 0
  const bench = await otlpBench(receiver, {
    settings: { export_interval: '10ms' },
    sample: () => {
      calls += 1
      if (calls === 1) throw new Error('a bug')
    },
  })
  await using otlp = bench.otlp
  otlp.start()
  await receiver.until(() => receiver.count >= 1)
  await otlp.end({ signal: never })
  assert.match(bench.told('warn')[0] ?? '', /cannot make the values of the metrics: a bug/)
})

test('what speaks no OTLP at all is an error like any other', async () => {
  const server = createServer((socket) => {
    socket.on('error', () => undefined)
    socket.end('SSH-2.0-OpenSSH_9.2\r\n')
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const address = server.address()
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0
  for (const protocol of protocols) {
    const bench = await otlpBench({ port }, { settings: { protocol, timeout: '200ms' } })
    await using otlp = bench.otlp
    await otlp.end({ signal: never })
    assert.match(bench.told('warn').join(), /cannot export metrics/)
  }
  server.close()
})

test('what waits for a receiver that always fails is bounded, and told of once', async () => {
  await using receiver: EmbeddedOtlp = await startOtlp('http')
  receiver.fault = () => ({ status: 500, body: 'x'.repeat(1000) })
  const bench = await otlpBench(receiver, { settings: { export_interval: '1ms', logs: true } })
  await using otlp = bench.otlp
  otlp.start()
  for (let i = 0; i < 10_000; i += 1) otlp.takeLine?.(JSON.stringify({ level: 'warn', msg: 'x'.repeat(1000), i }))
  const full = bench.value('otlp_dropped_total') ?? 0
  assert.ok(full >= 10_000 - 2048, `${full}`)
  await receiver.until(() => receiver.count >= 200)
  await otlp.end({ signal: never })
  // One for each signal, and one for the queue that was full.
  assert.ok(bench.told('warn').length <= 4, bench.told('warn').join('\n'))
})

test('headers that go over the network without TLS are warned of, by name', async () => {
  await using receiver = await startOtlp('http')
  const warned = async (settings: Record<string, unknown>) => {
    const bench = await otlpBench(receiver, { settings: { headers: { 'x-key': heldBack }, ...settings } })
    await bench.otlp[Symbol.asyncDispose]()
    return bench.told('warn').join()
  }
  const remote = 'http://192.0.2.1:4318'
  const told = await warned({ endpoint: remote })
  assert.match(told, /otlp\.headers go over the network without TLS/)
  assert.ok(!told.includes(heldBack))
  for (const fine of [{}, { endpoint: remote, headers: {} }, { endpoint: remote.replace('http', 'https') }])
    assert.equal(await warned(fine), '')
})

test('without `enabled` there is no export at all', async () => {
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
  const opened = await openOtlp(otlpConfig.parse({ logs: true, traces: 1 }), {
    meter: new MemoryMeter(),
    sample: () => undefined,
    hide: String,
    log,
  })
  assert.equal(opened, undefined)
})

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type * as z from 'zod'
import { batchOf, testContext, untilAccepted } from '../../test/conformance/sink.ts'
import { type HttpInput, type InputOptions, startHttpInput } from '../../test/servers/http-input.ts'
import { blockOf } from '../core/block.ts'
import type { Finding, Sink } from '../core/component.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { judgeCertificate } from './certificate-finding.ts'
import { httpConfig, httpSink } from './http.ts'

const live = { signal: new AbortController().signal }
type Settings = Omit<z.input<typeof httpConfig>, 'type'>

function sinkOf(settings: Settings, meter = new MemoryMeter()) {
  return httpSink.create(httpConfig.parse({ type: 'http', ...settings }), { ...testContext(), meter })
}

async function withInput(options: InputOptions, body: (input: HttpInput) => Promise<void>): Promise<void> {
  const input = await startHttpInput(options)
  try {
    await body(input)
  } finally {
    await input.close()
  }
}

async function examined(sink: Sink): Promise<Finding[]> {
  const findings: Finding[] = []
  for await (const finding of sink.examine(live)) findings.push(finding)
  return findings
}

test('names of endpoints have no secrets, and are unique all the same', async () => {
  await using sink = sinkOf({ endpoints: ['http://u:geheim@h/a?token=geheim', 'http://u:geheim@h/a?token=zwei'] })
  assert.deepEqual(
    sink.dependencies.map(({ name }) => name),
    ['http http://h/a?…', 'http http://h/a?… (2)'],
  )
})

test('an endpoint that refuses us is paused since the first refusal, and up once it takes a batch', async () => {
  let isOpen = false
  await withInput({ fault: () => (isOpen ? undefined : { status: 401 }) }, async (input) => {
    await using sink = sinkOf({ endpoints: [input.url], retry: { min: '1ms', max: '1ms' } })
    const [dependency] = sink.dependencies
    assert.ok(dependency)
    await assert.rejects(sink.write(batchOf(blockOf(['a'])), live), /401/)
    const { state, sinceMs, error } = dependency
    assert.equal(state, 'paused')
    assert.match(error ?? '', /answered 401/)
    await assert.rejects(sink.write(batchOf(blockOf(['a'])), live))
    assert.equal(dependency.sinceMs, sinceMs)
    assert.equal(dependency.state, 'paused')
    isOpen = true
    await dependency.probe(live)
    assert.equal(dependency.state, 'paused')
  })
})

test('what is said of an endpoint: rights, redirects, paths, clock; never a query', async () => {
  const cases: Array<[InputOptions['fault'], Finding['level'], RegExp]> = [
    [() => ({ status: 401 }), 'problem', /answers 401 .*does not let us in/],
    [() => ({ status: 302, headers: { location: '/other?token=geheim' } }), 'problem', /302 .*→ .*endpoint: \/other$/],
    [() => ({ status: 404 }), 'warning', /404 .*no such path/],
    [() => ({ status: 405 }), 'ok', /answers 405/],
    [() => ({ status: 503 }), 'problem', /503 .*the server fails/],
    [
      () => ({ status: 200, headers: { date: new Date(Date.now() - 3_600_000).toUTCString() } }),
      'warning',
      /ahead of that of http /,
    ],
  ]
  for (const [fault, level, words] of cases)
    await withInput(fault === undefined ? {} : { fault }, async (input) => {
      await using sink = sinkOf({ endpoints: [`${input.url}/?token=geheim`] })
      const findings = await examined(sink)
      const texts = findings.map((finding) => `${finding.level} ${finding.text} → ${finding.advice ?? ''}`)
      assert.ok(
        texts.some((text) => text.startsWith(level) && words.test(text)),
        texts.join('\n'),
      )
      assert.doesNotMatch(texts.join('\n'), /geheim/)
      assert.equal(input.accepted.length, 0)
    })
})

test('a certificate is told with its end; one that is not verified is a warning', async () => {
  const path = (name: string) => fileURLToPath(new URL(`../../test/servers/tls/${name}`, import.meta.url))
  const tls = { cert: readFileSync(path('server.pem')), key: readFileSync(path('server.key.pem')) }
  await withInput({ tls }, async (input) => {
    await using known = sinkOf({ endpoints: [input.url], tls: { ca_file: path('ca.pem') } })
    assert.match((await examined(known))[0]?.text ?? '', /certificate for .+ by .+, good until \d{4}-\d\d-\d\d \(TLSv1/)
    await using careless = sinkOf({ endpoints: [input.url], tls: { insecure_skip_verify: true } })
    assert.equal((await examined(careless))[0]?.level, 'warning')
    await using distrustful = sinkOf({ endpoints: [input.url] })
    const problem = (await examined(distrustful)).find(({ level }) => level === 'problem')
    assert.match(`${problem?.text} → ${problem?.advice}`, /certificate.* → .*tls\.ca_file/)
  })
})

test('certificates that end soon are a warning, ended ones a problem', () => {
  const nowMs = Date.UTC(2026, 0, 1)
  const levelAfter = (days: number, isVerified = true) =>
    judgeCertificate(
      'x',
      { subject: 's', issuer: 'i', validToMs: nowMs + days * 86_400_000, protocol: 'TLSv1.3' },
      { isVerified, nowMs },
    ).level
  assert.deepEqual(
    [-1, 3, 13, 14, 400].map((days) => levelAfter(days)),
    ['problem', 'warning', 'warning', 'ok', 'ok'],
  )
  assert.equal(levelAfter(400, false), 'warning')
})

test('A8: connections, buffer and durations of the sender are really fed, and nothing is ever dropped', async () => {
  const meter = new MemoryMeter()
  const values = () =>
    Object.fromEntries(
      meter
        .snapshot()
        .map(({ name, labels, value, count, spec }) => [
          `${name}${labels.component === undefined ? '' : ` ${labels.component}`}`,
          spec.kind === 'histogram' ? count : value,
        ]),
    )
  const { promise: asked, resolve: ask } = Promise.withResolvers<void>()
  let turn = 0
  const fault: InputOptions['fault'] = () => {
    turn += 1
    if (turn > 1) return undefined
    ask()
    return 'hang'
  }
  await withInput({ fault }, async (input) => {
    await using sink = sinkOf({ endpoints: [input.url], max_in_flight: 2, batch: { bytes: '1KiB' } }, meter)
    const batch = batchOf(blockOf(['x'.repeat(511)]))
    const stopping = new AbortController()
    const hanging = sink.write(batch, stopping)
    await asked
    sink.sample?.()
    const during = values()
    assert.equal(during['http_active_connections http_sender'], 1)
    assert.equal(during['http_idle_connections http_sender'], 0)
    assert.equal(during['http_buffer_utilization_ratio http_sender'], 512 / 2048)
    stopping.abort(new Error('stop'))
    await assert.rejects(hanging)
    await untilAccepted(sink, batch)
    sink.sample?.()
    const after = values()
    assert.equal(after['http_active_connections http_sender'], 0)
    assert.equal(after['http_idle_connections http_sender'], 1)
    assert.equal(after['http_buffer_utilization_ratio http_sender'], 0)
    assert.equal(after['http_request_duration_seconds http_sender'], 2)
    assert.equal(after.http_buffer_drops_total, 0)
    assert.equal(after.http_batches_sent_total, 1)
  })
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startOtlp } from '../../test/servers/otlp.ts'
import { heldBack, otlpBench } from '../../test/servers/otlp-bench.ts'
import type { ListedObject } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { ObjectSpan } from '../core/tracing.ts'
import { createLog } from './log.ts'
import { MemoryMeter } from './meter.ts'
import { OtlpQueue } from './otlp-queue.ts'
import { OtlpSender } from './otlp-sender.ts'

const never = new AbortController().signal
const counts = { read: 5, delivered: 3, filtered: 1, quarantined: 1, bytes: 99 }
const facts = { sink: 'http', records: 10, bytes: 1000, contentType: 'application/x-ndjson' }
const done = { outcome: 'done', reason: undefined, counts, format: 'ndjson' } as const
const listed = (key: string): ListedObject => ({
  ...{ id: `logs/${key}@1`, bucket: 'logs', key, size: 7, timeMs: 0, lastModifiedMs: 0 },
})

test('lines of the log arrive as records, with severity, time, body and facts', async () => {
  for (const protocol of ['grpc', 'http'] as const) {
    await using receiver = await startOtlp(protocol)
    const { otlp } = await otlpBench(receiver, { settings: { logs: true } })
    await using _ = otlp
    const beforeMs = Date.now()
    const log = createLog({ level: 'debug', format: 'json', color: false, write: (line) => otlp.takeLine?.(line) })
    log.warn({ key: 'a/b\u202e', attempt: 3, of: { bucket: 'logs' }, list: ['x', 'y'] }, 'batch not delivered yet')
    log.debug({}, 'small')
    otlp.takeLine?.('no JSON\n')
    log.error({ stack: 'x'.repeat(10_000) }, 'large')
    await otlp.end({ signal: never })
    const [first, second, odd, third] = receiver.logs
    assert.deepEqual(first?.attributes, { key: 'a/b\u202e', attempt: 3, of: { bucket: 'logs' }, list: ['x', 'y'] })
    assert.deepEqual([first?.severityNumber, first?.severityText, first?.body], [13, 'WARN', 'batch not delivered yet'])
    assert.ok((first?.timeMs ?? 0) >= beforeMs)
    assert.equal(first?.resource['service.name'], 's3-edgedelta-streamer')
    assert.deepEqual([second?.severityNumber, second?.body], [5, 'small'])
    assert.deepEqual([odd?.severityNumber, odd?.body], [0, 'no JSON'])
    assert.deepEqual([third?.severityNumber, String(third?.attributes.stack).length], [17, 4096])
  }
})

test('a log that is exported makes no more log by its own failures', async () => {
  await using receiver = await startOtlp('http')
  receiver.fault = () => ({ status: 500 })
  const meter = new MemoryMeter()
  const { otlp, entries } = await otlpBench(receiver, { meter, settings: { logs: true } })
  await using _ = otlp
  const copy = createLog({ level: 'debug', format: 'json', color: false, write: (line) => otlp.takeLine?.(line) })
  // What the export itself says goes the way of the whole log.
  const push = entries.push.bind(entries)
  entries.push = (...items) => {
    for (const { text } of items) copy.warn({}, text)
    return push(...items)
  }
  copy.warn({}, 'the first')
  await receiver.until(() => receiver.count >= 2)
  await otlp.end({ signal: never })
  assert.equal(entries.filter(({ text }) => text.startsWith('logs do not reach')).length, 1)
})

test('traces show each object with its outcome, without secrets, and link it to the batches of its records and back', async () => {
  for (const protocol of ['grpc', 'http'] as const) {
    await using receiver = await startOtlp(protocol)
    const { otlp } = await otlpBench(receiver, { settings: { traces: 1 } })
    await using _ = otlp
    const tracing = otlp.tracing('web')
    const [one, two] = [tracing?.begin(listed('one.json')), tracing?.begin(listed('two.json'))]
    const first = tracing?.batch(facts, [one, one, two])
    first?.retried(new StreamError('sink.unavailable', 'no answer'))
    first?.ended({ refused: 0 })
    const second = tracing?.batch(facts, [two, undefined])
    second?.ended({ refused: 2 })
    one?.ended(done)
    two?.ended({ outcome: 'quarantined', reason: `it is no JSON: ${heldBack}`, counts, format: undefined })
    await otlp.end({ signal: never })
    const { spans } = receiver
    const named = (name: string, at: number) => {
      const span = spans.filter((span) => span.name === name)[at]
      assert.ok(span)
      return { ...span, id: `${span.traceId}/${span.spanId}` }
    }
    const [batch, refused] = [named('batch', 0), named('batch', 1)]
    const [good, bad] = [named('object', 0), named('object', 1)]
    assert.equal(spans.length, 4)
    assert.ok(!JSON.stringify(spans).includes(heldBack))
    assert.ok(spans.every(({ parentSpanId, startMs, endMs }) => parentSpanId === '' && endMs >= startMs))
    assert.deepEqual(batch.links, [good.id, bad.id])
    assert.deepEqual(good.links, [batch.id])
    assert.deepEqual(bad.links, [batch.id, refused.id])
    assert.deepEqual(good.attributes, {
      ...{ pipeline: 'web', bucket: 'logs', key: 'one.json', stored_bytes: 7, outcome: 'done', format: 'ndjson' },
      ...{ records_read: 5, records_delivered: 3, records_filtered: 1, records_quarantined: 1, bytes: 99 },
    })
    assert.equal(good.status.code ?? 0, 0)
    assert.deepEqual(bad.status, { code: 2, message: 'it is no JSON: [redacted]' })
    assert.deepEqual(batch.attributes, {
      ...{ pipeline: 'web', sink: 'http', records: 10, bytes: 1000, content_type: 'application/x-ndjson' },
      ...{ attempts: 2, refused: 0, outcome: 'accepted' },
    })
    assert.deepEqual(batch.events, ['retry'])
    assert.equal(refused.status.code, 2)
  }
})

test('the part of the objects that is asked for is traced, and batches of others have no span', async () => {
  await using receiver = await startOtlp('http')
  const { otlp } = await otlpBench(receiver, { settings: { traces: 0.1 } })
  await using _ = otlp
  const tracing = otlp.tracing('web')
  const spans = Array.from({ length: 2000 }, (_, i) => tracing?.begin(listed(`${i}`)))
  const traced = spans.filter((span) => span !== undefined)
  assert.ok(traced.length > 100 && traced.length < 320, `${traced.length}`)
  assert.equal(tracing?.batch(facts, [undefined, undefined]), undefined)
  for (const span of traced) span.ended(done)
  await otlp.end({ signal: never })
  assert.equal(receiver.spans.length, traced.length)
})

test('links are limited both ways, whatever is in a batch', async () => {
  await using receiver = await startOtlp('http')
  const { otlp } = await otlpBench(receiver, { settings: { traces: 1 } })
  await using _ = otlp
  const tracing = otlp.tracing('web')
  const objects = Array.from({ length: 300 }, (_, i) => tracing?.begin(listed(`${i}`)))
  tracing?.batch(facts, objects)?.ended({ refused: 0 })
  const [large, ...others] = objects as ObjectSpan[]
  for (let i = 0; i < 300; i += 1) tracing?.batch(facts, [large])?.ended({ refused: 0 })
  for (const span of others) span.ended(done)
  large?.ended()
  await otlp.end({ signal: never })
  const aborted = receiver.spans.find(({ attributes }) => attributes.outcome === 'aborted')
  assert.deepEqual([aborted?.links.length, aborted?.droppedLinks], [128, 301 - 128])
  assert.equal(Math.max(...receiver.spans.map(({ links }) => links.length)), 128)
})

test('without logs and traces there is nothing to call', async () => {
  await using receiver = await startOtlp('http')
  const { otlp } = await otlpBench(receiver)
  await using _ = otlp
  assert.deepEqual([otlp.takeLine, otlp.tracing('web')], [undefined, undefined])
})

test('a queue keeps what came first, in order, over a receiver that fails, and counts what has no room', async () => {
  const got: number[] = []
  let fails = 2
  const { promise, resolve } = Promise.withResolvers<void>()
  const meter = new MemoryMeter()
  const log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
  const sender = new OtlpSender<number>({
    ...{ signal: 'logs', quote: String, timeoutMs: 1000, log, meter, partial: () => undefined },
    encode: (items) => Buffer.from(JSON.stringify(items)),
    transport: {
      send: async (_, bytes) => {
        fails -= 1
        if (fails >= 0) throw new StreamError('sink.access', 'not now')
        got.push(...(JSON.parse(bytes.toString()) as number[]))
        if (got.length === 10) resolve()
        return Buffer.alloc(0)
      },
      [Symbol.asyncDispose]: async () => undefined,
    },
  })
  const limits = { items: 10, bytes: 1000, batchItems: 4, delayMs: 1, retryMs: 1 }
  const queue = new OtlpQueue({ signal: 'logs', sender, log, limits })
  for (let i = 0; i < 13; i += 1) queue.add(i, 10)
  await promise
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
  assert.equal(meter.snapshot().find(({ name }) => name === 'otlp_dropped_total')?.value, 3)
  await queue.end({ signal: never })
  queue.add(99, 991)
  assert.equal(queue.length, 0)
})

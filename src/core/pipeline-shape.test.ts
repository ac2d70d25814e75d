/** The pipeline with filters between decoder and sink: what is left out is counted, settles in order, and is never read twice. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as z from 'zod'
import { testContext } from '../../test/conformance/sink.ts'
import { FakeSink, FakeSource, ledgerIn, never, newFolder, objectOf, pipelineOf } from '../../test/fakes/pipeline.ts'
import { type ShapeConfig, shapeFields } from '../filters/schema.ts'
import { createShape } from '../filters/shape.ts'
import { createFormats } from '../formats/compile.ts'
import { StreamError } from './errors.ts'

const schema = z.strictObject(shapeFields)
const once = { once: true, soft: never, hard: never }
const shapeOf = (config: z.input<typeof schema>) =>
  createShape(schema.parse(config) as ShapeConfig, { context: testContext(), host: 'h' })

const unknownTime = { timestamp_regex: '', timestamp_format: '', content_type: 'text/csv' }
const records = Array.from({ length: 200 }, (_, i) => `{"n":${i},"even":${i % 2 === 0}}`)
const evens = records.filter((_, i) => i % 2 === 0)

test('filtered records are counted, the others arrive, and the object is done', async () => {
  await using ledger = ledgerIn(newFolder())
  const object = objectOf(1, records)
  const sink = new FakeSink()
  const source = new FakeSource([object], ledger, { chunk: 700 })
  const totals = await pipelineOf(source, sink, ledger, { shape: shapeOf({ match: '"even":true' }) }).run(once)
  assert.deepEqual([...sink.times.keys()].toSorted(), evens.toSorted())
  assert.deepEqual([totals.read, totals.delivered, totals.filtered, totals.quarantined], [200, 100, 100, 0])
  assert.equal(totals.bytes, object.body.length)
  const entry = ledger.find(object.id)
  assert.deepEqual([entry?.state, entry?.position.records], ['done', 200])
})

test('an object of which nothing goes on is done, with every record filtered', async () => {
  await using ledger = ledgerIn(newFolder())
  const sink = new FakeSink()
  const source = new FakeSource([objectOf(1, records)], ledger, { chunk: 500 })
  const totals = await pipelineOf(source, sink, ledger, { shape: shapeOf({ match: 'never' }) }).run(once)
  assert.deepEqual([totals.read, totals.filtered, totals.objects.done, sink.writes], [200, 200, 1, 0])
})

test('a start after a hard stop goes on behind what was settled: each record counts once, filtered ones too', async () => {
  const folder = newFolder()
  const object = objectOf(1, records)
  const shape = shapeOf({ match: '"even":true' })
  const hard = new AbortController()
  {
    await using ledger = ledgerIn(folder)
    const sink = new FakeSink({ limits: { records: 7 }, maxInFlight: 1 })
    sink.accepted = () => {
      if (sink.times.size > 40) hard.abort(new Error('stop'))
    }
    const pipeline = pipelineOf(new FakeSource([object], ledger, { chunk: 300 }), sink, ledger, { shape })
    await pipeline.run({ once: true, soft: never, hard: hard.signal })
    assert.ok(sink.times.size < 100)
  }
  await using ledger = ledgerIn(folder)
  const before = ledger.find(object.id)
  assert.ok(before && before.position.records > 0)
  const sink = new FakeSink()
  await pipelineOf(new FakeSource([object], ledger, { chunk: 300 }), sink, ledger, { shape }).run(once)
  const { read, delivered, filtered, quarantined } = ledger.find(object.id)?.counts ?? {}
  assert.deepEqual([read, delivered, filtered, quarantined], [200, 100, 100, 0])
})

test('records the sink refuses keep their numbers, with gaps, and are delivered after a requeue', async () => {
  await using ledger = ledgerIn(newFolder())
  const object = objectOf(1, records)
  const shape = shapeOf({ match: '"even":true' })
  const refusing = new FakeSink({
    fault: async (batch) =>
      new Map(Array.from({ length: batch.count }, (_, i) => [i, new StreamError('sink.rejected', 'no')])),
  })
  await pipelineOf(new FakeSource([object], ledger), refusing, ledger, { shape }).run(once)
  assert.deepEqual(ledger.find(object.id)?.counts.quarantined, 100)
  const entries = ledger.quarantine()
  const numbers = entries.flatMap(({ id }) => [...(ledger.rejectedRecords(id)?.numbers ?? [])])
  assert.deepEqual(
    numbers.toSorted((a, b) => a - b),
    evens.map((_, i) => i * 2),
  )
  ledger.requeue('all')
  const sink = new FakeSink()
  const soft = new AbortController()
  const running = pipelineOf(new FakeSource([], ledger), sink, ledger, { shape }).run({
    once: false,
    soft: soft.signal,
    hard: never,
  })
  while (ledger.quarantine().length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  soft.abort(new Error('enough'))
  await running
  assert.deepEqual([...sink.times.keys()].toSorted(), evens.toSorted())
  const { delivered, filtered, quarantined } = ledger.find(object.id)?.counts ?? {}
  assert.deepEqual([delivered, filtered, quarantined], [100, 100, 0])
})

test('on_error quarantine keeps records as they were; a requeue passes them through the filter of now', async () => {
  await using ledger = ledgerIn(newFolder())
  const object = objectOf(1, ['{"s":5,"p":"x"}', '{"other":1,"p":"y"}', '{"other":9,"p":"z"}', '{"s":1}'])
  const strict = shapeOf({ filter: 's > 2', on_error: 'quarantine', redact: ['p'] })
  const sink = new FakeSink()
  const totals = await pipelineOf(new FakeSource([object], ledger), sink, ledger, { shape: strict }).run(once)
  assert.deepEqual([totals.read, totals.delivered, totals.filtered, totals.quarantined], [4, 1, 1, 2])
  const [entry] = ledger.quarantine()
  assert.match(String(entry?.reason), /no such field: s/)
  assert.equal(ledger.rejectedRecords(entry?.id ?? 0)?.data.toString(), '{"other":1,"p":"y"}\n{"other":9,"p":"z"}\n')
  ledger.requeue('all')
  const mended = shapeOf({ filter: 'has(fields.s) || other > 2', redact: ['p'] })
  const soft = new AbortController()
  const run = pipelineOf(new FakeSource([], ledger), sink, ledger, { shape: mended }).run({
    once: false,
    soft: soft.signal,
    hard: never,
  })
  while (ledger.quarantine().length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  soft.abort(new Error('enough'))
  await run
  assert.deepEqual([...sink.times.keys()], ['{"s":5,"p":"[redacted]"}', '{"other":9,"p":"[redacted]"}'])
  const { delivered, filtered, quarantined } = ledger.find(object.id)?.counts ?? {}
  assert.deepEqual([delivered, filtered, quarantined], [2, 2, 0])
})

test('a header that is longer than a piece of the network names the fields all the same: what is to be hidden is', async () => {
  await using ledger = ledgerIn(newFolder())
  const names = Array.from({ length: 1200 }, (_, i) => `column_${i}`)
  const rows = Array.from({ length: 30 }, (_, r) => names.map((_, i) => `${r}-${i}`).join(','))
  const sink = new FakeSink()
  const object = objectOf(1, [`${names.join(',')},password`, ...rows.map((row) => `${row},hunter2`)])
  const csv = createFormats([
    { name: 'wide', decoder: 'csv', filename_pattern: '*', skip_header_lines: 1, ...unknownTime },
  ])
  const shape = shapeOf({ redact: ['password'] })
  const source = new FakeSource([object], ledger, { chunk: 1400 })
  const totals = await pipelineOf(source, sink, ledger, { shape, formats: csv }).run(once)
  assert.deepEqual([totals.delivered, totals.quarantined], [30, 0])
  for (const record of sink.times.keys()) assert.match(record, /,\[redacted\]$/)
})

test('records that the filter errs on are one entry of their block, however many there are, and all come when asked for', async () => {
  await using ledger = ledgerIn(newFolder())
  const all = Array.from({ length: 4000 }, (_, i) => (i % 2 === 0 ? `{"s":${i}}` : `{"t":${i}}`))
  const object = objectOf(1, all)
  const sink = new FakeSink()
  const strict = shapeOf({ filter: 's >= 0', on_error: 'quarantine' })
  await pipelineOf(new FakeSource([object], ledger), sink, ledger, { shape: strict }).run(once)
  assert.ok(ledger.quarantine().length < 10)
  ledger.requeue('all')
  const soft = new AbortController()
  const mended = shapeOf({ filter: 'has(fields.s) || t % 4 == 1', on_error: 'quarantine' })
  const run = pipelineOf(new FakeSource([], ledger), sink, ledger, { shape: mended }).run({
    ...{ once: false, soft: soft.signal, hard: never },
  })
  while (ledger.quarantine().length > 0) await new Promise((resolve) => setTimeout(resolve, 5))
  soft.abort(new Error('enough'))
  await run
  assert.equal(sink.times.size, 3000)
  const { read, delivered, filtered, quarantined } = ledger.find(object.id)?.counts ?? {}
  assert.deepEqual([read, delivered, filtered, quarantined], [4000, 3000, 1000, 0])
})

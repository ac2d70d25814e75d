import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as z from 'zod'
import { testContext } from '../../test/conformance/sink.ts'
import { blockOf, recordAt, recordNumber } from '../core/block.ts'
import { createFormats } from '../formats/compile.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { type ShapeConfig, shapeFields } from './schema.ts'
import { createShape, type Shaped } from './shape.ts'

const object = { id: 'b/a.log@1', bucket: 'b', key: 'a.log', timeMs: Date.UTC(2026, 10, 21, 8, 30) }
const schema = z.strictObject(shapeFields)

/** The steps of a configuration for an object whose records are `records`. */
function shapeOf(config: z.input<typeof schema>, sample = '') {
  const meter = new MemoryMeter()
  const shape = createShape(schema.parse(config) as ShapeConfig, { context: { ...testContext(), meter }, host: 'h1' })
  assert.ok(shape)
  const bytes = Buffer.from(sample)
  const { format } = createFormats([], {}).select(object.key, bytes)
  const errors = () => meter.snapshot().find(({ name }) => name === 'filter_errors_total')?.value ?? 0
  return { ...shape({ object, format, sample: bytes }), errors, apply: shape({ object, format, sample: bytes }) }
}

const texts = ({ block }: Shaped) => Array.from({ length: block.ends.length }, (_, i) => recordAt(block, i).toString())
const numbers = ({ block }: Shaped) => Array.from({ length: block.ends.length }, (_, i) => recordNumber(block, i))

test('a configuration without a step has no shape', () => {
  assert.equal(createShape(schema.parse({}) as ShapeConfig, { context: testContext(), host: '' }), undefined)
})

test('a block holds hardly more memory than the records that went on: the budget counts only those', () => {
  const records = Array.from({ length: 2000 }, (_, i) => JSON.stringify({ n: i, secret: 'x'.repeat(200) }))
  const steps: ReadonlyArray<z.input<typeof schema>> = [
    { match: '"n":7,' },
    { filter: 'n == 7', redact: ['secret'] },
    { filter: 'n == 7', envelope: 'json' },
    { replace: [{ pattern: 'x+', with: '' }] },
  ]
  for (const step of steps) {
    const { data } = shapeOf(step).apply.apply(blockOf(records)).block
    assert.ok(data.length > 0)
    assert.ok(data.buffer.byteLength <= 2 * data.length + 2 * Buffer.poolSize, JSON.stringify(step))
  }
})

test('B5.1: match and exclude keep and drop by raw bytes; numbers stay those of the object', () => {
  const { apply } = shapeOf({ match: ['a', 'b'], exclude: 'x' })
  const shaped = apply.apply(blockOf(['a', 'ax', 'c', 'b', 'd'], 10))
  assert.deepEqual(texts(shaped), ['a', 'b'])
  assert.deepEqual(numbers(shaped), [10, 13])
  assert.deepEqual([shaped.block.kept?.next, shaped.refused], [15, []])
})

test('a block of which everything goes on is passed on as it is', () => {
  const block = blockOf(['a1', 'a2'])
  assert.equal(shapeOf({ match: 'a' }).apply.apply(block).block, block)
  assert.equal(shapeOf({ replace: [{ pattern: 'z', with: '' }] }).apply.apply(block).block, block)
})

test('a block of which nothing goes on has no record, and says how far it went', () => {
  const { block } = shapeOf({ match: 'z' }).apply.apply({ ...blockOf(['a', 'b'], 5), resumeAt: 4 })
  assert.deepEqual([block.ends.length, block.data.length, block.kept?.next, block.resumeAt], [0, 0, 7, 4])
})

test('a CEL filter sees fields, record and origin', () => {
  const records = ['{"status":503,"m":"GET"}', '{"status":200,"m":"POST"}', '{"status":200,"m":"GET"}']
  const { apply } = shapeOf({ filter: 'status >= 500 || m == "POST" && bucket == "b"' }, records.join('\n'))
  assert.deepEqual(texts(apply.apply(blockOf(records))), records.slice(0, 2))
})

test('a record on which the filter errs follows on_error, and is counted', () => {
  const records = ['{"status":503}', '{"other":1}', '{"status":1}']
  const kept = shapeOf({ filter: 'status >= 500' })
  assert.deepEqual(texts(kept.apply.apply(blockOf(records))), records.slice(0, 2))
  assert.equal(kept.errors(), 1)
  const dropped = shapeOf({ filter: 'status >= 500', on_error: 'drop' })
  assert.deepEqual(texts(dropped.apply.apply(blockOf(records))), [records[0]])
  const refused = shapeOf({ filter: 'status >= 500', on_error: 'quarantine' }).apply.apply(blockOf(records, 7))
  assert.deepEqual(texts(refused), [records[0]])
  assert.deepEqual(refused.block.kept?.refused, [8])
  assert.equal(refused.refused[0]?.index, 1)
  assert.match(String(refused.refused[0]?.reason), /no such field: status/)
})

test('replacements apply one after the other; a record of which nothing is left is dropped', () => {
  const { apply } = shapeOf({
    replace: [
      { pattern: 'a', with: 'b' },
      { pattern: '^b+$', with: '' },
      { pattern: 'x(.)', with: '$1$1' },
    ],
  })
  const shaped = apply.apply(blockOf(['aab', 'x1x2', 'c']))
  assert.deepEqual(texts(shaped), ['1122', 'c'])
  assert.deepEqual(numbers(shaped), [1, 2])
})

test('a line end that a replacement makes is told to the sinks', () => {
  const { block } = shapeOf({ replace: [{ pattern: ',', with: '\n' }] }).apply.apply(blockOf(['a,b']))
  assert.equal(block.multiline, true)
})

test('what redact cannot read goes to quarantine even with on_error keep: nothing secret leaves', () => {
  const records = ['{"user":"eve","n":1}', '{"user":"eve"', '{"n":2}']
  const { apply } = shapeOf({ redact: ['user'] }, records.join('\n'))
  const shaped = apply.apply(blockOf(records))
  assert.deepEqual(texts(shaped), ['{"user":"[redacted]","n":1}', '{"n":2}'])
  assert.deepEqual(
    shaped.refused.map(({ index }) => index),
    [1],
  )
  assert.deepEqual(shaped.block.kept?.refused, [1])
})

test('the envelope says where a record came from, after the filter and redaction', () => {
  const records = ['{"status":503,"user":"eve"}', '{"status":200}']
  const { apply, contentType } = shapeOf(
    { filter: 'status >= 500', redact: ['user'], envelope: 'json' },
    records.join('\n'),
  )
  const [text] = texts(apply.apply(blockOf(records, 40)))
  const { origin, status, user } = JSON.parse(text as string)
  assert.deepEqual([status, user, origin.record, origin.host, origin.key], [503, '[redacted]', 40, 'h1', 'a.log'])
  assert.equal(contentType, 'application/x-ndjson')
})

test('whatever is dropped, records, numbers and bytes agree', () => {
  const record = fc.stringMatching(/^[a-d]{1,6}$/)
  fc.assert(
    fc.property(
      fc.array(record, { minLength: 1, maxLength: 60 }),
      fc.constantFrom('a', 'bb', '^c', 'd$'),
      (records, match) => {
        const block = blockOf(records, 3)
        const shaped = shapeOf({ match }).apply.apply(block)
        const wanted = records.map((text, i) => [text, i + 3] as const).filter(([text]) => new RegExp(match).test(text))
        assert.deepEqual(
          texts(shaped),
          wanted.map(([text]) => text),
        )
        assert.deepEqual(
          numbers(shaped),
          wanted.map(([, number]) => number),
        )
        assert.equal(shaped.block.data.length, shaped.block.ends.at(-1) ?? 0)
      },
    ),
  )
})

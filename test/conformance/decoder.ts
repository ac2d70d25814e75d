/** What every decoder must hold, whatever it decodes. Called by the test of each. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Block, recordAt } from '../../src/core/block.ts'
import { StreamError } from '../../src/core/errors.ts'
import { Slots } from '../../src/core/slots.ts'
import { decode } from '../../src/decoders/decode.ts'
import type { DecodeLimits, Resume } from '../../src/decoders/decoding.ts'
import type { Format } from '../../src/formats/format.ts'

export const limits: DecodeLimits = {
  ratio: 200,
  ratioFreeBytes: 64 * 2 ** 20,
  totalBytes: 0,
  lineBytes: 2 ** 20,
  linePolicy: 'split',
}

export function formatOf(format: Partial<Format> = {}): Format {
  return {
    name: 'test',
    contentType: 'text/plain',
    decoder: 'auto',
    skipHeaderLines: 0,
    fieldSeparator: undefined,
    fieldNames: undefined,
    multilineStart: undefined,
    recordsPath: undefined,
    matchesKey: () => true,
    matchesContent: () => true,
    timeFromKey: () => undefined,
    timeFromContent: () => undefined,
    ...format,
  }
}

export interface Decoded {
  readonly records: string[]
  readonly blocks: Block[]
  readonly layers: readonly string[]
  /** The offsets at which the bytes were opened. */
  readonly opened: number[]
  readonly error: StreamError | undefined
}

export interface DecodeCase {
  readonly format?: Partial<Format>
  readonly limits?: Partial<DecodeLimits>
  readonly resume?: Resume
  /** Sizes of the pieces, repeated; default one piece. */
  readonly cuts?: readonly number[]
}

function* pieces(bytes: Buffer, cuts: readonly number[]): Generator<Buffer> {
  let at = 0
  for (let i = 0; at < bytes.length; i += 1) {
    const size = cuts.length === 0 ? bytes.length : Math.max(1, cuts[i % cuts.length] as number)
    // A copy of exactly this size: reading past the end of a piece must fail.
    yield Buffer.from(bytes.subarray(at, at + size))
    at += size
  }
}

/** Decodes bytes cut in the given way, and checks what holds for every Block on the way. */
export async function decodeAll(bytes: Buffer, o: DecodeCase = {}): Promise<Decoded> {
  const opened: number[] = []
  const blocks: Block[] = []
  const copies: Buffer[] = []
  let layers: readonly string[] = []
  let error: StreamError | undefined
  const format = formatOf(o.format)
  const slots = new Slots(1)
  const { signal } = new AbortController()
  const open = async function* (offset: number) {
    opened.push(offset)
    yield* pieces(bytes.subarray(offset), o.cuts ?? [])
  }
  try {
    const decoding = await decode(open, {
      key: 'k',
      formats: { list: [format], timeFromKey: () => undefined, select: () => ({ format, by: 'fixed' }) },
      limits: { ...limits, ...o.limits },
      resume: o.resume,
      slots,
      signal,
    })
    layers = decoding.layers
    let next = o.resume?.records ?? 0
    for await (const block of decoding.blocks) {
      assert.equal(block.first, next)
      assert.ok(block.ends.length > 0)
      assert.equal(block.data.length, block.ends.at(-1))
      for (let i = 0; i < block.ends.length; i += 1) {
        const record = recordAt(block, i)
        assert.ok(record.length > 0, 'a record is empty')
        assert.equal(block.data[(block.ends[i] as number) - 1], 10)
        if (!block.multiline) assert.ok(!record.includes(10), 'a record of a plain block contains LF')
      }
      next += block.ends.length
      blocks.push(block)
      copies.push(Buffer.from(block.data))
    }
  } catch (thrown) {
    if (!(thrown instanceof StreamError)) throw thrown
    error = thrown
  }
  for (const [i, block] of blocks.entries())
    assert.ok(block.data.equals(copies[i] as Buffer), 'a block changed after it was given')
  // Whatever happened, no slot is held.
  await slots.acquire({ signal: AbortSignal.timeout(1000) })
  const records = blocks.flatMap((block) => Array.from(block.ends, (_, i) => recordAt(block, i).toString()))
  return { records, blocks, layers, opened, error }
}

/** Runs the suite on samples of the decoder's input: bytes, and the records they must give. */
export function decoderConformance(
  name: string,
  samples: ReadonlyArray<{ readonly bytes: Buffer; readonly records: readonly string[] }>,
  o: DecodeCase = {},
): void {
  test(`${name}: any way of cutting the input gives the same records`, async () => {
    for (const { bytes, records } of samples) {
      for (const cuts of [[], [1], [2], [3, 1, 7], [bytes.length - 1, 1]]) {
        if (cuts.length === 1 && cuts[0] === 1 && bytes.length > 20_000) continue
        const decoded = await decodeAll(bytes, { ...o, cuts })
        assert.equal(decoded.error, undefined)
        assert.deepEqual(decoded.records, records)
      }
    }
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...samples),
        fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 8 }),
        async (sample, cuts) => {
          assert.deepEqual((await decodeAll(sample.bytes, { ...o, cuts })).records, sample.records)
        },
      ),
      { numRuns: 25 },
    )
  })

  test(`${name}: going on from any record gives the rest, numbered as before`, async () => {
    for (const { bytes, records } of samples) {
      const whole = await decodeAll(bytes, { ...o, cuts: [40] })
      for (let n = 0; n <= records.length; n += Math.max(1, Math.floor(records.length / 7))) {
        const block = whole.blocks.findLast(({ first, ends, resumeAt }) => resumeAt >= 0 && first + ends.length <= n)
        const offset = block
          ? { offset: block.resumeAt, offsetRecords: block.first + block.ends.length }
          : { offset: 0, offsetRecords: 0 }
        const decoded = await decodeAll(bytes, { ...o, cuts: [40], resume: { records: n, ...offset } })
        assert.deepEqual(decoded.records, records.slice(n))
      }
    }
  })

  test(`${name}: a consumer that stops early leaves nothing open`, async () => {
    for (const { bytes } of samples) {
      let isClosed = false
      const format = formatOf(o.format)
      const slots = new Slots(1)
      const open = async function* () {
        try {
          yield* pieces(bytes, [64])
        } finally {
          isClosed = true
        }
      }
      const decoding = await decode(open, {
        key: 'k',
        formats: { list: [format], timeFromKey: () => undefined, select: () => ({ format, by: 'fixed' }) },
        limits: { ...limits, ...o.limits },
        resume: undefined,
        slots,
        signal: new AbortController().signal,
      })
      for await (const _ of decoding.blocks) break
      assert.ok(isClosed)
      await slots.acquire({ signal: AbortSignal.timeout(1000) })
    }
  })

  test(`${name}: an empty object has no records`, async () => {
    assert.deepEqual((await decodeAll(Buffer.alloc(0), o)).records, [])
  })
}

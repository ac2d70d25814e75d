import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryMeter } from '../telemetry/meter.ts'
import type { HeldBatch } from './batcher.ts'
import { blockOf, recordAt } from './block.ts'
import type { Batch, Log, Refused, Sink } from './component.ts'
import { Deliverer, type RefusedRecords } from './deliverer.ts'
import { Delivery, nothingCounted, startOfObject } from './delivery.ts'
import { StreamError } from './errors.ts'
import { deliveryMetrics } from './pipeline-metrics.ts'

const log: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }
const object = { id: 'b/k@1', bucket: 'b', key: 'k', size: 1, timeMs: 0, lastModifiedMs: 0 }

function textOf({ parts }: Batch): string[] {
  return parts.flatMap(({ block, from, to }) =>
    Array.from({ length: to - from }, (_, i) => recordAt(block, from + i).toString()),
  )
}

function keptText({ part, from, to }: RefusedRecords): string[] {
  return Array.from({ length: to - from }, (_, i) => recordAt(part.block, from + i).toString())
}

/** A deliverer over a sink that does what `write` says, one delivery, and batches of the given records. */
function setUp(write: (batch: Batch, attempt: number) => Promise<Refused | undefined>, maxInFlight = 2) {
  const hard = new AbortController()
  const kept: Array<{ readonly records: string[]; readonly reason: string }> = []
  let attempt = 0
  let retries = 0
  const bugs: unknown[] = []
  const sink: Sink = {
    maxInFlight,
    limits: { records: 10, bytes: 1000, lingerMs: 10 },
    retry: { minMs: 1, maxMs: 2 },
    check: async () => undefined,
    dependencies: [],
    async *examine() {},
    write: (batch) => {
      attempt += 1
      return write(batch, attempt)
    },
    [Symbol.asyncDispose]: async () => undefined,
  }
  const deliverer = new Deliverer({
    sink,
    log,
    hard: hard.signal,
    keep: (records) => void kept.push({ records: keptText(records), reason: records.reason }),
    retried: () => {
      retries += 1
    },
    broke: (error) => void bugs.push(error),
    metrics: new MemoryMeter().bind(deliveryMetrics, {}),
  })
  let freed = 0
  const delivery = new Delivery(
    object,
    { position: startOfObject, counts: nothingCounted },
    {
      moved: () => undefined,
      freed: (bytes) => {
        freed += bytes
      },
    },
  )
  const batchOf = (...groups: string[][]): HeldBatch => {
    const parts = groups.map((records) => delivery.hold(blockOf(records, delivery.nextRecord), 0, records.length))
    return {
      parts,
      contentType: 'text/plain',
      count: parts.reduce((sum, part) => sum + part.to, 0),
      bytes: parts.reduce((sum, part) => sum + part.bytes, 0),
    }
  }
  return { deliverer, delivery, batchOf, kept, bugs, hard, retries: () => retries, freed: () => freed }
}

test('A16.2: a batch that fails is written again until it is accepted, not dropped', async () => {
  const accepted: string[] = []
  const { deliverer, delivery, batchOf, retries } = setUp(async (batch, attempt) => {
    if (attempt < 4) throw new StreamError('sink.unavailable', 'connection refused')
    accepted.push(...textOf(batch))
    return undefined
  })
  deliverer.deliver(batchOf(['a', 'b']))
  await deliverer.idle()
  assert.deepEqual(accepted, ['a', 'b'])
  assert.equal(retries(), 3)
  assert.equal(delivery.counts.delivered, 2)
})

test('a batch that is too large is split until it fits; a single record that is too large is kept', async () => {
  const accepted: string[] = []
  const { deliverer, delivery, batchOf, kept, freed } = setUp(async (batch) => {
    const text = textOf(batch)
    if (text.join('').length > 4) throw new StreamError('sink.too_large', '413 from the receiver')
    accepted.push(...text)
    return undefined
  })
  const batch = batchOf(['aa', 'bb', 'enormous'], ['c', 'd'])
  deliverer.deliver(batch)
  await deliverer.idle()
  assert.deepEqual(accepted.toSorted(), ['aa', 'bb', 'c', 'd'])
  assert.deepEqual(
    kept.map(({ records }) => records),
    [['enormous']],
  )
  assert.deepEqual([delivery.counts.delivered, delivery.counts.quarantined], [4, 1])
  assert.equal(freed(), batch.bytes)
})

test('a batch refused for good is kept with the words of the receiver, and the object still balances', async () => {
  const { deliverer, delivery, batchOf, kept } = setUp(async () => {
    throw new StreamError('sink.rejected', '400: no such field')
  })
  deliverer.deliver(batchOf(['a', 'b'], ['c']))
  delivery.seal()
  await delivery.settled
  assert.deepEqual(
    kept.map(({ records }) => records),
    [['a', 'b'], ['c']],
  )
  assert.match(kept[0]?.reason ?? '', /400: no such field/)
  assert.deepEqual(delivery.counts.quarantined, 3)
})

test('single refused records are kept by number, neighbours with one reason together', async () => {
  const no = new StreamError('sink.rejected', 'no')
  const other = new StreamError('sink.rejected', 'other')
  const { deliverer, delivery, batchOf, kept } = setUp(
    async () =>
      new Map([
        [1, no],
        [2, no],
        [3, other],
        [5, no],
      ]),
  )
  deliverer.deliver(batchOf(['0', '1', '2', '3'], ['4', '5']))
  await deliverer.idle()
  assert.deepEqual(
    kept.map(({ records }) => records),
    [['1', '2'], ['3'], ['5']],
  )
  assert.deepEqual([delivery.counts.delivered, delivery.counts.quarantined], [2, 4])
})

test('no more than maxInFlight writes are under way', async () => {
  let writing = 0
  let most = 0
  const { deliverer, batchOf } = setUp(async () => {
    writing += 1
    most = Math.max(most, writing)
    await new Promise((resolve) => setImmediate(resolve))
    writing -= 1
    return undefined
  }, 3)
  for (let i = 0; i < 12; i += 1) deliverer.deliver(batchOf(['x']))
  await deliverer.idle()
  assert.equal(most, 3)
})

test('a hard stop ends the retries and releases nothing (A16.9: stop neither hangs nor loses)', async () => {
  const { deliverer, delivery, batchOf, hard, bugs } = setUp(async () => {
    throw new StreamError('sink.unavailable', 'down')
  })
  deliverer.deliver(batchOf(['a']))
  await new Promise((resolve) => setImmediate(resolve))
  hard.abort(new Error('stop'))
  await deliverer.idle()
  assert.equal(delivery.counts.delivered, 0)
  assert.deepEqual(bugs, [])
})

test('an error that is none of ours stops the pipeline instead of going round for ever', async () => {
  const { deliverer, delivery, batchOf, bugs } = setUp(async () => {
    throw new TypeError('undefined is not a function')
  })
  deliverer.deliver(batchOf(['a']))
  await deliverer.idle()
  assert.equal(bugs.length, 1)
  assert.equal(delivery.counts.delivered, 0)
})

test('whatever the sink does, each record is delivered or kept exactly once in the counts, and never neither', async () => {
  const records = fc.array(fc.array(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 5 }), {
    minLength: 1,
    maxLength: 4,
  })
  const faults = fc.array(fc.constantFrom('ok', 'down', 'large', 'no', 'some'), { minLength: 1, maxLength: 8 })
  await fc.assert(
    fc.asyncProperty(fc.array(records, { minLength: 1, maxLength: 5 }), faults, async (batches, script) => {
      const accepted: string[] = []
      const { deliverer, delivery, batchOf, kept } = setUp(async (batch, attempt) => {
        const fault = script[attempt - 1] ?? 'ok'
        if (fault === 'down') throw new StreamError('sink.unavailable', 'down')
        if (fault === 'large') throw new StreamError('sink.too_large', 'large')
        if (fault === 'no') throw new StreamError('sink.rejected', 'no')
        const text = textOf(batch)
        accepted.push(...text.slice(fault === 'some' ? 1 : 0))
        return fault === 'some' ? new Map([[0, new StreamError('sink.rejected', 'first')]]) : undefined
      })
      for (const groups of batches) deliverer.deliver(batchOf(...groups))
      await deliverer.idle()
      const sent = batches.flat(2)
      const ended = [...accepted, ...kept.flatMap(({ records: lines }) => lines)]
      assert.deepEqual(ended.toSorted(), sent.toSorted())
      assert.equal(delivery.counts.delivered, accepted.length)
      assert.equal(delivery.counts.delivered + delivery.counts.quarantined, sent.length)
      assert.equal(delivery.position.records, sent.length)
    }),
    { numRuns: 60 },
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bodyOf, FileTree } from '../../test/fakes/copy.ts'
import { ledgerIn, newFolder, silent } from '../../test/fakes/pipeline.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { TransferMetrics } from '../telemetry/transfer-metrics.ts'
import type { ListedObject } from './component.ts'
import { CopyAttempts } from './copy-attempts.ts'
import { StreamError } from './errors.ts'
import { PartPool } from './part-pool.ts'
import { PartReader } from './part-reader.ts'
import { Slots } from './slots.ts'

const never = new AbortController().signal
const part = { number: 1, offset: 10, bytes: 20 }

async function withReader(
  act: (o: { reader: PartReader; tree: FileTree; pool: PartPool; object: ListedObject }) => Promise<void>,
): Promise<void> {
  await using ledger = ledgerIn(newFolder())
  const tree = new FileTree(ledger, { a: bodyOf(50) })
  const pool = new PartPool(20, 2)
  const metrics = new TransferMetrics(new MemoryMeter())
  const storeWaits = { minMs: 1, maxMs: 1, maxAttempts: 1 }
  const attempts = new CopyAttempts({ log: silent, readWaits: { minMs: 1, maxMs: 1 }, storeWaits, retried: () => {} })
  const reader = new PartReader({ source: tree, pool, readConcurrency: 1, attempts, metrics })
  for await (const object of tree.objects({ soft: never })) await act({ reader, tree, pool, object })
}

test('a part is read into a buffer of the pool, which is given back by who took it', () =>
  withReader(async ({ reader, pool, object }) => {
    const buffer = await reader.read(object, part, new Slots(1), never, never)
    assert.deepEqual(buffer?.subarray(0, 20), bodyOf(50).subarray(10, 30))
    assert.equal(pool.used, 20)
    reader.giveBack(buffer as Buffer)
    assert.equal(pool.used, 0)
  }))

test('whatever goes wrong, nothing stays taken: the next one can read', () =>
  withReader(async ({ reader, tree, pool, object }) => {
    const stopped = AbortSignal.abort(new Error('stop'))
    assert.equal(await reader.read(object, part, new Slots(1), stopped, never), undefined)
    await assert.rejects(reader.read(object, part, new Slots(1), never, stopped), /stop/)
    tree.onFill = () => {
      throw new StreamError('source.access', 'cannot read a: permission denied')
    }
    await assert.rejects(reader.read(object, part, new Slots(1), never, never), /permission denied/)
    assert.equal(pool.used, 0)
    tree.onFill = () => undefined
    reader.giveBack((await reader.read(object, part, new Slots(1), never, never)) as Buffer)
  }))

test('of the parts of one object only one waits beside other objects', () =>
  withReader(async ({ reader, tree, object }) => {
    const order: number[] = []
    const large = new Slots(1)
    const read = async (offset: number, line: Slots) => {
      const buffer = await reader.read(object, { number: 1, offset, bytes: 1 }, line, never, never)
      order.push(offset)
      reader.giveBack(buffer as Buffer)
    }
    assert.ok(tree)
    await Promise.all([...[1, 2, 3, 4, 5, 6].map((offset) => read(offset, large)), read(40, new Slots(1))])
    assert.ok(order.indexOf(40) <= 2, order.join())
  }))

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type FakeObject,
  FakeSink,
  FakeSource,
  ledgerIn,
  never,
  newFolder,
  objectOf,
  pipelineOf,
} from '../../test/fakes/pipeline.ts'

/** Ends, as a source of files does, when all that it gave out is finished. */
class WaitingSource extends FakeSource {
  override async *objects(o: { readonly soft: AbortSignal; readonly once: boolean }): AsyncGenerator<FakeObject> {
    let given = 0
    for await (const object of super.objects(o)) {
      given += 1
      yield object
    }
    while (this.finishedObjects.length < given) await new Promise(setImmediate)
  }
}

test('a run that is to end does not wait for the linger of records whose source waits for them', {
  timeout: 20_000,
}, async () => {
  await using ledger = ledgerIn(newFolder())
  const source = new WaitingSource([objectOf(1, ['a', 'b']), objectOf(2, ['c'])], ledger)
  const sink = new FakeSink({ limits: { lingerMs: 3_600_000, records: 1000, bytes: 1e6 } })
  const pipeline = pipelineOf(source, sink, ledger)
  const totals = await pipeline.run({ once: true, soft: never, hard: never })
  assert.deepEqual([totals.objects.done, totals.delivered], [2, 3])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { testContext } from '../../test/conformance/sink.ts'
import { FakeSource, ledgerIn, newFolder } from '../../test/fakes/pipeline.ts'
import { nothingCounted } from '../core/delivery.ts'
import { RunRecord } from './run-record.ts'

const objects = { done: 0, quarantined: 0, vanished: 0, replaced: 0, failed: 0, stopped: 0 }

test('a run whose history cannot be written goes on, says so once, and is written when that is possible', async (t) => {
  await using ledger = ledgerIn(newFolder())
  const lines: string[] = []
  const add = ledger.runs.add.bind(ledger.runs)
  let isLocked = true
  t.mock.method(ledger.runs, 'add', (run: Parameters<typeof add>[0]) => {
    if (isLocked) throw new Error('database is locked')
    return add(run)
  })
  const totals = () => ({ ...nothingCounted, objects, recovered: 0 })
  const start = () => {
    const source = new FakeSource([], ledger)
    return new RunRecord({ ledger, source, mode: 'once', totals, log: testContext(lines).log })
  }
  start().end('failed', new Error('x'))
  assert.equal(lines.filter((line) => line.includes('cannot write down the run')).length, 1)
  assert.deepEqual(ledger.runs.list(), [])
  const late = start()
  isLocked = false
  late.end('done')
  assert.deepEqual(
    ledger.runs.list().map(({ outcome }) => outcome),
    ['done'],
  )
})

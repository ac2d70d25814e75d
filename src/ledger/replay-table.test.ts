import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { listed, settled } from '../../test/conformance/ledger.ts'
import { silent } from '../../test/fakes/pipeline.ts'
import { databasePath } from './database.ts'
import type { LedgerOptions } from './meta.ts'
import { openLedger, type SqliteLedger } from './sqlite.ts'

const root = mkdtempSync(join(tmpdir(), 's3s-replays-'))
after(() => rmSync(root, { recursive: true, force: true }))

function open(statePath: string, o: Partial<LedgerOptions> = {}): SqliteLedger {
  const times = { nowMs: Date.now, startMs: 0, retentionMs: 0, lookbackMs: 0 }
  return openLedger({ statePath, mode: 'exclusive', log: silent, ...times, ...o })
}

test('a ledger of version 3 is looked at as it is, and upgraded by the first that works on it', async () => {
  const path = join(root, 'upgraded', 'state.json')
  const first = open(path)
  settled(first, listed('a'))
  settled(first, listed('b', 1_760_300_000_000), 'failed')
  await first[Symbol.asyncDispose]()
  const db = new DatabaseSync(databasePath(path))
  db.exec('DROP TABLE replays; ALTER TABLE objects DROP COLUMN counted_bytes; PRAGMA user_version = 3')
  db.close()
  const looking = open(path, { mode: 'readonly' })
  assert.deepEqual([looking.replays.list(), looking.replays.find(1), looking.replays.open()], [[], undefined, []])
  assert.equal(looking.oldestUnfinishedMs(), 1_760_300_000_000)
  await looking[Symbol.asyncDispose]()
  await using upgraded = open(path, { mode: 'shared' })
  const replay = { fromMs: 1, toMs: 2, prefix: '', bytesPerSecond: 1, planned: { objects: 1, bytes: 1 } }
  assert.equal(upgraded.replays.add(replay), 1)
  assert.equal(upgraded.replays.open().length, 1)
  assert.equal(upgraded.objects().length, 2)
})

test('of several processes on one ledger only one does the replays', async () => {
  const path = join(root, 'joint', 'state.json')
  await using first = open(path, { mode: 'joint' })
  await using second = open(path, { mode: 'joint' })
  const replay = { fromMs: 1, toMs: 2, prefix: '', bytesPerSecond: 1, planned: { objects: 1, bytes: 1 } }
  second.replays.add(replay)
  assert.deepEqual([first.replays.open().length, second.replays.open().length], [1, 0])
})

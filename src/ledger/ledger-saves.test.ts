import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { databaseBytes } from './ledger-saves.ts'
import { openLedger } from './sqlite.ts'

const root = mkdtempSync(join(tmpdir(), 's3s-saves-'))
after(() => rmSync(root, { recursive: true, force: true }))

test('saves that fail are told once, with what is wrong in the health of the ledger, until one is good again', async () => {
  const statePath = join(root, 'state.json')
  const errors: string[] = []
  const quiet = () => undefined
  const log = {
    debug: quiet,
    info: quiet,
    warn: quiet,
    error: (_: object, message: string) => void errors.push(message),
  }
  const times = { nowMs: Date.now, startMs: 0, retentionMs: 0, lookbackMs: 0 }
  await using ledger = openLedger({ statePath, mode: 'exclusive', log, ...times })
  mkdirSync(`${statePath}.tmp`)
  ledger.save()
  ledger.save()
  assert.match(ledger.health.error ?? '', /EISDIR/)
  assert.equal(ledger.health.failures, 2)
  assert.deepEqual(errors, ['cannot save; trying again'])
  rmSync(`${statePath}.tmp`, { recursive: true })
  ledger.save()
  assert.deepEqual([ledger.health.error, ledger.health.failures], [undefined, 2])
})

test('a database that is not there takes no room', () => {
  assert.equal(databaseBytes(join(root, 'none.db')), 0)
})

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { readStateFile, writeStateFile } from './state-file.ts'

const folder = mkdtempSync(join(tmpdir(), 's3s-state-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'state.json')

const state = {
  last_processed_timestamp: 1_760_305_292,
  last_processed_file: 'a/b.gz',
  total_files_processed: 2,
  total_bytes_processed: 30,
  last_updated: 1_760_305_300,
}

test('what is written is read back, indented by two spaces as the old program wrote it', () => {
  writeStateFile(path, state)
  assert.equal(readFileSync(path, 'utf8'), `${JSON.stringify(state, null, 2)}\n`)
  assert.deepEqual(readStateFile(path), { kind: 'valid', state })
})

test('a file that is not there is missing; fields that an operator left out are nothing', () => {
  assert.deepEqual(readStateFile(join(folder, 'none.json')), { kind: 'missing' })
  writeFileSync(path, '{"last_processed_timestamp": 5, "note": "mine"}')
  const content = readStateFile(path)
  assert.equal(content.kind === 'valid' && content.state.last_processed_timestamp, 5)
})

test('A16.17: what cannot be read says why', () => {
  for (const [text, why] of [
    ['', /it is empty/],
    ['{"last_proc', /it is no JSON/],
    ['{}', /last_processed_timestamp/],
    ['{"last_processed_timestamp": 1.5}', /last_processed_timestamp/],
    ['{"last_processed_timestamp": 1760305292000}', /last_processed_timestamp/],
  ] as const) {
    writeFileSync(path, text)
    const content = readStateFile(path)
    assert.ok(content.kind === 'corrupt')
    assert.match(content.why, why)
  }
})

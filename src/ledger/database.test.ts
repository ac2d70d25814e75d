import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDatabase } from './database.ts'

test('what a process that was killed while it wrote left half done is taken back, also by one that only reads', () => {
  const folder = mkdtempSync(join(tmpdir(), 's3s-database-'))
  try {
    const path = join(folder, 'state.db')
    const writing = openDatabase(path, { readOnly: false, isAlone: true })
    writing.exec(`INSERT INTO meta VALUES ('kept', '1'); PRAGMA cache_size = 10; BEGIN IMMEDIATE`)
    const put = writing.prepare('INSERT INTO meta VALUES (?, ?)')
    for (let i = 0; i < 2000; i += 1) put.run(`lost ${i}`, 'x'.repeat(500))
    const killed = join(folder, 'killed.db')
    for (const ending of ['', '-journal']) cpSync(`${path}${ending}`, `${killed}${ending}`)
    writing.close()
    const reading = openDatabase(killed, { readOnly: true })
    assert.deepEqual(
      reading
        .prepare('SELECT name FROM meta')
        .all()
        .map((row) => row.name),
      ['kept'],
    )
    reading.close()
  } finally {
    rmSync(folder, { recursive: true })
  }
})

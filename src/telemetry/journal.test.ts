import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { isJournal, journalLines } from './journal.ts'

const root = mkdtempSync(join(tmpdir(), 's3s-journal-'))
after(() => rmSync(root, { recursive: true, force: true }))

test('the journal is known by device and inode of the stream; a pipe behind it is none', () => {
  const fd = openSync(join(root, 'stream'), 'w')
  const other = openSync(join(root, 'other'), 'w')
  const { dev, ino } = statSync(join(root, 'stream'), { bigint: true })
  const env = { JOURNAL_STREAM: `${dev}:${ino}` }
  assert.equal(isJournal(env, fd), true)
  assert.equal(isJournal(env, other), false)
  closeSync(other)
  assert.equal(isJournal(env, other), false)
  assert.equal(isJournal({}, fd), false)
  assert.equal(isJournal({ JOURNAL_STREAM: 'odd' }, fd), false)
  closeSync(fd)
})

test('each line has its priority, those of a stack too', () => {
  assert.equal(
    journalLines('ERROR no\n    at one\n    at two\n', 'error'),
    '<3>ERROR no\n<3>    at one\n<3>    at two\n',
  )
  assert.equal(journalLines('WARN  oh\n', 'warn'), '<4>WARN  oh\n')
  assert.equal(journalLines('{"level":"info"}\n', 'info'), '<6>{"level":"info"}\n')
  assert.equal(journalLines('x\n', 'debug'), '<7>x\n')
})

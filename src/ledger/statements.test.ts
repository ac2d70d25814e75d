import assert from 'node:assert/strict'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { StreamError } from '../core/errors.ts'
import { Statements, transaction } from './statements.ts'

test('a statement is prepared once', () => {
  const statements = new Statements(new DatabaseSync(':memory:'))
  assert.equal(statements.prepare('SELECT 1'), statements.prepare('SELECT 1'))
})

test('a transaction within another is written, or not, with that one; alone it may fail', () => {
  const db = new DatabaseSync(':memory:')
  db.exec('CREATE TABLE t (n INTEGER)')
  const count = () => db.prepare('SELECT count(*) AS n FROM t').get()?.n
  db.exec('BEGIN')
  transaction(db, () => db.exec('INSERT INTO t VALUES (1)'))
  assert.throws(() =>
    transaction(db, () => {
      db.exec('INSERT INTO t VALUES (2)')
      throw new Error('half-way')
    }),
  )
  assert.equal(count(), 1)
  db.exec('ROLLBACK')
  assert.equal(count(), 0)
})

test('a disk that is full is told as such, with what to do, and what was written before is there', () => {
  const db = new DatabaseSync(':memory:')
  db.exec('CREATE TABLE t (n BLOB); INSERT INTO t VALUES (1); PRAGMA max_page_count = 3')
  const fill = () => transaction(db, () => db.exec('INSERT INTO t VALUES (zeroblob(100000))'))
  for (let n = 0; n < 2; n += 1) {
    assert.throws(
      fill,
      (error) => error instanceof StreamError && /is full \(free space on its disk/.test(error.message),
    )
    assert.equal(db.isTransaction, false)
  }
  assert.equal(db.prepare('SELECT count(*) AS n FROM t').get()?.n, 1)
})

test('a transaction that throws has written nothing', () => {
  const db = new DatabaseSync(':memory:')
  db.exec('CREATE TABLE t (n INTEGER)')
  transaction(db, () => db.exec('INSERT INTO t VALUES (1)'))
  assert.throws(
    () =>
      transaction(db, () => {
        db.exec('INSERT INTO t VALUES (2)')
        throw new Error('half-way')
      }),
    /half-way/,
  )
  assert.deepEqual(
    db
      .prepare('SELECT n FROM t')
      .all()
      .map((row) => row.n),
    [1],
  )
})

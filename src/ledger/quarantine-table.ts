/** What could not be delivered: objects with reason and position, and records with their bytes. */
import { createHash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import type { Counts } from '../core/delivery.ts'
import type { ObjectEntry, QuarantineEntry, RejectedMessage, RejectedRecords } from './ledger.ts'
import { Statements, transaction } from './statements.ts'

export const quarantineSchema = `
CREATE TABLE IF NOT EXISTS quarantine (
  entry INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, object_id TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL,
  reason TEXT NOT NULL, records INTEGER NOT NULL, start INTEGER NOT NULL, start_records INTEGER NOT NULL,
  first_record INTEGER NOT NULL, count INTEGER NOT NULL, content_type TEXT, multiline INTEGER, data BLOB, ends BLOB,
  created_ms INTEGER NOT NULL, requeued INTEGER NOT NULL DEFAULT 0,
  UNIQUE (object_id, kind, first_record, count)
);
`

const columns = `kind, object_id, bucket, key, reason, records, start, start_records, first_record, count, content_type, multiline,
  data, ends, created_ms`

/** To version 2 of the schema: entries may keep records with others between them, and `which` tells those apart. */
export const quarantineUpgrade = `
ALTER TABLE quarantine RENAME TO quarantine_1;
CREATE TABLE quarantine (
  entry INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, object_id TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL,
  reason TEXT NOT NULL, records INTEGER NOT NULL, start INTEGER NOT NULL, start_records INTEGER NOT NULL,
  first_record INTEGER NOT NULL, count INTEGER NOT NULL, which TEXT NOT NULL DEFAULT '', content_type TEXT, multiline INTEGER,
  data BLOB, ends BLOB, numbers BLOB, head BLOB, created_ms INTEGER NOT NULL, requeued INTEGER NOT NULL DEFAULT 0,
  UNIQUE (object_id, kind, first_record, count, which)
);
INSERT INTO quarantine (entry, ${columns}, requeued) SELECT entry, ${columns}, requeued FROM quarantine_1;
DROP TABLE quarantine_1;
`

interface Row {
  entry: number
  kind: string
  object_id: string
  bucket: string
  key: string
  reason: string
  records: number
  start: number
  start_records: number
  first_record: number
  count: number
  content_type: string | null
  multiline: number | null
  data: Uint8Array | null
  ends: Uint8Array | null
  created_ms: number
  requeued: number
  numbers?: Uint8Array | null
  head?: Uint8Array | null
}

/** Same object and same records again: the entry there is stays, with the new reason, and is no longer marked. */
const insert = `INSERT INTO quarantine (${columns}, which, numbers, head)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (object_id, kind, first_record, count, which) DO UPDATE SET reason = excluded.reason, requeued = 0`

/** An entry without what it keeps, which may be large. */
const entryColumns =
  'entry, kind, object_id, bucket, key, reason, records, start, start_records, first_record, count, created_ms, requeued'

export class QuarantineTable {
  readonly #nowMs: () => number
  readonly #db: DatabaseSync
  readonly #statements: Statements

  constructor(db: DatabaseSync, nowMs: () => number) {
    this.#db = db
    this.#statements = new Statements(db)
    this.#nowMs = nowMs
  }

  #rows(sql: string, ...values: number[]): Row[] {
    return this.#statements.prepare(sql).all(...values) as unknown as Row[]
  }

  keepObject({ id, bucket, key, position }: ObjectEntry, reason: string): void {
    const { records, offset, offsetRecords } = position
    this.#statements
      .prepare(insert)
      .run(
        ...['object', id, bucket, key, reason, records, offset, offsetRecords, records, 0],
        ...[null, null, null, null, this.#nowMs(), '', null, null],
      )
  }

  keepRecords(records: RejectedRecords): void {
    this.#keep('records', records)
  }

  keepMessage({ id, queue, body, reason }: RejectedMessage): void {
    const data = Buffer.from(`${body}\n`)
    const object = { id, bucket: '', key: `${queue}#${id}` }
    const ends = Uint32Array.of(data.length)
    this.#keep('message', { object, firstRecord: 0, contentType: 'text/plain', multiline: true, data, ends, reason })
  }

  #keep(kind: 'records' | 'message', records: RejectedRecords): void {
    const { object, firstRecord, contentType, multiline, data, ends, numbers, head, reason } = records
    const [which, packed] = numbers === undefined ? ['', null] : [digestOf(numbers), zstdCompressSync(bytesOf(numbers))]
    const values = [
      ...[kind, object.id, object.bucket, object.key, reason, firstRecord, 0, 0, firstRecord, ends.length],
      ...[contentType, multiline ? 1 : 0, zstdCompressSync(data), zstdCompressSync(bytesOf(ends)), this.#nowMs()],
      ...[which, packed, head === undefined ? null : zstdCompressSync(head)],
    ]
    transaction(this.#db, () => this.#statements.prepare(insert).run(...values))
  }

  list(limit: number): QuarantineEntry[] {
    return this.#rows(`SELECT ${entryColumns} FROM quarantine ORDER BY entry DESC LIMIT ?`, limit).map(entryOf)
  }

  find(id: number): QuarantineEntry | undefined {
    return this.#rows(`SELECT ${entryColumns} FROM quarantine WHERE entry = ?`, id).map(entryOf)[0]
  }

  records(id: number): RejectedRecords | undefined {
    const row = this.#rows('SELECT * FROM quarantine WHERE entry = ?', id)[0]
    if (!row || row.kind === 'object' || !row.data || !row.ends) return undefined
    return {
      object: { id: row.object_id, bucket: row.bucket, key: row.key },
      firstRecord: row.first_record,
      contentType: row.content_type ?? '',
      multiline: row.multiline === 1,
      data: zstdDecompressSync(row.data),
      ends: numbersOf(row.ends),
      numbers: row.numbers ? numbersOf(row.numbers) : undefined,
      head: row.head ? zstdDecompressSync(row.head) : undefined,
      reason: row.reason,
    }
  }

  requeue(ids: readonly number[] | 'all'): number {
    let marked = 0
    transaction(this.#db, () => {
      const wanted = ids === 'all' ? this.list(-1).map(({ id }) => id) : ids
      for (const id of wanted) marked += this.#mark(id)
    })
    return marked
  }

  #mark(id: number): number {
    const marked = this.#statements.prepare('UPDATE quarantine SET requeued = 1 WHERE entry = ?').run(id).changes
    this.#statements
      .prepare(
        `UPDATE objects SET state = 'requeued' WHERE state = 'quarantined'
         AND id = (SELECT object_id FROM quarantine WHERE entry = ? AND kind = 'object')`,
      )
      .run(id)
    return Number(marked)
  }

  requeued(): QuarantineEntry[] {
    return this.#rows(`SELECT ${entryColumns} FROM quarantine WHERE requeued = 1 ORDER BY entry`).map(entryOf)
  }

  remove(id: number): boolean {
    return this.#statements.prepare('DELETE FROM quarantine WHERE entry = ?').run(id).changes > 0
  }

  /** The object was read to its end after all; if none of its records was refused, those that were are there by now. */
  arrived(id: string, { quarantined }: Counts): void {
    const kinds = JSON.stringify(quarantined === 0 ? ['object', 'records'] : ['object'])
    this.#statements
      .prepare('DELETE FROM quarantine WHERE object_id = ? AND kind IN (SELECT value FROM json_each(?))')
      .run(id, kinds)
  }

  /** An object that was to be tried again is not, without its entry. */
  drop(ids: readonly number[]): number {
    let dropped = 0
    transaction(this.#db, () => {
      for (const id of ids) {
        this.#statements
          .prepare(
            `UPDATE objects SET state = 'quarantined' WHERE state = 'requeued'
             AND id = (SELECT object_id FROM quarantine WHERE entry = ? AND kind = 'object')`,
          )
          .run(id)
        if (this.remove(id)) dropped += 1
      }
    })
    return dropped
  }

  size(): number {
    return (this.#statements.prepare('SELECT count(*) AS n FROM quarantine').get() as { n: number }).n
  }
}

function digestOf(numbers: Uint32Array): string {
  return createHash('sha256').update(bytesOf(numbers)).digest('base64url')
}

function bytesOf(numbers: Uint32Array): Buffer {
  return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength)
}

function numbersOf(compressed: Uint8Array): Uint32Array {
  const bytes = zstdDecompressSync(compressed)
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length))
}

function entryOf(row: Row): QuarantineEntry {
  return {
    id: row.entry,
    kind: row.kind as QuarantineEntry['kind'],
    object: { id: row.object_id, bucket: row.bucket, key: row.key },
    reason: row.reason,
    position: { records: row.records, offset: row.start, offsetRecords: row.start_records },
    firstRecord: row.first_record,
    records: row.count,
    createdMs: row.created_ms,
    requeued: row.requeued !== 0,
  }
}

/**
 * Uploads of whole objects that are not over. That one was begun is written at once; the parts it has are kept in memory
 * until `save`, for the receiver can list them, and a file of many parts must not cost as many writes.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { UploadEntry, UploadedPart, UploadLog, UploadTarget } from './ledger.ts'
import { Statements } from './statements.ts'

export const uploadSchema = `
CREATE TABLE IF NOT EXISTS uploads (
  upload_id TEXT PRIMARY KEY, object_id TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL,
  size INTEGER NOT NULL, part_bytes INTEGER NOT NULL, started_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS upload_parts (
  upload_id TEXT NOT NULL, number INTEGER NOT NULL, bytes INTEGER NOT NULL, etag TEXT NOT NULL, checksum TEXT NOT NULL,
  PRIMARY KEY (upload_id, number)
) WITHOUT ROWID;
`

interface Row {
  upload_id: string
  object_id: string
  bucket: string
  key: string
  size: number
  part_bytes: number
  started_ms: number
}

export class UploadTable implements UploadLog {
  readonly #statements: Statements
  readonly #exists: boolean
  readonly #begun: () => void
  /** Parts that are not written yet, by upload. */
  readonly #unwritten = new Map<string, UploadedPart[]>()

  /** `begun` sees to it that a new upload is on disk. */
  constructor(db: DatabaseSync, begun: () => void) {
    this.#begun = begun
    this.#statements = new Statements(db)
    // A ledger of an older version that is only looked at has no such table.
    this.#exists = db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'uploads'`).get() !== undefined
  }

  find(objectId: string, { bucket, key }: UploadTarget): UploadEntry | undefined {
    return this.#list('WHERE object_id = ? AND bucket = ? AND key = ?', [objectId, bucket, key])[0]
  }

  begin({ uploadId, objectId, bucket, key, size, partBytes, startedMs }: Omit<UploadEntry, 'parts'>): void {
    this.#statements
      .prepare('INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?)')
      .run(uploadId, objectId, bucket, key, size, partBytes, startedMs)
    this.#begun()
  }

  addPart(uploadId: string, part: UploadedPart): void {
    const parts = this.#unwritten.get(uploadId)
    if (parts) parts.push(part)
    else this.#unwritten.set(uploadId, [part])
  }

  remove(uploadId: string): void {
    this.#unwritten.delete(uploadId)
    this.#statements.prepare('DELETE FROM upload_parts WHERE upload_id = ?').run(uploadId)
    this.#statements.prepare('DELETE FROM uploads WHERE upload_id = ?').run(uploadId)
  }

  list(): UploadEntry[] {
    return this.#list('', [])
  }

  /** Writes the parts that are in memory only; `saved` says that this is on disk. */
  save(): void {
    // A part may have come late, of an upload that is gone.
    const put = this.#statements.prepare(`INSERT OR REPLACE INTO upload_parts SELECT ?1, ?2, ?3, ?4, ?5
      WHERE EXISTS (SELECT 1 FROM uploads WHERE upload_id = ?1)`)
    for (const [uploadId, parts] of this.#unwritten)
      for (const { number, bytes, etag, checksum } of parts) put.run(uploadId, number, bytes, etag, checksum)
  }

  saved(): void {
    this.#unwritten.clear()
  }

  #list(where: string, values: string[]): UploadEntry[] {
    if (!this.#exists) return []
    const sql = `SELECT * FROM uploads ${where} ORDER BY started_ms, upload_id`
    return (this.#statements.prepare(sql).all(...values) as unknown as Row[]).map((row) => ({
      uploadId: row.upload_id,
      objectId: row.object_id,
      bucket: row.bucket,
      key: row.key,
      size: row.size,
      partBytes: row.part_bytes,
      startedMs: row.started_ms,
      parts: this.#partsOf(row.upload_id),
    }))
  }

  #partsOf(uploadId: string): UploadedPart[] {
    const sql = 'SELECT number, bytes, etag, checksum FROM upload_parts WHERE upload_id = ? ORDER BY number'
    const written = this.#statements.prepare(sql).all(uploadId) as unknown as UploadedPart[]
    // A part that was sent again is newer than the one that was written.
    const all = [...written, ...(this.#unwritten.get(uploadId) ?? [])]
    const parts = new Map(all.map((part) => [part.number, { ...part }]))
    return [...parts.values()].toSorted((a, b) => a.number - b.number)
  }
}

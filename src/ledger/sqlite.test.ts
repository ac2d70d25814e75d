import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { type LedgerPlace, ledgerConformance, listed, settled } from '../../test/conformance/ledger.ts'
import { ledgerLookConformance } from '../../test/conformance/ledger-look.ts'
import { replayConformance } from '../../test/conformance/replays.ts'
import { uploadConformance } from '../../test/conformance/uploads.ts'
import type { Log } from '../core/component.ts'
import { nothingCounted } from '../core/delivery.ts'
import { StreamError } from '../core/errors.ts'
import { databasePath } from './database.ts'
import type { LedgerOptions } from './meta.ts'
import { openLedger, type SqliteLedger } from './sqlite.ts'

const root = mkdtempSync(join(tmpdir(), 's3s-ledger-'))
after(() => rmSync(root, { recursive: true, force: true }))
let places = 0

function newPath(): string {
  places += 1
  return join(root, `p${places}`, 'state.json')
}

function logTo(lines: string[]): Log {
  const log = (level: string) => (facts: object, message: string) =>
    void lines.push(`${level} ${message} ${JSON.stringify(facts)}`)
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') }
}

function open(statePath: string, o: Partial<LedgerOptions> = {}, lines: string[] = []): SqliteLedger {
  return openLedger({
    statePath,
    mode: 'exclusive',
    log: logTo(lines),
    nowMs: Date.now,
    startMs: 0,
    retentionMs: 48 * 3_600_000,
    lookbackMs: 3_600_000,
    ...o,
  })
}

const stateOf = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Record<string, number | string>

function place(): LedgerPlace {
  const path = newPath()
  let aheadMs = 0
  const nowMs = () => Date.now() + aheadMs
  return {
    open: () => open(path, { nowMs, retentionMs: 3_600_000 }),
    drop: (ledger) => (ledger as SqliteLedger).abandon(),
    later: (ms) => {
      aheadMs += ms
    },
    nowMs,
  }
}

ledgerConformance('sqlite', place)
ledgerLookConformance('sqlite', place)
uploadConformance('sqlite', place)
replayConformance('sqlite', place)

test('A16.17: state.json has the five fields, its folder is made, and it is replaced in one step', async () => {
  const path = newPath()
  const ledger = open(path)
  settled(ledger, listed('weblogs/a.gz', 1_760_305_292_500))
  await ledger[Symbol.asyncDispose]()
  const { last_updated, ...rest } = stateOf(path)
  assert.ok(Math.abs(Number(last_updated) - Date.now() / 1000) < 60)
  assert.deepEqual(rest, {
    last_processed_timestamp: 1_760_305_292,
    last_processed_file: 'weblogs/a.gz',
    total_files_processed: 1,
    total_bytes_processed: 60,
  })
  assert.deepEqual(
    readdirSync(join(path, '..')).filter((name) => name.includes('tmp')),
    [],
  )
})

test('A16.4 and A16.5: the timestamp never passes an object that is not done, and the file is that of the timestamp', async () => {
  const path = newPath()
  await using ledger = open(path)
  ledger.begin(listed('slow', 2_000_000))
  settled(ledger, listed('late finisher', 1_000_000))
  settled(ledger, listed('fast', 3_000_000))
  ledger.save()
  assert.deepEqual([stateOf(path).last_processed_timestamp, stateOf(path).last_processed_file], [1000, 'late finisher'])
  ledger.settle(listed('slow').id, 'done', {
    position: { records: 0, offset: 0, offsetRecords: 0 },
    counts: { read: 0, delivered: 0, filtered: 0, quarantined: 0, bytes: 0 },
    timeMs: 2_000_000,
  })
  ledger.save()
  assert.deepEqual([stateOf(path).last_processed_timestamp, stateOf(path).last_processed_file], [3000, 'fast'])
})

test('a lower timestamp in state.json is obeyed: what is not older is read again', async () => {
  const path = newPath()
  const ledger = open(path)
  settled(ledger, listed('a', 1_000_000))
  settled(ledger, listed('b', 2_000_000))
  await ledger[Symbol.asyncDispose]()
  writeFileSync(path, JSON.stringify({ ...stateOf(path), last_processed_timestamp: 2000 }))
  await using same = open(path)
  assert.equal(same.objects().length, 2)
  await same[Symbol.asyncDispose]()
  writeFileSync(path, JSON.stringify({ ...stateOf(path), last_processed_timestamp: 1500 }))
  const lines: string[] = []
  await using again = open(path, {}, lines)
  assert.deepEqual(
    again.objects().map(({ key }) => key),
    ['a'],
  )
  assert.equal(again.horizon.floor.timeMs, 1_500_000)
  assert.match(lines.join('\n'), /moved back/)
  assert.equal(stateOf(path).last_processed_timestamp, 1500)
})

test('A16.8: a deleted state.json starts afresh by start_at, and says so; a killed first run does not', async () => {
  const path = newPath()
  const ledger = open(path)
  settled(ledger, listed('a'))
  await ledger[Symbol.asyncDispose]()
  rmSync(path)
  const lines: string[] = []
  await using again = open(path, { startMs: 777_000 }, lines)
  assert.deepEqual(again.objects(), [])
  assert.equal(again.horizon.floor.timeMs, 777_000)
  assert.match(lines.join('\n'), /state.json was deleted/)
})

test('A16.17: a corrupt state.json is set aside with an error that says how to go on, and nothing is lost or repeated', async () => {
  for (const content of [
    '',
    '{"last_processed_timestamp": 17',
    '[]',
    '{"last_processed_timestamp": "x"}',
    '{"last_processed_timestamp": 1760305292000}',
    '{"last_processed_timestamp": -1}',
  ]) {
    const path = newPath()
    const ledger = open(path)
    settled(ledger, listed('a'))
    await ledger[Symbol.asyncDispose]()
    writeFileSync(path, content)
    assert.throws(
      () => open(path),
      (error) =>
        error instanceof StreamError &&
        error.code === 'state.corrupt' &&
        /set aside as .*corrupt.*goes on where it was.*state set TIME/.test(error.message),
    )
    assert.ok(!existsSync(path))
    await using again = open(path)
    assert.equal(again.objects().length, 1)
    assert.equal(stateOf(path).last_processed_file, 'a')
  }
})

test('a state.json without a ledger (from the old program, or after a loss) goes on from its time less lookback', async () => {
  const path = newPath()
  mkdirSync(join(path, '..'))
  const state = {
    last_processed_timestamp: 1_760_305_292,
    last_processed_file: 'k',
    total_files_processed: 7,
    total_bytes_processed: 70,
    last_updated: 1,
  }
  writeFileSync(path, JSON.stringify(state))
  await using ledger = open(path)
  assert.equal(ledger.horizon.floor.timeMs, (1_760_305_292 - 3600) * 1000)
  assert.deepEqual([ledger.totals.files, ledger.totals.bytes], [7, 70])
})

test('A16.12: two instances never work on one state: a second one is refused with the process that has it; looking on is allowed', async () => {
  const path = newPath()
  await using ledger = open(path)
  settled(ledger, listed('a'), 'quarantined')
  ledger.save()
  assert.throws(
    () => open(path),
    (error) =>
      error instanceof StreamError &&
      error.code === 'ledger.locked' &&
      error.message.includes(`process ${process.pid}`),
  )
  await using looking = open(path, { mode: 'readonly' })
  assert.equal(looking.quarantine().length, 1)
  await using asking = open(path, { mode: 'shared' })
  assert.equal(asking.requeue('all'), 1)
  assert.equal(ledger.requeued().length, 1)
})

test('a ledger that is no database, or newer than we are, says what to do', async () => {
  const path = newPath()
  mkdirSync(join(path, '..'))
  writeFileSync(databasePath(path), 'this is no database at all, but long enough to look at'.repeat(20))
  assert.throws(
    () => open(path),
    (error) => error instanceof StreamError && error.code === 'ledger.corrupt' && /move it away/.test(error.message),
  )
})

test('a place that cannot be written is an error at the start', () => {
  const path = newPath()
  mkdirSync(join(path, '..'))
  writeFileSync(join(path, '..', 'file'), '')
  assert.throws(() => open(join(path, '..', 'file', 'state.json')), /cannot make the folder of state.file_path/)
  mkdirSync(path)
  assert.throws(() => open(path), StreamError)
})

test('readonly without a ledger is an empty one and leaves nothing behind', async () => {
  const path = newPath()
  await using ledger = open(path, { mode: 'readonly', startMs: 5000 })
  assert.deepEqual(ledger.objects(), [])
  assert.equal(ledger.horizon.floor.timeMs, 5000)
  assert.ok(!existsSync(join(path, '..')))
})

test('a thousand states are looked up together, and rows past the retention are pruned', async () => {
  const path = newPath()
  let now = 10 * 86_400_000
  await using ledger = open(path, { nowMs: () => now, retentionMs: 86_400_000 })
  const objects = Array.from({ length: 3000 }, (_, i) => listed(`k${i}`, now + i))
  for (const object of objects) settled(ledger, object)
  assert.equal(ledger.states(objects.slice(0, 1000).map(({ id }) => id)).size, 1000)
  now += 86_400_000 + 1000
  assert.equal(ledger.prune(now), 1000)
  assert.equal(ledger.objects().length, 2000)
})

test('kill -9 while objects are being settled loses none that was settled', async () => {
  const path = newPath()
  const script = `
    import { openLedger } from ${JSON.stringify(new URL('./sqlite.ts', import.meta.url).href)}
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const ledger = openLedger({ statePath: ${JSON.stringify(path)}, mode: 'exclusive', log, nowMs: Date.now, startMs: 0, retentionMs: 1e9, lookbackMs: 0 })
    const position = { records: 1, offset: 1, offsetRecords: 1 }
    const counts = { read: 1, delivered: 1, filtered: 0, quarantined: 0, bytes: 1 }
    for (let i = 0; ; i++) {
      const id = 'b/' + process.pid + '-' + i + '@1'
      ledger.begin({ id, bucket: 'b', key: 'k', size: 1, timeMs: 1, lastModifiedMs: 1 })
      ledger.settle(id, 'done', { position, counts, timeMs: 1 })
      process.stdout.write(id + '\\n')
      if (i % 50 === 0) { ledger.save(); await new Promise(setImmediate) }
    }`
  const printed: string[] = []
  for (let round = 0; round < 4; round += 1) {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.length > 20_000 * (round + 1)) child.kill('SIGKILL')
    })
    await new Promise((resolve) => child.on('close', resolve))
    printed.push(...text.split('\n').slice(0, -1))
  }
  await using ledger = open(path)
  assert.ok(printed.length > 500)
  assert.equal(ledger.states(printed).size, printed.length)
})

/** The tables of version 1, with a row in each, as the first version left them. */
const versionOne = `
CREATE TABLE objects (
  id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key TEXT NOT NULL, size INTEGER,
  time_ms INTEGER NOT NULL, modified_ms INTEGER NOT NULL, state TEXT NOT NULL,
  records INTEGER NOT NULL, start INTEGER NOT NULL, start_records INTEGER NOT NULL,
  read INTEGER NOT NULL, delivered INTEGER NOT NULL, filtered INTEGER NOT NULL, quarantined INTEGER NOT NULL, bytes INTEGER NOT NULL,
  attempts INTEGER NOT NULL, error TEXT, updated_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE quarantine (
  entry INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, object_id TEXT NOT NULL, bucket TEXT NOT NULL, key TEXT NOT NULL,
  reason TEXT NOT NULL, records INTEGER NOT NULL, start INTEGER NOT NULL, start_records INTEGER NOT NULL,
  first_record INTEGER NOT NULL, count INTEGER NOT NULL, content_type TEXT, multiline INTEGER, data BLOB, ends BLOB,
  created_ms INTEGER NOT NULL, requeued INTEGER NOT NULL DEFAULT 0,
  UNIQUE (object_id, kind, first_record, count)
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO objects VALUES ('b/a@1', 'b', 'a', 10, 1000, 1000, 'done', 5, 50, 4, 5, 4, 0, 1, 60, 1, NULL, 2000);
INSERT INTO quarantine VALUES (1, 'object', 'b/q@1', 'b', 'q', 'cut', 5, 50, 4, 5, 0, NULL, NULL, NULL, NULL, 3000, 0);
PRAGMA user_version = 1;
`

test('a ledger of the first version is looked at as it is, and taken over by the next run', async () => {
  const path = newPath()
  mkdirSync(join(path, '..'), { recursive: true })
  const db = new DatabaseSync(databasePath(path))
  db.exec(versionOne)
  db.close()
  {
    await using ledger = open(path, { mode: 'readonly' })
    assert.deepEqual(ledger.runs.list(), [])
    assert.equal(ledger.find('b/a@1')?.startedMs, 0)
  }
  await using ledger = open(path)
  assert.equal(ledger.find('b/a@1')?.counts.delivered, 4)
  assert.equal(ledger.quarantine()[0]?.reason, 'cut')
  settled(ledger, listed('b'))
  assert.ok((ledger.find(listed('b').id)?.startedMs ?? 0) > 0)
  assert.deepEqual(ledger.uploads.list(), [])
  ledger.listed([listed('b').id])
})

test('deferred: nothing is written before the next save, but that an upload was begun', async () => {
  const path = newPath()
  const deferred = open(path, { deferred: true })
  for (let i = 0; i < 50; i += 1) settled(deferred, listed(`a${i}`))
  deferred.save()
  settled(deferred, listed('lost'), 'quarantined')
  assert.equal(deferred.find(listed('lost').id)?.state, 'quarantined')
  {
    await using seen = open(path, { mode: 'readonly' })
    assert.equal(seen.objects().length, 50)
    assert.equal(seen.quarantine().length, 0)
  }
  const upload = { uploadId: 'u', objectId: 'o', bucket: 'b', key: 'k', size: 9, partBytes: 5, startedMs: 1 }
  deferred.uploads.begin(upload)
  settled(deferred, listed('lost too'))
  deferred.abandon()
  const after = open(path)
  assert.deepEqual(after.uploads.list(), [{ ...upload, parts: [] }])
  assert.equal(after.find(listed('lost').id)?.state, 'quarantined')
  assert.equal(after.find(listed('lost too').id), undefined)
  assert.equal(after.totals.files, 51)
  await after[Symbol.asyncDispose]()
})

test('deferred: what is settled costs no write of its own', async () => {
  const path = newPath()
  await using ledger = open(path, { deferred: true })
  ledger.save()
  const size = () => statSync(databasePath(path)).size
  const before = size()
  for (let i = 0; i < 2000; i += 1) settled(ledger, listed(`folder/file-${i}.csv`))
  assert.equal(size(), before)
  ledger.save()
  assert.ok(size() > before)
})

test('joint: two processes share a ledger; the first keeps state.json, both add to the totals, places are passed on', async () => {
  const path = newPath()
  const first = open(path, { mode: 'joint' })
  const second = open(path, { mode: 'joint' })
  settled(first, listed('a'))
  settled(second, listed('b'))
  settled(first, listed('c'))
  assert.deepEqual([first.totals.files, second.totals.files], [3, 2])
  assert.equal(second.states([listed('a').id]).get(listed('a').id), 'done')
  const place = { records: 3, offset: 30, offsetRecords: 3 }
  second.begin(listed('d'))
  second.advance(listed('d').id, place, { read: 3, delivered: 3, filtered: 0, quarantined: 0, bytes: 30 })
  second.save()
  second.abandon()
  assert.deepEqual(first.begin(listed('d')).position, place)
  await first[Symbol.asyncDispose]()
  assert.equal(stateOf(path).total_files_processed, 3)
  assert.throws(() => {
    const joint = open(path, { mode: 'joint' })
    try {
      open(path, { mode: 'exclusive' })
    } finally {
      joint.abandon()
    }
  }, /another s3-streamer works on/)
})

test('joint: what is requeued is told to one of them; when that one is gone, to another, which keeps state.json', async () => {
  const path = newPath()
  const [first, second] = [open(path, { mode: 'joint' }), open(path, { mode: 'joint' })]
  settled(second, listed('k'), 'quarantined')
  second.requeue('all')
  second.save()
  assert.deepEqual([first.requeued().length, second.requeued().length], [1, 0])
  first.abandon()
  second.save()
  assert.equal(second.requeued().length, 1)
  settled(second, listed('l'))
  second.save()
  assert.equal(stateOf(path).total_files_processed, 2)
  await second[Symbol.asyncDispose]()
})

test('joint: runs that begin at once have ids of their own; one that starts does not end those of others', async () => {
  const path = newPath()
  const [first, second] = [open(path, { mode: 'joint' }), open(path, { mode: 'joint' })]
  const about = { mode: 'daemon', outcome: 'running', objects: {}, counts: nothingCounted, figures: {} } as const
  const run = { ...about, startedMs: Date.now(), updatedMs: Date.now(), error: undefined }
  assert.notEqual(first.runs.add(run), second.runs.add(run))
  first.abandon()
  await using third = open(path, { mode: 'joint' })
  assert.deepEqual(
    third.runs.list().map(({ outcome }) => outcome),
    ['running', 'running'],
  )
  await second[Symbol.asyncDispose]()
})

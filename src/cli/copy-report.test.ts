import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CopyProgress } from '../core/copy-progress.ts'
import { BarReport, type CopySummary, JsonReport, PlainReport, Rate } from './copy-report.ts'

const object = (key: string) => ({ id: key, bucket: 'sftp://acme@host', key, size: 100, timeMs: 0, lastModifiedMs: 0 })
const progress = (key: string, o: Partial<CopyProgress> = {}): CopyProgress => ({
  ...{
    object: object(key),
    totalBytes: 100e6,
    records: undefined,
    partCount: 12,
    bytes: 25e6,
    sentParts: 3,
    startedMs: 0,
  },
  ...o,
})
const summary: CopySummary = {
  ...{ copied: 2, skipped: 1, bytes: 3e9, resumedBytes: 1e9, seconds: 10, failures: [], unread: 0 },
  ...{ stopped: false, error: undefined },
}
const written = () => {
  const texts: string[] = []
  return { texts, write: (text: string) => void texts.push(text) }
}

test('the rate is that of the last seconds, so that a stall shows', () => {
  const rate = new Rate(5000)
  assert.equal(rate.add(0, 0), 0)
  assert.equal(rate.add(1000, 100), 100)
  assert.equal(rate.add(2000, 200), 100)
  for (const ms of [7000, 8000, 12_000]) rate.add(ms, 200)
  assert.equal(rate.add(14_000, 200), 0)
})

test('bars: one for each large file, and the total with what is left; they make room for other lines', () => {
  const { texts, write } = written()
  let nowMs = 0
  const report = new BarReport(write, () => nowMs)
  const view = (bytes: number) => ({
    underWay: [
      progress('in/a-very-long-name-of-a-file-of-customers.csv', { bytes }),
      progress('b', { partCount: 1, bytes: 0 }),
    ],
    found: { objects: 3, bytes: 200e6, complete: true },
    finished: { objects: 1, failed: 1, bytes: 50e6 },
  })
  report.progress(view(0))
  nowMs = 1000
  report.progress(view(25e6))
  const [first = '', second = ''] = texts.filter((text) => text.includes('total'))
  const [file = '', total = ''] = second.split('\n')
  assert.match(file, /…-of-a-file-of-customers\.csv █{5}░{15} {2}25% 3\/12 parts {2}25\.0 MB\/s/)
  assert.match(
    total,
    /^total +█{7}░{13} {2}37% 1\/3 files {2}75\.0 MB of 200 MB {2}25\.0 MB\/s {2}0:05 left {2}1 failed/,
  )
  assert.doesNotMatch(first, /left/)
  texts.length = 0
  report.clear()
  assert.deepEqual(texts, ['\r\u001b[K\u001b[1A\u001b[K'])
  report.clear()
  assert.equal(texts.length, 1)
})

test('while there may be more, the total says so', () => {
  const { texts, write } = written()
  const found = { objects: 3, bytes: 100, complete: false }
  new BarReport(write, () => 0).progress({ underWay: [], found, finished: { objects: 1, failed: 0, bytes: 50 } })
  assert.match(texts.join(''), /1\/3\+ files {2}50 B of 100 B\+/)
})

test('the end names every failure, and says what to do', () => {
  const { texts, write } = written()
  const report = new PlainReport(write)
  report.end(summary)
  assert.equal(
    texts.pop(),
    '2 files copied, 3.0 GB in 10.0 s, 200 MB/s (1.0 GB of it were there from an earlier run); 1 file left alone, already there\n',
  )
  const failures = [{ name: 'sftp://acme@host/in/a\u001b[2J', reason: 'permission denied' }]
  report.end({ ...summary, failures, unread: 1 })
  assert.equal(
    texts.pop(),
    `FAILED  sftp://acme@host/in/a\\x1b[2J: permission denied
FAILED  1 file or folder could not be read: see the messages above
2 files copied, 3.0 GB in 10.0 s, 200 MB/s (1.0 GB of it were there from an earlier run); 1 file left alone, already there; 2 files failed
the same command tries again what failed
`,
  )
  report.end({ ...summary, stopped: true })
  assert.match(texts.pop() ?? '', /\nstopped: the same command goes on where it was\n$/)
})

test('json: a line each second at most, one for each file, the end last', () => {
  const { texts, write } = written()
  const report = new JsonReport(write)
  const view = {
    underWay: [progress('in/a')],
    found: { objects: 1, bytes: 100e6, complete: true },
    finished: { objects: 0, failed: 0, bytes: 0 },
  }
  report.progress(view)
  report.progress(view)
  report.end(summary)
  const [first, last, ...more] = texts.map((text) => JSON.parse(text) as Record<string, unknown>)
  assert.deepEqual(more, [])
  assert.deepEqual(first?.underWay, [{ source: 'sftp://acme@host/in/a', size: 100e6, bytes: 25e6, parts: 3, of: 12 }])
  assert.deepEqual([last?.event, last?.copied, last?.failed], ['end', 2, 0])
})

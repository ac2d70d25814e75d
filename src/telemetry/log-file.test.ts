import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { StreamError } from '../core/errors.ts'
import { LogFile, type LogFileOptions } from './log-file.ts'

const root = mkdtempSync(join(tmpdir(), 's3s-log-'))
after(() => rmSync(root, { recursive: true, force: true }))
let places = 0

function bed(o: Partial<LogFileOptions> = {}) {
  places += 1
  const folder = join(root, `p${places}`)
  const path = join(folder, 'logs', 'streamer.log')
  const complaints: string[] = []
  let ms = 0
  const options = {
    path,
    maxBytes: 100,
    maxFiles: 3,
    complain: (text: string) => void complaints.push(text),
    lostLine: (lines: number) => `lost ${lines}\n`,
    nowMs: () => ms,
    ...o,
  }
  return {
    ...{ path, folder: join(folder, 'logs'), complaints },
    open: () => new LogFile(options),
    later: () => {
      ms += 1001
    },
    text: (end = '') => readFileSync(`${path}${end}`, 'utf8'),
  }
}

/** A line of 40 bytes. */
const line = (n: number) => `${String(n).padEnd(39, '.')}\n`

test('lines are in the file when the call returns; its folder is made; another start adds to it', () => {
  const at = bed()
  using first = at.open()
  first.write(line(1))
  assert.equal(at.text(), line(1))
  using second = at.open()
  second.write(line(2))
  assert.equal(at.text(), line(1) + line(2))
})

test('a file that would grow too large is rotated, and the oldest goes', () => {
  const at = bed()
  using file = at.open()
  for (let n = 1; n <= 11; n += 1) file.write(line(n))
  assert.deepEqual(readdirSync(at.folder).toSorted(), [
    'streamer.log',
    'streamer.log.1',
    'streamer.log.2',
    'streamer.log.3',
  ])
  assert.equal(at.text(), line(11))
  assert.equal(at.text('.1'), line(9) + line(10))
  assert.equal(at.text('.3'), line(5) + line(6))
  assert.deepEqual(at.complaints, [])
})

test('fewer files to keep than before: those too many go at the next rotation', () => {
  const at = bed()
  {
    using file = at.open()
    for (let n = 1; n <= 11; n += 1) file.write(line(n))
  }
  using file = new LogFile({
    path: at.path,
    maxBytes: 100,
    maxFiles: 1,
    complain: assert.fail,
    lostLine: String,
    nowMs: Date.now,
  })
  for (let n = 12; n <= 14; n += 1) file.write(line(n))
  assert.deepEqual(readdirSync(at.folder).toSorted(), ['streamer.log', 'streamer.log.1'])
})

test('a single line that is too large is written whole', () => {
  const at = bed()
  using file = at.open()
  file.write(`${'x'.repeat(500)}\n`)
  file.write(line(1))
  assert.equal(at.text('.1').length, 501)
  assert.equal(at.text(), line(1))
})

test('a file that logrotate moved away, or someone removed, is begun anew; at once when it is asked for', () => {
  const at = bed()
  using file = at.open()
  file.write(line(1))
  renameSync(at.path, `${at.path}-20261121`)
  file.reopen()
  file.write(line(2))
  assert.equal(at.text(), line(2))
  rmSync(at.path)
  at.later()
  file.write(line(3))
  assert.equal(at.text(), line(3))
  assert.equal(at.text('-20261121'), line(1))
})

test('a file that was emptied in place (copytruncate) is not rotated for what it had', () => {
  const at = bed()
  using file = at.open()
  file.write(line(1))
  file.write(line(2))
  truncateSync(at.path)
  file.write(line(3))
  assert.equal(at.text(), line(3))
  assert.equal(existsSync(`${at.path}.1`), false)
})

test('two processes on one file: one rotates, the other goes on in the new file', () => {
  const at = bed()
  using one = at.open()
  using two = at.open()
  for (let n = 1; n <= 4; n += 1) {
    one.write(line(n))
    two.write(line(n))
  }
  const all = ['.3', '.2', '.1', ''].filter((end) => existsSync(at.path + end)).map((end) => at.text(end))
  assert.equal(all.join('').length, 8 * 40)
})

test('a file that cannot be written is refused at the start, with what to do', () => {
  for (const make of [
    (path: string) => mkdirSync(path, { recursive: true }),
    (path: string) => writeFileSync(join(path, '..', '..', 'logs'), ''),
  ]) {
    const at = bed()
    mkdirSync(join(at.folder, '..'), { recursive: true })
    make(at.path)
    assert.throws(
      () => at.open(),
      (error) =>
        error instanceof StreamError &&
        error.code === 'config.invalid' &&
        /^cannot write the log \S+streamer\.log \(logging\.file\.path\): .+ \(it must be a file/.test(error.message),
    )
  }
})

test('a named pipe is refused, not waited for', () => {
  const at = bed()
  mkdirSync(at.folder, { recursive: true })
  spawnSync('mkfifo', [at.path])
  assert.throws(() => at.open(), /no regular file/)
})

test('lines that cannot be written are told once and counted, and the log goes on when they can', () => {
  const at = bed()
  using file = at.open()
  rmSync(at.folder, { recursive: true })
  at.later()
  for (let n = 1; n <= 3; n += 1) file.write(line(n))
  assert.equal(at.complaints.length, 1)
  assert.match(at.complaints[0] ?? '', /^cannot write the log .*ENOENT.*delivery goes on/)
  mkdirSync(at.folder)
  file.write(line(4))
  at.later()
  file.write(line(5))
  assert.equal(at.text(), `lost 4\n${line(5)}`)
})

test('a file that cannot be rotated grows on, and says so', () => {
  const at = bed()
  using file = at.open()
  mkdirSync(`${at.path}.3`)
  for (let n = 1; n <= 4; n += 1) file.write(line(n))
  assert.equal(at.text().length, 160)
  assert.equal(at.complaints.length, 1)
  assert.match(at.complaints[0] ?? '', /^cannot rotate the log/)
})

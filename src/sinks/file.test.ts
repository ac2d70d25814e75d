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
import { test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import type * as z from 'zod'
import { batchOf, batchOfParts, sinkConformance, someObject, testContext } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import type { Context, Sink } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { AppendFile, gzipMember } from './append-file.ts'
import { fileConfig, fileSink } from './file.ts'

type Settings = Omit<z.input<typeof fileConfig>, 'type'>
const live = { signal: new AbortController().signal }

function sinkOf(settings: Settings, context: Context = testContext()): Sink {
  return fileSink.create(fileConfig.parse({ type: 'file', ...settings }), context)
}

async function withFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 's3-file-'))
  try {
    await body(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => assert.fail('resolved'),
    (error: unknown) => (error instanceof StreamError ? error : Promise.reject(error)),
  )

const textOf = (path: string) =>
  path.endsWith('.gz') ? gunzipSync(readFileSync(path)).toString() : readFileSync(path, 'utf8')

for (const name of ['out.log', 'out.log.gz']) {
  sinkConformance(
    `file ${name}`,
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 's3-file-'))
      const path = join(folder, 'deep', name)
      const moved: string[] = []
      const linesOf = (file: string) => (existsSync(file) ? textOf(file).split('\n').slice(0, -1) : [])
      return {
        sink: sinkOf({ path, compression: name.endsWith('.gz') ? 'gzip' : 'none' }),
        stored: () => [...moved, path].flatMap(linesOf),
        failing: (on) => {
          if (on) mkdirSync(path, { recursive: true })
          else rmSync(path, { recursive: true })
        },
        // What log rotation does.
        restart: async () => {
          const aside = join(folder, `${moved.length}-${name}`)
          renameSync(path, aside)
          moved.push(aside)
        },
        close: async () => rmSync(folder, { recursive: true }),
      }
    },
    'mute',
    'unseen',
  )
}

test('each record goes to the file of its object, by date and pipeline; in UTC', () =>
  withFolder(async (folder) => {
    await using sink = sinkOf({ path: join(folder, '{pipeline}/{yyyy}/{MM}/{dd}/{HH}.log') })
    const at = (timeMs: number, ...records: string[]) => ({
      block: blockOf(records),
      from: 0,
      to: records.length,
      object: { ...someObject, timeMs },
    })
    const late = Date.UTC(2026, 11, 31, 23, 59, 59, 999)
    await sink.write(batchOfParts([at(late, 'a', 'b'), at(late + 1, 'c'), at(late, 'd')]), live)
    assert.equal(textOf(join(folder, 'test/2026/12/31/23.log')), 'a\nb\nd\n')
    assert.equal(textOf(join(folder, 'test/2027/01/01/00.log')), 'c\n')
  }))

test('an object without a usable time goes somewhere, not nowhere', () =>
  withFolder(async (folder) => {
    await using sink = sinkOf({ path: join(folder, '{yyyy}.log') })
    const part = { block: blockOf(['a']), from: 0, to: 1, object: { ...someObject, timeMs: Number.NaN } }
    await sink.write(batchOfParts([part]), live)
    assert.equal(textOf(join(folder, '1970.log')), 'a\n')
  }))

test('forty files at once are all written, and only some stay open', () =>
  withFolder(async (folder) => {
    await using sink = sinkOf({ path: join(folder, '{dd}-{HH}.log') })
    const parts = Array.from({ length: 40 }, (_, i) => ({
      block: blockOf([`r${i}`]),
      from: 0,
      to: 1,
      object: { ...someObject, timeMs: Date.UTC(2026, 0, 1, i) },
    }))
    const before = readdirSync('/dev/fd').length
    await sink.write(batchOfParts(parts), live)
    assert.ok(readdirSync('/dev/fd').length - before <= 16)
    await sink.write(batchOfParts(parts), live)
    const files = readdirSync(folder).toSorted()
    assert.equal(files.length, 40)
    assert.deepEqual(
      files.map((file) => textOf(join(folder, file))),
      parts.map((_, i) => `r${i}\nr${i}\n`),
    )
  }))

test('a record of several lines becomes one, other bytes stay', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'out')
    await using sink = sinkOf({ path })
    await sink.write(batchOf(blockOf(['a\nb', 'c'], 0, true), blockOf([Buffer.from([0xff, 0x00])])), live)
    assert.deepEqual(readFileSync(path), Buffer.from('{"message":"a\\nb"}\nc\n\xff\x00\n', 'latin1'))
  }))

test('a batch for two files, of which one cannot be written, is in neither', () =>
  withFolder(async (folder) => {
    const meter = new MemoryMeter()
    await using sink = sinkOf({ path: join(folder, '{HH}') }, { ...testContext(), meter })
    const part = (hour: number) => ({
      block: blockOf([`h${hour}`]),
      from: 0,
      to: 1,
      object: { ...someObject, timeMs: Date.UTC(2026, 0, 1, hour) },
    })
    await sink.write(batchOfParts([part(0)]), live)
    mkdirSync(join(folder, '01'))
    const error = await errorOf(sink.write(batchOfParts([part(0), part(1)]), live))
    assert.equal(error.code, 'sink.access')
    assert.match(error.message, /^cannot append to .*01: EISDIR.*\(choose another path/)
    assert.equal(textOf(join(folder, '00')), 'h0\n')
    rmSync(join(folder, '01'), { recursive: true })
    await sink.write(batchOfParts([part(0), part(1)]), live)
    assert.equal(textOf(join(folder, '00')), 'h0\nh0\n')
    const values = meter.snapshot().map(({ name, value }) => [name, value])
    assert.deepEqual(values, [
      ['file_records_written_total', 3],
      ['file_bytes_written_total', 9],
      ['file_errors_total', 1],
    ])
  }))

test('a disk that takes only a part of a batch keeps nothing of it', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'out')
    const modules = ['./file.ts', '../../test/conformance/sink.ts', '../core/block.ts'].map((name) =>
      JSON.stringify(new URL(name, import.meta.url).href),
    )
    const code = `
      const { fileConfig, fileSink } = await import(${modules[0]})
      const { batchOf, testContext } = await import(${modules[1]})
      const { blockOf } = await import(${modules[2]})
      const sink = fileSink.create(fileConfig.parse({ type: 'file', path: ${JSON.stringify(path)} }), testContext())
      const live = { signal: new AbortController().signal }
      await sink.write(batchOf(blockOf(['before'])), live)
      const records = Array.from({ length: 1000 }, (_, i) => 'record ' + i + ' '.repeat(90))
      await sink.write(batchOf(blockOf(records)), live).catch((error) => console.log(error.code, error.message))
      await sink.write(batchOf(blockOf(['after'])), live)
      await sink[Symbol.asyncDispose]()`
    // The limit of the size of files stands for a disk that fills: write(2) takes what fits, then fails.
    const shell = ['-c', 'ulimit -f 64; exec "$0" "$@"', process.execPath, '--input-type=module', '-e', code]
    const { stdout, stderr } = spawnSync('sh', shell, { encoding: 'utf8' })
    assert.match(stdout, /^sink.unavailable cannot append to .*EFBIG/, stderr)
    assert.equal(textOf(path), 'before\nafter\n')
  }))

test('a last line that a crash left open is ended, and told of', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'out')
    writeFileSync(path, 'whole\nha')
    const lines: string[] = []
    await using sink = sinkOf({ path }, testContext(lines))
    await sink.write(batchOf(blockOf(['half'])), live)
    assert.equal(textOf(path), 'whole\nha\nhalf\n')
    assert.equal(lines.filter((line) => line.startsWith('warn')).length, 1)
  }))

test('half a gzip member that a crash left is cut off, wherever it ends', () =>
  withFolder(async (folder) => {
    const whole = Buffer.concat([await gzipMember(Buffer.from('a\n')), await gzipMember(Buffer.from('b\n'))])
    const member = await gzipMember(Buffer.from('c\n'))
    for (let bytes = 0; bytes <= member.length; bytes += 1) {
      const path = join(folder, `${bytes}.gz`)
      writeFileSync(path, Buffer.concat([whole, member.subarray(0, bytes)]))
      const lines: string[] = []
      await using sink = sinkOf({ path, compression: 'gzip' }, testContext(lines))
      await sink.write(batchOf(blockOf(['d'])), live)
      assert.equal(textOf(path), bytes === member.length ? 'a\nb\nc\nd\n' : 'a\nb\nd\n')
      assert.equal(lines.length, bytes === 0 || bytes === member.length ? 0 : 1)
    }
  }))

test('a gzip file of someone else is left alone', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'theirs.gz')
    const theirs = gzipSync('theirs\n')
    writeFileSync(path, theirs)
    await using sink = sinkOf({ path, compression: 'gzip' })
    const error = await errorOf(sink.write(batchOf(blockOf(['a'])), live))
    assert.equal(error.kind, 'transient')
    assert.match(error.message, /holds other data/)
    assert.deepEqual(readFileSync(path), theirs)
  }))

test('check finds a path that cannot be written, and makes nothing', () =>
  withFolder(async (folder) => {
    writeFileSync(join(folder, 'plain'), 'x')
    mkdirSync(join(folder, 'folder'))
    await using good = sinkOf({ path: join(folder, 'new/{yyyy}/out.log') })
    await good.check(live)
    await using there = sinkOf({ path: join(folder, 'plain') })
    await there.check(live)
    assert.deepEqual(readdirSync(folder).toSorted(), ['folder', 'plain'])
    for (const path of ['folder', 'plain/out.log', 'plain/deep/out.log']) {
      await using bad = sinkOf({ path: join(folder, path) })
      const error = await errorOf(bad.check(live))
      assert.equal(error.code, 'config.invalid', path)
      assert.match(error.message, /^cannot append to /)
    }
  }))

test('a path with unknown braces, without a name, or with NUL is refused', () => {
  const issueOf = (path: string) => fileConfig.safeParse({ type: 'file', path }).error?.issues[0]?.message ?? ''
  assert.match(issueOf('/x/{mm}.log'), /unknown \{mm\}, known are \{yyyy\}/)
  assert.match(issueOf('/x/{yyyy.log'), /unknown \{yyyy/)
  assert.match(issueOf('/x/'), /must name a file/)
  assert.match(issueOf('/x\0'), /NUL/)
  assert.equal(issueOf('/x/{pipeline}-{yyyy}{MM}{dd}{HH}.log'), '')
})

test('a file that was cut by someone else, as by copytruncate, is not made longer by taking back', () =>
  withFolder(async (folder) => {
    const path = join(folder, 'out.log')
    const file = await AppendFile.open(path, { compression: 'none', sync: false, log: testContext().log })
    await file.append(Buffer.from('accepted\n'))
    file.commit()
    truncateSync(path)
    await file.append(Buffer.from('half'))
    await assert.rejects(file.undo(), /was cut by someone else/)
    await file.close()
    assert.equal(readFileSync(path, 'utf8'), 'half')
  }))

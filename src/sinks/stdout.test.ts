import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { batchOf, sinkConformance, testContext } from '../../test/conformance/sink.ts'
import { blockOf } from '../core/block.ts'
import type { Sink } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { StdoutSink, stdoutConfig } from './stdout.ts'

const live = { signal: new AbortController().signal }
const config = stdoutConfig.parse({ type: 'stdout' })

/** Opens another file with the number that `fd` has, as a shell does for a redirection. */
function reopen(fd: number, path: string, flags: string): void {
  closeSync(fd)
  assert.equal(openSync(path, flags), fd)
}

sinkConformance(
  'stdout',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 's3-stdout-'))
    const path = join(folder, 'out')
    const fd = openSync(path, 'a')
    return {
      sink: new StdoutSink(config, testContext(), fd),
      stored: () =>
        readFileSync(path, 'utf8')
          .split('\n')
          .filter((line) => line !== ''),
      failing: (on) => reopen(fd, path, on ? 'r' : 'a'),
      restart: async () => reopen(fd, path, 'a'),
      close: async () => {
        closeSync(fd)
        rmSync(folder, { recursive: true })
      },
    }
  },
  'mute',
  'unseen',
)

test('after a write that failed the next one begins a new line; all is counted', async () => {
  const folder = mkdtempSync(join(tmpdir(), 's3-stdout-'))
  const path = join(folder, 'out')
  const fd = openSync(path, 'a')
  const meter = new MemoryMeter()
  const sink = new StdoutSink(config, { ...testContext(), meter }, fd)
  await sink.write(batchOf(blockOf(['a\nb'], 0, true)), live)
  reopen(fd, path, 'r')
  await assert.rejects(
    sink.write(batchOf(blockOf(['c'])), live),
    (error) => error instanceof StreamError && /cannot write to standard output: EBADF/.test(error.message),
  )
  reopen(fd, path, 'a')
  await sink.write(batchOf(blockOf(['c'])), live)
  await sink.write(batchOf(blockOf(['d'])), live)
  assert.equal(readFileSync(path, 'utf8'), '{"message":"a\\nb"}\n\nc\nd\n')
  const values = meter.snapshot().map(({ name, value }) => [name, value])
  assert.deepEqual(values, [
    ['stdout_records_written_total', 3],
    ['stdout_bytes_written_total', 24],
    ['stdout_errors_total', 1],
  ])
  closeSync(fd)
  rmSync(folder, { recursive: true })
})

/** A process that runs `body` with a sink on its own standard output, here a pipe, and a batch of 4 MB. */
function startChild(body: string): ChildProcess & { stdout: NodeJS.ReadableStream; stderr: NodeJS.ReadableStream } {
  const [stdout, conformance, block] = ['./stdout.ts', '../../test/conformance/sink.ts', '../core/block.ts'].map(
    (name) => JSON.stringify(new URL(name, import.meta.url).href),
  )
  const code = `
    const { stdoutConfig, stdoutSink } = await import(${stdout})
    const { batchOf, testContext } = await import(${conformance})
    const { blockOf } = await import(${block})
    const sink = stdoutSink.create(stdoutConfig.parse({ type: 'stdout' }), testContext())
    const live = { signal: new AbortController().signal }
    const large = batchOf(blockOf(Array.from({ length: 4000 }, (_, i) => i + ' ' + 'x'.repeat(1000))))
    ${body}`
  return spawn(process.execPath, ['--input-type=module', '-e', code], { stdio: ['ignore', 'pipe', 'pipe'] })
}

test('a pipe gets every byte, in order, and the process ends by itself', async () => {
  const child = startChild(`
    await Promise.all([sink.write(large, live), sink.write(batchOf(blockOf(['last'])), live)])
    await sink[Symbol.asyncDispose]()`)
  const [output, errors, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  assert.equal(errors, '')
  assert.equal(code, 0)
  const lines = output.split('\n')
  assert.equal(lines.length, 4002)
  assert.deepEqual(
    [lines[0], lines[3999], lines[4000], lines[4001]].map((line) => line?.slice(0, 5)),
    ['0 xxx', '3999 ', 'last', ''],
  )
})

test('nobody reads: the write waits without holding up the process, until it is aborted', async () => {
  const child = startChild(`
    const aborting = new AbortController()
    const writing = sink.write(large, { signal: aborting.signal })
    let turns = 0
    const tick = setInterval(() => (turns += 1) === 3 && aborting.abort(new Error('stop')), 10)
    await writing.catch((error) => console.error(error.code, turns))
    clearInterval(tick)
    process.exit()`)
  const [errors] = await Promise.all([text(child.stderr), once(child, 'exit')])
  assert.equal(errors, 'run.aborted 3\n')
})

test('a reader that is gone ends the pipeline: the error is none that is tried again', async () => {
  const child = startChild(`
    const outcome = await sink.write(large, live).catch((error) => error)
    console.error(outcome.name, outcome.message)
    const again = await sink.write(large, live).catch((error) => error)
    console.error(again.name)`)
  child.stdout.once('data', () => (child.stdout as unknown as { destroy(): void }).destroy())
  const [errors, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
  assert.match(errors, /^Error standard output was closed by its reader.*\nError\n$/)
  assert.equal(code, 0)
})

test('check finds standard output open', async () => {
  const sink: Sink = new StdoutSink(config, testContext())
  await sink.check(live)
  const folder = mkdtempSync(join(tmpdir(), 's3-stdout-'))
  const fd = openSync(join(folder, 'out'), 'a')
  closeSync(fd)
  const closed: Sink = new StdoutSink(config, testContext(), fd)
  await assert.rejects(closed.check(live), /standard output is closed/)
  rmSync(folder, { recursive: true })
})

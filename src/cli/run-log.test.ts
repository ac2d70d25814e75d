import assert from 'node:assert/strict'
import { existsSync, fstatSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { startTestbed } from '../../test/servers/testbed.ts'
import { loadConfig } from '../config/load.ts'
import { registry } from '../registry.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import type { Io } from './io.ts'
import { RunLog } from './run-log.ts'

const root = mkdtempSync(join(tmpdir(), 's3s-run-log-'))
after(() => rmSync(root, { recursive: true, force: true }))

function bed(o: { readonly env?: Record<string, string> } = {}) {
  const written = { out: '', err: '' }
  const never = new AbortController().signal
  const io: Io = {
    stdout: (text) => {
      written.out += text.toString()
    },
    stderr: (text) => {
      written.err += text
    },
    env: o.env ?? {},
    terminal: false,
    color: { stdout: false, stderr: false },
    ask: undefined,
    ...{ unread: never, onHangup: () => ({ [Symbol.dispose]: () => undefined }), soft: never, hard: never },
  }
  return { io, written }
}

function loaded(logging: string, sink = '{ type: http, endpoints: ["http://localhost:1/"] }') {
  const text = `pipelines:\n  - name: web\n    source: { type: s3_scan, bucket: b, region: us-east-1 }\n    sink: ${sink}\n    state: { file_path: ${root}/state.json }\n${logging}`
  return loadConfig(text, { file: 'config.yaml', env: {}, registry })
}

test('with a file, the log is there and not on standard output; errors are on standard error too', () => {
  const { io, written } = bed()
  const path = join(root, 'with-file', 'a.log')
  {
    using runLog = new RunLog(loaded(`logging: { file: { path: ${path} } }`), io)
    runLog.log.info({}, 'starts')
    runLog.log.error({ key: 'a/b' }, 'cannot read it')
  }
  assert.equal(written.out, '')
  assert.match(written.err, /^\S+ \S+ ERROR cannot read it: a\/b\n$/)
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  assert.deepEqual(
    lines.map((line) => (JSON.parse(line) as { msg: string }).msg),
    ['starts', 'cannot read it'],
  )
})

test('a file that cannot be written is refused, and told on standard error by the run, which does not begin', async () => {
  writeFileSync(join(root, 'no-folder'), '')
  const logging = `logging: { file: { path: ${root}/no-folder/a.log } }`
  assert.throws(
    () => new RunLog(loaded(logging), bed().io),
    /^StreamError: cannot write the log \S+\/no-folder\/a\.log/,
  )
  await using testbed = await startTestbed()
  testbed.write(logging)
  const { code, err } = await testbed.run(['run', '--once'])
  assert.equal(code, 2)
  assert.match(err, /cannot write the log/)
})

test('in the journal, lines have their priority and no time of their own', () => {
  const stream = join(root, 'stream')
  writeFileSync(stream, '')
  const { dev, ino } = statSync(stream, { bigint: true })
  // The test runner's own standard output is no journal: that of this process is taken for one.
  const own = fstatSync(1, { bigint: true })
  const { io, written } = bed({ env: { JOURNAL_STREAM: `${own.dev}:${own.ino}` } })
  using runLog = new RunLog(loaded('logging: { format: text }'), io)
  runLog.log.warn({ key: 'a' }, 'look')
  assert.equal(written.out, '<4>WARN  look: a\n')
  const elsewhere = bed({ env: { JOURNAL_STREAM: `${dev}:${ino}` } })
  using other = new RunLog(loaded('logging: { format: text }'), elsewhere.io)
  other.log.warn({}, 'look')
  assert.match(elsewhere.written.out, /^2\d{3}-.* WARN {2}look\n$/)
})

test('records have standard output to themselves: the log is on standard error', () => {
  const { io, written } = bed()
  using runLog = new RunLog(loaded('', '{ type: stdout }'), io)
  runLog.log.info({}, 'starts')
  assert.equal(written.out, '')
  assert.match(written.err, /"msg":"starts"/)
})

test('a reload changes level, format and file for the loggers there are; a bad file changes nothing', () => {
  const { io, written } = bed()
  const path = join(root, 'reload', 'a.log')
  using runLog = new RunLog(loaded(''), io)
  const child = runLog.log.child({ pipeline: 'web' })
  child.debug({}, 'one')
  runLog.reconfigure(loaded(`logging: { level: debug, format: text, file: { path: ${path} } }`))
  child.debug({}, 'two')
  assert.throws(() => runLog.reconfigure(loaded(`logging: { file: { path: ${root} } }`)), /it is a folder/)
  child.debug({}, 'three')
  runLog.reconfigure(loaded(''))
  child.info({}, 'four')
  assert.match(readFileSync(path, 'utf8'), /^\S+ \S+ DEBUG two · pipeline web\n\S+ \S+ DEBUG three · pipeline web\n$/)
  assert.match(written.out, /^\{.*"msg":"four"\}\n$/)
})

test('a reload with the same file goes on in it, or in a new one if logrotate moved it away', () => {
  const { io } = bed()
  const path = join(root, 'moved', 'a.log')
  const config = loaded(`logging: { file: { path: ${path} } }`)
  using runLog = new RunLog(config, io)
  runLog.log.info({}, 'one')
  rmSync(path)
  runLog.reconfigure(config)
  assert.ok(existsSync(path))
  runLog.log.info({}, 'two')
  assert.doesNotMatch(readFileSync(path, 'utf8'), /one/)
})

test('what was held back is told at the end; all of it is in log_messages_total', () => {
  const { io, written } = bed()
  const meter = new MemoryMeter()
  {
    using runLog = new RunLog(loaded('logging: { format: text }'), io, { meter })
    for (let n = 0; n < 30; n += 1) runLog.log.child({ pipeline: 'web' }).warn({ key: `k${n}` }, 'look')
    runLog.log.error({}, 'no')
  }
  const lines = written.out.trimEnd().split('\n')
  assert.equal(lines.length, 7)
  assert.match(lines[6] ?? '', /look \(repeated 25 times in the last minute; this is the last\): k29 · pipeline web/)
  const counts = meter.snapshot().filter(({ name }) => name === 'log_messages_total')
  assert.deepEqual(
    counts.map(({ labels, value }) => [labels.level, value]),
    [
      ['warn', 30],
      ['error', 1],
    ],
  )
})

test('a listener gets each line as JSON until it ends', () => {
  const { io } = bed()
  using runLog = new RunLog(loaded('logging: { format: text }'), io)
  const heard: string[] = []
  const end = runLog.listen((json, level) => heard.push(`${level} ${(JSON.parse(json) as { msg: string }).msg}`))
  runLog.log.info({}, 'one')
  runLog.log.debug({}, 'two')
  end()
  runLog.log.info({}, 'three')
  assert.deepEqual(heard, ['info one'])
})

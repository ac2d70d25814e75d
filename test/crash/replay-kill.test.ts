import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { openLedger } from '../../src/ledger/sqlite.ts'
import { Installation } from '../e2e/command.ts'
import { PushedFigures, Watch } from '../e2e/figures.ts'
import { silent } from '../fakes/pipeline.ts'
import { startHttpInput } from '../servers/http-input.ts'
import { startS3 } from '../servers/s3.ts'

const folder = '_weblog/feedname=Threat Team - Web'
const objects = 20
const lines = 400
const kills = 2

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

test('a replay that is killed again and again is gone on with: each line of its range arrives once more at least, live ones too', async (t) => {
  const s3 = await startS3()
  const times = new Map<string, number>()
  const take = (body: Buffer) => {
    for (const line of body.toString().trimEnd().split('\n')) times.set(line, (times.get(line) ?? 0) + 1)
  }
  const input = await startHttpInput({ take })
  const pushed = await PushedFigures.open()
  const installation = new Installation({ endpoint: s3.endpoint, inputs: [input.url], more: pushed.config })
  cleanups.push(
    () => pushed[Symbol.asyncDispose](),
    () => s3.close(),
    () => input.close(),
    () => installation.remove(),
  )
  const startSeconds = Math.floor(Date.now() / 1000) - 3000
  const expected: string[] = []
  const put = (kind: 'replayed' | 'live', n: number) => {
    const text = Array.from({ length: lines }, (_, i) => `{"${kind}":${n},"line":${i}}`)
    expected.push(...text)
    s3.put(`${folder}/${startSeconds + n}_1_1_1.gz`, gzipSync(`${text.join('\n')}\n`))
  }
  for (let n = 0; n < objects; n += 1) put('replayed', n)
  assert.equal((await installation.run('--once')).code, 0)
  times.clear()

  // Some seconds for all of it, so that no kill comes too late.
  const to = new Date((startSeconds + objects) * 1000).toISOString()
  const asked = await installation.run('replay', '--from', '1h', '--to', to, '--yes', '--rate', '8KiB', '--json')
  assert.equal(asked.code, 0, asked.stderr)
  const planned = JSON.parse(asked.stdout) as { readonly objects: number; readonly bytes: number }
  assert.equal(planned.objects, objects)
  for (let kill = 0; kill < kills; kill += 1) {
    const streamer = installation.start([], { env: { S3_STREAMER_HTTP_BATCH_LINES: '50' } })
    const watch = new Watch(streamer)
    const ofRange = () => [...times.keys()].filter((line) => line.startsWith('{"replayed"')).length
    const before = ofRange()
    put('live', objects + kill)
    const lastLine = expected.at(-1) as string
    await streamer.until(() => ofRange() > before && times.has(lastLine), 'records of the replay, and live ones')
    await watch.until((now) => now.sum('replay_active') === 1 && now.balance().delivered > 0, 'its counts')
    await streamer.kill('SIGKILL')
    await watch.ended()
  }
  const lookAt = () =>
    openLedger({
      ...{ statePath: installation.state, mode: 'readonly', log: silent, nowMs: Date.now },
      ...{ startMs: 0, retentionMs: 0, lookbackMs: 0 },
    })
  {
    await using ledger = lookAt()
    assert.equal(ledger.replays.find(1)?.state, 'running')
    assert.ok(times.size < expected.length, 'killed in the middle')
  }

  const before = [...times.values()].reduce((sum, n) => sum + n, 0)
  const end = await installation.run('--once')
  assert.equal(end.code, 0, end.stderr + end.stdout.slice(-2000))
  const sent = [...times.values()].reduce((sum, n) => sum + n, 0) - before
  assert.equal(pushed.last.balance().delivered, sent)
  const missing = expected.filter((line) => !times.has(line))
  const twice = expected.filter((line) => (times.get(line) ?? 0) > 1)
  t.diagnostic(`${kills} kills: ${twice.length} of ${expected.length} lines came more than once`)
  assert.deepEqual(missing, [])
  assert.ok(twice.length <= kills * 4 * lines, 'a kill repeats what was under way, and no more')
  await using ledger = lookAt()
  const { state, done } = ledger.replays.find(1) ?? assert.fail('it is gone')
  assert.deepEqual([state, done], ['done', { objects, bytes: planned.bytes, failed: 0 }])
  for (const { state, counts, key } of ledger.objects()) {
    const { read, delivered } = counts
    assert.deepEqual([state, read, delivered], ['done', lines, lines], key)
  }
  assert.equal(ledger.totals.files, objects + kills, 'what is read again is counted once')
  assert.equal(
    ledger.totals.bytes,
    ledger.objects().reduce((sum, { counts }) => sum + counts.bytes, 0),
  )
  const runs = ledger.runs.list().filter(({ mode }) => mode === 'replay')
  assert.deepEqual(
    runs.map(({ outcome }) => outcome),
    ['done', ...Array.from({ length: kills }, () => 'killed')],
  )
})

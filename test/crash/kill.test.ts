import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { openLedger } from '../../src/ledger/sqlite.ts'
import { Installation } from '../e2e/command.ts'
import { PushedFigures } from '../e2e/figures.ts'
import { type Fault, startHttpInput } from '../servers/http-input.ts'
import { type S3Server, startS3 } from '../servers/s3.ts'
import { LineCounter, ZscalerData } from '../servers/zscaler-data.ts'

/** Two streamers with their own buckets and inputs, killed at the same time: half the waiting. */
const lanes = 2
const killsPerLane = Number(process.env.S3_STREAMER_KILLS ?? 30) / lanes
/** New objects for each start: one of many lines, so that a kill meets it in the middle, and small ones. */
const largeLines = 700
const smallLines = 30
const objectsPerStart = 5

const cleanups: Array<() => unknown> = []
after(async () => {
  for (const cleanup of cleanups) await cleanup()
})

/** Light: what agents do on a bad day. */
function fault(n: number): Fault | undefined {
  if (n % 37 === 5) return { status: 503 }
  if (n % 53 === 17) return 'reset'
  return n % 61 === 29 ? 'resetAfter' : undefined
}

class Lane {
  readonly data: ZscalerData
  readonly counter: LineCounter
  readonly lines: number[] = []
  readonly s3: S3Server
  readonly installation: Installation
  readonly pushed: PushedFigures
  readonly #inputs: ReadonlyArray<{ readonly requests: number }>
  killed = 0
  /** Kills of a streamer that had read or sent something since it started. */
  killedAtWork = 0

  static async start(seed: number): Promise<Lane> {
    const data = new ZscalerData({
      objects: (killsPerLane + 1) * objectsPerStart,
      linesPerObject: largeLines,
      start: new Date(Date.now() - 3_000_000),
      everySeconds: 1,
      seed,
    })
    const counter = new LineCounter(data)
    const s3 = await startS3()
    s3.record = false
    const take = (body: Buffer) => counter.add(body)
    const inputs = [await startHttpInput({ take, fault }), await startHttpInput({ take, fault })]
    cleanups.push(() => s3.close(), ...inputs.map((input) => () => input.close()))
    const pushed = await PushedFigures.open()
    cleanups.push(() => pushed[Symbol.asyncDispose]())
    return new Lane(data, counter, s3, inputs, pushed)
  }

  constructor(
    data: ZscalerData,
    counter: LineCounter,
    s3: S3Server,
    inputs: ReadonlyArray<{ readonly url: string; readonly requests: number }>,
    pushed: PushedFigures,
  ) {
    this.pushed = pushed
    this.data = data
    this.counter = counter
    this.s3 = s3
    this.#inputs = inputs
    this.installation = new Installation({
      endpoint: s3.endpoint,
      inputs: inputs.map(({ url }) => url),
      http: '  retry:\n    min: 5ms\n    max: 100ms',
      more: pushed.config,
    })
    cleanups.push(() => this.installation.remove())
  }

  /** GETs and POSTs so far. */
  get work(): number {
    return this.s3.counters.get + this.#inputs.reduce((sum, { requests }) => sum + requests, 0)
  }

  feed(): void {
    for (let i = 0; i < objectsPerStart; i += 1) {
      const index = this.lines.length
      const lines = i === 0 ? largeLines : smallLines
      this.lines.push(lines)
      const text = this.data.text(index)
      let end = 0
      for (let line = 0; line < lines; line += 1) end = text.indexOf(10, end) + 1
      this.s3.put(this.data.key(index), gzipSync(text.subarray(0, end), { level: 1 }))
    }
  }

  async killOnce(random: () => number): Promise<void> {
    this.feed()
    const before = this.work
    const streamer = this.installation.start([], {
      env: { S3_STREAMER_HTTP_BATCH_LINES: '50', S3_STREAMER_LOGGING_LEVEL: 'warn' },
    })
    // Any moment from the first request to the last: also while it has nothing to do any more.
    const wanted = 1 + Math.floor(random() * 24)
    await streamer.until(() => this.work - before >= wanted, `${wanted} requests`)
    await sleep(Math.floor(random() ** 2 * 120))
    await streamer.kill('SIGKILL')
    assert.equal(streamer.stderr, '')
    this.killed += 1
    if (this.work > before) this.killedAtWork += 1
  }

  get expected(): number {
    return this.lines.reduce((sum, lines) => sum + lines, 0)
  }

  get lost(): number {
    return this.lines.reduce((sum, lines, index) => sum + lines - this.counter.arrived(index), 0)
  }
}

/** Uniform in [0, 1), the same in every run of the test; what is left to chance is the machine's timing. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

test(`A16.3, A16.4: ${lanes * killsPerLane} times kill -9 at random moments loses no line, and the ledger's counts are exact`, async (t) => {
  const all = await Promise.all(Array.from({ length: lanes }, (_, i) => Lane.start(i + 1)))
  await Promise.all(
    all.map(async (lane, i) => {
      const random = randomOf(i + 1)
      while (lane.killed < killsPerLane) await lane.killOnce(random)
      lane.feed()
      const { code, stdout, stderr } = await lane.installation.run('--once')
      assert.equal(code, 0, stderr + stdout.slice(-2000))
    }),
  )
  for (const [i, lane] of all.entries()) {
    const { counter, lines, expected } = lane
    const unique = expected - lane.lost
    const duplicated = counter.received - unique
    t.diagnostic(
      `lane ${i}: ${lane.killed} kills, ${lane.killedAtWork} at work; ${expected} lines of ${lines.length} objects, ` +
        `${lane.lost} lost, ${duplicated} sent twice (${((100 * duplicated) / expected).toFixed(1)} %)`,
    )
    assert.deepEqual({ lost: lane.lost, strange: counter.strange }, { lost: 0, strange: 0 })
    // A kill repeats at most what was under way: the objects of that start.
    assert.ok(duplicated <= lane.killed * (largeLines + objectsPerStart * smallLines), `${duplicated} duplicates`)
    assert.ok(lane.killedAtWork >= 0.9 * lane.killed)
    await using ledger = openLedger({
      statePath: lane.installation.state,
      mode: 'readonly',
      log: { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined },
      nowMs: Date.now,
      startMs: 0,
      retentionMs: 0,
      lookbackMs: 0,
    })
    // Of every run that was killed, too, for as long as it could push.
    const { delivered, filtered, quarantined } = lane.pushed.last.balance()
    assert.ok(delivered > 0 && filtered + quarantined === 0)
    const entries = new Map(ledger.objects().map((entry) => [entry.key, entry]))
    assert.equal(entries.size, lines.length)
    for (const [index, count] of lines.entries()) {
      const entry = entries.get(lane.data.key(index))
      const { read, delivered, filtered, quarantined } = entry?.counts ?? {}
      assert.deepEqual(
        { state: entry?.state, read, delivered, filtered, quarantined },
        { state: 'done', read: count, delivered: count, filtered: 0, quarantined: 0 },
      )
    }
    assert.equal(ledger.totals.files, lines.length)
  }
})

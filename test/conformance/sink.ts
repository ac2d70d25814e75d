/** What every sink must hold. Called by the test of each with a harness that starts its receiver. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Block, blockOf, recordAt, recordStart } from '../../src/core/block.ts'
import type { Batch, Context, Finding, Origin, Signal, Sink } from '../../src/core/component.ts'
import { StreamError } from '../../src/core/errors.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'

export function testContext(lines: string[] = []): Context {
  const log = (level: string) => (facts: object, message: string) =>
    void lines.push(`${level} ${message} ${JSON.stringify(facts)}`)
  return {
    pipeline: 'test',
    log: { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') },
    meter: new MemoryMeter(),
    nowMs: Date.now,
  }
}

export const someObject: Origin = { id: 'b/k@1', bucket: 'b', key: 'k', timeMs: Date.UTC(2026, 10, 21, 8, 30) }
const object = someObject

/** A batch of whole blocks. */
export function batchOf(...blocks: Block[]): Batch {
  const parts = blocks.map((block) => ({ block, from: 0, to: block.ends.length, object }))
  return batchOfParts(parts)
}

export function batchOfParts(parts: Batch['parts'], contentType = 'application/x-ndjson'): Batch {
  return {
    parts,
    contentType,
    count: parts.reduce((sum, { from, to }) => sum + to - from, 0),
    bytes: parts.reduce(
      (sum, { block, from, to }) => sum + (block.ends[to - 1] as number) - recordStart(block, from),
      0,
    ),
  }
}

export function textOf({ parts }: Batch): string[] {
  return parts.flatMap(({ block, from, to }) =>
    Array.from({ length: to - from }, (_, i) => recordAt(block, from + i).toString()),
  )
}

export interface SinkHarness {
  readonly sink: Sink
  /** Records that the receiver has, in the order in which it took them. */
  stored(): string[]
  /** From now on the receiver refuses in passing, or is itself again. */
  failing(isFailing: boolean): void
  /** From now on it refuses for good what it is given; left out where the receiver is mute. */
  refusing?(isRefusing: boolean): void
  /** Stops the receiver and starts it again at the same address. */
  restart(): Promise<void>
  close(): Promise<void>
}

const live = { signal: new AbortController().signal }

/**
 * `mute`: a receiver that has no words to refuse a record with, such as a syslog daemon or a file. `unseen`: nobody can tell
 * whether it lives without sending something, as with UDP, or there is no receiver that could die.
 */
export function sinkConformance(
  name: string,
  start: () => Promise<SinkHarness>,
  receiver: 'answers' | 'mute' = 'answers',
  death: 'seen' | 'unseen' = 'seen',
): void {
  const run = (title: string, body: (harness: SinkHarness) => Promise<void>) =>
    test(`${name}: ${title}`, async () => {
      const harness = await start()
      try {
        await body(harness)
      } finally {
        await harness.sink[Symbol.asyncDispose]()
        await harness.close()
      }
    })

  run('a write that resolves has stored every record, in order', async ({ sink, stored }) => {
    const first = batchOf(blockOf(['a', 'ü', '{"c":1}']), blockOf(['d']))
    assert.equal(await sink.write(first, live), undefined)
    assert.deepEqual(stored(), textOf(first))
  })

  run('parts of blocks are sent as they were cut', async ({ sink, stored }) => {
    const block = blockOf(['0', '1', '2', '3', '4'])
    const parts = [
      { block, from: 1, to: 3, object },
      { block, from: 4, to: 5, object },
    ]
    await sink.write(batchOfParts(parts), live)
    assert.deepEqual(stored(), ['1', '2', '4'])
  })

  run(
    'a passing failure throws a transient error, and the same batch is accepted later',
    async ({ sink, stored, failing }) => {
      const batch = batchOf(blockOf(['a', 'b']))
      failing(true)
      await assert.rejects(
        sink.write(batch, live),
        (error) => error instanceof StreamError && error.kind === 'transient',
      )
      failing(false)
      await untilAccepted(sink, batch)
      assert.deepEqual(stored(), ['a', 'b'])
    },
  )

  if (receiver === 'answers')
    run('a refusal for good is permanent, with the words of the receiver', async ({ sink, stored, refusing }) => {
      refusing?.(true)
      const batch = batchOf(blockOf(['a']))
      const outcome = await sink.write(batch, live).catch((error: unknown) => error)
      const error = outcome instanceof Map ? (outcome.get(0) as unknown) : outcome
      assert.ok(error instanceof StreamError && error.kind === 'permanent')
      assert.match(error.message, /no such field/)
      assert.deepEqual(stored(), [])
    })

  run('a receiver that was restarted is found again', async ({ sink, stored, restart }) => {
    await sink.write(batchOf(blockOf(['before'])), live)
    await restart()
    await untilAccepted(sink, batchOf(blockOf(['after'])))
    assert.deepEqual(stored(), ['before', 'after'])
  })

  run('many writes at once are all stored', async ({ sink, stored }) => {
    const names = Array.from({ length: 40 }, (_, i) => `r${i}`)
    await Promise.all(names.map((text) => sink.write(batchOf(blockOf([text])), live)))
    assert.deepEqual(stored().toSorted(), names.toSorted())
  })

  run('an abort ends a write soon, with a throw', async ({ sink, failing }) => {
    failing(true)
    const aborting = new AbortController()
    const writing = sink.write(batchOf(blockOf(['a'])), { signal: aborting.signal })
    aborting.abort(new Error('stop'))
    await assert.rejects(writing)
  })

  run('check writes nothing', async ({ sink, stored }) => {
    await sink.check(live)
    assert.deepEqual(stored(), [])
  })

  run('disposing twice is harmless', async ({ sink }) => {
    await sink[Symbol.asyncDispose]()
    await sink[Symbol.asyncDispose]()
    assert.ok(sink.maxInFlight > 0)
  })

  run('dependencies have names of their own, and a probe writes nothing and changes no state', async (harness) => {
    const { sink, stored } = harness
    const names = sink.dependencies.map((dependency) => dependency.name)
    assert.equal(new Set(names).size, names.length)
    for (const dependency of sink.dependencies) {
      assert.match(dependency.name, /^[a-z0-9]+ \S/)
      await dependency.probe(live)
      assert.deepEqual([dependency.state, dependency.error], ['unused', undefined])
    }
    assert.deepEqual(stored(), [])
  })

  run('the use of a dependency shows in its state', async ({ sink, failing }) => {
    const states = () => sink.dependencies.map(({ state }) => state)
    if (states().length === 0) return assert.deepEqual(levels(await examined(sink)), ['ok'])
    failing(true)
    const batch = batchOf(blockOf(['b']))
    await assert.rejects(sink.write(batch, live))
    const failed = sink.dependencies.filter(({ state }) => state === 'failing' || state === 'paused')
    assert.ok(failed.length > 0, states().join())
    for (const { error } of failed) assert.ok(error !== undefined && error.length > 0)
    failing(false)
    await untilAccepted(sink, batch)
    assert.ok(states().includes('up'), states().join())
    assert.ok(!states().includes('failing'), states().join())
  })

  run('examine finds no problem with a live receiver, and writes nothing', async ({ sink, stored }) => {
    const findings = await examined(sink)
    assert.deepEqual(
      findings.filter(({ level }) => level === 'problem'),
      [],
    )
    assert.ok(findings.some(({ level }) => level === 'ok'))
    for (const { text } of findings) assert.match(text, /^\S[^\n]*$/)
    assert.deepEqual(stored(), [])
  })

  run('examine ends with an abort', async ({ sink }) => {
    const signal = AbortSignal.abort(new Error('stop'))
    const findings = await examined(sink, { signal }).catch((error: unknown) => String(error))
    if (typeof findings === 'string') assert.match(findings, /stop|abort/i)
    else assert.ok(findings.every(({ level }) => level !== 'problem'))
  })

  if (death === 'seen')
    test(`${name}: a dead receiver is told by probe, by examine with what to do, and by the state after a write`, async () => {
      const harness = await start()
      await harness.close()
      await using sink = harness.sink
      for (const dependency of sink.dependencies)
        await assert.rejects(
          dependency.probe(live),
          (error) => error instanceof StreamError && error.message.length > 0,
        )
      const problems = (await examined(sink)).filter(({ level }) => level === 'problem')
      assert.ok(problems.length > 0)
      for (const { advice } of problems) assert.ok(advice !== undefined && advice.length > 0)
      await assert.rejects(sink.write(batchOf(blockOf(['a'])), live))
      const [first] = sink.dependencies
      assert.ok(first)
      assert.match(first.state, /^(failing|paused)$/)
      assert.ok(first.error !== undefined && first.error.length > 0)
    })
}

const levels = (findings: readonly Finding[]) => findings.map(({ level }) => level)

/** What `doctor` is told. */
export async function examined(sink: Pick<Sink, 'examine'>, o: Signal = live): Promise<Finding[]> {
  const findings: Finding[] = []
  for await (const finding of sink.examine(o)) findings.push(finding)
  return findings
}

/** Writes the batch again as the engine would. */
export async function untilAccepted(sink: Sink, batch: Batch): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await sink.write(batch, live)
      return
    } catch (error) {
      if (!(error instanceof StreamError) || error.kind !== 'transient' || attempt > 200) throw error
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
}

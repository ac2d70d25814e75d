/** A source, a sink and a ledger in memory, for tests of the pipeline. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { recordAt } from '../../src/core/block.ts'
import type {
  Batch,
  BatchLimits,
  Finding,
  ListedObject,
  Log,
  Outcome,
  Refused,
  ReplayRange,
  Signal,
  Sink,
  Source,
} from '../../src/core/component.ts'
import type { Counts } from '../../src/core/delivery.ts'
import { StreamError } from '../../src/core/errors.ts'
import { Pipeline, type PipelineOptions } from '../../src/core/pipeline.ts'
import { createFormats } from '../../src/formats/compile.ts'
import { openLedger, type SqliteLedger } from '../../src/ledger/sqlite.ts'
import { MemoryMeter } from '../../src/telemetry/meter.ts'

export const silent: Log = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}
const root = mkdtempSync(join(tmpdir(), 's3-streamer-pipeline-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0

export function ledgerIn(folder: string): SqliteLedger {
  return openLedger({
    statePath: join(folder, 'state.json'),
    mode: 'exclusive',
    log: silent,
    nowMs: Date.now,
    startMs: 0,
    retentionMs: 86_400_000,
    lookbackMs: 3_600_000,
  })
}

export function newFolder(): string {
  folders += 1
  return join(root, String(folders))
}

export const formats = createFormats([])
export const limits = {
  ratio: 200,
  ratioFreeBytes: 2 ** 26,
  totalBytes: 0,
  lineBytes: 2 ** 26,
  linePolicy: 'split',
} as const

/** Fails `times` times when reading has come to byte `at`; `Infinity`: always. */
export interface ReadFault {
  readonly at: number
  readonly error: () => Error
  times: number
}

export interface FakeObject extends ListedObject {
  readonly records: readonly string[]
  readonly body: Buffer
  readonly faults: ReadFault[]
}

export function objectOf(
  n: number,
  records: readonly string[],
  o: { gzip?: boolean; faults?: ReadFault[] } = {},
): FakeObject {
  const text = Buffer.from(records.map((record) => `${record}\n`).join(''))
  const body = o.gzip ? gzipSync(text) : text
  const faults = o.faults ?? []
  const key = `logs/o${n}`
  return { id: `b/${key}@1`, bucket: 'b', key, size: body.length, timeMs: n, lastModifiedMs: n, records, body, faults }
}

export const finalOutcomes: ReadonlySet<string> = new Set(['done', 'quarantined', 'vanished', 'replaced'])

export class FakeSource implements Source<FakeObject> {
  readonly workers: number
  readonly progress = { found: 0, complete: false }
  readonly finishedObjects: Array<{ readonly key: string; readonly outcome: Outcome; readonly counts: Counts }> = []
  pulledBytes = 0
  readonly #objects: readonly FakeObject[]
  readonly #ledger: SqliteLedger
  readonly #chunk: number
  /** Ends the listing with this. */
  failure: Error | undefined

  constructor(objects: readonly FakeObject[], ledger: SqliteLedger, o: { workers?: number; chunk?: number } = {}) {
    this.#objects = objects
    this.#ledger = ledger
    this.workers = o.workers ?? 3
    this.#chunk = o.chunk ?? 65_536
  }

  readonly dependencies = []
  readonly oldestWaitingMs = undefined

  async *examine(): AsyncGenerator<Finding> {}

  async check(): Promise<void> {}

  async *replayed(_range: ReplayRange, _o: Signal): AsyncGenerator<FakeObject> {}

  async *objects(o: { readonly soft: AbortSignal; readonly once: boolean }): AsyncGenerator<FakeObject> {
    for (const object of this.#objects) {
      await turn()
      if (o.soft.aborted) return
      const state = this.#ledger.find(object.id)?.state
      if (state === undefined || !finalOutcomes.has(state)) yield object
    }
    if (this.failure) throw this.failure
    while (!o.once && !o.soft.aborted) await sleep(5)
  }

  async find(): Promise<FakeObject> {
    throw new Error('not asked for here')
  }

  async *open(object: FakeObject, offset: number, o: Signal): AsyncGenerator<Buffer> {
    for (let at = offset; ; ) {
      await turn()
      o.signal.throwIfAborted()
      const fault = object.faults.find((one) => one.times > 0 && one.at <= at)
      if (fault) {
        fault.times -= 1
        throw fault.error()
      }
      if (at >= object.body.length) return
      const next = Math.min(...object.faults.filter((one) => one.times > 0).map((one) => one.at))
      const end = Math.min(at + this.#chunk, object.body.length, next)
      this.pulledBytes += end - at
      yield object.body.subarray(at, end)
      at = end
    }
  }

  async confirm({ body }: FakeObject): Promise<number> {
    return body.length
  }

  async fill(object: FakeObject, offset: number, into: Buffer): Promise<void> {
    await turn()
    const fault = object.faults.find((one) => one.times > 0 && one.at >= offset && one.at <= offset + into.length)
    if (fault) {
      fault.times -= 1
      throw fault.error()
    }
    object.body.copy(into, 0, offset, offset + into.length)
  }

  finished({ key }: FakeObject, outcome: Outcome, counts: Counts): void {
    this.finishedObjects.push({ key, outcome, counts })
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export function textOf({ parts }: Batch): string[] {
  return parts.flatMap(({ block, from, to }) =>
    Array.from({ length: to - from }, (_, i) => recordAt(block, from + i).toString()),
  )
}

export class FakeSink implements Sink {
  readonly dependencies = []
  readonly maxInFlight: number
  readonly limits: BatchLimits
  readonly retry = { minMs: 1, maxMs: 3 }
  /** What happens to a batch instead of being accepted; `lost answer`: accepted, but the sender is not told. */
  fault: (batch: Batch, o: Signal) => Promise<Refused | undefined | 'lost answer'>
  readonly times = new Map<string, number>()
  readonly batches: string[][] = []
  writes = 0
  /** Called after each record was accepted. */
  accepted: (record: string) => void = () => undefined

  constructor(o: { fault?: FakeSink['fault']; limits?: Partial<BatchLimits>; maxInFlight?: number } = {}) {
    this.fault = o.fault ?? (async () => undefined)
    this.limits = { records: 10, bytes: 1000, lingerMs: 20, ...o.limits }
    this.maxInFlight = o.maxInFlight ?? 3
  }

  async check(): Promise<void> {}

  async *examine(): AsyncGenerator<Finding> {}

  async write(batch: Batch, o: Signal): Promise<Refused | undefined> {
    this.writes += 1
    const answer = await this.fault(batch, o)
    const refused = answer === 'lost answer' ? undefined : answer
    const text = textOf(batch)
    this.batches.push(text)
    for (const [i, record] of text.entries()) {
      if (refused?.has(i)) continue
      this.times.set(record, (this.times.get(record) ?? 0) + 1)
      this.accepted(record)
    }
    if (answer === 'lost answer') throw new StreamError('sink.unavailable', 'the connection was reset')
    return refused
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

export const never = new AbortController().signal
export const down = async (): Promise<never> => {
  throw new StreamError('sink.unavailable', 'connection refused')
}

/** A pipeline that is looked at while it runs: whatever a test does to it, at any moment its counts balance. */
export function pipelineOf(
  source: Source,
  sink: Sink,
  ledger: SqliteLedger,
  o: Partial<PipelineOptions> = {},
): Pipeline {
  const meter = new MemoryMeter()
  const pipeline = new Pipeline({
    ...{ source, sink, ledger, formats, limits, log: silent, meter, nowMs: Date.now },
    saveIntervalMs: 20,
    readWaits: { minMs: 1, maxMs: 3 },
    ...o,
  })
  const run = pipeline.run.bind(pipeline)
  pipeline.run = async (options) => {
    const looking = setInterval(() => assertBalance(meter), 2)
    try {
      return await run(options)
    } finally {
      clearInterval(looking)
      assertBalance(meter)
    }
  }
  return pipeline
}

/** read = delivered + filtered + quarantined. */
export function assertBalance(meter: MemoryMeter): void {
  const count = (what: string) => meter.snapshot().find(({ name }) => name === `records_${what}_total`)?.value ?? 0
  assert.equal(count('read'), count('delivered') + count('filtered') + count('quarantined'))
}

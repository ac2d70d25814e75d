/** `run --dry-run`: reads everything one scan would, batches it, and prints instead of sending. Changes nothing. */
import type { LoadedConfig } from '../config/pipeline.ts'
import type { ObjectReport } from '../core/account.ts'
import type { Batch, Log, Sink } from '../core/component.ts'
import { nothingCounted, startOfObject } from '../core/delivery.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { Pipeline } from '../core/pipeline.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { createLog } from '../telemetry/log.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { assemble } from './assemble.ts'
import { count, fileSize, utc } from './figures.ts'
import type { ExitCode, Io } from './program.ts'

export async function dryRun(loaded: LoadedConfig, io: Io): Promise<ExitCode> {
  // The log goes to standard error: standard output is the answer.
  const log = createLog({ level: 'warn', format: 'text', color: io.terminal, write: io.stderr })
  let code: ExitCode = 0
  for (const { message } of loaded.warnings) log.warn({}, message)
  for (const config of loaded.pipelines) {
    try {
      await using parts = await assemble(config, { mode: 'readonly', log, meter: new MemoryMeter(), wrap: unwritten })
      const sink = new CountingSink(parts.sink)
      const pipeline = new Pipeline({
        ...parts,
        sink,
        // Outcomes are told on standard output below.
        log: silent,
        meter: parts.context.meter,
        nowMs: Date.now,
        saveIntervalMs: 2 ** 30,
        observe: (report) => io.stdout(objectLines(report)),
      })
      await parts.source.check({ signal: io.soft })
      const totals = await pipeline.run({ once: true, soft: io.soft, hard: io.hard })
      const objects = Object.values(totals.objects).reduce((sum, n) => sum + n, 0)
      io.stdout(
        `${config.name}: would send ${count(totals.read)} records (${fileSize(sink.bytes)}) of ${count(objects)} objects ` +
          `in ${count(sink.batches)} batches. Nothing was sent, nothing was changed.\n`,
      )
      if (totals.objects.failed > 0) code = 1
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      io.stderr(`${config.name}: ${explainError(error)}\n`)
      code = 1
    }
  }
  return code
}

/** A ledger that is read but never written; a run on it starts each object where the real one would. */
function unwritten(ledger: Ledger): Ledger {
  return {
    get horizon() {
      return ledger.horizon
    },
    get totals() {
      return ledger.totals
    },
    states: (ids) => ledger.states(ids),
    find: (id) => ledger.find(id),
    begin: (object) =>
      ledger.find(object.id) ?? {
        ...object,
        state: 'active',
        position: startOfObject,
        counts: nothingCounted,
        attempts: 1,
        error: undefined,
        updatedMs: Date.now(),
      },
    objects: (o) => ledger.objects(o),
    quarantine: (o) => ledger.quarantine(o),
    quarantined: (id) => ledger.quarantined(id),
    rejectedRecords: (id) => ledger.rejectedRecords(id),
    requeued: () => [],
    requeue: () => 0,
    setHorizon: () => undefined,
    advance: () => undefined,
    settle: () => undefined,
    reject: () => undefined,
    release: () => undefined,
    prune: () => 0,
    moveTo: () => undefined,
    forget: () => undefined,
    save: () => undefined,
    [Symbol.asyncDispose]: () => ledger[Symbol.asyncDispose](),
  }
}

/** Takes batches as large as the real sink would. */
class CountingSink implements Sink {
  readonly maxInFlight = 1
  readonly limits: Sink['limits']
  readonly retry: Sink['retry']
  batches = 0
  bytes = 0

  constructor(real: Sink) {
    this.limits = real.limits
    this.retry = real.retry
  }

  async check(): Promise<void> {}

  async write(batch: Batch): Promise<undefined> {
    this.batches += 1
    this.bytes += batch.bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function objectLines({ object, outcome, reason, decoding, timeMs, counts }: ObjectReport): string {
  const name = `s3://${object.bucket}/${object.key}`
  if (outcome !== 'done' && !decoding) return `${name}\n  ${outcome}: ${reason}\n`
  const facts = [
    decoding ? `${decoding.format.name} (by ${decoding.selectedBy})` : '',
    decoding && decoding.layers.length > 0 ? decoding.layers.join(' in ') : 'not compressed',
    utc(timeMs),
    `${count(counts.read)} records`,
    fileSize(counts.bytes),
    decoding?.format.contentType ?? '',
  ]
  const lines = [name, `  ${facts.filter((fact) => fact !== '').join(' · ')}`]
  if (outcome !== 'done') lines.push(`  then ${outcome}: ${reason}`)
  return `${lines.join('\n')}\n`
}

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

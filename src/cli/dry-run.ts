/** `run --dry-run`: reads everything one scan would, batches it, and prints instead of sending. Changes nothing. */
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import type { ObjectReport, Totals } from '../core/account.ts'
import type { Batch, Finding, Log, Sink } from '../core/component.ts'
import { nothingCounted, startOfObject } from '../core/delivery.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { Pipeline } from '../core/pipeline.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { count, fileSize, utc } from '../telemetry/figures.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { assemble } from './assemble.ts'
import { planCopy } from './copy-plan.ts'
import type { ExitCode, Io } from './io.ts'
import { placeOf } from './place.ts'
import { createCommandLog } from './run-log.ts'

export async function dryRun(loaded: LoadedConfig, io: Io): Promise<ExitCode> {
  // The log goes to standard error: standard output is the answer.
  const log = createCommandLog(io)
  let code: ExitCode = 0
  for (const { message } of loaded.warnings) log.warn({}, message)
  const soft = AbortSignal.any([io.soft, io.unread])
  const hard = AbortSignal.any([io.hard, io.unread])
  for (const config of loaded.pipelines) {
    try {
      await using parts = await assemble(config, { mode: 'readonly', log, meter: new MemoryMeter(), wrap: unwritten })
      if (parts.sends === 'objects') {
        await parts.source.check({ signal: soft })
        io.stdout(title(config))
        code = (await planCopy(parts, io, { soft, hard })) || code
        continue
      }
      const sink = new CountingSink(parts.sink)
      let unknown = 0
      const pipeline = new Pipeline({
        ...parts,
        sink,
        // Outcomes are told on standard output below.
        log: silent,
        meter: parts.context.meter,
        nowMs: Date.now,
        saveIntervalMs: 2 ** 30,
        observe: (report) => {
          if (report.decoding?.selectedBy === 'fallback') unknown += 1
          io.stdout(objectLine(report))
        },
      })
      await parts.source.check({ signal: soft })
      io.stdout(heading(config))
      const totals = await pipeline.run({ once: true, soft, hard })
      io.stdout(summary(totals, sink, unknown))
      if (totals.objects.failed > 0) code = 1
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      if (io.unread.aborted) return 0
      io.stderr(`${config.name}: ${printable(explainError(error))}\n`)
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
        startedMs: Date.now(),
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
    suspend: () => undefined,
    settle: () => undefined,
    reject: () => undefined,
    rejectMessage: () => undefined,
    runs: ledger.runs,
    uploads: ledger.uploads,
    replays: ledger.replays,
    health: ledger.health,
    console: ledger.console,
    oldestUnfinishedMs: (except) => ledger.oldestUnfinishedMs(except),
    drop: () => 0,
    buckets: () => ledger.buckets(),
    listed: () => undefined,
    release: () => undefined,
    folders: (sinceMs) => ledger.folders(sinceMs),
    prune: () => 0,
    moveTo: () => undefined,
    forget: () => undefined,
    save: () => undefined,
    [Symbol.asyncDispose]: () => ledger[Symbol.asyncDispose](),
  }
}

/** Takes batches as large as the real sink would. */
class CountingSink implements Sink {
  readonly dependencies = []
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

  async *examine(): AsyncGenerator<Finding> {}

  async write(batch: Batch): Promise<undefined> {
    this.batches += 1
    this.bytes += batch.bytes
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

function title({ name, source, sink }: PipelineConfig): string {
  return `# ${name}: from ${printable(placeOf(source))} to ${printable(placeOf(sink))}\n`
}

function heading(config: PipelineConfig): string {
  return `${title(config)}${row(['records', 'bytes', 'time', 'compressed', 'format', 'key'])}`
}

/** A line for each object; a second one if it could not be read to its end. */
function objectLine({ object, outcome, reason, decoding, timeMs, counts }: ObjectReport): string {
  const known = decoding && decoding.selectedBy !== 'fallback' ? decoding.format.name : '?'
  const layers = decoding && decoding.layers.length > 0 ? decoding.layers.join('+') : '-'
  const line = row([count(counts.read), fileSize(counts.bytes), utc(timeMs), layers, known, printable(object.key)])
  return outcome === 'done' ? line : `${line}${' '.repeat(11)}${outcome}: ${printable(reason ?? '')}\n`
}

function row([records, bytes, time, layers, format, key]: readonly string[]): string {
  return `${records?.padStart(9)}  ${bytes?.padStart(7)}  ${time?.padEnd(20)}  ${layers?.padEnd(10)}  ${format?.padEnd(16)}  ${key}\n`
}

function summary(
  { objects, read, delivered, filtered, quarantined }: Totals,
  { bytes, batches }: CountingSink,
  unknown: number,
): string {
  const all = Object.values(objects).reduce((sum, n) => sum + n, 0)
  const troubles = Object.entries(objects).filter(([outcome, n]) => outcome !== 'done' && n > 0)
  return [
    `Would send ${count(delivered)} records (${fileSize(bytes)}) of ${count(all)} objects in ${count(batches)} batches.`,
    ...(filtered > 0 ? [`${count(filtered)} of ${count(read)} are filtered out.`] : []),
    ...(quarantined > 0 ? [`${count(quarantined)} would go to quarantine.`] : []),
    ...troubles.map(([outcome, n]) => `${count(n)} ${n === 1 ? 'object' : 'objects'} ${outcome}.`),
    ...(unknown > 0 ? [`${count(unknown)} with "?": no format knows them; they are sent all the same.`] : []),
    'Nothing was sent, nothing was changed.\n',
  ].join(' ')
}

const silent: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined }

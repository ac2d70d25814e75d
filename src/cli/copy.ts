/** `copy`: one transfer, from its first object to its last; the same command goes on where an interrupted one was. */
import { rmSync } from 'node:fs'
import type { ObjectReport } from '../core/account.ts'
import type { ListedObject, ObjectSink } from '../core/component.ts'
import { Copier } from '../core/copier.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { objectName } from '../core/object-name.ts'
import { databasePath } from '../ledger/database.ts'
import { createLog } from '../telemetry/log.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { assemble, ledgerOf } from './assemble.ts'
import { planCopy } from './copy-plan.ts'
import { BarReport, type CopyReport, failedOutcomes, JsonReport, nothingCopied, PlainReport } from './copy-report.ts'
import { type CopyFlags, type CopyRequest, copyRequest, withDotEnv } from './copy-request.ts'
import { CopySource } from './copy-source.ts'
import type { ExitCode, Io } from './io.ts'
import { MetricsPush } from './metrics-push.ts'
import { Sampler } from './sampler.ts'
import { eachUnfinished } from './uploads.ts'

const tellMs = 200

export interface CopyCommand extends CopyFlags {
  readonly json: boolean
  readonly dryRun: boolean
  readonly abandon: boolean
}

export async function copy(
  source: string | undefined,
  destination: string | undefined,
  flags: CopyCommand,
  io: Io,
): Promise<ExitCode> {
  let request: CopyRequest
  try {
    const env = withDotEnv(io.env)
    // The SDK has no other way to learn of credentials that stand in .env.
    for (const [name, value] of Object.entries(env)) if (name.startsWith('AWS_')) process.env[name] ??= value
    request = copyRequest(source, destination, flags, env)
  } catch (error) {
    if (!(error instanceof StreamError) || error.code !== 'config.invalid') throw error
    io.stderr(`${error.message}\n`)
    return 2
  }
  const report = flags.json
    ? new JsonReport(io.stdout)
    : io.terminal
      ? new BarReport(io.stderr)
      : new PlainReport(io.stdout)
  const write = (line: string) => {
    report.clear()
    io.stderr(line)
  }
  const log = createLog({ level: 'warn', format: 'text', color: io.color.stderr, write })
  try {
    return flags.abandon ? await abandon(request, { io, log }) : await transfer(request, flags, { io, report, log })
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    report.clear()
    io.stderr(`${printable(explainError(error))}\n`)
    // Whoever reads JSON waits for its end.
    if (flags.json) report.end({ ...nothingCopied, stopped: io.soft.aborted, error: explainError(error) })
    return error.code === 'config.invalid' ? 2 : 1
  }
}

async function transfer(
  { config, pushgateway, only }: CopyRequest,
  { dryRun }: CopyCommand,
  { io, report, log }: { readonly io: Io; readonly report: CopyReport; readonly log: ReturnType<typeof createLog> },
): Promise<ExitCode> {
  const { soft, hard } = io
  const meter = new MemoryMeter()
  await using stack = new AsyncDisposableStack()
  // What removes its files afterwards must know at once what is done.
  const deferred = config.source.after === undefined || config.source.after === 'none'
  const parts = stack.use(
    await assemble(config, { mode: dryRun ? 'readonly' : 'run', log, meter, deferred: deferred && !dryRun }),
  )
  if (parts.sends !== 'objects') throw new Error('a copy is of objects')
  const { sink, ledger, context } = parts
  const source = new CopySource(parts.source, only)
  if (dryRun) {
    await source.check({ signal: soft })
    return await planCopy({ source, sink }, io, { soft, hard })
  }
  await Promise.all([source.check({ signal: soft }), sink.check({ signal: soft })])
  if (soft.aborted) return 1
  // What was given up for good in an earlier run is tried again: whoever asks again has changed something.
  ledger.requeue('all')
  const failures: Array<{ readonly name: string; readonly reason: string }> = []
  const finished = { objects: 0, failed: 0, bytes: 0 }
  let skipped = 0
  const observe = (done: ObjectReport) => {
    const { object, outcome, reason, counts } = done
    if (outcome === 'stopped') return
    report.file(done, targetOf(sink, object))
    // An object that changed is given again, as it is now.
    if (outcome === 'replaced') return
    if (done.skipped) skipped += 1
    finished.objects += 1
    finished.bytes += counts.bytes
    if (failedOutcomes.has(outcome)) {
      finished.failed += 1
      failures.push({ name: objectName(object), reason: reason ?? outcome })
    }
  }
  const copier = new Copier({
    ...{ source, sink, ledger, log, meter: context.meter, nowMs: Date.now, observe },
    saveIntervalMs: config.state.save_interval,
  })
  const sampler = stack.use(new Sampler(meter))
  sampler.add({ flow: copier })
  const push = stack.use(new MetricsPush(pushgateway, { meter, sample: () => sampler.sample(), log }))
  const startMs = performance.now()
  const tell = () => {
    const found = { objects: source.progress.found, bytes: source.foundBytes, complete: source.progress.complete }
    report.progress({ underWay: copier.underWay, found, finished })
  }
  const telling = setInterval(tell, tellMs)
  let failure: unknown
  try {
    await copier.run({ once: true, soft, hard })
  } catch (error) {
    if (!(error instanceof StreamError) || error.kind === 'bug' || error.code === 'config.invalid') throw error
    failure = error
  } finally {
    clearInterval(telling)
  }
  const { transfer_resumed_bytes_total: resumed = 0 } = Object.fromEntries(
    meter.snapshot().map(({ name, value }) => [name, value]),
  )
  const unread = source.progress.failed ?? 0
  const isWhole = failures.length === 0 && unread === 0 && failure === undefined && !soft.aborted
  copier.metrics.end()
  await push.end({ success: isWhole, signal: hard })
  report.end({
    copied: finished.objects - finished.failed - skipped,
    skipped,
    bytes: finished.bytes,
    resumedBytes: resumed,
    seconds: (performance.now() - startMs) / 1000,
    failures,
    unread,
    stopped: soft.aborted,
    error: failure === undefined ? undefined : explainError(failure),
  })
  if (isWhole && source.progress.found === 0)
    log.warn({}, 'there was nothing to copy: no file fits SOURCE, --include and --exclude, or all were copied before')
  if (!isWhole) return 1
  // All is there: what was remembered for another attempt is of no use any more.
  ledger.forget()
  await stack.disposeAsync()
  removeState(config.state.file_path)
  return 0
}

/** Where the object goes; undefined if no key can be made for it, which is then the reason why it is not copied. */
function targetOf(sink: ObjectSink, object: ListedObject): string | undefined {
  try {
    return sink.placeOf(object)
  } catch (error) {
    if (error instanceof StreamError && error.kind === 'permanent') return undefined
    throw error
  }
}

/** Gives an interrupted copy up: what it stored of unfinished objects is removed; what it finished stays. */
async function abandon(
  { config }: CopyRequest,
  { io, log }: { readonly io: Io; readonly log: ReturnType<typeof createLog> },
): Promise<ExitCode> {
  let removed = 0
  {
    await using ledger = ledgerOf(config, 'exclusive', log)
    await eachUnfinished(config, ledger, { log, signal: io.soft }, async ({ known }, abort) => {
      if (!known) return
      await abort()
      removed += 1
    })
  }
  removeState(config.state.file_path)
  io.stdout(`forgotten; ${removed === 1 ? '1 unfinished upload' : `${removed} unfinished uploads`} removed\n`)
  return 0
}

function removeState(statePath: string): void {
  const database = databasePath(statePath)
  const beside = ['', '-wal', '-shm', '-journal', '.lock'].map((end) => `${database}${end}`)
  for (const file of [statePath, ...beside]) rmSync(file, { force: true })
}

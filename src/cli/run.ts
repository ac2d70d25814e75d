/** `run`: until stopped, once, or dry. */
import type { Totals } from '../core/account.ts'
import type { Log } from '../core/component.ts'
import { Copier } from '../core/copier.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { Flow } from '../core/flow.ts'
import { Pipeline } from '../core/pipeline.ts'
import { fileSize } from '../telemetry/figures.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { version } from '../telemetry/version.ts'
import { type Assembled, assemble } from './assemble.ts'
import { openConfig } from './config-file.ts'
import { dryRun } from './dry-run.ts'
import { MetricsPush } from './metrics-push.ts'
import { placeOf } from './place.ts'
import type { ExitCode, Io } from './program.ts'
import { Progress } from './progress.ts'
import { createRunLog } from './run-log.ts'
import { RunRecord } from './run-record.ts'

export interface RunFlags {
  readonly config: string
  readonly pipeline?: string
  readonly once: boolean
  readonly dryRun: boolean
}

export async function run(flags: RunFlags, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  if (flags.dryRun) return dryRun(loaded, io)
  const progress = flags.once && io.terminal ? new Progress(io.stderr) : undefined
  const log = createRunLog(loaded, io, progress)
  for (const { message } of loaded.warnings) log.warn({}, message)
  try {
    await using stack = new AsyncDisposableStack()
    const assembled: Assembled[] = []
    const meter = new MemoryMeter()
    for (const config of loaded.pipelines) {
      const named = loaded.pipelines.length === 1 ? log : log.child({ pipeline: config.name })
      assembled.push(stack.use(await assemble(config, { mode: 'run', log: named, meter })))
    }
    const flows = assembled.map((parts) => flowOf(parts))
    const copiers = flows.filter((flow) => flow instanceof Copier)
    const push = stack.use(new MetricsPush(loaded.pushgateway, { meter, copiers, log }))
    let code: ExitCode = 1
    try {
      code = await runAll(assembled, flows, flags, io, progress)
    } finally {
      await push.end({ success: code === 0, signal: io.hard })
    }
    return code
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    log.error({ code: error.code }, explainError(error))
    return error.code === 'config.invalid' ? 2 : 1
  } finally {
    progress?.end()
  }
}

async function runAll(
  assembled: readonly Assembled[],
  flows: readonly Flow[],
  flags: RunFlags,
  io: Io,
  progress: Progress | undefined,
): Promise<ExitCode> {
  // A pipeline that breaks stops the others in good order.
  const broken = new AbortController()
  const soft = AbortSignal.any([io.soft, broken.signal])
  const runs = assembled.map((parts, i) => {
    const flow = flows[i] as Flow
    progress?.follow(flow, parts.source)
    return runOne(parts, flow, flags, { soft, hard: io.hard }).catch((error: unknown): ExitCode => {
      if (!soft.aborted) broken.abort(error)
      const stack = error instanceof StreamError ? undefined : error instanceof Error ? error.stack : undefined
      parts.context.log.error({ ...(stack === undefined ? {} : { stack }) }, explainError(error))
      return 1
    })
  })
  const codes = await Promise.all(runs)
  if (io.hard.aborted) return 1
  return codes.find((code) => code !== 0) ?? 0
}

function flowOf(parts: Assembled): Flow {
  const { config, context } = parts
  const { log, meter, nowMs } = context
  const common = { log, meter, nowMs, saveIntervalMs: config.state.save_interval }
  return parts.sends === 'objects' ? new Copier({ ...parts, ...common }) : new Pipeline({ ...parts, ...common })
}

async function runOne(
  parts: Assembled,
  flow: Flow,
  flags: RunFlags,
  o: { readonly soft: AbortSignal; readonly hard: AbortSignal },
): Promise<ExitCode> {
  const { config, source, sink, context } = parts
  const { log } = context
  const { file_path: stateFile } = config.state
  log.info(
    { source: placeOf(config.source), sink: placeOf(config.sink), stateFile, version },
    `pipeline ${config.name} starts${flags.once ? ', for one scan' : ''}`,
  )
  await checkAtStart(source.check({ signal: o.soft }), log, o.soft)
  await checkAtStart(sink.check({ signal: o.soft }), log, o.soft)
  if (o.soft.aborted) return 0
  // After the first signal there is a deadline for what is under way; what is not done then is done after the next start.
  const deadline = new AbortController()
  const hard = AbortSignal.any([o.hard, deadline.signal])
  let timer: NodeJS.Timeout | undefined
  o.soft.addEventListener('abort', () => {
    const ms = config.shutdown_timeout
    log.info({ deadlineMs: ms }, 'stopping: no new objects, delivering what is under way (again to stop at once)')
    timer = setTimeout(() => deadline.abort(new Error(`not everything was delivered within ${ms / 1000} s`)), ms)
  })
  const startMs = Date.now()
  const mode = flags.once ? 'once' : 'daemon'
  const record = new RunRecord({ ledger: parts.ledger, source, mode, totals: () => flow.totals, log })
  let totals: Totals
  try {
    totals = await flow.run({ once: flags.once, soft: o.soft, hard })
  } catch (error) {
    record.end('failed', error)
    throw error
  } finally {
    clearTimeout(timer)
  }
  // Of a copy there is nothing else to show for a file in quarantine; of one that was read, what could be read was delivered.
  const notCopied = parts.sends === 'objects' ? totals.objects.quarantined : 0
  const hasFailed = totals.objects.failed + notCopied + (source.progress.failed ?? 0) > 0
  record.end(o.soft.aborted ? 'stopped' : hasFailed ? 'failed' : 'done')
  if (deadline.signal.aborted) {
    log.warn({}, 'stopped before everything under way was delivered; the next start goes on from the saved positions')
  }
  const { objects } = totals
  const verb = o.soft.aborted ? 'stopped' : 'finished'
  const isIdle = Object.values(objects).every((n) => n === 0)
  log.info(summary(totals, Date.now() - startMs), isIdle ? `${verb}; there was no object to read` : verb)
  return flags.once && hasFailed ? 1 : 0
}

/** A check that fails for good ends the start; one that may pass later does not: the retries will tell. */
async function checkAtStart(check: Promise<void>, log: Log, soft: AbortSignal): Promise<void> {
  try {
    await check
  } catch (error) {
    if (soft.aborted) return
    if (!(error instanceof StreamError) || error.kind === 'config') throw error
    log.warn({ error: explainError(error) }, 'not reachable yet; trying on')
  }
}

function summary(totals: Totals, ms: number): object {
  const { objects, read, delivered, filtered, quarantined, bytes } = totals
  const counts = Object.fromEntries(Object.entries(objects).filter(([outcome, n]) => n > 0 || outcome === 'done'))
  const rate = bytes === 0 ? {} : { rate: `${fileSize((bytes / Math.max(ms, 1)) * 1000)}/s` }
  return { objects: counts, records: { read, delivered, filtered, quarantined }, bytes, seconds: ms / 1000, ...rate }
}

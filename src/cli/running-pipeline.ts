/** One pipeline that runs: its parts, what moves through them, how it is, and its end. */
import type { PipelineConfig } from '../config/pipeline.ts'
import type { Totals } from '../core/account.ts'
import type { Log } from '../core/component.ts'
import { Copier } from '../core/copier.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { Flow } from '../core/flow.ts'
import { FlowGauges } from '../core/flow-gauges.ts'
import { Pipeline } from '../core/pipeline.ts'
import type { Tracing } from '../core/tracing.ts'
import { fileSize } from '../telemetry/figures.ts'
import type { MemoryMeter } from '../telemetry/meter.ts'
import { version } from '../telemetry/version.ts'
import { type Assembled, assemble } from './assemble.ts'
import type { ExitCode } from './io.ts'
import { placeOf } from './place.ts'
import { RunRecord } from './run-record.ts'

export type PipelineState = 'starting' | 'running' | 'stopping' | 'stopped' | 'failed'

export interface RunSignals {
  readonly once: boolean
  readonly soft: AbortSignal
  readonly hard: AbortSignal
}

export class RunningPipeline implements AsyncDisposable {
  readonly config: PipelineConfig
  readonly parts: Assembled
  readonly flow: Flow
  readonly gauges: FlowGauges
  readonly startedMs = Date.now()
  /** Resolves when it runs, or is over; rejects with a StreamError if it cannot run as it is configured. */
  readonly started: Promise<void>
  readonly #log: Log
  readonly #started = Promise.withResolvers<void>()
  readonly #stop = new AbortController()
  #state: PipelineState = 'starting'
  #hasStarted = false
  #isOpen = true
  #error: string | undefined

  private constructor(parts: Assembled, log: Log, tracing: Tracing | undefined) {
    this.parts = parts
    this.config = parts.config
    this.#log = log
    this.flow = flowOf(parts, tracing)
    const { meter, nowMs } = parts.context
    const { source, sink, ledger } = parts
    this.gauges = new FlowGauges({ source, sink, ledger, flow: this.flow, meter, nowMs })
    this.started = this.#started.promise
    // Whoever does not ask is told by the end of `run`.
    this.started.catch(() => undefined)
  }

  /** Opens all its parts. Throws a StreamError if one of them refuses; what was opened is closed again. */
  static async open(
    config: PipelineConfig,
    o: { readonly log: Log; readonly meter: MemoryMeter; readonly tracing?: Tracing | undefined },
  ): Promise<RunningPipeline> {
    return new RunningPipeline(await assemble(config, { mode: 'run', log: o.log, meter: o.meter }), o.log, o.tracing)
  }

  get state(): PipelineState {
    return this.#state
  }

  get error(): string | undefined {
    return this.#error
  }

  /** True as soon as it ran. */
  get hasStarted(): boolean {
    return this.#hasStarted
  }

  /** False as soon as its parts are closed: its ledger may not be asked any more. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** It is over, and what was to run in its place could not start. */
  failed(error: string): void {
    this.#state = 'failed'
    this.#error = error
  }

  /** Stops intake and delivers what is under way, as `soft` does. */
  stop(reason: Error): void {
    this.#stop.abort(reason)
  }

  /** Runs until its source ends or it is stopped. Throws what `Flow.run` throws, or a check that can only fail again. */
  async run(o: RunSignals): Promise<ExitCode> {
    try {
      const code = await this.#run({ ...o, soft: AbortSignal.any([o.soft, this.#stop.signal]) })
      this.#state = 'stopped'
      return code
    } catch (error) {
      const text = explainError(error)
      this.failed(text)
      const stack = error instanceof StreamError ? undefined : error instanceof Error ? error.stack : undefined
      this.#log.error({ ...(stack === undefined ? {} : { stack }) }, text)
      this.#started.reject(error)
      throw error
    } finally {
      this.#started.resolve()
      this.#lookLast()
    }
  }

  /** Those who are told of the end only are told what it left, too. */
  #lookLast(): void {
    try {
      this.gauges.end()
    } catch (error) {
      this.#log.warn({ error: explainError(error) }, 'the last figures of the ledger are not known')
    }
  }

  async #run(o: RunSignals): Promise<ExitCode> {
    const { config, source, sink, ledger, sends } = this.parts
    const { flow } = this
    const log = this.#log
    const { once, soft } = o
    const { file_path: stateFile } = config.state
    log.info(
      { source: placeOf(config.source), sink: placeOf(config.sink), stateFile, version },
      `pipeline ${config.name} starts${once ? ', for one scan' : ''}`,
    )
    await checkAtStart(source.check({ signal: soft }), log, soft)
    await checkAtStart(sink.check({ signal: soft }), log, soft)
    if (soft.aborted) return 0
    this.#state = 'running'
    this.#hasStarted = true
    this.#started.resolve()
    // After the first signal there is a deadline for what is under way; what is not done then is done after the next start.
    const deadline = new AbortController()
    const hard = AbortSignal.any([o.hard, deadline.signal])
    let timer: NodeJS.Timeout | undefined
    const stopping = () => {
      const ms = config.shutdown_timeout
      this.#state = 'stopping'
      const more = this.#stop.signal.aborted ? '' : ' (again to stop at once)'
      log.info({ deadlineMs: ms }, `stopping: no new objects, delivering what is under way${more}`)
      timer = setTimeout(() => deadline.abort(new Error(`not everything was delivered within ${ms / 1000} s`)), ms)
    }
    soft.addEventListener('abort', stopping)
    const startMs = Date.now()
    const record = new RunRecord({ ledger, source, mode: once ? 'once' : 'daemon', totals: () => flow.totals, log })
    let totals: Totals
    try {
      totals = await flow.run({ once, soft, hard })
    } catch (error) {
      record.end('failed', error)
      throw error
    } finally {
      soft.removeEventListener('abort', stopping)
      clearTimeout(timer)
    }
    // Of a copy there is nothing else to show for a file in quarantine; of one that was read, what could be read was delivered.
    const notCopied = sends === 'objects' ? totals.objects.quarantined : 0
    const hasFailed = totals.objects.failed + notCopied + (source.progress.failed ?? 0) > 0
    record.end(soft.aborted ? 'stopped' : hasFailed ? 'failed' : 'done')
    if (deadline.signal.aborted) {
      log.warn({}, 'stopped before everything under way was delivered; the next start goes on from the saved positions')
    }
    const verb = soft.aborted ? 'stopped' : 'finished'
    const isIdle = Object.values(totals.objects).every((n) => n === 0)
    log.info(summary(totals, Date.now() - startMs), isIdle ? `${verb}; there was no object to read` : verb)
    return once && hasFailed ? 1 : 0
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOpen = false
    await this.parts[Symbol.asyncDispose]()
  }
}

function flowOf(parts: Assembled, tracing: Tracing | undefined): Flow {
  const { config, context } = parts
  const { log, meter, nowMs } = context
  const common = { log, meter, nowMs, saveIntervalMs: config.state.save_interval }
  if (parts.sends === 'objects') return new Copier({ ...parts, ...common, tracing })
  return new Pipeline({ ...parts, ...common, trace: tracing && { tracing, sink: config.sink.type } })
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
  const { objects, read, delivered, filtered, quarantined, recovered, bytes } = totals
  const counts = Object.fromEntries(Object.entries(objects).filter(([outcome, n]) => n > 0 || outcome === 'done'))
  const rate = bytes === 0 ? {} : { rate: `${fileSize((bytes / Math.max(ms, 1)) * 1000)}/s` }
  const records = { read, delivered, filtered, quarantined, ...(recovered > 0 ? { recovered } : {}) }
  return { objects: counts, records, bytes, seconds: ms / 1000, ...rate }
}

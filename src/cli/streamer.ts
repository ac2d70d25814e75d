/**
 * Everything that runs in one process: the pipelines of the file, and what shows them (metrics, health checks, console).
 *
 *   open: OTLP ▶ pipelines ▶ server, Pushgateway ─▶ run: each pipeline until it ends or is stopped ─▶ end: metrics told, all closed
 *                                                     ▲
 *   SIGHUP, `reload`, console ─▶ reload: read ▶ validate ▶ compare ▶ only what changed is stopped and started
 *
 * 1. A pipeline that breaks stops the others in good order: what supervises the process then sees that something is wrong.
 * 2. A reload that is refused changes nothing. A changed pipeline whose new configuration cannot start goes on with the former one.
 * 3. What shows the pipelines never holds them up.
 */

import type { Logger } from 'pino'
import type { LoadedConfig } from '../config/pipeline.ts'
import type { ReloadOutcome } from '../console/snapshot.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { labelled, MemoryMeter } from '../telemetry/meter.ts'
import { lastReloadMetrics, pipelineUpMetrics, reloadMetrics } from '../telemetry/streamer-metrics.ts'
import { contextOf, formatsOf, shapeOf } from './assemble.ts'
import { readConfig } from './config-file.ts'
import type { ExitCode, Io } from './program.ts'
import type { Progress } from './progress.ts'
import { type Marks, marksOf, planPipelines } from './reload-plan.ts'
import type { RunLog } from './run-log.ts'
import { RunningPipeline } from './running-pipeline.ts'
import { Sampler } from './sampler.ts'
import { Services } from './services.ts'

export interface RunFlags {
  readonly config: string
  readonly pipeline?: string
  readonly once: boolean
}

/** One that runs, and its end. */
interface Running {
  readonly pipeline: RunningPipeline
  readonly done: Promise<ExitCode>
}

export class Streamer implements AsyncDisposable {
  readonly flags: RunFlags
  readonly startedMs = Date.now()
  readonly meter: MemoryMeter
  readonly log: Logger
  readonly runLog: RunLog
  readonly #io: Io
  readonly #progress: Progress | undefined
  readonly #soft: AbortSignal
  readonly #sampler: Sampler
  readonly #services: Services
  readonly #running = new Map<string, Running>()
  /** Aborted when a pipeline broke: the others stop. */
  readonly #broken = new AbortController()
  #loaded: LoadedConfig
  #marks: Marks
  #loadedMs = Date.now()
  #reload: ReloadOutcome | undefined
  #reloading: Promise<ReloadOutcome> | undefined
  #changed = Promise.withResolvers<void>()

  constructor(
    loaded: LoadedConfig,
    flags: RunFlags,
    o: {
      readonly io: Io
      readonly meter: MemoryMeter
      readonly runLog: RunLog
      readonly progress: Progress | undefined
    },
  ) {
    this.flags = flags
    this.meter = o.meter
    this.runLog = o.runLog
    this.log = o.runLog.log
    this.#io = o.io
    this.#progress = o.progress
    this.#loaded = loaded
    this.#marks = marksOf(loaded)
    this.#soft = AbortSignal.any([o.io.soft, this.#broken.signal])
    this.#sampler = new Sampler(this.meter)
    this.#services = new Services(this)
  }

  get pipelines(): RunningPipeline[] {
    return [...this.#running.values()].map(({ pipeline }) => pipeline)
  }

  /** The configuration in force. */
  get loaded(): LoadedConfig {
    return this.#loaded
  }

  get loadedMs(): number {
    return this.#loadedMs
  }

  get lastReload(): ReloadOutcome | undefined {
    return this.#reload
  }

  get state(): 'starting' | 'running' | 'stopping' {
    if (this.#soft.aborted) return 'stopping'
    return this.pipelines.some(({ state }) => state === 'starting') || this.#running.size === 0 ? 'starting' : 'running'
  }

  /** Brings every metric up to date. */
  sample(): void {
    for (const { config, state } of this.pipelines)
      labelled(this.meter, { pipeline: config.name })
        .bind(pipelineUpMetrics, {})
        .pipeline_up.set(state === 'running' ? 1 : 0)
    this.#sampler.sample()
  }

  /** Throws a StreamError if something cannot be opened. */
  async run(): Promise<ExitCode> {
    const { once } = this.flags
    let code: ExitCode = 1
    const opened: RunningPipeline[] = []
    try {
      await this.#services.openExporters()
      for (const config of this.#loaded.pipelines) opened.push(await this.#open(config))
      await this.#services.open(opened, { once })
    } catch (error) {
      for (const pipeline of opened) await pipeline[Symbol.asyncDispose]()
      throw error
    }
    try {
      for (const pipeline of opened) this.#start(pipeline)
      code = await this.#ended()
    } finally {
      await this.#services.end({ success: code === 0, signal: this.#io.hard })
    }
    return code
  }

  /** Waits until nothing runs any more, however often that changes. */
  async #ended(): Promise<ExitCode> {
    let codes: ExitCode[] = []
    for (let isOver = false; !isOver; ) {
      const all = [...this.#running.values()]
      const changed = this.#changed.promise.then(() => undefined)
      const ended = await Promise.race([Promise.all(all.map(({ done }) => done)), changed])
      if (ended && this.#reloading) await this.#reloading
      else if (ended && all.every(({ pipeline }) => this.#running.get(pipeline.config.name)?.pipeline === pipeline)) {
        isOver = true
        codes = ended
      }
    }
    if (this.#io.hard.aborted) return 1
    return codes.find((code) => code !== 0) ?? 0
  }

  #open(config: LoadedConfig['pipelines'][number]): Promise<RunningPipeline> {
    const log = this.#loaded.pipelines.length === 1 ? this.log : this.log.child({ pipeline: config.name })
    return RunningPipeline.open(config, { log, meter: this.meter, tracing: this.#services.tracingOf(config.name) })
  }

  #start(pipeline: RunningPipeline): void {
    const { name } = pipeline.config
    const { once } = this.flags
    const { flow, gauges } = pipeline
    const sampled = { flow, gauges }
    this.#sampler.add(sampled)
    this.#progress?.follow(flow, pipeline.parts.source)
    const done = pipeline
      .run({ once, soft: this.#soft, hard: this.#io.hard })
      .catch((error: unknown): ExitCode => {
        // While a reload waits for its start, it is the reload's to say what becomes of it.
        if (!this.#reloading && !this.#soft.aborted) this.#broken.abort(error)
        return 1
      })
      .finally(() => this.#sampler.remove(sampled))
    this.#running.set(name, { pipeline, done })
    this.#wake()
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** Reads the file again and puts in force what changed. One after the other; never throws. */
  async reload(): Promise<ReloadOutcome> {
    while (this.#reloading) await this.#reloading
    this.#reloading = this.#readAgain().finally(() => {
      this.#reloading = undefined
      this.#wake()
    })
    return await this.#reloading
  }

  async #readAgain(): Promise<ReloadOutcome> {
    let outcome: ReloadOutcome
    try {
      outcome = await this.#putInForce()
    } catch (error) {
      const problems = explainError(error).split('\n')
      outcome = { ...nothingChanged, atMs: Date.now(), problems, kept: [...this.#running.keys()] }
    }
    this.#reload = outcome
    const { ok, problems, started, stopped, restarted, kept } = outcome
    this.meter.bind(reloadMetrics, { outcome: ok ? 'ok' : 'refused' }).config_reloads_total.add(1)
    this.meter.bind(lastReloadMetrics, {}).config_last_reload_success.set(ok ? 1 : 0)
    const facts = { file: this.flags.config, started, stopped, restarted, kept }
    if (ok) this.log.info(facts, 'configuration read again: in force')
    else this.log.error({ ...facts, problems }, 'configuration read again: refused; what ran goes on as it was')
    return outcome
  }

  /** Throws config.invalid or console.bind, and has changed nothing then. */
  async #putInForce(): Promise<ReloadOutcome> {
    const { flags } = this
    if (flags.once) throw new StreamError('config.invalid', 'a run with --once ends by itself: nothing is read again')
    const next = readConfig(flags, this.#io.env)
    for (const { message } of next.warnings) this.log.warn({}, message)
    // What only shows when it is made, before anything is stopped for it.
    for (const config of next.pipelines) {
      formatsOf(config)
      shapeOf(config, contextOf(config, { log: this.log, meter: labelled(new MemoryMeter(), {}) }))
    }
    const marks = marksOf(next)
    await this.#services.reconfigure(next, { before: this.#marks, next: marks })
    // Always: other secrets are to be kept out of it, and logrotate sends SIGHUP for a new file.
    this.runLog.reconfigure(next)
    const alive = this.pipelines.filter(({ state }) => state !== 'failed' && state !== 'stopped')
    const plan = planPipelines(
      next,
      { before: this.#marks, next: marks },
      new Set(alive.map(({ config }) => config.name)),
    )
    const before = this.#loaded
    this.#loaded = next
    this.#marks = marks
    this.#loadedMs = Date.now()
    const problems: string[] = []
    const restarted: string[] = []
    const started: string[] = []
    for (const name of plan.stopped) await this.#stopOne(name)
    const wanted = new Set(next.pipelines.map(({ name }) => name))
    for (const name of [...this.#running.keys()].filter((name) => !wanted.has(name))) {
      this.#running.delete(name)
      this.meter.forget({ pipeline: name })
    }
    for (const config of plan.restarted) {
      const former = before.pipelines.find(({ name }) => name === config.name)
      const problem = await this.#replace(config, former)
      if (problem === undefined) restarted.push(config.name)
      else problems.push(problem)
    }
    for (const config of plan.started) {
      const problem = await this.#startNew(config)
      if (problem === undefined) started.push(config.name)
      else problems.push(problem)
    }
    const { stopped, kept } = plan
    return { atMs: Date.now(), ok: problems.length === 0, problems, started, stopped, restarted, kept }
  }

  async #stopOne(name: string): Promise<void> {
    const running = this.#running.get(name)
    if (!running) return
    running.pipeline.stop(new Error('the configuration changed'))
    await running.done
    await running.pipeline[Symbol.asyncDispose]()
  }

  /** What went wrong, undefined if nothing did: then it runs with its new configuration, else with the former one. */
  async #replace(
    config: LoadedConfig['pipelines'][number],
    former: LoadedConfig['pipelines'][number] | undefined,
  ): Promise<string | undefined> {
    await this.#stopOne(config.name)
    const problem = await this.#startNew(config)
    if (problem === undefined || !former || this.#soft.aborted) return problem
    const again = await this.#startNew(former)
    this.#inForce(former)
    return `${problem}; ${again === undefined ? 'it goes on with its former configuration' : `nor with its former configuration: ${again}`}`
  }

  async #startNew(config: LoadedConfig['pipelines'][number]): Promise<string | undefined> {
    if (this.#soft.aborted) return undefined
    try {
      const pipeline = await this.#open(config)
      this.#services.announce(pipeline)
      this.#start(pipeline)
      try {
        await pipeline.started
        return undefined
      } catch (error) {
        await this.#stopOne(config.name)
        throw error
      }
    } catch (error) {
      if (!(error instanceof StreamError) || error.kind === 'bug') this.#broken.abort(error)
      return `pipeline ${config.name} cannot start: ${explainError(error)}`
    }
  }

  /** This configuration of a pipeline, in the place of another one. */
  #inForce(config: LoadedConfig['pipelines'][number]): void {
    const pipelines = this.#loaded.pipelines.map((one) => (one.name === config.name ? config : one))
    this.#loaded = { ...this.#loaded, pipelines }
    this.#marks = marksOf(this.#loaded)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#services[Symbol.asyncDispose]()
    for (const { pipeline } of this.#running.values()) await pipeline[Symbol.asyncDispose]()
    this.#sampler[Symbol.dispose]()
  }
}

const nothingChanged = { ok: false, started: [], stopped: [], restarted: [] }

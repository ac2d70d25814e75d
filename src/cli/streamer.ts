/**
 * Everything that runs in one process: the pipelines of the file, and what shows them (metrics, health checks, console).
 *
 *   open: OTLP ▶ pipelines ▶ server, Pushgateway ─▶ run: each pipeline until it ends or is stopped ─▶ end: metrics told, all closed
 *                                                     ▲
 *   SIGHUP, `reload`, console ─▶ reload: read ▶ validate ▶ compare ▶ only what changed is stopped and started
 *
 * 1. A pipeline that breaks stops the others in good order: what supervises the process then sees that something is wrong.
 * 2. A reload that is refused changes nothing. A changed pipeline whose new configuration cannot start goes on with the former one.
 *    It waits for the start, and nothing is read again while the streamer stops.
 * 3. What shows the pipelines never holds them up.
 */

import { resolve } from 'node:path'
import type { Logger } from 'pino'
import type { LoadedConfig } from '../config/pipeline.ts'
import type { ReloadOutcome } from '../console/snapshot.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { labelled, MemoryMeter } from '../telemetry/meter.ts'
import { lastReloadMetrics, pipelineUpMetrics, reloadMetrics } from '../telemetry/streamer-metrics.ts'
import { contextOf, formatsOf, shapeOf } from './assemble.ts'
import { readConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
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
  readonly done: Promise<void>
  /** undefined until it ends. */
  code: ExitCode | undefined
}

type PipelineConfig = LoadedConfig['pipelines'][number]

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
  /** Names of those that should run, and could not be started by a reload. */
  readonly #unstarted = new Set<string>()
  /** Resolves when the pipelines are started, or never will be. */
  readonly #begun = Promise.withResolvers<void>()
  #isOver = false
  #loaded: LoadedConfig
  #marks: Marks
  #loadedMs = Date.now()
  #reload: ReloadOutcome | undefined
  #reloading: Promise<ReloadOutcome> | undefined
  /** Waits for its turn. */
  #nextReload: Promise<ReloadOutcome> | undefined
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
    this.#sampler = new Sampler(this.meter, this.log)
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
      this.#isOver = true
      this.#begun.resolve()
      throw error
    }
    try {
      for (const pipeline of opened) this.#start(pipeline)
      this.#begun.resolve()
      code = await this.#ended()
    } finally {
      this.#isOver = true
      await this.#services.end({ success: code === 0, signal: this.#io.hard })
    }
    return code
  }

  /** Waits until nothing runs any more, however often that changes. */
  async #ended(): Promise<ExitCode> {
    const isRunning = () => [...this.#running.values()].some(({ code }) => code === undefined)
    while (this.#reloading || isRunning()) await this.#changed.promise
    if (this.#io.hard.aborted || this.#broken.signal.aborted || this.#unstarted.size > 0) return 1
    return [...this.#running.values()].find(({ code }) => code !== 0)?.code ?? 0
  }

  #open(config: PipelineConfig): Promise<RunningPipeline> {
    const log = this.#loaded.pipelines.length === 1 ? this.log : this.log.child({ pipeline: config.name })
    return RunningPipeline.open(config, { log, meter: this.meter, tracing: this.#services.tracingOf(config.name) })
  }

  /** `isAwaited`: a reload waits for its start, and says what becomes of it if it cannot start. */
  #start(pipeline: RunningPipeline, o: { readonly isAwaited: boolean } = { isAwaited: false }): void {
    const { name } = pipeline.config
    const { once } = this.flags
    const { flow, gauges } = pipeline
    const sampled = { name, flow, gauges }
    this.#sampler.add(sampled)
    this.#progress?.follow(flow, pipeline.parts.source)
    const end = (code: ExitCode) => {
      running.code = code
      this.#sampler.remove(sampled)
      this.#wake()
    }
    const done = pipeline.run({ once, soft: this.#soft, hard: this.#io.hard }).then(end, (error: unknown) => {
      const isToldOf = o.isAwaited && !pipeline.hasStarted
      if (!isToldOf && !this.#soft.aborted) this.#broken.abort(error)
      end(1)
    })
    const running: Running = { pipeline, done, code: undefined }
    this.#running.set(name, running)
    this.#unstarted.delete(name)
    this.#wake()
  }

  #wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  /** Reads the file again and puts in force what changed. One after the other; never throws. */
  reload(): Promise<ReloadOutcome> {
    // Whoever asks while one waits for its turn has that one: it reads the file as it is then.
    this.#nextReload ??= this.#reloadInTurn()
    return this.#nextReload
  }

  async #reloadInTurn(): Promise<ReloadOutcome> {
    await this.#begun.promise
    await this.#reloading
    this.#nextReload = undefined
    this.#reloading = this.#readAgain().finally(() => {
      this.#reloading = undefined
      this.#wake()
    })
    return await this.#reloading
  }

  async #readAgain(): Promise<ReloadOutcome> {
    let outcome: ReloadOutcome
    let isWhole = true
    try {
      outcome = await this.#putInForce()
      isWhole = false
    } catch (error) {
      const problems = explainError(error).split('\n')
      outcome = { ...nothingChanged, atMs: Date.now(), problems, kept: [...this.#running.keys()] }
    }
    this.#reload = outcome
    const { ok, problems, started, stopped, restarted, kept } = outcome
    this.meter.bind(reloadMetrics, { outcome: ok ? 'ok' : 'refused' }).config_reloads_total.add(1)
    this.meter.bind(lastReloadMetrics, {}).config_last_reload_success.set(ok ? 1 : 0)
    const facts = { file: this.flags.config, started, stopped, restarted, kept }
    const refused = isWhole ? 'refused; what ran goes on as it was' : 'refused in part; the rest is in force'
    if (ok) this.log.info(facts, 'configuration read again: in force')
    else this.log.error({ ...facts, problems }, `configuration read again: ${refused}`)
    return outcome
  }

  /** Throws config.invalid or console.bind, and has changed nothing then. */
  async #putInForce(): Promise<ReloadOutcome> {
    const { flags } = this
    if (flags.once) throw new StreamError('config.invalid', 'a run with --once ends by itself: nothing is read again')
    if (this.#isOver || this.#soft.aborted)
      throw new StreamError(
        'config.invalid',
        'the streamer stops: nothing is read again; the next start reads the file',
      )
    const next = readConfig(flags, this.#io.env)
    for (const { message } of next.warnings) this.log.warn({}, message)
    // What only shows when it is made, before anything is stopped for it.
    for (const config of next.pipelines) {
      formatsOf(config)
      shapeOf(config, contextOf(config, { log: this.log, meter: labelled(new MemoryMeter(), {}) }))
    }
    const before = this.#loaded
    const marks = { before: this.#marks, next: marksOf(next) }
    await this.#moveServices(next, marks)
    const alive = this.pipelines.filter(({ state }) => state !== 'failed' && state !== 'stopped')
    const plan = planPipelines(next, marks, new Set(alive.map(({ config }) => config.name)))
    this.#loaded = next
    this.#marks = marks.next
    this.#loadedMs = Date.now()
    await Promise.all(plan.stopped.map((name) => this.#stopOne(name)))
    const wanted = new Set(next.pipelines.map(({ name }) => name))
    for (const name of [...this.#running.keys(), ...this.#unstarted].filter((name) => !wanted.has(name))) {
      this.#running.delete(name)
      this.#unstarted.delete(name)
      this.meter.forget({ pipeline: name })
    }
    const [restarted, started] = [new Outcomes(), new Outcomes()]
    // All at once: what is under way may take each of them long, and they may take over state files from one another.
    const leaving = new Map(plan.restarted.map(({ name }) => [name, this.#stopOne(name)]))
    await Promise.all(
      plan.restarted.map(async (config) => {
        const former = before.pipelines.find(({ name }) => name === config.name)
        const isBefore = ({ name, state }: PipelineConfig) =>
          name === config.name || resolve(state.file_path) === resolve(config.state.file_path)
        await Promise.all(before.pipelines.filter(isBefore).map(({ name }) => leaving.get(name)))
        restarted.add(config.name, await this.#replace(config, former))
      }),
    )
    await Promise.all(plan.started.map(async (config) => started.add(config.name, await this.#startNew(config))))
    const problems = [...restarted.problems, ...started.problems]
    const changes = { started: started.names, stopped: plan.stopped, restarted: restarted.names, kept: plan.kept }
    return { atMs: Date.now(), ok: problems.length === 0, problems, ...changes }
  }

  /** Log, server, OTLP and Pushgateway; all of them as they were if one of them refuses. */
  async #moveServices(next: LoadedConfig, marks: { readonly before: Marks; readonly next: Marks }): Promise<void> {
    const before = this.#loaded
    // Always: other secrets are to be kept out of it, and logrotate sends SIGHUP for a new file.
    this.runLog.reconfigure(next, before)
    try {
      await this.#services.reconfigure(next, marks)
    } catch (error) {
      this.runLog.reconfigure(before, next)
      throw error
    }
  }

  /** Never rejects: whatever its parts say when they are closed, it is to be followed by another one. */
  async #stopOne(name: string): Promise<void> {
    const running = this.#running.get(name)
    if (!running) return
    running.pipeline.stop(new Error('the configuration changed'))
    await running.done
    try {
      await running.pipeline[Symbol.asyncDispose]()
    } catch (error) {
      this.log.error({ pipeline: name, error: explainError(error) }, 'cannot close everything of a pipeline')
    }
  }

  /** What went wrong, undefined if nothing did: then it runs with its new configuration, else with the former one. It is stopped. */
  async #replace(config: PipelineConfig, former: PipelineConfig | undefined): Promise<string | undefined> {
    // Gauges are of what is there now: an endpoint that is not used any more is not down.
    this.meter.forget({ pipeline: config.name }, 'gauge')
    const problem = await this.#startNew(config)
    if (problem === undefined || !former || this.#soft.aborted) return problem
    const again = await this.#startNew(former)
    this.#inForce(former)
    return `${problem}; ${again === undefined ? 'it goes on with its former configuration' : `nor with its former configuration: ${again}`}`
  }

  async #startNew(config: PipelineConfig): Promise<string | undefined> {
    if (this.#soft.aborted) return undefined
    const { name } = config
    try {
      const pipeline = await this.#open(config)
      this.#services.announce(pipeline)
      this.#start(pipeline, { isAwaited: true })
      try {
        await pipeline.started
        return undefined
      } catch (error) {
        await this.#stopOne(name)
        throw error
      }
    } catch (error) {
      if (!(error instanceof StreamError) || error.kind === 'bug') this.#broken.abort(error)
      const problem = `pipeline ${name} cannot start: ${explainError(error)}`
      this.#unstarted.add(name)
      this.#running.get(name)?.pipeline.failed(problem)
      return problem
    }
  }

  /** This configuration of a pipeline, in the place of another one. */
  #inForce(config: PipelineConfig): void {
    const pipelines = this.#loaded.pipelines.map((one) => (one.name === config.name ? config : one))
    this.#loaded = { ...this.#loaded, pipelines }
    this.#marks = marksOf(this.#loaded)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using stack = new AsyncDisposableStack()
    stack.use(this.#sampler)
    for (const pipeline of this.pipelines) stack.use(pipeline)
    stack.use(this.#services)
  }
}

const nothingChanged = { ok: false, started: [], stopped: [], restarted: [] }

/** Those that were started, and what is wrong with the others. */
class Outcomes {
  readonly names: string[] = []
  readonly problems: string[] = []

  add(name: string, problem: string | undefined): void {
    if (problem === undefined) this.names.push(name)
    else this.problems.push(problem)
  }
}

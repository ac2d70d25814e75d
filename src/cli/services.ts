/** What shows the pipelines to the outside, and what of it a reload changes: OTLP, Pushgateway, server. */
import type { LoadedConfig } from '../config/pipeline.ts'
import type { ConsoleServer } from '../console/server.ts'
import type { Signal } from '../core/component.ts'
import type { Tracing } from '../core/tracing.ts'
import type { HealthTarget } from '../health/health-checks.ts'
import type { Otlp } from '../telemetry/otlp.ts'
import { MetricsPush } from './metrics-push.ts'
import type { Marks } from './reload-plan.ts'
import type { RunningPipeline } from './running-pipeline.ts'
import type { Streamer } from './streamer.ts'

/** Longest wait for the last export of a configuration that another one follows. */
const lastExportMs = 2000
/** Rates are of samples so far apart. */
const tickMs = 1000

export class Services implements AsyncDisposable {
  readonly #streamer: Streamer
  #otlp: Otlp | undefined
  /** Ends what gives it the log. */
  #unlisten: () => void = () => undefined
  #push: MetricsPush | undefined
  #server: ConsoleServer | undefined
  #ticking: NodeJS.Timeout | undefined

  constructor(streamer: Streamer) {
    this.#streamer = streamer
  }

  /** What must be there before the pipelines. Throws config.invalid. */
  async openExporters(): Promise<void> {
    this.#export(await this.#openOtlp(this.#streamer.loaded.otlp))
  }

  /** Traces of one pipeline. Who exports them may change while it runs. */
  tracingOf(pipeline: string): Tracing {
    let otlp: Otlp | undefined
    let tracing: Tracing | undefined
    const current = () => {
      if (otlp !== this.#otlp) tracing = this.#otlp?.tracing(pipeline)
      otlp = this.#otlp
      return tracing
    }
    return {
      begin: (object) => current()?.begin(object),
      batch: (facts, objects) => current()?.batch(facts, objects),
    }
  }

  #export(otlp: Otlp | undefined): void {
    this.#unlisten()
    this.#otlp = otlp
    const takeLine = otlp?.takeLine
    this.#unlisten = takeLine ? this.#streamer.runLog.listen(takeLine) : () => undefined
    otlp?.start()
  }

  /** Throws console.bind or config.invalid. */
  async open(pipelines: readonly RunningPipeline[], { once }: { readonly once: boolean }): Promise<void> {
    const { loaded } = this.#streamer
    // A run that ends by itself is often one of many, started by a timer: it serves only if that is asked for.
    if (loaded.health.enabled ?? !once) await this.#openServer(loaded)
    this.#push = this.#openPush(loaded)
    for (const pipeline of pipelines) this.announce(pipeline)
  }

  /** Lets `status` find the server by the state of the pipeline. */
  announce({ parts, isOpen }: RunningPipeline): void {
    if (isOpen) parts.ledger.console = this.#server?.address
  }

  /** Throws console.bind or config.invalid, and has changed nothing then. */
  async reconfigure(next: LoadedConfig, marks: { readonly before: Marks; readonly next: Marks }): Promise<void> {
    const isChanged = (part: 'otlp' | 'pushgateway' | 'server') => marks.before[part] !== marks.next[part]
    await using opened = new AsyncDisposableStack()
    const otlp = isChanged('otlp') ? opened.use((await this.#openOtlp(next.otlp)) ?? nothing) : undefined
    const push = isChanged('pushgateway') ? opened.use(this.#openPush(next)) : undefined
    if (isChanged('server')) await this.#moveServer(next)
    opened.move()
    if (otlp) {
      const former = this.#otlp
      this.#export(otlp === nothing ? undefined : (otlp as Otlp))
      await former?.end({ signal: AbortSignal.timeout(lastExportMs) })
      await former?.[Symbol.asyncDispose]()
    }
    if (push) {
      const former = this.#push
      this.#push = push
      await former?.[Symbol.asyncDispose]()
    }
  }

  async #moveServer(next: LoadedConfig): Promise<void> {
    const isWanted = next.health.enabled ?? true
    if (!isWanted) {
      clearInterval(this.#ticking)
      await this.#server?.[Symbol.asyncDispose]()
      this.#server = undefined
    } else if (this.#server) await this.#server.reconfigure(next)
    else await this.#openServer(next)
    for (const pipeline of this.#streamer.pipelines) this.announce(pipeline)
  }

  async #openServer(config: Pick<LoadedConfig, 'health' | 'console'>): Promise<void> {
    const { log } = this.#streamer
    // Not needed by runs that serve nothing.
    const [{ Act }, { pageFiles }, { openServer }] = await Promise.all([
      import('./act.ts'),
      import('../console/page-files.ts'),
      import('../console/server.ts'),
    ])
    const operations = new Act(this.#streamer)
    this.#server = await openServer({
      ...{ config, operations, log, page: pageFiles() },
      hide: (text) => this.#streamer.runLog.hide(text),
      dependencies: () => this.#dependencies(),
    })
    this.#ticking = setInterval(() => operations.tick(), tickMs)
    this.#ticking.unref()
  }

  #dependencies(): HealthTarget[] {
    return this.#streamer.pipelines.flatMap(({ config, parts, state }) =>
      state === 'failed' || state === 'stopped'
        ? []
        : [...parts.source.dependencies, ...parts.sink.dependencies].map((dependency) => ({
            pipeline: config.name,
            dependency,
          })),
    )
  }

  async #openOtlp(config: LoadedConfig['otlp']): Promise<Otlp | undefined> {
    if (!config) return undefined
    const { meter, log } = this.#streamer
    // What is not used takes no memory.
    const { openOtlp } = await import('../telemetry/otlp.ts')
    const hide = (text: string) => this.#streamer.runLog.hide(text)
    return await openOtlp(config, { meter, sample: () => this.#streamer.sample(), hide, log })
  }

  #openPush({ pushgateway }: LoadedConfig): MetricsPush {
    const { meter, log } = this.#streamer
    return new MetricsPush(pushgateway, { meter, sample: () => this.#streamer.sample(), log })
  }

  /** The run is over: the last figures go out. Takes as long as their receivers may, at most. */
  async end(o: Signal & { readonly success: boolean }): Promise<void> {
    clearInterval(this.#ticking)
    await Promise.all([this.#push?.end(o), this.#otlp?.end(o)])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#ticking)
    this.#unlisten()
    for (const { parts, isOpen } of this.#streamer.pipelines)
      if (isOpen && parts.ledger.console === this.#server?.address) parts.ledger.console = undefined
    await Promise.all([
      this.#server?.[Symbol.asyncDispose](),
      this.#push?.[Symbol.asyncDispose](),
      this.#otlp?.[Symbol.asyncDispose](),
    ])
  }
}

const nothing: AsyncDisposable = { [Symbol.asyncDispose]: async () => undefined }

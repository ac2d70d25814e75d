/** What a configuration that was read again changes. */
import { fingerprint } from '../config/fingerprint.ts'
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'

/** Fingerprints of a configuration as it was when it was read: files that it names may change later. */
export interface Marks {
  readonly pipelines: ReadonlyMap<string, string>
  readonly otlp: string
  readonly pushgateway: string
  readonly server: string
}

export function marksOf({ pipelines, otlp, pushgateway, health, console }: LoadedConfig): Marks {
  return {
    pipelines: new Map(pipelines.map((pipeline) => [pipeline.name, fingerprint(pipeline)])),
    otlp: fingerprint(otlp),
    pushgateway: fingerprint(pushgateway),
    server: fingerprint({ health, console }),
  }
}

export interface PipelinePlan {
  /** Names of those that run on untouched. */
  readonly kept: readonly string[]
  readonly stopped: readonly string[]
  readonly restarted: readonly PipelineConfig[]
  readonly started: readonly PipelineConfig[]
}

/** `before` is in force; `running` are the names of those that run. */
export function planPipelines(
  next: LoadedConfig,
  marks: { readonly before: Marks; readonly next: Marks },
  running: ReadonlySet<string>,
): PipelinePlan {
  const isSame = ({ name }: PipelineConfig) => marks.before.pipelines.get(name) === marks.next.pipelines.get(name)
  const there = next.pipelines.filter(({ name }) => running.has(name))
  const wanted = new Set(next.pipelines.map(({ name }) => name))
  return {
    kept: there.filter(isSame).map(({ name }) => name),
    stopped: [...running].filter((name) => !wanted.has(name)),
    restarted: there.filter((pipeline) => !isSame(pipeline)),
    started: next.pipelines.filter(({ name }) => !running.has(name)),
  }
}

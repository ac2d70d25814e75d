/** Brings metrics up to date that are asked for and not counted, before anyone shows them. */

import type { Log } from '../core/component.ts'
import { Copier } from '../core/copier.ts'
import { explainError } from '../core/errors.ts'
import type { Flow } from '../core/flow.ts'
import type { FlowGauges } from '../core/flow-gauges.ts'
import type { MemoryMeter } from '../telemetry/meter.ts'
import { ProcessMetrics } from '../telemetry/process-metrics.ts'

export interface Sampled {
  /** Of the pipeline, for the log. */
  readonly name?: string
  readonly flow: Flow
  /** Left out where nobody asks for them: a one-off copy has no ledger to watch. */
  readonly gauges?: FlowGauges
}

/** What the process takes is looked at this often at most: its figures are of the time since the last look. */
const processMs = 2000

export class Sampler implements Disposable {
  readonly #process: ProcessMetrics
  readonly #log: Log | undefined
  readonly #all = new Set<Sampled>()
  /** Those that could not be looked at: told once. */
  readonly #failing = new Set<Sampled>()
  #facts: ReturnType<ProcessMetrics['sample']> | undefined
  #lookedMs = 0

  constructor(meter: MemoryMeter, log?: Log) {
    this.#log = log
    this.#process = new ProcessMetrics(meter)
  }

  add(sampled: Sampled): void {
    this.#all.add(sampled)
  }

  /** Its run is over: the figures of a copy stay as they are now. */
  remove(sampled: Sampled): void {
    this.#all.delete(sampled)
    this.#failing.delete(sampled)
    const { flow } = sampled
    if (!(flow instanceof Copier)) return
    flow.metrics.end()
    flow.metrics.sample(this.#facts ?? this.#process.sample())
  }

  sample(): void {
    const nowMs = performance.now()
    if (!this.#facts || nowMs - this.#lookedMs >= processMs) {
      this.#facts = this.#process.sample()
      this.#lookedMs = nowMs
    }
    for (const sampled of this.#all) this.#sampleOne(sampled, this.#facts)
  }

  /** A disk that cannot be read must not end what is being delivered. */
  #sampleOne(sampled: Sampled, facts: ReturnType<ProcessMetrics['sample']>): void {
    try {
      if (sampled.flow instanceof Copier) sampled.flow.metrics.sample(facts)
      sampled.gauges?.sample()
      this.#failing.delete(sampled)
    } catch (error) {
      if (this.#failing.has(sampled)) return
      this.#failing.add(sampled)
      const named = { pipeline: sampled.name, error: explainError(error) }
      this.#log?.error(named, 'cannot bring the metrics of a pipeline up to date; they may be old until this is over')
    }
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]()
  }
}

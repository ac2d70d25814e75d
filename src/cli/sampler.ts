/** Brings metrics up to date that are asked for and not counted, before anyone shows them. */
import { Copier } from '../core/copier.ts'
import type { Flow } from '../core/flow.ts'
import type { FlowGauges } from '../core/flow-gauges.ts'
import type { MemoryMeter } from '../telemetry/meter.ts'
import { ProcessMetrics } from '../telemetry/process-metrics.ts'

export interface Sampled {
  readonly flow: Flow
  /** Left out where nobody asks for them: a one-off copy has no ledger to watch. */
  readonly gauges?: FlowGauges
}

/** What the process takes is looked at this often at most: its figures are of the time since the last look. */
const processMs = 2000

export class Sampler implements Disposable {
  readonly #process: ProcessMetrics
  readonly #all = new Set<Sampled>()
  #facts: ReturnType<ProcessMetrics['sample']> | undefined
  #lookedMs = 0

  constructor(meter: MemoryMeter) {
    this.#process = new ProcessMetrics(meter)
  }

  add(sampled: Sampled): void {
    this.#all.add(sampled)
  }

  remove(sampled: Sampled): void {
    this.#all.delete(sampled)
  }

  sample(): void {
    const nowMs = performance.now()
    if (!this.#facts || nowMs - this.#lookedMs >= processMs) {
      this.#facts = this.#process.sample()
      this.#lookedMs = nowMs
    }
    for (const { flow, gauges } of this.#all) {
      if (flow instanceof Copier) flow.metrics.sample(this.#facts)
      gauges?.sample()
    }
  }

  [Symbol.dispose](): void {
    this.#process[Symbol.dispose]()
  }
}

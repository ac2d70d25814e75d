/** Metrics of this process and of its copies to the Pushgateway, if there is one. */

import type { Log, Signal } from '../core/component.ts'
import type { Copier } from '../core/copier.ts'
import type { MemoryMeter } from '../telemetry/meter.ts'
import { ProcessMetrics } from '../telemetry/process-metrics.ts'
import { Pushgateway } from '../telemetry/pushgateway.ts'
import type { PushgatewayConfig } from '../telemetry/pushgateway-config.ts'

export class MetricsPush implements AsyncDisposable {
  readonly #gateway: Pushgateway | undefined
  readonly #copiers: readonly Copier[]
  readonly #process: ProcessMetrics | undefined

  /** Begins at once. Without a gateway it does nothing. Throws config.invalid. */
  constructor(
    config: PushgatewayConfig | undefined,
    { meter, copiers, log }: { readonly meter: MemoryMeter; readonly copiers: readonly Copier[]; readonly log: Log },
  ) {
    this.#copiers = copiers
    if (!config) return
    const measured = new ProcessMetrics(meter)
    const sample = () => {
      const facts = measured.sample()
      for (const { metrics } of copiers) metrics.sample(facts)
    }
    this.#process = measured
    this.#gateway = new Pushgateway(config, { meter, sample, log })
    this.#gateway.start()
  }

  /** The run is over. Takes as long as the gateway may, at most. */
  async end(o: Signal & { readonly success: boolean }): Promise<void> {
    for (const { metrics } of this.#copiers) metrics.end()
    await this.#gateway?.end(o)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#gateway?.[Symbol.asyncDispose]()
    this.#process?.[Symbol.dispose]()
  }
}

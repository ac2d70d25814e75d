/** Metrics to the Pushgateway, if there is one. */
import type { Log, Signal } from '../core/component.ts'
import type { MemoryMeter } from '../telemetry/meter.ts'
import { Pushgateway } from '../telemetry/pushgateway.ts'
import type { PushgatewayConfig } from '../telemetry/pushgateway-config.ts'

export class MetricsPush implements AsyncDisposable {
  readonly #gateway: Pushgateway | undefined

  /** Begins at once. Without a gateway it does nothing. `sample` is called before each push. Throws config.invalid. */
  constructor(
    config: PushgatewayConfig | undefined,
    o: { readonly meter: MemoryMeter; readonly sample: () => void; readonly log: Log },
  ) {
    if (!config) return
    this.#gateway = new Pushgateway(config, o)
    this.#gateway.start()
  }

  /** The run is over. Takes as long as the gateway may, at most. */
  async end(o: Signal & { readonly success: boolean }): Promise<void> {
    await this.#gateway?.end(o)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#gateway?.[Symbol.asyncDispose]()
  }
}

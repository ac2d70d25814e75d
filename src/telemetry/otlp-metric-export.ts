/** Exports all metrics at once, then at an interval, and at the end. One export at a time: an older one never arrives after a newer one. */
import type { MetricData } from '@opentelemetry/sdk-metrics'
import type { Signal } from '../core/component.ts'
import { StreamError } from '../core/errors.ts'
import type { MemoryMeter } from './meter.ts'
import { metricData } from './otlp-metrics.ts'
import type { OtlpSender } from './otlp-sender.ts'

export class MetricExport implements AsyncDisposable {
  readonly #sender: OtlpSender<MetricData>
  readonly #meter: MemoryMeter
  readonly #sample: () => void
  readonly #intervalMs: number
  /** Aborts the exports of the interval. */
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #exporting: Promise<void> | undefined
  #isEnded = false

  constructor(o: {
    readonly sender: OtlpSender<MetricData>
    readonly meter: MemoryMeter
    readonly sample: () => void
    readonly intervalMs: number
  }) {
    this.#sender = o.sender
    this.#meter = o.meter
    this.#sample = o.sample
    this.#intervalMs = o.intervalMs
  }

  /** Returns at once. Called once. */
  start(): void {
    if (this.#isEnded) return
    const startMs = performance.now()
    this.#exporting = this.#export({ signal: this.#stop.signal }).then(() => {
      if (this.#isEnded) return
      const restMs = Math.max(0, this.#intervalMs - (performance.now() - startMs))
      this.#timer = setTimeout(() => this.start(), restMs).unref()
    })
  }

  /** The last values; what is under way is given up for them. Never throws. Ends soon after the signal is aborted. */
  async end({ signal }: Signal): Promise<void> {
    await this[Symbol.asyncDispose]()
    // One that was down before gets a single attempt: the end need not wait for it to come back.
    await this.#export({ signal, once: this.#sender.isFailing })
  }

  async #export(o: Signal & { readonly once?: boolean }): Promise<void> {
    let metrics: MetricData[]
    try {
      this.#sample()
      metrics = metricData(this.#meter.snapshot(), Date.now())
    } catch (error) {
      this.#sender.failed(new StreamError('sink.rejected', 'cannot make the values of the metrics', { cause: error }))
      return
    }
    await this.#sender.send(metrics, o)
  }

  /** Ends without the last values. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true
    clearTimeout(this.#timer)
    this.#stop.abort(new Error('ended'))
    await this.#exporting
  }
}

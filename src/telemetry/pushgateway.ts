/**
 * Pushes the metrics of this process to a Prometheus Pushgateway: at once, then at an interval, and at the end.
 *
 *   start ──▶ push ──interval──▶ push ──…──▶ end: marked as finished and pushed, or deleted
 *
 * 1. A push replaces everything in the group, so what an earlier run left there is gone with the first one.
 * 2. Nothing waits for the gateway but `end`, and that for a bounded time. No failure is thrown.
 * 3. A failure is told once, and once more when pushes succeed again. What was not pushed meanwhile is in the next push.
 * 4. One request at a time: an older push never arrives after a newer one.
 *
 * Not guaranteed: a process that is killed leaves its last values there, without the mark.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Log, MetricSpec, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import type { MemoryMeter } from './meter.ts'
import { prometheusText } from './prometheus-text.ts'
import { PushgatewayClient } from './pushgateway-client.ts'
import type { PushgatewayConfig } from './pushgateway-config.ts'

/** Only in what is pushed last: how the run ended, for series that stay in the gateway. */
export const finishMetrics = {
  s3_streamer_finished_timestamp_seconds: { kind: 'gauge', unit: 's', help: 'When the run ended, Unix time.' },
  s3_streamer_success: { kind: 'gauge', unit: '1', help: '1 if the run ended without a failure, 0 if not.' },
} as const satisfies Record<string, MetricSpec>

/** Wait between two attempts at the last push, in ms: a gateway that restarts is back soon. */
const lastWaitMs = 250

export class Pushgateway implements AsyncDisposable {
  readonly #config: PushgatewayConfig
  readonly #meter: MemoryMeter
  readonly #sample: () => void
  readonly #log: Log
  readonly #client: PushgatewayClient
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #pushing: Promise<void> | undefined
  /** Pushes in a row that failed. */
  #failures = 0
  #ended = false

  /**
   * `sample` is called before each push, to bring up to date what depends on the time. Throws config.invalid for what
   * the schema cannot see.
   */
  constructor(
    config: PushgatewayConfig,
    o: { readonly meter: MemoryMeter; readonly sample: () => void; readonly log: Log },
  ) {
    this.#config = config
    this.#meter = o.meter
    this.#sample = o.sample
    this.#log = o.log
    this.#client = new PushgatewayClient(config)
  }

  /** Pushes now and at the interval from then on; returns at once. Called once. */
  start(): void {
    const startMs = performance.now()
    this.#pushing = this.#push().then(() => {
      if (this.#ended) return
      const restMs = Math.max(0, this.#config.interval - (performance.now() - startMs))
      this.#timer = setTimeout(() => this.start(), restMs)
    })
  }

  /**
   * The run is over: pushes the last values marked as finished, or deletes all of them, as configured. Takes two
   * time-outs at most, and ends soon after `signal` is aborted. Does nothing the second time.
   */
  async end({ success, signal }: Signal & { readonly success: boolean }): Promise<void> {
    if (this.#ended) return
    this.#ended = true
    clearTimeout(this.#timer)
    const stop = () => this.#stop.abort(signal.reason)
    if (signal.aborted) stop()
    signal.addEventListener('abort', stop)
    try {
      await this.#pushing
      const finish = this.#meter.bind(finishMetrics, {})
      finish.s3_streamer_finished_timestamp_seconds.set(Date.now() / 1000)
      finish.s3_streamer_success.set(success ? 1 : 0)
      await this.#sendLast()
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  async #push(): Promise<void> {
    const error = await this.#attempt('put', this.#stop.signal)
    if (error) {
      this.#failures += 1
      if (this.#failures > 1 || this.#stop.signal.aborted) return
      this.#log.warn({ error: explainError(error) }, 'metrics do not reach the Pushgateway; all else goes on')
      return
    }
    if (this.#failures > 0)
      this.#log.info({ endpoint: this.#client.url, missed: this.#failures }, 'metrics reach the Pushgateway again')
    this.#failures = 0
  }

  async #sendLast(): Promise<void> {
    const call = this.#config.on_end === 'delete' ? 'delete' : 'put'
    using limit = new TimeLimit(this.#stop.signal, this.#config.timeout)
    // One that was down before gets a single attempt: the end need not wait for it to come back.
    const isPatient = this.#failures === 0
    let error = await this.#attempt(call, limit.signal)
    while (error?.code === 'sink.unavailable' && isPatient && !limit.signal.aborted) {
      await wait(lastWaitMs, undefined, { signal: limit.signal }).catch(() => undefined)
      if (limit.signal.aborted) break
      error = await this.#attempt(call, limit.signal)
    }
    if (error)
      this.#log.warn(
        { endpoint: this.#client.url, error: explainError(error) },
        'the Pushgateway was not told of the end: what it has is from before (the next run replaces it, DELETE of this URL removes it)',
      )
  }

  /** What went wrong, undefined if nothing did. */
  async #attempt(call: 'put' | 'delete', signal: AbortSignal): Promise<StreamError | undefined> {
    try {
      this.#sample()
      if (call === 'delete') await this.#client.delete({ signal })
      else await this.#client.put(prometheusText(this.#meter.snapshot()), { signal })
      return undefined
    } catch (error) {
      if (error instanceof StreamError) return error
      return new StreamError('sink.rejected', 'cannot make the text of the metrics', { cause: error })
    }
  }

  /** Ends without a last push: for a run that breaks. Idempotent. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true
    clearTimeout(this.#timer)
    this.#stop.abort(new Error('disposed'))
    await this.#pushing
    await this.#client[Symbol.asyncDispose]()
  }
}

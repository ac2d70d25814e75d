/**
 * The exports of one signal: encoded, sent, tried again within the time-out, and told of in the log.
 *
 *   items ─▶ encode ─▶ send ─┬─ taken
 *     ▲                      ├─ too large ─▶ two halves
 *     └──wait── transient ───┴─ refused for good
 *
 * 1. `send` never throws and never takes longer than the time-out.
 * 2. That exports fail is told once, and once more when they succeed again. So it is if the receiver takes them in part.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { backoffMs } from '../core/backoff.ts'
import type { Bound, Log, Meter, MetricSpec, RetryWaits, Signal } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { TimeLimit } from '../core/time-limit.ts'
import type { OtlpSignal } from './otlp-target.ts'
import type { OtlpTransport } from './otlp-transport.ts'

export const otlpExportMetrics = {
  otlp_exports_total: {
    kind: 'counter',
    unit: '{export}',
    labels: ['signal', 'outcome'],
    help: 'Exports by OTLP: ok, partial (the receiver left some out), refused (for good), failed (the next one tries again).',
  },
} as const satisfies Record<string, MetricSpec>

export const otlpDropMetrics = {
  otlp_dropped_total: {
    kind: 'counter',
    unit: '{item}',
    labels: ['signal'],
    help: 'Log records, spans and points of metrics that the receiver refused, or that had no room while it was slow or down.',
  },
} as const satisfies Record<string, MetricSpec>

/** What became of items: `failed` ones may be accepted another time. */
export type Sent = 'ok' | 'partial' | 'refused' | 'failed'

/** What the receiver says of an export that it has accepted. */
export interface PartialAnswer {
  readonly rejected: number
  readonly words: string
}

export interface SenderOptions<T> {
  readonly signal: OtlpSignal
  readonly transport: OtlpTransport
  readonly encode: (items: readonly T[]) => Uint8Array | undefined
  /** What the bytes of an answer say; may throw if they are none. */
  readonly partial: (answer: Uint8Array) => PartialAnswer | undefined
  /** Makes words of the receiver fit for the log. */
  readonly quote: (words: string) => string
  readonly timeoutMs: number
  readonly log: Log
  readonly meter: Meter
}

const waits: RetryWaits = { minMs: 500, maxMs: 5000 }

export class OtlpSender<T> {
  readonly #o: SenderOptions<T>
  readonly #outcomes: Readonly<Record<Sent, Bound<typeof otlpExportMetrics>>>
  readonly #drops: Bound<typeof otlpDropMetrics>
  /** Exports in a row that did not get there. */
  #failures = 0
  #isPartial = false

  constructor(o: SenderOptions<T>) {
    this.#o = o
    const bind = (outcome: Sent) => o.meter.bind(otlpExportMetrics, { signal: o.signal, outcome })
    this.#outcomes = { ok: bind('ok'), partial: bind('partial'), refused: bind('refused'), failed: bind('failed') }
    this.#drops = o.meter.bind(otlpDropMetrics, { signal: o.signal })
  }

  /** True if the last export did not get there. */
  get isFailing(): boolean {
    return this.#failures > 0
  }

  /** Items are lost. */
  dropped(items: number): void {
    this.#drops.otlp_dropped_total.add(items)
  }

  /** With `once` a failure is not tried again. Aborting the signal ends it soon, as failed. */
  async send(items: readonly T[], o: Signal & { readonly once?: boolean }): Promise<Sent> {
    using limit = new TimeLimit(o.signal, this.#o.timeoutMs)
    let sent: Sent
    try {
      sent = await this.#sendAll(items, { signal: limit.signal, once: o.once ?? false })
      this.#succeeded()
    } catch (thrown) {
      const error = this.#errorOf(thrown, limit)
      const isFinal = error.kind === 'permanent' || error.kind === 'too_large'
      sent = isFinal ? 'refused' : 'failed'
      if (isFinal) this.dropped(items.length)
      if (!o.signal.aborted) this.failed(error)
    }
    this.#outcomes[sent].otlp_exports_total.add(1)
    return sent
  }

  async #sendAll(items: readonly T[], o: Signal & { readonly once: boolean }): Promise<Sent> {
    try {
      return await this.#sendOne(items, o)
    } catch (error) {
      if (!(error instanceof StreamError) || error.kind !== 'too_large' || items.length < 2) throw error
    }
    const middle = items.length >>> 1
    const first = await this.#sendAll(items.slice(0, middle), o)
    const second = await this.#sendAll(items.slice(middle), o)
    return first === 'ok' ? second : first
  }

  /** One request, until its outcome is final or the time is up. */
  async #sendOne(items: readonly T[], { signal, once }: Signal & { readonly once: boolean }): Promise<Sent> {
    const encoded = this.#o.encode(items)
    if (!encoded) return 'ok'
    const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength)
    const endMs = performance.now() + this.#o.timeoutMs
    let former: StreamError | undefined
    for (let attempt = 1; ; attempt += 1) {
      try {
        return this.#answered(await this.#o.transport.send(this.#o.signal, bytes, { signal }))
      } catch (error) {
        // What it said before is worth more than that the time was up.
        if (signal.aborted) throw former ?? error
        if (once || !(error instanceof StreamError)) throw error
        if (error.code !== 'sink.unavailable' && error.code !== 'sink.throttled') throw error
        const waitMs = Math.max(backoffMs(waits, attempt), error.retryAfterMs ?? 0)
        if (performance.now() + waitMs > endMs) throw error
        await sleep(waitMs, undefined, { signal }).catch(() => undefined)
        if (signal.aborted) throw error
        former = error
      }
    }
  }

  #answered(answer: Buffer): Sent {
    const { signal, log } = this.#o
    let partial: PartialAnswer | undefined
    try {
      partial = answer.length === 0 ? undefined : this.#o.partial(answer)
    } catch {
      // A 2xx means accepted, whatever the bytes are.
    }
    if (!partial || (partial.rejected === 0 && partial.words === '')) {
      this.#isPartial = false
      return 'ok'
    }
    this.dropped(partial.rejected)
    if (!this.#isPartial) {
      const facts = { signal, rejected: partial.rejected, words: this.#o.quote(partial.words) }
      log.warn(facts, 'the OTLP receiver did not take everything (look into its log and its limits)')
    }
    this.#isPartial = true
    return partial.rejected > 0 ? 'partial' : 'ok'
  }

  /** Told of the first one in a row. */
  failed(error: StreamError): void {
    const { signal, log } = this.#o
    this.#failures += 1
    if (this.#failures === 1) {
      log.warn({ error: explainError(error) }, `${signal} do not reach the OTLP receiver; all else goes on`)
    }
  }

  #succeeded(): void {
    const { signal, log } = this.#o
    if (this.#failures > 0) log.info({ missed: this.#failures }, `${signal} reach the OTLP receiver again`)
    this.#failures = 0
  }

  #errorOf(thrown: unknown, limit: TimeLimit): StreamError {
    const { signal, timeoutMs } = this.#o
    if (limit.isOver && (!(thrown instanceof StreamError) || thrown.code === 'run.aborted')) {
      const message = `cannot export ${signal}: no answer within otlp.timeout (${timeoutMs / 1000} s) (is the receiver busy, or the network slow?)`
      return new StreamError('sink.unavailable', message)
    }
    if (thrown instanceof StreamError) return thrown
    return new StreamError('sink.rejected', `cannot encode ${signal}`, { cause: thrown })
  }
}

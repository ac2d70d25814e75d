/** Export of metrics, and of logs and traces if they are asked for, by OTLP. Nothing of @opentelemetry is loaded by a process that exports nothing. */
import type { Log, Signal } from '../core/component.ts'
import type { Tracing } from '../core/tracing.ts'
import type { MemoryMeter } from './meter.ts'
import type { OtlpConfig } from './otlp-config.ts'
import { otlpTarget } from './otlp-target.ts'

export interface OtlpOptions {
  readonly meter: MemoryMeter
  /** Called before each export of metrics, to bring up to date what depends on the time. */
  readonly sample: () => void
  /** Takes secrets of the configuration out of a text. */
  readonly hide: (text: string) => string
  readonly log: Log
}

export interface Otlp extends AsyncDisposable {
  /** Takes a line of the log as pino writes it; never throws or waits. undefined if the log is not exported. */
  readonly takeLine: ((line: string) => void) | undefined
  /** The traces of a pipeline; undefined if there are none. */
  tracing(pipeline: string): Tracing | undefined
  /** Exports metrics now and at the interval from then on; returns at once. Called once. */
  start(): void
  /**
   * The run is over: exports the last values and what waits. Takes one time-out at most, and ends soon after `signal` is aborted.
   * Never throws. Does nothing the second time. Disposing ends without.
   */
  end(o: Signal): Promise<void>
}

/** undefined if it is not enabled. Throws config.invalid for what the schema cannot see. */
export async function openOtlp(config: OtlpConfig, o: OtlpOptions): Promise<Otlp | undefined> {
  if (!config.enabled) return undefined
  const target = otlpTarget(config)
  const { openExport } = await import('./otlp-export.ts')
  return await openExport(config, target, o)
}

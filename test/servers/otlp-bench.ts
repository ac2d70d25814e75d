/** An export by OTLP to a receiver of a test, with its log to look at. */
import { setTimeout as sleep } from 'node:timers/promises'
import { MemoryMeter } from '../../src/telemetry/meter.ts'
import { openOtlp } from '../../src/telemetry/otlp.ts'
import { otlpConfig } from '../../src/telemetry/otlp-config.ts'
import { EmbeddedOtlp } from './otlp.ts'

/** As if it were a secret of the configuration. */
export const heldBack = 'hunter2-hunter2'

const table = { things_total: { kind: 'counter', unit: '{thing}', help: 'Things.' } } as const

export async function otlpBench(
  receiver: { readonly port: number },
  {
    settings = {},
    meter = new MemoryMeter(),
    sample = () => undefined,
  }: {
    readonly settings?: Record<string, unknown>
    readonly meter?: MemoryMeter
    readonly sample?: () => void
  } = {},
) {
  const protocol = receiver instanceof EmbeddedOtlp ? receiver.protocol : 'grpc'
  const entries: Array<{ readonly level: string; readonly text: string }> = []
  const note = (level: string) => (facts: object, message: string) => {
    const words = Object.values(facts).filter((value) => typeof value === 'string')
    entries.push({ level, text: [message, ...words].join(': ') })
  }
  const log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
  const endpoint = `127.0.0.1:${receiver.port}`
  const config = otlpConfig.parse({ enabled: true, endpoint, protocol, export_interval: '1h', ...settings })
  const { things_total: things } = meter.bind(table, {})
  const otlp = await openOtlp(config, { meter, log, sample, hide: (text) => text.replaceAll(heldBack, '[redacted]') })
  if (!otlp) throw new Error('not enabled')
  const told = (level: string) => entries.filter((entry) => entry.level === level).map(({ text }) => text)
  /** Sum of a metric of ours, of one outcome if it is given. */
  const value = (name: string, outcome?: string) => {
    const found = meter.snapshot().filter((series) => series.name === name)
    const own = found.filter(({ labels }) => outcome === undefined || labels.outcome === outcome)
    return own.length === 0 ? undefined : own.reduce((sum, series) => sum + series.value, 0)
  }
  /** Looks again and again, for what no server sees. */
  const until = async (holds: () => boolean) => {
    while (!holds()) await sleep(5)
  }
  return { otlp, meter, things, entries, told, value, until }
}

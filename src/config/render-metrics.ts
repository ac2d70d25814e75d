/** The reference page of the metrics. */
import type { MetricSpec } from '../core/component.ts'
import type { MetricGroup } from '../telemetry/metric-catalogue.ts'

const intro = `All metrics, wherever they are read: \`/metrics\`, OTLP, the Pushgateway, the console. Series of a pipeline have the label \`pipeline\` besides those of the
table. Values of labels come from the configuration and from the program, never from data; the process shows 10,000 series at most
(\`metrics_series\`, \`metrics_series_dropped_total\`).

Histograms are of seconds, with the same buckets everywhere. Counters begin at 0 with the process.

**Lag and delay.** \`processing_lag_seconds\` is the age, now, of the oldest object that was found and is not delivered: it grows while
something is stuck, and is 0 when all is done. \`delivery_delay_seconds\` is how long each object took in the end, from its own time to the last
answer for its records: it tells what is usual, and an object that is stuck is not in it yet.

**Balance.** \`records_read_total\` = \`records_delivered_total\` + \`records_filtered_total\` + \`records_quarantined_total\`, for each pipeline and at any moment.`

/** Markdown. The same catalogue gives the same text. */
export function metricsPage(catalogue: readonly MetricGroup[]): string {
  const parts = catalogue.map(({ title, about, isPerPipeline, tables }) => {
    const rows = tables.flatMap((table) => Object.entries(table).map(([name, spec]) => row(name, spec, isPerPipeline)))
    return `## ${title}\n\n${about}\n\n| name | kind | unit | labels | meaning |\n|---|---|---|---|---|\n${rows.join('\n')}`
  })
  const made = '<!-- Made by `npm run docs` from the tables of metrics in src/. -->'
  return `${['# Metrics', made, intro, ...parts].join('\n\n')}\n`
}

function row(name: string, { kind, unit, help, labels = [] }: MetricSpec, isPerPipeline: boolean): string {
  const all = [...(isPerPipeline ? ['pipeline'] : []), ...labels].map((label) => `\`${label}\``)
  return `| \`${name}\` | ${kind} | ${wordOf(name, unit)} | ${all.join(', ')} | ${help.replaceAll('|', '\\|')} |`
}

/** UCUM units in words, as far as a reader may not know them. https://ucum.org/ucum */
function wordOf(name: string, unit: string): string {
  if (unit === '1') return name.endsWith('_ratio') ? 'ratio' : '0 or 1'
  const words: Readonly<Record<string, string>> = {
    By: 'bytes',
    'By/s': 'bytes per second',
    MiBy: 'MiB',
    'MiBy/s': 'MiB per second',
    s: 'seconds',
  }
  return words[unit] ?? unit.replaceAll(/[{}]/g, '')
}

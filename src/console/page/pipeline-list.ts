/** Many pipelines, a line each. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { count } from '../../telemetry/figures.ts'
import type { PipelineSnapshot } from '../snapshot.ts'
import { unaccounted } from '../verdict.ts'
import { html } from './html.ts'
import { bar, pill, pipelinePill } from './marks.ts'
import { address } from './route.ts'
import { type Column, table } from './table.ts'
import { byteRate, duration, rate } from './text.ts'

const orders = {
  name: { title: 'name', compare: (a: PipelineSnapshot, b: PipelineSnapshot) => a.name.localeCompare(b.name) },
  lag: { title: 'lag', compare: (a: PipelineSnapshot, b: PipelineSnapshot) => b.lagSeconds - a.lagSeconds },
  rate: {
    title: 'rate',
    compare: (a: PipelineSnapshot, b: PipelineSnapshot) => b.rates.bytesPerSecond - a.rates.bytesPerSecond,
  },
  trouble: { title: 'trouble first', compare: (a: PipelineSnapshot, b: PipelineSnapshot) => trouble(b) - trouble(a) },
} as const
type Order = keyof typeof orders

export function PipelineList({ pipelines }: { pipelines: readonly PipelineSnapshot[] }): VNode {
  const [order, setOrder] = useState<Order>('trouble')
  const [wanted, setWanted] = useState('')
  const word = wanted.trim().toLowerCase()
  const rows = pipelines
    .filter(({ name, source, sink }) => `${name} ${source} ${sink}`.toLowerCase().includes(word))
    .sort(orders[order].compare)
  return html`<section class="card" aria-label="Pipelines">
    <div class="bulk">
      <label class="grow">Find<input type="search" value=${wanted} onInput=${(event: InputEvent) => setWanted((event.currentTarget as HTMLInputElement).value)} /></label>
      <label>Order by<select value=${order} onChange=${(event: Event) => setOrder((event.currentTarget as HTMLSelectElement).value as Order)}>
        ${Object.entries(orders).map(([name, { title }]) => html`<option key=${name} value=${name}>${title}</option>`)}
      </select></label>
      <span class="muted">${rows.length} of ${pipelines.length}</span>
    </div>
    ${rows.length === 0 ? html`<p class="empty">No pipeline has this in its name, source or sink.</p>` : table({ caption: 'Pipelines', columns, rows, rowKey: ({ name }) => name })}
  </section>`
}

function failing({ dependencies }: PipelineSnapshot): number {
  return dependencies.filter(({ state }) => state === 'failing' || state === 'paused').length
}

function trouble(pipeline: PipelineSnapshot): number {
  const isOut = pipeline.sends === 'records' && unaccounted(pipeline) !== 0
  return (
    (pipeline.state === 'failed' || isOut || pipeline.ledger.error !== undefined ? 1e9 : 0) +
    failing(pipeline) * 1e6 +
    pipeline.ledger.quarantine * 1000 +
    pipeline.ledger.failed * 10 +
    Math.min(9, pipeline.lagSeconds / 1e4)
  )
}

const columns: ReadonlyArray<Column<PipelineSnapshot>> = [
  {
    title: 'Pipeline',
    isName: true,
    cell: ({ name, source, sink }) =>
      html`<a href=${address('overview', name)}>${name}</a><div class="muted clip">${source} → ${sink}</div>`,
  },
  { title: 'State', cell: (pipeline) => pipelinePill(pipeline) },
  {
    title: 'Rate',
    kind: 'number',
    cell: ({ rates, sends }) =>
      html`${sends === 'objects' ? rate(rates.objectsPerSecond) : rate(rates.recordsPerSecond)}<div class="muted">${byteRate(rates.bytesPerSecond)}</div>`,
  },
  { title: 'Lag', kind: 'number', cell: ({ lagSeconds }) => duration(lagSeconds) },
  {
    title: 'In flight',
    kind: 'number',
    cell: ({ inFlight: { bytes, budgetBytes } }) => {
      const part = budgetBytes === 0 ? 0 : bytes / budgetBytes
      return html`${Math.round(part * 100)} %${bar(part, `${Math.round(part * 100)} % of the budget`)}`
    },
  },
  { title: 'Waiting', kind: 'number', cell: ({ waiting, complete }) => `${complete ? '' : '≥ '}${count(waiting)}` },
  {
    title: 'Balance',
    cell: (pipeline) =>
      pipeline.sends === 'objects'
        ? html`<span class="muted">${count(pipeline.objects.done)} copied</span>`
        : unaccounted(pipeline) === 0
          ? pill('well', count(pipeline.counts.read))
          : pill('bad', `${count(Math.abs(unaccounted(pipeline)))} off`),
  },
  {
    title: 'Endpoints',
    cell: (pipeline) => {
      const down = failing(pipeline)
      return down === 0
        ? html`<span class="muted">${pipeline.dependencies.length} fine</span>`
        : pill('bad', `${down} of ${pipeline.dependencies.length}`)
    },
  },
  {
    title: 'Quarantine',
    kind: 'number',
    cell: ({ name, ledger }) =>
      ledger.quarantine === 0
        ? html`<span class="muted">0</span>`
        : html`<a href=${address('quarantine', name)}>${count(ledger.quarantine)}</a>`,
  },
]

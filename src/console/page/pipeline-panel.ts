/** Everything about one pipeline. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { count, counted, fileSize } from '../../telemetry/figures.ts'
import type { DependencySnapshot, PipelineSnapshot, UnderWaySnapshot } from '../snapshot.ts'
import { lateSeconds } from '../verdict.ts'
import { balance } from './balance.ts'
import { Chart } from './chart.ts'
import type { History } from './history.ts'
import { type Content, element, html } from './html.ts'
import { bar, dependencyPill, key, pipelinePill, time } from './marks.ts'
import { address } from './route.ts'
import { type Column, table } from './table.ts'
import { byteRate, compact, duration, rate, visible } from './text.ts'

const underWayAtOnce = 5

export function PipelinePanel(o: {
  readonly pipeline: PipelineSnapshot
  readonly history: History | undefined
  readonly nowMs: number
}): VNode {
  const { pipeline, history, nowMs } = o
  const { name, source, sink, error, sends } = pipeline
  const [isWhole, setWhole] = useState(false)
  const heading = `pipeline-${name}`
  return html`<article class="card panel" aria-labelledby=${heading}>
    <header>
      <h2 id=${heading}>${name}</h2>
      ${pipelinePill(pipeline)}
      <span class="path"><b>${source}</b> → <b>${sink}</b></span>
    </header>
    ${error !== undefined && html`<p class="error">${visible(error)}</p>`}
    ${figures(pipeline, nowMs)}
    <section>${balance(pipeline)}</section>
    <section>${charts(history, sends === 'objects')}</section>
    <section>
      <h3>Endpoints</h3>
      ${
        pipeline.dependencies.length === 0
          ? html`<p class="muted">None is known yet.</p>`
          : table({
              caption: `Endpoints of ${name}`,
              columns: dependencyColumns(nowMs),
              rows: pipeline.dependencies,
              rowKey: (one) => `${one.of} ${one.name}`,
            })
      }
    </section>
    <section>
      <h3>Objects in flight${pipeline.underWayCount > 0 && html` <span class="muted">${count(pipeline.underWayCount)}</span>`}</h3>
      ${underWay(pipeline, nowMs, isWhole, () => setWhole(true))}
    </section>
  </article>`
}

interface Figure {
  readonly title: string
  readonly value: Content
  /** In small type beneath. */
  readonly note?: Content
  readonly level?: 'warn' | 'bad'
}

function figures(pipeline: PipelineSnapshot, nowMs: number): VNode {
  const { name, rates, sends, lagSeconds, waiting, complete, retries, ledger, counts, objects } = pipeline
  const all: Figure[] = [
    sends === 'objects'
      ? { title: 'Objects', value: rate(rates.objectsPerSecond), note: `${count(objects.done)} done` }
      : { title: 'Records', value: rate(rates.recordsPerSecond), note: `${count(objects.done)} objects done` },
    { title: 'Bytes', value: byteRate(rates.bytesPerSecond), note: `${fileSize(counts.bytes)} in all` },
    {
      title: 'Lag',
      value: duration(lagSeconds),
      note: 'oldest not delivered',
      ...(lagSeconds > lateSeconds && { level: 'warn' }),
    },
    {
      title: 'Waiting',
      value: count(waiting),
      note: complete ? counted(waiting, 'object').replace(/^\S+ /, '') : 'objects, more to list',
    },
    inFlight(pipeline),
    {
      title: 'Retries',
      value: count(retries),
      note: ledger.failed > 0 ? `${counted(ledger.failed, 'object')} to try again` : 'no object failed',
    },
    {
      title: 'Quarantine',
      value: ledger.quarantine > 0 ? html`<a href=${address('quarantine', name)}>${count(ledger.quarantine)}</a>` : '0',
      note: ledger.quarantine === 1 ? 'entry' : 'entries',
    },
    {
      title: 'State saved',
      value: ledger.savedMs === undefined ? 'not yet' : ago((nowMs - ledger.savedMs) / 1000),
      note: ledger.error === undefined ? fileSize(ledger.bytes) : 'cannot be saved now',
      ...(ledger.error !== undefined && { level: 'bad' }),
    },
  ]
  return html`<dl class="figures">${all.map(
    ({ title, value, note, level }) =>
      html`<div key=${title}><dt>${title}</dt><dd class=${level}><span data-figure=${title}>${value}</span><small>${note}</small></dd></div>`,
  )}</dl>`
}

function ago(seconds: number): string {
  return seconds < 1 ? 'just now' : `${duration(seconds)} ago`
}

function inFlight({ inFlight: { bytes, budgetBytes, batches } }: PipelineSnapshot): Figure {
  const part = budgetBytes === 0 ? 0 : bytes / budgetBytes
  const title = batches > 0 ? `In flight, ${counted(batches, 'batch', 'batches')}` : 'In flight'
  const note = html`of ${fileSize(budgetBytes)}${bar(part, `${Math.round(part * 100)} % of the budget`)}`
  return { title, value: fileSize(bytes), note }
}

export function charts(history: History | undefined, areObjects: boolean): VNode {
  const { times, records, bytes, lag } = history ?? { times: [], records: [], bytes: [], lag: [] }
  const flow = areObjects
    ? { title: 'Bytes per second', values: bytes, show: byteRate, showAxis: (n: number) => fileSize(n) }
    : { title: 'Records per second', values: records, show: rate, showAxis: compact }
  return html`<div class="charts">
    ${element(Chart, { times, ...flow })}
    ${element(Chart, { times, title: 'Lag', values: lag, show: duration, showAxis: shortDuration, steps: timeSteps })}
  </div>`
}

/** Of an axis of time, in seconds. */
const timeSteps = [
  1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400,
].flatMap((step) => (step < 86_400 ? [step] : [step, 2 * step, 5 * step, 10 * step, 30 * step, 90 * step, 365 * step]))

/** To the larger unit: `5 h`. */
function shortDuration(seconds: number): string {
  return duration(seconds).split(' ').slice(0, 2).join(' ')
}

function dependencyColumns(nowMs: number): ReadonlyArray<Column<DependencySnapshot>> {
  return [
    {
      title: 'Name',
      isName: true,
      cell: ({ name, of, error, state }) =>
        html`<span class="key">${visible(name)}</span> <span class="muted">${of}</span>${
          error !== undefined && state !== 'up' && html`<div class="reason bad">${visible(error)}</div>`
        }`,
    },
    { title: 'State', cell: (dependency) => dependencyPill(dependency) },
    {
      title: 'Since',
      kind: 'number',
      cell: ({ state, sinceMs }) =>
        state === 'unused'
          ? ''
          : html`${time(sinceMs, nowMs)} <span class="muted">for ${duration((nowMs - sinceMs) / 1000)}</span>`,
    },
  ]
}

function underWay(pipeline: PipelineSnapshot, nowMs: number, isWhole: boolean, showAll: () => void): Content {
  const { name, underWay: objects, underWayCount, sends } = pipeline
  if (underWayCount === 0) return html`<p class="muted">None at the moment.</p>`
  const rows = isWhole ? objects : objects.slice(0, underWayAtOnce)
  return html`
    ${table({ caption: `Objects in flight of ${name}`, columns: underWayColumns(nowMs, sends === 'objects'), rows, rowKey: ({ id }) => id })}
    ${rows.length < objects.length && html`<button type="button" class="plain" onClick=${showAll}>Show ${objects.length - rows.length} more</button>`}
    ${isWhole && underWayCount > objects.length && html`<p class="muted">and ${count(underWayCount - objects.length)} more</p>`}`
}

function underWayColumns(nowMs: number, areWhole: boolean): ReadonlyArray<Column<UnderWaySnapshot>> {
  return [
    {
      title: 'Key',
      isName: true,
      cell: ({ key: name, isReplay }) => html`${key(name)}${isReplay && html` <span class="muted">(replay)</span>`}`,
    },
    {
      title: 'Position',
      kind: 'number',
      cell: ({ records, bytes, totalBytes }) => {
        const part = totalBytes === undefined || totalBytes === 0 ? undefined : bytes / totalBytes
        return html`${areWhole || records === undefined ? '' : html`${counted(records, 'record')} <span class="muted">·</span> `}${fileSize(bytes)}${
          totalBytes !== undefined && html` <span class="muted">of ${fileSize(totalBytes)}</span>`
        }${part !== undefined && bar(part, `${Math.round(part * 100)} %`)}`
      },
    },
    { title: 'For', kind: 'number', cell: ({ startedMs }) => duration((nowMs - startedMs) / 1000) },
  ]
}

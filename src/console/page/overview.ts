/** At a glance: is all well, and how does each pipeline do. */
import type { VNode } from 'preact'
import { counted } from '../../telemetry/figures.ts'
import type { Snapshot } from '../snapshot.ts'
import type { Finding, Verdict } from '../verdict.ts'
import { type History, inSum } from './history.ts'
import { type Content, element, html } from './html.ts'
import { mark } from './marks.ts'
import { PipelineList } from './pipeline-list.ts'
import { charts, PipelinePanel } from './pipeline-panel.ts'
import { address } from './route.ts'
import { visible } from './text.ts'

/** With more pipelines than this, each is one line first. */
const panelsAtOnce = 3
const findingsAtOnce = 8

export function overview(o: {
  readonly snapshot: Snapshot
  readonly judged: Verdict
  readonly histories: ReadonlyMap<string, History>
  readonly pipeline: string | undefined
}): VNode {
  const { snapshot, judged, histories } = o
  const { pipelines } = snapshot
  const chosen = pipelines.find(({ name }) => name === o.pipeline)
  const shown = chosen ? [chosen] : pipelines.length <= panelsAtOnce ? pipelines : []
  return html`<div class="parts">
    ${sentence(judged, pipelines.length)}
    ${o.pipeline !== undefined && html`<nav aria-label="Pipelines"><a href=${address('overview')}>← All pipelines</a>${!chosen && ' – there is none of the name in the address'}</nav>`}
    ${shown.map((pipeline) => element(PipelinePanel, { key: pipeline.name, pipeline, history: histories.get(pipeline.name), nowMs: snapshot.atMs }))}
    ${
      shown.length === 0 && pipelines.length > 0
        ? html`<section class="card pad" aria-label="All pipelines together">${charts(
            inSum(histories),
            pipelines.every(({ sends }) => sends === 'objects'),
          )}</section>
            ${element(PipelineList, { pipelines })}`
        : null
    }</div>`
}

function sentence(judged: Verdict, pipelines: number): VNode {
  const { level, title, detail, findings } = judged
  const more = findings.length - findingsAtOnce
  return html`<section class=${`card verdict ${level}`} aria-label="State">
    ${mark(level)}
    <h2>${title}</h2>
    <p>${detail}</p>
    ${
      findings.length > 0 &&
      html`<ul>
        ${findings.slice(0, findingsAtOnce).map((finding) => html`<li key=${`${finding.pipeline} ${finding.text}`}>${mark(finding.level)}<div>${line(finding, pipelines)}</div></li>`)}
        ${more > 0 && html`<li><div class="muted">and ${counted(more, 'more thing')}, of ${counted(new Set(findings.slice(findingsAtOnce).map(({ pipeline }) => pipeline)).size, 'pipeline')}</div></li>`}
      </ul>`
    }
  </section>`
}

function line({ pipeline, about, text, reason }: Finding, pipelines: number): Content {
  const name = pipeline !== undefined && pipelines > 1 ? html`<b>${pipeline}</b>${' '}` : null
  const part = about === 'pipeline' ? 'overview' : about
  const link = about === 'config' || about === 'quarantine' || pipelines > panelsAtOnce
  return html`${name}${link ? html`<a href=${address(part, pipeline)}>${text}</a>` : text}${
    reason !== undefined && html`<span class="muted">: ${visible(reason)}</span>`
  }`
}

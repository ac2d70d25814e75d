/** Where every record went that was read: the proof that nothing is lost, as a bar and as a sum. */
import type { VNode } from 'preact'
import { count, counted } from '../../telemetry/figures.ts'
import type { PipelineSnapshot } from '../snapshot.ts'
import { unaccounted } from '../verdict.ts'
import { html } from './html.ts'
import { pill } from './marks.ts'

export function balance(pipeline: PipelineSnapshot): VNode {
  return pipeline.sends === 'objects' ? ofObjects(pipeline) : ofRecords(pipeline)
}

function ofRecords(pipeline: PipelineSnapshot): VNode {
  const { read, delivered, filtered, quarantined } = pipeline.counts
  const missing = unaccounted(pipeline)
  const parts = [
    { name: 'delivered', n: delivered },
    { name: 'filtered', n: filtered },
    { name: 'quarantined', n: quarantined },
    ...(missing > 0 ? [{ name: 'missing', n: missing }] : []),
  ]
  return html`<div class="balance">
    <h3>Balance of records</h3>
    ${strip(parts, read)}
    <p class="sum">
      <span><b>${count(read)}</b> read</span>
      <span class="op">${missing === 0 ? '=' : '≠'}</span>
      ${parts
        .slice(0, 3)
        .map(
          ({ name, n }, i) =>
            html`${i > 0 && html`<span class="op">+</span>`}<span key=${name}><i class=${name}></i><b>${count(n)}</b> ${name}</span>`,
        )}
      <span class="verdictlet">${
        missing === 0
          ? pill('well', 'Balances')
          : pill('bad', `${counted(Math.abs(missing), 'record')} ${missing > 0 ? 'missing' : 'too many'}`)
      }</span>
    </p>
  </div>`
}

const outcomes = [
  { name: 'done', words: 'copied', look: 'delivered' },
  { name: 'quarantined', words: 'quarantined', look: 'quarantined' },
  { name: 'failed', words: 'failed attempts', look: 'missing' },
  { name: 'vanished', words: 'vanished', look: 'filtered' },
  { name: 'replaced', words: 'replaced', look: 'filtered' },
  { name: 'stopped', words: 'to go on later', look: 'filtered' },
] as const

function ofObjects({ objects }: PipelineSnapshot): VNode {
  const parts = outcomes
    .map(({ name, words, look }) => ({ name: look, words, n: objects[name] ?? 0 }))
    .filter(({ n, words }) => n > 0 || words === 'copied')
  const all = parts.reduce((sum, { n }) => sum + n, 0)
  return html`<div class="balance">
    <h3>What became of objects</h3>
    ${strip(parts, all)}
    <p class="sum">${parts.map(({ name, words, n }) => html`<span key=${words}><i class=${name}></i><b>${count(n)}</b> ${words}</span>`)}</p>
  </div>`
}

/** Nothing is said here that the sum beneath does not say. */
function strip(parts: ReadonlyArray<{ readonly name: string; readonly n: number }>, whole: number): VNode {
  return html`<div class="bar" aria-hidden="true">${parts
    .filter(({ n }) => n > 0)
    .map(({ name, n }) => html`<i class=${name} style=${{ width: `${(n / Math.max(1, whole)) * 100}%` }}></i>`)}</div>`
}

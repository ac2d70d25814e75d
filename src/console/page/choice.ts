/** What the lists of the page share: which pipeline, and what is said when there is no answer. */
import type { VNode } from 'preact'
import type { Snapshot } from '../snapshot.ts'
import { html } from './html.ts'
import { mark } from './marks.ts'
import { address, type Part } from './route.ts'

export function PipelineChoice(o: { snapshot: Snapshot; part: Part; pipeline: string | undefined }): VNode | null {
  const { pipelines } = o.snapshot
  if (pipelines.length < 2) return null
  const choose = (event: Event) => {
    const { value } = event.currentTarget as HTMLSelectElement
    location.hash = address(o.part, value === '' ? undefined : value)
  }
  return html`<label>Pipeline<select value=${o.pipeline ?? ''} onChange=${choose}>
    <option value="">all</option>
    ${pipelines.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
  </select></label>`
}

export function trouble(error: string | undefined): VNode | null {
  return error === undefined ? null : html`<p class="row pad" role="alert">${mark('bad')}${error}</p>`
}

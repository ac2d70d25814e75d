/** The objects that the ledger knows, the last ones first. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { count, fileSize } from '../../telemetry/figures.ts'
import type { ObjectSnapshot, Snapshot } from '../snapshot.ts'
import { PipelineChoice, trouble } from './choice.ts'
import { element, html } from './html.ts'
import { useListing } from './listing.ts'
import { key, objectPill, objectStateNames, pipelineName, time } from './marks.ts'
import { requests } from './requests.ts'
import { type Column, table } from './table.ts'
import { visible } from './text.ts'

const limit = 200
const everyMs = 5000

export function Objects({ snapshot, pipeline }: { snapshot: Snapshot; pipeline: string | undefined }): VNode {
  const [state, setState] = useState('')
  const { value, error } = useListing(`${pipeline}/${state}`, everyMs, () =>
    requests.objects({ pipeline, state: state === '' ? undefined : state, limit }),
  )
  const several = snapshot.pipelines.length > 1
  return html`<section class="card" aria-label="Objects">
    <div class="bulk">
      ${element(PipelineChoice, { snapshot, part: 'objects', pipeline })}
      <label>State<select value=${state} onChange=${(event: Event) => setState((event.currentTarget as HTMLSelectElement).value)}>
        <option value="">every</option>
        ${objectStateNames.map(([name, words]) => html`<option key=${name} value=${name}>${words}</option>`)}
      </select></label>
      <span class="muted">${value && (value.length < limit ? count(value.length) : `the last ${limit}`)}</span>
    </div>
    ${trouble(error)}
    ${value && (value.length === 0 ? html`<p class="empty">No object here.</p>` : table({ caption: 'Objects', columns: columns(snapshot.atMs, several), rows: value, rowKey: (one) => `${one.pipeline} ${one.bucket} ${one.key}` }))}
  </section>`
}

function columns(nowMs: number, several: boolean): ReadonlyArray<Column<ObjectSnapshot>> {
  return [
    {
      title: 'Object',
      isName: true,
      cell: ({ bucket, key: name, error }) =>
        html`${key(`${bucket}/${name}`)}${error !== undefined && html`<div class="reason">${visible(error)}</div>`}`,
    },
    ...(several ? [{ title: 'Pipeline', cell: (one: ObjectSnapshot) => pipelineName(one.pipeline) }] : []),
    { title: 'State', cell: ({ state }) => objectPill(state) },
    { title: 'Size', kind: 'number', cell: ({ size }) => (size === undefined ? '' : fileSize(size)) },
    { title: 'Read', kind: 'number', cell: ({ read }) => count(read) },
    { title: 'Delivered', kind: 'number', cell: ({ delivered }) => count(delivered) },
    { title: 'Filtered', kind: 'number', cell: ({ filtered }) => count(filtered) },
    { title: 'Quarantined', kind: 'number', cell: ({ quarantined }) => count(quarantined) },
    { title: 'Attempts', kind: 'number', cell: ({ attempts }) => count(attempts) },
    { title: 'Time', kind: 'nowrap', cell: ({ timeMs }) => time(timeMs, nowMs) },
    { title: 'Changed', kind: 'nowrap', cell: ({ updatedMs }) => time(updatedMs, nowMs) },
  ]
}

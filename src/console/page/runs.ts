/** The last executions: what each start of a pipeline came to. */
import type { VNode } from 'preact'
import { count, fileSize } from '../../telemetry/figures.ts'
import type { RunSnapshot, Snapshot } from '../snapshot.ts'
import { PipelineChoice, trouble } from './choice.ts'
import { element, html } from './html.ts'
import { useListing } from './listing.ts'
import { pipelineName, runPill, time } from './marks.ts'
import { requests } from './requests.ts'
import { type Column, table } from './table.ts'
import { duration, visible } from './text.ts'

const limit = 100
const everyMs = 5000
const modes: Readonly<Record<RunSnapshot['mode'], string>> = { daemon: 'daemon', once: 'once', replay: 'replay' }

export function Runs({ snapshot, pipeline }: { snapshot: Snapshot; pipeline: string | undefined }): VNode {
  const { value, error } = useListing(`${pipeline}`, everyMs, () => requests.runs({ pipeline, limit }))
  const several = snapshot.pipelines.length > 1
  return html`<section class="card" aria-label="Runs">
    ${several && html`<div class="bulk">${element(PipelineChoice, { snapshot, part: 'runs', pipeline })}</div>`}
    ${trouble(error)}
    ${value && (value.length === 0 ? html`<p class="empty">No run is written down yet.</p>` : table({ caption: 'Runs, newest first', columns: columns(snapshot.atMs, several), rows: value, rowKey: (run) => `${run.pipeline} ${run.id}` }))}
  </section>`
}

function columns(nowMs: number, several: boolean): ReadonlyArray<Column<RunSnapshot>> {
  return [
    {
      title: 'Began',
      isName: true,
      cell: ({ startedMs, error }) =>
        html`${time(startedMs, nowMs)}${error !== undefined && html`<div class="reason">${visible(error)}</div>`}`,
    },
    ...(several ? [{ title: 'Pipeline', cell: (run: RunSnapshot) => pipelineName(run.pipeline) }] : []),
    { title: 'Outcome', cell: (run) => runPill(run) },
    { title: 'Mode', cell: ({ mode }) => modes[mode] },
    { title: 'Took', kind: 'number', cell: ({ startedMs, updatedMs }) => duration((updatedMs - startedMs) / 1000) },
    { title: 'Objects', kind: 'number', cell: ({ objects }) => count(objects.done ?? 0) },
    { title: 'Failed', kind: 'number', cell: ({ objects }) => failures(objects) },
    { title: 'Read', kind: 'number', cell: ({ counts }) => count(counts.read) },
    { title: 'Delivered', kind: 'number', cell: ({ counts }) => count(counts.delivered) },
    { title: 'Filtered', kind: 'number', cell: ({ counts }) => count(counts.filtered) },
    { title: 'Quarantined', kind: 'number', cell: ({ counts }) => count(counts.quarantined) },
    { title: 'Bytes', kind: 'number', cell: ({ counts }) => fileSize(counts.bytes) },
  ]
}

function failures({ failed = 0, quarantined = 0 }: RunSnapshot['objects']): string {
  return count(failed + quarantined)
}

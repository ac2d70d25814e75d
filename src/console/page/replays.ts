/** Reading a stretch of time again: what was asked for, how far it is, and asking for more. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { count, fileSize } from '../../telemetry/figures.ts'
import type { ReplaySnapshot, Snapshot } from '../snapshot.ts'
import type { Level } from '../verdict.ts'
import { PipelineChoice } from './choice.ts'
import { element, html } from './html.ts'
import { bar, pill, pipelineName, time } from './marks.ts'
import type { Action, Operator } from './operator.ts'
import { ReplayForm } from './replay-form.ts'
import { requests } from './requests.ts'
import { type Column, table } from './table.ts'
import { byteRate, duration, quoted, visible } from './text.ts'

interface Replay extends ReplaySnapshot {
  readonly pipeline: string
}

const states: Readonly<Record<ReplaySnapshot['state'], readonly [Level, string]>> = {
  waiting: ['note', 'Waiting'],
  running: ['note', 'Running'],
  done: ['well', 'Done'],
  failed: ['bad', 'Failed'],
  cancelled: ['note', 'Cancelled'],
}

export function Replays(o: { snapshot: Snapshot; pipeline: string | undefined; operator: Operator }): VNode {
  const { snapshot, pipeline, operator } = o
  const [isAsking, setAsking] = useState(false)
  const rows = snapshot.pipelines
    .filter(({ name }) => pipeline === undefined || name === pipeline)
    .flatMap(({ name, replays }) => replays.map((replay) => ({ ...replay, pipeline: name })))
    .sort((a, b) => b.createdMs - a.createdMs)
  const several = snapshot.pipelines.length > 1
  return html`<section class="card" aria-label="Replays">
    <div class="bulk">
      ${element(PipelineChoice, { snapshot, part: 'replays', pipeline })}
      <span class="grow muted">A replay delivers the objects of a stretch of time again, beside what is live.</span>
      <button type="button" class="primary" disabled=${snapshot.pipelines.length === 0} onClick=${() => setAsking(true)}>New replay</button>
    </div>
    ${
      rows.length === 0
        ? html`<p class="empty">None was asked for.</p>`
        : table({
            caption: 'Replays, newest first',
            columns: columns(snapshot, several, operator),
            rows,
            rowKey: (replay) => `${replay.pipeline} ${replay.id}`,
          })
    }
    ${isAsking && element(ReplayForm, { snapshot, pipeline, operator, onClose: () => setAsking(false) })}
  </section>`
}

function columns(snapshot: Snapshot, several: boolean, operator: Operator): ReadonlyArray<Column<Replay>> {
  const nowMs = snapshot.atMs
  return [
    { title: 'Replay', isName: true, kind: 'nowrap', cell: ({ id }) => `${id}` },
    ...(several ? [{ title: 'Pipeline', cell: (replay: Replay) => pipelineName(replay.pipeline) }] : []),
    {
      title: 'What',
      isWide: true,
      cell: ({ fromMs, toMs, prefix, error }) =>
        html`${time(fromMs, nowMs)} – ${time(toMs, nowMs)}${prefix !== '' && html`<div class="key">${visible(prefix)}</div>`}${
          error !== undefined && html`<div class="reason bad">${visible(error)}</div>`
        }`,
    },
    { title: 'State', cell: ({ state }) => pill(...states[state]) },
    {
      title: 'Progress',
      kind: 'number',
      cell: ({ planned, done, state }) => {
        const part = planned.objects === 0 ? 1 : done.objects / planned.objects
        return html`${count(done.objects)} <span class="muted">of ${count(planned.objects)} objects,</span> ${fileSize(done.bytes)} <span class="muted">of ${fileSize(planned.bytes)}</span>${
          done.failed > 0 && html`<div class="reason bad">${count(done.failed)} failed</div>`
        }${(state === 'running' || state === 'waiting') && bar(part, `${Math.round(part * 100)} %`)}`
      },
    },
    { title: 'At most', kind: 'number', cell: ({ bytesPerSecond }) => byteRate(bytesPerSecond) },
    {
      title: 'Asked for',
      kind: 'nowrap',
      cell: ({ createdMs, updatedMs, state }) =>
        html`${time(createdMs, nowMs)}${state === 'done' && html`<div class="muted">took ${duration((updatedMs - createdMs) / 1000)}</div>`}`,
    },
    {
      title: 'Actions',
      kind: 'tools',
      cell: (replay) =>
        replay.state === 'running' || replay.state === 'waiting'
          ? html`<button type="button" class="plain danger" aria-label=${`Cancel replay ${replay.id}`} disabled=${operator.isBusy} onClick=${() => operator.act(cancel(replay, snapshot.config.file))}>Cancel</button>`
          : undefined,
    },
  ]
}

function cancel({ pipeline, id }: Replay, file: string): Action {
  return {
    title: `Cancel replay ${id}`,
    command: `s3-streamer replay cancel ${id} --pipeline ${quoted(pipeline)} --config ${quoted(file)}`,
    work: async () => {
      await requests.cancelReplay(pipeline, id)
      return `Replay ${id} ends; what it has delivered stays delivered.`
    },
  }
}

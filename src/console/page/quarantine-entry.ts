/** One entry of the quarantine, and what can be done with some or all of them. */
import type { VNode } from 'preact'
import { counted, fileSize } from '../../telemetry/figures.ts'
import type { PipelineSnapshot, QuarantineSnapshot } from '../snapshot.ts'
import { trouble } from './choice.ts'
import { Dialog } from './dialog.ts'
import { element, html } from './html.ts'
import { useListing } from './listing.ts'
import { time } from './marks.ts'
import type { Action, Operator } from './operator.ts'
import { requests } from './requests.ts'
import { quoted, visible } from './text.ts'

const entryCount = (n: number) => counted(n, 'entry', 'entries')

/** Numbers of entries mean something within one pipeline only. */
function byPipeline(entries: readonly QuarantineSnapshot[]): Map<string, number[]> {
  const ids = new Map<string, number[]>()
  for (const { pipeline, id } of entries) {
    const known = ids.get(pipeline)
    if (known) known.push(id)
    else ids.set(pipeline, [id])
  }
  return ids
}

function commands(verb: 'requeue' | 'drop', entries: readonly QuarantineSnapshot[], file: string): string {
  return [...byPipeline(entries)]
    .map(
      ([pipeline, ids]) =>
        `s3-streamer quarantine ${verb} ${ids.join(' ')} --pipeline ${quoted(pipeline)} --config ${quoted(file)}`,
    )
    .join('\n')
}

async function inTurn(
  entries: readonly QuarantineSnapshot[],
  work: (pipeline: string, ids: readonly number[]) => Promise<number>,
) {
  let done = 0
  for (const [pipeline, ids] of byPipeline(entries)) done += await work(pipeline, ids)
  return done
}

function nameOf(entries: readonly QuarantineSnapshot[]): string {
  const [first] = entries
  return first && entries.length === 1 ? `entry ${first.id}` : entryCount(entries.length)
}

export function requeueEntries(entries: readonly QuarantineSnapshot[], file: string, after: () => void): Action {
  return {
    title: `Requeue ${nameOf(entries)}`,
    command: commands('requeue', entries, file),
    work: async () => {
      const n = await inTurn(entries, async (pipeline, ids) => (await requests.requeue(pipeline, ids)).requeued)
      after()
      return said(n)
    },
  }
}

export function requeueAll(pipelines: readonly PipelineSnapshot[], file: string, after: () => void): Action {
  const some = pipelines.filter(({ ledger }) => ledger.quarantine > 0)
  const total = some.reduce((sum, { ledger }) => sum + ledger.quarantine, 0)
  const only = some.length === 1 && some[0] ? ` --pipeline ${quoted(some[0].name)}` : ''
  return {
    title: `Requeue ${total === 1 ? 'the entry' : `all ${entryCount(total)}`}`,
    command: `s3-streamer quarantine requeue --all${only} --config ${quoted(file)}`,
    work: async () => {
      let n = 0
      for (const { name } of some) n += (await requests.requeue(name, 'all')).requeued
      after()
      return said(n)
    },
  }
}

function said(n: number): string {
  return n === 0 ? 'Nothing to try again: it is gone, or asked for already.' : `${entryCount(n)} will be tried again.`
}

export function dropEntries(entries: readonly QuarantineSnapshot[], file: string, after: () => void): Action {
  const records = entries.reduce((sum, entry) => sum + (entry.kind === 'records' ? entry.records : 0), 0)
  const lost = records > 0 ? ` and the ${counted(records, 'record')} kept there` : ''
  return {
    title: `Drop ${nameOf(entries)}`,
    command: commands('drop', entries, file),
    warning: `${entries.length === 1 ? 'This entry' : `These ${entryCount(entries.length)}`}${lost} will be forgotten and never delivered. There is no way back.`,
    work: async () => {
      const n = await inTurn(entries, async (pipeline, ids) => (await requests.drop(pipeline, ids)).dropped)
      after()
      return `${entryCount(n)} dropped.`
    },
  }
}

export function EntryDialog(o: {
  readonly entry: QuarantineSnapshot
  readonly operator: Operator
  readonly file: string
  readonly nowMs: number
  readonly onClose: () => void
  readonly after: () => void
}): VNode {
  const { entry, operator, file, nowMs, onClose } = o
  const { pipeline, id, kind, bucket, key, reason, createdMs, records, firstRecord, requeued } = entry
  const { value, error } = useListing(`${pipeline}/${id}`, 60_000, () => requests.quarantined(pipeline, id))
  const after = () => {
    onClose()
    o.after()
  }
  return element(
    Dialog,
    { title: `Quarantine entry ${id}`, onClose },
    html`<dl class="facts">
        <dt>Pipeline</dt><dd>${pipeline}</dd>
        <dt>${kind === 'message' ? 'Queue' : 'Object'}</dt><dd class="key">${visible(kind === 'message' ? bucket : `${bucket}/${key}`)}</dd>
        ${kind === 'records' && html`<dt>Records</dt><dd>${counted(records, 'record')}, the first is number ${firstRecord.toLocaleString('en-US')} of the object</dd>`}
        <dt>Reason</dt><dd>${visible(reason)}</dd>
        <dt>Since</dt><dd>${time(createdMs, nowMs)}${requeued && ', to be tried again'}</dd>
      </dl>
      ${trouble(error ?? (operator.said?.isBad ? operator.said.text : undefined))}
      ${preview(value)}
      ${kind === 'object' && html`<p class="muted">The whole object could not be read: nothing of it is kept here, requeuing reads it again.</p>`}
      <div class="actions">
        <button type="button" class="danger" disabled=${operator.isBusy} onClick=${() => operator.act(dropEntries([entry], file, after))}>Drop</button>
        <button type="button" class="primary" disabled=${requeued || operator.isBusy} onClick=${() => operator.act(requeueEntries([entry], file, after))}>Requeue</button>
      </div>`,
  )
}

function preview(detail: { readonly preview: string | undefined; readonly isCut: boolean } | undefined): VNode | null {
  if (detail?.preview === undefined) return null
  const lines = detail.preview.split('\n').map(visible).join('\n')
  return html`<div>
    <h3>As it was kept</h3>
    <pre class="wrapped" tabindex="0">${lines}</pre>
    ${detail.isCut && html`<p class="muted">Cut after ${fileSize(detail.preview.length)}; <code>s3-streamer quarantine show</code> prints all of it.</p>`}
  </div>`
}

/** What could not be delivered: why, and trying it again or giving it up. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { count, counted } from '../../telemetry/figures.ts'
import type { QuarantineSnapshot, Snapshot } from '../snapshot.ts'
import { PipelineChoice, trouble } from './choice.ts'
import { element, html } from './html.ts'
import { useListing } from './listing.ts'
import { key, pill, pipelineName, time } from './marks.ts'
import type { Operator } from './operator.ts'
import { dropEntries, EntryDialog, requeueAll, requeueEntries } from './quarantine-entry.ts'
import { requests } from './requests.ts'
import { type Column, table } from './table.ts'
import { visible } from './text.ts'

/** As many as one answer holds. */
const limit = 1000
const rowsAtOnce = 100
const everyMs = 10_000
const kinds: Readonly<Record<QuarantineSnapshot['kind'], string>> = {
  object: 'object',
  records: 'records',
  message: 'message',
}

export const entryName = ({ pipeline, id }: QuarantineSnapshot) => `${pipeline}/${id}`

export function Quarantine(o: { snapshot: Snapshot; pipeline: string | undefined; operator: Operator }): VNode {
  const { snapshot, pipeline, operator } = o
  const [wanted, setWanted] = useState('')
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set())
  const [shown, setShown] = useState(rowsAtOnce)
  const [open, setOpen] = useState<QuarantineSnapshot>()
  const pipelines = snapshot.pipelines.filter(({ name }) => pipeline === undefined || name === pipeline)
  const total = pipelines.reduce((sum, { ledger }) => sum + ledger.quarantine, 0)
  // Another number of entries is a reason to look at once.
  const { value, error, again } = useListing(`${pipeline}/${total}`, everyMs, () =>
    requests.quarantine({ pipeline, limit }),
  )
  const word = wanted.trim().toLowerCase()
  const entries = (value ?? []).filter((entry) =>
    `${entry.id} ${entry.pipeline} ${entry.bucket}/${entry.key} ${entry.reason}`.toLowerCase().includes(word),
  )
  const chosen = entries.filter((entry) => picked.has(entryName(entry)))
  const pick = (names: readonly string[], isPicked: boolean) => {
    const next = new Set(picked)
    for (const name of names) isPicked ? next.add(name) : next.delete(name)
    setPicked(next)
  }
  const file = snapshot.config.file
  const after = () => {
    setPicked(new Set())
    again()
  }
  const several = snapshot.pipelines.length > 1
  const rows = entries.slice(0, shown)
  const waiting = entries.filter(({ requeued }) => !requeued)
  const isBusy = operator.isBusy
  return html`<section class="card" aria-label="Quarantine">
    ${
      (value?.length ?? 0) > 0 &&
      html`<div class="bulk">
          ${element(PipelineChoice, { snapshot, part: 'quarantine', pipeline })}
          <label class="grow">Find<input type="search" value=${wanted} onInput=${(event: InputEvent) => setWanted((event.currentTarget as HTMLInputElement).value)} /></label>
          <span class="muted">${counted(entries.length, 'entry', 'entries')}</span>
        </div>
        <div class="bulk">
          <label class="grow"><input type="checkbox" checked=${entries.length > 0 && chosen.length === entries.length} indeterminate=${chosen.length > 0 && chosen.length < entries.length}
            onChange=${(event: Event) => pick(entries.map(entryName), (event.currentTarget as HTMLInputElement).checked)} />${chosen.length > 0 ? `${count(chosen.length)} chosen` : 'Choose all'}</label>
          <button type="button" disabled=${chosen.length === 0 || isBusy} onClick=${() => operator.act(requeueEntries(chosen, file, after))}>Requeue chosen</button>
          <button type="button" disabled=${waiting.length === 0 || isBusy} onClick=${() => operator.act(word === '' ? requeueAll(pipelines, file, after) : requeueEntries(waiting, file, after))}>Requeue ${word === '' ? 'all' : `these ${count(waiting.length)}`}</button>
          <button type="button" class="danger" disabled=${chosen.length === 0 || isBusy} onClick=${() => operator.act(dropEntries(chosen, file, after))}>Drop chosen</button>
        </div>`
    }
    ${trouble(error)}
    ${value && entries.length === 0 && html`<p class="empty">${value.length === 0 ? 'Quarantine is empty: everything that was read was delivered, or filtered as configured.' : 'No entry has this in its name or reason.'}</p>`}
    ${
      rows.length > 0 &&
      table({
        caption: 'Quarantine',
        columns: columns({ nowMs: snapshot.atMs, several, picked, pick, open: setOpen, operator, file, after }),
        rows,
        rowKey: entryName,
        rowClass: (entry) => (picked.has(entryName(entry)) ? 'picked' : ''),
      })
    }
    ${rows.length < entries.length && html`<div class="row pad"><button type="button" onClick=${() => setShown(shown + 300)}>Show more</button><span class="muted">${count(rows.length)} of ${count(entries.length)} shown</span></div>`}
    ${value?.length === limit && html`<p class="row pad muted">The first ${count(limit)} of ${count(total)}.</p>`}
    ${open && element(EntryDialog, { key: entryName(open), entry: open, operator, file, nowMs: snapshot.atMs, onClose: () => setOpen(undefined), after })}
  </section>`
}

function columns(o: {
  readonly nowMs: number
  readonly several: boolean
  readonly picked: ReadonlySet<string>
  readonly pick: (names: readonly string[], isPicked: boolean) => void
  readonly open: (entry: QuarantineSnapshot) => void
  readonly operator: Operator
  readonly file: string
  readonly after: () => void
}): ReadonlyArray<Column<QuarantineSnapshot>> {
  const { nowMs, several, picked, pick, open, operator, file, after } = o
  return [
    {
      title: 'Entry',
      isName: true,
      kind: 'nowrap',
      cell: (entry) => {
        const name = entryName(entry)
        const toggle = (event: Event) => pick([name], (event.currentTarget as HTMLInputElement).checked)
        return html`<label class="pick"><input type="checkbox" checked=${picked.has(name)} onChange=${toggle} /><span><span class="unseen">Choose entry </span>${entry.id}</span></label>`
      },
    },
    ...(several ? [{ title: 'Pipeline', cell: (entry: QuarantineSnapshot) => pipelineName(entry.pipeline) }] : []),
    {
      title: 'What',
      isWide: true,
      cell: (entry) =>
        html`${key(entry.kind === 'message' ? entry.bucket : `${entry.bucket}/${entry.key}`)}<div class="reason">${visible(entry.reason)}</div>`,
    },
    {
      title: 'Kind',
      kind: 'nowrap',
      cell: ({ kind, records }) => (kind === 'records' ? counted(records, 'record') : kinds[kind]),
    },
    {
      title: 'Since',
      kind: 'nowrap',
      cell: ({ createdMs, requeued }) =>
        html`${time(createdMs, nowMs)}${requeued && html`<div>${pill('note', 'To be tried again')}</div>`}`,
    },
    {
      title: 'Actions',
      kind: 'tools',
      cell: (entry) => html`
        <button type="button" class="plain" aria-label=${`Show entry ${entry.id}`} onClick=${() => open(entry)}>Show</button>
        <button type="button" class="plain" aria-label=${`Requeue entry ${entry.id}`} disabled=${entry.requeued || operator.isBusy} onClick=${() => operator.act(requeueEntries([entry], file, after))}>Requeue</button>`,
    },
  ]
}

/** Asking for a replay: first what it would read, then whether that is meant. */
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { count, fileSize } from '../../telemetry/figures.ts'
import type { ReplayPlan, ReplayRequest } from '../operations.ts'
import type { Snapshot } from '../snapshot.ts'
import { Dialog } from './dialog.ts'
import { element, html } from './html.ts'
import { mark } from './marks.ts'
import type { Operator } from './operator.ts'
import { requests } from './requests.ts'
import { duration, localInput, quoted } from './text.ts'

const usualMegabytes = 10

export function ReplayForm(o: {
  readonly snapshot: Snapshot
  readonly pipeline: string | undefined
  readonly operator: Operator
  readonly onClose: () => void
}): VNode {
  const { snapshot, operator, onClose } = o
  const [pipeline, setPipeline] = useState(o.pipeline ?? snapshot.pipelines[0]?.name ?? '')
  const [from, setFrom] = useState(() => localInput(snapshot.atMs - 3_600_000))
  const [to, setTo] = useState(() => localInput(snapshot.atMs))
  const [prefix, setPrefix] = useState('')
  const [megabytes, setMegabytes] = useState(String(usualMegabytes))
  const [plan, setPlan] = useState<{ readonly request: ReplayRequest; readonly plan: ReplayPlan }>()
  const [error, setError] = useState<string>()

  const request: ReplayRequest = {
    pipeline,
    fromMs: new Date(from).getTime(),
    toMs: new Date(to).getTime(),
    prefix,
    bytesPerSecond: Math.round(Number(megabytes) * 1e6),
  }
  // A plan holds for what it was made for.
  const planned = plan && JSON.stringify(plan.request) === JSON.stringify(request) ? plan.plan : undefined
  const fault =
    Number.isNaN(request.fromMs) || Number.isNaN(request.toMs)
      ? 'Give both times.'
      : request.fromMs >= request.toMs
        ? 'It must begin before it ends.'
        : request.bytesPerSecond >= 100_000
          ? undefined
          : 'Give a rate of 0.1 MB a second at least.'
  const command = fault === undefined ? commandOf(request, snapshot.config.file) : undefined
  const look = () =>
    operator.act({
      title: 'Plan a replay',
      command,
      work: async () => {
        setError(undefined)
        try {
          const plan = await requests.planReplay(request)
          setPlan({ request, plan })
          return `${count(plan.objects)} objects would be read again.`
        } catch (refusal) {
          setError(refusal instanceof Error ? refusal.message : String(refusal))
          throw refusal
        }
      },
    })
  const start = (found: ReplayPlan) =>
    operator.act({
      title: 'Start the replay',
      command,
      work: async () => {
        const { id } = await requests.startReplay(request, { objects: found.objects, bytes: found.bytes })
        onClose()
        return `Replay ${id} begins in a few seconds.`
      },
    })
  const text = (set: (value: string) => void) => (event: Event) =>
    set((event.currentTarget as HTMLInputElement | HTMLSelectElement).value)
  const submit = (event: Event) => {
    event.preventDefault()
    if (fault !== undefined) setError(fault)
    else look()
  }
  return element(
    Dialog,
    { title: 'New replay', onClose },
    html`<form class="replay" onSubmit=${submit}>
      <div class="fields">
        <label>Pipeline<select name="pipeline" value=${pipeline} onChange=${text(setPipeline)}>${snapshot.pipelines.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>
        <label>Objects from<input name="from" type="datetime-local" required value=${from} onInput=${text(setFrom)} /></label>
        <label>to, not included<input name="to" type="datetime-local" required value=${to} onInput=${text(setTo)} /></label>
        <label>Only keys that begin with<input name="prefix" value=${prefix} onInput=${text(setPrefix)} autocomplete="off" spellcheck="false" /></label>
        <label>At most MB a second<input name="rate" type="number" min="0.1" step="any" required value=${megabytes} onInput=${text(setMegabytes)} /></label>
      </div>
      <p class="muted">${fault ?? `In UTC: ${utc(request.fromMs)} to ${utc(request.toMs)}. Objects are taken by the time in their name, else by when they were stored.`}</p>
      ${error !== undefined && html`<p class="said bad" role="alert">${error}</p>`}
      ${planned && planView(planned)}
      <div class="actions">
        <button type="submit" class=${planned ? '' : 'primary'} disabled=${operator.isBusy}>${operator.isBusy ? 'Working …' : planned ? 'Plan again' : 'Plan'}</button>
        ${planned && planned.objects > 0 && html`<button type="button" class="primary" disabled=${operator.isBusy} onClick=${() => start(planned)}>Start</button>`}
      </div>
    </form>`,
  )
}

function planView({ objects, bytes, seconds }: ReplayPlan): VNode {
  if (objects === 0)
    return html`<p class="said note">No object of this pipeline is from then: nothing to read again.</p>`
  return html`<div class="said note">
    <dl class="facts">
      <dt>Objects</dt><dd><b>${count(objects)}</b></dd>
      <dt>Bytes as stored</dt><dd><b>${fileSize(bytes)}</b></dd>
      <dt>Takes about</dt><dd><b>${seconds === undefined ? 'unknown' : duration(seconds)}</b></dd>
    </dl>
    <p class="row">${mark('warn')}<span class="grow">Their records are sent once more: receivers that know records by an id overwrite them, others have them twice.</span></p>
  </div>`
}

function utc(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
}

function commandOf({ pipeline, fromMs, toMs, prefix, bytesPerSecond }: ReplayRequest, file: string): string {
  const instant = (ms: number) => `${new Date(ms).toISOString().slice(0, 19)}Z`
  const only = prefix === '' ? '' : ` --prefix ${quoted(prefix)}`
  return `s3-streamer replay --from ${instant(fromMs)} --to ${instant(toMs)} --pipeline ${quoted(pipeline)}${only} --rate ${bytesPerSecond} --config ${quoted(file)}`
}

/** The configuration in force, and taking it anew from the file. */
import type { VNode } from 'preact'
import type { ReloadOutcome, Snapshot } from '../snapshot.ts'
import { trouble } from './choice.ts'
import { html } from './html.ts'
import { useListing } from './listing.ts'
import { mark, time } from './marks.ts'
import type { Action, Operator } from './operator.ts'
import { requests } from './requests.ts'
import { quoted, visible } from './text.ts'

export function ConfigView({ snapshot, operator }: { snapshot: Snapshot; operator: Operator }): VNode {
  const { file, loadedMs, reload } = snapshot.config
  const { value, error } = useListing(`${loadedMs}`, 60_000, () => requests.config())
  return html`<section class="card" aria-label="Configuration">
    <div class="bulk">
      <span class="grow">As in force: every default filled in, secrets hidden. From <span class="mono">${file}</span>, read at ${time(loadedMs, snapshot.atMs)}.</span>
      <button type="button" disabled=${operator.isBusy} onClick=${() => operator.act(reloadAction(file))}>Reload the file</button>
    </div>
    ${reload && html`<div class="pad">${outcome(reload, snapshot.atMs)}</div>`}
    ${trouble(error)}
    <div class="pad"><pre class="config" tabindex="0" aria-label="Configuration as YAML">${value}</pre></div>
  </section>`
}

function outcome(reload: ReloadOutcome, nowMs: number): VNode {
  if (!reload.ok) {
    return html`<div class="said bad"><p class="row">${mark('bad')}<span class="grow">The reload of ${time(reload.atMs, nowMs)} was refused, and nothing was changed. Correct the file, then reload it again.</span></p>
      <ul>${reload.problems.map((problem) => html`<li key=${problem} class="mono">${visible(problem)}</li>`)}</ul></div>`
  }
  return html`<div class="said well"><p class="row">${mark('well')}<span class="grow">Reloaded at ${time(reload.atMs, nowMs)}: ${changes(reload)}.</span></p></div>`
}

function changes({ started, stopped, restarted, kept }: ReloadOutcome): string {
  const parts = [
    ['started', started],
    ['stopped', stopped],
    ['restarted', restarted],
    ['unchanged', kept],
  ] as const
  const said = parts.filter(([, names]) => names.length > 0).map(([word, names]) => `${word} ${listed(names)}`)
  return said.length === 0 ? 'nothing to change' : said.join('; ')
}

function listed(names: readonly string[]): string {
  return names.length > 5 ? `${names.length} pipelines` : names.join(', ')
}

function reloadAction(file: string): Action {
  return {
    title: 'Reload the configuration',
    command: `s3-streamer reload --config ${quoted(file)}`,
    work: async () => {
      const reload = await requests.reload()
      if (!reload.ok) throw new Error('The file was refused, and nothing was changed: see above the configuration.')
      return `Reloaded: ${changes(reload)}.`
    },
  }
}

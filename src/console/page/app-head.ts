/** The top of the page: which streamer this is, whether it answers, and the ways to the parts. */
import type { VNode } from 'preact'
import type { Snapshot } from '../snapshot.ts'
import type { Level, Verdict } from '../verdict.ts'
import { html } from './html.ts'
import type { Live } from './live.ts'
import { mark, time } from './marks.ts'
import type { Operator } from './operator.ts'
import { address, type Part, type Route } from './route.ts'
import { duration } from './text.ts'

const titles: Readonly<Record<Part, string>> = {
  overview: 'Overview',
  objects: 'Objects',
  quarantine: 'Quarantine',
  runs: 'Runs',
  replays: 'Replays',
  config: 'Configuration',
}

export function partTitle(part: Part): string {
  return titles[part]
}

export function head(o: { live: Live; verdict: Verdict | undefined; route: Route; operator: Operator }): VNode {
  const { live, route, operator } = o
  const { snapshot } = live
  return html`<header class="top"><div class="frame">
    <div class="brand">
      <svg viewBox="0 0 32 32" aria-hidden="true"><rect width="32" height="32" rx="7" fill="#175cd3" /><g fill="none" stroke="#fff" stroke-width="3" stroke-linecap="round"><path d="M7 10h9" /><path d="M7 16h18" /><path d="M16 22h9" /></g></svg>
      <h1>s3-streamer</h1>
    </div>
    <div class="about">${snapshot && about(snapshot)}</div>
    ${link(live)}
    ${account(operator)}
    ${live.link !== 'locked' && html`<nav class="tabs" aria-label="Parts">${(Object.keys(titles) as Part[]).map((part) => tab(part, route, snapshot))}</nav>`}
  </div></header>`
}

function about({ host, version, pid, startedMs, atMs, state, process }: Snapshot): VNode {
  return html`
    <span class="name">${host}</span>
    <span>version ${version}</span>
    <span>pid ${pid}</span>
    <span>${state === 'running' ? 'up' : state} <span title="since ${new Date(startedMs).toISOString()}">${duration((atMs - startedMs) / 1000)}</span></span>
    <span>${Math.round(process.rssBytes / 1e6)} MB</span>
    <span>${Math.round(process.cpu * 100)} % CPU</span>`
}

function link({ link: state, snapshot }: Live): VNode {
  const [level, words]: readonly [Level, unknown] =
    state === 'live'
      ? ['well', html`Live, ${snapshot && time(snapshot.atMs, snapshot.atMs)}`]
      : state === 'locked'
        ? ['note', 'Locked']
        : state === 'connecting'
          ? ['note', 'Connecting']
          : ['bad', html`Not answering${snapshot && html`, last seen ${time(snapshot.atMs, snapshot.atMs)}`}`]
  return html`<span class="link">${mark(level)}<span>${words}</span></span>`
}

function account({ session, askToken, signOut }: Operator): VNode | null {
  if (!session?.tokenConfigured) return null
  return session.canAct
    ? html`<button type="button" class="plain" onClick=${signOut}>Sign out</button>`
    : html`<button type="button" class="plain" onClick=${askToken}>Sign in</button>`
}

function tab(part: Part, route: Route, snapshot: Snapshot | undefined): VNode {
  const waiting =
    part === 'quarantine' ? (snapshot?.pipelines.reduce((sum, { ledger }) => sum + ledger.quarantine, 0) ?? 0) : 0
  return html`<a key=${part} href=${address(part)} aria-current=${route.part === part ? 'page' : undefined}>${titles[part]}${
    waiting > 0 &&
    html` <span class="tally">${waiting.toLocaleString('en-US')}<span class="unseen"> entries</span></span>`
  }</a>`
}

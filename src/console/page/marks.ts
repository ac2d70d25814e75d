/** Small parts that say a state: a shape and a word each, for colour alone tells nothing to many. */
import type { VNode } from 'preact'
import type { DependencySnapshot, PipelineSnapshot, RunSnapshot } from '../snapshot.ts'
import type { Level } from '../verdict.ts'
import { html } from './html.ts'
import { localTime, shortened, visible } from './text.ts'

const shapes: Readonly<Record<Level, string>> = {
  well: 'M8 1.2a6.8 6.8 0 1 0 0 13.6A6.8 6.8 0 0 0 8 1.2Zm3.6 5L7.4 11 4.5 8.3l1-1.1 1.8 1.7 3.1-3.7Z',
  note: 'M8 1.2a6.8 6.8 0 1 0 0 13.6A6.8 6.8 0 0 0 8 1.2Zm0 1.6a5.2 5.2 0 1 1 0 10.4A5.2 5.2 0 0 1 8 2.8Zm-.8 1.9h1.6v3.6l2 1.6-1 1.2-2.6-2Z',
  warn: 'M8 1 .6 14.2h14.8Zm-.8 4.6h1.6v4.6H7.2Zm0 5.5h1.6v1.6H7.2Z',
  bad: 'M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1Zm2.1 2.8v5h1.6v-5Zm0 6.2v1.7h1.6V10Z',
}

/** `size` is the style sheet's. */
export function mark(level: Level): VNode {
  return html`<svg class=${level} viewBox="0 0 16 16" aria-hidden="true"><path fill="currentColor" fill-rule="evenodd" d=${shapes[level]} /></svg>`
}

export function pill(level: Level, text: string): VNode {
  return html`<span class=${`pill ${level}`}>${mark(level)}${text}</span>`
}

const pipelineStates: Readonly<Record<PipelineSnapshot['state'], readonly [Level, string]>> = {
  starting: ['note', 'Starting'],
  running: ['well', 'Running'],
  stopping: ['note', 'Stopping'],
  stopped: ['note', 'Stopped'],
  failed: ['bad', 'Failed'],
}
export function pipelinePill({ state }: PipelineSnapshot): VNode {
  return pill(...pipelineStates[state])
}

const dependencyStates: Readonly<Record<DependencySnapshot['state'], readonly [Level, string]>> = {
  unused: ['note', 'Not used yet'],
  up: ['well', 'Up'],
  failing: ['bad', 'Failing'],
  paused: ['warn', 'Paused'],
}
export function dependencyPill({ state }: DependencySnapshot): VNode {
  return pill(...dependencyStates[state])
}

const runOutcomes: Readonly<Record<RunSnapshot['outcome'], readonly [Level, string]>> = {
  running: ['note', 'Running'],
  done: ['well', 'Done'],
  stopped: ['note', 'Stopped'],
  failed: ['bad', 'Failed'],
  killed: ['warn', 'Killed'],
}
export function runPill({ outcome }: RunSnapshot): VNode {
  return pill(...runOutcomes[outcome])
}

const objectStates: Readonly<Record<string, readonly [Level, string]>> = {
  active: ['note', 'Under way'],
  done: ['well', 'Done'],
  failed: ['bad', 'Failed'],
  quarantined: ['warn', 'Quarantined'],
  requeued: ['note', 'To be tried again'],
  vanished: ['note', 'Vanished'],
  replaced: ['note', 'Replaced'],
}
export const objectStateNames: ReadonlyArray<readonly [string, string]> = Object.entries(objectStates).map(
  ([state, [, name]]) => [state, name],
)
export function objectPill(state: string): VNode {
  return pill(...(objectStates[state] ?? ['note', state]))
}

/** In the reader's zone, with UTC beneath the pointer. */
export function time(ms: number, nowMs: number): VNode {
  const iso = new Date(ms).toISOString()
  return html`<time datetime=${iso} title=${`${iso.slice(0, 19).replace('T', ' ')} UTC`}>${localTime(ms, nowMs)}</time>`
}

/** Short names stay on one line. */
export function pipelineName(name: string): VNode {
  return html`<span class=${name.length <= 24 ? 'nowrap' : 'key'}>${name}</span>`
}

const keyLength = 110

/** The name of an object, whatever is in it: long ones are cut in the middle until asked for. */
export function key(text: string): VNode {
  const shown = visible(text)
  const short = shortened(shown, keyLength)
  if (short === shown) return html`<span class="key">${shown}</span>`
  return html`<details class="key"><summary>${short}</summary>${shown}</details>`
}

export function bar(part: number, label: string): VNode {
  const percent = Math.round(Math.min(1, Math.max(0, part)) * 1000) / 10
  return html`<div class="bar thin" role="img" aria-label=${label}><i style=${{ width: `${percent}%` }}></i></div>`
}

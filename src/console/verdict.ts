/** One sentence about everything, and what is wrong, worst first: for the page and the terminal. Knows nothing of either. */
import { count, counted } from '../telemetry/figures.ts'
import type { PipelineSnapshot, Snapshot } from './snapshot.ts'

/** `bad`: something is lost, stands still, or needs a human; `warn`: late, or tried again, and nothing is lost. */
export type Level = 'well' | 'note' | 'warn' | 'bad'

export interface Finding {
  readonly level: 'note' | 'warn' | 'bad'
  /** Undefined: of the whole process. */
  readonly pipeline: string | undefined
  /** What part of the page tells more. */
  readonly about: 'pipeline' | 'quarantine' | 'config'
  readonly text: string
  /** The reason as a component gave it. */
  readonly reason?: string | undefined
}

export interface Verdict {
  readonly level: Level
  readonly title: string
  /** What follows from it. */
  readonly detail: string
  readonly findings: readonly Finding[]
}

/** Behind by more than this is worth a word; it is what the alert rules take, too. */
export const lateSeconds = 15 * 60

const severity = { bad: 0, warn: 1, note: 2 } as const

export function verdict(snapshot: Snapshot): Verdict {
  const findings = [...ofProcess(snapshot), ...snapshot.pipelines.flatMap(ofPipeline)].sort(
    (a, b) => severity[a.level] - severity[b.level],
  )
  const bad = findings.filter(({ level }) => level === 'bad').length
  const warnings = findings.filter(({ level }) => level === 'warn').length
  const detail = accounted(snapshot.pipelines)
  if (bad > 0) {
    const more = warnings > 0 ? `, ${counted(warnings, 'warning')}` : ''
    return { level: 'bad', title: `${counted(bad, 'problem')}${more}`, detail, findings }
  }
  if (warnings > 0) return { level: 'warn', title: `${counted(warnings, 'warning')}, nothing lost`, detail, findings }
  if (snapshot.state !== 'running')
    return { level: 'note', title: snapshot.state === 'starting' ? 'Starting' : 'Stopping', detail, findings }
  if (snapshot.pipelines.length === 0) {
    return {
      level: 'note',
      title: 'No pipeline',
      detail: 'The configuration names none, or all were stopped.',
      findings,
    }
  }
  return { level: 'well', title: 'All well', detail, findings }
}

/** Records that are read and in no other count: 0 if all is right. */
export function unaccounted({ counts }: PipelineSnapshot): number {
  return counts.read - counts.delivered - counts.filtered - counts.quarantined
}

function accounted(pipelines: readonly PipelineSnapshot[]): string {
  let read = 0
  let missing = 0
  let copied = 0
  let copies = false
  for (const pipeline of pipelines) {
    if (pipeline.sends === 'objects') {
      copies = true
      copied += pipeline.objects.done
    } else {
      read += pipeline.counts.read
      missing += Math.abs(unaccounted(pipeline))
    }
  }
  const parts: string[] = []
  if (!copies || read > 0) {
    parts.push(
      missing > 0
        ? `${counted(read, 'record')} read, ${count(missing)} of them unaccounted for.`
        : read === 0
          ? 'No records read yet.'
          : `${counted(read, 'record')} read, all accounted for.`,
    )
  }
  if (copies) parts.push(`${counted(copied, 'object')} copied.`)
  return parts.join(' ')
}

function ofProcess({ config: { reload } }: Snapshot): Finding[] {
  if (!reload || reload.ok) return []
  const text = 'The last reload was refused; the former configuration is in force'
  return [{ level: 'warn', pipeline: undefined, about: 'config', text, reason: reload.problems[0] }]
}

function ofPipeline(pipeline: PipelineSnapshot): Finding[] {
  const findings: Finding[] = []
  const add = (level: Finding['level'], text: string, reason?: string, about: Finding['about'] = 'pipeline') =>
    findings.push({ level, pipeline: pipeline.name, about, text, reason })
  const { state, ledger, lagSeconds } = pipeline
  if (state === 'failed') add('bad', 'Failed', pipeline.error)
  else if (state !== 'running')
    add('note', state === 'starting' ? 'Starting' : state === 'stopping' ? 'Stopping' : 'Stopped')
  const missing = unaccounted(pipeline)
  if (pipeline.sends === 'records' && missing !== 0) {
    add('bad', `Counts do not balance: ${counted(Math.abs(missing), 'record')} ${missing > 0 ? 'missing' : 'too many'}`)
  }
  if (ledger.error !== undefined) {
    add('bad', 'Its state cannot be saved; a restart would send records again', ledger.error)
  }
  for (const side of ['source', 'sink'] as const) findings.push(...ofSide(pipeline, side))
  if (ledger.quarantine > 0) {
    const entries = counted(ledger.quarantine, 'entry', 'entries')
    add('warn', `${entries} in quarantine to decide on`, undefined, 'quarantine')
  }
  if (ledger.failed > 0) add('warn', `${counted(ledger.failed, 'object')} failed and will be tried again`)
  if (lagSeconds > lateSeconds) {
    // A first scan of an old bucket is late by nature.
    add('note', `Behind: what is not delivered is up to ${span(lagSeconds)} old`)
  }
  for (const replay of pipeline.replays) {
    if (replay.state === 'failed') add('warn', `Replay ${replay.id} failed`, replay.error)
  }
  return findings
}

function ofSide({ name, dependencies }: PipelineSnapshot, of: 'source' | 'sink'): Finding[] {
  const all = dependencies.filter((dependency) => dependency.of === of)
  const down = all.filter(({ state }) => state === 'failing' || state === 'paused')
  // Endpoints of a sink stand in for each other; a source needs each of its servers.
  const isStill = of === 'source' || down.length === all.length
  const finding = (level: 'warn' | 'bad', text: string, reason: string | undefined): Finding => {
    return { level, pipeline: name, about: 'pipeline', text, reason }
  }
  if (isStill && down.length > 1) {
    const text = of === 'sink' ? 'No endpoint takes anything; what was read waits' : 'Nothing can be read'
    return [finding('bad', text, down[0]?.error)]
  }
  return down.map(({ name: endpoint, state, error }) => {
    const what = `${endpoint} is ${state}`
    return isStill ? finding('bad', what, error) : finding('warn', `${what}; the others take its part`, error)
  })
}

function span(seconds: number): string {
  if (seconds < 7200) return `${Math.round(seconds / 60)} minutes`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} hours` : `${Math.round(seconds / 86_400)} days`
}

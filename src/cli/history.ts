/** `history`: the last runs, and what became of the last objects. */
import { objectName } from '../core/object-name.ts'
import type { ObjectEntry, ObjectState, RunEntry } from '../ledger/ledger.ts'
import { count, duration, fileSize, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { eachLedger, timeFrom } from './state.ts'

export interface HistoryFlags {
  readonly config: string
  readonly pipeline?: string
  readonly objects: boolean
  readonly json: boolean
  readonly outcome?: string
  readonly since?: string
  readonly until?: string
  readonly limit: number
}

const runOutcomes: readonly RunEntry['outcome'][] = ['running', 'done', 'stopped', 'failed', 'killed']
const objectStates: readonly ObjectState[] = [
  'active',
  'failed',
  'done',
  'quarantined',
  'vanished',
  'replaced',
  'requeued',
]

interface Span {
  readonly sinceMs: number
  readonly untilMs: number
}

export async function history(flags: HistoryFlags, io: Io): Promise<ExitCode> {
  const { outcome, objects } = flags
  const known: readonly string[] = objects ? objectStates : runOutcomes
  if (outcome !== undefined && !known.includes(outcome)) {
    const what = objects ? 'an object' : 'a run'
    io.stderr(`"${printable(outcome)}" is no outcome of ${what}: there is ${known.join(', ')}\n`)
    return 2
  }
  const sinceMs = timeFlag('--since', flags.since, 0, io)
  const untilMs = timeFlag('--until', flags.until, Number.MAX_SAFE_INTEGER, io)
  if (sinceMs === undefined || untilMs === undefined) return 2
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  return eachLedger(loaded, io, 'readonly', ({ name }, ledger) => {
    const span = { sinceMs, untilMs }
    const rows = objects
      ? ledger
          .objects({
            ...span,
            limit: flags.limit,
            ...(outcome === undefined ? {} : { states: [outcome as ObjectState] }),
          })
          .map((entry) => (flags.json ? objectFacts(name, entry) : objectLines(entry)))
      : runsIn(ledger.runs.list({ sinceMs }), span, outcome)
          .slice(0, flags.limit)
          .map((run) => (flags.json ? runFacts(name, run) : runLines(run)))
    if (!flags.json && loaded.pipelines.length > 1) io.stdout(`# ${name}\n`)
    if (!flags.json && rows.length === 0) io.stdout(objects ? 'no object\n' : 'no run\n')
    else if (!flags.json) io.stdout(objects ? objectHeading : runHeading)
    for (const row of rows) io.stdout(row)
  })
}

function timeFlag(name: string, text: string | undefined, fallback: number, io: Io): number | undefined {
  if (text === undefined) return fallback
  const ms = timeFrom(text)
  if (ms === undefined) {
    io.stderr(`${name} "${printable(text)}" is no time: write it like 2025-10-12T21:00:00Z, or in Unix seconds\n`)
  }
  return ms
}

function runsIn(runs: readonly RunEntry[], { untilMs }: Span, outcome: string | undefined): RunEntry[] {
  return runs.filter((run) => run.startedMs <= untilMs && (outcome === undefined || run.outcome === outcome))
}

const iso = (ms: number) => new Date(ms).toISOString()

function runFacts(pipeline: string, { startedMs, updatedMs, ...run }: RunEntry): string {
  const seconds = (updatedMs - startedMs) / 1000
  return `${JSON.stringify({ pipeline, ...run, started: iso(startedMs), ended: run.outcome === 'running' ? undefined : iso(updatedMs), seconds })}\n`
}

function objectFacts(pipeline: string, entry: ObjectEntry): string {
  const { id, bucket, key, size, state: outcome, counts, attempts, error, startedMs, updatedMs } = entry
  const times = startedMs > 0 ? { started: iso(startedMs), seconds: (updatedMs - startedMs) / 1000 } : {}
  const facts = { pipeline, id, bucket, key, size, outcome, ...times, updated: iso(updatedMs), attempts, counts, error }
  return `${JSON.stringify(facts)}\n`
}

const columns = ['read', 'delivered', 'filtered', 'quarantined', 'bytes']

function row(start: readonly string[], figures: readonly string[], end: string): string {
  const [time = '', outcome = '', took = ''] = start
  const left = `${time.padEnd(20)}  ${outcome.padEnd(11)}  ${took.padStart(9)}`
  const middle = figures.map((figure, i) => figure.padStart(Math.max(columns[i]?.length ?? 0, 9))).join('  ')
  return `${printable(`${left}  ${middle}  ${end}`).trimEnd()}\n`
}

const runHeading = row(['started', 'outcome', 'took'], columns, 'run, objects')
const objectHeading = row(['last change', 'outcome', 'took'], columns, 'attempts, object')

function figuresOf({ read, delivered, filtered, quarantined, bytes }: RunEntry['counts']): string[] {
  return [...[read, delivered, filtered, quarantined].map(count), fileSize(bytes)]
}

function runLines(run: RunEntry): string {
  const { id, outcome, mode, objects, figures, error, startedMs, updatedMs } = run
  const what = Object.entries(objects).map(([state, n]) => `${count(n)} ${state}`)
  const text = `#${id} (${mode}) ${what.length === 0 ? 'no object' : what.join(', ')}`
  const more = Object.entries(figures).map(([name, n]) => `${name} ${count(n)}`)
  const lines = [row([utc(startedMs), outcome, duration(updatedMs - startedMs)], figuresOf(run.counts), text)]
  if (more.length > 0) lines.push(`${' '.repeat(22)}${printable(more.join(', '))}\n`)
  if (error !== undefined) lines.push(`${' '.repeat(22)}${printable(error)}\n`)
  return lines.join('')
}

function objectLines({ bucket, key, state, counts, attempts, error, startedMs, updatedMs }: ObjectEntry): string {
  const took = startedMs > 0 ? duration(updatedMs - startedMs) : ''
  const end = `${count(attempts)}  ${objectName({ bucket, key })}`
  const line = row([utc(updatedMs), state, took], figuresOf(counts), end)
  return error === undefined ? line : `${line}${' '.repeat(22)}${printable(error)}\n`
}

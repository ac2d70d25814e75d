/** What `status` shows of a running streamer: the lines of the console's page, in text. */
import { styleText } from 'node:util'
import type {
  DependencySnapshot,
  PipelineSnapshot,
  ReplaySnapshot,
  RunSnapshot,
  Snapshot,
  UnderWaySnapshot,
} from '../console/snapshot.ts'
import { type Finding, unaccounted, verdict } from '../console/verdict.ts'
import { count, counted, duration, fileSize, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'

export interface StatusView {
  /** Objects under way are listed, too. */
  readonly isDetailed: boolean
  readonly color: boolean
}

/** More pipelines than these are a line each. */
const fewPipelines = 4
const shownUnderWay = 8

type Paint = (style: Parameters<typeof styleText>[0], text: string) => string

export function statusLines(snapshot: Snapshot, runs: readonly RunSnapshot[], view: StatusView): string[] {
  const paint: Paint = (style, text) => (view.color ? styleText(style, text, { validateStream: false }) : text)
  const { pipelines } = snapshot
  const blocks =
    pipelines.length > fewPipelines
      ? [tableLines(pipelines, paint)]
      : pipelines.map((pipeline) => pipelineLines(pipeline, snapshot.atMs, { ...view, paint }))
  const lines = [
    ...headLines(snapshot, paint),
    ...blocks.flatMap((lines) => ['', ...lines]),
    ...runLines(runs, snapshot),
  ]
  return lines.map((line) => fitForTerminal(line, view))
}

/** Whoever answers may have put anything anywhere, also where numbers are expected: nothing but colours is obeyed. */
function fitForTerminal(line: string, { color }: StatusView): string {
  const parts = color ? line.split(colors) : [line]
  return parts.map((part, i) => (i % 2 === 1 ? part : printable(part))).join('')
}

const colors = new RegExp(`(${String.fromCodePoint(27)}\\[\\d{1,2}m)`)

function headLines(snapshot: Snapshot, paint: Paint): string[] {
  const { version, host, pid, startedMs, atMs, state, process: own, config } = snapshot
  const { level, title, detail, findings } = verdict(snapshot)
  const style = { well: 'green', note: 'cyan', warn: 'yellow', bad: 'red' } as const
  const up = state === 'running' ? `up ${duration(atMs - startedMs)}` : state
  const load = `${fileSize(own.rssBytes)}, ${own.cpu.toFixed(2)} cores`
  return [
    paint('bold', printable(`s3-streamer ${version} on ${host}`)) +
      paint('gray', printable(` · process ${pid}, ${up}, ${load} · ${config.file}`)),
    `${paint([style[level], 'bold'], title)}${detail === '' ? '' : ` · ${detail}`}`,
    ...findings.map((finding) => findingLine(finding, snapshot.pipelines.length > 1, paint)),
  ]
}

function findingLine({ level, pipeline, text, reason }: Finding, isNamed: boolean, paint: Paint): string {
  const mark = { bad: paint('red', '  ✖'), warn: paint('yellow', '  !'), note: paint('cyan', '  ·') }[level]
  const who = pipeline === undefined || !isNamed ? '' : `${pipeline}: `
  return `${mark} ${printable(`${who}${text}${because(reason, text)}`)}`
}

function pipelineLines(
  pipeline: PipelineSnapshot,
  atMs: number,
  { isDetailed, paint }: StatusView & { readonly paint: Paint },
): string[] {
  const { name, source, sink, state, ledger, underWay, underWayCount } = pipeline
  const line = (label: string, text: string) => `  ${paint('gray', label.padEnd(11))}${text}`
  const stateText = state === 'running' ? paint('green', state) : paint(state === 'failed' ? 'red' : 'yellow', state)
  const down = pipeline.dependencies.filter((one) => one.state === 'failing' || one.state === 'paused')
  return [
    `${paint('bold', printable(name))} · ${stateText} · ${printable(`${source} → ${sink}`)}`,
    line('rate', rateText(pipeline)),
    line('lag', lagText(pipeline)),
    line('in flight', flightText(pipeline, paint)),
    line('counts', countsText(pipeline, paint)),
    line('objects', objectsText(pipeline)),
    line('state', `${savedText(ledger, atMs, paint)}, ${fileSize(ledger.bytes)}`),
    ...(ledger.quarantine > 0 ? [line('quarantine', paint('yellow', quarantineText(ledger.quarantine)))] : []),
    ...down.map((one) => line(one.state, dependencyText(one, atMs, paint))),
    ...pipeline.replays.map((replay) => line('replay', replayText(replay))),
    ...(underWayCount > 0 ? [line('under way', `${counted(underWayCount, 'object')}`)] : []),
    ...(isDetailed ? underWay.slice(0, shownUnderWay).map((object) => underWayLine(object, atMs)) : []),
  ]
}

function rateText({ rates, sends }: PipelineSnapshot): string {
  const { recordsPerSecond, bytesPerSecond, objectsPerSecond } = rates
  const records = sends === 'records' ? [`${count(Math.round(recordsPerSecond))} records/s`] : []
  return [...records, `${fileSize(bytesPerSecond)}/s`, `${objectsPerSecond.toFixed(1)} objects/s`].join(', ')
}

function lagText({ lagSeconds, waiting, complete }: PipelineSnapshot): string {
  const lag = lagSeconds === 0 ? 'none' : duration(lagSeconds * 1000)
  const more = complete ? '' : ', maybe more to be found'
  return `${lag}; ${counted(waiting, 'object')} waiting${more}`
}

const barWidth = 20

function flightText({ inFlight }: PipelineSnapshot, paint: Paint): string {
  const { bytes, budgetBytes, batches } = inFlight
  const part = budgetBytes > 0 ? Math.min(1, bytes / budgetBytes) : 0
  const filled = Math.round(part * barWidth)
  const bar = `${paint('cyan', '█'.repeat(filled))}${paint('gray', '░'.repeat(barWidth - filled))}`
  return `${bar} ${fileSize(bytes)} of ${fileSize(budgetBytes)}, ${counted(batches, 'batch', 'batches')}`
}

function countsText(pipeline: PipelineSnapshot, paint: Paint): string {
  const { counts, sends } = pipeline
  if (sends === 'objects') return `${fileSize(counts.bytes)} copied`
  const { read, delivered, filtered, quarantined } = counts
  const sum = `${count(read)} read = ${count(delivered)} delivered + ${count(filtered)} filtered + ${count(quarantined)} quarantined`
  const missing = unaccounted(pipeline)
  return missing === 0
    ? sum
    : `${sum} ${paint('red', `(${count(Math.abs(missing))} ${missing > 0 ? 'missing' : 'too many'})`)}`
}

function objectsText({ objects, retries }: PipelineSnapshot): string {
  const told = Object.entries(objects).filter(([outcome, n]) => n > 0 || outcome === 'done')
  const ended = told.map(([outcome, n]) => `${count(n)} ${outcome}`).join(', ')
  return `${ended === '' ? '0 done' : ended}; ${count(retries)} ${retries === 1 ? 'retry' : 'retries'}`
}

function savedText({ savedMs, error }: PipelineSnapshot['ledger'], atMs: number, paint: Paint): string {
  if (error !== undefined) return paint('red', printable(`cannot be saved: ${error}`))
  return savedMs === undefined ? 'not saved yet' : `saved ${duration(atMs - savedMs)} ago`
}

function quarantineText(entries: number): string {
  return `${count(entries)} ${entries === 1 ? 'entry' : 'entries'}: see \`s3-streamer quarantine list\``
}

function dependencyText({ name, state, sinceMs, error }: DependencySnapshot, atMs: number, paint: Paint): string {
  const text = `${name} for ${duration(atMs - sinceMs)}`
  return paint(state === 'failing' ? 'red' : 'yellow', printable(`${text}${because(error, text)}`))
}

/** A place that the text names already is not told twice. */
function because(reason: string | undefined, text: string): string {
  if (reason === undefined) return ''
  const [place = ''] = reason.split(' ', 1)
  return `: ${/[/:]/.test(place) && text.includes(place) ? reason.slice(place.length + 1) : reason}`
}

function replayText({ id, state, fromMs, toMs, prefix, planned, done, error }: ReplaySnapshot): string {
  const range = `${utc(fromMs)} to ${utc(toMs)}${prefix === '' ? '' : ` ${prefix}`}`
  const far = `${count(done.objects)} of ${count(planned.objects)} objects${done.failed > 0 ? `, ${count(done.failed)} failed` : ''}`
  return printable(`#${id} ${state}, ${far}, ${range}${error === undefined ? '' : `: ${error}`}`)
}

function underWayLine(
  { key, records, bytes, totalBytes, startedMs, isReplay }: UnderWaySnapshot,
  atMs: number,
): string {
  const part = totalBytes !== undefined && totalBytes > 0 ? ` ${Math.floor((bytes / totalBytes) * 100)}%` : ''
  const far = records === undefined ? fileSize(bytes) : `${count(records)} records`
  return printable(
    `    ${far.padStart(18)}${part.padEnd(5)} ${duration(atMs - startedMs).padStart(6)}  ${key}${isReplay ? ' (replay)' : ''}`,
  )
}

const tableColumns = ['state', 'records/s', 'bytes/s', 'lag', 'waiting', 'read', 'delivered', 'filtered', 'quarantined']

function tableLines(pipelines: readonly PipelineSnapshot[], paint: Paint): string[] {
  const rows = pipelines.map(({ name, state, rates, lagSeconds, waiting, counts }) => [
    ...[printable(name), state, count(Math.round(rates.recordsPerSecond)), fileSize(rates.bytesPerSecond)],
    ...[lagSeconds === 0 ? '-' : duration(lagSeconds * 1000), count(waiting)],
    ...[counts.read, counts.delivered, counts.filtered, counts.quarantined].map(count),
  ])
  const all = [['pipeline', ...tableColumns], ...rows]
  const widths = all[0]?.map((_, i) => Math.max(...all.map((row) => row[i]?.length ?? 0))) ?? []
  return all.map((row, at) => {
    const text = row
      .map((cell, i) => (i < 2 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join('  ')
      .trimEnd()
    return at === 0 ? paint('gray', text) : text
  })
}

function runLines(runs: readonly RunSnapshot[], { atMs, pipelines }: Snapshot): string[] {
  if (runs.length === 0) return []
  return [
    '',
    'last runs',
    ...runs.map((run) => `  ${printable(runText(run, { atMs, isNamed: pipelines.length > 1 }))}`),
  ]
}

/** `2026-11-21T08:00:00Z  daemon  running for 5h07m: 1,234 records`. */
export function runText(
  run: RunSnapshot,
  { atMs, isNamed }: { readonly atMs: number; readonly isNamed: boolean },
): string {
  const { id, pipeline, startedMs, updatedMs, mode, outcome, counts, error } = run
  const isOn = outcome === 'running'
  const took = duration((isOn ? atMs : updatedMs) - startedMs)
  const who = isNamed ? `${pipeline} ` : ''
  const why = error === undefined ? '' : `: ${error}`
  return `${utc(startedMs)}  ${who}#${id} (${mode}) ${outcome} ${isOn ? 'for' : 'after'} ${took}, ${count(counts.read)} records${why}`
}

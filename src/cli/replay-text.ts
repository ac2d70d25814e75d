/** What `replay` says of plans and of replays. */
import { objectName } from '../core/object-name.ts'
import type { ReplayEntry } from '../ledger/ledger.ts'
import { count, fileSize, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import { placeOf } from './place.ts'
import type { Planned, ReplayRequest } from './replay.ts'

export function objectsText(objects: number): string {
  return `${count(objects)} ${objects === 1 ? 'object' : 'objects'}`
}

export function planText(
  { config, plan, sample }: Planned,
  request: ReplayRequest,
  { dryRun }: { readonly dryRun: boolean },
): string {
  const { fromMs, toMs, prefix, bytesPerSecond } = request
  const { objects, bytes, seconds, first, last } = plan
  const range = `from ${utc(fromMs)} to ${utc(toMs)}${prefix === '' ? '' : `, keys beginning with ${prefix}`}`
  const head = [`pipeline   ${config.name}`, `source     ${placeOf(config.source)}`, `range      ${range}`]
  if (objects === 0 || !first || !last) {
    return text([
      ...head,
      'objects    none: there is nothing to read again (times are those of names, else of LastModified)',
    ])
  }
  const shown = dryRun
    ? sample.map((object) => `           ${utc(object.timeMs)}  ${sizeOf(object.size)}  ${object.key}`)
    : []
  return text([
    ...head,
    `objects    ${count(objects)}, ${fileSize(bytes)} as stored`,
    `first      ${utc(first.timeMs)}  ${objectName(first)}`,
    `last       ${utc(last.timeMs)}  ${objectName(last)}`,
    `time       about ${durationText(seconds ?? 0)}, at most ${fileSize(bytesPerSecond)} a second; live objects go first`,
    `sent to    ${placeOf(config.sink)}`,
    'again      what was delivered before arrives once more; a receiver that goes by ids, as elasticsearch, has it once',
    ...(shown.length === 0 ? [] : [`as in`, ...shown]),
    ...(dryRun ? ['Nothing was changed.'] : []),
  ])
}

function text(lines: readonly string[]): string {
  return `${lines.map(printable).join('\n')}\n`
}

function sizeOf(size: number | undefined): string {
  return (size === undefined ? '?' : fileSize(size)).padStart(8)
}

export function planFacts(
  { config, plan, sample }: Planned,
  { fromMs, toMs, prefix, bytesPerSecond }: ReplayRequest,
  begun?: { readonly id: number; readonly isTaken: boolean },
): string {
  const { objects, bytes, seconds, first, last } = plan
  return `${JSON.stringify({
    ...{ pipeline: config.name, from: iso(fromMs), to: iso(toMs), prefix, bytesPerSecond, objects, bytes, seconds },
    ...(first && last ? { first: first.key, last: last.key } : {}),
    ...(begun ? { replay: begun.id, running: begun.isTaken } : { sample: sample.map(({ key }) => key) }),
  })}\n`
}

export function replayText({
  id,
  state,
  fromMs,
  toMs,
  prefix,
  planned,
  done,
  bytesPerSecond,
  createdMs,
  error,
}: ReplayEntry): string {
  const failed = done.failed > 0 ? `, ${count(done.failed)} failed` : ''
  const far = `${count(done.objects)} of ${objectsText(planned.objects)}, ${fileSize(done.bytes)} of ${fileSize(planned.bytes)}${failed}`
  const range = `${utc(fromMs)} to ${utc(toMs)}${prefix === '' ? '' : `  ${prefix}`}`
  const lines = [
    `${String(id).padStart(5)}  ${state.padEnd(9)}  ${range}`,
    `       ${far}; asked for ${utc(createdMs)}, ${fileSize(bytesPerSecond)} a second`,
  ]
  return text(error === undefined ? lines : [...lines, `       ${error}`])
}

export function replayFacts(pipeline: string, { fromMs, toMs, createdMs, updatedMs, ...entry }: ReplayEntry): string {
  const times = { from: iso(fromMs), to: iso(toMs), created: iso(createdMs), updated: iso(updatedMs) }
  return `${JSON.stringify({ pipeline, ...entry, ...times })}\n`
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

/** `4 seconds`, `12 minutes`, `3.5 hours`. */
export function durationText(seconds: number): string {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} ${Math.round(seconds) > 1 ? 'seconds' : 'second'}`
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes`
  if (seconds < 172_800) return `${(seconds / 3600).toFixed(1)} hours`
  return `${(seconds / 86_400).toFixed(1)} days`
}

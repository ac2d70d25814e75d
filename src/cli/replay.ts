/** `replay`: objects of a time range are read and sent again, because an operator asked. */
import { parseDuration, parseSize } from '../config/fields.ts'
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import type { ListedObject } from '../core/component.ts'
import { explainError, StreamError } from '../core/errors.ts'
import {
  leastReplayBytesPerSecond,
  planReplay,
  type ReplayPlan,
  rangeProblem,
  usualReplayBytesPerSecond,
} from '../core/replay-plan.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { count } from '../telemetry/figures.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { assemble, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { objectsText, planFacts, planText } from './replay-text.ts'
import { createCommandLog } from './run-log.ts'
import { timeFrom } from './state.ts'

export interface ReplayFlags {
  readonly config: string
  readonly pipeline?: string
  readonly from: string
  readonly to: string
  readonly prefix: string
  readonly rate?: string
  readonly yes: boolean
  readonly dryRun: boolean
  readonly json: boolean
}

export interface ReplayRequest {
  readonly fromMs: number
  readonly toMs: number
  readonly prefix: string
  readonly bytesPerSecond: number
}

export interface Planned {
  readonly config: PipelineConfig
  readonly plan: ReplayPlan
  /** The first that were listed. */
  readonly sample: readonly ListedObject[]
}

const sampleObjects = 20
/** A run is written down every five seconds. */
const silentMs = 20_000

export async function replay(flags: ReplayFlags, io: Io): Promise<ExitCode> {
  const request = requestOf(flags, io, Date.now())
  if (!request) return 2
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  const planned = await planAll(loaded, request, io)
  if (!planned) return 1
  for (const one of planned) {
    if (!flags.json) io.stdout(planText(one, request, flags))
    else if (flags.dryRun || one.plan.objects === 0) io.stdout(planFacts(one, request))
  }
  const wanted = planned.filter(({ plan }) => plan.objects > 0)
  if (flags.dryRun || wanted.length === 0) return 0
  const refused = await refusal(wanted, flags, io)
  if (refused !== undefined) return refused
  return await begin(wanted, request, flags, io)
}

/** undefined if the flags make no sense; then it was said why. */
function requestOf({ from, to, prefix, rate }: ReplayFlags, io: Io, nowMs: number): ReplayRequest | undefined {
  const [fromMs, toMs] = [timeOrAgo(from, nowMs), timeOrAgo(to, nowMs)]
  for (const [name, text, ms] of [
    ['--from', from, fromMs],
    ['--to', to, toMs],
  ] as const) {
    if (ms !== undefined) continue
    const text2 = 'write it like 2025-10-12T21:00:00Z, in Unix seconds, as a time ago like 2h or 7d, or now'
    io.stderr(`${name} "${printable(text)}" is no time: ${text2}\n`)
  }
  const bytesPerSecond = rate === undefined ? usualReplayBytesPerSecond : parseSize(rate.replace(/\/s$/, ''))
  const isRate = bytesPerSecond !== undefined && bytesPerSecond >= leastReplayBytesPerSecond
  if (!isRate)
    io.stderr(`--rate "${printable(rate ?? '')}" is no rate: write bytes a second, like 5MiB; 1KiB is the least\n`)
  if (fromMs === undefined || toMs === undefined || !isRate) return undefined
  const problem = rangeProblem({ fromMs, toMs }, nowMs)
  if (problem === undefined) return { fromMs, toMs, prefix, bytesPerSecond }
  io.stderr(`cannot replay from ${printable(from)} to ${printable(to)}: ${problem}\n`)
  return undefined
}

function timeOrAgo(text: string, nowMs: number): number | undefined {
  if (text === 'now') return nowMs
  const known = timeFrom(text)
  if (known !== undefined) return known
  const agoMs = text === '0' ? undefined : parseDuration(text)
  return agoMs === undefined ? undefined : Math.max(0, nowMs - agoMs)
}

/** undefined if one of them cannot be listed; then nothing is to be done for any. */
async function planAll(loaded: LoadedConfig, request: ReplayRequest, io: Io): Promise<Planned[] | undefined> {
  const log = createCommandLog(io)
  const planned: Planned[] = []
  for (const config of loaded.pipelines) {
    try {
      await using parts = await assemble(config, { mode: 'readonly', log, meter: new MemoryMeter() })
      const sample: ListedObject[] = []
      const seen = (object: ListedObject) => {
        if (sample.length < sampleObjects) sample.push(object)
      }
      const plan = await planReplay(parts, request, { signal: io.soft, nowMs: Date.now(), seen })
      planned.push({ config, plan, sample })
    } catch (error) {
      if (io.soft.aborted) return undefined
      if (!(error instanceof StreamError)) throw error
      io.stderr(`${config.name}: ${printable(explainError(error))}\n`)
      return undefined
    }
  }
  return planned
}

/** Asks; the exit code if nothing is to be done. */
async function refusal(planned: readonly Planned[], { yes }: ReplayFlags, io: Io): Promise<ExitCode | undefined> {
  if (yes) return undefined
  const objects = planned.reduce((sum, { plan }) => sum + plan.objects, 0)
  const text = `${objectsText(objects)} ${objects === 1 ? 'is' : 'are'} sent again`
  if (!io.ask) {
    io.stderr(`${text}: add --yes if that is wanted\n`)
    return 2
  }
  const answer = await io.ask(
    `Read again? ${count(objects)} ${objects === 1 ? 'object is' : 'objects are'} sent again. [y/N] `,
  )
  if (/^y(es)?$/i.test(answer.trim())) return undefined
  io.stderr('nothing was changed\n')
  return 1
}

async function begin(
  planned: readonly Planned[],
  request: ReplayRequest,
  { json }: ReplayFlags,
  io: Io,
): Promise<ExitCode> {
  let code: ExitCode = 0
  for (const one of planned) {
    const { config, plan } = one
    try {
      await using ledger = ledgerOf(config, 'shared', createCommandLog(io))
      const { objects, bytes } = plan
      const id = ledger.replays.add({ ...request, planned: { objects, bytes } })
      const isTaken = isRunning(ledger)
      const next = isTaken
        ? 'the running streamer takes it within seconds'
        : 'no streamer runs: the next start does it, beside its other work'
      if (json) io.stdout(planFacts(one, request, { id, isTaken }))
      else io.stdout(`${config.name}: replay ${id} is written down; ${next} (see \`s3-streamer replay list\`)\n`)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      io.stderr(`${config.name}: ${printable(explainError(error))}\n`)
      code = 1
    }
  }
  return code
}

/** By what it writes down of its run. */
function isRunning({ runs }: Ledger): boolean {
  const sinceMs = Date.now() - silentMs
  return runs.list({ sinceMs }).some(({ outcome, mode }) => outcome === 'running' && mode !== 'replay')
}

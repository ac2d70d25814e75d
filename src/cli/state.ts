/** `state`: where the pipeline is in its bucket, and moving that place by hand. */
import type { LoadedConfig, PipelineConfig } from '../config/pipeline.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { Ledger, ObjectEntry } from '../ledger/ledger.ts'
import { registry } from '../registry.ts'
import { count, fileSize, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import { type LedgerMode, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { createCommandLog } from './run-log.ts'

/** Objects under way that are listed one by one. */
const shownObjects = 20

interface Flags {
  readonly config: string
  readonly pipeline?: string
}

export async function showState(flags: Flags & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  return eachLedger(loaded, io, 'readonly', (config, ledger) => {
    io.stdout(flags.json ? `${JSON.stringify(factsOf(config, ledger))}\n` : describe(config, ledger))
  })
}

function factsOf({ name, state }: PipelineConfig, ledger: Ledger): object {
  const { horizon, totals } = ledger
  const quarantined = ledger.quarantine().length
  return { pipeline: name, file: state.file_path, ...totals, horizon, open: openObjects(ledger), quarantined }
}

function openObjects(ledger: Ledger): ObjectEntry[] {
  return ledger.objects({ states: ['active', 'failed'], limit: shownObjects })
}

function describe(config: PipelineConfig, ledger: Ledger): string {
  const { name, state } = config
  const { horizon, totals } = ledger
  const { checkpointMs, floor } = horizon
  const quarantined = ledger.quarantine().length
  const open = openObjects(ledger)
  const lines = [
    `pipeline     ${name}`,
    `state file   ${state.file_path}`,
    goesByTime(config)
      ? `settled      ${checkpointMs > 0 ? `every object before ${utc(checkpointMs)}` : 'nothing yet: there was no whole scan'}`
      : 'place        what comes next is what its source has and this state does not know as settled',
    ...(floor.timeMs > 0 ? [`left alone   objects before ${utc(floor.timeMs)}`] : []),
    `read         ${count(totals.files)} objects, ${fileSize(totals.bytes)} uncompressed`,
    ...(totals.lastTimeMs > 0 ? [`newest       ${utc(totals.lastTimeMs)}  ${totals.lastKey}`] : []),
    `quarantine   ${count(quarantined)} ${quarantined === 1 ? 'entry' : 'entries'}${quarantined > 0 ? ': see `s3-streamer quarantine list`' : ''}`,
    ...open.map(({ key, state: at, position, attempts, error }) => {
      const tries = attempts > 1 ? `, attempt ${attempts}` : ''
      return `${(at === 'active' ? 'under way' : at).padEnd(13)}${key}: ${count(position.records)} records settled${tries}${error ? `: ${error}` : ''}`
    }),
    ...(open.length === shownObjects ? [`${' '.repeat(13)}and perhaps more`] : []),
  ]
  return `${lines.map(printable).join('\n')}\n`
}

export async function setState(time: string, flags: Flags, io: Io): Promise<ExitCode> {
  const ms = timeFrom(time)
  if (ms === undefined) {
    io.stderr(
      `"${printable(time)}" is no time: write it like 2025-10-12T21:00:00Z, or in Unix seconds like 1760302800\n`,
    )
    return 2
  }
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  return eachLedger(loaded, io, 'exclusive', (config, ledger) => {
    const { name, state } = config
    if (!goesByTime(config)) {
      throw new StreamError(
        'config.invalid',
        `a ${config.source.type} source does not go by time: what comes next is what it has and this state does not know as settled`,
      )
    }
    ledger.moveTo(ms)
    io.stdout(`${name}: the next start reads objects from ${utc(ms)} on (${state.file_path})\n`)
  })
}

export async function resetState(flags: Flags & { readonly yes: boolean }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  if (!flags.yes) {
    const names = loaded.pipelines.map(({ name }) => name).join(', ')
    if (!io.ask) {
      io.stderr(`state reset forgets what ${names} has delivered, so it is sent again: add --yes if that is wanted\n`)
      return 2
    }
    const answer = await io.ask(`Forget what ${names} has delivered? It will be sent again. [y/N] `)
    if (!/^y(es)?$/i.test(answer.trim())) {
      io.stderr('nothing was changed\n')
      return 1
    }
  }
  return eachLedger(loaded, io, 'exclusive', (config, ledger) => {
    ledger.forget()
    const next = goesByTime(config) ? `; the next start begins at start_at: ${String(config.source.start_at)}` : ''
    io.stdout(`${config.name}: forgotten${next}. The quarantine was kept.\n`)
  })
}

const timePattern = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?$/i

/** True if the source goes through objects by their time, and can be sent back. */
function goesByTime({ source }: PipelineConfig): boolean {
  return registry.sources.find(({ type }) => type === source.type)?.start !== undefined
}

/** RFC 3339, UTC where it names no zone, or Unix seconds; undefined if it is neither. */
export function timeFrom(text: string): number | undefined {
  // Fewer digits are a year that was meant, more are milliseconds.
  if (/^(0|\d{9,10})$/.test(text)) return Number(text) * 1000
  const [all, zone] = timePattern.exec(text) ?? []
  if (all === undefined) return undefined
  const ms = Date.parse(all.length > 10 && zone === undefined ? `${all}Z` : all)
  return ms >= 0 ? ms : undefined
}

/** Runs `act` on the ledger of each pipeline. */
export async function eachLedger(
  loaded: LoadedConfig,
  io: Io,
  mode: LedgerMode,
  act: (config: PipelineConfig, ledger: Ledger) => void,
): Promise<ExitCode> {
  const log = createCommandLog(io)
  let code: ExitCode = 0
  for (const config of loaded.pipelines) {
    try {
      await using ledger = ledgerOf(config, mode, log)
      act(config, ledger)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      io.stderr(`${config.name}: ${printable(explainError(error))}\n`)
      code = 1
    }
  }
  return code
}

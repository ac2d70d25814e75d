/** `state`: where the pipeline is in its bucket, and moving that place by hand. */
import { createInterface } from 'node:readline/promises'
import type { PipelineConfig } from '../config/pipeline.ts'
import { explainError, StreamError } from '../core/errors.ts'
import type { Ledger } from '../ledger/ledger.ts'
import { createLog } from '../telemetry/log.ts'
import { type LedgerMode, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import { count, fileSize, utc } from './figures.ts'
import type { ExitCode, Io } from './program.ts'

interface Flags {
  readonly config: string
  readonly pipeline?: string
}

export async function showState(flags: Flags & { readonly json: boolean }, io: Io): Promise<ExitCode> {
  return eachLedger(flags, io, 'readonly', ({ name, state }, ledger) => {
    const { horizon, totals } = ledger
    const open = ledger.objects({ states: ['active', 'failed'], limit: 20 })
    const quarantined = ledger.quarantine().length
    if (flags.json) {
      io.stdout(`${JSON.stringify({ pipeline: name, file: state.file_path, ...totals, horizon, open, quarantined })}\n`)
      return
    }
    const time = (ms: number) => (ms > 0 ? utc(ms) : 'never')
    io.stdout(
      [
        `pipeline         ${name}`,
        `state file       ${state.file_path}`,
        `checkpoint       ${time(horizon.checkpointMs)}   (everything before was settled)`,
        `last object      ${time(totals.lastTimeMs)}   ${totals.lastKey}`,
        `objects          ${count(totals.files)}, ${fileSize(totals.bytes)} uncompressed`,
        horizon.floor.timeMs > 0 ? `left alone       objects before ${utc(horizon.floor.timeMs)}` : '',
        `quarantine       ${count(quarantined)} entries`,
        ...open.map(
          ({ key, state: at, position, attempts, error }) =>
            `${at.padEnd(17)}${key}: ${count(position.records)} records settled, attempt ${attempts}${error ? `: ${error}` : ''}`,
        ),
      ]
        .filter((line) => line !== '')
        .map((line) => `${line}\n`)
        .join(''),
    )
  })
}

export async function setState(time: string, flags: Flags, io: Io): Promise<ExitCode> {
  const ms = /^\d+$/.test(time) ? Number(time) * 1000 : Date.parse(time)
  if (!Number.isFinite(ms) || ms < 0 || ms > Date.UTC(2100, 0)) {
    io.stderr(`"${time}" is no time: write RFC 3339 (2025-10-12T21:00:00Z) or Unix seconds\n`)
    return 2
  }
  return eachLedger(flags, io, 'exclusive', ({ name, state }, ledger) => {
    ledger.moveTo(ms)
    io.stdout(`${name}: objects from ${utc(ms)} on are read at the next start (${state.file_path})\n`)
  })
}

export async function resetState(flags: Flags & { readonly yes: boolean }, io: Io): Promise<ExitCode> {
  if (!flags.yes) {
    if (!process.stdin.isTTY) {
      io.stderr(
        'state reset forgets which objects were delivered, so they are sent again: add --yes if that is wanted\n',
      )
      return 2
    }
    const prompt = createInterface({ input: process.stdin, output: process.stderr })
    const answer = await prompt.question('Forget which objects were delivered? They will be sent again. [y/N] ')
    prompt.close()
    if (!/^y(es)?$/i.test(answer.trim())) return 1
  }
  return eachLedger(flags, io, 'exclusive', ({ name, source }, ledger) => {
    ledger.forget()
    io.stdout(`${name}: forgotten; the next start begins at start_at: ${source.start_at}. The quarantine was kept.\n`)
  })
}

/** Runs `act` on the ledger of each pipeline of the file. */
export async function eachLedger(
  flags: Flags,
  io: Io,
  mode: LedgerMode,
  act: (config: PipelineConfig, ledger: Ledger) => void,
): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  const log = createLog({ level: 'warn', format: 'text', color: false, write: io.stderr })
  for (const config of loaded.pipelines) {
    try {
      await using ledger = ledgerOf(config, mode, log)
      act(config, ledger)
    } catch (error) {
      if (!(error instanceof StreamError)) throw error
      io.stderr(`${config.name}: ${explainError(error)}\n`)
      return error.code === 'config.invalid' ? 2 : 1
    }
  }
  return 0
}

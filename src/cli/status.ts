/** `status`: what the running streamer does, as on the console's page; without one, what the ledgers know. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { LoadedConfig } from '../config/pipeline.ts'
import type { RunSnapshot, Snapshot } from '../console/snapshot.ts'
import { StreamError } from '../core/errors.ts'
import { databasePath } from '../ledger/database.ts'
import { holderOf } from '../ledger/meta.ts'
import { count, counted, duration, utc } from '../telemetry/figures.ts'
import { printable } from '../telemetry/text-line.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { type Found, findStreamer, type RunningStreamer } from './running-streamer.ts'
import { eachLedger } from './state.ts'
import { runText, statusLines } from './status-view.ts'

export interface StatusFlags {
  readonly config: string
  readonly pipeline?: string
  readonly watch: boolean
  readonly json: boolean
}

/** As `systemctl status` says that something is not running. */
const notRunning: ExitCode = 3
const frameMs = 1000
const shownRuns = 3

export async function status(flags: StatusFlags, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  const signal = AbortSignal.any([io.soft, io.unread])
  if (flags.watch) return await watch(loaded, flags, io, signal)
  const refusals: string[] = []
  const found = await findStreamer(loaded, io, { signal, refused: (why) => refusals.push(why) })
  if (found) {
    io.stdout(await frameOf(found, flags, io, signal))
    return 0
  }
  for (const why of refusals) io.stderr(`${printable(why)}\n`)
  return await showStopped(loaded, flags, io)
}

/** The lines of a moment, or a line of JSON. */
async function frameOf(
  { streamer, snapshot }: Found,
  flags: StatusFlags,
  io: Io,
  signal: AbortSignal,
): Promise<string> {
  const shown = only(snapshot, flags.pipeline)
  if (flags.json) return `${JSON.stringify({ running: true, url: streamer.url, ...shown })}\n`
  const runs = await lastRuns(streamer, flags, signal)
  const lines = statusLines(shown, runs, { isDetailed: flags.watch, color: io.color.stdout })
  return `${lines.join('\n')}\n`
}

function only(snapshot: Snapshot, pipeline: string | undefined): Snapshot {
  if (pipeline === undefined) return snapshot
  return { ...snapshot, pipelines: snapshot.pipelines.filter(({ name }) => name === pipeline) }
}

async function lastRuns(
  streamer: RunningStreamer,
  { pipeline }: StatusFlags,
  signal: AbortSignal,
): Promise<RunSnapshot[]> {
  const query = pipeline === undefined ? '' : `&pipeline=${encodeURIComponent(pipeline)}`
  try {
    return (await streamer.get<{ runs: RunSnapshot[] }>(`/api/runs?limit=${shownRuns}${query}`, { signal })).runs
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    // It is shown without: the pipeline may have gone this moment.
    return []
  }
}

/** A frame each second until it is interrupted, also while the streamer is away. */
async function watch(loaded: LoadedConfig, flags: StatusFlags, io: Io, signal: AbortSignal): Promise<ExitCode> {
  const screen = flags.json ? undefined : new Screen(io)
  let found: Found | undefined
  let seenMs: number | undefined
  try {
    while (!signal.aborted) {
      found = await next(found, loaded, io, signal)
      if (signal.aborted) break
      if (found) seenMs = found.snapshot.atMs
      if (found) show(await frameOf(found, flags, io, signal))
      else if (flags.json) show(`${JSON.stringify({ running: false, atMs: Date.now() })}\n`)
      else show(`${gone(seenMs)}\n`)
      await sleep(frameMs, undefined, { signal }).catch(() => undefined)
    }
  } finally {
    screen?.[Symbol.dispose]()
  }
  return 0

  function show(frame: string): void {
    if (screen) screen.show(frame)
    else io.stdout(frame)
  }
}

async function next(
  found: Found | undefined,
  loaded: LoadedConfig,
  io: Io,
  signal: AbortSignal,
): Promise<Found | undefined> {
  try {
    if (found) return { ...found, snapshot: await found.streamer.get<Snapshot>('/api/status', { signal }) }
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
  }
  return await findStreamer(loaded, io, { signal })
}

function gone(seenMs: number | undefined): string {
  const now = Date.now()
  const last = seenMs === undefined ? '' : `; last seen ${duration(now - seenMs)} ago`
  return `${utc(now)}: no streamer answers${last}\nWaiting for it. (Ctrl-C ends this, not the streamer.)`
}

/** Draws over what it drew before, so that nothing flickers; elsewhere than in a terminal frames follow each other. */
class Screen implements Disposable {
  readonly #io: Io
  readonly #isTerminal: boolean

  constructor(io: Io) {
    this.#io = io
    this.#isTerminal = io.screen?.() !== undefined
    // The other screen, no cursor, and lines that are too long are cut by the terminal.
    if (this.#isTerminal) io.stdout('\x1b[?1049h\x1b[?25l\x1b[?7l')
  }

  show(frame: string): void {
    const size = this.#io.screen?.()
    if (!this.#isTerminal || !size) {
      this.#io.stdout(`${frame}\n`)
      return
    }
    const lines = frame.trimEnd().split('\n')
    const rows = Math.max(2, size.rows)
    const hidden = lines.length - rows
    const fitting = hidden > 0 ? [...lines.slice(0, rows - 1), `… ${count(hidden + 1)} more lines`] : lines
    this.#io.stdout(`\x1b[H${fitting.map((line) => `${line}\x1b[K`).join('\n')}\x1b[J`)
  }

  [Symbol.dispose](): void {
    if (this.#isTerminal) this.#io.stdout('\x1b[?7h\x1b[?25h\x1b[?1049l')
  }
}

/** So many rows are looked through for one of a process. */
const searchedRuns = 1000

/** Without a streamer that answers: what the ledgers know. */
async function showStopped(loaded: LoadedConfig, flags: StatusFlags, io: Io): Promise<ExitCode> {
  let isOn = false
  const code = await eachLedger(loaded, io, 'readonly', (config, ledger) => {
    const { name } = config
    // Replays are rows beside that of the process which did them.
    const last = ledger.runs.list({ limit: searchedRuns }).find(({ mode }) => mode !== 'replay')
    const { failed, quarantine } = ledger.health
    const { checkpointMs } = ledger.horizon
    const isRunning = last?.outcome === 'running' && isAlive(holderOf(databasePath(config.state.file_path)))
    isOn ||= isRunning
    if (flags.json) {
      const facts = { running: isRunning, pipeline: name, lastRun: last, failed, quarantine, totals: ledger.totals }
      io.stdout(`${JSON.stringify({ ...facts, settledBeforeMs: checkpointMs })}\n`)
      return
    }
    const lines = [
      isRunning
        ? `${name}: running, but what it does cannot be asked (a run with --once, or health.enabled is false)`
        : `${name}: not running`,
      last
        ? `  last run    ${runText({ ...last, outcome: isRunning || last.outcome !== 'running' ? last.outcome : 'killed', pipeline: name }, { atMs: Date.now(), isNamed: false })}`
        : '  last run    none yet',
      ...(checkpointMs > 0 ? [`  settled     every object before ${utc(checkpointMs)}`] : []),
      `  failed      ${counted(failed, 'object')} to be tried again`,
      `  quarantine  ${count(quarantine)} ${quarantine === 1 ? 'entry' : 'entries'}${quarantine > 0 ? ': see `s3-streamer quarantine list`' : ''}`,
      `  state file  ${config.state.file_path}`,
    ]
    io.stdout(`${lines.map(printable).join('\n')}\n`)
  })
  return code !== 0 ? code : isOn ? 0 : notRunning
}

/** A killed process leaves a run that looks as if it went on. */
function isAlive(pid: string): boolean {
  try {
    process.kill(Number(pid), 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

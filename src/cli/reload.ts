/** `reload`: has the running streamer read its file again, and tells what came of it. */
import { hostname } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { LoadedConfig } from '../config/pipeline.ts'
import { portOf } from '../console/config.ts'
import { isOfListener } from '../console/port-owner.ts'
import type { ReloadOutcome } from '../console/snapshot.ts'
import { explainError } from '../core/errors.ts'
import { printable } from '../telemetry/text-line.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { findStreamer } from './running-streamer.ts'

/** As `systemctl status` says that something is not running. */
const notRunning: ExitCode = 3
const askMs = 200
/** What is under way in a pipeline that is to be restarted is delivered first, so this may take a while. */
const patienceMs = 120_000

export async function reload(flags: { readonly config: string }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) {
    io.stderr('Nothing was changed: the streamer was not told.\n')
    return 2
  }
  const signal = AbortSignal.any([io.soft, io.unread])
  const found = await findStreamer(loaded, io, { signal })
  if (!found) {
    const text = 'no streamer answers for this configuration'
    io.stderr(`${text}: it does not run, or its health.enabled is false (then send it SIGHUP yourself)\n`)
    return notRunning
  }
  const { pid, host, config } = found.snapshot
  if (host !== hostname()) {
    io.stderr(`it runs on ${printable(host)}, as process ${pid}: only there it can be sent SIGHUP\n`)
    return 1
  }
  if (!isOfListener(pid, portOf(found.streamer.url))) {
    const { url } = found.streamer
    io.stderr(
      `what answers at ${url} is of another user than process ${pid}, which it says it is: it was told nothing\n`,
    )
    return 1
  }
  const before = config.reload?.atMs ?? 0
  try {
    process.kill(pid, 'SIGHUP')
  } catch (error) {
    io.stderr(`cannot tell process ${pid}: ${explainError(error)} (be the user that it runs as)\n`)
    return 1
  }
  const outcome = await outcomeAfter(before, loaded, io, signal)
  if (!outcome) {
    io.stderr(`process ${pid} was told, and has not said yet what came of it: see its log, or \`s3-streamer status\`\n`)
    return 1
  }
  const write = outcome.ok ? io.stdout : io.stderr
  for (const line of linesOf(outcome, config.file, pid)) write(`${printable(line)}\n`)
  return outcome.ok ? 0 : 1
}

/** The outcome of the next reload; undefined if there was none in time. Where it answers may have changed by then. */
async function outcomeAfter(
  before: number,
  loaded: LoadedConfig,
  io: Io,
  signal: AbortSignal,
): Promise<ReloadOutcome | undefined> {
  const untilMs = Date.now() + patienceMs
  while (Date.now() < untilMs && !signal.aborted) {
    const outcome = (await findStreamer(loaded, io, { signal }))?.snapshot.config.reload
    if (outcome && outcome.atMs !== before) return outcome
    await sleep(askMs, undefined, { signal }).catch(() => undefined)
  }
  return undefined
}

function linesOf({ ok, problems, ...changes }: ReloadOutcome, file: string, pid: number): string[] {
  const changed = (['started', 'stopped', 'restarted', 'kept'] as const).flatMap((what) =>
    changes[what].length > 0 ? [`  ${what.padEnd(10)} ${changes[what].join(', ')}`] : [],
  )
  const head = ok
    ? `Process ${pid} has read ${file} again: it is in force.`
    : `Process ${pid} has read ${file} again and refused it:`
  return [head, ...problems.map((problem) => `  ${problem}`), ...changed]
}

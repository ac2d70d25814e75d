/** `replay list` and `replay cancel`. */
import { count } from '../telemetry/figures.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { replayFacts, replayText } from './replay-text.ts'
import { eachLedger } from './state.ts'

interface Flags {
  readonly config: string
  readonly pipeline?: string
}

export async function replayList(
  flags: Flags & { readonly json: boolean; readonly limit: number },
  io: Io,
): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  return eachLedger(loaded, io, 'readonly', ({ name }, ledger) => {
    const replays = ledger.replays.list({ limit: flags.limit })
    if (!flags.json && loaded.pipelines.length > 1) io.stdout(`# ${name}\n`)
    if (!flags.json && replays.length === 0) io.stdout('no replay\n')
    for (const replay of replays) io.stdout(flags.json ? replayFacts(name, replay) : replayText(replay))
  })
}

export async function replayCancel(id: number, flags: Flags, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  if (loaded.pipelines.length > 1) {
    const names = loaded.pipelines.map(({ name }) => name).join(', ')
    io.stderr(`each pipeline numbers its replays from 1: say which one is meant with --pipeline (${names})\n`)
    return 2
  }
  let isUnknown = false
  const code = await eachLedger(loaded, io, 'shared', (_, ledger) => {
    if (ledger.replays.cancel(id)) {
      io.stdout(`replay ${count(id)} is cancelled: nothing more of it is begun; what is under way is still delivered\n`)
      return
    }
    isUnknown = true
    const replay = ledger.replays.find(id)
    io.stderr(
      replay
        ? `replay ${id} is over: ${replay.state}\n`
        : `there is no replay ${id}: see \`s3-streamer replay list\`\n`,
    )
  })
  return isUnknown ? 1 : code
}

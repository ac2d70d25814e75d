/** `check`: is the file right, and does what it names answer? Changes nothing. */
import { describeConfig } from '../config/render.ts'
import { StreamError } from '../core/errors.ts'
import { problemOf } from '../core/findings.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { assemble, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { placeOf } from './place.ts'
import { createCommandLog } from './run-log.ts'
import { refuseUnwritableFiles, refuseUnwritableFolder, withoutState } from './state-access.ts'

const timeoutMs = 30_000

export async function check(flags: { readonly config: string; readonly pipeline?: string }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  io.stdout(`# ${flags.config}, with all that it leaves to the defaults\n${describeConfig(loaded)}\n`)
  for (const { message } of loaded.warnings) io.stdout(`warning  ${printable(message)}\n`)
  let code: ExitCode = 0
  const log = createCommandLog(io)
  for (const config of loaded.pipelines) {
    const { name, source, sink, state } = config
    /** Tells how it went; false if it failed. Successes are not told if `quietly`. */
    const tell = async (what: string, probe: () => Promise<void>, o: { readonly quietly?: true } = {}) => {
      try {
        await probe()
        if (!o.quietly) io.stdout(`ok       ${name}: ${printable(what)}\n`)
        return true
      } catch (error) {
        if (!(error instanceof StreamError)) throw error
        const { text, advice } = problemOf(error, { signal: io.soft })
        io.stdout(`FAILED   ${name}: ${printable(`${what}: ${text}`)}\n`)
        if (advice !== undefined) io.stdout(`         → ${printable(advice)}\n`)
        code = 3
        return false
      }
    }
    const signal = AbortSignal.any([io.soft, AbortSignal.timeout(timeoutMs)])
    const isStateRight = await tell(`state ${state.file_path}`, async () => {
      refuseUnwritableFolder(state.file_path)
      refuseUnwritableFiles(state.file_path)
      await using _ = ledgerOf(config, 'readonly', log)
    })
    await tell(
      'source and sink',
      async () => {
        await using parts = await assemble(isStateRight ? config : withoutState(config), {
          mode: 'readonly',
          log,
          meter: new MemoryMeter(),
        })
        await tell(`source ${placeOf(source)}`, () => parts.source.check({ signal }))
        await tell(`sink ${placeOf(sink)}`, () => parts.sink.check({ signal }))
      },
      { quietly: true },
    )
  }
  return code
}

/** `check`: is the file right, and does what it names answer? Changes nothing. */
import { accessSync, constants, existsSync } from 'node:fs'
import { devNull } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { describeConfig } from '../config/render.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { printable } from '../telemetry/text-line.ts'
import { assemble, ledgerOf } from './assemble.ts'
import { openConfig } from './config-file.ts'
import { placeOf } from './place.ts'
import type { ExitCode, Io } from './program.ts'
import { createCommandLog } from './run-log.ts'

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
        io.stdout(`FAILED   ${name}: ${printable(`${what}: ${explainError(error)}`)}\n`)
        code = 3
        return false
      }
    }
    const signal = AbortSignal.any([io.soft, AbortSignal.timeout(timeoutMs)])
    const isStateRight = await tell(`state ${state.file_path}`, async () => {
      refuseUnwritable(state.file_path)
      await using _ = ledgerOf(config, 'readonly', log)
    })
    await tell(
      'source and sink',
      async () => {
        // Where the state is broken, source and sink are still worth a try; a state that is not there is an empty one.
        const readable = isStateRight ? config : { ...config, state: { ...state, file_path: join(devNull, 'none') } }
        await using parts = await assemble(readable, { mode: 'readonly', log, meter: new MemoryMeter() })
        await tell(`source ${placeOf(source)}`, () => parts.source.check({ signal }))
        await tell(`sink ${placeOf(sink)}`, () => parts.sink.check({ signal }))
      },
      { quietly: true },
    )
  }
  return code
}

/** A run makes the folder of the state file; the nearest one that is there must let it. */
function refuseUnwritable(file: string): void {
  let folder = dirname(resolve(file))
  while (!existsSync(folder) && folder !== dirname(folder)) folder = dirname(folder)
  try {
    accessSync(folder, constants.W_OK | constants.X_OK)
    if (existsSync(file)) accessSync(file, constants.R_OK | constants.W_OK)
  } catch (error) {
    throw new StreamError(
      'ledger.corrupt',
      `cannot write in ${folder}: give the folder to the user that runs this, or set state.file_path`,
      { cause: error },
    )
  }
}

/** `check`: is the file right, and does what it names answer? Changes nothing. */
import { describeConfig } from '../config/render.ts'
import { explainError, StreamError } from '../core/errors.ts'
import { createLog } from '../telemetry/log.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { assemble } from './assemble.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './program.ts'

const timeoutMs = 30_000

export async function check(flags: { readonly config: string }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  io.stdout(describeConfig(loaded))
  for (const { message } of loaded.warnings) io.stdout(`warning  ${message}\n`)
  let code: ExitCode = 0
  const log = createLog({ level: 'warn', format: 'text', color: false, write: io.stdout })
  for (const config of loaded.pipelines) {
    const tell = async (what: string, probe: () => Promise<void>) => {
      try {
        await probe()
        io.stdout(`ok       ${config.name}: ${what}\n`)
      } catch (error) {
        if (!(error instanceof StreamError)) throw error
        io.stdout(`FAILED   ${config.name}: ${what}: ${explainError(error)}\n`)
        code = 3
      }
    }
    const signal = AbortSignal.any([io.soft, AbortSignal.timeout(timeoutMs)])
    await tell('state', async () => {
      await using parts = await assemble(config, { mode: 'readonly', log, meter: new MemoryMeter() })
      await tell(`source ${config.source.type}`, () => parts.source.check({ signal }))
      await tell(`sink ${config.sink.type}`, () => parts.sink.check({ signal }))
    })
  }
  return code
}

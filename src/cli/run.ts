/** `run`: until stopped, once, or dry. */
import { explainError, StreamError } from '../core/errors.ts'
import { MemoryMeter } from '../telemetry/meter.ts'
import { openConfig } from './config-file.ts'
import type { ExitCode, Io } from './io.ts'
import { Progress } from './progress.ts'
import { RunLog } from './run-log.ts'
import { type RunFlags, Streamer } from './streamer.ts'

export async function run(flags: RunFlags & { readonly dryRun: boolean }, io: Io): Promise<ExitCode> {
  const loaded = openConfig(flags, io)
  if (!loaded) return 2
  if (flags.dryRun) return (await import('./dry-run.ts')).dryRun(loaded, io)
  const progress = flags.once && io.terminal ? new Progress(io.stderr) : undefined
  const meter = new MemoryMeter({
    onDropped: (metric) => {
      const text = 'too many series: new ones are counted in metrics_series_dropped_total and not shown'
      runLog.log.warn({ metric }, text)
    },
  })
  let runLog: RunLog
  try {
    runLog = new RunLog(loaded, io, { meter, progress })
  } catch (error) {
    progress?.end()
    if (!(error instanceof StreamError)) throw error
    io.stderr(`${flags.config}: ${explainError(error)}\n`)
    return 2
  }
  using ending = new DisposableStack()
  ending.defer(() => progress?.end())
  ending.use(runLog)
  const { log } = runLog
  for (const { message } of loaded.warnings) log.warn({}, message)
  try {
    // A run that ends by itself has nothing to read again; there the signal means what it always means. Listens until all is closed.
    using _ = flags.once ? undefined : io.onHangup(() => void streamer.reload())
    await using streamer = new Streamer(loaded, flags, { io, meter, runLog, progress })
    return await streamer.run()
  } catch (error) {
    if (!(error instanceof StreamError)) throw error
    log.error({ code: error.code }, explainError(error))
    return error.code === 'config.invalid' ? 2 : 1
  }
}

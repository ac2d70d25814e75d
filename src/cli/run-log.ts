import type { Logger } from 'pino'
import type { LoadedConfig } from '../config/pipeline.ts'
import { createLog } from '../telemetry/log.ts'
import type { Io } from './program.ts'
import type { Progress } from './progress.ts'

/**
 * The log of a run: on standard output, as in the seed, unless records go there; the progress bar makes room for each line.
 */
export function createRunLog(loaded: LoadedConfig, io: Io, progress?: Progress): Logger {
  const takesRecords = loaded.pipelines.some(({ sink }) => sink.type === 'stdout')
  return createLog({
    ...loaded.logging,
    color: takesRecords ? io.color.stderr : io.color.stdout,
    write: (line) => {
      progress?.clear()
      if (takesRecords) io.stderr(line)
      else io.stdout(line)
      progress?.restore()
    },
  })
}

/** The log of a command that answers on standard output: only what someone should know, on standard error. */
export function createCommandLog(io: Io): Logger {
  return createLog({ level: 'warn', format: 'text', color: io.color.stderr, write: io.stderr })
}

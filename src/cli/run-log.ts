import type { Logger } from 'pino'
import type { LoadedConfig } from '../config/pipeline.ts'
import { createLog } from '../telemetry/log.ts'
import type { Io } from './program.ts'
import type { Progress } from './progress.ts'

/** The log of a run: on standard output, as in the seed; the progress bar makes room for each line. */
export function createRunLog(loaded: LoadedConfig, io: Io, progress?: Progress): Logger {
  return createLog({
    ...loaded.logging,
    color: process.stdout.isTTY === true && io.env.NO_COLOR === undefined,
    write: (line) => {
      progress?.clear()
      io.stdout(line)
    },
  })
}

/** Whether a run could write its state here: asked without writing, for `check` and `doctor`. */
import { accessSync, constants, existsSync } from 'node:fs'
import { devNull } from 'node:os'
import { dirname, join } from 'node:path'
import type { PipelineConfig } from '../config/pipeline.ts'
import { StreamError } from '../core/errors.ts'
import { nearestFolder } from '../core/nearest-folder.ts'
import { databasePath } from '../ledger/database.ts'

/** Throws ledger.unwritable if this user may not write in the folder; a run makes it, so the nearest one that is there must let it. */
export function refuseUnwritableFolder(file: string): void {
  const folder = nearestFolder(dirname(file))
  if (!isAllowed(folder, constants.W_OK | constants.X_OK))
    throw new StreamError(
      'ledger.unwritable',
      `cannot write in ${folder} (give the folder to the user that runs this, or set state.file_path)`,
    )
}

/** Throws ledger.unwritable if this user may not write what an earlier run, maybe of another user, has left there. */
export function refuseUnwritableFiles(file: string): void {
  const database = databasePath(file)
  for (const one of [file, database, `${database}.lock`]) {
    if (existsSync(one) && !isAllowed(one, constants.R_OK | constants.W_OK))
      throw new StreamError(
        'ledger.unwritable',
        `cannot write ${one}, which an earlier run made (run as the user that it belongs to, or give it to this one)`,
      )
  }
}

/** Where the state is broken, source and sink are still worth a try; a state that is not there is an empty one. */
export function withoutState(config: PipelineConfig): PipelineConfig {
  return { ...config, state: { ...config.state, file_path: join(devNull, 'none') } }
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}
